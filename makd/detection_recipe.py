"""The `train_detector:` block of a detection pipeline's params.yaml: the detector, and how it is trained."""

from bisect import bisect_right
from typing import Annotated, Literal

from pydantic import Field, model_validator

from makd.params import Block

DetectorName = Literal[
    "resnet18", "resnet34", "resnet50", "resnet101", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"
]
"""Backbones of torchvision."""
AspectFeatures = Literal["c5", "fpn"]
Pixels = Annotated[int, Field(ge=16)]
WARMUP_FROM = 0.001
"""Share of the rate with which the warm-up starts; Detectron2's."""
ALL_LAYERS = 5


class DetectorRecipe(Block):
    """Faster R-CNN with FPN, and SGD whose rate rises over a warm-up and falls at milestones, all in iterations."""

    short_px: tuple[Pixels, ...] = Field(min_length=1)  # drawn from in training; the last one in testing
    long_px: Pixels  # the longer side is never above
    flip: float = Field(ge=0, le=1)  # probability that a training picture is mirrored
    empty_pictures: bool  # train on pictures without a box too
    iterations: int = Field(ge=1)
    batch_size: int = Field(ge=2)  # BatchNorm cannot train on one picture
    lr: float = Field(gt=0)
    momentum: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    warmup: int = Field(ge=0)
    milestones: tuple[Annotated[int, Field(ge=1)], ...]
    gamma: float = Field(gt=0, le=1)
    log_every: int = Field(ge=1)  # iterations of a row of history.csv; between two rows nothing is saved
    pretrained: bool  # backbone weights of torchvision; their batch normalisation stays frozen, as is usual
    trainable_layers: int = Field(ge=0, le=ALL_LAYERS)  # of a pretrained backbone, from its end; 5: all
    precision: Literal["32-true", "bf16-mixed"]
    anchor_px: tuple[Pixels, Pixels, Pixels, Pixels, Pixels]
    fpn_channels: int = Field(ge=8)
    head_channels: int = Field(ge=8)
    rpn_samples: int = Field(ge=1)  # anchors of a picture that count in the loss
    box_samples: int = Field(ge=1)  # proposals of a picture that count in the loss
    proposals_train: int = Field(ge=1)  # of a picture, before and after suppression
    proposals_test: int = Field(ge=1)

    @model_validator(mode="after")
    def check(self) -> "DetectorRecipe":
        for name in ("short_px", "milestones", "anchor_px"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)):
                raise ValueError(f"{name} must increase, got {list(values)}")
        if self.short_px[-1] > self.long_px:
            raise ValueError(f"short_px {self.short_px[-1]} must not exceed long_px {self.long_px}")
        return self

    def lr_of(self, iteration: int) -> float:
        """The rate of an iteration, counted from 0."""
        risen = 1.0 if iteration >= self.warmup else WARMUP_FROM + (1 - WARMUP_FROM) * iteration / self.warmup
        return self.lr * risen * self.gamma ** bisect_right(self.milestones, iteration)
