"""How a run is carried out: what may not influence a result, so no stage tracks it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from makd.params import PARAMS_FILE, Block, StageParams


class Runtime(Block):
    """The `runtime:` block of params.yaml."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    device_map: Literal["auto"] | None = None  # auto: a multimodal LLM spread over all devices (needs accelerate)
    workers: int = Field(2, ge=0)  # processes that read and decode images; 0: this process does
    batch_images: int = Field(16, ge=1)  # images that the multimodal LLM reads together; halved where memory is short
    shard_images: int = Field(64, ge=1)  # images whose answers are committed together
    engine: Literal["local", "ray"] = "local"  # where a multimodal LLM answers; ray: on all machines of a cluster
    ray_address: str | None = None  # of a Ray cluster that is there; None: one is started on this machine, and ended
    ray_actors: Annotated[int, Field(ge=1)] | None = None  # copies of the model; None: as many as the GPUs allow
    ray_gpus_per_actor: float = Field(1.0, gt=0)  # above 1 with device_map; below, several share a GPU
    processes: int = Field(1, ge=1)  # that train one student together
    requests: int = Field(8, ge=1)  # that a language model's server gets at a time
    progress: bool = True

    @classmethod
    def load(cls, path: Path = PARAMS_FILE) -> "Runtime":
        return WithRuntime.load(path).runtime


class WithRuntime(StageParams):
    """So that a bad value is named with its block."""

    runtime: Runtime = Runtime()
