"""What asking took, kept beside the answers: speed.json of a store."""

from dataclasses import asdict, dataclass
from pathlib import Path

from makd.files import read_memo, write_json

FILE = "speed.json"


@dataclass(frozen=True)
class Speed:
    """One run of a multimodal LLM over some images."""

    device: str
    images: int
    answers: int
    seconds: float  # reading, answering and committing; not the loading of the model

    @property
    def seconds_an_image(self) -> float:
        return self.seconds / self.images


def keep_speed(folder: Path, speed: Speed) -> None:
    """In the folder of a store, of all runs the one that asked most: a few images more are no fair measure."""
    known = kept_speed(folder)
    if speed.images and (known is None or speed.answers >= known.answers):
        write_json(asdict(speed), folder / FILE)


def kept_speed(folder: Path) -> Speed | None:
    """None where nothing was asked yet, or the file is damaged."""
    try:
        return Speed(**read_memo(folder / FILE, dict))
    except TypeError:
        return None
