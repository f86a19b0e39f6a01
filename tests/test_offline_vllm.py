"""vLLM's engine as an `Answerer`, with a stand-in for `vllm` that has the arithmetic of the fake server."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from makd.answerer import Answerer
from makd.encoded_images import DataUrls
from makd.errors import UserError
from makd.extraction_params import ExtractLogitsParams
from makd.offline_vllm import VllmAnswerer, VllmEngine
from makd.params import read_params
from makd.provenance import provenance
from tests.fake_vlm_server import log_softmax, logits
from tests.server_asking import MESSAGES, expected, p_yes, pictures

URLS = DataUrls("png", 95, None)


class FakeLLM:
    """Answers by the picture and the prompt; the answer ids are whatever is asked for, yes first."""

    blind = False
    only_sampled = False

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments
        self.batches: list[list[dict[str, Any]]] = []

    def generate(self, requests: list[dict[str, Any]], sampling: SimpleNamespace, use_tqdm: bool) -> list[Any]:
        self.batches.append(requests)
        return [self.output(request, sampling.logprob_token_ids) for request in requests]

    def output(self, request: dict[str, Any], ids: list[int]) -> SimpleNamespace:
        url = "" if self.blind else URLS.inputs(request["multi_modal_data"]["image"])
        logprobs = log_softmax(logits(url, request["prompt"]))
        told = {-1: -20.0} if self.only_sampled else dict(zip(ids, (logprobs["Yes"], logprobs["No"]), strict=True))
        by_id = {token_id: SimpleNamespace(logprob=value) for token_id, value in told.items()}
        return SimpleNamespace(outputs=[SimpleNamespace(logprobs=[by_id])])


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams, module.__version__ = FakeLLM, SimpleNamespace, "0.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    return module


def block(**changed: Any) -> ExtractLogitsParams:
    return ExtractLogitsParams.model_validate(read_params()["extract_logits"] | {"backend": "vllm"} | changed)


@pytest.fixture
def answerer(vllm: ModuleType) -> VllmAnswerer:
    return VllmEngine(block(processor={"max_patches": 2})).answerer(MESSAGES)


def test_every_answer_is_exact_and_the_first_question_goes_ahead(answerer: VllmAnswerer) -> None:
    assert isinstance(answerer, Answerer)
    images = pictures(3)
    z = answerer.score([answerer.reader.inputs(image) for image in images]).numpy()
    assert z.shape == (3, 5, 2)
    truth = expected([URLS.inputs(image) for image in images], answerer.prompts)
    np.testing.assert_allclose(p_yes(z), truth, atol=1e-6)
    assert [len(batch) for batch in answerer.engine.llm.batches] == [3, 12]


def test_the_engine_gets_the_model_and_no_penalty(answerer: VllmAnswerer) -> None:
    arguments = answerer.engine.llm.arguments
    assert arguments["model"].endswith("data/tiny_vlm")
    assert (arguments["dtype"], arguments["generation_config"]) == ("float32", "vllm")
    assert arguments["mm_processor_kwargs"] == {"max_patches": 2}
    sampling = answerer.sampling
    assert (sampling.max_tokens, sampling.temperature) == (1, 0)
    assert tuple(sampling.logprob_token_ids) == answerer.ids


def test_the_probes_pass_and_tell_the_mass(answerer: VllmAnswerer) -> None:
    found = answerer.self_test(pictures(2))
    assert (found.difference, found.pairs) == (0, 6)
    assert found.mass > 0.9
    assert answerer.cost(pictures(1)[0]).tokens > 50


def test_an_engine_that_does_not_look_is_refused(answerer: VllmAnswerer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeLLM, "blind", True)
    with pytest.raises(UserError, match="does not look at the picture"):
        answerer.self_test(pictures(2))


def test_an_engine_that_does_not_tell_both_is_refused(answerer: VllmAnswerer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeLLM, "only_sampled", True)
    with pytest.raises(UserError, match=r"vllm 0\.0 does not tell the log-probabilities of the token ids"):
        answerer.score(pictures(1))


def test_an_engine_that_stops_is_one_line(answerer: VllmAnswerer, monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(*_: object, **__: object) -> None:
        raise ValueError("the picture\nis too small")

    monkeypatch.setattr(FakeLLM, "generate", generate)
    with pytest.raises(UserError, match="vllm stopped at one of these questions: the picture is too small"):
        answerer.score(pictures(2))


def test_without_vllm_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match=r"vllm, which is not installed here .*makd\[vllm\]"):
        VllmEngine(block())


def test_its_answers_have_a_key_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "ask.txt").write_text("$question")
    keys = [provenance(block(), tmp_path / "ask.txt"), provenance(block(backend="transformers"), tmp_path / "ask.txt")]
    assert keys[0]["weights"] == keys[1]["weights"]
    assert keys[0] != keys[1]
    assert keys[0]["engine"] == "vllm"
