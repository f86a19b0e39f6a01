"""Extractions in processes of their own: two at a time, and twenty that are killed."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from makd.manifest import read_manifest, write_manifest
from tests.fake_extraction import SHARD, asked_images, make_project, start_stage, stored_rows

TABLES = ("aspects.parquet", "answers.parquet")


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_two_at_a_time_lose_no_answer_and_ask_none_twice(tmp_path: Path) -> None:
    make_project(tmp_path / "project", 100)
    rows = read_manifest(tmp_path / "project" / "manifest.parquet")
    first, second = folder(tmp_path / "first"), folder(tmp_path / "second")
    write_manifest(rows[:60], first / "manifest.parquet")
    write_manifest(rows[40:], second / "manifest.parquet")
    processes = [
        start_stage(tmp_path / "project", out / "manifest.parquet", out, tmp_path / "cache", 0.002)
        for out in (first, second)
    ]
    for process in processes:
        process.join()
        assert process.exitcode == 0

    assert sorted(stored_rows(tmp_path / "cache")) == sorted(rows["image_id"])
    assert asked_images(first) + asked_images(second) == 100
    for out, images in ((first, 60), (second, 60)):
        aspects = pd.read_parquet(out / "aspects.parquet")
        assert len(aspects) == images
        assert aspects.notna().all(axis=None)


@pytest.mark.slow
def test_twenty_kills_lose_a_shard_each_at_most_and_change_no_byte(tmp_path: Path) -> None:
    make_project(tmp_path / "project", 240)
    manifest = tmp_path / "project" / "manifest.parquet"
    undisturbed, killed = folder(tmp_path / "undisturbed"), folder(tmp_path / "killed")
    cache, rng = tmp_path / "cache", np.random.default_rng(0)
    start_stage(tmp_path / "project", manifest, undisturbed, tmp_path / "another cache").join()

    lost = []
    for _ in range(20):
        asked, stored = asked_images(killed), len(stored_rows(cache))
        process = start_stage(tmp_path / "project", manifest, killed, cache, 0.01)
        while asked_images(killed) == asked:
            assert process.is_alive()
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.join()
        assert process.exitcode == -9, "it was done before it could be killed"
        lost.append((asked_images(killed) - asked) - (len(stored_rows(cache)) - stored))
    assert max(lost) == SHARD  # some were killed while they asked
    assert min(lost) >= 0

    before = asked_images(killed), len(stored_rows(cache))
    start_stage(tmp_path / "project", manifest, killed, cache).join()
    assert asked_images(killed) - before[0] == 240 - before[1]
    assert sorted(stored_rows(cache)) == sorted(read_manifest(manifest)["image_id"])
    for name in TABLES:
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes()
