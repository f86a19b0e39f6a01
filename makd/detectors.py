"""Faster R-CNN with FPN as torchvision builds it, and beside it one linear layer for the aspects of a picture.

Paper (section 4.4): aspects are added to the features of the backbone; nothing more is published. Here: a feature map
is averaged over the picture and a linear layer gives Q logits. It is left out when the detector is saved for use, so
that what ships has the parameters and the cost of the plain detector.
"""

from collections import OrderedDict
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN, mobilenet_backbone, resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from makd.detection_recipe import ALL_LAYERS, AspectFeatures, DetectorName, DetectorRecipe
from makd.errors import UserError
from makd.seeding import derived_seed

ASPECT_RATIOS = (0.5, 1.0, 2.0)
MOBILENET_STAGES = 6  # all that torchvision can leave to train
BOX_CELLS = 7  # of a proposal's features, a side
Pictures = list[Tensor]
"""Float tensors of 3 x height x width in [0, 1], of any sizes."""
Boxes = dict[str, Tensor]
"""torchvision's targets (boxes as corners in pixels, labels from 1) and detections (scores, too)."""


class Trained(NamedTuple):
    """What a training step gives: torchvision's losses by name, and the aspect logits."""

    losses: dict[str, Tensor]
    aspect_logits: Float[Tensor, "pictures aspects"]


class Detected(NamedTuple):
    detections: list[Boxes]
    aspect_logits: Float[Tensor, "pictures aspects"]


class Detector(nn.Module):
    """A plain detector and its aspect head. In training mode a call gives `Trained`, else `Detected`.

    Args:
        plain: of torchvision; used as it is where there are no aspects.
        n_aspects: Q; 0 in the baseline arm.
        features: c5, the backbone's last map, or fpn, the averages of all pyramid levels side by side.
    """

    def __init__(self, plain: FasterRCNN, n_aspects: int, features: AspectFeatures) -> None:
        super().__init__()
        self.plain = plain
        self.features = features
        blocks = backbone_of(plain).fpn.inner_blocks
        width = blocks[-1][0].in_channels if features == "c5" else len(blocks) * backbone_of(plain).out_channels
        self.aspect_head = nn.Linear(width, n_aspects) if n_aspects else None

    def forward(self, pictures: Pictures, targets: list[Boxes] | None = None) -> Trained | Detected:
        """The steps of torchvision's GeneralizedRCNN, with a look at the features on the way."""
        plain, backbone = self.plain, backbone_of(self.plain)
        sizes = [(picture.shape[-2], picture.shape[-1]) for picture in pictures]
        batch, targets = plain.transform(pictures, targets)
        maps = backbone.body(batch.tensors)
        pyramid = backbone.fpn(maps)
        proposals, rpn_losses = plain.rpn(batch, pyramid, targets)
        detections, box_losses = plain.roi_heads(pyramid, proposals, batch.image_sizes, targets)
        seen = [maps[next(reversed(maps))]] if self.features == "c5" else [pyramid[level] for level in maps]
        aspect_logits = self.aspects([averages(level, batch.image_sizes, batch.tensors.shape) for level in seen])
        if self.training:
            return Trained(box_losses | rpn_losses, aspect_logits)
        return Detected(plain.transform.postprocess(detections, batch.image_sizes, sizes), aspect_logits)

    def aspects(self, levels: list[Float[Tensor, "pictures channels"]]) -> Float[Tensor, "pictures aspects"]:
        if self.aspect_head is None:
            return levels[0].new_empty(len(levels[0]), 0)
        logits: Tensor = self.aspect_head(torch.cat(levels, dim=1))
        return logits


