"""What training costs: the aspects over the baseline, the loop over its bare steps, and a usual loop over this one."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from makd.class_student import without_aspects
from makd.costs import flops, parameters, random_pixels
from makd.examples import TrainingExamples
from makd.images import PictureFile, training_pictures
from makd.interleaved import best_seconds
from makd.params import StageParams
from makd.pictures import image_id
from makd.recipe import Recipe
from makd.students import build_student, normalisation
from makd.training import Run, make_fabric, sgd, train_epoch

N_CLASSES, N_QUESTIONS = 20, 50
PICTURE = (500, 375)  # pixels of a JPEG, as photo datasets have them


class Params(StageParams):
    """The student's recipe, as params.yaml has it."""

    train: Recipe


def measure() -> dict[str, float]:
    """Name to number."""
    recipe = Params.load(Path("params.yaml")).train
    found = {"train.makd_over_baseline": makd_over_baseline(recipe)}
    for px, n_images in ((64, 128), (224, 32)):
        ratios = loops(
            recipe.model_copy(update={"image_px": px, "resize_px": px, "stored_px": px, "batch_size": 16}), n_images
        )
        found |= {f"train.px{px}.{name}": value for name, value in ratios.items()}
    found["train.loop_over_steps"] = max(found["train.px64.loop_over_steps"], found["train.px224.loop_over_steps"])
    return found | class_only()


@dataclass
class Trainer:
    """A student with its optimizer and what it is trained on."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    examples: TrainingExamples
    run: Run

    @classmethod
    def of(cls, name: str, recipe: Recipe, pixels: Tensor, n_questions: int) -> "Trainer":
        generator = torch.Generator().manual_seed(0)
        n_images = len(pixels)
        examples = TrainingExamples(
            pixels=pixels,
            aspect_ratios=np.ones(n_images, np.float32),
            labels=torch.randint(N_CLASSES, (n_images,), generator=generator),
            p_yes=torch.rand(n_images, n_questions, generator=generator),
        )
        student = build_student(name, N_CLASSES, n_questions, seed=0, model_args=recipe.args_of(name))
        run = Run(N_CLASSES, recipe, 0, make_fabric("cpu", "32-true"), alpha=10.0 if n_questions else 0.0)
        student.to(memory_format=torch.channels_last)
        model, optimizer = run.fabric.setup(student, sgd(student, recipe))
        return cls(model, optimizer, examples, run)

    def epoch(self) -> object:
        return train_epoch(self.model, self.optimizer, self.examples, self.run, epoch=0)

    def step(self, images: Tensor, labels: Tensor) -> None:
        loss = nn.functional.cross_entropy(self.model(images), labels)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()


def makd_over_baseline(recipe: Recipe) -> float:
    pixels = random_pixels(256, recipe.resize_px)
    arms = {"baseline": 0, "makd": N_QUESTIONS}
    tasks = {arm: Trainer.of("resnet10t", recipe, pixels, n_questions).epoch for arm, n_questions in arms.items()}
    seconds = best_seconds(tasks, rounds=5)
    return seconds["makd"] / seconds["baseline"]


def loops(recipe: Recipe, n_images: int) -> dict[str, float]:
    """An epoch of ResNet-18: the whole loop, its steps alone on batches that lie ready, and a usual loop over JPEGs."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = write_photos(root, n_images)
        pictures = training_pictures(paths, stored_px=recipe.stored_px, workers=0)
        bare, usual, ours = (Trainer.of("resnet18", recipe, torch.from_numpy(pictures.pixels), 0) for _ in range(3))
        ready = ready_batches(bare, recipe)
        loader = usual_loader(root, usual, recipe)

        def over(trainer: Trainer, batches: object) -> Callable[[], None]:
            def epoch() -> None:
                for images, labels in batches:  # type: ignore[attr-defined]
                    trainer.step(images.contiguous(memory_format=torch.channels_last), labels)

            return epoch

        seconds = best_seconds({"steps": over(bare, ready), "loop": ours.epoch, "usual": over(usual, loader)}, rounds=3)
    return {
        "loop_over_steps": seconds["loop"] / seconds["steps"],
        "usual_over_loop": seconds["usual"] / seconds["loop"],
    }


def ready_batches(trainer: Trainer, recipe: Recipe) -> list[tuple[Tensor, Tensor]]:
    images = torch.randn(len(trainer.examples.labels), 3, recipe.image_px, recipe.image_px)
    labels = trainer.examples.labels
    return list(zip(torch.split(images, recipe.batch_size), torch.split(labels, recipe.batch_size), strict=True))


def usual_loader(root: Path, trainer: Trainer, recipe: Recipe) -> DataLoader[tuple[Tensor, Tensor]]:
    """As torchvision's reference trains a classifier, in this process, whose processor time is what is measured."""
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(recipe.image_px, scale=(recipe.crop_scale_min, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(*normalisation(trainer.model)),
        ]
    )
    return DataLoader(ImageFolder(str(root), transform), batch_size=recipe.batch_size, shuffle=True)


def write_photos(root: Path, n: int) -> list[PictureFile]:
    """Smooth random pictures, whose JPEGs have about the size of photos."""
    rng = np.random.default_rng(0)
    files = []
    for index in range(n):
        path = root / f"{index % N_CLASSES:02}" / f"{index}.jpg"
        path.parent.mkdir(exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (38, 50, 3), dtype=np.uint8))
        coarse.resize(PICTURE, Image.Resampling.BICUBIC).save(path, quality=90)
        files.append(PictureFile(path, image_id(path.read_bytes())))
    return files


def class_only() -> dict[str, float]:
    """The student that ships over the plain one: parameters and FLOPs of ResNet-18 at 224 px."""
    plain = build_student("resnet18", N_CLASSES, 0, seed=0, model_args={}).eval()
    shipped = without_aspects(build_student("resnet18", N_CLASSES, N_QUESTIONS, seed=0, model_args={}).eval())
    return {
        "train.shipped_over_plain_parameters": parameters(shipped) / parameters(plain),
        "train.shipped_over_plain_flops": flops(shipped, 224) / flops(plain, 224),
    }
