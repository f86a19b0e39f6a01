"""The answers to questions about images: two logits each, or what a server tells of them; Eq. (1)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from makd.store_parts import Logits


@dataclass(frozen=True)
class Answers:
    """The two logits of each (image, question), both of shape (images, questions); NaN where there is no answer.

    A server that tells the likeliest tokens alone may leave a logit out. It is NaN then, and P(yes) lies between two
    bounds in [0, 1], which are NaN wherever both logits are there.
    """

    z_yes: Logits
    z_no: Logits
    p_lo: Logits | None = None
    p_hi: Logits | None = None

    @classmethod
    def of(cls, channels: npt.NDArray[np.float32]) -> "Answers":
        """Of what an `Answerer` gives: z_yes and z_no, or these and p_lo and p_hi, along the last axis."""
        return cls(*(channels[..., k].copy() for k in range(channels.shape[-1])))

    @property
    def bounds(self) -> tuple[Logits, Logits] | None:
        """p_lo and p_hi, if a single answer here has them."""
        if self.p_lo is None or self.p_hi is None or np.isnan(self.p_lo).all():
            return None
        return self.p_lo, self.p_hi

    def target(self, widest: float) -> Logits:
        """`p_yes`; where one logit is told, the bounds' middle if they are at most `widest` apart, else NaN."""
        if self.p_lo is None or self.p_hi is None:
            return self.p_yes
        told = ~(np.isnan(self.z_yes) & np.isnan(self.z_no))
        narrow = told & (self.p_hi - self.p_lo <= widest)  # False where they are NaN
        return np.where(narrow, (self.p_lo + self.p_hi) / 2, self.p_yes)

    @property
    def p_yes(self) -> Logits:
        """Eq. (1): softmax over the two logits, the share of yes, in [0, 1]; NaN where one of them is."""
        with np.errstate(over="ignore"):  # exp overflows to inf where q is 0
            return np.asarray(1 / (1 + np.exp(self.z_no.astype(np.float64) - self.z_yes)), dtype=np.float32)

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """Of which nothing is known: neither a logit nor bounds."""
        known = ~np.isnan(self.z_yes)
        return ~known if self.p_lo is None else ~(known | ~np.isnan(self.z_no) | ~np.isnan(self.p_lo))
