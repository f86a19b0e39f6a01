"""A Ray cluster to work on: one that is there, or one on this machine for as long as the work takes."""

import importlib.util
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from makd.errors import UserError
from makd.runtime import Runtime

LOCAL_CPUS = 6
"""Ray's count of CPUs on this machine, at least: what Ray Data runs beside the actors may wait for ever for a third."""
REACH_S = 10.0
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a warning for each actor without a GPU
    "RAY_worker_niceness": "0",  # the default, 15, lets an actor starve beside anything else that runs
}
"""Of a cluster on this machine; those of one that is there are its own."""


@contextmanager
def cluster(runtime: Runtime) -> Iterator[Any]:
    """The cluster of `runtime.ray_address`, or one on this machine that ends with the block; yields the module ray.

    Without dashboard, usage statistics or progress bars of its own; it needs no network.
    """
    check_ray()
    os.environ.update(SETTINGS)
    import ray
    import ray.data

    silent: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if runtime.ray_address is None:
        cpus = max(LOCAL_CPUS, (runtime.ray_actors or 1) + LOCAL_CPUS // 2)
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, **silent)
    else:
        try:
            reach(runtime.ray_address)
            ray.init(address=runtime.ray_address, **silent)
        except (OSError, ValueError, RuntimeError) as error:  # Ray's ConnectionError is an OSError
            raise UserError(
                f"runtime.ray_address: no Ray cluster at {runtime.ray_address!r} ({' '.join(str(error).split())}); "
                "start one (ray start --head), give its address, or null for one on this machine"
            ) from None
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.max_errored_blocks = -1  # a shard that is lost is asked in the next round
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        yield ray
    finally:
        ray.shutdown()


def reach(address: str) -> None:
    """Raises an OSError where nobody listens at host:port; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=REACH_S).close()


def check_ray() -> None:
    """Raises a UserError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise UserError(
            "runtime.engine is ray, which is not installed; run: uv pip install -r pyproject.toml --extra ray, "
            "or set runtime.engine to local"
        )


def gpus_per_actor(runtime: Runtime, resources: dict[str, float]) -> float:
    """0 on a cluster without GPUs, and where runtime.device is cpu."""
    there = runtime.device != "cpu" and (resources.get("GPU", 0) > 0 or runtime.device == "cuda")
    return runtime.ray_gpus_per_actor if there else 0.0


def count_actors(runtime: Runtime, resources: dict[str, float], nodes: int) -> int:
    """`runtime.ray_actors`, else as many as the GPUs allow, else one a machine.

    Raises:
        UserError: the cluster has too few GPUs or CPUs for them.
    """
    each, there = gpus_per_actor(runtime, resources), resources.get("GPU", 0)
    actors = runtime.ray_actors or (int(there // each) if each else nodes)
    if not actors or actors * each > there:
        raise UserError(
            f"runtime.ray_actors: {actors or 1} with {each:g} GPUs each (runtime.ray_gpus_per_actor) are more than the "
            f"cluster's {there:g} GPUs; lower one of them, or set runtime.device to cpu"
        )
    if actors > resources.get("CPU", 0):
        raise UserError(
            f"runtime.ray_actors: {actors} are more than the cluster's {resources.get('CPU', 0):g} CPUs; lower it"
        )
    return actors
