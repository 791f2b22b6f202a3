"""Convolution, bias, ReLU and max pooling of a compiled network on a GPU, in fewer passes over the memory than PyTorch makes.

Half of the time of VGG-D's plain step only moves activations: bias and ReLU after each convolution, the pooling, the ReLU's
gradient, and the bias's gradient, which is a sum over all pixels. Here the convolution's own kernel adds the bias and applies
the ReLU, and one kernel computes both gradients, at the end of a stage together with that of the pooling. `torch.compile` alone
computes the bias and its gradient in separate passes.

The numbers are those of the plain layers, except that values are rounded to bfloat16 less often.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NUM_PROGRAMS = 2048
"""Programs of a kernel, several per multiprocessor. Each sums its pixels; the sums are always added in the same order."""
TILE = 4096
"""Number of values that a program processes at a time."""


def features(layers: nn.Sequential, images: Tensor) -> Tensor:
    """Apply the convolutions, ReLUs and poolings of a VGG to images, in bfloat16.

    Args:
        layers: of `VGG.features`, without LRN.
        images: (batch, 3, height, width) float, on a GPU.

    Returns:
        (batch, channels, height // 32, width // 32) bfloat16.
    """
    values = images.bfloat16()
    modules = list(layers)
    for module, after in zip(modules, [*modules[2:], nn.Identity()], strict=False):
        if isinstance(module, nn.Conv2d):
            assert module.bias is not None
            pools = isinstance(after, nn.MaxPool2d)
            values, pooled = conv_relu(values, module.weight.bfloat16(), module.bias.bfloat16(), pools)
            values = pooled if pools else values
    return values


def can_fuse(layers: nn.Sequential, device: torch.device) -> bool:
    """Whether `features` can compute these layers on a device: an NVIDIA GPU with bfloat16 (Ampere or later), with cuDNN on."""
    has_kernels = device.type == "cuda" and torch.version.hip is None and torch.backends.cudnn.enabled
    return is_plain(layers) and has_kernels and torch.cuda.get_device_capability(device) >= (8, 0)


def is_plain(layers: nn.Sequential) -> bool:
    """Whether `features` can compute these layers: only convolutions, ReLUs and poolings."""
    return all(isinstance(layer, (nn.Conv2d, nn.ReLU, nn.MaxPool2d)) for layer in layers)


@torch.library.custom_op("trainability::conv_relu", mutates_args=())
def conv_relu(images: Tensor, weight: Tensor, bias: Tensor, pools: bool) -> tuple[Tensor, Tensor]:
    """Apply a convolution that keeps the size, add the bias, apply the ReLU, and optionally pool the result.

    Args:
        images: (batch, in, height, width) bfloat16, channels last.
        weight: (out, in, kernel, kernel).
        bias: (out,).
        pools: whether a 2x2 max pooling follows.

    Returns:
        (batch, out, height, width), and the same pooled; without pooling, an empty tensor.
    """
    padding = [weight.shape[-1] // 2] * 2
    output = torch.cudnn_convolution_relu(images, weight, bias, [1, 1], padding, [1, 1], 1)
    return output, _pooled(output) if pools else output.new_empty(0)


def _empty(like: Tensor, channels: int, height: int, width: int) -> Tensor:
    shape = (len(like), channels, height, width)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _pooled(output: Tensor) -> Tensor:
    from trainability.models.relu_kernels import pool_kernel  # Triton comes only with PyTorch for GPUs

    batch, channels, height, width = output.shape
    if height % 2 or width % 2:
        return F.max_pool2d(output, 2)
    pooled = _empty(output, channels, height // 2, width // 2)
    num_rows, block = batch * height * width // 4, 1 << (channels - 1).bit_length()
    rows = max(1, TILE // block // 4)
    grid = (-(-num_rows // rows),)
    kernel: Any = pool_kernel
    kernel[grid](output, pooled, num_rows, width, channels=channels, columns=block, rows=rows)
    return pooled


@conv_relu.register_fake
def _(images: Tensor, weight: Tensor, bias: Tensor, pools: bool) -> tuple[Tensor, Tensor]:
    height, width = images.shape[2:]
    out = weight.shape[0]
    output, pooled = _empty(images, out, height, width), _empty(images, out, height // 2, width // 2)
    return output, pooled if pools else images.new_empty(0)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, bool], output: tuple[Tensor, Tensor]) -> None:
    images, weight, _, ctx.pools = inputs
    ctx.save_for_backward(images, weight, output[0])
    ctx.set_materialize_grads(False)  # one of the two outputs is unused; its zero gradient would take as much memory


def _backward(
    ctx: Any, gradient: Tensor | None, of_pooled: Tensor | None
) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
    images, weight, output = ctx.saved_tensors
    given = of_pooled if ctx.pools else gradient
    if given is None:
        return None, None, None, None
    before, of_bias = relu_gradient(given, output, ctx.pools)
    padding = [weight.shape[-1] // 2] * 2
    needed = [ctx.needs_input_grad[0], True, False]
    of_images, of_weight, _ = torch.ops.aten.convolution_backward(
        before, images, weight, None, [1, 1], padding, [1, 1], False, [0, 0], 1, needed
    )
    return of_images, of_weight, of_bias, None


conv_relu.register_autograd(_backward, setup_context=_keep)


@torch.library.custom_op("trainability::relu_gradient", mutates_args=())
def relu_gradient(gradient: Tensor, output: Tensor, pooled: bool) -> tuple[Tensor, Tensor]:
    """Compute the gradients before a ReLU and of the bias before it.

    Args:
        gradient: of the ReLU's output, or, if `pooled`, of its 2x2 max pooling.
        output: (batch, channels, height, width) of the ReLU, channels last.
        pooled: whether the gradient is that of the pooling. The first of equal values receives it, as in PyTorch.

    Returns:
        The gradient before the ReLU, as large as `output`, and its sum over batch and pixels, (channels,).
    """
    from trainability.models.relu_kernels import pooled_kernel, relu_kernel

    height, width = output.shape[2:]
    if pooled and (height % 2 or width % 2):
        gradient, pooled = _unpooled(gradient, output), False
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    before = torch.empty_like(output, memory_format=torch.channels_last)
    channels = output.shape[1]
    num_rows = gradient.numel() // channels
    partial = torch.empty(NUM_PROGRAMS, channels, dtype=torch.float32, device=output.device)
    block = 1 << (channels - 1).bit_length()
    sizes = {"channels": channels, "columns": block, "rows": max(1, TILE // block // (4 if pooled else 1))}
    kernel: Any = pooled_kernel if pooled else relu_kernel
    kernel[(NUM_PROGRAMS,)](gradient, output, before, partial, num_rows, width, **sizes)
    return before, partial.sum(0).to(output.dtype)


@relu_gradient.register_fake
def _(gradient: Tensor, output: Tensor, pooled: bool) -> tuple[Tensor, Tensor]:
    return torch.empty_like(output, memory_format=torch.channels_last), output.new_empty(output.shape[1])


def _unpooled(gradient: Tensor, output: Tensor) -> Tensor:
    """Compute the gradient of a pooling's input if the last row or column is in no window."""
    _, indices = torch.ops.aten.max_pool2d_with_indices(output, [2, 2])
    return torch.ops.aten.max_pool2d_with_indices_backward(gradient, output, [2, 2], [2, 2], [0, 0], [1, 1], False, indices)
