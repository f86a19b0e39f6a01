"""Shared prefix against one forward pass a question, on a tiny random InternVL: tiles, batches, unequal questions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from makd.errors import UserError
from makd.packing import Pack
from makd.scorer import Scorer, alike, p_yes
from tests.tiny_models import CHAT_TEMPLATE, save_tiny_internvl

QUESTIONS = [
    "Does the bird have a crest?",
    "Is the tail long?",
    "Is it?",
    "Does the bird have a tail that is longer than any other response to the question of this test?",
]
SIZES = ((32, 32), (64, 32), (64, 64), (32, 96), (32, 32))  # 1, 3, 5, 4 and 1 tiles with the thumbnail


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_internvl(tmp_path_factory.mktemp("internvl"))


@pytest.fixture
def scorer(folder: Path) -> Scorer:
    return Scorer(folder, QUESTIONS)


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)) for size in SIZES]


def plain(scorer: Scorer, images: list[Image.Image]) -> torch.Tensor:
    """The reference: the model's own logits, a forward pass each."""
    yes_no = list(scorer.conversation.answer_ids)
    return torch.stack(
        [torch.stack([scorer.one_by_one(image, k)[yes_no] for k in range(len(QUESTIONS))]) for image in images]
    )


def score(scorer: Scorer, images: list[Image.Image]) -> torch.Tensor:
    scorer.prepare(images[0])
    return scorer.score([scorer.conversation.inputs(image) for image in images])


@pytest.fixture(scope="module")
def reference(folder: Path, images: list[Image.Image]) -> torch.Tensor:
    return plain(Scorer(folder, QUESTIONS), images)


def test_packed_equals_one_by_one(scorer: Scorer, images: list[Image.Image], reference: torch.Tensor) -> None:
    found = score(scorer, images)
    assert (p_yes(found) - p_yes(reference)).abs().max() <= 1e-5
    assert p_yes(reference).std() > 0.1, "answers that do not vary prove nothing"


def test_several_packs_give_the_same_as_one(
    scorer: Scorer, images: list[Image.Image], reference: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("makd.conversation.PACK_TOKENS", 20)
    found = score(scorer, images)
    assert scorer.branches is not None
    assert len(scorer.branches.packs) > 1
    assert (p_yes(found) - p_yes(reference)).abs().max() <= 1e-5


def test_neither_the_order_of_questions_nor_of_images_changes_an_answer(
    folder: Path, scorer: Scorer, images: list[Image.Image]
) -> None:
    forward = score(scorer, images)
    backward = score(Scorer(folder, QUESTIONS[::-1]), images[::-1])
    assert (forward - backward.flip(0, 1)).abs().max() <= 1e-5


def test_an_image_does_not_leak_into_the_next(scorer: Scorer, images: list[Image.Image]) -> None:
    first, second = images[0], images[4]
    found = score(scorer, [first, second, first])
    assert found[0].equal(found[2])
    assert (p_yes(found[0]) - p_yes(found[1])).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("mask", lambda self, prefix, dtype: torch.zeros(1, 1, len(self.ids), prefix + len(self.ids), dtype=dtype)),
        (
            "mask",
            lambda self, prefix, dtype: torch.full(
                (len(self.ids), prefix + len(self.ids)), torch.finfo(dtype).min, dtype=dtype
            ).triu(prefix + 1)[None, None],
        ),
    ],
    ids=["questions see everything", "plain causal"],
)
def test_the_self_test_catches_a_wrong_mask(
    scorer: Scorer, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch, name: str, broken: object
) -> None:
    monkeypatch.setattr(Pack, name, broken)
    with pytest.raises(UserError, match="self-test"):
        scorer.self_test(images[:2])


def test_the_self_test_catches_positions_that_do_not_restart(
    scorer: Scorer, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = Scorer.prepare

    def with_running_positions(self: Scorer, image: Image.Image) -> None:
        prepare(self, image)
        assert self.branches is not None
        for packed in self.branches.packs:
            packed.depth.copy_(torch.arange(len(packed.depth)))

    monkeypatch.setattr(Scorer, "prepare", with_running_positions)
    mask = Pack.mask

    def right_mask(self: Pack, prefix: int, dtype: torch.dtype) -> torch.Tensor:
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), self.last[:-1] + 1])
        return mask(Pack(self.ids, self.depth - starts[self.branch], self.branch, self.last), prefix, dtype)

    monkeypatch.setattr(Pack, "mask", right_mask)
    with pytest.raises(UserError, match="self-test"):
        scorer.self_test(images[:2])


def test_the_self_test_reports_agreement_and_mass(scorer: Scorer, images: list[Image.Image]) -> None:
    result = scorer.self_test(images[:2])
    assert result.difference <= 1e-5
    assert 0 < result.mass < 0.5, "a random model does not want to say yes or no"


def test_bfloat16_keeps_float32_answers(folder: Path, images: list[Image.Image], reference: torch.Tensor) -> None:
    found = score(Scorer(folder, QUESTIONS, dtype=torch.bfloat16), images)
    assert found.dtype == torch.float32
    assert len(set(found.flatten().tolist())) > 0.9 * found.numel(), "the grid of bfloat16 would give many ties"
    assert (p_yes(found) - p_yes(reference)).abs().mean() < 0.1


def test_answers_are_found_behind_the_prompt(scorer: Scorer) -> None:
    tokenizer = scorer.conversation.processor.tokenizer
    assert [tokenizer.decode([token]) for token in scorer.conversation.answer_ids] == ["Yes", "No"]


@pytest.mark.parametrize(
    ("answers", "said"),
    [(("Yes", "Nevertheless"), "'Nevertheless' is not one token"), (("No", "No"), "are the same token")],
)
def test_answers_that_cannot_be_told_apart_are_refused(folder: Path, answers: tuple[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Scorer(folder, QUESTIONS, answers=answers)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere cannot be loaded"):
        Scorer(tmp_path / "nowhere", QUESTIONS)


def test_a_model_without_a_chat_template_is_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        if file.name != "chat_template.jinja":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="no chat template"):
        Scorer(tmp_path, QUESTIONS)


@pytest.fixture
def question_first(folder: Path, tmp_path: Path) -> Path:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    template = CHAT_TEMPLATE.replace("in message['content']", "in message['content'] | reverse")
    (tmp_path / "chat_template.jinja").write_text(template)
    return tmp_path


def test_a_template_with_the_question_first_is_refused(question_first: Path, images: list[Image.Image]) -> None:
    with pytest.raises(UserError, match="question before the image"):
        Scorer(question_first, QUESTIONS).prepare(images[0])


def test_images_are_alike_when_their_tokens_and_shapes_are() -> None:
    one = {"input_ids": torch.tensor([[1, 2]]), "pixel_values": torch.zeros(1, 3, 4, 4)}
    other_text = one | {"input_ids": torch.tensor([[1, 3]])}
    other_shape = one | {"pixel_values": torch.zeros(2, 3, 4, 4)}
    assert alike([one, other_text, one, other_shape]) == [[0, 2], [1], [3]]
