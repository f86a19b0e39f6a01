"""`makd explain`: which aspects of a picture speak for the predicted class and against its strongest rivals.

It is evidence from the aspect head (makd/evidence.py), not the reasoning of the class head: both read the same
features, and neither reads the other. How often they agree is measured by `evaluate` (reports/faithfulness.csv).
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from makd.errors import UserError
from makd.evidence import evidence, log_likelihoods
from makd.pictures import load_rgb
from makd.shipped import Format, ShippedStudent, load_shipped

NOTE = "Evidence from the aspect outputs, not the reasoning of the class outputs: those never see it."
RIVALS = 2


@dataclass(frozen=True)
class Aspect:
    """One answer about the picture, beside what is usual for two classes; all P(yes) in [0, 1].

    `nats` above 0 speak for the predicted class, below 0 for the rival.
    """

    question: str
    p_yes: float
    predicted: float
    rival: float
    nats: float


@dataclass(frozen=True)
class Rival:
    """Another class, with its probability, and every aspect between it and the prediction, the weightiest first."""

    name: str
    probability: float
    nats: float  # the sum over the aspects
    aspects: list[Aspect]


@dataclass(frozen=True)
class Explanation:
    """What is said of one picture; `by_aspects` is the class that the aspects alone would choose."""

    predicted: str
    probability: float
    by_aspects: str
    rivals: list[Rival]

    @property
    def agrees(self) -> bool:
        return self.by_aspects == self.predicted

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"note": NOTE}


def explain(
    model: ShippedStudent | Path | str,
    image: Image.Image | Path | str,
    *,
    rivals: int = RIVALS,
    format: Format | None = None,
) -> Explanation:
    """Hold the aspects of a picture against the class means of the training split.

    Args:
        model: a folder of `makd export --aspects`, or a student from `load_shipped`.
        image: a picture, or its file.
        rivals: how many of the next likeliest classes are compared with the prediction.
        format: which file of the folder computes; None: the first there is.

    Raises:
        UserError: no such model, or one without aspects; an unreadable picture.
    """
    if rivals < 1:
        raise UserError(f"rivals must be 1 or more, got {rivals}")
    student = model if isinstance(model, ShippedStudent) else load_shipped(model, format)
    student.need_aspects()
    if len(student.classes) < 2:
        raise UserError(f"{student.folder} knows one class, which has no rival to be told from")
    picture = image if isinstance(image, Image.Image) else load_rgb(Path(image))
    classes, aspects = student.probabilities(student.pixels([picture]))
    [p_class], [p_yes], means = classes, aspects, student.class_means
    assert means is not None
    first, *others = np.argsort(-p_class, kind="stable")[: rivals + 1]

    def rival(label: int) -> Rival:
        nats = evidence(p_yes, means[first], means[label])
        found = [
            Aspect(
                student.questions[k], float(p_yes[k]), float(means[first, k]), float(means[label, k]), float(nats[k])
            )
            for k in np.argsort(-np.abs(nats), kind="stable")
        ]
        return Rival(student.classes[label], float(p_class[label]), float(nats.sum()), found)

    return Explanation(
        predicted=student.classes[first],
        probability=float(p_class[first]),
        by_aspects=student.classes[int(log_likelihoods(aspects, means).argmax())],
        rivals=[rival(int(label)) for label in others],
    )


def explanation_text(explanation: Explanation, *, shown: int = 6) -> str:
    """A paragraph a rival, with its `shown` weightiest aspects: P(yes) here, usual for the class and for the rival."""
    lines = [f"{explanation.predicted}, {explanation.probability:.1%}"]
    for rival in explanation.rivals:
        side = explanation.predicted if rival.nats > 0 else rival.name
        lines += [
            "",
            f"rather than {rival.name}, {rival.probability:.1%}: the aspects speak for {side}, {rival.nats:+.1f} nats",
            f"{'nats':>6}  {'here':>5} {'class':>5} {'rival':>5}",
        ]
        lines += [
            f"{one.nats:+6.1f}  {one.p_yes:5.0%} {one.predicted:5.0%} {one.rival:5.0%}  {one.question}"
            for one in rival.aspects[:shown]
        ]
        if len(rival.aspects) > shown:
            rest = sum(one.nats for one in rival.aspects[shown:])
            lines.append(f"{rest:+6.1f}  the other {len(rival.aspects) - shown}")
    return "\n".join([*lines, "", verdict(explanation), NOTE])


def verdict(explanation: Explanation) -> str:
    if explanation.agrees:
        return f"The aspects alone would say {explanation.by_aspects}, too."
    return f"The aspects alone would say {explanation.by_aspects}, not {explanation.predicted}."
