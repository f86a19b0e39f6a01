import numpy as np
import pytest

from makd.embedding import aspect_logits, distinct_rows, embed, fitting_perplexity, sample


def answers(n_images: int, n_questions: int) -> np.ndarray:
    return np.random.default_rng(0).random((n_images, n_questions)).astype(np.float32)


def test_logits_are_log_odds_kept_finite_and_nulls_become_the_mean_of_the_question() -> None:
    logits = aspect_logits(np.array([[0.5, 1.0, np.nan], [0.8, np.nan, np.nan], [np.nan, 0.0, np.nan]]))
    far = np.log((1 - 1e-6) / 1e-6)
    assert logits == pytest.approx(np.array([[0, far], [np.log(4), 0], [np.log(4) / 2, -far]]), abs=1e-9)


def test_two_kinds_of_answers_become_two_clouds() -> None:
    p_yes = np.random.default_rng(0).normal(0.2, 0.03, (60, 5)).clip(0, 1)
    p_yes[30:] += 0.6
    points = embed(p_yes, 30.0).points
    assert points is not None
    one, other = points[:30], points[30:]
    apart = np.linalg.norm(one.mean(axis=0) - other.mean(axis=0))
    assert apart > 2 * max(np.linalg.norm(cloud - cloud.mean(axis=0), axis=1).mean() for cloud in (one, other))


@pytest.mark.parametrize(("n_images", "n_questions"), [(5, 3), (6, 1), (40, 2)])
def test_small_sets_have_an_embedding_too(n_images: int, n_questions: int) -> None:
    points = embed(answers(n_images, n_questions), 30.0).points
    assert points is not None
    assert points.shape == (n_images, 2)
    assert np.isfinite(points).all()


def test_images_with_equal_answers_are_one_point_and_those_without_an_answer_none() -> None:
    p_yes = np.repeat(answers(8, 3), 5, axis=0)[np.random.default_rng(1).permutation(40)]
    alone = embed(p_yes, 30.0).points
    assert alone is not None
    places = {tuple(row): tuple(point) for row, point in zip(p_yes, alone, strict=True)}
    assert len(places) == len(set(places.values())) == 8
    assert [places[tuple(row)] for row in p_yes] == [tuple(point) for point in alone]
    gaps = np.insert(p_yes, [3, 20], np.nan, axis=0)
    among = embed(gaps, 30.0).points
    assert among is not None
    assert np.isnan(among).all(axis=1).nonzero()[0].tolist() == [3, 21]
    assert np.array_equal(among[~np.isnan(gaps).all(axis=1)], alone)


def test_distinct_rows_come_in_the_order_in_which_they_are_met() -> None:
    rows, of_image = distinct_rows(np.array([[5.0], [1.0], [5.0], [3.0], [1.0]]))
    assert rows.ravel().tolist() == [5, 1, 3]
    assert of_image.tolist() == [0, 1, 0, 2, 1]


@pytest.mark.parametrize("n_questions", [1, 4])
def test_the_same_answers_always_give_the_same_points(n_questions: int) -> None:
    first, second = (embed(answers(50, n_questions), 30.0).points for _ in range(2))
    assert first is not None
    assert second is not None
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("p_yes", "reason"),
    [
        (answers(4, 3), "too few images (4)"),
        (np.full((9, 3), 0.3, dtype=np.float32), "the same answers"),
        (np.repeat(answers(4, 3), 3, axis=0), "too few different answers (4)"),
        (np.vstack([answers(4, 3), np.full((9, 3), np.nan, np.float32)]), "too few images (4)"),
        (np.full((9, 3), np.nan, dtype=np.float32), "no answers"),
        (np.empty((9, 0), dtype=np.float32), "no answers"),
        (np.empty((0, 3), dtype=np.float32), "no answers"),
    ],
)
def test_where_there_is_nothing_to_show_it_says_why(p_yes: np.ndarray, reason: str) -> None:
    embedding = embed(p_yes, 30.0)
    assert embedding.points is None
    assert reason in embedding.reason


def test_perplexity_fits_the_images() -> None:
    assert fitting_perplexity(30.0, 1000) == 30
    assert fitting_perplexity(30.0, 10) == 3


def test_sample_is_fixed_ordered_and_without_doubles() -> None:
    assert list(sample(4, 10)) == [0, 1, 2, 3]
    chosen = sample(1000, 50)
    assert len(set(chosen)) == 50
    assert list(chosen) == sorted(chosen) == list(sample(1000, 50))
