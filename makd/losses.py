"""Multi-aspect knowledge distillation, Eq. (4) to (6) of arXiv 2501.13341, and class distillation beside it.

Our `p_yes` is the paper's q, our class and aspect logits are its y_hat before softmax and sigmoid.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

AspectLoss = Literal["bce", "kl"]


class Losses(NamedTuple):
    """`total` is what is minimised; the other two are its parts, before alpha."""

    total: Float[Tensor, ""]
    classes: Float[Tensor, ""]
    aspects: Float[Tensor, ""]


def multi_aspect_loss(
    class_logits: Float[Tensor, "batch classes"],
    aspect_logits: Float[Tensor, "batch aspects"],
    labels: Int[Tensor, " batch"],
    p_yes: Float[Tensor, "batch aspects"],
    *,
    alpha: float,
    aspect_loss: AspectLoss = "bce",
) -> Losses:
    """Cross-entropy on the classes (Eq. 4) plus `alpha` times the aspect loss (Eq. 6).

    At alpha 0 the total is the cross-entropy itself, bit for bit. `p_yes` is in [0, 1]; NaN where there is no answer.
    """
    classes = functional.cross_entropy(class_logits.float(), labels)
    aspects = {"bce": aspect_bce, "kl": aspect_kl}[aspect_loss](aspect_logits.float(), p_yes)
    return Losses(classes + alpha * aspects if alpha else classes, classes, aspects)


def aspect_bce(
    aspect_logits: Float[Tensor, "batch aspects"], p_yes: Float[Tensor, "batch aspects"]
) -> Float[Tensor, ""]:
    """Binary cross-entropy of every aspect (Eq. 5), mean over the answered pairs of image and question.

    Paper: Eq. (5) sums over the Q aspects; here: mean over batch and aspects, as in the authors' code, because their
    alpha of 4.0 goes with it and stays comparable when Q changes. No answer in the batch gives 0.
    """
    answered = ~p_yes.isnan()
    pairs = functional.binary_cross_entropy_with_logits(aspect_logits, p_yes.nan_to_num(), reduction="none")
    return (pairs * answered).sum() / answered.sum().clamp(min=1)


def aspect_kl(
    aspect_logits: Float[Tensor, "batch aspects"], p_yes: Float[Tensor, "batch aspects"]
) -> Float[Tensor, ""]:
    """KL(t || softmax of the aspect logits), mean over images; t = p_yes / its sum over the image's answered aspects.

    Paper: table 3a compares BCE with a "KL" without a formula. A KL for each question apart has the gradient of the
    BCE, so theirs must compare the aspects with one another, as this does. Aspects without an answer are outside of
    both distributions; images without any do not count.
    """
    answered = ~p_yes.isnan()
    weights = p_yes.nan_to_num()
    total = weights.sum(dim=1, keepdim=True)
    target = weights / total.clamp(min=torch.finfo(weights.dtype).tiny)
    # The lowest finite number, not -inf: a row without answers would have NaN gradients.
    log_p = aspect_logits.masked_fill(~answered, torch.finfo(aspect_logits.dtype).min).log_softmax(dim=1)
    per_image = (torch.xlogy(target, target) - target * log_p).sum(dim=1)
    return per_image.sum() / (total > 0).sum().clamp(min=1)


def kd_loss(
    student: Float[Tensor, "batch classes"], teacher: Float[Tensor, "batch classes"], *, temperature: float
) -> Float[Tensor, ""]:
    """temperature² x KL(teacher || student) of the softmax over the classes, mean over images (arXiv 1503.02531).

    Images for which the teacher's logits are NaN do not count; a batch of them gives 0.
    """
    known, teacher = without_unknown(teacher.float())
    log_p = (student.float() / temperature).log_softmax(dim=1)
    target = (teacher / temperature).log_softmax(dim=1)
    per_image = functional.kl_div(log_p, target, reduction="none", log_target=True).sum(dim=1)
    return temperature**2 * mean_of(per_image, known)


def dkd_loss(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    *,
    beta: float,
    temperature: float,
) -> Float[Tensor, ""]:
    """Decoupled distillation, TCKD + `beta` x NCKD (Eq. 7 of arXiv 2203.08679), times temperature²; NaN as above.

    TCKD is the KL of (p of the label, p of all others), NCKD that of the softmax over the other classes alone. The KL
    of `kd_loss` is TCKD + (1 - the teacher's p of the label) x NCKD.
    """
    known, teacher = without_unknown(teacher.float())
    is_label = functional.one_hot(labels, student.shape[1]).bool()
    log_s, log_t = ((logits.float() / temperature).log_softmax(dim=1) for logits in (student, teacher))
    binary_s, binary_t = (label_and_rest(log_p, is_label) for log_p in (log_s, log_t))
    tckd = functional.kl_div(binary_s, binary_t, reduction="none", log_target=True).sum(dim=1)

    # The lowest finite number, not -inf: the label's place would have NaN gradients.
    lowest = torch.finfo(log_s.dtype).min
    others_s, others_t = (log_p.masked_fill(is_label, lowest).log_softmax(dim=1) for log_p in (log_s, log_t))
    terms = functional.kl_div(others_s, others_t, reduction="none", log_target=True)
    nckd = terms.masked_fill(is_label, 0.0).sum(dim=1)
    return temperature**2 * mean_of(tckd + beta * nckd, known)


def label_and_rest(
    log_p: Float[Tensor, "batch classes"], is_label: Bool[Tensor, "batch classes"]
) -> Float[Tensor, "batch 2"]:
    """Logarithms of the label's probability and of that of all other classes together."""
    label = log_p[is_label]
    rest = log_p.masked_fill(is_label, torch.finfo(log_p.dtype).min).logsumexp(dim=1)
    return torch.stack([label, rest], dim=1)


def without_unknown(
    teacher: Float[Tensor, "batch classes"],
) -> tuple[Bool[Tensor, " batch"], Float[Tensor, "batch classes"]]:
    """Which images the teacher knows, and its logits with zeros for the others."""
    known = ~teacher.isnan().any(dim=1)
    return known, teacher.masked_fill(~known[:, None], 0.0)


def mean_of(per_image: Float[Tensor, " batch"], known: Bool[Tensor, " batch"]) -> Float[Tensor, ""]:
    return (per_image * known).sum() / known.sum().clamp(min=1)
