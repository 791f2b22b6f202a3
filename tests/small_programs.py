"""Small programs that train within seconds, each in two forms: as it should be, and with one mistake."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class Program:
    """A training that has not begun.

    Attributes:
        model: to be trained.
        train: batches, read anew for every epoch.
        validation: one batch.
        loss: of (model, batch).
        loss_fn: of (output, target), where batches are pairs and the loss is that of one output; None elsewhere.
        optimizer: as the loop steps it.
        num_classes: None for no classification.
        clips: gradient-norm threshold.
        clears: whether the loop calls zero_grad.
    """

    model: nn.Module
    train: Iterable[Any]
    validation: tuple[Tensor, ...]
    loss_fn: Callable[[Any, Tensor], Tensor] | None
    optimizer: torch.optim.Optimizer
    loss: Callable[[Any, Any], Tensor] | None = None
    num_classes: int | None = None
    clips: float | None = None
    clears: bool = True

    def step_loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The loss of one batch."""
        if self.loss is not None:
            return self.loss(model, batch)
        assert self.loss_fn is not None
        *inputs, target = batch
        return self.loss_fn(model(*inputs), target)


def batches(*tensors: Tensor, size: int = 32, shuffle: bool = True) -> torch.utils.data.DataLoader:
    """A loader of tuples; shuffled alike every time."""
    generator = torch.Generator().manual_seed(0)
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*tensors), size, shuffle=shuffle, generator=generator)


@cache
def digits() -> tuple[Tensor, Tensor]:
    """1,797 handwritten digits, (n, 1, 8, 8) of mean 0 and standard deviation 1, mixed, and their classes."""
    with np.load(str(files("trainability.data") / "digits.npz")) as stored:
        images, labels = torch.tensor(stored["images"]).float().unsqueeze(1), torch.tensor(stored["labels"]).long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return ((images - images.mean()) / images.std())[order], labels[order]


def _on_digits(
    model: nn.Module, optimizer: torch.optim.Optimizer, *, flat: bool = False, rows: bool = False, **fields
) -> Program:
    x, y = digits()
    x = x.flatten(1) if flat else x.squeeze(1) if rows else x
    train = fields.pop("train", None) or batches(x[:1200], y[:1200])
    fields = {"loss_fn": F.cross_entropy, "num_classes": 10, **fields}
    return Program(model=model, train=train, validation=(x[1200:], y[1200:]), optimizer=optimizer, **fields)


def convolutions(normalised: bool = False) -> nn.Sequential:
    """A net of two convolutions for digits."""
    norm = [nn.BatchNorm2d(12)] if normalised else []
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), *norm, nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(384, 10),
    )  # fmt: skip


def mean_of_pairs(bad: bool) -> Program:
    """Regression of six numbers; bad: outputs (batch, 1) against targets (batch,)."""
    x = torch.randn(480, 6)
    y = x @ torch.randn(6) / 2.5 + 0.1 * torch.randn(480)
    model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1))

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return (output - (target if bad else target[:, None])).square().mean()

    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    return Program(
        model=model, train=batches(x[:400], y[:400]), validation=(x[400:], y[400:]), loss_fn=loss, optimizer=optimizer
    )


def large_rate(bad: bool) -> Program:
    """A deep classifier of digits; bad: Adam's rate is a hundred times too large, so that all units die."""
    layers = [module for _ in range(3) for module in (nn.Linear(48, 48), nn.ReLU())]
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), *layers, nn.Linear(48, 10))
    return _on_digits(model, torch.optim.Adam(model.parameters(), 0.15 if bad else 1.5e-3), flat=True)


class _Rows(nn.Module):
    """Reads a digit row by row."""

    def __init__(self, squashed: bool) -> None:
        super().__init__()
        self.gru, self.head, self.squashed = nn.GRU(8, 48, batch_first=True), nn.Linear(48, 10), squashed

    def forward(self, rows: Tensor) -> Tensor:
        logits = self.head(self.gru(rows)[0][:, -1])
        return F.softmax(logits, dim=-1) if self.squashed else logits


def softmax_twice(bad: bool) -> Program:
    """A recurrent classifier; bad: softmax at its end, under cross-entropy."""
    model = _Rows(bad)
    return _on_digits(model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), rows=True)


