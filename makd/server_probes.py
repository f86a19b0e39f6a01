"""What is found out about a server before it is trusted with thousands of questions.

Each probe that fails says what to change on the server (docs/servers.md).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from makd.errors import UserError
from makd.first_token import FirstToken, Malformed, share, top_of
from makd.logprob_modes import CHAT, Asking
from makd.server_budget import Stopped
from makd.server_client import Failed, Refused

SAME = 0.05
GAP_SAME = 0.5
"""P(yes), and z_yes - z_no in nats, of one picture asked twice may differ by so much: a prefix cache changes the order
of sums, and in 16 bits a logit of 20 lies on a grid of an eighth."""
LEAST_MASS = 0.1
"""Below this share of the first token, yes and no are not answers but noise."""
STRONG = 100.0
"""A penalty that hardly a word of the prompt survives: only where all others have negative logits."""
IMPOSSIBLE = -1.0
NOISE = 0.05
"""Of a log-probability, in nats, where a request is sent twice."""


def gaps(answers: Sequence[FirstToken]) -> npt.NDArray[np.float64]:
    """z_yes - z_no; where one is not told, the one that is, so that pictures can be told apart by it."""
    z = np.array([(one.z_yes, one.z_no) for one in answers])
    gap = z[:, 0] - z[:, 1]
    return np.where(np.isnan(gap), np.where(np.isnan(z[:, 0]), -z[:, 1], z[:, 0]), gap)


def check_mixed_images(first: Sequence[FirstToken], other: Sequence[FirstToken], again: Sequence[FirstToken]) -> float:
    """Picture A, then its negative B, then A: A must be answered as before, and B otherwise; returns max |dp| of A.

    Servers have been seen to answer about the picture of another request, whose prompt has the same text and length
    (waybarrios/vllm-mlx#718, InternLM/lmdeploy#4618).

    Raises:
        UserError: they are mixed up, or not looked at.
    """
    a, b, a_again = gaps(first), gaps(other), gaps(again)
    if not (np.isfinite(a).any() and np.isfinite(b).any()):  # neither word is among the likeliest tokens: `audit`
        return 0.0
    p, p_again = (np.array([share(gap, 0.0) for gap in one if np.isfinite(gap)]) for one in (a, a_again))
    changed = float(np.abs(p - p_again).max()) if len(p) == len(p_again) else 1.0
    apart, noise = float(np.nanmax(np.abs(a - b))), float(np.nanmax(np.abs(a - a_again)))
    if changed > SAME or noise > GAP_SAME:
        raise UserError(
            f"the server mixes up pictures: asked about one picture, another one, and the first again, P(yes) of the "
            f"first differs by {changed:.2g} (accepted: {SAME:g}), z_yes - z_no by {noise:.2g} (accepted: "
            f"{GAP_SAME:g}); switch off its cache of prompts (llama.cpp: "
            "--no-cache-prompt --cache-reuse 0; SGLang: --disable-radix-cache; vLLM: --no-enable-prefix-caching, "
            "--mm-processor-cache-gb 0), or update it"
        )
    if apart <= noise:
        raise UserError(
            "the server does not look at the picture: it answers the same about a picture and its negative; serve a "
            "model that sees (llama.cpp: with --mmproj), and a chat template that takes content of type image_url"
        )
    return changed


def check_mass(answers: Sequence[FirstToken], likeliest: Counter[str]) -> None:
    """The two answers must be what the model wants to say.

    Raises:
        UserError: they hold next to nothing of the first token.
    """
    mass = sum(one.mass for one in answers) / len(answers)
    if mass < LEAST_MASS:
        tokens = ", ".join(f"{token!r} ({count})" for token, count in likeliest.most_common(3))
        raise UserError(
            f"yes and no hold {mass:.1%} of the first token (at least {LEAST_MASS:.0%} is needed); the model begins "
            f"with {tokens or 'something else'}; switch thinking off on the server (vLLM: "
            "--default-chat-template-kwargs '{\"enable_thinking\": false}'; llama.cpp: --reasoning-budget 0), or mend "
            "prompts/ask_yes_no.txt, extract_logits.answers or token_ids"
        )


class PenaltyProbe:
    """Whether the server weakens words that stand in the prompt, as Yes and No do: a repetition penalty would.

    It is sent as 1 in each request. This finds out whether the server obeys: with a penalty that hardly a word
    survives, the log-probabilities change, or at least the token that is sampled; or it refuses an impossible one.
    Where nothing happens it does not listen, and what it does on its own cannot be known.

    Args:
        post: sends a body to the chat endpoint and returns the reply.
        asking: how questions are put.
        image: a data URL.
    """

    def __init__(self, post: Callable[[str, dict[str, Any]], dict[str, Any]], asking: Asking, image: str) -> None:
        self.post, self.asking, self.image = post, asking, image

    def check(self) -> str:
        """One line for the log.

        Raises:
            UserError: the server does not listen.
        """
        if not self.asking.extra:
            return "the server takes no repetition penalty, and is taken to have none"
        obeys = "no repetition penalty: the server obeys when it is sent as 1"
        try:
            neutral = self.first_token({})
            strong = self.first_token(dict.fromkeys(self.asking.extra, STRONG))
        except Refused:  # of a value out of its range, which it has looked at
            return obeys
        except (Malformed, Failed, Stopped) as error:
            return f"the repetition penalty could not be probed ({error}); it is sent as 1"
        if strong[0] != neutral[0] or abs(strong[1] - neutral[1]) > NOISE:
            return obeys
        try:
            self.first_token(dict.fromkeys(self.asking.extra, IMPOSSIBLE))
        except Refused:
            return obeys
        except (Malformed, Failed, Stopped):
            return "it is not known whether the server has a repetition penalty of its own; it is sent as 1"
        raise UserError(
            "the server passes over repetition_penalty, so it may weaken the words of the prompt by a default of its "
            "own; start it without one (vLLM: --generation-config vllm; SGLang: --sampling-defaults openai; llama.cpp: "
            "--repeat-penalty 1; Ollama: PARAMETER repeat_penalty 1 in the Modelfile), then set "
            "extract_logits.server.penalties to trust"
        )

    def first_token(self, fields: dict[str, Any]) -> tuple[str, float]:
        """The sampled token and its log-probability; the prompt holds both words, so that a penalty strikes them."""
        message = "\n".join([self.asking.messages[0], *self.asking.answers])
        body = self.asking.chat(self.image, message, top_logprobs=1) | fields
        return top_of(self.post(CHAT, body))[0]


def served_model(listed: dict[str, Any] | None, model: str) -> dict[str, Any]:
    """What the server's list of models tells about this one, less what changes from start to start."""
    entries = (listed or {}).get("data")
    entries = entries if isinstance(entries, list) else []
    found = next((one for one in entries if isinstance(one, dict) and one.get("id") == model), {})
    return {key: value for key, value in found.items() if key not in ("created", "permission")}
