"""Extractions in processes of their own: two at a time, shares of one, and twenty that are killed."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from makd.manifest import read_manifest, write_manifest
from makd.shards import Share
from tests.fake_extraction import SHARD, asked_images, make_project, start_stage, stored_rows

TABLES = ("aspects.parquet", "answers.parquet")


def folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.slow
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
def test_shares_at_one_time_lose_no_answer_ask_none_twice_and_change_no_byte(tmp_path: Path) -> None:
    project, cache = tmp_path / "project", tmp_path / "cache"
    make_project(project, 150)
    manifest = project / "manifest.parquet"
    alone, outs = folder(tmp_path / "alone"), [folder(tmp_path / f"share{number}") for number in range(4)]
    start_stage(project, manifest, alone, tmp_path / "another cache").join()
    processes = [
        start_stage(project, manifest, out, cache, 0.02, Share(number, 4)) for number, out in enumerate(outs, start=1)
    ]
    for process in processes:
        process.join()
        assert process.exitcode == 0

    asked = [asked_images(out) for out in outs]
    assert sum(asked) == 150
    assert min(asked) >= 150 / 4 - 2 * SHARD
    assert sorted(stored_rows(cache)) == sorted(read_manifest(manifest)["image_id"])
    assert not (outs[0] / "aspects.parquet").exists(), "a share writes no table"
    start_stage(project, manifest, outs[0], cache).join()
    assert asked_images(outs[0]) == asked[0], "the last step asks nothing"
    for name in TABLES:
        assert (outs[0] / name).read_bytes() == (alone / name).read_bytes()


def test_a_share_that_was_lost_is_asked_again_alone(tmp_path: Path) -> None:
    project, cache, out = tmp_path / "project", tmp_path / "cache", folder(tmp_path / "out")
    make_project(project, 60)
    manifest = project / "manifest.parquet"
    process = start_stage(project, manifest, out, cache, 0.01, Share(1, 2))
    while not stored_rows(cache):
        time.sleep(0.002)
    process.kill()
    process.join()
    start_stage(project, manifest, out, cache, share=Share(2, 2)).join()
    lost = start_stage(project, manifest, out, cache, share=Share(1, 2))
    lost.join()
    assert lost.exitcode == 0
    assert sorted(stored_rows(cache)) == sorted(read_manifest(manifest)["image_id"])
    assert asked_images(out) <= 60 + SHARD


def test_a_share_beside_a_run_of_all_waits_for_it(tmp_path: Path) -> None:
    project, cache = tmp_path / "project", tmp_path / "cache"
    make_project(project, 40)
    manifest = project / "manifest.parquet"
    whole, share = folder(tmp_path / "whole"), folder(tmp_path / "share")
    processes = [
        start_stage(project, manifest, whole, cache, 0.01),
        start_stage(project, manifest, share, cache, 0.01, Share(1, 2)),
    ]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert asked_images(whole) + asked_images(share) == 40


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
