"""The `extract_logits:` block of params.yaml: who answers, and which images are asked."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from makd.params import Block
from makd.server_params import ServerParams

SEEING = ("transformers", "server", "vllm")
"""The back-ends that look at images; their answers are in the store."""
UserPath = Annotated[Path, AfterValidator(lambda path: Path(os.path.expanduser(path)))]


class ExtractLogitsParams(Block):
    """Of the params after `splits`, a back-end reads its own and leaves the others' alone."""

    backend: Literal["transformers", "server", "vllm", "table", "class_llm"]
    splits: tuple[Literal["train", "val", "test"], ...] = Field(min_length=1)
    images_per_class: Annotated[int, Field(ge=1)] | None
    zero_shot_splits: tuple[Literal["train", "val", "test"], ...]
    table: UserPath | None
    table_questions: UserPath | None
    class_answers: Literal["graded", "logprobs"]
    model: str
    revision: str | None
    dtype: Literal["float32", "bfloat16", "float16"]
    quantization: Literal["8bit", "4bit"] | None
    attention: Literal["sdpa", "eager"]
    shared_prefix: bool
    answers: tuple[str, str]
    processor: dict[str, Any]
    server: ServerParams

    # The back-end is the first field, so these find it in `info`: a ValidationInfo, which beartype cannot check.
    @field_validator("table")
    @classmethod
    def where_it_is_the_back_end(cls, table: Path | None, info: Any) -> Path | None:
        if table is None and info.data.get("backend") == "table":
            raise ValueError("backend table needs a file of answers")
        return table

    @field_validator("zero_shot_splits")
    @classmethod
    def with_a_model_that_sees(cls, splits: tuple[str, ...], info: Any) -> tuple[str, ...]:
        if splits and (backend := info.data.get("backend")) not in SEEING:
            raise ValueError(f"backend {backend} looks at no image: give an empty list")
        return splits

    @field_validator("images_per_class")
    @classmethod
    def where_images_are_asked(cls, count: int | None, info: Any) -> int | None:
        if count is not None and info.data.get("backend") == "class_llm":
            raise ValueError("backend class_llm asks about classes, not images: give null")
        return count

    @field_validator("answers")
    @classmethod
    def distinct(cls, answers: tuple[str, str]) -> tuple[str, str]:
        if not all(answers) or answers[0] == answers[1]:
            raise ValueError("expected two different words, yes first")
        return answers

    @model_validator(mode="after")
    def in_16_bits(self) -> "ExtractLogitsParams":
        if self.quantization and self.dtype == "float32":  # packed and alone would differ by more than float32 may
            raise ValueError(f"quantization {self.quantization} needs a 16-bit dtype: bfloat16 or float16")
        return self

    @model_validator(mode="after")
    def with_what_it_takes(self) -> "ExtractLogitsParams":
        if self.quantization and self.backend == "vllm":
            raise ValueError("backend vllm knows by the model itself how its weights are quantized: give null")
        return self

    @field_validator("splits")
    @classmethod
    def with_train(cls, splits: tuple[str, ...]) -> tuple[str, ...]:
        if "train" not in splits:
            raise ValueError("the training images must be asked: add train")
        return splits
