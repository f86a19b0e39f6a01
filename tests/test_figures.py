from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from makd.figures import accuracy_figure, counted, figure_style, save_figure, shorten, training_figure
from tests.made_up_runs import MadeUpRuns


def accuracies(n_seeds: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The accuracy table of two students, as far as it is drawn, and that of their runs."""
    rng = np.random.default_rng(0)
    of_runs = [
        {"model": model, "arm": arm, "seed": seed, "test_accuracy": rng.uniform(least, least + 5)}
        for model in ("resnet18", "b" * 60)
        for arm, least in (("baseline", 50), ("makd", 55))
        for seed in range(n_seeds)
    ]
    accuracy = pd.DataFrame({"model": ["resnet18", "b" * 60], "gap_low": [2.0, -1.0], "gap_high": [8.0, 3.0]})
    return accuracy, pd.DataFrame(of_runs)


@pytest.fixture
def training(tmp_path: Path) -> pd.DataFrame:
    made_up = MadeUpRuns(tmp_path)
    parts = [
        made_up.history(arm).assign(model="m", arm=arm, seed=seed) for arm in ("baseline", "makd") for seed in (0, 1)
    ]
    return pd.concat(parts)


@pytest.mark.parametrize(
    ("text", "width", "short"),
    [
        ("Is it red?", 10, "Is it red?"),
        ("Is it red or blue?", 12, "Is it red…"),
        ("mobilenetv3_small_100", 9, "mobilene…"),
    ],
)
def test_long_texts_end_in_an_ellipsis(text: str, width: int, short: str) -> None:
    assert shorten(text, width) == short


def test_counts_are_spelled() -> None:
    assert counted(1, "seed") == "1 seed"
    assert counted(2000, "class", "classes") == "2,000 classes"


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_accuracy_figure_shows_every_seed_and_says_how_many_images(n_seeds: int) -> None:
    accuracy, of_runs = accuracies(n_seeds)
    with figure_style():
        figure = accuracy_figure(accuracy, of_runs.sample(frac=1, random_state=0), 2000)
    left, right = figure.axes
    assert f"2,000 test images, {n_seeds} seed" in left.get_title("left")
    baseline, makd = (
        of_runs.query("model == 'resnet18' and arm == @arm")["test_accuracy"].to_numpy() for arm in ("baseline", "makd")
    )
    assert left.lines[0].get_xdata() == pytest.approx(baseline)
    intervals = [np.asarray(line.get_xdata()).tolist() for line in right.lines if line.get_linewidth() == 2.5]
    assert intervals == [[2, 8], [-1, 3]]
    assert right.lines[1].get_xdata() == pytest.approx(makd - baseline)
    assert right.texts[0].get_text().startswith(f"{np.mean(makd - baseline):+.1f}")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["baseline", "makd", "a seed"][: 2 if n_seeds == 1 else 3]
    assert all(("over seeds" in axes.get_xlabel()) == (n_seeds > 1) for axes in (left, right))


def test_training_figure_shows_the_mean_over_the_seeds(training: pd.DataFrame) -> None:
    with figure_style():
        figure = training_figure(training)
    baseline = figure.axes[0].lines[0]
    expected = training[training["arm"] == "baseline"].groupby("epoch")["val_accuracy"].mean()
    assert baseline.get_ydata() == pytest.approx(expected)


def test_training_figure_of_one_seed_speaks_of_no_band(training: pd.DataFrame) -> None:
    with figure_style():
        figure = training_figure(training[training["seed"] == 0])
    assert figure.get_suptitle() == "Training, 1 seed"


def test_training_figure_without_validation_images_says_so(training: pd.DataFrame) -> None:
    with figure_style():
        figure = training_figure(training.assign(val_accuracy=np.nan))
    assert not figure.axes[0].lines
    assert figure.axes[0].texts[0].get_text() == "nothing was recorded"


def test_a_figure_has_the_same_bytes_whatever_the_user_has_set(training: pd.DataFrame, tmp_path: Path) -> None:
    import matplotlib as mpl

    with figure_style():
        save_figure(training_figure(training), tmp_path / "one.png")
    with mpl.rc_context({"lines.linewidth": 9, "savefig.facecolor": "red", "savefig.bbox": "tight"}), figure_style():
        save_figure(training_figure(training), tmp_path / "other.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    assert "Software" not in Image.open(tmp_path / "one.png").info
