import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from makd.birds import facts, random_marks
from tools.tiny_vlm.build import build, train
from tools.tiny_vlm.data import Birds, species_birds, training_birds
from tools.tiny_vlm.fold import fit_probes, units
from tools.tiny_vlm.measure import Oracle, calibration_error, right_answers, scores
from tools.tiny_vlm.phrases import PHRASES, UNSEEN_PHRASES
from tools.tiny_vlm.questions import (
    FACTS,
    N_TOPICS,
    Question,
    canonical_questions,
    compose,
    default_instruction,
    instruct,
    unseen_questions,
)
from tools.tiny_vlm.questions import FORMS as SEEN_FORMS
from tools.tiny_vlm.recipe import Recipe

SHIPPED = Path("data/tiny_vlm")
MINUSCULE = Recipe(
    tower_birds=128,
    tower_epochs=1,
    projector_epochs=1,
    batch=64,
    answer_birds=64,
    reading_steps=2,
    probe_batches=1,
    answer_steps=2,
    birds_a_step=4,
    questions_a_bird=2,
    test_birds=6,
    paraphrase_birds=2,
    paraphrases=3,
    workers=1,
)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle(SHIPPED)


@pytest.fixture(scope="module")
def birds() -> Birds:
    return species_birds(300, "tests", workers=1)


def test_the_shipped_model_loads_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    AutoProcessor.from_pretrained(SHIPPED)
    model = AutoModelForImageTextToText.from_pretrained(SHIPPED)
    assert model.dtype == torch.float16
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 6_000_000


@pytest.mark.slow
def test_it_answers_the_sixty_questions(oracle: Oracle, birds: Birds) -> None:
    found, answers = scores(oracle, birds, canonical_questions(), default_instruction())
    assert np.mean([score.accuracy for score in found]) >= 0.97
    assert np.nanmin([score.auc for score in found]) >= 0.95
    assert answers.mass.min() > 0.98


@pytest.mark.slow
def test_it_understands_unseen_words_and_sentences_under_an_unseen_instruction(oracle: Oracle, birds: Birds) -> None:
    questions = [
        *unseen_questions(phrase=True, form=True, count=len(FACTS), rng=np.random.default_rng(3)),
        Question("Do you notice a crest on this bird?", "crest"),
        Question("Could you confirm that the bird has got orange legs?", "orange_legs"),
        Question("Is snow visible anywhere around the bird?", "in_snow"),
    ]
    few = Birds(birds.pictures[:100], birds.truths[:100])
    found, _ = scores(oracle, few, questions, "$question Please say only Yes or No.")
    assert np.mean([score.accuracy for score in found]) >= 0.9


@pytest.mark.slow
def test_it_understands_words_and_sentences_that_it_was_never_trained_on(oracle: Oracle, birds: Birds) -> None:
    rng = np.random.default_rng(3)
    kinds = ({"phrase": True, "form": False}, {"phrase": False, "form": True}, {"phrase": True, "form": True})
    questions = [question for kind in kinds for question in unseen_questions(**kind, count=len(FACTS), rng=rng)]
    few = Birds(birds.pictures[:100], birds.truths[:100])
    found, _ = scores(oracle, few, questions, default_instruction())
    assert np.mean([score.accuracy for score in found]) >= 0.9


def test_a_shared_prefix_gives_the_answers_of_whole_prompts(oracle: Oracle, birds: Birds) -> None:
    few = Birds(birds.pictures[:3], birds.truths[:3])
    texts = [instruct(question.text, default_instruction()) for question in canonical_questions()[:4]]
    shared = oracle.ask(few, texts).p_yes
    for column, text in enumerate(texts):
        for row, picture in enumerate(few.pictures):
            inputs = oracle.processor(images=picture, text=oracle.prompt(text), return_tensors="pt")
            with torch.no_grad():
                logits = oracle.model(**inputs.to(oracle.model.device)).logits[0, -1].double()
            alone = torch.sigmoid(logits[oracle.yes] - logits[oracle.no]).item()
            assert shared[row, column] == pytest.approx(alone, abs=1e-4)


def test_generating_says_one_word_and_stops(oracle: Oracle, birds: Birds) -> None:
    text = oracle.prompt(instruct("Is there a chain saw?", default_instruction()))
    inputs = oracle.processor(images=birds.pictures[0], text=text, return_tensors="pt").to(oracle.model.device)
    made = oracle.model.generate(**inputs, max_new_tokens=5)[0, inputs.input_ids.shape[1] :]
    assert oracle.processor.decode(made, skip_special_tokens=True) in ("Yes", "No")
    assert made[-1] == oracle.processor.tokenizer.eos_token_id


