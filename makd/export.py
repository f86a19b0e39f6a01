"""`makd export`: a trained run becomes a folder that needs neither the pipeline nor its data."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from pydantic import ValidationError
from safetensors.torch import save
from torch import Tensor, nn

from makd.aspects import asked_questions, p_yes_matrix
from makd.class_student import without_aspects
from makd.costs import flops, parameters
from makd.errors import UserError, first_problem
from makd.evidence import class_answer_means
from makd.files import main_checkout, make_parent, whole_folder
from makd.graph_formats import captured, write_onnx, write_pt2
from makd.manifest import read_manifest
from makd.model_card import model_card
from makd.pictures import load_rgb_of
from makd.preprocessing import student_pixels
from makd.run_facts import facts_of, manifest_of
from makd.shipped import ASPECTS, FILES, Format, load_shipped
from makd.shipped_config import CONFIG, MakdPart, PretrainedCfg, ShippedConfig, crop_share
from makd.source_state import source_commit
from makd.students import find_classifier, timm_config
from makd.tensors import contiguous
from makd.trained_run import TrainedRun, open_run

CARD = "README.md"
CHECKED_IMAGES = 32
CLASS_TOLERANCE = 1e-6
GRAPH_TOLERANCE = 1e-4
"""Greatest difference of a logit: from the run's own student, and of a graph, whose operations are fused otherwise."""


def export(
    run: Path | str,
    to: Path | str,
    *,
    aspects: bool = False,
    formats: Sequence[Format] = ("safetensors",),
    data: Path | str = "data",
) -> Path:
    """Write the student of `run` into the folder `to`, which is whole or as it was, and return it.

    The folder holds config.json and model.safetensors as timm and Hugging Face read them, or the other formats that
    are asked for, and README.md, the model card. Every file is loaded again and held against the run's student.

    Args:
        run: a folder that `train` wrote, such as models/resnet10t/makd/seed0.
        to: a new or empty folder, or an earlier export, which is replaced.
        aspects: with the aspect head and the class means of the teacher's answers, for `makd explain`.
        formats: of safetensors, onnx, pt2.
        data: the pipeline's folder of tables: the manifest, the questions and, for `aspects`, the answers.

    Raises:
        UserError: `run` is no run or has no aspects, `to` holds something else, or a format does not suit the model.
    """
    run, to, data = Path(run), Path(to).resolve(), Path(data)
    check_formats(formats)
    check_place(to)
    trained = open_run(run)
    if aspects and not trained.config.questions:
        raise UserError(
            f"{run} is a run of arm {trained.config.arm}, which has no aspects; export it without --aspects"
        )
    plain = without_aspects(trained.student)
    student = trained.student if aspects else plain
    config = shipped_config(trained, aspects=aspects)
    means = training_means(trained, data) if aspects else None
    images, of_what = check_images(trained, config, data)
    with whole_folder(to) as folder:
        (folder / CONFIG).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if "safetensors" in formats:
            (folder / FILES["safetensors"]).write_bytes(save(contiguous(plain.state_dict()), {"format": "pt"}))
        write_graphs(student, config, folder, formats)
        if means is not None:
            (folder / ASPECTS).write_bytes(save(contiguous(aspect_tensors(trained, means))))
        checks = [check(trained, folder, name, images, of_what) for name in formats]
        card = model_card(
            trained.config,
            facts_of(trained, data),
            questions=config.questions,
            n_parameters=parameters(plain),
            n_flops=flops(plain, config.image_px),
            commit=source_commit(),
            checks=checks,
            files=sorted(path.name for path in folder.iterdir()),
        )
        (folder / CARD).write_text(card, encoding="utf-8")
    return to


def write_graphs(student: nn.Module, config: ShippedConfig, folder: Path, formats: Sequence[Format]) -> None:
    """Those that are asked for, from one capture."""
    if not {"onnx", "pt2"} & set(formats):
        return
    program = captured(student, config)
    if "pt2" in formats:
        write_pt2(program, folder / FILES["pt2"])
    if "onnx" in formats:
        write_onnx(program, config, folder / FILES["onnx"])


def check_formats(formats: Sequence[Format]) -> None:
    unknown = [name for name in formats if name not in FILES]
    if unknown or not formats:
        raise UserError(f"format must be of {', '.join(FILES)}, got {', '.join(unknown) or 'none'}")


def check_place(to: Path) -> None:
    """Refuse to replace what is no export: a whole folder goes when its place is taken."""
    if not to.exists() or (to.is_dir() and not any(to.iterdir())):
        return make_parent(to)
    if not to.is_dir() or not is_export(to):
        raise UserError(f"{to} is there and is no earlier export; give a new folder")
    if foreign := sorted({path.name for path in to.iterdir()} - {CONFIG, CARD, ASPECTS, *FILES.values()}):
        raise UserError(f"{to} is an earlier export, but {foreign[0]} is not of it and would go; give a new folder")


