"""Random numbers from a seed and a purpose, and from nothing else."""

from makd.seeding import derived_seed, random_stream


def test_streams_repeat_and_purposes_are_independent() -> None:
    keys: list[tuple[int, list[str | int]]] = [(0, ["a"]), (1, ["a"]), (0, ["b"]), (0, ["a", 1]), (0, ["a1"])]
    draws = [tuple(random_stream(seed, *purpose).random(3)) for seed, purpose in keys]
    assert len(set(draws)) == len(keys)
    assert draws == [tuple(random_stream(seed, *purpose).random(3)) for seed, purpose in keys]


def test_derived_seed_is_the_same_on_every_machine_and_fits_torch() -> None:
    assert derived_seed(0, "order", 3) == 2723741169552378311
    assert all(0 <= derived_seed(seed, "x") < 2**63 for seed in range(200))
