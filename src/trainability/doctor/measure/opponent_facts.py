"""Models that play against each other: whether anything limits a Wasserstein critic, and whether the noise is ever new."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.derivatives import Derivatives
from trainability.doctor.measure.graph import behind_views
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.measure.nested import optimizers, players
from trainability.doctor.measure.nodes import call_of
from trainability.doctor.measure.opponents import watched

_FEWEST = 5  # steps of the critic
_SAME = 1e-3  # of a slope
_BOUNDED = ("Sigmoid", "Tanh", "Softmax", "LogSoftmax", "LogSigmoid", "Hardtanh", "Div")  # last functions; Div: normalised


class _Limits:
    """What limits each model: weights that are written between its steps, a layer that is normalised, a bounded answer.

    Attributes:
        limited: places of the models of which something was seen.
    """

    def __init__(self) -> None:
        self.limited: set[int] = set()
        self._left: dict[int, list[Tensor]] = {}

    def listen(self, parts: list[nn.Module], steppers: list[torch.optim.Optimizer]) -> list[Any]:
        """Hooks on models and optimizers."""
        handles: list[Any] = []
        for k, part in enumerate(parts):
            if any(module is not part and _is_normalised(module) for module in part.modules()) or _is_normalised(part):
                self.limited.add(k)
            handles.append(part.register_forward_hook(LeftBehind(self._on_call(k))))
        for optimizer in steppers:
            held = {id(p) for group in optimizer.param_groups for p in group["params"]}
            own = [k for k, part in enumerate(parts) if any(id(p) in held for p in part.parameters())]
            if any(group.get("weight_decay") for group in optimizer.param_groups):
                self.limited.update(own)
            handles.append(optimizer.register_step_post_hook(self._on_step(own, parts)))
        return handles

    def _on_step(self, own: list[int], parts: list[nn.Module]) -> Callable[..., None]:
        def stepped(*rest: Any) -> None:
            for k in own:
                self._left[k] = [p.detach().clone() for p in parts[k].parameters()]

        return stepped

    def _on_call(self, k: int) -> Callable[..., None]:
        def called(module: nn.Module, args: Any, output: Any) -> None:
            left = self._left.pop(k, None)
            if left is not None and any(not torch.equal(a, b) for a, b in zip(left, module.parameters(), strict=True)):
                self.limited.add(k)
            if isinstance(output, Tensor) and output.grad_fn is not None and call_of(behind_views(output.grad_fn)) in _BOUNDED:
                self.limited.add(k)

        return called


class _Noises:
    """What each model is given in each run of the body."""

    def __init__(self) -> None:
        self._given: dict[int, list[Tensor]] = {}
        self._changes: set[int] = set()

    def listen(self, parts: list[nn.Module]) -> list[Any]:
        """Hooks on the models."""
        return [part.register_forward_hook(LeftBehind(self._on_call(k)), with_kwargs=True) for k, part in enumerate(parts)]

    def _on_call(self, k: int) -> Callable[..., None]:
        def called(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            given = [tensor.detach() for _, tensor in tensors((args, kwargs))]
            known = self._given.setdefault(k, [tensor.clone() for tensor in given])
            same = len(known) == len(given) and all(torch.equal(a, b) for a, b in zip(known, given, strict=True))
            if not same or any(tensor.requires_grad for _, tensor in tensors((args, kwargs))):
                self._changes.add(k)

        return called

    def are_fixed(self, k: int) -> bool:
        """Whether a model was given the same numbers at each call, several rows of them that differ."""
        first = next((t for t in self._given.get(k, ()) if t.dim() > 1 and t.is_floating_point() and len(t) > 1), None)
        return k not in self._changes and first is not None and bool((first != first[:1]).any())


def facts_of_opponents(
    model: Any, optimizer: Any, step: Callable[[Any, Any, Any], Any], batches: Iterable[Any]
) -> dict[str, tuple[int, ...] | None]:
    """Take some steps on copies, and look at a critic and at what the model that it judges is given.

    Args:
        model: a dict, tuple or list of several, or one that holds them.
        optimizer: likewise.
        step: of (model, optimizer, batch): the loop's whole body.
        batches: of the training loader.

    Returns:
        The judge and the maker (places among the models). `unlimited_critic`: the slope of the judge's loss is the same at all
        answers to what the maker makes, small and large, and the maker wants the opposite; no derivative is taken for a graph,
        the judge's weights are those that its optimizer left, without decay, none of its layers is parametrised, and its
        answers are not bounded. `fixed_noise`: the maker is given the same numbers in every run of the body, and the judge is
        given others. None elsewhere.
    """
    found: dict[str, tuple[int, ...] | None] = {"unlimited_critic": None, "fixed_noise": None}
    if len(optimizers(optimizer)) < 2 or len(players(model)) < 2:
        return found
    limits, noises, derivatives = _Limits(), _Noises(), Derivatives()
    with derivatives:
        watch = watched(model, optimizer, step, batches, listen=lambda *of: [*limits.listen(*of), *noises.listen(of[0])])
    if watch is None:
        return found
    for pair, slopes in watch.judged.items():
        asked = watch.asked.get(pair, [])
        if len(slopes) < _FEWEST or not asked:
            continue
        signs = {_sign_of_a_line(slope) for slope in slopes}, {_sign_of_a_line(slope) for slope in asked}
        is_line = signs in (({1.0}, {-1.0}), ({-1.0}, {1.0}))
        if is_line and pair[0] not in limits.limited and not derivatives.with_graph:
            found["unlimited_critic"] = pair
        if noises.are_fixed(pair[1]) and not noises.are_fixed(pair[0]):
            found["fixed_noise"] = pair
    return found


def _sign_of_a_line(slope: Tensor) -> float | None:
    """The sign of slopes that are all the same, wherever the answers are; None of others."""
    mean = float(slope.mean())
    if mean == 0 or float((slope - mean).abs().max()) > _SAME * abs(mean):
        return None
    return 1.0 if mean > 0 else -1.0


def _is_normalised(module: nn.Module) -> bool:
    """Whether a weight is computed from others at each call: spectral norm, weight norm, a parametrization."""
    made = any(isinstance(value, Tensor) and not isinstance(value, nn.Parameter) for value in vars(module).values())
    return hasattr(module, "parametrizations") or made
