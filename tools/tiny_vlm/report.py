"""The numbers of the model card: the sixty questions, paraphrases never trained on, calibration."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tools.tiny_vlm.data import Birds
from tools.tiny_vlm.measure import Oracle, Score, brier, calibration_error, right_answers, scores
from tools.tiny_vlm.questions import (
    UNSEEN_INSTRUCTIONS,
    Question,
    canonical_questions,
    default_instruction,
    unseen_absences,
    unseen_questions,
)

Kinds = dict[str, tuple[list[Question], tuple[str, ...]]]


@dataclass(frozen=True)
class Summary:
    """Means over the questions of one kind."""

    accuracy: float
    auc: float
    n_questions: int


@dataclass(frozen=True)
class Report:
    """What was measured on birds that neither training nor the choice of the recipe has seen."""

    n_birds: int
    n_paraphrase_birds: int
    canonical: dict[str, Score]
    paraphrases: dict[str, Summary]
    brier: float
    calibration_error: float
    least_mass: float
    confident: float  # share of answers with P(yes) below 0.01 or above 0.99

    @property
    def accuracy(self) -> float:
        return float(np.mean([score.accuracy for score in self.canonical.values()]))

    @property
    def least_auc(self) -> float:
        return float(np.nanmin([score.auc for score in self.canonical.values()]))


def measure(
    oracle: Oracle, birds: Birds, n_paraphrase_birds: int, n_paraphrases: int, log: Callable[[str], None]
) -> Report:
    questions = canonical_questions()
    found, answers = scores(oracle, birds, questions, default_instruction())
    right = right_answers(birds, questions)
    fewer = Birds(birds.pictures[:n_paraphrase_birds], birds.truths[:n_paraphrase_birds])
    report = Report(
        n_birds=len(birds.truths),
        n_paraphrase_birds=len(fewer.truths),
        canonical={question.text: score for question, score in zip(questions, found, strict=True)},
        paraphrases={},
        brier=brier(answers.p_yes, right),
        calibration_error=calibration_error(answers.p_yes, right),
        least_mass=float(answers.mass.min()),
        confident=float(np.mean(np.abs(answers.p_yes - 0.5) > 0.49)),
    )
    log(f"the sixty: accuracy {report.accuracy:.4f}, least AUC {report.least_auc:.4f}")
    return replace(report, paraphrases=measure_paraphrases(oracle, fewer, paraphrases(questions, n_paraphrases), log))


def measure_paraphrases(oracle: Oracle, birds: Birds, kinds: Kinds, log: Callable[[str], None]) -> dict[str, Summary]:
    found = {}
    for kind, (questions, instructions) in kinds.items():
        each = [score for one in instructions for score in scores(oracle, birds, questions, one)[0]]
        aucs = [score.auc for score in each if not np.isnan(score.auc)]
        accuracy = float(np.mean([score.accuracy for score in each]))
        found[kind] = Summary(accuracy, float(np.mean(aucs)) if aucs else float("nan"), len(each))
        log(f"{kind}: accuracy {accuracy:.4f}, AUC {found[kind].auc:.4f}")
    return found


def paraphrases(canonical: list[Question], count: int) -> Kinds:
    """By kind: questions, and the instructions under which each is asked."""
    rng = np.random.default_rng(7)
    usual = (default_instruction(),)

    def unseen(phrase: bool, form: bool) -> list[Question]:
        return unseen_questions(phrase=phrase, form=form, count=count, rng=rng)

    return {
        "phrases and forms of the training, composed anew": (unseen(False, False), usual),
        "unseen phrase": (unseen(True, False), usual),
        "unseen form": (unseen(False, True), usual),
        "unseen phrase and form": (unseen(True, True), usual),
        "unseen instruction": (canonical, UNSEEN_INSTRUCTIONS),
        "unseen things that are in no picture": (unseen_absences(), usual),
    }