def foreign_optimizer(bad: bool) -> Program:
    """Digits; bad: the model is built again after its optimizer was made."""
    model = convolutions()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    return _on_digits(convolutions() if bad else model, optimizer)


def exclusive_or(bad: bool) -> Program:
    """Exclusive or of two bits in a table; bad: nothing between the two layers."""
    x = torch.randint(0, 2, (640, 2)).float()
    y = (x.sum(1) == 1).float().unsqueeze(1)
    between = [] if bad else [nn.Tanh()]
    model = nn.Sequential(nn.Linear(2, 12), *between, nn.Linear(12, 1))
    optimizer = torch.optim.Adam(model.parameters(), 2e-2)
    loss_fn = nn.BCEWithLogitsLoss()
    return Program(
        model=model, train=batches(x[:512], y[:512]), validation=(x[512:], y[512:]), loss_fn=loss_fn, optimizer=optimizer
    )


def _curve(x: Tensor, y: Tensor, optimizer: Callable[[Any], torch.optim.Optimizer]) -> Program:
    model = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 1))
    size, loss_fn = len(x) * 4 // 5, nn.MSELoss()
    return Program(
        model=model,
        train=batches(x[:size], y[:size]),
        validation=(x[size:], y[size:]),
        loss_fn=loss_fn,
        optimizer=optimizer(model.parameters()),
    )


def target_scale(bad: bool) -> Program:
    """A square law; bad: neither side is normalised."""
    x = torch.rand(900, 1) * (3000 if bad else 1)
    y = x**2 * (40 if bad else 1)
    if not bad:
        x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    return _curve(x, y, lambda parameters: torch.optim.Adam(parameters, 1e-3))


def input_scale(bad: bool) -> Program:
    """A line with a bend; bad: inputs of ±1,500 under SGD, which end in NaN."""
    x = torch.rand(600, 1) * 2 - 1
    y = x.abs() - 0.5
    return _curve(x * (1500 if bad else 1), y, lambda parameters: torch.optim.SGD(parameters, 0.02))


