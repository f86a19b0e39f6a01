from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from makd.agreement import question_auc
from makd.comparison import calibrations, compare_models, student_agreements
from makd.errors import UserError
from makd.runs import Runs, read_runs
from tests.made_up_runs import MadeUpRuns


@pytest.fixture
def made_up(tmp_path: Path) -> MadeUpRuns:
    return MadeUpRuns(tmp_path).write()


@pytest.fixture
def runs(made_up: MadeUpRuns) -> Runs:
    return read_runs(made_up.runs, made_up.images, made_up.models, made_up.seeds)


def teacher_on_test(made_up: MadeUpRuns) -> pd.DataFrame:
    return pd.DataFrame(made_up.p_yes, columns=made_up.questions)[made_up.images["split"] == "test"]


@pytest.mark.parametrize("split", ["val", "test"])
def test_accuracy_is_that_of_the_files(made_up: MadeUpRuns, runs: Runs, split: str) -> None:
    comparisons = compare_models(runs, made_up.models, made_up.seeds, 100)
    for model in made_up.models:
        for arm in ("baseline", "makd"):
            expected = []
            for seed in made_up.seeds:
                table = pd.read_parquet(made_up.folder(model, arm, seed) / "predictions.parquet")
                table = table[table["split"] == split]
                expected.append(100 * (table["predicted"] == table["class_name"]).mean())
            assert getattr(comparisons[model][split], arm) == pytest.approx(expected)


def test_models_and_seeds_are_those_asked_for(made_up: MadeUpRuns, runs: Runs) -> None:
    comparisons = compare_models(runs, made_up.models[1:], made_up.seeds[1:], 100)
    assert list(comparisons) == [made_up.models[1]]
    assert comparisons[made_up.models[1]]["test"].makd.shape == (1,)


def test_students_are_held_against_the_teacher_image_by_image(made_up: MadeUpRuns, runs: Runs) -> None:
    agreements = student_agreements(runs, made_up.models, made_up.seeds, teacher_on_test(made_up))
    assert [len(of_seeds) for of_seeds in agreements.values()] == [2, 2]
    assert all(one.abs_diff.max() < 0.15 for of_seeds in agreements.values() for one in of_seeds)
    shuffled = teacher_on_test(made_up).sample(frac=1, random_state=0)
    for of_seeds in student_agreements(runs, made_up.models, made_up.seeds, shuffled).values():
        assert np.mean([one.overall(one.abs_diff) for one in of_seeds]) > 0.2


def test_auc_takes_the_student_as_scores_and_the_teacher_as_the_truth(made_up: MadeUpRuns, runs: Runs) -> None:
    teacher = teacher_on_test(made_up)
    for model, of_seeds in student_agreements(runs, made_up.models, made_up.seeds, teacher).items():
        for seed, one in zip(made_up.seeds, of_seeds, strict=True):
            expected = question_auc(runs[model, "makd", seed].p_yes("test"), teacher.to_numpy(dtype=np.float32))
            assert one.auc == pytest.approx(expected, nan_ok=True)


def test_calibrations_count_every_answer_once_a_seed(made_up: MadeUpRuns, runs: Runs) -> None:
    teacher = teacher_on_test(made_up)
    teacher.iloc[0, 0] = np.nan
    table = calibrations(runs, made_up.models, made_up.seeds, teacher)
    assert list(table.columns) == ["model", "tenth", "student", "teacher", "answers"]
    assert list(table["model"]) == [model for model in made_up.models for _ in range(10)]
    for model, rows in table.groupby("model"):
        assert rows["answers"].sum() == 2 * (teacher.size - 1)
        students = [runs[str(model), "makd", seed].p_yes("test") for seed in made_up.seeds]
        sums = [one[teacher.notna().to_numpy()].sum(dtype=np.float64) for one in students]
        assert (rows["student"] * rows["answers"]).sum() == pytest.approx(sum(sums), rel=1e-6)
        total = 2 * teacher.to_numpy(dtype=np.float64, na_value=0).sum()
        assert (rows["teacher"] * rows["answers"]).sum() == pytest.approx(total, rel=1e-6)


def test_calibrations_put_each_answer_beside_its_own_image(made_up: MadeUpRuns, runs: Runs) -> None:
    """Of a teacher who says what the first seed's student says, and of one whose images are mixed up."""
    model = made_up.models[0]
    same = pd.DataFrame(runs[model, "makd", 0].p_yes("test"), columns=made_up.questions)
    table = calibrations(runs, (model,), (0,), same)
    assert table["teacher"].to_numpy() == pytest.approx(table["student"].to_numpy(), nan_ok=True)
    mixed = calibrations(runs, (model,), (0,), same.iloc[::-1])
    assert mixed["teacher"].to_numpy() != pytest.approx(mixed["student"].to_numpy(), nan_ok=True)


def test_a_student_of_other_questions_is_refused(made_up: MadeUpRuns, runs: Runs) -> None:
    teacher = teacher_on_test(made_up)
    with pytest.raises(UserError, match=r"learned 4 questions, not the 3 of data/aspects.parquet; run: dvc repro"):
        student_agreements(runs, made_up.models, made_up.seeds, teacher.iloc[:, :3])
    with pytest.raises(UserError, match="learned 4 questions"):
        student_agreements(runs, made_up.models, made_up.seeds, teacher.iloc[:, ::-1])
