"""The fused kernels of compiled networks on a GPU, against the plain layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainability.models import conv_relu
from trainability.models.vgg import build_vgg


def test_shapes_and_gradients_follow_the_plain_layers_without_memory() -> None:
    with torch.device("meta"):
        model = build_vgg("C", num_classes=10, crop=64, width=0.25)
        images = torch.zeros(2, 3, 64, 64)
    plain = model.features(images)
    fused = conv_relu.features(model.features, images)
    assert fused.shape == plain.shape
    fused.float().sum().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in model.features.parameters())


def test_only_convolutions_relus_and_poolings_are_fused() -> None:
    assert conv_relu.is_plain(build_vgg("D", num_classes=10, crop=32, width=0.25).features)
    assert not conv_relu.is_plain(build_vgg("A-LRN", num_classes=10, crop=32, width=0.25).features)
    assert not conv_relu.can_fuse(build_vgg("D", num_classes=10, crop=32, width=0.25).features, torch.device("cpu"))


def gradients(model: nn.Module, images: torch.Tensor, layers) -> dict[str, torch.Tensor]:
    model.zero_grad()
    out = layers(images).float()
    (out * torch.linspace(-1, 1, out.numel(), device=out.device).reshape(out.shape)).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None} | {"output": out.detach()}


@pytest.mark.gpu
@pytest.mark.parametrize("crop", [64, 224, 80])  # of 80 pixels, the fourth pooling leaves a row of five out
@pytest.mark.parametrize("width", [1.0, 0.3])  # 0.3: channels that are no power of two
def test_fused_layers_have_the_gradients_of_the_plain_ones(crop: int, width: float) -> None:
    torch.manual_seed(0)
    model = build_vgg("D", num_classes=10, crop=32, width=width).cuda()
    for module in model.features:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            nn.init.normal_(module.bias, std=0.1)
            module.to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, crop, crop, device="cuda").contiguous(memory_format=torch.channels_last)
    exact = gradients(model, images, model.features)
    with torch.autocast("cuda", torch.bfloat16):
        plain = gradients(model, images, model.features)
    fused = gradients(model, images, lambda x: conv_relu.features(model.features, x))
    for name, wanted in exact.items():
        error = (fused[name] - wanted).norm() / wanted.norm()
        usual = (plain[name] - wanted).norm() / wanted.norm()
        assert error < 2 * usual + 1e-3, (name, error, usual)


@pytest.mark.gpu
def test_what_is_not_finite_is_passed_on() -> None:
    model = build_vgg("A", num_classes=10, crop=32, width=0.25).cuda()
    images = torch.randn(2, 3, 32, 32, device="cuda").contiguous(memory_format=torch.channels_last)
    images[0, 0, 5, 5] = float("nan")
    assert not conv_relu.features(model.features, images)[0].isfinite().all()


@pytest.mark.gpu
def test_compiled_training_takes_the_fused_kernels_and_gives_the_same_each_time() -> None:
    torch.manual_seed(0)
    model = build_vgg("A", num_classes=10, crop=32, width=0.25, dropout=0.0).cuda()
    images = torch.randn(8, 3, 32, 32, device="cuda").contiguous(memory_format=torch.channels_last)
    with torch.autocast("cuda", torch.bfloat16):
        plain = gradients(model, images, model)
        model.fuses = conv_relu.can_fuse(model.features, images.device)
        assert model.fuses
        model.compile()
        first, second = gradients(model, images, model), gradients(model, images, model)
    torch.testing.assert_close(first["output"], plain["output"], rtol=0.05, atol=0.05)
    assert all(torch.equal(first[name], second[name]) for name in first)
