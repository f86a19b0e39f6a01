import pytest

from makd.estimate import Cost, Estimate, duration, quantity


def test_reading_and_answering_overlap_where_there_are_workers() -> None:
    one = Estimate(Cost(1234, 5_600_000), seconds=0.2, reading_seconds=0.1)
    assert "0.3 s" not in one.line(10, workers=0)
    assert one.line(10, workers=0).startswith("1,234 tokens and 5.6 MFLOP an image, 3.33 images/s: 3 s for 10 images")
    assert "5 images/s: 2 s for 10 images" in one.line(10, workers=2)


def test_slow_reading_is_said() -> None:
    assert "limited by reading: raise runtime.workers: 200 s" not in Estimate(Cost(1, 1), 0.1, 0.1).line(100, 2)
    assert "5 images/s, limited by reading: raise runtime.workers: 20 s" in Estimate(Cost(1, 1), 0.1, 0.4).line(100, 2)


@pytest.mark.parametrize(("number", "text"), [(2.5e15, "2.5 P"), (7e10, "70 G"), (12.0, "12 ")])
def test_quantities(number: float, text: str) -> None:
    assert quantity(number) == text


@pytest.mark.parametrize(("seconds", "text"), [(12.3, "12 s"), (600.0, "10 min"), (36000.0, "10.0 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
