from typing import Any

import pytest
from pydantic import ValidationError

from makd.extraction_params import ExtractLogitsParams
from makd.params import read_params
from makd.server_params import ServerParams


def params(**changed: Any) -> ServerParams:
    return ServerParams.model_validate(read_params()["extract_logits"]["server"] | changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"base_url": "localhost:8000"}, "base_url"),
        ({"logprob": "auto"}, "Extra inputs"),
        ({"logprobs": "all"}, "'auto', 'token_ids'"),
        ({"base_url": "http://me:secret@127.0.0.1/v1"}, "holds a name or password"),
        ({"logprobs": "token_ids"}, "needs a tokenizer or token_ids, or choose auto or top_k"),
        ({"logprobs": "allowed_token_ids"}, "needs a tokenizer or token_ids"),
        ({"logprobs": "sglang", "token_ids": [1, 2]}, "sglang needs a tokenizer"),
        ({"token_ids": [3, 3]}, "two different words, got 3 twice"),
        ({"max_cost_usd": 5.0}, "max_cost_usd needs usd_per_million_input_tokens"),
        ({"usd_per_million_input_tokens": 1.0}, "give both"),
        ({"jpeg_quality": 0}, "greater than or equal to 1"),
        ({"max_interval": 1.5}, "less than or equal to 1"),
        ({"timeout_s": 0.0}, "greater than 0"),
    ],
)
def test_a_bad_value_is_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        params(**changed)


def test_costs_are_by_the_million() -> None:
    assert params().usd(10, 10) is None
    priced = params(usd_per_million_input_tokens=2.5, usd_per_million_output_tokens=10.0)
    assert priced.usd(2_000_000, 100_000) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("url", "is_openai"),
    [
        ("https://api.openai.com/v1", True),
        ("https://mine.openai.azure.com/openai/v1/", True),
        ("http://localhost:8000/v1", False),
        ("http://notopenai.com/v1", False),
    ],
)
def test_openai_is_told_from_others(url: str, is_openai: bool) -> None:
    assert params(base_url=url).is_openai is is_openai


def test_quantization_is_the_models_own_affair_with_vllm() -> None:
    values = read_params()["extract_logits"] | {"backend": "vllm", "quantization": "8bit", "dtype": "bfloat16"}
    with pytest.raises(ValidationError, match="backend vllm knows by the model itself"):
        ExtractLogitsParams.model_validate(values)
