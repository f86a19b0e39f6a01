"""What is tried on a few images before many are asked about: the self-test, and what it will cost."""

import time
from dataclasses import asdict
from itertools import islice

import pandas as pd

from makd.answerer import Answerer, Metered
from makd.estimate import Estimate
from makd.files import write_json
from makd.loading import good_ones, load
from makd.store import AnswerStore

TEST_IMAGES = 2
SAMPLE_IMAGES = 4
REFUSALS = 64
"""Pictures that a processor may refuse, one after the other, before it is taken to refuse all."""
LOW_MASS = 0.9
"""Below this share of the next-token probability, yes and no are not what the model wants to say."""


def run_self_test(scorer: Answerer, images: pd.Series, store: AnswerStore) -> bool:
    """Refuse to ask anything if the fast way disagrees with the plain one on this model's own prompts.

    What it saw of the first token goes beside the answers, as audit.json. Returns whether there was a picture to try.
    """
    # With answers in the store, all that is left may be a few pictures that are refused each time
    patience = None if store.parts() else REFUSALS
    pictures = [one.picture for one in islice(good_ones(images, scorer.reader, patience), TEST_IMAGES)]
    if not pictures:  # nothing will be asked
        return False
    if scorer.why_one_by_one is not None:
        print(f"one forward pass a question: {scorer.why_one_by_one}", flush=True)
    result = scorer.self_test(pictures)
    write_json(asdict(result), store.folder / "audit.json")
    print(
        f"self-test: max |dq| {result.difference:.1g}, yes and no hold {result.mass:.1%} of the first token", flush=True
    )
    if result.mass < LOW_MASS:
        tokens = ", ".join(f"{token!r} ({count})" for token, count in result.top_tokens.items())
        print(
            f"warning: over {result.pairs} questions the model would rather begin with {tokens}; "
            "are prompt and template right?",
            flush=True,
        )
    return True


def print_estimate(scorer: Answerer, images: pd.Series, n_questions: int, workers: int) -> None:
    """Say what asking will cost, from a few images all over the list."""
    if isinstance(scorer, Metered):
        print(f"{n_questions} questions: {scorer.estimate(len(images))}", flush=True)
        return
    spread = images.iloc[:: max(1, len(images) // SAMPLE_IMAGES)]
    start = time.perf_counter()
    sample = [one.inputs for one in islice(good_ones(spread, scorer.reader), SAMPLE_IMAGES)]
    if not sample:
        print(f"no image to try: {load(spread.iloc[0], spread.index[0], scorer.reader).unreadable}", flush=True)
        return
    reading = (time.perf_counter() - start) / len(sample)
    cost = scorer.cost(sample[0])  # also warms up
    start = time.perf_counter()
    scorer.score(sample)
    expected = Estimate(cost, (time.perf_counter() - start) / len(sample), reading)
    print(f"{n_questions} questions: {expected.line(len(images), workers)}", flush=True)
