from pathlib import Path

import pytest
from pydantic import Field, model_validator

from makd.errors import UserError
from makd.params import Block, StageParams, read_params


class Inner(Block):
    epochs: int = Field(gt=0)
    seeds: tuple[int, ...] = ()
    fast: bool = False
    root: Path = Path()
    names: tuple[int, ...] = Field(default=(0,), min_length=1)

    @model_validator(mode="after")
    def check(self) -> "Inner":
        if self.epochs > 100:
            raise ValueError(f"{self.epochs} epochs are too many")
        return self


class Params(StageParams):
    alpha: float = Field(ge=0)
    train: Inner


@pytest.fixture
def params_file(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


def test_a_stage_reads_only_what_it_declares(params_file: Path) -> None:
    params_file.write_text("alpha: 3\ntrain: {epochs: 2}\nother: nonsense\n")
    assert Params.load(params_file) == Params(alpha=3, train=Inner(epochs=2))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alpha: ten\ntrain: {epochs: 2}", "alpha: Input should be a valid number, got 'ten'"),
        ("alpha: -1\ntrain: {epochs: 2}", "alpha: .*greater than or equal to 0, got -1"),
        ("alpha: .nan\ntrain: {epochs: 2}", "alpha: .*finite"),
        ("alpha: 1\ntrain: {epochs: 2, epoch: 3}", r"train\.epoch: no such param"),
        ("alpha: 1\ntrain: {}", r"train\.epochs: missing"),
        ("alhpa: 1\ntrain: {}", r"alpha: missing \(is it alhpa, misspelt\?\)"),
        ("alpha: 1\ntrain: {epochs: 0}", r"train\.epochs: .*greater than 0, got 0"),
        ("alpha: true\ntrain: {epochs: 2}", "alpha: Input should be a valid number, got True"),
        ("alpha: '1'\ntrain: {epochs: 2}", "alpha: Input should be a valid number, got '1'"),
        ("alpha: 1\ntrain: {epochs: 2.0}", r"train\.epochs: Input should be a valid integer, got 2\.0"),
        ("alpha: 1\ntrain: {epochs: true}", r"train\.epochs: Input should be a valid integer, got True"),
        ("alpha: 1\ntrain: {epochs: 2, seeds: [1.0]}", r"train\.seeds\.0: Input should be a valid integer, got 1\.0"),
        ("alpha: 1\ntrain: {epochs: 2, seeds: [0, true]}", r"train\.seeds\.1: .* got True"),
        ("alpha: 1\ntrain: {epochs: 2, fast: 1}", r"train\.fast: Input should be a valid boolean, got 1"),
        ("alpha: 1\ntrain: {epochs: 2, root: 3}", r"train\.root: "),
        ("alpha: 1\ntrain: {epochs: 101}", r"yaml: train: 101 epochs are too many; mend it"),
        (
            "alpha: 1\ntrain: {epochs: 1, names: [a]}",
            r"train\.names\.0: Input should be a valid integer, got 'a'; mend",
        ),
        ("alpha: 1\ntrain: {epochs: 1, names: []}", r"train\.names: .* at least 1 item .* got \[\]"),
        ("alpha: [", "is not valid YAML"),
        ("- 1", "must be a mapping"),
    ],
)
def test_a_bad_value_is_named_in_one_line(params_file: Path, text: str, said: str) -> None:
    params_file.write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        Params.load(params_file)
    assert "\n" not in str(caught.value)


def test_a_bad_value_ends_with_the_way_back(params_file: Path) -> None:
    params_file.write_text("alpha: ten\ntrain: {epochs: 2}\n")
    with pytest.raises(UserError, match=f"; mend it, or `git checkout HEAD -- {params_file}` for that of your last"):
        Params.load(params_file)


def test_a_float_needs_no_dot(params_file: Path) -> None:
    params_file.write_text("alpha: 1e-4\ntrain: {epochs: 2}")  # YAML 1.1 would want a dot in a float
    assert Params.load(params_file).alpha == 1e-4


def test_lists_and_paths_and_whole_numbers_are_what_they_look_like(params_file: Path) -> None:
    params_file.write_text("alpha: 10\ntrain: {epochs: 2, seeds: [0, 1], fast: true, root: a/b}")
    assert Params.load(params_file) == Params(
        alpha=10.0, train=Inner(epochs=2, seeds=(0, 1), fast=True, root=Path("a/b"))
    )


def test_a_file_of_another_encoding_is_named(params_file: Path) -> None:
    params_file.write_bytes("alpha: 1 # höher\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"params\.yaml must be UTF-8, but byte 12 is not"):
        Params.load(params_file)


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing here"):
        Params.load(tmp_path / "params.yaml")


def test_yes_and_no_are_words_also_where_dvc_has_dropped_the_quotes(params_file: Path) -> None:
    params_file.write_text("answers:\n- Yes\n- No\n")
    assert read_params(params_file) == {"answers": ["Yes", "No"]}