def averages(
    level: Float[Tensor, "pictures channels height width"], sizes: list[tuple[int, int]], padded: torch.Size
) -> Float[Tensor, "pictures channels"]:
    """The mean over each picture's own part of a feature map: smaller pictures of a batch are padded with zeros."""
    cells = [
        (-(-height * level.shape[-2] // padded[-2]), -(-width * level.shape[-1] // padded[-1]))
        for height, width in sizes
    ]
    means = [of_one[:, :rows, :columns].mean(dim=(1, 2)) for of_one, (rows, columns) in zip(level, cells, strict=True)]
    return torch.stack(means)


def backbone_of(plain: FasterRCNN) -> Any:
    return cast(BackboneWithFPN, plain.backbone)


def build_detector(
    name: DetectorName,
    n_categories: int,
    n_aspects: int,
    recipe: DetectorRecipe,
    *,
    seed: int,
    features: AspectFeatures = "c5",
) -> Detector:
    """With weights drawn from `seed`: those of the plain detector do not depend on the aspects.

    Raises:
        UserError: pretrained weights cannot be had.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(seed, "detector"))
        plain = build_plain(name, n_categories, recipe)
        torch.default_generator.manual_seed(derived_seed(seed, "aspects of the detector"))
        return Detector(plain, n_aspects, features)


def build_plain(name: DetectorName, n_categories: int, recipe: DetectorRecipe, *, weights: bool = True) -> FasterRCNN:
    """As `torchvision.models.detection.fasterrcnn_resnet50_fpn` does, from the state of PyTorch's generator.

    With `weights` False, a pretrained backbone comes without its weights, for those that are loaded next.
    """
    backbone = build_backbone(name, recipe, weights=weights)
    sizes: tuple[tuple[int, ...], ...] = tuple((px,) for px in recipe.anchor_px)
    if not name.startswith("resnet"):  # fewer levels, hence every size on each, as in torchvision
        sizes = (recipe.anchor_px,) * (len(backbone.fpn.inner_blocks) + 1)
    anchors = AnchorGenerator(sizes, (ASPECT_RATIOS,) * len(sizes))
    channels, width = backbone.out_channels, recipe.head_channels
    return FasterRCNN(
        backbone,
        min_size=recipe.short_px,
        max_size=recipe.long_px,
        rpn_anchor_generator=anchors,
        rpn_head=RPNHead(channels, anchors.num_anchors_per_location()[0]),
        rpn_pre_nms_top_n_train=recipe.proposals_train,
        rpn_post_nms_top_n_train=recipe.proposals_train,
        rpn_pre_nms_top_n_test=recipe.proposals_test,
        rpn_post_nms_top_n_test=recipe.proposals_test,
        rpn_batch_size_per_image=recipe.rpn_samples,
        box_head=TwoMLPHead(channels * BOX_CELLS**2, width),
        box_predictor=FastRCNNPredictor(width, n_categories + 1),  # and the background, 0
        box_batch_size_per_image=recipe.box_samples,
    )


def build_backbone(name: DetectorName, recipe: DetectorRecipe, *, weights: bool = True) -> Any:
    """Frozen batch normalisation with pretrained weights, the usual one without, as in torchvision."""
    is_resnet = name.startswith("resnet")
    layers = recipe.trainable_layers if recipe.pretrained else ALL_LAYERS
    if layers == ALL_LAYERS and not is_resnet:
        layers = MOBILENET_STAGES
    build = resnet_fpn_backbone if is_resnet else mobilenet_backbone
    try:
        backbone = build(
            backbone_name=name,
            weights="IMAGENET1K_V1" if recipe.pretrained and weights else None,
            norm_layer=FrozenBatchNorm2d if recipe.pretrained else nn.BatchNorm2d,
            trainable_layers=layers,
            **({} if is_resnet else {"fpn": True}),
        )
    except OSError as error:  # URLError is one
        raise UserError(
            f"train_detector.pretrained: no weights for {name}: {' '.join(str(error).split())}; set it to false, "
            "or go online"
        ) from None
    if recipe.fpn_channels != backbone.out_channels:
        widths = [block[0].in_channels for block in backbone.fpn.inner_blocks]
        backbone.fpn = FeaturePyramidNetwork(widths, recipe.fpn_channels, LastLevelMaxPool())
        backbone.out_channels = recipe.fpn_channels
    return backbone


def plain_state(detector: Detector) -> "OrderedDict[str, Tensor]":
    """The weights that ship: those of the plain detector, under torchvision's names."""
    return cast("OrderedDict[str, Tensor]", detector.plain.state_dict())
