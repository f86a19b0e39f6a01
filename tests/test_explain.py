import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from PIL import Image

from makd.cli import main
from makd.errors import UserError
from makd.evidence import evidence
from makd.explain import NOTE, Aspect, Explanation, Rival, explain, explanation_text
from makd.explanation_card import save_card
from makd.export import export
from makd.figures import LOOK
from makd.shipped import load_shipped
from tests.trained_project import CLASSES, QUESTIONS, TrainedProject, knowing_one_class


@pytest.fixture
def picture(trained: TrainedProject) -> Path:
    return Path(trained.predictions()["path"].iloc[2])


def aspect(question: str, nats: float) -> Aspect:
    return Aspect(question, p_yes=0.9, predicted=0.8, rival=0.1, nats=nats)


def made_up(by_aspects: str = "auk", n: int = 3) -> Explanation:
    aspects = [
        aspect(f"Is it number {i}, of which there is much to be said in a long question?", 2.5 - i) for i in range(n)
    ]
    return Explanation("auk", 0.7, by_aspects, [Rival("owl", 0.2, -1.5, aspects), Rival("tit", 0.1, 1.0, aspects)])


def test_every_number_is_the_students_or_the_rules(shipped: Path, picture: Path) -> None:
    student = load_shipped(shipped)
    found = explain(student, picture)
    image = Image.open(picture)
    assert {found.predicted: found.probability} | {one.name: one.probability for one in found.rivals} == pytest.approx(
        student.predict(image)
    )
    probabilities = [found.probability, *(one.probability for one in found.rivals)]
    assert probabilities == sorted(probabilities, reverse=True)
    means, p_yes = student.class_means, student.aspects(image)
    assert means is not None
    row = {name: means[label] for label, name in enumerate(CLASSES)}
    for rival in found.rivals:
        nats = evidence(np.array(list(p_yes.values()), np.float32), row[found.predicted], row[rival.name])
        expected = dict(zip(QUESTIONS, nats, strict=True))
        assert {one.question: one.nats for one in rival.aspects} == pytest.approx(expected)
        assert rival.nats == pytest.approx(nats.sum())
        weights = [abs(one.nats) for one in rival.aspects]
        assert weights == sorted(weights, reverse=True)
        for one in rival.aspects:
            k = QUESTIONS.index(one.question)
            assert (one.p_yes, one.predicted, one.rival) == pytest.approx(
                (p_yes[one.question], row[found.predicted][k], row[rival.name][k])
            )
    assert len(explain(student, picture, rivals=1).rivals) == 1


def test_the_aspects_alone_say_the_class_whose_answers_are_usually_these(shipped: Path, picture: Path) -> None:
    student = load_shipped(shipped)
    for label, name in enumerate(CLASSES):
        means = np.full((len(CLASSES), len(QUESTIONS)), 0.5, np.float32)
        means[label] = list(student.aspects(Image.open(picture)).values())
        found = explain(replace(student, class_means=means), picture)
        assert (found.by_aspects, found.agrees) == (name, name == found.predicted)


def test_the_only_class_has_no_rival(shipped: Path, picture: Path) -> None:
    with pytest.raises(UserError, match="knows one class, which has no rival"):
        explain(knowing_one_class(load_shipped(shipped)), picture)


def test_the_text_says_which_side_what_is_left_out_and_what_it_is() -> None:
    text = explanation_text(made_up("tit"), shown=2)
    assert "auk, 70.0%" in text
    assert "rather than owl, 20.0%: the aspects speak for owl, -1.5 nats" in text
    assert "rather than tit, 10.0%: the aspects speak for auk, +1.0 nats" in text
    assert "  +0.5  the other 1" in text
    assert "The aspects alone would say tit, not auk." in text
    assert text.endswith(NOTE)
    assert "too." in explanation_text(made_up())


def test_a_student_without_aspects_and_a_bad_picture_are_user_errors(
    trained: TrainedProject, shipped: Path, tmp_path: Path, picture: Path
) -> None:
    plain = export(trained.run(), tmp_path / "plain", data=trained.data)
    with pytest.raises(UserError, match="was exported without aspects; export the run again with --aspects"):
        explain(plain, picture)
    with pytest.raises(UserError, match=r"nowhere\.png cannot be opened"):
        explain(shipped, "nowhere.png")


@pytest.mark.parametrize("n", [1, 12])
def test_the_card_is_a_picture_of_equal_bytes(tmp_path: Path, n: int) -> None:
    found, image = made_up(n=n), Image.new("RGB", (30, 20), "teal")
    for name in ("first.png", "second.png"):
        save_card(found, image, tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    with Image.open(tmp_path / "first.png") as card:
        assert card.width > 1000


def test_the_card_draws_either_class_in_its_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("makd.explanation_card.save_figure", lambda figure, path: drawn.append(figure))
    found = made_up(n=5)
    save_card(found, Image.new("RGB", (30, 20)), tmp_path / "card.png")
    [_, bars, dots] = drawn[0].axes
    colours = {text.get_text(): to_rgba(text.get_color()) for text in bars.texts}
    against, in_favour = (to_rgba(LOOK[arm][0]) for arm in ("baseline", "makd"))  # as on the page of `makd serve`
    assert (colours["← speaks for owl"], colours["for auk →"]) == (against, in_favour)
    aspects = found.rivals[0].aspects
    assert [bar.get_width() for bar in bars.patches] == [one.nats for one in aspects]
    assert [bar.get_facecolor() for bar in bars.patches] == [in_favour if one.nats > 0 else against for one in aspects]
    assert [bar.get_width() for bar in dots.patches] == [one.p_yes for one in aspects]
    marks = {line.get_label(): (list(line.get_xdata()), to_rgba(line.get_color())) for line in dots.lines}
    assert marks == {
        "usual for auk": ([one.predicted for one in aspects], in_favour),
        "usual for owl": ([one.rival for one in aspects], against),
    }


def test_as_it_is_typed(
    shipped: Path,
    picture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["makd", "explain", str(shipped), str(picture), "--json", "--card", str(tmp_path / "card.png")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit):
        main()
    found = json.loads(capsys.readouterr().out)
    assert found["note"] == NOTE
    assert found["predicted"] == explain(shipped, picture).predicted
    assert (tmp_path / "card.png").is_file()
