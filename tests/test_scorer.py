"""Shared prefix against one forward pass a question: tiny random models, tiles, batches, unequal questions.

What no architecture changes is tested on InternVL alone.
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from tokenizers.processors import TemplateProcessing

from makd.conversation import Conversation
from makd.errors import UserError
from makd.packing import Pack
from makd.scorer import Scorer, alike, p_yes
from makd.vlm import VLM
from tests.asking import plain, score
from tests.tiny_models import (
    ONE_BY_ONE,
    SHARING,
    chat_template,
    save_tiny_internvl,
    save_tiny_llava_next,
    save_tiny_paligemma,
)

QUESTIONS = [
    "Does the bird have a crest?",
    "Is the tail long?",
    "Is it?",
    "Does the bird have a tail that is longer than any other response to the question of this test?",
    "Does the bird have a crest, or is it long?",
]
SIZES = ((32, 32), (64, 32), (64, 64), (32, 96), (32, 32), (96, 64), (128, 32), (32, 128))
"""InternVL: 1, 3, 5, 4, 1, 7, 5 and 5 tiles. Three of the same area, which M-RoPE gives other positions."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_internvl(tmp_path_factory.mktemp("internvl"))


@pytest.fixture
def scorer(folder: Path) -> Scorer:
    return Scorer(VLM(folder), QUESTIONS)


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)) for size in SIZES]


@pytest.fixture(scope="module")
def reference(folder: Path, images: list[Image.Image]) -> torch.Tensor:
    return plain(Scorer(VLM(folder), QUESTIONS), images)


@pytest.mark.parametrize("architecture", SHARING)
def test_a_shared_prefix_changes_no_answer(architecture: str, tmp_path: Path, images: list[Image.Image]) -> None:
    scorer = Scorer(VLM(SHARING[architecture](tmp_path)), QUESTIONS)
    assert scorer.why_one_by_one is None
    expected = p_yes(plain(scorer, images))
    assert expected.std() > 0.1, "answers that do not vary prove nothing"
    assert expected.std(dim=0).max() > 0.1, "nor do those that do not depend on the image"
    found = p_yes(score(scorer, images))
    assert (found - expected).abs().max() <= 1e-5
    backwards = p_yes(score(scorer, images[::-1])).flip(0)
    assert (backwards - expected).abs().max() <= 1e-5, "an image changed the answers about another"


def alone_in_the_world(vlm: VLM, scorer: Scorer, images: list[Image.Image]) -> torch.Tensor:
    """The answers of a model that has seen nothing before, for every image and question."""
    untouched = copy.deepcopy(vlm.model)
    ids = list(scorer.conversation.answer_ids)
    rows = []
    for image in images:
        for question in range(len(QUESTIONS)):
            with torch.inference_mode():
                logits = copy.deepcopy(untouched)(**scorer.conversation.inputs(image, question)).logits
            rows.append(logits[0, -1, ids].float())
    return p_yes(torch.stack(rows)).view(len(images), -1)


def with_bos(processor: hf.ProcessorMixin, *, in_template: bool, added: bool) -> None:
    """BOS as published tokenizers have it: written by the chat template, added by the tokenizer, or both."""
    tokenizer = processor.tokenizer
    tokenizer.add_special_tokens({"bos_token": "<|im_start|>"})
    if added:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<|im_start|> $A", special_tokens=[("<|im_start|>", tokenizer.bos_token_id)]
        )
    bare = chat_template("<IMG_CONTEXT>").replace("<|im_start|>", "")
    processor.chat_template = "{{ bos_token }}" + bare if in_template else bare