def is_export(folder: Path) -> bool:
    """Whether its config.json is one of ours: many models have a file of this name."""
    try:
        return "makd" in json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def shipped_config(run: TrainedRun, *, aspects: bool) -> ShippedConfig:
    try:
        return config_of(run, aspects=aspects)
    except ValidationError as error:
        raise UserError(f"{run.folder} cannot be exported: {first_problem(error)}; run: dvc repro") from None


def config_of(run: TrainedRun, *, aspects: bool) -> ShippedConfig:
    config, timm = run.config, timm_config(run.student)
    return ShippedConfig(
        architecture=config.model,
        num_classes=len(config.classes),
        num_features=int(run.student.num_features),  # type: ignore[arg-type]  # timm's models all have it
        label_names=config.classes,
        model_args=config.model_args,
        pretrained_cfg=PretrainedCfg(
            num_classes=len(config.classes),
            input_size=(3, config.image_px, config.image_px),
            fixed_input_size=bool(timm.get("fixed_input_size")),
            crop_pct=crop_share(config.image_px, config.resize_px),
            mean=config.mean,
            std=config.std,
            first_conv=timm.get("first_conv"),
            classifier=timm.get("classifier"),
        ),
        makd=MakdPart(resize_px=config.resize_px, questions=config.questions if aspects else ()),
    )


def training_means(run: TrainedRun, data: Path) -> Float32[np.ndarray, "classes aspects"]:
    """The teacher's class means (makd.evidence) over the training split, for the questions of the run."""
    manifest, answers = read_manifest(data / "manifest.parquet"), data / "aspects.parquet"
    asked = asked_questions(answers)
    if manifest_of(run, data) is None or asked != list(run.config.questions):
        raise UserError(f"{data} has other images or questions than {run.folder} learned from; run: dvc repro")
    training = manifest[manifest["split"] == "train"]
    labels = training["label"].to_numpy(dtype=np.int64)
    means = class_answer_means(p_yes_matrix(answers, training["image_id"]), labels, len(run.config.classes))
    return means.astype(np.float32)


def aspect_tensors(run: TrainedRun, means: Float32[np.ndarray, "classes aspects"]) -> dict[str, Tensor]:
    _, head = find_classifier(run.student, run.config.model)
    n_classes = len(run.config.classes)
    tensors = {"weight": head.weight[n_classes:], "class_means": torch.from_numpy(means)}
    return tensors | ({} if head.bias is None else {"bias": head.bias[n_classes:]})


def check_images(run: TrainedRun, config: ShippedConfig, data: Path) -> tuple[UInt8[Tensor, "images 3 px px"], str]:
    """Test images of the run, or random pixels where they are not at hand; and which of both."""
    manifest = manifest_of(run, data)
    if manifest is not None:
        rows = manifest[manifest["split"] == "test"]
        rows = rows.iloc[:: max(1, len(rows) // CHECKED_IMAGES)].head(CHECKED_IMAGES)
        try:
            pictures = [
                load_rgb_of(main_checkout() / path, image_id)
                for path, image_id in zip(rows["path"], rows["image_id"], strict=True)
            ]
        except UserError:
            pictures = []
        if pictures:
            pixels = np.stack([student_pixels(picture, config) for picture in pictures])
            return torch.from_numpy(pixels), f"{len(pictures)} test images"
    shape = (CHECKED_IMAGES, 3, config.image_px, config.image_px)
    noise = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return noise, f"{CHECKED_IMAGES} pictures of random pixels (no test images were at hand)"


def check(run: TrainedRun, folder: Path, name: Format, images: UInt8[Tensor, "images 3 px px"], of_what: str) -> str:
    """Load the file again, and say how far its logits are from those of the run's student.

    Raises:
        UserError: too far; nothing is exported then.
    """
    shipped = load_shipped(folder, name)
    student = run.student.to(shipped.device)
    with torch.inference_mode():
        expected = student_logits(student, shipped.config, images, shipped.device)
    got = shipped.logits(images)
    difference = float((got - expected[:, : got.shape[1]]).abs().max())
    tolerance = CLASS_TOLERANCE if name == "safetensors" else GRAPH_TOLERANCE
    if not difference <= tolerance * max(1.0, float(expected.abs().max())):
        raise UserError(f"the logits of {FILES[name]} differ from the run's by {difference:.2g}; export another format")
    return (
        f"`{FILES[name]}`: the logits differ from those of the run's student by at most {difference:.1g}, on {of_what}."
    )


def student_logits(
    student: nn.Module, config: ShippedConfig, images: UInt8[Tensor, "images 3 px px"], device: torch.device
) -> Float32[Tensor, "images outputs"]:
    from makd.augment import normalise

    cfg = config.pretrained_cfg
    logits: Tensor = student(normalise(images.to(device).float(), cfg.mean, cfg.std))
    return logits.float().cpu()
