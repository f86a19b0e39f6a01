from collections.abc import Callable

from makd.interleaved import best_seconds


def test_tasks_take_turns_and_each_has_its_least_time() -> None:
    now, ran = [0.0], []
    seconds = {"slow": iter([9.0, 5.0, 7.0]), "quick": iter([2.0, 3.0, 1.0])}

    def task(name: str) -> Callable[[], None]:
        def run() -> None:
            ran.append(name)
            now[0] += next(seconds[name])

        return run

    found = best_seconds({name: task(name) for name in seconds}, 3, clock=lambda: now[0])
    assert found == {"slow": 5.0, "quick": 1.0}
    assert ran == ["slow", "quick"] * 3
