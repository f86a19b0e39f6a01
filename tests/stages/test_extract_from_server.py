"""The stage with `extract_logits.backend: server`: same store, shards and tables; and the shipped model, served."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import makd.server_client
from makd.bird_rendering import BirdsParams, draw_to_file, planned_birds
from makd.encoded_images import DataUrls
from makd.errors import UserError
from makd.files import cache_dir
from makd.manifest import write_manifest
from makd.params import read_params
from makd.pictures import image_id, load_rgb
from makd.prompts import render
from makd.provenance import provenance
from makd.questions import Question, write_questions
from makd.runtime import Runtime
from makd.scorer import SelfTest
from makd.server import ServerAnswerer
from makd.store import AnswerStore, store_key
from makd.store_upkeep import compact, problems
from stages.extract_logits import Params, extract_logits
from tests.extract_params import extract_params, extract_paths
from tests.fake_vlm_server import NO, YES, Fault, Manners, serving, truth
from tests.served_model import serving_model
from tests.server_asking import expected

RUNTIME = Runtime(workers=0, shard_images=4, batch_images=2, progress=False, device="cpu")
QUESTIONS = ["Is it grey?", "Does the bird have a crest?", "Is the tail long?"]
HONOUR: dict[str, Any] = {"logprob_token_ids": "honour"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(makd.server_client, "FIRST_WAIT_S", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def project(folder: Path, paths: list[Path], questions: list[str]) -> dict[str, Path]:
    rows = [(image_id(path.read_bytes()), path.as_posix(), "train", 0, "a") for path in paths]
    columns = ["image_id", "path", "split", "label", "class_name"]
    write_manifest(pd.DataFrame(rows, columns=columns), folder / "manifest.parquet")
    write_questions([Question(text=text) for text in questions], folder / "selected.json", model="m", prompt="p")
    (folder / "ask.txt").write_text(Path("prompts/ask_yes_no.txt").read_text())
    (folder / "zero_shot.txt").write_text("Is this a $class_name?\n")
    return extract_paths(folder, folder)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{k}.png" for k in range(10)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)
    return project(tmp_path, paths, QUESTIONS)


def params(url: str, **changed: Any) -> Params:
    server = read_params()["extract_logits"]["server"] | {"base_url": url, "token_ids": [YES, NO]} | changed
    return extract_params(Path("tiny"), 3, splits=["train"], backend="server", server=server)


def true_p_yes(files: dict[str, Path]) -> np.ndarray:
    """By image and question, from what the server is asked."""
    reader = DataUrls("png", 95, None)
    urls = [reader.inputs(load_rgb(Path(path))) for path in pd.read_parquet(files["manifest"])["path"]]
    return expected(urls, [render(files["prompt"], question=text) for text in QUESTIONS])


def test_the_tables_are_those_of_any_back_end_and_nothing_is_asked_twice(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Manners(**HONOUR)) as fake:
        extract_logits(params(fake.url), RUNTIME, **files)
        count = fake.count
        said = capsys.readouterr().out
        extract_logits(params(fake.url), RUNTIME, **files)
        assert fake.count == count
    extract_logits(params("http://127.0.0.1:9/v1"), RUNTIME, **files)  # no server is needed, and no address is a key
    aspects, answers = pd.read_parquet(files["aspects"]), pd.read_parquet(files["answers"])
    np.testing.assert_allclose(aspects[QUESTIONS], true_p_yes(files), atol=1e-6)
    assert list(answers.columns) == ["image_id", "question_id", "z_yes", "z_no", "p_yes", "exact"]
    assert answers["exact"].all()
    assert "30 requests, about 1,500 input and 30 output tokens" in said, "the estimate, before"
    assert f"server: {count} requests (0 retries), {50 * count:,} input" in said
    assert "30 questions asked" in said


def test_the_estimate_asks_only_the_probes(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    prices = {"usd_per_million_input_tokens": 100.0, "usd_per_million_output_tokens": 100.0}
    with serving(Manners(**HONOUR)) as fake:
        extract_logits(params(fake.url, **prices), RUNTIME, True, **files)
        assert fake.count < 50
    assert "30 requests, about 1,500 input and 30 output tokens, 0.153 USD" in capsys.readouterr().out
    assert not files["aspects"].exists()


def test_bounds_are_kept_and_the_middle_of_a_narrow_interval_is_the_target(
    files: dict[str, Path], tmp_path: Path
) -> None:
    with serving(Manners(top_k=1)) as fake:
        block = params(fake.url, max_interval=0.2)
        extract_logits(block, RUNTIME, **files)
        aspects, answers = pd.read_parquet(files["aspects"]), pd.read_parquet(files["answers"])
        p = true_p_yes(files)
        assert not answers["exact"].any()
        assert answers["p_yes"].isna().all()
        assert (answers["z_yes"].isna() != answers["z_no"].isna()).all()
        lo, hi = (answers[name].to_numpy().reshape(p.shape) for name in ("p_lo", "p_hi"))
        assert ((lo - 1e-6 <= p) & (p <= hi + 1e-6)).all()
        narrow = hi - lo <= 0.2
        assert 0 < narrow.mean() < 1
        np.testing.assert_allclose(aspects[QUESTIONS], np.where(narrow, (lo + hi) / 2, np.nan), atol=1e-7)

        store = AnswerStore(cache_dir() / "answers", provenance(block.extract_logits, files["prompt"]))
        bytes_before = files["answers"].read_bytes()
        assert compact(cache_dir() / "answers", store.key) == (3, 1)
        assert list(problems(cache_dir() / "answers")) == []
        for path in store.parts():
            path.unlink()
        count = fake.count
        extract_logits(block, RUNTIME, **files)  # the table fills the store again
        assert (fake.count, files["answers"].read_bytes()) == (count, bytes_before)
        extract_logits(params(fake.url, max_interval=1.0), RUNTIME, **files)  # another reading of the same answers
        assert fake.count == count
    assert pd.read_parquet(files["aspects"])[QUESTIONS].notna().all(axis=None)


@pytest.fixture
def without_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for that of the mode: the first request."""

    def settle(self: ServerAnswerer, images: list[Image.Image]) -> SelfTest:
        self.mode(self.reader.inputs(images[0]))
        return SelfTest(0.0, 1, 1.0, 1.0, {})

    monkeypatch.setattr(ServerAnswerer, "self_test", settle)


