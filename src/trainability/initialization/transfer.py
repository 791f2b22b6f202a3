"""Copy layers of a trained, shallower net into a deeper one (the paper's section 3.1.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from trainability.initialization.weights import LayerInit, row_of, weight_of
from trainability.models.vgg import VGG, paper_names


def _holds_as_many(given: Tensor, weight: Tensor) -> bool:
    """Whether two layers have equally many weights; they differ in shape between a convolutional and a linear classifier."""
    return given.numel() == weight.numel() and given.shape[0] == weight.shape[0]


@torch.no_grad()
def copy_shallower(
    trained: VGG, model: VGG, table: list[LayerInit], *, num_first: int = 4, num_last: int = 3
) -> list[LayerInit]:
    """Copy the first and last weight layers of a trained VGG into a deeper one, or all into one of the same configuration.

    A layer is copied to the layer at the same place in the same stage: the first four of net A are conv1_1, conv2_1, conv3_1
    and conv3_2. By plain numbers, the second of A (64 to 128 channels) would not fit the second of B (64 to 64).

    Args:
        trained: the shallower net.
        model: changed in place.
        table: the initialisation table that `apply` returned for it.
        num_first: layers copied from the front.
        num_last: layers copied from the end.

    Returns:
        The table with the copied rows marked.

    Raises:
        ValueError: the deeper net lacks a layer of the shallower one, or a shape differs; the message has both shapes.

    Source: Simonyan & Zisserman 2014, section 3.1: "we initialised the first four convolutional layers and the last three
    fully-connected layers with the layers of net A (the intermediate layers were initialised randomly)"; "to speed-up
    training of the S = 384 network, it was initialised with the weights pre-trained with S = 256".
    """
    sources, targets = paper_names(trained), paper_names(model)
    rows = {row.name: row for row in table}
    names = list(sources)
    # C and D have layers with the same names and different kernels.
    is_same = sources == targets and all(
        _holds_as_many(weight_of(trained.get_submodule(layer)), weight_of(model.get_submodule(layer)))
        for layer in sources.values()
    )
    for name in names if is_same else names[:num_first] + names[-num_last:]:
        if name not in targets:
            raise ValueError(f"init.from copies {name}, which the network here does not have")
        source, target = trained.get_submodule(sources[name]), model.get_submodule(targets[name])
        weight, given = weight_of(target), weight_of(source)
        if not _holds_as_many(given, weight):
            raise ValueError(
                f"init.from: {name} has shape {tuple(given.shape)} there and {tuple(weight.shape)} here;"
                " both runs need the same width, hidden size, crop and number of classes"
            )
        weight.copy_(given.reshape(weight.shape))
        assert isinstance(target.bias, Tensor)
        assert isinstance(source.bias, Tensor)
        target.bias.copy_(source.bias)
        row = rows[targets[name]]
        rows[row.name] = row_of(row.index, row.name, target, "copied", weight.std(correction=0).item())
    return list(rows.values())
