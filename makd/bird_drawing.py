"""Drawing one cartoon bird with Pillow: antialiased, with varying pose, size, light, background, leaves and noise."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from makd.birds import Marks

SUPERSAMPLING = 4
Points = npt.NDArray[np.float64]
RGB = tuple[int, int, int]

BODY: dict[str, RGB] = {
    "brown": (150, 103, 62),
    "grey": (136, 142, 150),
    "blue": (62, 112, 196),
    "green": (84, 150, 72),
    "yellow": (226, 196, 64),
    "orange": (224, 122, 48),
}
SKY_AND_GROUND: dict[str, tuple[RGB, RGB]] = {
    "water": ((176, 210, 226), (66, 124, 156)),
    "forest": ((104, 138, 92), (66, 84, 48)),
    "snow": ((206, 218, 230), (244, 247, 250)),
    "meadow": ((178, 214, 236), (124, 172, 82)),
    "desert": ((240, 218, 180), (214, 170, 112)),
}
WHITE, BLACK = (246, 244, 238), (30, 28, 30)
CAP: dict[str, RGB] = {"black": BLACK, "red": (206, 30, 40)}
PURPLE, ORANGE, YELLOW, DARK_LEG = (138, 40, 168), (240, 130, 30), (250, 206, 40), (62, 52, 46)
HORIZON = 0.16  # below the middle, in image sides


@dataclass(frozen=True)
class Pose:
    """Where the bird stands in the picture: lengths in image sides, angle in radians."""

    x: float
    y: float
    size: float
    tilt: float
    left: bool


class Canvas:
    """A picture drawn at `SUPERSAMPLING` times its size, in coordinates of image sides with the middle as origin."""

    def __init__(self, image_px: int) -> None:
        self.px = image_px * SUPERSAMPLING
        self.image = Image.new("RGB", (self.px, self.px))
        self.pen: Any = ImageDraw.Draw(self.image)

    def polygon(self, points: Points, colour: RGB) -> None:
        self.pen.polygon([(x, y) for x, y in (points + 0.5) * self.px], fill=colour)


class Bird:
    """Shapes in the bird's own frame (facing right, one unit = its length), put on a canvas by a pose."""

    def __init__(self, canvas: Canvas, pose: Pose) -> None:
        self.canvas, self.pose = canvas, pose
        cos, sin = np.cos(pose.tilt), np.sin(pose.tilt)
        self.rotation = np.array([[cos, sin], [-sin, cos]])

    def polygon(self, points: Any, colour: RGB, *, upright: bool = False) -> None:
        """Draw `points`; `upright` leaves the tilt out, for legs."""
        placed = np.asarray(points, dtype=np.float64)
        placed = placed if upright else placed @ self.rotation
        placed = placed * self.pose.size
        if self.pose.left:
            placed = placed * [-1, 1]
        self.canvas.polygon(placed + np.array([self.pose.x, self.pose.y]), colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: RGB, angle: float = 0.0) -> None:
        self.polygon(ellipse(x, y, rx, ry, angle), colour)


def ellipse(
    x: float, y: float, rx: float, ry: float, angle: float = 0.0, start: float = 0.0, stop: float = 1.0
) -> Points:
    """Points of an ellipse from `start` to `stop` of the turn (0 at the right, clockwise on the screen)."""
    turn = np.linspace(start, stop, 40) * 2 * np.pi
    cos, sin = np.cos(angle), np.sin(angle)
    points = np.stack([rx * np.cos(turn), ry * np.sin(turn)], axis=1)
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]) + [x, y])


def draw_bird(marks: Marks, rng: np.random.Generator, image_px: int = 64) -> Image.Image:
    """An RGB picture of `image_px` by `image_px`; equal `marks` and generator state give equal pixels."""
    canvas = Canvas(image_px)
    pose = Pose(
        x=rng.uniform(-0.07, 0.05),
        y=rng.uniform(-0.07, 0.03),
        size=rng.uniform(0.84, 1.06),
        tilt=rng.uniform(-0.22, 0.16),
        left=bool(rng.random() < 0.5),
    )
    draw_background(canvas, marks, rng)
    bird = Bird(canvas, pose)
    colour = vary(BODY[marks.colour], rng, 16.0)
    draw_legs(bird, marks)
    draw_tail(bird, marks, colour)
    draw_body(bird, marks, colour, rng)
    draw_wing(bird, marks, colour)
    draw_head(bird, marks, colour)
    draw_foreground(canvas, marks, rng)
    return develop(canvas, rng, image_px)


