"""What a question is worth, from the teacher's answers alone: how sure, how much about the class, what repeats.

All entropies are in bits. A drawn answer is yes with the probability P(yes) of its image: a teacher that says 0.5 about
every image of a class has an entropy of one bit there, whatever the images show.
"""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.special import entr
from scipy.stats import f as f_distribution

from makd.metrics import between_class_share

CONSTANT_STD = 0.02
"""P(yes) that varies less than this over the images teaches nothing."""
REDUNDANT_R = 0.95
"""From this |r| on, one of two questions explains nine tenths of the other (r squared 0.90)."""
CLASS_SHARE_P = 0.01
"""Above it the class means may differ by chance alone; of a hundred questions about nothing, one is expected below."""
CLASS_INFORMATION = 0.01
"""Below it the class takes away less than one per cent of the answer's uncertainty, be that by chance or not."""
MIN_COMMON_IMAGES = 3
"""Two images always lie on a line: their correlation is 1 or -1 whatever the questions."""
NO_ENTROPY_BITS = 1e-12  # below it only float rounding is left

PerQuestion = Float[np.ndarray, " questions"]


def question_quality(p_yes: Float[np.ndarray, "images questions"], labels: Int[np.ndarray, " images"]) -> pd.DataFrame:
    """A row a question, in the order of the columns, which is taken for that of rank.

    | column | |
    | --- | --- |
    | `entropy_bits` | mean over the images of the entropy of the answer, in [0, 1]: how unsure the teacher is |
    | `answer_entropy_bits` | entropy of a drawn answer over all images, in [0, 1]: at least `entropy_bits` |
    | `class_information_bits` | what a drawn answer and the class say about each other, in [0, `answer_entropy_bits`] |
    | `class_information` | the same as a share of `answer_entropy_bits`; NaN where that is 0 |
    | `class_share_p` | p-value of equal class means of P(yes) (one-way analysis of variance) |
    | `closest_question` | rank, from 1, of the most correlated other question (Int64; NA where there is none) |
    | `closest_r` | Pearson's r with it, in [-1, 1] |
    | `flags` | what is wrong with it (`flags_of`); empty where nothing is |

    NaN answers are left out. A number is NaN where it cannot be computed, such as of a question without answers.

    Args:
        p_yes: P(yes) of the teacher in [0, 1], or NaN.
        labels: the class of each image.
    """
    entropy, answer_entropy, information = class_information(p_yes, labels)
    share = np.divide(
        information, answer_entropy, out=np.full(len(information), np.nan), where=answer_entropy > NO_ENTROPY_BITS
    )
    p_value = class_share_p(p_yes, labels)
    constant = is_constant(p_yes)
    r = correlations(p_yes, constant)
    closest, closest_r = most_correlated(r)
    return pd.DataFrame(
        {
            "entropy_bits": entropy,
            "answer_entropy_bits": answer_entropy,
            "class_information_bits": information,
            "class_information": share,
            "class_share_p": p_value,
            "closest_question": pd.arrays.IntegerArray(closest + 1, closest < 0),
            "closest_r": closest_r,
            "flags": flags_of(constant, r, p_value, share, np.asarray(~np.isnan(p_yes).all(axis=0))),
        }
    )


def class_information(
    p_yes: Float[np.ndarray, "images questions"], labels: Int[np.ndarray, " images"]
) -> tuple[PerQuestion, PerQuestion, PerQuestion]:
    """Mean entropy of an answer, entropy of a drawn answer, and its mutual information with the class, all in bits.

    The last is H(mean p) - sum over classes of share x H(mean p of the class), over the answered images: of hard
    answers the plug-in estimate of I(C; A). It is biased upwards with few images a class, by about (classes - 1) /
    (2 ln 2 x images) bits for hard answers (Miller and Madow), less for soft ones. NaN without answers.
    """
    answered = ~np.isnan(p_yes)
    values = np.where(answered, p_yes, 0).astype(np.float64)
    count, yes = of_classes(answered.astype(np.float64), labels), of_classes(values, labels)
    total = count.sum(axis=0)
    answer_entropy = entropy_bits(over(yes.sum(axis=0), total))
    given_class = over((count * np.nan_to_num(entropy_bits(over(yes, count)))).sum(axis=0), total)
    of_answers = over((entropy_bits(values) * answered).sum(axis=0), total)
    return of_answers, answer_entropy, np.maximum(answer_entropy - given_class, 0)  # rounding may reach below 0


