"""The `kd:` block of params.yaml: what else a student learns the classes from."""

from typing import Literal

from pydantic import Field

from makd.params import Block


class Kd(Block):
    """Distillation of class scores, in addition to the labels; weight 0 or source none is none of it."""

    source: Literal["none", "classifier", "mllm"]
    classifier: str  # a timm classifier
    method: Literal["kd", "dkd"]
    weight: float = Field(ge=0)
    temperature: float = Field(gt=0)
    dkd_beta: float = Field(ge=0)
    dkd_warmup_epochs: int = Field(ge=0)

    @property
    def active(self) -> bool:
        return self.source != "none" and self.weight > 0

    def weight_of(self, epoch: int) -> float:
        """The weight in an epoch, counted from 0. That of DKD rises linearly, as its authors have it."""
        if self.method == "kd" or not self.dkd_warmup_epochs:
            return self.weight
        return self.weight * min((epoch + 1) / self.dkd_warmup_epochs, 1.0)
