"""What the page shows, held against the files that it is of."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from makd.embedding_table import TEACHER
from makd.image_cards import ImageCard, choose_cards
from makd.page_content import (
    cards_note,
    page_calibrations,
    page_cards,
    page_class_means,
    page_curves,
    page_embeddings,
    percents,
)
from makd.report_data import ReportData
from tests.made_up_report import report_data
from tests.made_up_runs import MadeUpRuns


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> MadeUpRuns:
    """Nobody answered the second question, nor anything about the first image; and some pairs lack an answer."""
    made_up = MadeUpRuns(tmp_path_factory.mktemp("page"), n_questions=5).write()
    made_up.p_yes[:, 1] = made_up.p_yes[0] = made_up.p_yes[5:20:3, 2] = np.nan
    made_up.p_yes[-1, [0, 3]] = 0.0, 1.0
    made_up.save_answers()
    return made_up


@pytest.fixture(scope="module")
def data(made_up: MadeUpRuns) -> ReportData:
    return report_data(made_up)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (0.456, 46),
        (np.float32(0.994), 99),
        (1.0, 100),
        (np.nan, None),
        (np.array([[0.0, np.nan], [0.1, 0.999]]), [[0, None], [10, 100]]),
        (np.zeros((2, 0)), [[], []]),
    ],
)
def test_probabilities_are_whole_percents_and_none_where_there_is_none(values: object, expected: object) -> None:
    found = percents(values)
    assert found == expected
    assert not isinstance(found, float)


def test_histograms_count_every_answer_once(data: ReportData) -> None:
    histogram = np.array(page_class_means(data).histogram)
    assert histogram.shape == (5, 3, 10)
    answered = data.teacher.notna().to_numpy()
    for question in range(5):
        for label in range(3):
            values = data.teacher.to_numpy()[answered[:, question] & (data.labels == label), question]
            edges = np.arange(1, 10, dtype=np.float32) / 10
            expected = np.bincount(np.searchsorted(edges, values, side="right"), minlength=10)
            assert histogram[question, label].tolist() == expected.tolist()
    assert histogram.sum() == answered.sum()
    assert histogram[0, 2, 0] >= 1, "0 is in the first bin"
    assert histogram[3, 2, 9] >= 1, "1 is in the last bin"


def test_class_means_are_those_of_all_answers_and_of_the_students_over_all_seeds(
    made_up: MadeUpRuns, data: ReportData
) -> None:
    found = page_class_means(data)
    assert found.sources == [
        f"teacher, {len(made_up.images) - 1} images", *(f"{model}, 36 test images" for model in made_up.models),
    ]  # fmt: skip
    answers = pd.DataFrame(made_up.p_yes).groupby(made_up.images["label"]).mean()
    assert found.means[0] == percents(answers.to_numpy().T)
    assert found.means[0][1] == [None] * 3
    for model, means in zip(made_up.models, found.means[1:], strict=True):
        tables = []
        for seed in made_up.seeds:
            table = pd.read_parquet(made_up.folder(model, "makd", seed) / "predictions.parquet")
            tables.append(table[table["split"] == "test"])
        both = pd.concat(tables)
        expected = both.filter(like="aspect: ").groupby(both["label"]).mean().to_numpy().T
        assert np.array(means) == pytest.approx(100 * expected, abs=0.5001)


@pytest.fixture(scope="module")
def cards(data: ReportData) -> list[ImageCard]:
    makd = data.p_class(data.models[0], "makd")
    baseline = data.p_class(data.models[0], "baseline").argmax(axis=1)
    return choose_cards(baseline, makd, data.test_labels, data.class_means.to_numpy())


def test_cards_say_what_each_student_and_the_teacher_say_of_that_image(
    made_up: MadeUpRuns, data: ReportData, cards: list[ImageCard]
) -> None:
    found = page_cards(cards, data, workers=2)
    assert len(found) == len(cards)
    predictions = {
        (model, arm): pd.read_parquet(made_up.folder(model, arm, 0) / "predictions.parquet").set_index("path")
        for model in made_up.models
        for arm in ("baseline", "makd")
    }
    answers = pd.read_parquet(made_up.aspects).set_index("path")
    for card in found:
        assert card.true_class == answers.loc[card.path, "class_name"]
        assert answers.loc[card.path, "split"] == "test"
        assert card.photo.startswith("data:image/webp;base64,")
        assert [(verdict.student, verdict.arm) for verdict in card.verdicts] == list(predictions)
        for verdict in card.verdicts:
            said = predictions[verdict.student, verdict.arm].loc[card.path]
            assert verdict.predicted == said["predicted"]
            assert verdict.right == (said["predicted"] == card.true_class)
            assert verdict.probability == percents(said[f"class: {verdict.predicted}"])
        for bar in card.bars:
            assert bar.teacher == percents(answers.loc[card.path, bar.question])
            aspects = [predictions[model, "makd"].loc[card.path, f"aspect: {bar.question}"] for model in made_up.models]
            assert bar.students == percents(aspects)
        assert made_up.questions[1] not in [bar.question for bar in card.bars], "nobody answered it"


def test_a_card_is_of_the_kind_that_the_first_students_first_seed_makes_it(
    data: ReportData, cards: list[ImageCard]
) -> None:
    for card in page_cards(cards, data, workers=1):
        baseline, makd = card.verdicts[:2]
        kinds = {(0, 1): "mended by makd", (1, 0): "spoilt by makd", (0, 0): "both wrong", (1, 1): "both right"}
        assert card.kind == kinds[int(baseline.right), int(makd.right)]
    assert "resnet10t, seed 0" in cards_note(data)


def test_the_map_shows_the_same_images_by_every_source(made_up: MadeUpRuns, data: ReportData) -> None:
    found = page_embeddings(data, workers=2)
    assert found.note == "30 of 36 test images, first seed"
    test = made_up.images[made_up.images["split"] == "test"]
    assert found.paths == list(test["path"].iloc[data.embeddings.rows])
    assert found.labels == list(test["label"].iloc[data.embeddings.rows])
    assert len(found.thumbnails) == 30
    assert [cloud.name for cloud in (found.teacher, *found.students)] == [TEACHER, *made_up.models]
    answers = pd.read_parquet(made_up.aspects).set_index("path").loc[found.paths]
    assert found.teacher.p_yes == percents(answers[made_up.questions].to_numpy().T)
    for model, cloud, predicted in zip(made_up.models, found.students, found.predicted, strict=True):
        said = pd.read_parquet(made_up.folder(model, "makd", 0) / "predictions.parquet").set_index("path")
        said = said.loc[found.paths]
        assert [made_up.classes[label] for label in predicted] == list(said["predicted"])
        assert cloud.p_yes == percents(said.filter(like="aspect: ").to_numpy().T)
        points = data.embeddings.by_source[model].points
        assert points is not None
        assert (cloud.x, cloud.y) == tuple(points.round(3).T.tolist())
        assert cloud.reason == ""


def test_an_image_without_an_answer_has_no_place_on_the_teachers_map(tmp_path: Path) -> None:
    made_up = MadeUpRuns(tmp_path, models=("resnet10t",), seeds=(0,)).write()
    path = page_embeddings(report_data(made_up), workers=1).paths[5]
    made_up.p_yes[made_up.images["path"] == path] = np.nan
    made_up.save_answers()
    found = page_embeddings(report_data(made_up), workers=1)
    assert [place is None for place in found.teacher.x] == [place is None for place in found.teacher.y]
    assert [one for one, place in zip(found.paths, found.teacher.x, strict=True) if place is None] == [path]
    assert None not in found.students[0].x


def test_a_source_without_points_has_its_reason(tmp_path: Path) -> None:
    made_up = MadeUpRuns(tmp_path, n_test=1, models=("resnet10t",), seeds=(0,)).write()
    found = page_embeddings(report_data(made_up), workers=1)
    assert found.note == "all 3 test images, first seed"
    assert (found.teacher.x, found.teacher.y) == ([], [])
    assert found.teacher.reason == found.students[0].reason == "too few images (3) for t-SNE"


def test_curves_are_a_line_a_run_and_the_baseline_has_no_aspects(data: ReportData) -> None:
    curves = page_curves(data.tables["training"])
    assert [(curve.model, curve.arm, curve.seed) for curve in curves] == list(data.runs)
    training = data.tables["training"]
    for curve in curves:
        of_run = training[(training["model"] == curve.model) & (training["arm"] == curve.arm)]
        of_run = of_run[of_run["seed"] == curve.seed]
        assert curve.epoch == list(range(1, 5))
        assert curve.values["val accuracy, %"] == list(of_run["val_accuracy"])
        assert any("aspect" in name for name in curve.values) == (curve.arm == "makd")
        assert ("val aspect BCE, nats" in curve.values) == (curve.arm == "makd")


def test_a_measure_that_was_never_taken_has_no_curve_and_a_gap_is_none(data: ReportData) -> None:
    training = data.tables["training"].assign(val_accuracy=np.nan)
    assert all("val accuracy, %" not in curve.values for curve in page_curves(training))
    training.loc[training["epoch"] == 3, "val_accuracy"] = 50.0
    assert all(curve.values["val accuracy, %"] == [None, None, 50.0, None] for curve in page_curves(training))


def test_calibrations_leave_out_the_tenths_without_answers(data: ReportData) -> None:
    calibration = data.tables["calibration"]
    calibration = calibration.assign(answers=calibration["answers"].where(calibration["tenth"] != 4, 0))
    found = page_calibrations(calibration)
    assert [one.student for one in found] == list(data.models)
    for one in found:
        rows = calibration[(calibration["model"] == one.student) & (calibration["answers"] > 0)]
        assert one.count == list(rows["answers"])
        assert one.predicted == pytest.approx(100 * rows["student"])
        assert one.observed == pytest.approx(100 * rows["teacher"])
        assert len(one.count) <= 9
