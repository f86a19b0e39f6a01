"""The engine ray beside the engine local: the same bytes, and at most a shard an actor lost by any death.

Those that start Ray are skipped where it is not installed; `make test-ray` installs it beside and runs them all.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from makd.errors import UserError
from makd.manifest import read_manifest
from makd.params import read_params
from makd.ray_cluster import check_ray, count_actors, gpus_per_actor
from makd.ray_engine import FAILURES, await_listing
from makd.runtime import Runtime
from makd.store import AnswerStore
from stages.extract_logits import extract_logits
from tests.extract_params import extract_params, extract_paths
from tests.fake_extraction import (
    POISON,
    QUESTIONS,
    RUNTIME,
    SHARD,
    answering,
    asked_images,
    make_project,
    run_stage,
    stored_rows,
)
from tests.ray_steps import ACTORS
from tests.test_concurrent_extraction import TABLES, folder

ON_RAY = RUNTIME.model_copy(update={"engine": "ray", "ray_actors": ACTORS})


def with_ray(test: object) -> object:
    """Of a test that starts Ray, on this machine."""
    there = importlib.util.find_spec("ray") is not None
    skip = pytest.mark.skipif(not there, reason="ray is not installed; make test-ray")
    return pytest.mark.ray(pytest.mark.slow(skip(test)))


def start(project: Path, out: Path, cache: Path, seconds_per_image: float = 0.0, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.ray_steps", *map(str, [project, out, cache, seconds_per_image, *more])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until_asked(process: "subprocess.Popen[str]", out: Path, images: int) -> None:
    while asked_images(out) < images:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_project(tmp_path / "project", 80)
    return tmp_path / "project"


def local_tables(project: Path, tmp_path: Path) -> Path:
    out = folder(tmp_path / "local")
    run_stage(project, project / "manifest.parquet", out, tmp_path / "local cache")
    return out


def assert_equal_tables(out: Path, local: Path) -> None:
    for name in TABLES:
        assert (out / name).read_bytes() == (local / name).read_bytes(), name


@with_ray
def test_the_real_model_gives_the_bytes_of_the_local_engine(project: Path, tmp_path: Path) -> None:
    model = Path(read_params()["extract_logits"]["model"]).absolute()
    params = extract_params(model, len(QUESTIONS), splits=["train"])
    for number in range(80):  # unlike each other, and one that cannot be read
        noise = Image.effect_noise((64, 64), 10 + number).convert("RGB")
        noise.save(project / f"{number:03d}.png")
    (project / "040.png").write_bytes(b"no picture")
    make_manifest_anew(project)
    outs = [folder(tmp_path / name) for name in ("local out", "ray out")]
    for out, engine in zip(outs, ("local", "ray"), strict=True):
        os.environ["MAKD_CACHE"] = str(tmp_path / engine)
        runtime = Runtime(workers=0, batch_images=5, shard_images=16, progress=False, device="cpu")
        runtime = runtime.model_copy(update={"engine": engine, "ray_actors": ACTORS})
        extract_logits(params, runtime, **extract_paths(project, out) | {"manifest": project / "manifest.parquet"})
    assert_equal_tables(outs[1], outs[0])
    assert len(set(stored_rows(tmp_path / "ray"))) == 79


def make_manifest_anew(project: Path) -> None:
    from makd.manifest import write_manifest
    from makd.pictures import image_id

    rows = read_manifest(project / "manifest.parquet")
    rows["image_id"] = [image_id(Path(path).read_bytes()) for path in rows["path"]]
    write_manifest(rows, project / "manifest.parquet")


@with_ray
def test_an_actor_and_then_the_driver_are_killed(project: Path, tmp_path: Path) -> None:
    out, cache = folder(tmp_path / "out"), tmp_path / "cache"
    process = start(project, out, cache, 0.2)
    wait_until_asked(process, out, 4 * SHARD)
    os.kill(answering(out)[-1], signal.SIGKILL)
    wait_until_asked(process, out, 8 * SHARD)
    process.kill()
    process.wait()
    while not_yet_gone(answering(out)):
        time.sleep(0.05)
    lost = asked_images(out) - len(stored_rows(cache))
    assert 0 <= lost <= (1 + ACTORS) * SHARD, "a shard for the actor, one for each of those at work in the end"
    assert len(stored_rows(cache)) < 80, "it was done before it could be killed"

    before = asked_images(out), len(stored_rows(cache))
    process = start(project, out, cache)
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    assert f"{(80 - before[1]) * len(QUESTIONS)} to ask" in printed
    assert asked_images(out) - before[0] == 80 - before[1]
    assert sorted(stored_rows(cache)) == sorted(read_manifest(project / "manifest.parquet")["image_id"])
    assert_equal_tables(out, local_tables(project, tmp_path))


def not_yet_gone(processes: list[int]) -> bool:
    return any(Path(f"/proc/{process}").exists() for process in processes)


@with_ray
def test_ctrl_c_ends_with_a_line_and_keeps_what_was_committed(project: Path, tmp_path: Path) -> None:
    out, cache = folder(tmp_path / "out"), tmp_path / "cache"
    process = start(project, out, cache, 0.05)
    wait_until_asked(process, out, 6 * SHARD)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the same command goes on after what was saved last" in errors
    assert "Traceback" not in errors
    assert 0 <= asked_images(out) - len(stored_rows(cache)) <= ACTORS * SHARD
    assert not not_yet_gone(answering(out)[-1:])


@with_ray
def test_a_picture_that_kills_its_actor_costs_its_shard(project: Path, tmp_path: Path) -> None:
    out, cache = folder(tmp_path / "out"), tmp_path / "cache"
    (out / "poison").touch()
    process = start(project, out, cache)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert f"error: {SHARD} images have no answers, tried 2 times (their workers died); look at the memory" in errors
    assert len(set(stored_rows(cache))) == 80 - SHARD
    assert read_manifest(project / "manifest.parquet")["path"][POISON].endswith(f"{POISON:03d}.png")
    (out / "poison").unlink()
    assert start(project, out, cache).wait() == 0, "what is left, is asked"


@with_ray
def test_bad_pictures_and_changed_ones_are_named(
    project: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (project / "013.png").write_bytes(b"no picture")
    make_manifest_anew(project)
    manifest, out, cache = project / "manifest.parquet", folder(tmp_path / "out"), tmp_path / "cache"
    run_stage(project, manifest, out, cache, runtime=ON_RAY)
    printed = capfd.readouterr()
    assert "self-test: max |dq| 0" in printed.out
    assert "1 images could not be read" in printed.err
    assert "013.png" in printed.err
    assert len(stored_rows(cache)) == 79
    (project / "020.png").write_bytes(b"changed")
    with pytest.raises(UserError, match=r"020\.png.*has changed since the manifest"):
        run_stage(project, manifest, folder(tmp_path / "another"), tmp_path / "another cache", runtime=ON_RAY)


@with_ray
def test_a_cluster_that_is_there_is_used_and_left_running(project: Path, tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False})
    doomed = cluster.add_node(num_cpus=4)
    try:
        out, cache = folder(tmp_path / "out"), tmp_path / "cache"
        process = start(project, out, cache, 0.05, cluster.address)
        wait_until_asked(process, out, 4 * SHARD)
        cluster.remove_node(doomed, allow_graceful=False)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        assert asked_images(out) <= 80 + ACTORS * SHARD
        assert_equal_tables(out, local_tables(project, tmp_path))
        assert cluster.head_node.live_processes()
    finally:
        cluster.shutdown()


@with_ray
def test_no_cluster_at_the_address_is_said_in_a_line(project: Path, tmp_path: Path) -> None:
    process = start(project, folder(tmp_path / "out"), tmp_path / "cache", 0.0, "127.0.0.1:1")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "error: runtime.ray_address: no Ray cluster at '127.0.0.1:1'" in errors.splitlines()[-1]


@with_ray
def test_an_error_of_the_program_is_raised_and_not_tried_for_ever(project: Path, tmp_path: Path) -> None:
    (project / "asked.log").mkdir()  # the fake model cannot write it
    process = start(project, project, tmp_path / "cache")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert f"RuntimeError: {FAILURES} shards in a row failed" in errors
    assert "IsADirectoryError" in errors


def test_where_ray_is_not_installed_a_line_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("makd.ray_cluster.importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"runtime.engine is ray, which is not installed; run: .*--extra ray"):
        check_ray()


def test_there_are_as_many_actors_as_gpus_or_machines() -> None:
    gpus, none = {"GPU": 8.0, "CPU": 64.0}, {"CPU": 64.0}
    assert count_actors(Runtime(), gpus, 2) == 8
    assert count_actors(Runtime(ray_gpus_per_actor=2), gpus, 2) == 4
    assert count_actors(Runtime(ray_gpus_per_actor=0.5, ray_actors=3), gpus, 2) == 3
    assert count_actors(Runtime(), none, 2) == 2
    assert count_actors(Runtime(device="cpu"), gpus, 2) == 2
    assert gpus_per_actor(Runtime(device="cpu"), gpus) == 0


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        (Runtime(ray_actors=9), r"9 with 1 GPUs each .* more than the cluster's 8 GPUs"),
        (Runtime(ray_actors=65, device="cpu"), r"65 are more than the cluster's 64 CPUs"),
    ],
)
def test_more_actors_than_the_cluster_has_room_for_are_refused(runtime: Runtime, expected: str) -> None:
    with pytest.raises(UserError, match=f"runtime.ray_actors: {expected}"):
        count_actors(runtime, {"GPU": 8.0, "CPU": 64.0}, 2)
    with pytest.raises(UserError, match="the cluster's 0 GPUs"):
        count_actors(Runtime(device="cuda"), {"CPU": 4.0}, 1)


def test_a_store_that_the_driver_does_not_see_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("makd.ray_engine.LISTING_S", 0)
    with pytest.raises(UserError, match=r"does not show part-1\.parquet, which a worker has written: .*MAKD_CACHE"):
        await_listing(AnswerStore(tmp_path, {}), {"part-1.parquet"})
