"""Who answers: the part of a back-end that asking needs, whether it is a model here, a server, or vLLM's engine."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from makd.conversation import Reader
from makd.estimate import Cost
from makd.questions import Question
from makd.scorer import SelfTest


@runtime_checkable
class Answerer(Protocol):
    """A model that answers a fixed list of questions: the part of `makd.scorer.Scorer` that is needed here."""

    @property
    def reader(self) -> Reader: ...

    @property
    def why_one_by_one(self) -> str | None: ...

    def self_test(self, images: Sequence[Image.Image]) -> SelfTest: ...

    def cost(self, inputs: Any) -> Cost: ...

    def score(self, batch: Sequence[Any]) -> Float[Tensor, "images questions channels"]:
        """z_yes and z_no; or these, NaN where not told, and the bounds of P(yes): all NaN where nothing was answered.

        Raises:
            UserError: nothing more can be answered; what was answered before is kept.
        """
        ...


@runtime_checkable
class Metered(Protocol):
    """An answerer elsewhere: what it asks costs money or another machine's time, so it is not asked for an estimate."""

    def estimate(self, images: int) -> str: ...


MakeAnswerer = Callable[[list[Question]], Answerer]
"""Makes who answers some of the questions; called once for each set of them, where the answers are to be given.

For the engine ray it must be picklable, so: an object that knows what to load, and loads it in its first call.
"""
