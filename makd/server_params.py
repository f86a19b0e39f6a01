"""The `extract_logits.server:` block of params.yaml: which server is asked about the images, how, and at what cost.

Up to `max_interval`, what decides a number or how it is read; from `max_attempts` on, how the asking is carried out.
"""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AnyHttpUrl, Field, field_validator, model_validator

from makd.params import Block

Price = Annotated[float, Field(ge=0)]


class ServerParams(Block):
    """An OpenAI-compatible server; its key comes from OPENAI_API_KEY, the number of requests from `runtime.requests`.

    Raises:
        ValueError: prices without a limit's worth, a limit without prices, ids of two words that are one.
    """

    base_url: AnyHttpUrl
    logprobs: Literal["auto", "token_ids", "allowed_token_ids", "sglang", "top_k"]
    tokenizer: str | None
    token_ids: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None
    top_logprobs: int = Field(ge=1)
    image_format: Literal["png", "jpeg"]
    jpeg_quality: int = Field(ge=1, le=100)
    image_max_px: Annotated[int, Field(ge=1)] | None
    penalties: Literal["probe", "trust"]
    max_interval: float = Field(ge=0, le=1)
    max_attempts: int = Field(ge=1)
    timeout_s: float = Field(gt=0)
    max_failures: int = Field(ge=1)
    max_requests_per_minute: Annotated[int, Field(ge=1)] | None
    max_cost_usd: Annotated[float, Field(gt=0)] | None
    usd_per_million_input_tokens: Price | None
    usd_per_million_output_tokens: Price | None

    @field_validator("base_url")
    @classmethod
    def without_password(cls, url: AnyHttpUrl) -> AnyHttpUrl:
        if url.username or url.password:
            raise ValueError("holds a name or password, which would be printed; the key comes from OPENAI_API_KEY")
        return url

    @model_validator(mode="after")
    def consistent(self) -> "ServerParams":
        prices = (self.usd_per_million_input_tokens, self.usd_per_million_output_tokens)
        if (prices[0] is None) != (prices[1] is None):
            raise ValueError("give both usd_per_million_input_tokens and usd_per_million_output_tokens, or neither")
        if self.max_cost_usd is not None and prices[0] is None:
            raise ValueError("max_cost_usd needs usd_per_million_input_tokens and usd_per_million_output_tokens")
        if self.token_ids is not None and self.token_ids[0] == self.token_ids[1]:
            raise ValueError(f"token_ids: expected the ids of two different words, got {self.token_ids[0]} twice")
        if self.logprobs == "sglang" and self.tokenizer is None:
            raise ValueError("logprobs sglang needs a tokenizer, whose chat template writes the prompt")
        if self.logprobs.endswith("token_ids") and self.tokenizer is None and self.token_ids is None:
            raise ValueError(f"logprobs {self.logprobs} needs a tokenizer or token_ids, or choose auto or top_k")
        return self

    @property
    def is_openai(self) -> bool:
        """OpenAI's own, or Azure's: they refuse fields of other servers, and other servers do not know theirs."""
        host = urlsplit(str(self.base_url)).hostname or ""
        return f".{host}".endswith((".openai.com", ".azure.com"))

    def usd(self, input_tokens: float | int, output_tokens: float | int) -> float | None:
        """What so many tokens cost; None where no prices are given."""
        if self.usd_per_million_input_tokens is None or self.usd_per_million_output_tokens is None:
            return None
        return (
            input_tokens * self.usd_per_million_input_tokens + output_tokens * self.usd_per_million_output_tokens
        ) / 1e6
