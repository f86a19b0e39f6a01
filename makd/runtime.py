"""How a run is carried out: what may not influence a result, so no stage tracks it."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from makd.params import PARAMS_FILE, Block, StageParams


class Runtime(Block):
    """The `runtime:` block of params.yaml."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    device_map: Literal["auto"] | None = None  # auto: a multimodal LLM spread over all devices (needs accelerate)
    workers: int = Field(2, ge=0)  # processes that read and decode images; 0: this process does
    batch_images: int = Field(16, ge=1)  # images that the multimodal LLM reads together; halved where memory is short
    shard_images: int = Field(64, ge=1)  # images whose answers are committed together
    processes: int = Field(1, ge=1)  # that train one student together
    requests: int = Field(8, ge=1)  # that a language model's server gets at a time, of those about classes
    progress: bool = True

    @classmethod
    def load(cls, path: Path = PARAMS_FILE) -> "Runtime":
        return WithRuntime.load(path).runtime


class WithRuntime(StageParams):
    """So that a bad value is named with its block."""

    runtime: Runtime = Runtime()
