"""The same images asked in both ways."""

from collections.abc import Sequence

import torch
from PIL.Image import Image

from makd.scorer import Scorer


def plain(scorer: Scorer, images: Sequence[Image]) -> torch.Tensor:
    """The model's own logits of yes and no, a forward pass a question; shape (images, questions, 2)."""
    answers, questions = list(scorer.conversation.answer_ids), range(len(scorer.conversation.prompts))
    return torch.stack([torch.stack([scorer.one_by_one(image, k)[1][answers] for k in questions]) for image in images])


def score(scorer: Scorer, images: Sequence[Image]) -> torch.Tensor:
    scorer.prepare(images[0])
    return scorer.score([scorer.reader.inputs(image) for image in images])
