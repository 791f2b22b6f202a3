"""A tensor of the batch that a step gives twice, in the place of another: as halves, as arguments, in two calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.measure.given_twice import given_twice
from trainability.doctor.readings import GivenTwice
from trainability.loops.script_watch import ScriptWatch

WORDS = 40


class Net(nn.Module):
    """Reads its inputs joined, whether they come as one or as two."""

    def __init__(self, drop: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Dropout(drop), nn.Linear(16, 6))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(x if y is None else torch.cat([x, y], dim=1))


class OfBatch(Net):
    """Joins what it finds in the batch."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    def forward(self, batch: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return self.layers(torch.cat([batch[name] for name in self.names], dim=1))


class Encoder(nn.Module):
    def __init__(self, drop: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(drop), nn.Linear(16, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Texts(nn.Module):
    """Scores a query beside a document."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 8)
        self.score = nn.Linear(16, 1)

    def forward(self, query: Tensor, document: Tensor) -> Tensor:
        return self.score(torch.cat([self.words(query).mean(1), self.words(document).mean(1)], dim=1)).squeeze(1)


def pair() -> dict[str, Tensor]:
    torch.manual_seed(0)
    a = torch.randn(16, 6)
    b = a + 0.5 * torch.randn(16, 6)
    return {"a": a, "b": b, "y": torch.randn(16, 6), "same": (torch.rand(16) < 0.5).float()}


def texts() -> dict[str, Tensor]:
    torch.manual_seed(0)
    query, document = torch.randint(WORDS, (16, 7)), torch.randint(WORDS, (16, 11))
    return {"query": query, "document": document, "mask": (document > 5).long(), "y": torch.randn(16)}


def mse(output: Tensor, batch: dict[str, Tensor]) -> Tensor:
    return F.mse_loss(output, batch["y"])


def contrastive(one: Tensor, other: Tensor, same: Tensor) -> Tensor:
    far = (one - other).square().sum(1)
    return (same * far + (1 - same) * (1 - far).clamp(min=0)).mean()


def info_nce(one: Tensor, other: Tensor) -> Tensor:
    return F.cross_entropy(F.normalize(one, dim=1) @ F.normalize(other, dim=1).T / 0.1, torch.arange(len(one)))


Step = Callable[[Any, Any], Tensor]
MISTAKES: dict[str, tuple[nn.Module, Step, str]] = {
    "joined": (Net(), lambda m, b: mse(m(torch.cat([b["a"], b["a"]], 1)), b), "joined"),
    "normalised": (Net(), lambda m, b: mse(m(torch.cat([b["a"], b["a"]], 1) / b["a"].std()), b), "joined"),
    "stacked": (Net(), lambda m, b: mse(m(torch.stack([b["a"], b["a"]], 1).flatten(1)), b), "joined"),
    "in the model": (OfBatch("a", "a"), lambda m, b: mse(m(b), b), "joined"),
    "arguments": (Net(), lambda m, b: mse(m(b["a"], b["a"]), b), "arguments"),
    "by name": (Net(), lambda m, b: mse(m(x=b["a"], y=b["a"]), b), "arguments"),
    "with dropout": (Net(0.2), lambda m, b: mse(m(b["a"], b["a"]), b), "arguments"),
    "siamese": (Encoder(), lambda m, b: contrastive(m(b["a"]), m(b["a"]), b["same"]), "calls"),
    "views": (Encoder(), lambda m, b: info_nce(m(b["a"]), m(b["a"])), "calls"),
}


def found(model: nn.Module, batch: Any, step: Step) -> GivenTwice | None:
    return given_twice(model, batch, step)


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_given_twice_is_named_and_what_is_not_read(name: str) -> None:
    model, step, how = MISTAKES[name]
    batch = pair()
    if how == "calls" and name == "views":
        batch = {key: batch[key] for key in ("a", "b")}
    told = found(model, batch, step)
    assert told is not None
    assert (told.given, told.unread, told.how) == ("['a']", "['b']", how)


def test_a_document_that_is_longer_than_its_query() -> None:
    told = found(Texts(), texts(), lambda m, b: F.mse_loss(m(b["query"], b["query"]), b["y"]))
    assert told is not None
    assert (told.given, told.unread, told.how) == ("['query']", "['document']", "arguments")


def by_turns(model: nn.Module, b: dict[str, Tensor]) -> Tensor:
    """One of two views, by a draw."""
    return mse(model(b["a"], b["b"] if torch.rand(()) < 0.5 else b["a"]), b)


def with_entropy(model: nn.Module, b: dict[str, Tensor]) -> Tensor:
    """A policy that is called for each of its terms."""
    chosen = model(b["a"]).log_softmax(1)[torch.arange(16), b["same"].long()]
    again = model(b["a"]).log_softmax(1)
    return -(chosen * b["y"][:, 0]).mean() + 0.01 * (again.exp() * again).sum(1).mean()


def two_views(model: nn.Module, b: dict[str, Tensor]) -> Tensor:
    """Two augmentations of one image, and no use of the second."""
    one, other = (model(b["a"] + 0.1 * torch.randn_like(b["a"])) for _ in range(2))
    return info_nce(one, other)


def own_attention(model: nn.Module, b: dict[str, Tensor]) -> Tensor:
    x = b["a"][:, None]
    return F.mse_loss(model(x, x, x)[0][:, 0], b["y"])


SOUND: dict[str, tuple[nn.Module, Step]] = {
    "both": (Net(), lambda m, b: mse(m(b["a"], b["b"]), b)),
    "both, joined": (Net(), lambda m, b: mse(m(torch.cat([b["a"], b["b"]], 1)), b)),
    "one, and the other in the loss": (Net(), lambda m, b: F.mse_loss(m(b["a"], b["a"]), b["b"])),
    "one alone": (Encoder(), lambda m, b: mse(m(b["a"]), b)),
    "an autoencoder": (Encoder(), lambda m, b: F.mse_loss(m(b["a"]), b["a"])),
    "an autoencoder of two inputs": (Net(), lambda m, b: F.mse_loss(m(b["a"], b["a"]), b["a"])),
    "denoising": (Encoder(), lambda m, b: F.mse_loss(m(b["a"] + torch.randn_like(b["a"])), b["a"])),
    "a view by draw": (Net(), by_turns),
    "a policy called twice": (Encoder(), with_entropy),
    "two augmentations": (Encoder(), two_views),
    "two masks of dropout": (Encoder(0.2), lambda m, b: info_nce(m(b["a"]), m(b["a"]))),
    "self-attention": (nn.MultiheadAttention(6, 2, batch_first=True), own_attention),
    "siamese": (Encoder(), lambda m, b: contrastive(m(b["a"]), m(b["b"]), b["same"])),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_steps_are_silent(name: str) -> None:
    model, step = SOUND[name]
    batch = pair()
    if name == "one, and the other in the loss":
        del batch["y"]
    assert found(model, batch, step) is None


@pytest.mark.parametrize("key", ["mask", "positions", "other words", "short"])
def test_what_is_of_another_kind_may_be_left_out(key: str) -> None:
    batch = {name: t for name, t in texts().items() if name != "document"}
    batch["mask"] = {
        "mask": (batch["query"] > 5).long(),
        "positions": torch.arange(7).expand(16, 7),
        "other words": 1000 + batch["query"].flip(0),
        "short": batch["query"].flip(0).float(),
    }[key]
    assert found(Texts(), batch, lambda m, b: F.mse_loss(m(b["query"], b["query"]), b["y"])) is None


def test_a_copy_in_the_data_is_not_the_step_s() -> None:
    batch = pair()
    batch["a"], batch["b"] = (torch.cat([batch[k], batch[k]], 1) for k in ("a", "b"))
    assert found(Net(), batch, lambda m, b: mse(m(b["a"]), b)) is None


@pytest.mark.parametrize("second", ["a", "b"])
def test_a_script_that_is_followed_says_it(second: str) -> None:
    torch.manual_seed(0)
    data = [torch.randn(320, 6), torch.randn(320, 6)]
    rows = torch.utils.data.TensorDataset(*data, (data[0] - data[1]).tanh())
    watch = ScriptWatch(Path("loop.py"), every=10, most_steps=None, place=None)
    watch.begin()
    try:
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for a, b, y in torch.utils.data.DataLoader(rows, 16, shuffle=True):
            optimizer.zero_grad()
            F.mse_loss(model(torch.cat([a, a if second == "a" else b], dim=1)), y).backward()
            optimizer.step()
    finally:
        watch.end(None)
    (diagnosis,) = watch.diagnoses.values()
    assert ("constant_input.twice" in {f.code for f in diagnosis.findings}) is (second == "a")
