"""What the log-probabilities of a first token say about P(yes): both numbers, or honest bounds.

A server may tell the k likeliest tokens alone. Of an answer that is not among them no more is known than that it is at
most as likely as the k-th, and that all probabilities sum to 1. Nothing is ever made up for it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

NAN = math.nan
SENTINEL = -9000.0
"""Some servers write -9999.0 for a probability that they do not tell (openai/openai-python#2257)."""
ROUNDING = 1e-6
"""How much the sum of k probabilities, rounded on their way here, may be off."""
MASS_ABOVE_ONE = 1e-3
SPACES = " \u2581\u0120\n"
"""What may stand in front of a word in a token: a space, as sentencepiece and byte-level BPE write it, too."""


class Malformed(Exception):
    """A reply without the numbers that were asked for; the message completes "the server sent ..."."""


class FirstToken(NamedTuple):
    """log P(yes) and log P(no); where only one or none of them is known, the bounds of the share of yes, in [0, 1].

    Natural logarithms, which serve as logits: Eq. (1) sees their difference alone.
    """

    z_yes: float
    z_no: float
    p_lo: float = NAN
    p_hi: float = NAN

    @property
    def exact(self) -> bool:
        return not math.isnan(self.z_yes) and not math.isnan(self.z_no)

    @property
    def mass(self) -> float:
        """How much of the first token's probability the answers are known to hold."""
        return sum(math.exp(z) for z in (self.z_yes, self.z_no) if not math.isnan(z))


UNANSWERED = FirstToken(NAN, NAN)


def exact(z_yes: float, z_no: float) -> FirstToken:
    """Both log-probabilities of one distribution.

    Raises:
        Malformed: they are none, or not of one distribution, as those of a sampler that lets one token through.
    """
    if not (SENTINEL < z_yes <= ROUNDING and SENTINEL < z_no <= ROUNDING):
        raise Malformed(f"{z_yes} and {z_no} as log-probabilities of the two answers")
    found = FirstToken(z_yes, z_no)
    if found.mass > 1 + MASS_ABOVE_ONE:
        raise Malformed(f"probabilities of the two answers whose sum is {found.mass:.3f}, more than 1")
    return found


def among_top(top: Sequence[tuple[str, float]], yes: Sequence[str], no: Sequence[str]) -> FirstToken:
    """From the likeliest tokens and their log-probabilities (NaN: not told).

    Args:
        top: the tokens.
        yes: spellings of the one answer, such as the word and its id.
        no: those of the other, in the same order: both answers are taken in one spelling.

    Raises:
        Malformed: no probability at all, one of an answer that is none, or more than 1 in all.
    """
    told = [(token, z) for token, z in dict.fromkeys(top) if z > SENTINEL]  # the sampled token may come twice
    z_yes, z_no = best_spelling(dict(sorted(told, key=lambda one: one[1])), yes, no)
    unreadable = {token for token, z in top if math.isnan(z) and token.lstrip(SPACES) in (*yes, *no)}
    if unreadable or any(z > ROUNDING for _, z in told):
        raise Malformed(f"log-probabilities that are none: {dict(top)}"[:300])
    if not told:
        raise Malformed("no log-probabilities")
    mass = sum(math.exp(z) for _, z in told)
    if mass > 1 + MASS_ABOVE_ONE:
        raise Malformed(f"probabilities whose sum is {mass:.3f}, more than 1")
    if z_yes is not None and z_no is not None:
        return exact(z_yes, z_no)
    most = min(min(z for _, z in told), math.log(max(0.0, 1 - mass) + ROUNDING))  # of an answer that is not told
    if z_yes is not None:
        return FirstToken(z_yes, NAN, share(z_yes, most), 1.0)
    if z_no is not None:
        return FirstToken(NAN, z_no, 0.0, share(most, z_no))
    return FirstToken(NAN, NAN, 0.0, 1.0)


def best_spelling(
    told: Mapping[str, float], yes: Sequence[str], no: Sequence[str]
) -> tuple[float | None, float | None]:
    """Both answers as they are spelled alike; where several spellings are told, one that has both, then the likelier.

    " Yes" and "No" are of two spellings, and say nothing of each other.
    """
    found: dict[tuple[str, int], list[float | None]] = {}
    for side, spellings in enumerate((yes, no)):
        for token, z in told.items():
            word = token.lstrip(SPACES)
            if word in spellings:
                variant = token[: len(token) - len(word)], spellings.index(word)
                found.setdefault(variant, [None, None])[side] = z

    def merit(pair: Sequence[float | None]) -> tuple[bool, float]:
        return None not in pair, sum(math.exp(z) for z in pair if z is not None)

    z_yes, z_no = max(found.values(), key=merit, default=[None, None])
    return z_yes, z_no


def share(z_yes: float, z_no: float) -> float:
    """Eq. (1) for two numbers, without overflow."""
    gap = z_no - z_yes
    return 1 / (1 + math.exp(gap)) if gap < 700 else 0.0


def top_of(completion: Mapping[str, Any]) -> tuple[tuple[str, float], list[tuple[str, float]]]:
    """The first token of a chat completion and the likeliest ones, as (token, log-probability) each.

    Raises:
        Malformed: something else was sent.
    """
    try:
        choices = completion["choices"]
        choice = next((one for one in choices if one.get("index") == 0), choices[0])
        first = choice["logprobs"]["content"][0]
        top = [(str(one["token"]), as_number(one["logprob"])) for one in first.get("top_logprobs") or []]
        return (str(first["token"]), float(first["logprob"])), top
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError):
        raise Malformed(described(completion)) from None


def as_number(logprob: Any) -> float:
    """NaN where it is null."""
    return NAN if logprob is None else float(logprob)


def described(completion: Mapping[str, Any]) -> str:
    """What came instead of log-probabilities, in a few words."""
    if error := completion.get("error"):
        return f"the error {str(error)!r}"
    return "no log-probabilities of the first token" if completion.get("choices") else "no chat completion"
