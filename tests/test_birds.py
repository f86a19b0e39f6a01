from dataclasses import fields, replace
from itertools import combinations

import numpy as np

from makd.birds import (
    GENUS_MARKS,
    LEAST_DIFFERENCE,
    Marks,
    choices,
    difference,
    facts,
    individual,
    random_marks,
    seeded,
    species,
)

BIRD = Marks(colour="blue", plump=False)


def test_there_are_twenty_species_that_differ_in_few_but_enough_marks() -> None:
    found = species()
    assert len(found) == 20
    for (name, marks), (other_name, other) in combinations(found.items(), 2):
        if name.split()[1] == other_name.split()[1]:
            assert difference(marks, other) >= LEAST_DIFFERENCE
            assert all(getattr(marks, mark) == getattr(other, mark) for mark in GENUS_MARKS)


def test_species_are_the_same_in_every_run() -> None:
    assert species() == species()


def test_individuals_deviate_as_often_as_they_should() -> None:
    rng = np.random.default_rng(0)
    birds = [individual(BIRD, 0.35, rng) for _ in range(2000)]
    crested = np.mean([bird.crest for bird in birds])
    assert abs(crested - 0.35 / 2) < 0.03  # redrawn in 35 %, and then yes in half
    assert {bird.colour for bird in birds} == {"blue"}


def test_without_variation_all_are_alike() -> None:
    assert individual(BIRD, 0.0, np.random.default_rng(0)) == BIRD


def test_random_marks_take_every_value() -> None:
    rng = np.random.default_rng(0)
    birds = [random_marks(rng) for _ in range(300)]
    for field in fields(Marks):
        assert {getattr(bird, field.name) for bird in birds} == set(choices(field.name))


def test_every_mark_shows_in_the_facts() -> None:
    for field in fields(Marks):
        changed = [replace(BIRD, **{field.name: value}) for value in choices(field.name)]  # type: ignore[arg-type]
        truths = {tuple(facts(bird).values()) for bird in changed}
        assert len(truths) == len(choices(field.name)), field.name


def test_a_generator_depends_on_its_parts_alone() -> None:
    assert seeded("a", 1).random() == seeded("a", 1).random()
    assert seeded("a", 1).random() != seeded("a", 2).random()
