"""The engine ray: a multimodal LLM on all machines of a cluster, as actors of Ray Data, one a GPU.

A row of the dataset is a shard, and a row is a block: an actor gets one shard at a time, whole, and commits it to the
answer store itself, so all machines must see the store, the pictures and the project under one path. Ray Data's own
checkpoints are left alone: they go with its files, for which rows are merged over shards, so that a kill may lose all
of them. Ray starts an actor anew that dies, and gives it its shard again.
"""

import contextlib
import io
import os
import pickle
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from makd.answerer import Answerer
from makd.errors import UserError
from makd.extraction import Asked, Job, ask_shard
from makd.loading import Loaded, load
from makd.ray_cluster import cluster, count_actors, gpus_per_actor
from makd.shards import Shard
from makd.store import AnswerStore
from makd.trial import run_self_test

RETRIES = 1
"""Of a shard whose actor dies, before it is left for the next round, and maybe another actor."""
ROUNDS = 2
FAILURES = 10
"""Shards that may fail in a row by an error of the program, before it is one."""
LISTING_S = 120.0
"""How long a network's file system may take to list a part that another machine has written."""


def on_ray(job: Job, images: pd.Series, shards: Iterable[Shard]) -> Iterator[Asked]:
    """The engine. Shards whose actor or machine is lost are asked again by the others.

    Raises:
        UserError: Ray is not installed, no such cluster, too few GPUs; a picture that is gone or has changed, a failed
            self-test; shards that were lost again and again.
        KeyboardInterrupt: at once; each actor loses the shard in flight.
    """
    left, seen, said, failure = dict(enumerate(shards)), set[str](), "", "their workers died"
    with cluster(job.runtime) as ray:
        actors = count_actors(job.runtime, ray.cluster_resources(), sum(node["Alive"] for node in ray.nodes()))
        for _ in range(ROUNDS):
            last = time.perf_counter()
            for done in results(ray, job, left, actors):
                if done.said and not said:
                    said = done.said
                    print(said, end="", flush=True)
                if done.failure:
                    failure = done.failure.splitlines()[-1]
                now = time.perf_counter()
                if done.asked is not None:
                    del left[done.shard]
                    if done.asked.part is not None:
                        seen.add(done.asked.part)
                    yield replace(done.asked, seconds=now - last)
                    last = now
            if not left:
                break
    await_listing(job.store, seen)
    if left:
        raise UserError(
            f"{sum(map(len, left.values()))} images have no answers, tried {ROUNDS} times ({failure}); look at the "
            "memory of the machines (runtime.batch_images, runtime.ray_actors) and run the same command again: it asks "
            "only these"
        )


@dataclass(frozen=True)
class Done:
    """What an actor says of a shard."""

    shard: int
    asked: Asked | None = None
    said: str = ""  # of the self-test
    fatal: str | None = None  # for the user to mend: stops the run
    failure: str | None = None  # the traceback of anything else


class Worker:
    """An actor: loads the model when the first shard comes, then answers and commits shards.

    Args:
        job: what to ask, and who makes who answers it.
        folder: the project's root, from which paths are meant.
        environment: that of the driver, as far as paths depend on it.
    """

    def __init__(self, job: Job, folder: str, environment: dict[str, str]) -> None:
        os.chdir(folder)
        os.environ.update(environment)
        self.job = job
        self.answerer: Answerer | None = None
        self.readers = ThreadPoolExecutor(max(1, job.runtime.workers))

    def __call__(self, rows: Any) -> Any:
        """A table of one row, which is a shard, to a table of one row, which is a pickled `Done`."""
        import pyarrow as pa

        (row,) = rows.to_pylist()
        done = self.answer(row.pop("shard"), Shard(**row))
        return pa.table({"done": pa.array([pickle.dumps(done)], pa.binary())})

    def answer(self, number: int, shard: Shard) -> Done:
        """No error leaves an actor as an exception: Ray would wrap it, or count it among the blocks to pass over."""
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                answerer = self.answerer or self.tested(shard)
            return Done(number, ask_shard(self.job, answerer, shard, self.batches(answerer, shard)), said.getvalue())
        except UserError as error:
            return Done(number, fatal=str(error))
        except Exception:
            self.answerer = None  # a device may be in a bad state
            return Done(number, failure=traceback.format_exc())

    def tested(self, shard: Shard) -> Answerer:
        """Every actor does the self-test, on pictures of its first shard; kept once there was one."""
        answerer = self.job.make_answerer(self.job.questions)
        if run_self_test(answerer, pd.Series(shard.paths, index=shard.image_ids), self.job.store):
            self.answerer = answerer
        return answerer

    def batches(self, answerer: Answerer, shard: Shard) -> Iterator[list[Loaded]]:
        """Read ahead in threads: decoding leaves Python's lock alone."""
        loaded = self.readers.map(
            lambda path, image_id: load(path, image_id, answerer.reader)._replace(picture=None),
            shard.paths,
            shard.image_ids,
        )
        for size in shard.batches:
            yield [next(loaded) for _ in range(size)]


def results(ray: Any, job: Job, shards: dict[int, Shard], actors: int) -> Iterator[Done]:
    """Hand out the shards and take what comes back; shards whose actor died too often are passed over."""
    rows = [{"shard": number, **asdict(shard)} for number, shard in shards.items()]
    environment = {name: os.environ[name] for name in ("DVC_ROOT", "MAKD_CACHE") if name in os.environ}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Ray 2.64 drops ray_remote_args_fn: pyproject.toml
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Worker,
            batch_size=1,
            batch_format="pyarrow",
            fn_constructor_args=(job, str(Path.cwd()), environment),
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(rows))),
            num_cpus=1,
            num_gpus=gpus_per_actor(job.runtime, ray.cluster_resources()) or None,
            ray_remote_args_fn=lambda: {"max_task_retries": RETRIES},
        )
    in_a_row = 0
    for row in dataset.iter_rows():
        done: Done = pickle.loads(row["done"])
        if done.fatal is not None:
            raise UserError(done.fatal)
        in_a_row = in_a_row + 1 if done.failure else 0
        if in_a_row == min(FAILURES, len(rows)):
            raise RuntimeError(f"{in_a_row} shards in a row failed, the last one with\n{done.failure}")
        yield done


def await_listing(store: AnswerStore, parts: set[str]) -> None:
    """Until the store lists these parts: the tables would lack the answers of one that a cache of names hides."""
    deadline = time.monotonic() + LISTING_S
    while hidden := parts - {path.name for path in store.parts()}:
        if time.monotonic() > deadline:
            raise UserError(
                f"{store.folder} does not show {min(hidden)}, which a worker has written: the machines must see one "
                "folder under this path; let MAKD_CACHE name one on a file system that they share"
            )
        time.sleep(1)
