"""The six configurations of the VGG paper (Simonyan & Zisserman 2014, Table 1) as a table, and the network built from it.

This file initialises nothing: `initialization.weights.apply` draws the weights by a plan.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from trainability import keyed
from trainability.config import MIN_SIDE, NUM_POOLINGS, in_range, one_of
from trainability.models import conv_relu

CHANNELS = (64, 128, 256, 512, 512)
"""Channels of the five stages; each ends in a 2x2 max pooling."""

CONFIGS: dict[str, tuple[tuple[int | str, ...], ...]] = {
    "A": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "A-LRN": ((3, "LRN"), (3,), (3, 3), (3, 3), (3, 3)),
    "B": ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3)),
    "C": ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)),
    "D": ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
    "E": ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)),
}
"""Kernel sizes of the convolutions, stage by stage."""


class ExampleDropout(nn.Dropout):
    """Dropout whose mask is a function of the example's key, so that it does not depend on how a batch is split.

    Without keys from `set_dropout_keys` it behaves as `nn.Dropout`, so that the network works in any training loop.
    """

    keys: Tensor | None
    codes: Tensor | None

    def __init__(self, p: float, num_units: int, number: int) -> None:
        """Make the layer.

        Args:
            p: probability of dropping, in [0, 1).
            num_units: size of dimension 1 of its input.
            number: which dropout layer of the network this is; each draws its own mask.
        """
        super().__init__(p)
        self.num_units, self.number = num_units, number
        # Not buffers, which DDP would broadcast: every process has its own keys.
        self.keys, self.codes = None, None

    def forward(self, input: Tensor) -> Tensor:
        """Drop whole channels of a class map, or single units of a vector.

        Args:
            input: (batch, num_units) or (batch, num_units, height, width).
        """
        if self.keys is None or self.codes is None or not self.training or self.p == 0:
            return super().forward(input)
        mask = keyed.dropped(self.keys, self.codes, self.p)
        scale = (~mask).to(input.dtype).div_(1 - self.p)
        return input * scale.reshape(*scale.shape, *(1,) * (input.dim() - 2))


class FullyConnectedConv(nn.Conv2d):
    """A fully-connected layer as a convolution, for images of any size; a matrix product if the map has the kernel's size.

    The numbers are the same and the product is several times faster. It also avoids a heap corruption of torch 2.13 on CPUs
    with AMX: bf16 1x1 convolution, 4096 -> 10 channels, on a 1x1 map.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map (batch, in, height, width) to (batch, out, height - kernel + 1, width - kernel + 1)."""
        if tuple(input.shape[-2:]) == self.kernel_size:
            return F.linear(input.flatten(1), self.weight.flatten(1), self.bias)[:, :, None, None]
        return super().forward(input)


class VGG(nn.Module):
    """A VGG: `features` (convolutions, ReLU, poolings) and `classifier` (three fully-connected layers).

    Attributes:
        checkpoints_stages: whether backward recomputes each stage of `features` instead of storing its outputs.
        fuses: whether compiled code in bfloat16 computes `features` by the kernels of `conv_relu`.
    """

    def __init__(
        self,
        config: str,
        *,
        num_classes: int,
        crop: int,
        width: float,
        hidden: int,
        dropout: float,
        classifier: str,
    ) -> None:
        """See `build_vgg`."""
        super().__init__()
        self.crop = crop
        self.checkpoints_stages = False
        self.fuses = False
        layers: list[nn.Module] = []
        channels = 3
        for stage, kernels in zip(CHANNELS, CONFIGS[config], strict=True):
            for kernel in kernels:
                if isinstance(kernel, str):
                    # Krizhevsky et al. 2012, section 3.3: alpha = 1e-4 on the sum over 5 channels; torch divides it by 5.
                    layers.append(nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0))
                    continue
                out_channels = max(1, round(stage * width))
                # A 1x1 kernel is not padded: the spatial size is preserved either way (paper, section 2.1).
                layers += [nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2), nn.ReLU(inplace=True)]
                channels = out_channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

        kernel = crop // MIN_SIDE

        def fully_connected(inputs: int, outputs: int, kernel: int) -> nn.Module:
            if classifier == "conv":
                return FullyConnectedConv(inputs, outputs, kernel)
            return nn.Linear(inputs * kernel**2, outputs)

        # Not in place: these small outputs are views, and FSDP needs the gradient that reaches them.
        head = [fully_connected(channels, hidden, kernel), nn.ReLU(), ExampleDropout(dropout, hidden, 0)]
        head += [fully_connected(hidden, hidden, 1), nn.ReLU(), ExampleDropout(dropout, hidden, 1)]
        head += [fully_connected(hidden, num_classes, 1)]
        self.classifier = nn.Sequential(*head)

    def class_map(self, images: Tensor) -> Tensor:
        """Compute the logits of every window of the image.

        Args:
            images: (batch, 3, height, width) float, each side at least the training crop.

        Returns:
            (batch, num_classes, height // 32 - crop // 32 + 1, likewise): logits per window, 32 pixels apart.

        Raises:
            ValueError: the image is smaller than the crop, or larger and the classifier is linear.
        """
        height, width = images.shape[-2:]
        side = self.crop // MIN_SIDE
        maps = (height // MIN_SIDE, width // MIN_SIDE)
        linear = isinstance(self.classifier[0], nn.Linear)
        if min(maps) < side or (linear and maps != (side, side)):
            wanted = f"{'' if linear else 'at least '}{self.crop}x{self.crop}"
            raise ValueError(f"images are {height}x{width} pixels; this network takes {wanted}")
        features = self._features(images)
        if linear:
            return self.classifier(features.flatten(1))[:, :, None, None]
        return self.classifier(features)

    def _features(self, images: Tensor) -> Tensor:
        """Compute the last stage's output: stage by stage, by fused kernels in compiled code, or layer by layer."""
        if self.checkpoints_stages:
            return self._checkpointed(images)
        is_bf16 = torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda") == torch.bfloat16
        if torch.compiler.is_compiling() and is_bf16 and self.fuses:
            return conv_relu.features(self.features, images)
        return self.features(images)

    def _checkpointed(self, images: Tensor) -> Tensor:
        """Compute the features, storing only the input of each stage; backward recomputes the rest.

        Source: Chen et al. 2016, arXiv 1604.06174, section 4.1. The stages have no random operations.
        """
        features, stage = images, nn.Sequential()
        for layer in self.features:
            stage.append(layer)
            if isinstance(layer, nn.MaxPool2d):
                features = checkpoint(stage, features, use_reentrant=False, preserve_rng_state=False)
                stage = nn.Sequential()
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Classify images.

        Args:
            images: (batch, 3, height, width) float, each side at least the training crop.

        Returns:
            (batch, num_classes) logits: the class map averaged over its windows (paper, section 3.2).
        """
        class_map = self.class_map(images)
        # For a single window, the mean would copy; flatten does not.
        return class_map.flatten(1) if class_map.shape[-2:] == (1, 1) else class_map.mean((2, 3))


def build_vgg(
    config: str,
    *,
    num_classes: int,
    crop: int = 224,
    width: float = 1.0,
    hidden: int | None = None,
    dropout: float = 0.5,
    classifier: str = "conv",
) -> VGG:
    """Build a VGG with PyTorch's default weights; `initialization.init_` draws others by a plan.

    Args:
        config: a key of `CONFIGS`.
        num_classes: number of logits.
        crop: side of the training images in pixels, at least 32. The first classifier kernel is the final map of that
            crop: 7 for 224.
        width: factor for the channel counts of the convolutions; 1 is the paper's.
        hidden: units of the two hidden fully-connected layers. Default: 4096 times the width.
        dropout: probability after each of these two layers, in [0, 1).
        classifier: "conv" for any image size of at least the crop; "linear" for images of the crop only.

    Raises:
        ValueError: an unknown configuration or classifier, a number out of range, or a crop too small for five poolings.

    Source: Simonyan & Zisserman, arXiv 1409.1556v6, Table 1 and section 2.
    """
    one_of("model.config", config, tuple(CONFIGS))
    one_of("model.classifier", classifier, ("conv", "linear"))
    in_range("num_classes", num_classes, at_least=1)
    in_range("width", width, above=0)
    in_range("dropout", dropout, at_least=0, below=1)
    if hidden is not None:
        in_range("hidden", hidden, at_least=1)
    in_range("crop", crop)
    if crop < MIN_SIDE:
        raise ValueError(f"crop is {crop} pixels: too small for {NUM_POOLINGS} poolings, which need at least {MIN_SIDE}")
    if hidden is None:
        hidden = max(1, round(4096 * width))
    return VGG(
        config,
        num_classes=num_classes,
        crop=crop,
        width=width,
        hidden=hidden,
        dropout=dropout,
        classifier=classifier,
    )


def set_dropout_keys(model: nn.Module, keys: Tensor | None) -> None:
    """Give every dropout layer its stream of the examples' keys; `None` returns to torch's random numbers.

    Args:
        model: any module that holds `ExampleDropout` layers.
        keys: (batch,) int32 of the next batch, from `keyed.example_keys`.
    """
    # Called for every micro-batch: a VGG's convolutions need not be searched.
    inside = model.classifier if isinstance(model, VGG) else model
    layers = [module for module in inside.modules() if isinstance(module, ExampleDropout)]
    if keys is None or not layers:
        for layer in layers:
            layer.keys = None
        return
    for layer, own in zip(layers, keyed.streams(keys, tuple(layer.number for layer in layers)), strict=True):
        layer.keys = own
        if layer.codes is None or layer.codes.device != keys.device:
            layer.codes = keyed.unit_codes(layer.num_units, keys.device)


def classifier_state(state: dict[str, Tensor], like: nn.Module) -> dict[str, Tensor]:
    """Reshape the classifier's weights between the convolutional and the linear form, which have the same values.

    Args:
        state: a VGG's state dict in either form.
        like: the VGG that is to load it.

    Returns:
        The state dict in the form of `like`; a weight with another number of elements is left unchanged.
    """
    shapes = {name: value.shape for name, value in like.state_dict().items()}
    return {
        name: value.reshape(shapes[name])
        if name.startswith("classifier.") and name in shapes and value.numel() == shapes[name].numel()
        else value
        for name, value in state.items()
    }


def paper_names(model: VGG) -> dict[str, str]:
    """Map the paper's layer names to module names: conv1_1 (first of stage 1) to conv5_4, then fc6, fc7, fc8.

    Returns:
        The paper's name -> the name in `named_modules()`, in forward order.
    """
    names = {}
    stage, place = 1, 0
    for name, module in model.features.named_children():
        if isinstance(module, nn.MaxPool2d):
            stage, place = stage + 1, 0
        elif isinstance(module, nn.Conv2d):
            place += 1
            names[f"conv{stage}_{place}"] = f"features.{name}"
    fully_connected = [name for name, module in model.classifier.named_children() if hasattr(module, "weight")]
    return names | {f"fc{6 + i}": f"classifier.{name}" for i, name in enumerate(fully_connected)}


def count_parameters(model: nn.Module) -> int:
    """Count the trainable parameters of a model."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