def draw_background(canvas: Canvas, marks: Marks, rng: np.random.Generator) -> None:
    sky, ground = (vary(colour, rng, 14.0) for colour in SKY_AND_GROUND[marks.habitat])
    canvas.image.paste(sky, (0, 0, canvas.px, canvas.px))
    horizon = HORIZON + rng.uniform(-0.05, 0.05)
    canvas.polygon(np.array([[-0.6, horizon], [0.6, horizon], [0.6, 0.6], [-0.6, 0.6]]), ground)
    for _ in range(rng.integers(5, 9)):
        x, depth = rng.uniform(-0.5, 0.5), rng.uniform(0.0, 0.35)
        tone = vary(ground, rng, 34.0)
        match marks.habitat:
            case "water":
                canvas.polygon(ellipse(x, horizon + depth, rng.uniform(0.06, 0.18), 0.008), shade(ground, 1.25))
            case "forest":
                width = rng.uniform(0.02, 0.06)
                trunk = np.array([[x - width, -0.6], [x + width, -0.6], [x + width, 0.3], [x - width, 0.3]])
                canvas.polygon(trunk, vary((78, 62, 44), rng, 16.0))
            case "snow":
                canvas.polygon(
                    ellipse(x, horizon + depth, rng.uniform(0.1, 0.3), 0.03), shade(ground, rng.uniform(0.92, 1))
                )
            case "meadow":
                y = horizon + depth
                canvas.polygon(
                    np.array([[x - 0.012, y], [x + rng.uniform(-0.04, 0.04), y - 0.14], [x + 0.012, y]]), tone
                )
            case "desert":
                canvas.polygon(ellipse(x, horizon + depth, rng.uniform(0.1, 0.3), 0.02), tone)
    if marks.habitat == "snow":
        for x, y in rng.uniform(-0.5, 0.5, (26, 2)):
            canvas.polygon(ellipse(x, y, 0.008, 0.008), (255, 255, 255))
    canvas.image.paste(canvas.image.filter(ImageFilter.GaussianBlur(canvas.px * 0.008)))


def draw_legs(bird: Bird, marks: Marks) -> None:
    colour = ORANGE if marks.orange_legs else DARK_LEG
    foot = 0.40 if marks.long_legs else 0.28
    for x in (-0.02, 0.07):
        bird.polygon([[x - 0.013, 0.08], [x + 0.013, 0.08], [x + 0.013, foot], [x - 0.013, foot]], colour, upright=True)
        bird.polygon([[x - 0.015, foot - 0.014], [x + 0.06, foot], [x - 0.015, foot + 0.014]], colour, upright=True)
    if marks.branch:
        y = foot + 0.035
        bird.polygon(
            [[-0.8, y - 0.01], [0.8, y - 0.035], [0.8, y + 0.03], [-0.8, y + 0.045]], (96, 66, 42), upright=True
        )
        bird.polygon([[0.2, y], [0.34, y - 0.12], [0.36, y - 0.11], [0.25, y]], (96, 66, 42), upright=True)


def draw_tail(bird: Bird, marks: Marks, colour: RGB) -> None:
    length = 0.32 if marks.long_tail else 0.15
    root = np.array([-0.19, 0.05])
    outline = {
        "square": [[0, -0.05], [-1, -0.075], [-1, 0.075], [0, 0.05]],
        "forked": [[0, -0.05], [-1, -0.12], [-0.55, 0.0], [-1, 0.12], [0, 0.05]],
        "pointed": [[0, -0.06], [-0.5, -0.06], [-1.1, 0.0], [-0.5, 0.06], [0, 0.06]],
    }[marks.tail]
    shape = np.array(outline) * [length, 1]
    bird.polygon(shape + root, shade(colour, 0.72))
    if marks.tail_tip:
        cut = -0.62 * length  # what lies beyond it is white
        tip = clip_left(shape, cut)
        bird.polygon(tip + root, WHITE)


def clip_left(shape: Points, cut: float) -> Points:
    """The part of a polygon with x <= cut (Sutherland-Hodgman on one edge)."""
    kept: list[Points] = []
    for point, following in zip(shape, np.roll(shape, -1, axis=0), strict=True):
        inside, next_inside = point[0] <= cut, following[0] <= cut
        if inside:
            kept.append(point)
        if inside != next_inside:
            kept.append(point + (following - point) * (cut - point[0]) / (following[0] - point[0]))
    return np.array(kept)


def draw_body(bird: Bird, marks: Marks, colour: RGB, rng: np.random.Generator) -> None:
    height = 0.185 if marks.plump else 0.125
    bird.ellipse(0.0, 0.03, 0.25, height, colour, angle=0.35)
    bird.polygon([[0.02, -0.05], [0.12, -0.2], [0.26, -0.14], [0.22, 0.06]], colour)  # neck
    if marks.pale_belly:
        bird.ellipse(0.06, 0.03 + height * 0.45, 0.17, height * 0.55, (240, 228, 206), angle=0.35)
    if marks.spots:
        for x, y in ((0.11, -0.01), (0.17, 0.0), (0.13, 0.06), (0.19, 0.055), (0.07, 0.09), (0.15, 0.11)):
            jitter = rng.uniform(-0.006, 0.006, 2)
            bird.ellipse(x + jitter[0], y * height / 0.16 + jitter[1], 0.017, 0.017, BLACK)