def missing(files: dict[str, Path], block: Params) -> np.ndarray:
    store = AnswerStore(cache_dir() / "answers", provenance(block.extract_logits, files["prompt"]))
    ids = [Question(text=text).id for text in QUESTIONS]
    return store.missing(list(pd.read_parquet(files["manifest"])["image_id"]), ids)


@pytest.mark.usefixtures("without_probes")
def test_a_part_of_a_batch_that_fails_is_all_that_is_asked_again(files: dict[str, Path]) -> None:
    to_fail = 4

    def fault(number: int, body: dict[str, Any]) -> Fault | None:
        nonlocal to_fail
        if "crest" not in str(body["messages"]) or not to_fail:
            return None
        to_fail -= 1
        return Fault(500)

    with serving(Manners(**HONOUR, fault=fault)) as fake:
        block = params(fake.url, max_attempts=1, max_failures=100)
        with pytest.raises(UserError, match=r"4 questions got no answer: .*only these are asked"):
            extract_logits(block, RUNTIME, **files)
        lacking = missing(files, block)
        assert lacking.sum(axis=0).tolist() == [0, 4, 0]
        count = fake.count
        extract_logits(block, RUNTIME, **files)
        assert fake.count == count + 1 + 4
    np.testing.assert_allclose(pd.read_parquet(files["aspects"])[QUESTIONS], true_p_yes(files), atol=1e-6)


@pytest.mark.usefixtures("without_probes")
@pytest.mark.parametrize("answered", [9, 14, 29])
def test_a_server_that_dies_leaves_all_its_answers_in_the_store(files: dict[str, Path], answered: int) -> None:
    manners = Manners(**HONOUR, fault=lambda number, body: Fault(503) if number > 1 + answered else None)
    with serving(manners) as fake:
        block = params(fake.url, max_attempts=2, max_failures=1)
        with pytest.raises(UserError, match=r"1 questions in a row got no answer .*run the same command again"):
            extract_logits(block, RUNTIME, **files)
    assert (~missing(files, block)).sum() == answered
    assert not files["aspects"].exists()


def test_sglang_is_asked_by_its_own_endpoint_with_the_whole_prompt(tmp_path: Path, files: dict[str, Path]) -> None:
    with serving(Manners(sglang=True)) as fake:
        extract_logits(params(fake.url, tokenizer="data/tiny_vlm", token_ids=None, penalties="trust"), RUNTIME, **files)
        asked = [body for body in fake.asked if body["path"] == "/generate"]
    assert len({body["text"] for body in asked}) == 3
    assert all(body["text"].startswith("<|user|><image>") for body in asked)
    assert asked[0]["sampling_params"] == {"max_new_tokens": 1, "temperature": 0, "repetition_penalty": 1.0}
    told = pd.read_parquet(files["answers"])
    assert told["exact"].all()
    p_yes = {truth(body["image_data"], body["text"]) for body in asked}
    assert all(min(abs(p - one) for one in p_yes) < 1e-6 for p in told["p_yes"])


def test_the_key_holds_what_decides_a_number_and_not_the_address(files: dict[str, Path]) -> None:
    def key(url: str = "http://localhost:8000/v1", **changed: Any) -> str:
        return store_key(provenance(params(url, **changed).extract_logits, files["prompt"]))

    same = [key(), key("http://elsewhere/v1"), key(max_attempts=2), key(max_interval=0.5), key(jpeg_quality=50)]
    assert len(set(same)) == 1
    other = [key(logprobs="top_k"), key(image_format="jpeg"), key(image_max_px=100), key(top_logprobs=5)]
    other += [key(image_format="jpeg", jpeg_quality=50), key(token_ids=[1, 2]), key(tokenizer="data/tiny_vlm")]
    assert len({*same, *other}) == 8


def test_the_shipped_model_answers_the_same_over_http(tmp_path: Path) -> None:
    birds = BirdsParams(**read_params()["prepare_dataset"]["birds"])
    planned = list(planned_birds(birds).items())[:: 2900 // 5]
    paths = [tmp_path / f"{k}.png" for k in range(len(planned))]
    for path, (name, marks) in zip(paths, planned, strict=True):
        draw_to_file((path, name, marks, birds))
    questions = list(json.loads(Path("data/birds_facts.json").read_text()))[:10]
    files = project(tmp_path, paths, questions)
    found = {}
    with serving_model("data/tiny_vlm") as url:
        server = read_params()["extract_logits"]["server"] | {"base_url": url, "tokenizer": "data/tiny_vlm"}
        for backend in ("transformers", "server"):
            block = extract_params(Path("data/tiny_vlm"), 10, splits=["train"], backend=backend, server=server)
            extract_logits(block, RUNTIME, **files)
            found[backend] = pd.read_parquet(files["aspects"])[questions].to_numpy()
    difference = np.abs(found["server"] - found["transformers"]).max()
    print(f"max |dp| {difference:.2g} over {found['server'].size} answers")
    assert difference <= 1e-4
    assert found["server"].std() > 0.1
