"""Answers with logits that a test reads at a glance."""

import numpy as np

from makd.answers import Answers


def answers(*rows: list[float]) -> Answers:
    z_yes = np.array(rows, np.float32)
    return Answers(z_yes, -z_yes)


def bounded(z_yes: float, z_no: float, p_lo: float, p_hi: float) -> Answers:
    return Answers(*(np.full((1, 1), value, np.float32) for value in (z_yes, z_no, p_lo, p_hi)))
