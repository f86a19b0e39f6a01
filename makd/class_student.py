"""The student without its aspects: what ships, a plain classifier."""

import copy

import torch
from torch import nn

from makd.students import ClassAndAspectHead


def without_aspects(student: nn.Module) -> nn.Module:
    """A copy whose last layer holds the class rows alone: the same class logits bit for bit, at a plain student's cost.

    A student that has no aspects is copied as it is.
    """
    plain = copy.deepcopy(student)
    for place, head in list(plain.named_modules()):
        if isinstance(head, ClassAndAspectHead):
            layer = nn.Linear(head.in_features, head.n_classes, bias=head.bias is not None)
            with torch.no_grad():
                layer.weight.copy_(head.weight[: head.n_classes])
                if head.bias is not None:
                    layer.bias.copy_(head.bias[: head.n_classes])
            plain.set_submodule(place, layer.to(head.weight))
    return plain.train(student.training)
