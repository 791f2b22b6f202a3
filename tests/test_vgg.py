"""The networks against the paper's tables, and the fast classifier against the slow one."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainability import initialization, keyed
from trainability.config import ModelConfig
from trainability.initialization import InitPlan
from trainability.models.vgg import (
    CONFIGS,
    ExampleDropout,
    build_vgg,
    classifier_state,
    count_parameters,
    paper_names,
    set_dropout_keys,
)

# Table 2 of the paper rounds to millions; these are the exact counts for 1000 classes.
PARAMETERS = {
    "A": 132_863_336,
    "A-LRN": 132_863_336,
    "B": 133_047_848,
    "C": 133_638_952,
    "D": 138_357_544,
    "E": 143_667_240,
}
WEIGHT_LAYERS = {"A": 11, "A-LRN": 11, "B": 13, "C": 16, "D": 16, "E": 19}


def small(config: str = "B", **options: object) -> nn.Module:
    settings = {"num_classes": 7, "crop": 32, "width": 0.05, "hidden": 24, **options}
    model = build_vgg(config, **settings)  # type: ignore[arg-type]
    initialization.apply(InitPlan.parse("he"), model, seed=1)
    return model


@pytest.mark.parametrize("config", CONFIGS)
def test_parameters_and_layers_of_the_paper(config: str) -> None:
    with torch.device("meta"):
        model = build_vgg(config, num_classes=1000)
    assert count_parameters(model) == PARAMETERS[config]
    assert len(initialization.weight_layers(model)) == WEIGHT_LAYERS[config]
    assert len(paper_names(model)) == WEIGHT_LAYERS[config]


def test_the_table_and_the_flag_name_the_same_configurations() -> None:
    for config in CONFIGS:
        assert ModelConfig(config=config).config == config  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="A, A-LRN, B, C, D, E"):
        build_vgg("F", num_classes=10)


def test_config_c_does_not_pad_its_1x1_convolutions() -> None:
    model = build_vgg("C", num_classes=10, crop=64, width=0.05)
    for module in model.features.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            assert module.padding == (0, 0)
    assert model.features(torch.zeros(1, 3, 64, 64)).shape[-2:] == (2, 2)


@pytest.mark.parametrize("crop", [32, 63, 64, 96, 224])
def test_first_classifier_kernel_is_the_final_map(crop: int) -> None:
    model = build_vgg("A", num_classes=3, crop=crop, width=0.02, hidden=8)
    assert model.features(torch.zeros(1, 3, crop, crop)).shape[-2:] == (crop // 32, crop // 32)
    assert model.classifier[0].kernel_size == (crop // 32, crop // 32)
    assert model(torch.zeros(2, 3, crop, crop)).shape == (2, 3)


def test_matrix_product_equals_convolution() -> None:
    model = small(crop=64).eval()
    images = torch.randn(3, 3, 64, 64)
    features = model.features(images)
    slow = features
    for module in model.classifier:
        slow = F.conv2d(slow, module.weight, module.bias) if isinstance(module, nn.Conv2d) else module(slow)
    torch.testing.assert_close(model(images), slow.flatten(1), rtol=1e-4, atol=1e-5)


def test_linear_and_convolutional_classifier_agree_for_equal_weights() -> None:
    conv, linear = small(crop=64).eval(), small(crop=64, classifier="linear").eval()
    linear.load_state_dict(classifier_state(conv.state_dict(), linear))
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(conv(images), linear(images), rtol=1e-5, atol=1e-6)
    back = classifier_state(linear.state_dict(), conv)
    assert all(torch.equal(back[name], value) for name, value in conv.state_dict().items())


def test_larger_image_gives_a_class_map_that_is_averaged() -> None:
    model = small(crop=64).eval()
    images = torch.randn(2, 3, 96, 128)
    class_map = model.class_map(images)
    assert class_map.shape == (2, 7, 2, 3)
    torch.testing.assert_close(model(images), class_map.mean((2, 3)))


@pytest.mark.parametrize("side", [32, 224])
def test_images_of_another_size_are_refused(side: int) -> None:
    with pytest.raises(ValueError, match=f"{side}x{side}"):
        small(crop=64, classifier="linear")(torch.zeros(1, 3, side, side))


def test_image_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 64x64"):
        small(crop=64)(torch.zeros(1, 3, 32, 64))
    with pytest.raises(ValueError, match="at least 32"):
        build_vgg("A", num_classes=2, crop=31)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("crop", [32, 224])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_configuration_takes_a_step(config: str, crop: int, precision: str) -> None:
    model = small(config, crop=crop, width=0.1, num_classes=10)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, fused=True)
    images, labels = torch.randn(2, 3, crop, crop).to(memory_format=torch.channels_last), torch.tensor([1, 2])
    before = [parameter.clone() for parameter in model.parameters()]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        logits = model(images)
    loss = F.cross_entropy(logits.float(), labels)
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert all(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_dropout_of_an_example_does_not_depend_on_its_neighbours() -> None:
    dropout = ExampleDropout(0.5, 512, 0)
    keys = keyed.example_keys(3, 1, torch.arange(64))
    holder = nn.Sequential(dropout)
    set_dropout_keys(holder, keys)
    whole = holder(torch.ones(64, 512))
    parts = []
    for part in keys.split(24):
        set_dropout_keys(holder, part)
        parts.append(holder(torch.ones(len(part), 512)))
    assert torch.equal(whole, torch.cat(parts))
    assert set(whole.unique().tolist()) == {0.0, 2.0}
    assert (whole == 0).float().mean().item() == pytest.approx(0.5, abs=0.01)


def test_dropout_without_keys_and_in_evaluation_is_torch_s_own() -> None:
    dropout = ExampleDropout(0.5, 64, 0)
    torch.manual_seed(0)
    ours = dropout(torch.ones(8, 64))
    torch.manual_seed(0)
    assert torch.equal(ours, F.dropout(torch.ones(8, 64), 0.5))
    set_dropout_keys(nn.Sequential(dropout), keyed.example_keys(0, 0, torch.arange(8)))
    assert torch.equal(dropout.eval()(torch.ones(8, 64)), torch.ones(8, 64))
