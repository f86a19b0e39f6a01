"""The tables of the paper: their overrides are params that there are, and what is collected is what DVC shows."""

import itertools
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from makd.errors import UserError
from makd.params import read_params
from stages.prepare_dataset import check_params
from tools.paper_tables import run
from tools.paper_tables.run import experiment_name, filled, markdown, run_table
from tools.paper_tables.tables import TABLES, Row, Table

TEST = {"baseline": 60.0, "baseline_std": 1.0, "makd": 65.04, "makd_std": 0.5}
TEST |= {"gap": 5.04, "gap_std": 1.1, "gap_low": 4.0, "gap_high": 6.1}


@pytest.mark.parametrize("name", TABLES)
def test_every_experiment_has_valid_params(name: str, tmp_path: Path) -> None:
    for row in TABLES[name].rows:
        values = YAML(typ="safe").load(Path("params.yaml"))
        for override in filled(row):
            key, value = override.split("=")
            *blocks, last = key.split(".")
            block = values
            for each in blocks:
                block = block[each]
            assert last in block, f"{key} is no param"
            block[last] = YAML(typ="safe").load(value)
        with (tmp_path / "params.yaml").open("w") as file:
            YAML().dump(values, file)
        check_params(tmp_path / "params.yaml")


def test_experiments_have_names_of_their_own() -> None:
    names = [experiment_name(name, row.label) for name, table in TABLES.items() for row in table.rows]
    assert len(set(names)) == len(names)
    assert "table-3c-alpha-4" in names


def test_information_chooses_among_questions_that_a_row_before_has_asked() -> None:
    rows = [dict(override.split("=") for override in filled(row)) for row in TABLES["select"].rows]
    n_candidates = read_params()["generate_questions"]["n_candidates"]
    assert rows[0] == {"n_questions": str(n_candidates), "select_questions.method": "llm"}
    chosen = [(row["select_questions.method"], int(row["n_questions"])) for row in rows[1:]]
    assert chosen == [(method, n) for method in ("llm", "information") for n in (5, 10, 20, 30)]


class Dvc:
    """Stands for dvc and git: what is queued is there after the queue has run, unless it fails."""

    def __init__(self, failing: str = "", changed: str = "") -> None:
        self.there: list[str] = []
        self.queued: list[str] = []
        self.overrides: list[str] = []
        self.failing, self.changed = failing, changed

    def __call__(self, *words: str) -> None:
        if "--queue" in words:
            self.queued.append(words[words.index("--name") + 1])
            self.overrides += [word for flag, word in itertools.pairwise(words) if flag == "-S"]
        else:
            assert words == ("exp", "run", "--run-all")
            self.there += self.queued  # a failed one too, with the metrics of the commit
            self.queued = []

    def output(self, *command: str) -> str:
        if command[0] == "git":
            return self.changed
        if "list" in command:
            return "\n".join(name for name in self.there if name != self.failing)
        shown: list[dict[str, Any]] = [
            {"name": name, "revs": [{"data": {"metrics": {run.METRICS: {"data": {"models": {"r": {"test": TEST}}}}}}}]}
            for name in self.there
        ]
        shown.append({"name": "broken", "revs": [{"data": None}]})
        return json.dumps([{"rev": "workspace", "experiments": None}, {"rev": "0123", "experiments": shown}])


def install(monkeypatch: pytest.MonkeyPatch, dvc: Dvc) -> Dvc:
    monkeypatch.setattr(run, "dvc", dvc)
    monkeypatch.setattr(run, "output", dvc.output)
    return dvc


TABLE = Table("A table", (Row("alpha 1", ("alpha=1",)), Row("kd", ("kd.source=classifier", "alpha=0"))))


def test_a_table_queues_runs_and_collects(monkeypatch: pytest.MonkeyPatch) -> None:
    dvc = install(monkeypatch, Dvc())
    found = run_table("x", TABLE)
    assert dvc.overrides == ["alpha=1", "kd.source=classifier", "alpha=0"]
    assert list(found["experiment"]) == ["alpha 1", "kd"]
    assert "| kd | r | 60.0 ± 1.0 | 65.0 ± 0.5 | +5.0 ± 1.1 [+4.0, +6.1] |" in markdown(TABLE.title, found)


def test_what_is_there_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    dvc = install(monkeypatch, Dvc())
    run_table("x", TABLE)
    dvc.overrides = []
    run_table("x", TABLE)
    assert not dvc.overrides


def test_a_failed_experiment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Dvc(failing="table-x-kd"))
    with pytest.raises(UserError, match="no result of table-x-kd"):
        run_table("x", TABLE)


def test_uncommitted_changes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    dvc = install(monkeypatch, Dvc(changed=" M params.yaml\n"))
    with pytest.raises(UserError, match=r"commit first: params\.yaml"):
        run_table("x", TABLE)
    assert not dvc.overrides


def test_one_seed_has_no_deviation_in_the_table() -> None:
    row = {"baseline": 50.0, "makd": 55.0, "gap": 5.0, "gap_low": 1.0, "gap_high": 9.0}
    found = pd.DataFrame([{"experiment": "e", "model": "m", **row} | dict.fromkeys(STD, None)])
    assert "| e | m | 50.0 | 55.0 | +5.0 [+1.0, +9.0] |" in markdown("title", found)


STD = ("baseline_std", "makd_std", "gap_std")
