"""Scorers of the model of params.yaml, made wherever answers are to be given."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from makd.extraction_params import ExtractLogitsParams
from makd.runtime import Runtime

if TYPE_CHECKING:
    from makd.questions import Question
    from makd.scorer import Scorer
    from makd.vlm import VLM


@dataclass(frozen=True)
class Scorers:
    """Makes a scorer of some of the questions; the model is loaded for the first one. Picklable until then."""

    block: ExtractLogitsParams
    prompt: Path
    runtime: Runtime

    @cached_property
    def vlm(self) -> "VLM":
        """Raises a UserError if there is no such model, or no such device."""
        import torch

        from makd.devices import choose_device
        from makd.vlm import VLM
        from makd.weights import local_folder

        return VLM(
            local_folder(self.block.model) or self.block.model,
            revision=self.block.revision,
            dtype=getattr(torch, self.block.dtype),
            attention=self.block.attention,
            device=choose_device(self.runtime.device),
            device_map=self.runtime.device_map,
            quantization=self.block.quantization,
            processor_kwargs=self.block.processor,
        )

    def __call__(self, questions: "list[Question]") -> "Scorer":
        from makd.prompts import render
        from makd.scorer import Scorer

        messages = [render(self.prompt, question=question.text) for question in questions]
        return Scorer(self.vlm, messages, self.block.answers, share=self.block.shared_prefix)
