import numpy as np

from makd.answers import Answers


def test_p_yes_is_the_softmax_of_the_two_logits() -> None:
    found = Answers(
        np.array([[0, 1, 200, -200, np.nan]], np.float32), np.array([[0, -1, -200, 200, np.nan]], np.float32)
    )
    np.testing.assert_allclose(found.p_yes, [[0.5, 1 / (1 + np.exp(-2)), 1, 0, np.nan]], rtol=1e-6)
