"""What aspects say about classes, by one simple rule: the likelihood of yes/no answers under the means of each class.

A class answers question k with yes in a share m_k of its training images, as the teacher saw them. An image whose
P(yes) is q_k speaks for class a and against class b by

    q_k ln(m_ak / m_bk) + (1 - q_k) ln((1 - m_ak) / (1 - m_bk))    nats,

the log-likelihood ratio of an answer that is yes with probability q_k. The evidence is the sum over the questions, as
if they were independent given the class (naive Bayes with equal priors); they are not, so sums look surer than they
are, and only their order and sign are meant. None of it enters the class head: this is what the aspect head says.
"""

import numpy as np
from jaxtyping import Float, Int

LEAST = 0.01
"""Class means are kept this far from 0 and 1, so that one answer never speaks louder than ln 99 = 4.6 nats."""


def class_answer_means(
    p_yes: Float[np.ndarray, "images questions"], labels: Int[np.ndarray, " images"], n_classes: int
) -> Float[np.ndarray, "classes questions"]:
    """Mean P(yes) of each class and question, in [LEAST, 1 - LEAST]; NaN answers are left out.

    Each class counts one image more, with the answers of all classes: few images prove little. A class without any
    answer has the mean of all, and a question without any answer is 0.5 for every class, which says nothing.
    """
    answered = ~np.isnan(p_yes)
    yes = np.where(answered, p_yes, 0.0)
    n_all = answered.sum(axis=0)
    overall = np.divide(yes.sum(axis=0), n_all, out=np.full(p_yes.shape[1], 0.5), where=n_all > 0)
    of_class = np.eye(n_classes)[labels].T
    means = (of_class @ yes + overall) / (of_class @ answered + 1)
    return np.asarray(means.clip(LEAST, 1 - LEAST))


def log_likelihoods(
    p_yes: Float[np.ndarray, "images questions"], means: Float[np.ndarray, "classes questions"]
) -> Float[np.ndarray, "images classes"]:
    """Of the answers about each image under each class, in nats; the greatest is what the aspects alone decide.

    NaN, no answer, says nothing.
    """
    p_yes, means = p_yes.astype(np.float64), means.astype(np.float64)
    yes, no = np.nan_to_num(p_yes), np.nan_to_num(1 - p_yes)
    return np.asarray(yes @ np.log(means).T + no @ np.log1p(-means).T)


def evidence(
    p_yes: Float[np.ndarray, " questions"],
    favoured: Float[np.ndarray, " questions"],
    rival: Float[np.ndarray, " questions"],
) -> Float[np.ndarray, " questions"]:
    """What each answer about one image says for the favoured class and against its rival, in nats; below 0: against.

    `favoured` and `rival` are the rows of the two classes in the means.
    """
    p_yes, favoured, rival = (values.astype(np.float64) for values in (p_yes, favoured, rival))
    return np.asarray(p_yes * np.log(favoured / rival) + (1 - p_yes) * np.log((1 - favoured) / (1 - rival)))
