"""config.json of an exported student: what timm and Hugging Face read, and under `makd` what only makd does."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from makd.errors import UserError, first_problem
from makd.params import Distinct

CONFIG = "config.json"
MENDING = "give a folder that `makd export` wrote"
Side = Annotated[int, Field(ge=1, le=8192)]
"""Of a picture, in pixels; the bound keeps a damaged file from taking all memory."""
Positive = Annotated[float, Field(gt=0)]


class Part(BaseModel):
    """Frozen; other keys are left to those who wrote them, for timm may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class PretrainedCfg(Part):
    """How pictures become the student's input, in timm's words."""

    num_classes: int = Field(ge=1)
    input_size: tuple[Literal[3], Side, Side]  # channels, height, width
    fixed_input_size: bool = False
    interpolation: Literal["bilinear"] = "bilinear"
    crop_mode: Literal["center"] = "center"
    crop_pct: float = Field(gt=0, le=1)  # of the shorter side; timm's only word for it
    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]
    first_conv: Any = None
    classifier: Any = None


class MakdPart(Part):
    """`resize_px` is the shorter side before the crop; `questions` are those of the aspect head, if it was exported."""

    resize_px: Side
    questions: tuple[str, ...] = ()


class ShippedConfig(Part):
    """The whole file."""

    architecture: str
    num_classes: int = Field(ge=1)
    num_features: int = Field(ge=1)
    label_names: Distinct[str]
    model_args: dict[str, Any] = {}
    pretrained_cfg: PretrainedCfg
    makd: MakdPart

    @model_validator(mode="after")
    def check(self) -> "ShippedConfig":
        cfg = self.pretrained_cfg
        _, height, width = cfg.input_size
        if height != width:
            raise ValueError(f"input_size must be 3 channels of a square, got {list(cfg.input_size)}")
        if not len(self.label_names) == self.num_classes == cfg.num_classes:
            raise ValueError(
                f"{len(self.label_names)} label_names, num_classes {self.num_classes} and pretrained_cfg.num_classes "
                f"{cfg.num_classes} must be equal"
            )
        if not self.makd.resize_px >= width:
            raise ValueError(f"makd.resize_px {self.makd.resize_px} must be at least {width}, the input's side")
        if not math.isclose(cfg.crop_pct, width / self.makd.resize_px, rel_tol=1e-6):
            raise ValueError(f"crop_pct {cfg.crop_pct} must be {width} / {self.makd.resize_px}, of makd.resize_px")
        return self

    @property
    def image_px(self) -> int:
        """Side of what the student sees."""
        return self.pretrained_cfg.input_size[-1]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.label_names

    @property
    def questions(self) -> tuple[str, ...]:
        return self.makd.questions


def crop_share(image_px: int, resize_px: int) -> float:
    """The `crop_pct` of timm: the share for which it resizes the shorter side to `resize_px`, rounding included."""
    share = image_px / resize_px
    if math.floor(image_px / share) < resize_px:  # the quotient was rounded up
        share = math.nextafter(share, 0)
    return share


def read_config(folder: Path) -> ShippedConfig:
    """The config of an exported student.

    Raises:
        UserError: there is none, it is damaged, or it is that of a run or of a model that is not makd's.
    """
    path = folder / CONFIG
    try:
        return ShippedConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be opened ({error.strerror}); {MENDING}") from None
    except ValidationError as error:
        raise UserError(f"{path} is no config of an exported student ({first_problem(error)}); {MENDING}") from None
