from typing import Any

import numpy as np
import pandas as pd
import pytest

from makd.summary import BIRDS, aspect_words, class_words, gap_words, question_words, summary

NAN = np.nan


def flagged(*flags: str | float) -> pd.DataFrame:
    """A question table, as it is read: text, whatever is in it."""
    return pd.DataFrame({"question": "a?", "flags": pd.Series(flags, dtype="str")})


ASPECTS = "the aspects at alpha 4"


def gap(**changes: object) -> dict[str, Any]:
    row: dict[str, Any] = {"model": "resnet18", "baseline": 70.0, "baseline_std": 1.0, "makd": 75.0, "makd_std": 0.5}
    row |= {"gap": 5.0, "gap_std": 1.5, "gap_low": 1.25, "gap_high": 8.75, "p_value": 0.0123}
    return row | changes


def test_the_gap_is_said_with_its_interval_and_p() -> None:
    assert gap_words(gap(), ASPECTS) == (
        "resnet18: 70.0 ± 1.0 % by cross-entropy alone, 75.0 ± 0.5 % with the aspects at alpha 4; "
        "the gap is +5.0 ± 1.5 points, with a 95 % interval over the test images of +1.2 to +8.8, "
        "which lies above zero (paired test: p = 0.012)."
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 3.0, "which lies above zero"),
        (-3.0, -0.1, "which lies below zero"),
        (-1.0, 2.0, "which contains zero"),
        (0.0, 2.0, "which contains zero"),
        (-2.0, 0.0, "which contains zero"),
    ],
)
def test_whether_the_interval_contains_zero_is_said_as_it_is(low: float, high: float, verdict: str) -> None:
    words = gap_words(gap(gap_low=low, gap_high=high), ASPECTS)
    assert verdict in words
    assert sum(words.count(one) for one in ("above zero", "below zero", "contains zero")) == 1


def test_one_seed_has_no_deviation_and_a_tiny_p_no_equals_sign() -> None:
    words = gap_words(gap(baseline_std=NAN, makd_std=NAN, gap_std=NAN, p_value=1e-9), ASPECTS)
    assert "±" not in words
    assert "70.0 % by cross-entropy" in words
    assert "p < 0.0001" in words


def test_classes_that_gain_and_lose_are_counted_and_the_extremes_named() -> None:
    classes = pd.DataFrame({"class": ["jay", "owl", "kite", "dodo"], "test_images": [4, 4, 4, 0]})
    words = class_words("m", classes.assign(change=[5.0, -2.5, 7.5, NAN]))
    assert words.startswith("m: 2 classes gain, 1 loses;")
    assert "from -2.5 points (owl) to +7.5 (kite)" in words
    assert "dodo" not in words
    assert class_words("m", classes.assign(change=[5.0, 0.0, 0.0, NAN])).startswith("m: 1 class gains, 0 lose;")


def test_the_least_learned_question_is_named() -> None:
    agreement = pd.DataFrame({"question": ["a?", "b?", "c?"], "auc": [0.9, NAN, 0.6], "answers": 4})
    words = aspect_words("m", agreement)
    assert "AUC of 0.750" in words
    assert "mean over 2 questions; least on “c?” (0.600)" in words
    only_yes = aspect_words("m", agreement.assign(auc=NAN, brier=[0.1, 0.2, 0.3]))
    assert "only yes or only no" in only_yes
    assert "0.200" in only_yes
    assert "not asked about the test images" in aspect_words("m", agreement.assign(auc=NAN, answers=0))


def test_flags_are_counted_by_kind() -> None:
    flags: list[str | float] = [
        "constant",
        "redundant with 1 (r = 0.97); tells nothing about the class",
        NAN,
        "constant",
        NAN,
    ]
    words = question_words(flagged(*flags), "absent")
    assert words == "3 of 5 questions are flagged (2 “constant”, 1 “redundant”, 1 “tells nothing”)."
    assert question_words(flagged(NAN, NAN), "absent") == "0 of 2 questions are flagged."
    assert question_words(flagged(NAN, "constant"), "absent").startswith("1 of 2 questions is flagged")


def test_the_truth_is_spoken_of_where_it_is_known() -> None:
    truth = {"questions": 2, "accuracy": 87.65, "accuracy_least": 50.0}
    words = question_words(flagged(NAN), truth)
    assert "(2 questions), the teacher is right on 87.7 % of the answers, on 50.0 % of the worst question's" in words


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    accuracy = pd.DataFrame([gap(model=model, n_seeds=3, zero_shot=NAN) for model in ("a", "b")])
    classes = pd.DataFrame(
        {"model": ["a", "a", "b", "b"], "class": ["jay", "owl"] * 2, "test_images": 4, "change": 1.0}
    )
    agreement = pd.DataFrame({"model": ["a", "b"], "question": ["x?"] * 2, "auc": 0.9})
    return {
        "accuracy": accuracy,
        "classes": classes,
        "agreement": agreement,
        "questions": flagged(NAN),
    }


METRICS = {"images": {"test": 1200}, "teacher": {"truth": "absent"}}


def test_a_paragraph_each_for_every_student_and_the_birds_are_owned_up_to(tables: dict[str, pd.DataFrame]) -> None:
    words = summary("birds", METRICS, tables, learned=ASPECTS)
    assert words[0].startswith("1,200 test images of 2 classes, 1 question, 3 seeds.")
    assert [text.split(":")[0] for text in words[1:7]] == ["a", "b"] * 3
    assert words[-1] == BIRDS
    assert BIRDS not in summary("cub200", METRICS, tables, learned=ASPECTS)
    assert not any("nan" in text for text in words)


def test_the_multimodal_llm_is_spoken_of_where_it_was_asked(tables: dict[str, pd.DataFrame]) -> None:
    said = "The multimodal LLM, asked for the classes themselves, is right on 49.4 % of them."
    assert not any("multimodal LLM, asked" in text for text in summary("dtd", METRICS, tables, learned=ASPECTS))
    tables["accuracy"] = tables["accuracy"].assign(zero_shot=49.38)
    assert said in summary("dtd", METRICS, tables, learned=ASPECTS)
