"""One step of a loop that is known as a whole only, or trains several models: what its body sets against what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import are_views_of_one, tensors, to_device
from trainability.doctor.measure.chances import Chances
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.forward_pass import ELEMENTWISE
from trainability.doctor.measure.index_goals import IndexGoals
from trainability.doctor.measure.judged_range import JudgedRange
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.measure.nested import modules, optimizers, players
from trainability.doctor.measure.put_back import put_back, variables_put_back
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.uses import reaches, used_by


def _who_plays(twins: Any, steppers: Any) -> list[nn.Module]:
    """The models of a body; of one that several optimizers train, its parts, and of containers what they hold."""
    if isinstance(twins, nn.Module) and len(optimizers(steppers)) > 1:
        return players(twins)
    containers = (nn.ModuleDict, nn.ModuleList)
    return [part for each in modules(twins) for part in (each.children() if isinstance(each, containers) else [each])]


class _Columns(TorchFunctionMode):
    """A column (n, 1), as a model returned it, that is set against a row (n,) and so against every entry of it."""

    def __init__(self, models: list[nn.Module]) -> None:
        super().__init__()
        self.models, self.handles = models, []
        self.returned: dict[int, Tensor] = {}
        self.pair: tuple[Tensor, Tensor] | None = None

    def __enter__(self) -> _Columns:
        self.handles = [model.register_forward_hook(LeftBehind(self._on_output)) for model in self.models]
        super().__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        super().__exit__(*details)
        for handle in self.handles:
            handle.remove()

    def _on_output(self, module: nn.Module, args: Any, output: Any) -> None:
        self.returned |= {id(t): t for _, t in tensors(output) if t.dim() == 2 and t.shape[1] == 1 < len(t)}

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if self.pair is None and getattr(func, "__name__", "").strip("_") in ELEMENTWISE:
            a, b = (*(item for item in args if isinstance(item, Tensor)), None, None)[:2]
            for output, target in ((a, b), (b, a)):
                if output is None or target is None or id(output) not in self.returned or target.shape != (len(output),):
                    continue
                if not are_views_of_one(output, target):  # a model's own outputs in pairs
                    self.pair = (output, target)
        return func(*args, **(kwargs or {}))


def look_at_body(
    model: Any, optimizer: Any, step: Callable[[Any, Any, Any], Any], batches: Iterable[Any]
) -> dict[str, Any] | None:
    """Take one step on copies.

    Args:
        model: one, or a dict, tuple or list of several.
        optimizer: likewise.
        step: of (model, optimizer, batch): the loop's whole body.
        batches: of the training loader.

    Returns:
        Fields of `Facts`: shapes that are broadcast, a reward whose outcomes become less likely, targets made from indices, and
        data beyond the range of what is made in their place;
        None if the body refers to its own models, so that no copy can be stepped.
    """
    if reaches(step, model, optimizer):
        return None
    twins, steppers = copied(model, optimizer)
    device = next((p.device for part in modules(twins) for p in part.parameters()), torch.device("cpu"))
    columns, chances, goals = _Columns(modules(twins)), Chances(), IndexGoals()
    judged = JudgedRange(_who_plays(twins, steppers))
    guarded = put_back(*used_by(step)), variables_put_back(step)
    with randomness_restored(), generators_restored(batches), guarded[0], guarded[1], torch.enable_grad():
        batch = to_device(next(iter(batches)), device)
        with columns, chances, goals, judged:
            step(twins, steppers, batch)
    found: dict[str, Any] = {"index_goals": goals.found, **chances.facts()}
    found |= {"judged_outside": judged.outside()}
    if columns.pair is not None:
        shapes = [tuple(tensor.shape) for tensor in columns.pair]
        found |= dict(zip(("output_shape", "target_shape"), shapes, strict=True))
        found["broadcast_shape"] = tuple(torch.broadcast_shapes(*shapes))
    return found
