"""Queue a table's experiments with DVC, run them, and collect what came out."""

import json
import re
import subprocess
from typing import Any

import pandas as pd

from makd.errors import UserError
from makd.params import read_params
from makd.tables import plus_minus
from tools.paper_tables.tables import Row, Table

METRICS = "reports/metrics.json"


def run_table(name: str, table: Table) -> pd.DataFrame:
    """A row an experiment and model: accuracies in percent, the gap in percentage points, over the params' seeds.

    Experiments of this commit that are there already are not run again.

    Raises:
        UserError: uncommitted changes, or an experiment that failed.
    """
    check_committed()
    names = [experiment_name(name, row.label) for row in table.rows]
    there = experiments()
    missing = [(each, row) for each, row in zip(names, table.rows, strict=True) if each not in there]
    for each, row in missing:
        overrides = [word for override in filled(row) for word in ("-S", override)]
        dvc("exp", "run", "--queue", "--name", each, *overrides, "evaluate")  # without the page, which takes longer
    if missing:
        dvc("exp", "run", "--run-all")
        there = experiments()
    failed = [each for each in names if each not in there]
    if failed:
        raise UserError(f"no result of {', '.join(failed)}; `dvc queue logs {failed[0]}` says why")
    return pd.DataFrame(
        {"experiment": row.label, "model": model, **numbers["test"]}
        for each, row in zip(names, table.rows, strict=True)
        for model, numbers in there[each]["models"].items()
    )


def experiment_name(table: str, label: str) -> str:
    """Such as table-3c-alpha-4; DVC wants the name of a branch."""
    return f"table-{table}-" + re.sub(r"[^\w.]+", "-", label)


def filled(row: Row) -> list[str]:
    """The overrides, with the number of candidates of params.yaml where one asks for it."""
    n_candidates = str(read_params()["generate_questions"]["n_candidates"])
    return [override.replace("{n_candidates}", n_candidates) for override in row.overrides]


def check_committed() -> None:
    """Experiments begin with the last commit: what is not in it would be in some rows of the table and not in all."""
    changed = output("git", "status", "--porcelain", "--untracked-files=no").splitlines()
    if changed:
        raise UserError(
            f"commit first: {changed[0].split()[-1]} has changed since the last commit ({len(changed)} files)"
        )


def experiments() -> dict[str, dict[str, Any]]:
    """The metrics of the finished experiments of this commit, by name.

    `dvc exp show` has those that are queued, on or failed as well, with the metrics of the commit that they began with.
    """
    finished = set(output("dvc", "exp", "list", "--name-only").split())
    _, *commits = json.loads(output("dvc", "exp", "show", "--json"))
    found = {}
    for experiment in (each for commit in commits for each in commit["experiments"] or []):
        data = experiment["revs"][0]["data"] or {}
        metrics = data.get("metrics", {}).get(METRICS, {}).get("data")
        if metrics and experiment["name"] in finished:
            found[experiment["name"]] = metrics
    return found


def markdown(title: str, found: pd.DataFrame) -> str:
    lines = [
        f"{title}",
        "",
        "| experiment | model | baseline | makd | gap [95 % interval] |",
        "| --- | --- | --- | --- | --- |",
    ]
    numbers = [column for column in found if column not in ("experiment", "model")]
    for row in found.astype(dict.fromkeys(numbers, float)).itertuples():  # null, of a single seed, becomes NaN
        lines.append(
            f"| {row.experiment} | {row.model} | {plus_minus(row.baseline, row.baseline_std)} "
            f"| {plus_minus(row.makd, row.makd_std)} "
            f"| {plus_minus(row.gap, row.gap_std, '+')} [{row.gap_low:+.1f}, {row.gap_high:+.1f}] |"
        )
    return "\n".join(lines) + "\n"


def dvc(*words: str) -> None:
    """Its output goes to the terminal."""
    done = subprocess.run(["dvc", *words], check=False)
    if done.returncode:
        raise UserError(f"`dvc {' '.join(words)}` ended with {done.returncode}; see above")


def output(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
