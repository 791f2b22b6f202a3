"""Load published VGG weights, in the usual state-dict form, into the convolutional network."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from trainability.config import MIN_SIDE, MOST_OUTPUTS, one_of
from trainability.models.vgg import CHANNELS, CONFIGS, VGG, build_vgg, classifier_state

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet's mean and standard deviation on 0-1, as for all weights of torchvision."""
CAFFE_MEAN = (123.68, 116.779, 103.939)
"""ImageNet's mean on 0-255, red first, as the paper's authors published it with their weights."""
INPUTS = ("torchvision", "caffe")


@dataclass(frozen=True, kw_only=True)
class Published:
    """A network with published weights, and the normalisation of its input.

    Attributes:
        config: configuration with these shapes.
        model: with the convolutional classifier.
        mean: (3,) float32 on 0-255, red first, subtracted.
        scale: (3,) float32, divides the result, or `None`.
        num_classes: number of logits.
    """

    config: str
    model: VGG
    mean: Tensor
    scale: Tensor | None
    num_classes: int


def load_published(path: Path, *, input: str = "torchvision") -> Published:
    """Load weights with torchvision's layer names, `features.0.weight` to `classifier.6.bias`.

    The shapes determine the configuration. The linear classifier is converted to the convolutional one, with the same weights,
    so that the network takes images of any size.

    Args:
        path: `.safetensors`, or a file of `torch.save`, read without running code from it.
        input: "torchvision": RGB on 0-1, mean subtracted, divided by the standard deviation. "caffe": BGR on 0-255, mean
            subtracted, as the paper's authors released; the first layer's channels are reversed, so that it takes RGB.

    Raises:
        ValueError: the file cannot be read, is not of a VGG, or has batch normalisation.
    """
    one_of("input", input, INPUTS)
    state = read_state(path)
    config, channels = _configuration(state, path)
    num_classes, (hidden, inputs) = len(state["classifier.6.weight"]), state["classifier.0.weight"].flatten(1).shape
    if not 2 <= num_classes <= MOST_OUTPUTS or not hidden or not channels:
        raise ValueError(f"{path}: {num_classes} classes, {hidden} hidden units, {channels} channels: not a VGG's")
    kernel = math.isqrt(inputs // channels)
    if not kernel or kernel**2 * channels != inputs:
        raise ValueError(f"{path}: classifier.0 has {inputs} inputs, not a square map of {channels} channels")
    crop = kernel * MIN_SIDE
    model = build_vgg(config, num_classes=num_classes, crop=crop, width=channels / CHANNELS[-1], hidden=hidden)
    if input == "caffe":
        state["features.0.weight"] = state["features.0.weight"].flip(1)
    try:
        model.load_state_dict(classifier_state(state, model))
    except RuntimeError as error:
        detail = " ".join(str(error).split()[:40])
        raise ValueError(f"{path}: not the weights of configuration {config} ({detail})") from None
    if input == "caffe":
        return Published(config=config, model=model.eval(), mean=torch.tensor(CAFFE_MEAN), scale=None, num_classes=num_classes)
    mean, std = 255 * torch.tensor(MEAN), 255 * torch.tensor(STD)
    return Published(config=config, model=model.eval(), mean=mean, scale=std, num_classes=num_classes)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict on the CPU.

    Raises:
        ValueError: the file cannot be read, or has something else in it.
    """
    if not path.is_file():
        raise ValueError(f"{path}: cannot be read ({'not a file' if path.exists() else 'there is no such file'})")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # for damaged files, torch's reader raises IndexError, KeyError and many other types
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path}: neither safetensors nor a state dict of torch.save ({reason[:120]})") from None
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items())
    ):
        raise ValueError(f"{path}: not a state dict (names such as features.0.weight -> tensors)")
    claimed = sum(value.numel() * value.element_size() for value in state.values())
    if claimed > path.stat().st_size:  # a tensor may repeat one stored number many times, and take memory when it is copied
        raise ValueError(f"{path}: its tensors claim {claimed:,} bytes, more than the file has")
    return state


def _configuration(state: dict[str, Tensor], path: Path) -> tuple[str, int]:
    """Find the configuration with these kernels. Returns its name and the channels of its last convolution."""
    normalised = [name for name in state if name.endswith("running_mean")]
    if normalised:
        raise ValueError(
            f"{path}: these weights have batch normalisation ({normalised[0]}), which the paper's networks do not;"
            " use the variant without (vgg16, not vgg16_bn)"
        )
    for name in ("features.0.weight", "classifier.0.weight", "classifier.3.weight", "classifier.6.weight"):
        if name not in state:
            raise ValueError(f"{path}: no {name} in it, but {next(iter(state))}: not a VGG as torchvision names its layers")
    for name, value in state.items():
        ranks = (4,) if re.fullmatch(r"features\.\d+\.weight", name) else (2, 4) if name.endswith("weight") else (1,)
        if value.ndim not in ranks or not value.is_floating_point() or value.layout != torch.strided:
            raise ValueError(f"{path}: {name} is {value.dtype} of shape {tuple(value.shape)}: not a VGG's")
    layers = {int(match[1]): state[name] for name in state if (match := re.fullmatch(r"features\.(\d+)\.weight", name))}
    kernels = {number: weight.shape[-1] for number, weight in sorted(layers.items())}
    for config in CONFIGS:
        if _places(config) == kernels:
            return config, len(layers[max(layers)])
    known = ", ".join(CONFIGS)
    raise ValueError(f"{path}: its {len(layers)} convolutions match none of the configurations {known}")


def _places(config: str) -> dict[int, int]:
    """Return index in `features` and kernel size of a configuration's convolutions."""
    places, number = {}, 0
    for stage in CONFIGS[config]:
        for kernel in stage:
            if isinstance(kernel, str):
                number += 1  # a normalisation
                continue
            places[number] = kernel
            number += 2  # the convolution and its ReLU
        number += 1  # the pooling
    return places