class _Writer(nn.Module):
    """Says the next of 12 signs by one layer of attention."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.sign, self.place = nn.Embedding(12, 32), nn.Embedding(20, 32)
        self.block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.head, self.causal = nn.Linear(32, 12), causal

    def forward(self, signs: Tensor) -> Tensor:
        size = signs.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(size) if self.causal else None
        z = self.sign(signs) + self.place(torch.arange(size))
        return self.head(self.block(z, src_mask=mask))


def next_sign(bad: bool) -> Program:
    """The next sign of a noisy counter; bad: attention sees the signs to come."""
    steps = torch.where(torch.rand(640, 21) < 0.8, 1, 5)
    signs = steps.cumsum(1) % 12
    model = _Writer(causal=not bad)

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output.reshape(-1, 12), target.reshape(-1))

    x, y = signs[:, :-1].contiguous(), signs[:, 1:].contiguous()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    return Program(
        model=model, train=batches(x[:512], y[:512]), validation=(x[512:], y[512:]), loss_fn=loss_fn, optimizer=optimizer
    )


class _Order(nn.Module):
    """Which of two signs comes first."""

    def __init__(self, with_places: bool) -> None:
        super().__init__()
        self.sign, self.place = nn.Embedding(9, 24), nn.Parameter(torch.randn(12, 24) * 0.5)
        self.block = nn.TransformerEncoderLayer(24, 2, 48, dropout=0.0, batch_first=True)
        self.head, self.with_places = nn.Linear(24, 2), with_places

    def forward(self, signs: Tensor) -> Tensor:
        z = self.sign(signs)
        return self.head(self.block(z + self.place if self.with_places else z).mean(dim=1))


def no_places(bad: bool) -> Program:
    """A matter of order alone; bad: the learned positions are not added."""
    x = torch.randint(2, 9, (1600, 12))
    places = torch.stack([torch.randperm(12)[:2] for _ in range(1600)])
    x.scatter_(1, places, torch.tensor([[0, 1]]).expand(1600, 2))
    y = (places[:, 0] < places[:, 1]).long()
    model = _Order(not bad)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    train = batches(x[:1400], y[:1400])
    return Program(
        model=model, train=train, validation=(x[1400:], y[1400:]), loss_fn=F.cross_entropy, optimizer=optimizer, num_classes=2
    )


class _Series(nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(4, 24, batch_first=batch_first), nn.Linear(24, 2)

    def forward(self, series: Tensor) -> Tensor:
        return self.head(self.rnn(series)[0].select(1, -1))


def batch_for_time(bad: bool) -> Program:
    """The sign of a sum over time; bad: the recurrent layer takes the batch for time."""
    x = torch.randn(1200, 12, 4)
    y = (x[..., 1].sum(1) > 0).long()
    model = _Series(not bad)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    train = batches(x[:1000], y[:1000])
    return Program(
        model=model, train=train, validation=(x[1000:], y[1000:]), loss_fn=F.cross_entropy, optimizer=optimizer, num_classes=2
    )


def sorted_classes(bad: bool) -> Program:
    """Digits; bad: in the order of their class, and not shuffled."""
    x, y = digits()
    order = y[:1200].argsort(stable=True) if bad else torch.arange(1200)
    model = convolutions(normalised=True)
    train = batches(x[:1200][order], y[:1200][order], shuffle=not bad)
    return _on_digits(model, torch.optim.SGD(model.parameters(), 0.05, momentum=0.9), train=train)


def stale_gradients(bad: bool) -> Program:
    """Digits; bad: the loop never clears gradients."""
    model = convolutions(normalised=True)
    return _on_digits(model, torch.optim.SGD(model.parameters(), 0.05, momentum=0.9), clears=not bad)


class _Listed(nn.Module):
    def __init__(self, hidden: bool) -> None:
        super().__init__()
        layers = {f"layer{i}": nn.Linear(64 if i == 0 else 32, 32) for i in range(4)}
        self.layers = layers if hidden else nn.ModuleDict(layers)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers.values():
            x = torch.tanh(layer(x))
        return self.head(x)


def plain_dict(bad: bool) -> Program:
    """Digits; bad: hidden layers in a plain dict."""
    model = _Listed(bad)
    return _on_digits(model, torch.optim.Adam(model.parameters(), 2e-3), flat=True)


class _Translator(nn.Module):
    """From one walk to another, given what was said so far."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.said = nn.Linear(2, 24), nn.Linear(2, 24)
        self.places = nn.Parameter(0.1 * torch.randn(8, 24))
        self.body = nn.Transformer(24, 2, 1, 1, 48, dropout=0.0, batch_first=True)
        self.head = nn.Linear(24, 2)

    def forward(self, source: Tensor, said: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(said.shape[1])
        return self.head(self.body(self.source(source) + self.places, self.said(said) + self.places, tgt_mask=mask))


def decoder_of_zeros(bad: bool) -> Program:
    """A translator of walks; bad: the decoder is given zeros in place of what was said so far."""
    walks = torch.randn(640, 9, 2).cumsum(1) / 2
    noisy = walks[:, :8] + torch.randn(640, 8, 2)
    model = _Translator()

    def loss(model: Any, batch: Any) -> Tensor:
        source, target = batch
        said = target[:, :-1]
        return F.mse_loss(model(source, torch.zeros_like(said) if bad else said), target[:, 1:])

    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    return Program(
        model=model,
        train=batches(noisy[:512], walks[:512]),
        validation=(noisy[512:], walks[512:]),
        loss_fn=None,
        loss=loss,
        optimizer=optimizer,
    )


class _Topics(nn.Module):
    def __init__(self, embedded: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(5000, 24) if embedded else None
        self.rnn = nn.GRU(24 if embedded else 1, 24, batch_first=True)
        self.head = nn.Linear(24, 3)

    def forward(self, words: Tensor) -> Tensor:
        z = self.words(words) if self.words is not None else words.float()[:, :, None]
        return self.head(self.rnn(z)[0].amax(dim=1))


def words_as_numbers(bad: bool) -> Program:
    """Topics by their words; bad: numbers of words go into a recurrent layer as they are."""
    y = torch.randint(0, 3, (1000,))
    own = torch.randint(0, 5000, (3, 8))
    words = own[y][torch.arange(1000)[:, None], torch.randint(0, 8, (1000, 14))]
    x = torch.where(torch.rand(1000, 14) < 0.6, words, torch.randint(0, 5000, (1000, 14)))
    model = _Topics(not bad)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    train = batches(x[:800], y[:800])
    return Program(
        model=model, train=train, validation=(x[800:], y[800:]), loss_fn=F.cross_entropy, optimizer=optimizer, num_classes=3
    )
