"""Metrics of the run in flight, an epoch at a time, where `dvc plots show`, `metrics show` and `exp show` see them."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dvclive.live import Live

DVC_YAML = """\
metrics:
  - metrics.json
plots:
  - plots/metrics:
      x: step
"""
LogRow = Callable[[dict[str, int | float]], None]


@contextmanager
def live_metrics(folder: Path = Path("live"), *, shown: bool = True) -> Iterator[LogRow]:
    """Yield what takes the rows of the history.

    They go into a folder with a dvc.yaml of its own (git must not ignore it, or DVC would too), which goes when the run
    is done. Runs that train at once in one checkout write into one folder: the last that began is the one to be seen.
    """
    if not shown:
        yield lambda row: None
        return
    # By default DVCLive would commit an experiment, edit the pipeline's dvc.yaml and write a report.
    live = Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None)
    (folder / "dvc.yaml").write_text(DVC_YAML)

    def log(row: dict[str, int | float]) -> None:
        for name, value in row.items():
            if name != "epoch":
                live.log_metric(name, value)
        live.next_step()  # type: ignore[no-untyped-call]

    try:
        yield log
    finally:
        shutil.rmtree(folder, ignore_errors=True)
