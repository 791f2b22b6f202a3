"""One small image classifier as its author would write it, and what goes wrong with it: the same for every kind of loop.

`VARIANTS` holds the variants; `train` is the plain loop around one of them. Images are the built-in digits.
Two epochs of 38 steps are enough to see each.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from small_programs import digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 2
BATCH = 32
NUM_TRAIN = 1200


def network(*, norm: bool = True) -> nn.Sequential:
    """Two convolutions with batch normalisation and a linear layer."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in ((1, 12), (12, 24)):
        layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=not norm), *([nn.BatchNorm2d(fan_out)] if norm else [])]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(96, 10))


def deep_sigmoid() -> nn.Sequential:
    """Eight hidden layers with sigmoids, weights as PyTorch draws them."""
    hidden = [module for _ in range(7) for module in (nn.Linear(48, 48), nn.Sigmoid())]
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.Sigmoid(), *hidden, nn.Linear(48, 10))


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What the author of the loop does; the defaults are as it should be.

    Attributes:
        model: makes the network.
        data: of images (n, 1, 8, 8), standardised, and labels (n,); returns both as the loader gives them.
        prepare: of the model before training (frozen layers, weights).
        trained: of the model: the parameters that the optimizer is given.
        loss_fn: of (logits, labels).
        lr: of SGD with momentum 0.9.
        clip: gradient norm.
        shuffles: whether the loader mixes the images in every epoch.
        is_evaluating: the model is in evaluation mode while it trains.
        clears: when gradients are cleared: "after" a step, "before" it (between backward and step), or "never".
        raises: error of PyTorch that ends the loop.
    """

    model: Callable[[], nn.Module] = network
    data: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = lambda images, labels: (images, labels)
    prepare: Callable[[nn.Sequential], Any] = lambda model: None
    trained: Callable[[Any], Any] = lambda model: model.parameters()
    loss_fn: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    lr: float = 0.05
    clip: float | None = None
    shuffles: bool = True
    is_evaluating: bool = False
    clears: str = "after"
    raises: type[Exception] | None = None

    def make(self) -> nn.Module:
        """The model, drawn from the same seed every time."""
        torch.manual_seed(0)
        model = self.model()
        assert isinstance(model, nn.Sequential)
        self.prepare(model)
        return model

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """SGD over what the author thinks are the model's parameters."""
        return torch.optim.SGD(self.trained(model), lr=self.lr, momentum=0.9)

    def loaders(self) -> tuple[DataLoader, DataLoader]:
        """Training and validation batches."""
        images, labels = digits()
        images, labels = self.data(images, labels)
        generator = torch.Generator().manual_seed(0)
        train = TensorDataset(images[:NUM_TRAIN], labels[:NUM_TRAIN])
        validation = TensorDataset(images[NUM_TRAIN:], labels[NUM_TRAIN:])
        return DataLoader(train, BATCH, shuffle=self.shuffles, generator=generator), DataLoader(validation, 256)


def _uint8(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    scaled = (images - images.min()) / (images.max() - images.min())
    return (255 * scaled).to(torch.uint8), labels


def _shuffled(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return images, labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]


def _nan(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    images = images.clone()
    images[100::400, :, 2, 2] = float("nan")  # three training images, one of the validation set
    return images, labels


def _sorted(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    order = labels[:NUM_TRAIN].argsort(stable=True)
    order = torch.cat((order, torch.arange(NUM_TRAIN, len(labels))))
    return images[order], labels[order]


def _ending_in(layer: type[nn.Module], **settings: Any) -> Callable[[], nn.Module]:
    return lambda: network().append(layer(**settings))


def _zeros(model: nn.Sequential) -> None:
    for parameter in model.parameters():
        nn.init.zeros_(parameter)


def _freeze(model: nn.Sequential) -> None:
    model[:-1].requires_grad_(False)


HEALTHY = Variant()
VARIANTS: dict[str, Variant] = {
    "healthy": HEALTHY,
    "no norm": replace(HEALTHY, model=lambda: network(norm=False)),
    "uint8 inputs": replace(HEALTHY, data=_uint8),
    "shuffled labels": replace(HEALTHY, data=_shuffled),
    "NaN data": replace(HEALTHY, data=_nan),
    "one class": replace(HEALTHY, data=lambda images, labels: (images, torch.full_like(labels, 3))),
    "labels from 1": replace(HEALTHY, data=lambda images, labels: (images, labels + 1), raises=IndexError),
    "sorted data": replace(HEALTHY, data=_sorted, shuffles=False),
    "softmax": replace(HEALTHY, model=_ending_in(nn.Softmax, dim=1)),
    "ReLU on logits": replace(HEALTHY, model=_ending_in(nn.ReLU)),
    "deep sigmoid": replace(HEALTHY, model=deep_sigmoid),
    "zero init": replace(HEALTHY, prepare=_zeros),
    "frozen": replace(HEALTHY, prepare=_freeze),
    "head-only optimizer": replace(HEALTHY, trained=lambda model: model[-1].parameters()),
    "rate 5": replace(HEALTHY, lr=5.0),
    "rate 1e-7": replace(HEALTHY, lr=1e-7),
    "stale optimizer": replace(HEALTHY, trained=lambda model: network().parameters()),
    "negated loss": replace(HEALTHY, loss_fn=lambda logits, labels: -F.cross_entropy(logits, labels)),
    "eval mode": replace(HEALTHY, is_evaluating=True),
    "no zero_grad": replace(HEALTHY, clears="never"),
    "clip 1e-4": replace(HEALTHY, clip=1e-4),
    "zero_grad before step": replace(HEALTHY, clears="before"),
}


def train(variant: Variant, model: nn.Module, optimizer: torch.optim.Optimizer, monitor: Any) -> None:
    """The plain loop, with the three lines that Monitor needs."""
    train_loader, val_loader = variant.loaders()
    with monitor:
        for _ in range(EPOCHS):
            model.train(not variant.is_evaluating)
            for images, labels in train_loader:
                loss = variant.loss_fn(model(images.float()), labels)
                loss.backward()
                monitor.after_backward(loss)
                if variant.clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), variant.clip)
                if variant.clears == "before":
                    optimizer.zero_grad()
                optimizer.step()
                if variant.clears == "after":
                    optimizer.zero_grad()
            model.eval()
            with torch.no_grad():
                wrong = [(model(images.float()).argmax(dim=1) != labels).float() for images, labels in val_loader]
            monitor.record_evaluation("validation", top1_error=torch.cat(wrong).mean().item())