@pytest.mark.parametrize(("in_template", "added"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_prompt_has_the_tokens_that_transformers_gives_it(
    in_template: bool, added: bool, folder: Path, images: list[Image.Image]
) -> None:
    vlm = VLM(folder)
    with_bos(vlm.processor, in_template=in_template, added=added)
    scorer = Scorer(vlm, QUESTIONS)
    content = [{"type": "image", "image": images[0]}, {"type": "text", "text": QUESTIONS[0]}]
    own = vlm.processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )["input_ids"]
    assert torch.equal(scorer.conversation.inputs(images[0])["input_ids"], own)
    assert int((own == vlm.processor.tokenizer.bos_token_id).sum()) == (in_template or added)
    expected = p_yes(plain(scorer, images[:2]))
    assert (p_yes(score(scorer, images[:2])) - expected).abs().max() <= 1e-5


def test_a_template_that_tells_the_date_is_warned_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vlm = VLM(folder)
    Scorer(vlm, QUESTIONS)
    assert "date" not in capsys.readouterr().out
    vlm.processor.chat_template = "{{ strftime_now('%Y') }}" + vlm.processor.chat_template
    Scorer(vlm, QUESTIONS)
    assert "warning: the chat template of extract_logits.model tells the date" in capsys.readouterr().out


LONGROPE = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [4.0] * 8, "factor": 4.0}


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize(("kind", "length"), [("dynamic", 16), ("dynamic", 96), ("longrope", 16), ("longrope", 96)])
def test_rotary_frequencies_that_depend_on_the_length_are_those_of_each_prompt(
    kind: str, length: int, share: bool, tmp_path: Path, images: list[Image.Image]
) -> None:
    # Prompts have 24 to 120 tokens: around the one limit with the first images already, around the other with the last.
    rope = {"rope_theta": 10000.0, "rope_type": "dynamic", "factor": 4.0}
    if kind == "longrope":
        rope = {"rope_theta": 10000.0, "original_max_position_embeddings": length} | LONGROPE
    limit = length if kind == "dynamic" else 4 * length
    vlm = VLM(save_tiny_internvl(tmp_path, max_position_embeddings=limit, rope_parameters=rope))
    scorer = Scorer(vlm, QUESTIONS, share=share)
    expected = alone_in_the_world(vlm, scorer, images)
    assert scorer.self_test(images[:2]).difference <= 1e-5
    assert (p_yes(score(scorer, images)) - expected).abs().max() <= 1e-5
    assert (p_yes(score(scorer, images[::-1])).flip(0) - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("architecture", ONE_BY_ONE)
def test_what_cannot_share_is_read_one_by_one(architecture: str, tmp_path: Path, images: list[Image.Image]) -> None:
    scorer = Scorer(VLM(ONE_BY_ONE[architecture](tmp_path)), QUESTIONS)
    assert scorer.why_one_by_one is not None
    assert scorer.self_test(images[:1]).difference == 0
    assert (p_yes(score(scorer, images[:3])) - p_yes(plain(scorer, images[:3]))).abs().max() <= 1e-5


def test_one_by_one_can_be_asked_for(folder: Path, images: list[Image.Image], reference: torch.Tensor) -> None:
    scorer = Scorer(VLM(folder), QUESTIONS, share=False)
    assert scorer.why_one_by_one == "extract_logits.shared_prefix is false"
    assert (p_yes(score(scorer, images)) - p_yes(reference)).abs().max() <= 1e-5


def test_the_self_test_catches_a_model_that_must_not_share(
    tmp_path: Path, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("makd.scorer.why_not_shared", lambda config: None)
    scorer = Scorer(VLM(ONE_BY_ONE["PaliGemma"](tmp_path)), QUESTIONS)
    with pytest.raises(UserError, match="shared_prefix to false"):
        scorer.self_test(images[1:3])


@pytest.mark.parametrize("architecture", ["Qwen2-VL", "Qwen2.5-VL", "Qwen3-VL"])
def test_the_self_test_catches_m_rope_without_its_delta(
    architecture: str, tmp_path: Path, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = Scorer(VLM(SHARING[architecture](tmp_path)), QUESTIONS)
    forward = type(scorer.vlm.model.base_model).forward

    def forgetful(self: torch.nn.Module, *args: object, **kwargs: object) -> object:
        found = forward(self, *args, **kwargs)
        if "pixel_values" in kwargs and kwargs.get("use_cache"):
            self.rope_deltas = torch.zeros(1, 1, dtype=torch.int64)  # as if an image had a position a token
        return found

    monkeypatch.setattr(type(scorer.vlm.model.base_model), "forward", forgetful)
    with pytest.raises(UserError, match="self-test"):
        scorer.self_test(images[1:3])


@pytest.mark.parametrize("architecture", ["Gemma 3", "LLaVA-NeXT, Mistral"])
def test_the_self_test_catches_a_mask_that_ignores_the_window(
    architecture: str, tmp_path: Path, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = Pack.mask
    monkeypatch.setattr(Pack, "mask", lambda self, prefix, dtype, window: mask(self, prefix, dtype))
    with pytest.raises(UserError, match="self-test"):
        Scorer(VLM(SHARING[architecture](tmp_path)), QUESTIONS).self_test(images[1:3])


CAPPED = {"text": "gemma2", "head_dim": 16, "final_logit_softcapping": 2.0, "layer_types": ["full_attention"] * 3}


@pytest.mark.parametrize(("save", "capped"), [(save_tiny_llava_next, False), (save_tiny_paligemma, True)])
def test_the_two_rows_follow_what_the_model_does_to_its_logits(
    tmp_path: Path, images: list[Image.Image], save: Callable[..., Path], capped: bool
) -> None:
    """Transformers' LLaVA-NeXT leaves out the cap that its language model asks for; PaliGemma does not."""
    scorer = Scorer(VLM(save(tmp_path, **CAPPED), attention="eager"), QUESTIONS)
    assert scorer.self_test(images[:2]).difference <= 1e-5
    found = score(scorer, images[:2])
    assert (p_yes(found) - p_yes(plain(scorer, images[:2]))).abs().max() <= 1e-5
    assert bool(found.abs().max() < 2) is capped
    scorer.bias = torch.tensor([3.0, 0.0])  # so that neither rule gives the model's own logits
    with pytest.raises(UserError, match="from its last hidden state"):
        scorer.self_test(images[:2])


def test_the_bias_of_an_output_matrix_counts(folder: Path, images: list[Image.Image]) -> None:
    vlm = VLM(folder)
    vlm.head.bias = torch.nn.Parameter(torch.linspace(-5, 5, len(vlm.head.weight)), requires_grad=False)
    scorer = Scorer(vlm, QUESTIONS)
    assert scorer.self_test(images[:2]).difference <= 1e-5
    assert (p_yes(score(scorer, images)) - p_yes(plain(scorer, images))).abs().max() <= 1e-5


def test_a_batch_that_does_not_fit_is_halved(
    scorer: Scorer, images: list[Image.Image], reference: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Scorer.hidden_in_one_go

    def cramped(self: Scorer, batch: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        if len(batch) > 1:
            raise torch.OutOfMemoryError
        return whole(self, batch)

    monkeypatch.setattr(Scorer, "hidden_in_one_go", cramped)
    found = score(scorer, [images[0], images[0], images[4]])
    assert (p_yes(found) - p_yes(reference[[0, 0, 4]])).abs().max() <= 1e-5


def test_an_image_that_does_not_fit_says_what_to_change(
    scorer: Scorer, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cramped(self: Scorer, batch: object) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Scorer, "hidden_in_one_go", cramped)
    with pytest.raises(UserError, match="too little memory for one image"):
        score(scorer, images[:1])


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
    backward = score(Scorer(VLM(folder), QUESTIONS[::-1]), images[::-1])
    assert (forward - backward.flip(0, 1)).abs().max() <= 1e-5


def test_an_image_does_not_leak_into_the_next(scorer: Scorer, images: list[Image.Image]) -> None:
    first, second = images[0], images[4]
    found = score(scorer, [first, second, first])
    assert found[0].equal(found[2])
    assert (p_yes(found[0]) - p_yes(found[1])).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        (
            "mask",
            lambda self, prefix, dtype, window: torch.zeros(1, 1, len(self.ids), prefix + len(self.ids), dtype=dtype),
        ),
        (
            "mask",
            lambda self, prefix, dtype, window: torch.full(
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
    with pytest.raises(UserError, match="self-test"):
        scorer.self_test(images[:2])


def test_the_self_test_reports_agreement_and_mass(scorer: Scorer, images: list[Image.Image]) -> None:
    result = scorer.self_test(images[:2])
    assert result.difference <= 1e-5
    assert 0 < result.least_mass < result.mass < 0.5, "a random model does not want to say yes or no"
    assert result.pairs == sum(result.top_tokens.values()) == 2 * len(QUESTIONS)


def test_bfloat16_keeps_float32_answers(folder: Path, images: list[Image.Image], reference: torch.Tensor) -> None:
    found = score(Scorer(VLM(folder, dtype=torch.bfloat16), QUESTIONS), images)
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
        Scorer(VLM(folder), QUESTIONS, answers=answers)


def test_a_model_without_a_chat_template_is_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        if file.name != "chat_template.jinja":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="no chat template"):
        Scorer(VLM(tmp_path), QUESTIONS)


@pytest.fixture
def question_first(folder: Path, tmp_path: Path) -> Path:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    template = chat_template("<IMG_CONTEXT>").replace("in message['content']", "in message['content'] | reverse")
    (tmp_path / "chat_template.jinja").write_text(template)
    return tmp_path


def test_a_template_with_the_question_first_is_refused(question_first: Path, images: list[Image.Image]) -> None:
    with pytest.raises(UserError, match="question before the image"):
        Scorer(VLM(question_first), QUESTIONS).prepare(images[0])


def test_images_are_alike_when_their_tokens_and_shapes_are() -> None:
    one = {"input_ids": torch.tensor([[1, 2]]), "pixel_values": torch.zeros(1, 3, 4, 4)}
    other_text = one | {"input_ids": torch.tensor([[1, 3]])}
    other_shape = one | {"pixel_values": torch.zeros(2, 3, 4, 4)}
    assert alike([one, other_text, one, other_shape]) == [[0, 2], [1], [3]]


def test_answers_that_are_no_numbers_fail_the_self_test(
    scorer: Scorer, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Scorer.hidden_in_one_go
    monkeypatch.setattr(Scorer, "hidden_in_one_go", lambda self, batch: whole(self, batch) * float("nan"))
    with pytest.raises(UserError, match="self-test"):
        scorer.self_test(images[:2])


def test_text_behind_the_image_that_depends_on_it_is_refused(scorer: Scorer, images: list[Image.Image]) -> None:
    scorer.prepare(images[0])
    assert scorer.branches is not None
    scorer.branches.tails[0].append(7)
    with pytest.raises(UserError, match="shared_prefix to false"):
        scorer.score([scorer.reader.inputs(images[0])])


def test_the_cost_counts_every_token_once(scorer: Scorer, images: list[Image.Image]) -> None:
    scorer.prepare(images[0])
    small, large = (scorer.cost(scorer.reader.inputs(image)) for image in (images[0], images[5]))
    prompts = [scorer.conversation.inputs(images[0], k)["input_ids"].shape[1] for k in range(len(QUESTIONS))]
    assert max(prompts) < small.tokens < sum(prompts)
    assert large.tokens - small.tokens == 6 * 4, "six tiles more, of four tokens"
    assert large.flops > small.flops > 0


def test_the_self_test_looks_at_the_last_question_too(
    scorer: Scorer, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = scorer.hidden

    def last_is_that_of_the_first(batch: Sequence[Any]) -> torch.Tensor:
        found = hidden(batch)
        found[:, -1] = found[:, 0]
        return found

    monkeypatch.setattr(scorer, "hidden", last_is_that_of_the_first)
    with pytest.raises(UserError, match="self-test"):
        scorer.self_test(images[:2])


def test_the_self_test_sees_a_difference_that_saturated_answers_hide(
    folder: Path, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm, questions = VLM(folder), QUESTIONS[:3]
    yes, _ = Scorer(vlm, questions).conversation.answer_ids
    seen = vlm.forward(Conversation(vlm.processor, questions, ("Yes", "No")).inputs(images[0]))[0]
    vlm.head.weight[yes] += 300 * seen / seen.norm()
    scorer = Scorer(vlm, questions)
    assert scorer.self_test(images[:1]).difference <= 1e-5
    hidden = scorer.hidden
    monkeypatch.setattr(scorer, "hidden", lambda batch: hidden(batch) * 1.001)
    assert p_yes(scorer.two_rows(hidden([scorer.reader.inputs(images[0])]))).min() > 1 - 1e-6
    with pytest.raises(UserError, match=r"max \|dq\| is 0 .* of z_yes - z_no \d"):
        scorer.self_test(images[:1])
