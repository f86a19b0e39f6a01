from makd.model_card import model_card
from makd.run_facts import Accuracy, Gap, RunFacts, Sources
from makd.trained_run import RunConfig
from tests.made_up_runs import run_config

FACTS = RunFacts(
    splits={"train": 1200, "val": 20, "test": 40},
    accuracy={"val": Accuracy(20, 55.0, 34.21, 74.18), "test": Accuracy(40, 65.0, 49.51, 77.87)},
    gap=Gap(60.0, 5.0, -7.5, 17.5),
    questions_by=None,
    sources=Sources(),
)


def card(config: RunConfig) -> str:
    return model_card(
        config, FACTS, questions=(), n_parameters=1, n_flops=2, commit="c", checks=(), files=("model.safetensors",)
    )


def test_every_number_stands_where_it_belongs() -> None:
    text = card(run_config())
    for part in (
        "| val | 20 | 55.00 | 34.21 to 74.18 |\n| test | 40 | 65.00 | 49.51 to 77.87 |",
        "has 60.00 % on test: a gap of +5.00 percentage points, paired 95 % interval over images\n[-7.50, +17.50].",
        "shorter side to 56 px (bilinear), centre square of 48 px,",
        "1,200 train, 20 val, 40 test images; 50 % of the training images were used.",
        "\n0. auk\n1. owl\n",
        "\n1. Does it hoot?\n",
    ):
        assert part in text


def test_what_the_params_do_not_say_is_not_guessed() -> None:
    text = card(run_config(params={"alpha": 2.0}))
    assert "40 test images.\n" in text
    assert "- Targets of the aspects: absent." in text
    assert "Class distillation" not in text


def test_the_teachers_licence_is_asked_for_where_there_was_a_teacher() -> None:
    line = "\n- of the teacher's weights and of its answers:\n"
    assert line in card(run_config())
    assert line not in card(run_config(arm="baseline", questions=()))