def class_share_p(p_yes: Float[np.ndarray, "images questions"], labels: Int[np.ndarray, " images"]) -> PerQuestion:
    """p-value of the one-way analysis of variance of P(yes) over the classes that have answers.

    NaN where it cannot be computed: one class, no more answers than classes, or answers that do not vary at all.
    """
    share = between_class_share(p_yes, labels)
    count = of_classes((~np.isnan(p_yes)).astype(np.float64), labels)
    classes, images = (count > 0).sum(axis=0), count.sum(axis=0)
    between, within = classes - 1, images - classes
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = share / np.maximum(1 - share, 0) * within / between  # infinite where the class says it all
    return np.asarray(np.where((between > 0) & (within > 0), f_distribution.sf(ratio, between, within), np.nan))


def is_constant(p_yes: Float[np.ndarray, "images questions"]) -> Bool[np.ndarray, " questions"]:
    """Whether P(yes) varies by less than CONSTANT_STD; False without answers."""
    return np.asarray(pd.DataFrame(p_yes.astype(np.float64)).std(ddof=0).to_numpy() < CONSTANT_STD)


def correlations(
    p_yes: Float[np.ndarray, "images questions"], constant: Bool[np.ndarray, " questions"]
) -> Float[np.ndarray, "questions questions"]:
    """Pearson's r of each two questions over the images with both answers.

    NaN on the diagonal, with fewer than MIN_COMMON_IMAGES such images, and for a constant question: of what hardly
    varies r is noise.
    """
    r = np.array(pd.DataFrame(p_yes.astype(np.float64)).corr(min_periods=MIN_COMMON_IMAGES))
    np.fill_diagonal(r, np.nan)
    r[constant] = np.nan
    r[:, constant] = np.nan
    return np.asarray(r)


def most_correlated(
    r: Float[np.ndarray, "questions others"],
) -> tuple[Int[np.ndarray, " questions"], PerQuestion]:
    """Of each row the column with the greatest |r|, the first of equal ones, and that r; -1 and NaN where all are NaN.

    Ties within rounding are ties: 1e-9 of |r| is no difference.
    """
    if not r.size:
        return np.full(len(r), -1), np.full(len(r), np.nan)
    size = np.nan_to_num(np.abs(r), nan=-1.0)
    first = (size >= size.max(axis=1, keepdims=True) - 1e-9).argmax(axis=1)
    found = r[np.arange(len(r)), first]
    return np.where(np.isnan(found), -1, first), found


def flags_of(
    constant: Bool[np.ndarray, " questions"],
    r: Float[np.ndarray, "questions questions"],
    p_value: PerQuestion,
    information_share: PerQuestion,
    answered: Bool[np.ndarray, " questions"],
) -> list[str]:
    """What is wrong with each question, joined by "; ".

    "constant"; "redundant with <rank> (r = 0.97)", said of the later of two, with the most correlated of the better
    ones; "tells nothing about the class", said of no constant one; "no answers"; "too few answers to judge", such as
    one of each class.
    """
    better, better_r = most_correlated(np.where(np.tri(len(r), k=-1, dtype=bool), r, np.nan))
    nothing = (p_value > CLASS_SHARE_P) | (information_share < CLASS_INFORMATION)
    flags = []
    for question in range(len(r)):
        said = ["constant"] if constant[question] else []
        if abs(better_r[question]) >= REDUNDANT_R:
            said.append(f"redundant with {better[question] + 1} (r = {better_r[question]:.2f})")
        if nothing[question] and not constant[question]:
            said.append("tells nothing about the class")
        if not answered[question]:
            said.append("no answers")
        elif np.isnan(p_value[question]) and not constant[question]:
            said.append("too few answers to judge")
        flags.append("; ".join(said))
    return flags


def of_classes(
    values: Float[np.ndarray, "images questions"], labels: Int[np.ndarray, " images"]
) -> Float[np.ndarray, "classes questions"]:
    """Sums over the images of each class that there is."""
    return np.asarray(pd.DataFrame(values).groupby(labels).sum().to_numpy())


def over(sums: Float[np.ndarray, "..."], counts: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Means; NaN of nothing."""
    return np.asarray(np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0))


def entropy_bits(p: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Of a yes with probability `p`, in [0, 1]; a sum of many may leave that range by its last bit."""
    p = np.clip(p, 0, 1)
    return np.asarray((entr(p) + entr(1 - p)) / np.log(2))
