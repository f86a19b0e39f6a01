"""Eq. (4) to (6), with values worked out by hand.

Logits of 0 and ln 3 have sigmoids of 1/2 and 3/4, and together a softmax of (1/4, 3/4). Hence all numbers below are
ln 2 = 0.693147, ln 4 = 1.386294, ln 4/3 = 0.287682 and ln 3/2 = 0.405465.
"""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from makd.losses import AspectLoss, aspect_bce, aspect_kl, dkd_loss, kd_loss, multi_aspect_loss

LN3 = math.log(3)
NAN = math.nan


def test_golden_values_of_both_parts_and_the_total() -> None:
    losses = multi_aspect_loss(
        torch.tensor([[0.0, LN3], [0.0, LN3]]),
        torch.tensor([[0.0, LN3], [LN3, 0.0]]),
        torch.tensor([0, 1]),
        torch.tensor([[0.3, 1.0], [0.0, NAN]]),
        alpha=4.0,
    )
    # classes: (ln 4 + ln 4/3) / 2; aspects: (ln 2 + ln 4/3 + ln 4) / 3, since the fourth pair has no answer
    assert losses.classes.item() == pytest.approx(0.836988, abs=1e-6)
    assert losses.aspects.item() == pytest.approx(0.789041, abs=1e-6)
    assert losses.total.item() == pytest.approx(0.836988 + 4 * 0.789041, abs=1e-5)


def test_bce_of_a_soft_answer() -> None:
    # p = 0.75 at a sigmoid of 3/4: 0.75 ln 4/3 + 0.25 ln 4, its own entropy and so the least that is possible
    assert aspect_bce(torch.tensor([[LN3]]), torch.tensor([[0.75]])).item() == pytest.approx(0.562335, abs=1e-6)


def test_bce_is_a_mean_over_the_aspects_not_a_sum() -> None:
    logits, p_yes = torch.tensor([[0.5, -2.0]]), torch.tensor([[0.1, 0.9]])
    twice = aspect_bce(torch.cat([logits, logits], dim=1), torch.cat([p_yes, p_yes], dim=1))
    torch.testing.assert_close(twice, aspect_bce(logits, p_yes))


def test_kl_golden_values() -> None:
    logits = torch.tensor([[0.0, LN3], [0.0, LN3]])
    p_yes = torch.tensor([[0.2, 0.2], [0.0, 0.6]])
    # t = (1/2, 1/2): (ln 2 - ln 3/2) / 2 = 0.143841; t = (0, 1): ln 4/3 = 0.287682; their mean
    assert aspect_kl(logits, p_yes).item() == pytest.approx(0.2157615, abs=1e-6)


def test_kl_leaves_unanswered_aspects_out_of_both_distributions() -> None:
    logits = torch.tensor([[0.0, 5.0, LN3], [1.0, 2.0, 3.0]])
    p_yes = torch.tensor([[0.2, NAN, 0.2], [NAN, NAN, NAN]])
    assert aspect_kl(logits, p_yes).item() == pytest.approx(0.143841, abs=1e-6)  # as above; the second image is absent


def test_kl_is_not_moved_by_a_common_shift_and_bce_is() -> None:
    logits, p_yes = torch.tensor([[0.3, -1.0, 2.0]]), torch.tensor([[0.2, 0.4, 0.9]])
    torch.testing.assert_close(aspect_kl(logits + 1, p_yes), aspect_kl(logits, p_yes))
    assert aspect_bce(logits + 1, p_yes).item() != pytest.approx(aspect_bce(logits, p_yes).item(), abs=0.01)


def random_batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(8, 5), torch.randn(8, 3), torch.randint(0, 5, (8,)), torch.rand(8, 3)


@pytest.mark.parametrize("aspect_loss", ["bce", "kl"])
def test_alpha_0_is_the_cross_entropy_bit_for_bit(aspect_loss: AspectLoss) -> None:
    class_logits, aspect_logits, labels, p_yes = random_batch()
    losses = multi_aspect_loss(class_logits, aspect_logits, labels, p_yes, alpha=0.0, aspect_loss=aspect_loss)
    assert torch.equal(losses.total, functional.cross_entropy(class_logits, labels))
    assert losses.aspects > 0