@pytest.mark.slow
def test_the_whole_path_makes_a_folder_that_loads_and_describes_itself(tmp_path: Path) -> None:
    report = build(MINUSCULE, tmp_path / "model", lambda _: None)
    assert Oracle(tmp_path / "model").ask(training_birds(1, "other", workers=1), ["Is it?"]).p_yes.shape == (1, 1)
    card = (tmp_path / "model" / "README.md").read_text()
    assert all(question.text in card for question in canonical_questions())
    assert f"{report.accuracy:.4f}" in card


@pytest.mark.slow
def test_what_is_folded_in_answers_by_a_product_of_what_is_asked_and_what_is_seen() -> None:
    generator = torch.Generator().manual_seed(0)
    topics = torch.randint(N_TOPICS, (3000,), generator=generator)
    truths = torch.randint(2, (3000, len(FACTS)), generator=generator).float()
    plain = torch.cat([3 * torch.nn.functional.one_hot(topics, N_TOPICS), 2 * truths - 1, torch.ones(3000, 1)], dim=1)
    inputs = plain @ torch.linalg.qr(torch.randn(plain.shape[1], 128, generator=generator).T)[0].T
    gate, up = units(inputs, topics, *fit_probes(inputs, topics, truths))
    said = (torch.nn.functional.silu(inputs @ gate.T) * (inputs @ up.T)).sum(1) > 0
    known = torch.cat([truths, torch.ones(3000, 1)], dim=1).bool()  # the last topics: what always holds
    right = known.gather(1, topics[:, None] // 2)[:, 0] != (topics % 2 == 1)
    assert (said == right).float().mean() > 0.99


@pytest.mark.slow
def test_equal_seeds_make_equal_weights() -> None:
    one, other = (train(MINUSCULE, lambda _: None)[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_there_are_phrases_for_every_fact_and_none_is_both_trained_on_and_held_out() -> None:
    truth = facts(random_marks(np.random.default_rng(0)))
    assert set(PHRASES) == set(UNSEEN_PHRASES) == set(truth)
    assert not any(set(PHRASES[fact]) & set(UNSEEN_PHRASES[fact]) for fact in PHRASES)


def test_a_contrary_phrase_in_a_contrary_form_asks_for_the_fact_again() -> None:
    rng = np.random.default_rng(0)
    asked = [compose("plump", "not | slim", SEEN_FORMS, rng) for _ in range(40)]
    for question in asked:
        contrary = any(word in question.text for word in (" not ", "false", "anything but"))
        assert question.negated != contrary
    assert {question.negated for question in asked} == {True, False}


def test_right_answers_follow_the_truths_of_the_birds() -> None:
    few = training_birds(5, "other", workers=1)
    questions = [Question("", "crest"), Question("", "crest", negated=True), Question("", None)]
    right = right_answers(few, questions)
    assert (right[:, 0] == few.truths[:, FACTS.index("crest")]).all()
    assert (right[:, 1] != right[:, 0]).all()
    assert right[:, 2].all()


def test_the_calibration_error_is_zero_for_shares_that_come_true_and_large_for_lies() -> None:
    right = np.array([True, True, False, False])
    assert calibration_error(np.full(4, 0.5), right) == 0
    assert calibration_error(1.0 - right, right) == 1


def test_the_folded_units_multiply_what_is_asked_with_what_is_seen() -> None:
    rng = torch.Generator().manual_seed(0)
    topics = torch.randint(N_TOPICS, (500,), generator=rng)
    truths = torch.randint(2, (500, len(FACTS)), generator=rng).bool()
    asked = torch.nn.functional.one_hot(topics, N_TOPICS).float()
    inputs = torch.cat([asked, truths * 2.0 - 1, torch.ones(500, 1)], dim=1)
    identity = torch.eye(inputs.shape[1])
    read_topic, read_fact = identity[:N_TOPICS], identity[N_TOPICS:-1]
    gate, up = units(inputs, topics, read_topic, read_fact)
    said = (torch.nn.functional.silu(inputs @ gate.T) * (inputs @ up.T)).sum(1) > 0
    with_always = torch.cat([truths, torch.ones(500, 1, dtype=torch.bool)], dim=1)
    right = with_always[torch.arange(500), topics // 2] != (topics % 2).bool()
    assert (said == right).float().mean() > 0.99