def draw_wing(bird: Bird, marks: Marks, colour: RGB) -> None:
    wing = BLACK if marks.dark_wings else shade(colour, 0.78)
    bird.ellipse(-0.075, 0.0, 0.165, 0.085, wing, angle=0.30)
    bird.polygon([[-0.12, -0.06], [-0.3, 0.06], [-0.13, 0.075]], wing)
    for x in (-0.02, -0.11)[: marks.wing_bars]:
        bird.polygon([[x, -0.072], [x + 0.03, -0.06], [x - 0.005, 0.075], [x - 0.035, 0.065]], WHITE)


def draw_head(bird: Bird, marks: Marks, colour: RGB) -> None:
    x, y, r = 0.19, -0.19, 0.115
    if marks.crest:
        for dx, dy in ((-0.13, -0.10), (-0.08, -0.16), (-0.01, -0.18)):
            feather = [[x - 0.09, y - 0.02], [x + dx - 0.02, y + dy], [x + 0.03, y - 0.08]]
            bird.polygon(feather, CAP.get(marks.cap, shade(colour, 0.8)))
    draw_beak(bird, marks, x + r * 0.85, y + 0.01)
    bird.ellipse(x, y, r, r, colour)
    if marks.collar:
        bird.polygon([[x - 0.13, y + 0.06], [x - 0.1, y + 0.02], [x + 0.09, y + 0.11], [x + 0.07, y + 0.155]], WHITE)
    if marks.throat:
        bird.ellipse(x + 0.055, y + 0.08, 0.058, 0.045, PURPLE, angle=0.5)
    if marks.cheek:
        bird.ellipse(x - 0.035, y + 0.04, 0.048, 0.036, WHITE)
    if marks.cap != "none":
        bird.polygon(ellipse(x, y - 0.01, r * 1.02, r * 1.04, -0.15, start=0.52, stop=0.98), CAP[marks.cap])
    if marks.eye_stripe:
        bird.polygon(
            [[x + 0.115, y - 0.01], [x + 0.03, y - 0.042], [x - 0.11, y - 0.022], [x - 0.11, y + 0.014]], BLACK
        )
    eye = (x + 0.035, y - 0.018)
    if marks.eye_ring:
        bird.ellipse(*eye, 0.043, 0.043, WHITE)
    bird.ellipse(*eye, 0.022, 0.022, (10, 10, 12))
    bird.ellipse(eye[0] + 0.007, eye[1] - 0.008, 0.006, 0.006, (250, 250, 250))


def draw_beak(bird: Bird, marks: Marks, x: float, y: float) -> None:
    colour = YELLOW if marks.yellow_beak else (66, 58, 58)
    outline = {
        "short": [[x, y - 0.04], [x + 0.09, y + 0.012], [x, y + 0.045]],
        "long": [[x, y - 0.034], [x + 0.22, y + 0.006], [x, y + 0.036]],
        "curved": [
            [x, y - 0.04],
            [x + 0.10, y - 0.03],
            [x + 0.165, y + 0.03],
            [x + 0.165, y + 0.10],
            [x + 0.12, y + 0.045],
            [x + 0.07, y + 0.028],
            [x, y + 0.036],
        ],
    }[marks.beak]
    bird.polygon(outline, colour)


def draw_foreground(canvas: Canvas, marks: Marks, rng: np.random.Generator) -> None:
    """Leaves or reeds before the bird: up to three, mostly near the rim."""
    for _ in range(rng.integers(0, 4)):
        angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0.28, 0.5)
        x, y = radius * np.cos(angle), radius * np.sin(angle)
        green = vary((70, 128, 58), rng, 22.0)
        if marks.habitat in ("water", "desert"):
            lean = rng.uniform(-0.08, 0.08)
            canvas.polygon(np.array([[x - 0.01, 0.55], [x + lean, y * 0.5], [x + 0.01, 0.55]]), green)
        else:
            canvas.polygon(ellipse(x, y, rng.uniform(0.04, 0.08), 0.028, rng.uniform(0, np.pi)), green)


def develop(canvas: Canvas, rng: np.random.Generator, image_px: int) -> Image.Image:
    """Scale down, then light and sensor: brightness, contrast, colour cast, shadow across the picture, noise."""
    pixels = np.asarray(canvas.image.reduce(SUPERSAMPLING), dtype=np.float64) / 255
    side = np.linspace(-1, 1, image_px)
    slope = rng.uniform(-0.12, 0.12, 2)
    light = 1 + slope[0] * side[None, :, None] + slope[1] * side[:, None, None]
    cast = rng.uniform(0.92, 1.08, 3)
    pixels = (pixels - 0.5) * rng.uniform(0.8, 1.1) + 0.5 + rng.uniform(-0.08, 0.08)
    pixels = pixels * light * cast + rng.normal(0, rng.uniform(0.01, 0.035), pixels.shape)
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))


def vary(colour: RGB, rng: np.random.Generator, amount: float) -> RGB:
    varied = np.clip(np.array(colour) + rng.uniform(-amount, amount, 3) + rng.uniform(-amount, amount), 0, 255)
    return (int(varied[0]), int(varied[1]), int(varied[2]))


def shade(colour: RGB, factor: float) -> RGB:
    red, green, blue = (min(255, int(value * factor)) for value in colour)
    return (red, green, blue)
