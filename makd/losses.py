"""Multi-aspect knowledge distillation, Eq. (4) to (6) of arXiv 2501.13341.

Our `p_yes` is the paper's q, our class and aspect logits are its y_hat before softmax and sigmoid.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
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
