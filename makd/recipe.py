"""The `train:` block of params.yaml: how a student is trained."""

from bisect import bisect_right
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from makd.params import Block


class Recipe(Block):
    """SGD with momentum, a rate that falls at milestones, random crops and flips."""

    image_px: int = Field(gt=0)
    resize_px: int = Field(gt=0)
    stored_px: int = Field(gt=0)
    crop_scale_min: float = Field(gt=0, le=1)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)  # BatchNorm cannot train on one image
    lr: float = Field(gt=0)
    momentum: float = Field(ge=0, lt=1)
    nesterov: bool
    weight_decay: float = Field(ge=0)
    milestones: tuple[Annotated[int, Field(ge=1)], ...]  # those after the last epoch never come: short trials are easy
    gamma: float = Field(gt=0, le=1)
    pretrained: bool
    compile: bool  # torch.compile: faster on a GPU after minutes of compiling, other in the last bits
    precision: Literal["32-true", "bf16-mixed"]  # 16-mixed has a loss scale, which a checkpoint would have to hold
    model_args: dict[str, dict[str, Any]]

    @model_validator(mode="after")
    def check(self) -> "Recipe":
        if self.image_px > self.resize_px:
            raise ValueError(f"image_px {self.image_px} is cut from resize_px {self.resize_px} and must not exceed it")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must increase, got {list(self.milestones)}")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    def args_of(self, model: str) -> dict[str, Any]:
        """What `timm.create_model` gets besides the name."""
        return self.model_args.get(model, {})

    def lr_of(self, epoch: int) -> float:
        """The rate of an epoch, counted from 0: after 150 epochs, number 150 is the first with the new rate."""
        return self.lr * self.gamma ** bisect_right(self.milestones, epoch)
