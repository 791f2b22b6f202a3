"""A copy of a program that an intervention may change, and its steps."""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import batch_size, cloned, first_tensor, to_device
from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.loop import Loop
from trainability.doctor.measure.nested import modules, optimizers
from trainability.doctor.measure.randomness import random_state, randomness_restored, set_random_state
from trainability.doctor.measure.workspace import set_training
from trainability.doctor.rehearsed import Task

COLLAPSED = 1e-3  # spread of the outputs over their size: below, no answer depends on the input


@dataclass(kw_only=True)
class Variant:
    """A copy of a program. An intervention changes its fields, and what they hold, in place.

    Attributes:
        model: one, or a structure of several.
        optimizer: likewise; None where the body of the loop has its own.
        scheduler: stepped after each step, or None.
        loss_fn: of (output, target), or None.
        training_step: of (model, batch), or None.
        step: of (model, optimizer, batch): the whole body, or None.
        clip: gradient-norm threshold, or None.
        batches: as the loop gets them; used in turn, again from the first where they do not suffice.
        reference: the fixed batch.
        judge: of (model, batch): the loss on the reference where it is not the loss that is trained on, so that it stays
            comparable with that of the program as it is.
        task: recognised in the program as it is.
        output: of the program as it is on the reference, before the first step; None where it is not one tensor.
        evidence: what was seen before.
        seed: of random draws that an intervention makes.
        evaluates: whether it is looked at in evaluation mode, and not in training mode.
        others: schedulers, scalers and the like that the body uses by itself.
        in_place: model and optimizer are somebody's own, put back afterwards.
        split: places, in the batches, of examples to train on and of others to judge by; () where there are too few, None where
            nobody has looked for them.
        closing: closed when the variant has had its steps.
    """

    model: Any
    optimizer: Any
    scheduler: Any
    loss_fn: Callable[[Any, Any], Tensor] | None
    training_step: Callable[[Any, Any], Any] | None
    step: Callable[[Any, Any, Any], Any] | None
    clip: float | None
    batches: Sequence[Any]
    reference: Any
    judge: Callable[[Any, Any], Any] | None = None
    task: Task = field(default_factory=Task)
    output: Tensor | None = None
    evidence: Evidence = field(default_factory=Evidence)
    seed: int = 0
    evaluates: bool = True
    others: tuple[Any, ...] = ()
    in_place: bool = False
    split: tuple[Tensor, Tensor] | tuple[()] | None = None
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def parts(self) -> list[nn.Module]:
        """Every module of every model."""
        return [module for model in modules(self.model) for module in model.modules()]

    @property
    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Plain optimizers."""
        return optimizers(self.optimizer)

    @property
    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of all optimizers."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Parameters of every model."""
        return [parameter for model in modules(self.model) for parameter in model.parameters()]

    @property
    def is_plain(self) -> bool:
        """Whether a step is `loss_fn` on batches (input, ..., target)."""
        return self.step is None and self.training_step is None and self.loss_fn is not None

    def generator(self) -> torch.Generator:
        """For what an intervention draws."""
        return torch.Generator().manual_seed(1000 + self.seed)

    def loop(self) -> Loop:
        """The loop as it stands."""
        return Loop(
            self.model,
            self.optimizer,
            self.scheduler,
            loss_fn=self.loss_fn,
            training_step=self.training_step,
            step=self.step,
            clip=self.clip,
            others=self.others,
        )


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the steps of a variant showed.

    Attributes:
        curve: steps and the loss on the reference after them.
        outputs_vary: whether the model's output differs between the examples of the reference at the end; None if not seen.
        step_seconds: mean time of one step, looks included.
    """

    curve: tuple[tuple[int, float], ...]
    outputs_vary: bool | None
    step_seconds: float


def run(variant: Variant, steps: int, *, deadline: float = math.inf, every: int = 15) -> Run:
    """Steps a variant and looks at the reference loss.

    Args:
        variant: as its intervention left it; its models are put into training mode unless `step` is its own.
        steps: at most as many; fewer where the loss is not finite.
        deadline: of `time.monotonic`; no further step begins after it.
        every: steps between two looks; there is one before the first step and one after the last, too.

    Returns:
        The curve.
    """
    loop = variant.loop()
    state = random_state()
    reference = to_device(variant.reference, loop.device)
    if loop.step is None:
        for model in loop.models:
            set_training(model, True)
    seen: list[Tensor | None] = [None]
    handles = [
        model.register_forward_hook(lambda module, args, output: seen.__setitem__(0, first_tensor(output)))
        for model in loop.models[:1]
    ]
    began = time.monotonic()
    try:
        with torch.enable_grad():
            curve = [(0, look(variant, loop, reference, state))]
            loss: float | None = None
            for number in range(1, steps + 1):
                loss = loop.run(to_device(cloned(variant.batches[(number - 1) % len(variant.batches)]), loop.device))
                ends = number == steps or time.monotonic() > deadline or (loss is not None and not math.isfinite(loss))
                if number % every == 0 or ends:
                    curve.append((number, look(variant, loop, reference, state)))
                if ends or not math.isfinite(curve[-1][1]):
                    break
            if loss is not None and not math.isfinite(loss):
                curve[-1] = (curve[-1][0], math.inf)
    finally:
        for handle in handles:
            handle.remove()
    return Run(
        curve=tuple(curve),
        outputs_vary=_vary(seen[0], batch_size(reference)) if len(loop.models) == 1 else None,
        step_seconds=(time.monotonic() - began) / max(curve[-1][0], 1),
    )


def look(variant: Variant, loop: Loop, reference: Any, state: dict[str, Any]) -> float:
    """The loss on the reference with the same random numbers, in the mode of the variant unless a whole body sets its own."""
    modes = [(module, module.training) for model in loop.models for module in model.modules()]
    own = loop.forward_only
    with randomness_restored():
        set_random_state(state)
        try:
            if loop.step is None:
                for model in loop.models:
                    set_training(model, not variant.evaluates)
            if variant.judge is not None:
                loop.forward_only = variant.judge
            return float(loop.loss(cloned(reference), afresh=True))
        finally:
            loop.forward_only = own
            for module, training in modes:
                module.training = training


def _vary(output: Tensor | None, size: int | None) -> bool | None:
    if output is None or not output.is_floating_point() or output.dim() == 0 or len(output) < 2 or len(output) != size:
        return None
    values = output.detach().double()
    spread = float(values.std(dim=0, correction=0).square().mean().sqrt())
    return spread > COLLAPSED * max(float(values.square().mean().sqrt()), 1e-30)