@pytest.mark.parametrize("aspect_loss", ["bce", "kl"])
@pytest.mark.parametrize("n_aspects", [3, 0])
def test_batch_without_any_answer_costs_nothing_and_has_finite_gradients(
    aspect_loss: AspectLoss, n_aspects: int
) -> None:
    class_logits, _, labels, _ = random_batch()
    aspect_logits = torch.randn(8, n_aspects, requires_grad=True)
    losses = multi_aspect_loss(
        class_logits, aspect_logits, labels, torch.full((8, n_aspects), NAN), alpha=10.0, aspect_loss=aspect_loss
    )
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert losses.aspects == 0
    assert torch.equal(losses.total, functional.cross_entropy(class_logits, labels))
    assert aspect_logits.grad is not None
    assert (aspect_logits.grad == 0).all()


@pytest.mark.parametrize("aspect_loss", ["bce", "kl"])
def test_missing_answers_pull_nowhere(aspect_loss: AspectLoss) -> None:
    class_logits, aspect_logits, labels, p_yes = random_batch()
    p_yes[2, 1] = p_yes[5] = NAN
    aspect_logits.requires_grad_()
    losses = multi_aspect_loss(class_logits, aspect_logits, labels, p_yes, alpha=1.0, aspect_loss=aspect_loss)
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert aspect_logits.grad is not None
    assert torch.equal(aspect_logits.grad == 0, p_yes.isnan())


@pytest.mark.parametrize("aspect_loss", ["bce", "kl"])
def test_certain_answers_and_extreme_logits_stay_finite(aspect_loss: AspectLoss) -> None:
    logits = torch.tensor([[-200.0, 200.0], [200.0, -200.0], [0.0, 0.0]], requires_grad=True)
    p_yes = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    loss = {"bce": aspect_bce, "kl": aspect_kl}[aspect_loss](logits, p_yes)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


# Three classes: the softmax of (0, 0, ln 2) is (1/4, 1/4, 1/2), that of zeros (1/3, 1/3, 1/3).
TEACHER, STUDENT = torch.tensor([[0.0, 0.0, math.log(2)]]), torch.zeros(1, 3)


def test_kd_golden_value() -> None:
    # 2 x 1/4 ln 3/4 + 1/2 ln 3/2 = ln 3 - 3/2 ln 2
    assert kd_loss(STUDENT, TEACHER, temperature=1.0).item() == pytest.approx(0.0588915, abs=1e-6)


def test_temperature_divides_the_logits_and_its_square_multiplies_the_loss() -> None:
    assert kd_loss(STUDENT, 4 * TEACHER, temperature=4.0).item() == pytest.approx(16 * 0.0588915, abs=1e-5)
    warm = dkd_loss(STUDENT, 4 * TEACHER, torch.tensor([0]), beta=8.0, temperature=4.0)
    cold = dkd_loss(STUDENT, TEACHER, torch.tensor([0]), beta=8.0, temperature=1.0)
    torch.testing.assert_close(warm, 16 * cold)


def test_dkd_golden_value() -> None:
    # The label is class 0. TCKD: 1/4 ln 3/4 + 3/4 ln 9/8; NCKD, (1/3, 2/3) from (1/2, 1/2): 1/3 ln 2/3 + 2/3 ln 4/3
    tckd, nckd = 0.0164169, 0.0566331
    for beta in (0.0, 8.0):
        loss = dkd_loss(STUDENT, TEACHER, torch.tensor([0]), beta=beta, temperature=1.0)
        assert loss.item() == pytest.approx(tckd + beta * nckd, abs=1e-6)


def test_kd_is_dkd_whose_beta_is_what_the_teacher_leaves_to_the_other_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(1, 5, generator=generator), torch.randn(1, 5, generator=generator)
    beta = 1 - teacher.softmax(dim=1)[0, 2].item()
    decoupled = dkd_loss(student, teacher, torch.tensor([2]), beta=beta, temperature=1.0)
    torch.testing.assert_close(decoupled, kd_loss(student, teacher, temperature=1.0))


@pytest.mark.parametrize("loss", ["kd", "dkd"])
def test_images_that_the_teacher_does_not_know_do_not_count(loss: str) -> None:
    def of(student: Tensor, teacher: Tensor) -> Tensor:
        if loss == "kd":
            return kd_loss(student, teacher, temperature=2.0)
        return dkd_loss(student, teacher, torch.zeros(len(student), dtype=torch.long), beta=2.0, temperature=2.0)

    student = torch.tensor([[0.0, 1.0, 0.5], [3.0, 1.0, 2.0]], requires_grad=True)
    teacher = torch.tensor([[1.0, 0.0, 2.0], [NAN, NAN, NAN]])
    both = of(student, teacher)
    torch.testing.assert_close(both, of(student[:1], teacher[:1]))
    (gradient,) = torch.autograd.grad(both, student)
    assert gradient.isfinite().all()
    assert (gradient[1] == 0).all()
    assert of(student, torch.full((2, 3), NAN)).item() == 0
