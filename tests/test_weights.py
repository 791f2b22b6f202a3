"""Published weights give the outputs of a linear-classifier VGG that was written independently of this package."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from trainability.evaluation.weights import load_published

# Written from the paper's Table 1 by numbers of channels, as the usual public implementations have it: "M" is a pooling.
TABLE = {
    "A": [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    "B": [64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    "D": [64, 64, "M", 128, 128, "M", *[256] * 3, "M", *[512] * 3, "M", *[512] * 3, "M"],
    "E": [64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"],
}
DIVISOR = 16


class LinearVGG(nn.Module):
    def __init__(self, config: str, *, crop: int, num_classes: int, batch_norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for entry in TABLE[config]:
            if isinstance(entry, str):
                layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
            else:
                layers.append(nn.Conv2d(channels, entry // DIVISOR, kernel_size=3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(entry // DIVISOR))
                layers.append(nn.ReLU())
                channels = entry // DIVISOR
        self.features = nn.Sequential(*layers)
        side = crop // 32
        self.avgpool = nn.AdaptiveAvgPool2d((side, side))
        self.classifier = nn.Sequential(
            nn.Linear(channels * side * side, 48),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(48, 48),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(48, num_classes),
        )
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(images)), 1))


def reference(config: str, *, crop: int = 64, batch_norm: bool = False) -> LinearVGG:
    torch.manual_seed(0)
    return LinearVGG(config, crop=crop, num_classes=11, batch_norm=batch_norm).eval()


@pytest.mark.parametrize("config", TABLE)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_published_weights_give_the_outputs_of_the_linear_network(config: str, suffix: str, tmp_path: Path) -> None:
    linear, path = reference(config), tmp_path / f"vgg{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(linear.state_dict(), path)
    published = load_published(path)
    assert (published.config, published.num_classes, published.model.crop) == (config, 11, 64)
    pixels = torch.randint(0, 256, (3, 3, 64, 64))
    # As the weights' publishers normalise: on 0-1, then mean and standard deviation.
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = linear((pixels / 255 - mean[:, None, None]) / std[:, None, None])
    assert published.scale is not None
    given = published.model((pixels - published.mean[:, None, None]) / published.scale[:, None, None])
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)
    assert published.model.class_map(torch.zeros(1, 3, 96, 128)).shape == (1, 11, 2, 3)


def test_weights_for_blue_first_take_red_first(tmp_path: Path) -> None:
    linear, path = reference("D"), tmp_path / "vgg.pth"
    torch.save(linear.state_dict(), path)
    published = load_published(path, input="caffe")
    assert published.scale is None
    pixels = torch.randint(0, 256, (2, 3, 64, 64))
    blue_first = pixels.flip(1) - torch.tensor([103.939, 116.779, 123.68])[:, None, None]
    given = published.model(pixels - published.mean[:, None, None])
    torch.testing.assert_close(given, linear(blue_first), rtol=1e-4, atol=1e-3)


def test_batch_normalised_weights_are_refused(tmp_path: Path) -> None:
    torch.save(reference("D", batch_norm=True).state_dict(), tmp_path / "vgg16_bn.pth")
    with pytest.raises(ValueError, match=r"running_mean.*vgg16_bn"):
        load_published(tmp_path / "vgg16_bn.pth")


def test_what_is_no_vgg_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(ValueError, match=path.name):
        load_published(path)
    path.write_bytes(b"R")  # tells the unpickler to pop from its empty stack
    with pytest.raises(ValueError, match="safetensors"):
        load_published(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="safetensors"):
        load_published(path)
    path.with_suffix(".safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="safetensors"):
        load_published(path.with_suffix(".safetensors"))
    torch.save({"epoch": 3, "state_dict": {}}, path)
    with pytest.raises(ValueError, match="state dict"):
        load_published(path)
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"features\.0\.weight.*conv1\.weight"):
        load_published(path)
    state = reference("A").state_dict()
    torch.save({name: value for name, value in state.items() if not name.startswith("features.18.")}, path)
    with pytest.raises(ValueError, match=r"\b7\b"):
        load_published(path)
    torch.save({**state, "classifier.0.weight": torch.zeros(48, 130)}, path)
    with pytest.raises(ValueError, match=r"\b130\b"):
        load_published(path)
    torch.save({**state, "classifier.3.weight": torch.zeros(48, 13)}, path)
    with pytest.raises(ValueError, match=r"configuration A .*classifier\.3"):
        load_published(path)
    with pytest.raises(ValueError, match=r"'bgr'.*torchvision, caffe"):
        load_published(path, input="bgr")
