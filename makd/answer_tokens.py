"""Which tokens the two answers are in a served model's vocabulary, and how its prompts read.

The server does not say, so it comes from a processor at hand, or from the user.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from makd.conversation import Conversation
from makd.errors import UserError
from makd.extraction_params import ExtractLogitsParams
from makd.files import main_checkout


class Tokens(NamedTuple):
    """Ids of the answers, yes first, and the whole prompts, one a question; None where nobody knows."""

    ids: tuple[int, int] | None
    prompts: list[str] | None


def load_processor(name: str) -> Any:
    """A processor of Hugging Face, from a folder or the hub; no weights are read.

    Raises:
        UserError: there is none.
    """
    from transformers import AutoProcessor

    folder = main_checkout() / name
    try:
        return AutoProcessor.from_pretrained(folder if folder.is_dir() else name)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"extract_logits.server.tokenizer: {name!r} is neither a folder with the processor of the served model nor "
            f"a hub name that can be had: {reason}; give one, or token_ids, or logprobs: top_k"
        ) from None


def answer_tokens(block: ExtractLogitsParams, messages: Sequence[str], processor: Any | None) -> Tokens:
    """Resolved in context, behind the rendered prompts: `encode("Yes")` alone may find another token.

    Raises:
        UserError: an answer that is not one token, or ids that are not those of the tokenizer.
    """
    given = block.server.token_ids
    if processor is None:
        return Tokens(given, None)
    conversation = Conversation(processor, messages, block.answers)
    if given is not None and given != conversation.answer_ids:
        raise UserError(
            f"extract_logits.server.token_ids is {list(given)}, but for the tokenizer {block.server.tokenizer} "
            f"{list(block.answers)} are {list(conversation.answer_ids)}; mend it, or give null"
        )
    return Tokens(conversation.answer_ids, conversation.prompts)
