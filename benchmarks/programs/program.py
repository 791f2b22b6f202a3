"""A training program as data, the bodies that its loop may have, and a mistake as a change of a sound one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Data = tuple[Tensor, ...]

# What names a rate that is too large, and one that is too small.
LARGE_STEPS = "exploding_gradient update_ratio.large plateau.large_steps oscillation loss_cliff dead_units.large_step"
SMALL_STEPS = "update_ratio.small plateau.small_steps unmoved_parameter.rounding slow_start"


def nobody(loss: Tensor, model: str = "") -> None:
    """Nobody watches."""


@dataclass(frozen=True, kw_only=True)
class Loop:
    """What the body of a loop uses beside model, optimizer and batch.

    Attributes:
        loss_of: (model, batch) -> loss.
        clip: gradient-norm threshold; None for no clipping.
        seen: called with the loss after backward, as `Monitor.after_backward` is, and of several models with the one's name.
    """

    loss_of: Callable[[Any, Any], Tensor]
    clip: float | None = None
    seen: Callable[..., None] = nobody


Body = Callable[[Any, Any, Any, Loop], Tensor]


def usual(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any, loop: Loop) -> Tensor:
    """The loop of every tutorial."""
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    if loop.clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), loop.clip)
    optimizer.step()
    return loss


def keeps_gradients(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any, loop: Loop) -> Tensor:
    """Without zero_grad."""
    model.train()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    optimizer.step()
    return loss


def clears_too_late(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any, loop: Loop) -> Tensor:
    """zero_grad between backward and step."""
    model.train()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    optimizer.zero_grad()
    optimizer.step()
    return loss


def makes_no_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any, loop: Loop) -> Tensor:
    """Without optimizer.step."""
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    return loss


def in_evaluation_mode(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any, loop: Loop) -> Tensor:
    """model.eval() of the first validation is never undone."""
    model.eval()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    optimizer.step()
    return loss


def climbs(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any, loop: Loop) -> Tensor:
    """Backward of minus the loss; the loss itself is logged."""
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    (-loss).backward()
    loop.seen(loss)
    optimizer.step()
    return loss


def in_bf16(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any, loop: Loop) -> Tensor:
    """The usual loop with the forward pass under autocast."""
    model.train()
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    optimizer.step()
    return loss


def in_closure(model: nn.Module, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """A closure that the optimizer calls as often as it likes, as LBFGS does."""
    model.train()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loop.loss_of(model, batch)
        loss.backward()
        loop.seen(loss)
        return loss

    return torch.as_tensor(optimizer.step(closure))


@dataclass(frozen=True, kw_only=True)
class Program:
    """One training program, not yet built.

    Attributes:
        model: makes the model, or a dict of models, after `torch.manual_seed`.
        train: makes the tensors of the training set.
        held_out: makes the tensors by which the outcome is told; the doctor never sees them.
        score: (model, held-out tensors) -> 1 for perfect, 0 for the best constant answer.
        loss: of (output, target), where a batch is (input, target).
        training_step: of (model, batch), where it is not.
        validation: makes what the loop evaluates on; None takes `held_out`; without a pair it is given to nobody.
        optimizer: makes one over the parameters, with `options`.
        options: keyword arguments of the optimizer.
        trained: which parameters of the model the optimizer is given.
        scheduler: makes one over the optimizer; stepped after each step.
        body: of the loop.
        clip: gradient-norm threshold of the loop.
        batch: examples of a batch.
        steps: of the whole run.
        shuffle: whether the loader shuffles.
        metric: what the loop reports, of a list of (output, target); accuracy as a rule; None for none.
        evaluates_in: "eval" or "train": the mode of the model when the loop evaluates.
        dtype: of model and floating-point inputs.
        collate: makes a batch of a list of examples; None stacks them into a list of tensors.
    """

    model: Callable[[], Any]
    train: Callable[[], Data]
    held_out: Callable[[], Data]
    score: Callable[[Any, Data], float]
    loss: Callable[[Any, Any], Tensor] | None = None
    training_step: Callable[[Any, Any], Tensor] | None = None
    validation: Callable[[], Data] | None = None
    optimizer: Callable[..., Any] = torch.optim.Adam
    options: Mapping[str, Any] = field(default_factory=lambda: {"lr": 2e-3})
    trained: Callable[[Any], Any] = lambda model: model.parameters()
    scheduler: Callable[[Any], Any] | None = None
    body: Body = usual
    clip: float | None = None
    batch: int = 32
    steps: int = 250
    shuffle: bool = True
    metric: Callable[[list[tuple[Tensor, Tensor]]], float] | None = None
    evaluates_in: str = "eval"
    dtype: torch.dtype = torch.float32
    collate: Callable[[list[Data]], Any] | None = None

    def loss_of(self, model: Any, batch: Any) -> Tensor:
        """The loss of a batch."""
        if self.training_step is not None:
            return self.training_step(model, batch)
        assert self.loss is not None
        return self.loss(model(batch[0]), batch[1])


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A sound program with one mistake.

    Attributes:
        what: what its author did.
        sound: the program without the mistake.
        change: the attributes of `sound` that the mistake changes.
        causes: rules, or codes of rules, that name the true cause.
    """

    what: str
    sound: Program
    change: dict[str, Any]
    causes: frozenset[str]

    @property
    def program(self) -> Program:
        """The program as it was found."""
        return dataclasses.replace(self.sound, **self.change)


def fault(sound: Program, what: str, causes: str, **change: Any) -> Fault:
    """A mistake in a sound program; causes are separated by blanks."""
    return Fault(what=what, sound=sound, change=change, causes=frozenset(causes.split()))


def but(sound: Program, **change: Any) -> Program:
    """Another sound program, which differs in some attributes."""
    return dataclasses.replace(sound, **change)


def ending(make: Callable[[], nn.Module], *last: nn.Module) -> Callable[[], nn.Module]:
    """The same model with other layers at its end."""

    def made() -> nn.Module:
        model = make()
        return nn.Sequential(*model, *last) if isinstance(model, nn.Sequential) else nn.Sequential(model, *last)

    return made


def drawn(make: Callable[[], nn.Module], draw: Callable[[nn.Module], Any]) -> Callable[[], nn.Module]:
    """The same model after a function has seen to each of its modules, as `model.apply` does."""
    return lambda: make().apply(draw)


def accuracy(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """Share of right answers over all batches."""
    right = sum(int((output.argmax(dim=1) == target).sum()) for output, target in pairs)
    return right / sum(len(target) for _, target in pairs)


def class_score(model: Callable[[Tensor], Tensor], data: Data) -> float:
    """Mean accuracy over the classes: 0 for always the same answer."""
    answers, labels = model(data[0]).argmax(dim=1), data[1]
    classes = labels.unique()
    mean = sum(float((answers[labels == c] == c).float().mean()) for c in classes) / len(classes)
    return (mean - 1 / len(classes)) / (1 - 1 / len(classes))


def explained(model: Callable[[Tensor], Tensor], data: Data) -> float:
    """Share of the variance of the targets that the outputs explain."""
    output, target = model(data[0]).flatten(), data[1].flatten()
    return 1 - float(F.mse_loss(output, target) / target.var(correction=0))
