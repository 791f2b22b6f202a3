"""What healthy programs are made of: how one is described and trained, the digits that the package carries, made-up texts."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor


class Watch:
    """Stands in a program's own loop where a user calls `monitor.after_backward(loss)`; silent without monitors."""

    def __init__(self) -> None:
        self.monitors: dict[str, Monitor] = {}

    def __call__(self, loss: Tensor, name: str = "", **how: Any) -> None:
        if name in self.monitors:
            self.monitors[name].after_backward(loss, **how)


@dataclass
class Program:
    """A healthy program.

    Attributes:
        setup: arguments of `trainability.check`.
        sure: whether "will train" is expected before the first step.
        watch: that the program's own loop calls after each backward pass; a program without `step` is trained by `losses`.
        watched: per name that `watch` is called with, the model and the optimizer of a Monitor.
        monitor: further arguments of `Monitor`.
        steps: to train for.
        falls: whether the loss falls; those of a game do not.
    """

    setup: dict[str, Any]
    sure: bool = True
    watch: Watch = field(default_factory=Watch)
    watched: dict[str, tuple[nn.Module, Any]] = field(default_factory=dict)
    monitor: dict[str, Any] = field(default_factory=dict)
    steps: int = 150
    falls: bool = True

    @property
    def models(self) -> list[nn.Module]:
        model = self.setup["model"]
        return list(model.values()) if isinstance(model, dict) else [model]

    @contextlib.contextmanager
    def monitored(self, every: int) -> Iterator[list[Monitor]]:
        """One Monitor for each model that is watched."""
        pairs = self.watched or {"": (self.setup["model"], self.setup["optimizer"])}
        with contextlib.ExitStack() as stack:
            for name, (model, optimizer) in pairs.items():
                monitor = Monitor(model, optimizer, every=every, clip=self.setup.get("clip"), **self.monitor)
                self.watch.monitors[name] = stack.enter_context(monitor)
            yield list(self.watch.monitors.values())
        self.watch.monitors.clear()

    def losses(self) -> Iterator[float]:
        """Trains, and yields the loss of every pass through the loop's body."""
        for model in self.models:
            model.train()
        endless = itertools.chain.from_iterable(iter(self.setup["train_loader"]) for _ in itertools.count())
        for batch in endless:
            yield float(self._step(batch).detach())

    def _step(self, batch: Any) -> Tensor:
        setup, model, optimizer = self.setup, self.setup["model"], self.setup["optimizer"]
        if "step" in setup:
            return setup["step"](model, optimizer, batch)

        def closure() -> Tensor:
            optimizer.zero_grad()
            if "training_step" in setup:
                loss = setup["training_step"](model, batch)
            else:
                *inputs, target = batch
                loss = setup.get("loss_fn", F.cross_entropy)(model(*inputs), target)
            loss.backward()
            self.watch(loss)
            if "clip" in setup:
                nn.utils.clip_grad_norm_(model.parameters(), setup["clip"])
            return loss

        if isinstance(optimizer, torch.optim.LBFGS):
            return optimizer.step(closure)
        loss = closure()
        optimizer.step()
        if "scheduler" in setup:
            setup["scheduler"].step()
        return loss


PROGRAMS: dict[str, Callable[..., Program]] = {}


def program(make: Callable[[], Program]) -> Callable[..., Program]:
    """Adds a program to the table, made from a seed."""

    def seeded(seed: int = 0) -> Program:
        torch.manual_seed(seed)
        return make()

    assert make.__name__ not in PROGRAMS
    PROGRAMS[make.__name__] = seeded
    return seeded


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    """Images (1437, 1, 8, 8), mean 0 and variance 1, in random order, and labels."""
    with resources.files("trainability.data").joinpath("digits.npz").open("rb") as file:
        archive = np.load(file)
        images, labels = torch.from_numpy(archive["images"]).float(), torch.from_numpy(archive["labels"]).long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))[:1437]
    return ((images - images.mean()) / images.std())[order][:, None], labels[order]


@functools.cache
def tokens(length: int = 25, symbols: int = 12) -> Tensor:
    """Sequences (1024, length) of a Markov chain."""
    rng = torch.Generator().manual_seed(3)
    table = torch.softmax(2.5 * torch.randn(symbols, symbols, generator=rng), dim=1)
    drawn = torch.randint(symbols, (1024, 1), generator=rng)
    for _ in range(length - 1):
        drawn = torch.cat([drawn, torch.multinomial(table[drawn[:, -1]], 1, generator=rng)], dim=1)
    return drawn


def loader(*tensors: Tensor, batch: int = 64) -> DataLoader:
    return DataLoader(TensorDataset(*tensors), batch, shuffle=True)


def mlp(*sizes: int, last: nn.Module | None = None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *layers[:-1], *([last] if last is not None else []))


def flat() -> Tensor:
    return digits()[0].flatten(1)


def next_token(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def pairs(models: Any, optimizers: Any) -> dict[str, tuple[nn.Module, Any]]:
    """Several models, each with its own optimizer."""
    return {name: (model, optimizers[name]) for name, model in models.items()}
