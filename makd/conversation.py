"""How questions are put to a model: prompts rendered, answers found among the tokens, the shared told from the rest.

Holds the processor and no weights, so worker processes can have a copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Int
from jinja2 import TemplateError
from PIL.Image import Image
from torch import Tensor

from makd.errors import UserError
from makd.packing import Pack, common_prefix, packs

PACK_TOKENS = 256
"""Tokens of a pack: more would make the dense mask cost more than it saves."""

Inputs = dict[str, Tensor]


@runtime_checkable
class Reader(Protocol):
    """Makes of a picture what the model reads; a copy of it goes to each worker process."""

    def inputs(self, image: Image) -> Any: ...


class WholeImages:
    """For a model that reads image and question together: the picture goes to it as it is."""

    def inputs(self, image: Image) -> Image:
        return image


@dataclass(frozen=True)
class Branches:
    """The questions behind the part that they share."""

    tails: list[list[int]]  # each question's tokens behind the image; an image must leave them as they are
    shared: int  # how many of those all questions have in common, so that they belong to the prefix
    packs: list[Pack]


class Conversation:
    """A fixed list of questions for one processor.

    Args:
        processor: of an image-text-to-text model, with a chat template.
        messages: what the user says, a text a question.
        answers: the two words, yes first.

    Raises:
        UserError: no chat template, one that is broken or leaves the question out, or an answer that is not one token
            behind a prompt.
    """

    def __init__(self, processor: Any, messages: Sequence[str], answers: tuple[str, str]) -> None:
        self.processor = processor
        if not getattr(processor, "chat_template", None):
            raise UserError("extract_logits.model has no chat template; choose its instruction-tuned version")
        if "strftime_now" in str(processor.chat_template):
            print(
                "warning: the chat template of extract_logits.model tells the date, so answers of another day have "
                "another prompt and the same key; write a fixed date into a local copy of it",
                flush=True,
            )
        self.prompts = [self.render(message) for message in messages]
        self.answer_ids = self.resolve(answers)

    def render(self, message: str) -> str:
        """The whole prompt: image first, so that what the questions share is as long as possible."""
        content = [{"type": "image"}, {"type": "text", "text": message}]
        turns = [{"role": "user", "content": content}]
        try:
            prompt = str(self.processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))
        except TemplateError as error:
            raise UserError(f"the chat template of extract_logits.model cannot be rendered: {error}; mend it") from None
        if " ".join(message.split()) not in " ".join(prompt.split()):  # no self-test would see it: both ways are blind
            raise UserError(
                f"the chat template of extract_logits.model leaves out the question {message!r}: it must write the "
                "text of a message whose content is a list of parts; mend it"
            )
        return prompt

    def ids(self, text: str) -> list[int]:
        return list(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def resolve(self, answers: tuple[str, str]) -> tuple[int, int]:
        """Token ids of the two answers, found behind the rendered prompts themselves.

        `encode("Yes")` alone may begin with BOS or differ in white space: plausible numbers for a wrong word.
        """
        yes, no = (self.follower(answer) for answer in answers)
        if yes == no:
            raise UserError(f"extract_logits.answers: {answers[0]!r} and {answers[1]!r} are the same token {yes}")
        return yes, no

    def follower(self, answer: str) -> int:
        found = set()
        for prompt in self.prompts:
            before, after = self.ids(prompt), self.ids(prompt + answer)
            if after[: len(before)] != before or len(after) != len(before) + 1:
                raise UserError(
                    f"extract_logits.answers: {answer!r} is not one token behind the prompt: "
                    f"{before[-3:]} becomes {after[-5:]}; choose another word"
                )
            found.add(after[-1])
        if len(found) > 1 or self.processor.tokenizer.unk_token_id in found:
            raise UserError(f"extract_logits.answers: {answer!r} has no token of its own: ids {sorted(found)}")
        return int(found.pop())

    def inputs(self, image: Image, question: int = 0) -> Inputs:
        """What the model reads for one image and one question."""
        prompt = self.prompts[question]
        bos = self.processor.tokenizer.bos_token
        # Where the template has written BOS, the tokenizer would add a second one: as transformers' apply_chat_template
        special = {"add_special_tokens": False} if bos and prompt.startswith(bos) else {}
        inputs = dict(self.processor(images=[image], text=[prompt], return_tensors="pt", **special))
        inputs.pop("labels", None)  # PaliGemma's processor adds them, and the model then wants a loss
        return inputs

    def branches(self, image: Image, image_token: int) -> Branches:
        """All questions behind the image, cut by the processor itself: text in front can change how a question is cut.

        Raises:
            UserError: the prompts differ before the end of the image, so that nothing could be shared.
        """
        prompts = [self.inputs(image, question)["input_ids"][0] for question in range(len(self.prompts))]
        end = image_end(prompts[0], image_token)
        if any(not ids[:end].equal(prompts[0][:end]) for ids in prompts):
            raise UserError("the chat template of extract_logits.model puts the question before the image")
        tails = [ids[end:].tolist() for ids in prompts]
        shared = common_prefix(tails)
        return Branches(tails, shared, packs([tail[shared:] for tail in tails], PACK_TOKENS))


def image_end(ids: Int[Tensor, " tokens"], image_token: int) -> int:
    """The position behind the last token of the image."""
    places = (ids == image_token).nonzero()
    if not len(places):
        raise UserError(f"no image token {image_token} in the prompt that the model's processor made")
    return int(places[-1]) + 1
