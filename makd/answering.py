"""Who answers questions about images, by back-end: a model in this process, a server, or vLLM's engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from makd.answerer import Answerer
from makd.extraction_params import ExtractLogitsParams
from makd.prompts import render
from makd.questions import Question
from makd.runtime import Runtime


def nothing() -> None:
    """There is nothing to do."""


class Answering(NamedTuple):
    """A back-end that is loaded, or found.

    Attributes:
        answerer: of a list of messages, as the user puts them.
        device: says where it computes, for `reports/costs.csv`.
        close: to be called last, whatever happened.
        check_complete: raises a `UserError` if a later run may get answers that this one did not.
    """

    answerer: Callable[[Sequence[str]], Answerer]
    device: Callable[[], str]
    close: Callable[[], None] = nothing
    check_complete: Callable[[], None] = nothing


@dataclass(frozen=True)
class Answerers:
    """Makes an answerer of some of the questions; the back-end is opened for the first one. Picklable until then.

    Attributes:
        folder: of the store.
    """

    block: ExtractLogitsParams
    prompt: Path
    runtime: Runtime
    folder: Path

    @cached_property
    def opened(self) -> Answering:
        """Raises a UserError as `open_answering` does."""
        return open_answering(self.block, self.runtime, self.folder)

    def __call__(self, questions: Sequence[Question]) -> Answerer:
        return self.opened.answerer([render(self.prompt, question=question.text) for question in questions])

    @property
    def device(self) -> str:
        return self.opened.device()

    def close(self) -> None:
        if "opened" in vars(self):
            self.opened.close()

    def check_complete(self) -> None:
        if "opened" in vars(self):
            self.opened.check_complete()


def open_answering(block: ExtractLogitsParams, runtime: Runtime, folder: Path) -> Answering:
    """The back-end of `block`, one of `makd.extraction_params.SEEING`; `folder` is that of the store.

    Raises:
        UserError: no such model, no server where one should be, vllm is not installed.
    """
    if block.backend == "server":
        from makd.server import Server

        server = Server(block, runtime.requests, folder)
        where = f"server at {block.server.base_url}"
        return Answering(server.answerer, lambda: where, server.close, server.session.raise_if_incomplete)
    if block.backend == "vllm":
        from makd.offline_vllm import VllmEngine

        return Answering(VllmEngine(block).answerer, lambda: "vllm")
    return in_process(block, runtime)


def in_process(block: ExtractLogitsParams, runtime: Runtime) -> Answering:
    """A model of transformers, loaded here."""
    import torch

    from makd.devices import choose_device
    from makd.machine import device_name
    from makd.scorer import Scorer
    from makd.vlm import VLM
    from makd.weights import local_folder

    vlm = VLM(
        local_folder(block.model) or block.model,
        revision=block.revision,
        dtype=getattr(torch, block.dtype),
        attention=block.attention,
        device=choose_device(runtime.device),
        device_map=runtime.device_map,
        quantization=block.quantization,
        processor_kwargs=block.processor,
    )

    def answerer(messages: Sequence[str]) -> Answerer:
        return Scorer(vlm, messages, block.answers, share=block.shared_prefix)

    return Answering(answerer, lambda: device_name(vlm.device))
