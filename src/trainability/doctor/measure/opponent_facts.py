"""Models that play against each other: whether anything limits a Wasserstein critic, and whether the noise is ever new."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import tensors
from trainability.doctor.measure.derivatives import Derivatives
from trainability.doctor.measure.graph import behind_views
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.measure.nested import optimizers, players
from trainability.doctor.measure.nodes import call_of
from trainability.doctor.measure.opponents import watched
from trainability.doctor.measure.randomness import generators_restored

_FEWEST = 5  # steps of the critic, and runs of the body
_SAME = 1e-3  # of a slope
_FLAT = 0.1  # slope at answers that the critic is sure of, as a share of that at the other end
_WRITES_NOTHING = frozenset({"requires_grad_", "detach_"})
_BOUNDED = ("Sigmoid", "Tanh", "Softmax", "LogSoftmax", "LogSigmoid", "Hardtanh", "Div")  # last functions; Div: normalised


class _Limits(TorchFunctionMode):
    """What limits each model: weights that the loop writes to, a layer that is normalised, a bounded last function.

    Attributes:
        limited: places of the models of which something was seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.limited: set[int] = set()
        self._owner: dict[int, int] = {}  # of a parameter's storage
        self._is_aside = False

    def listen(self, parts: list[nn.Module], steppers: list[torch.optim.Optimizer]) -> list[Any]:
        """Hooks on models and optimizers."""
        handles: list[Any] = []
        for k, part in enumerate(parts):
            self._owner |= {p.data_ptr(): k for p in part.parameters()}
            if any(_is_normalised(module) for module in part.modules()):
                self.limited.add(k)
            handles.append(part.register_forward_hook(LeftBehind(self._on_call(k))))
        for optimizer in steppers:
            held = {id(p) for group in optimizer.param_groups for p in group["params"]}
            if any(group.get("weight_decay") for group in optimizer.param_groups):
                self.limited.update(k for k, part in enumerate(parts) if any(id(p) in held for p in part.parameters()))
            handles.append(optimizer.register_step_pre_hook(lambda *_: self._set_aside(True)))
            handles.append(optimizer.register_step_post_hook(lambda *_: self._set_aside(False)))
        return handles

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = getattr(func, "__name__", "")
        is_written = name == "__setitem__" or (name.endswith("_") and not name.endswith("__") and name not in _WRITES_NOTHING)
        if is_written and not self._is_aside:
            with torch._C.DisableTorchFunction():
                first = args[0] if args and isinstance(args[0], tuple | list) else args[:1]
                found = [t.data_ptr() for t in first if isinstance(t, Tensor)]
                self.limited |= {self._owner[key] for key in found if key in self._owner}  # whether or not a number changes
        return func(*args, **(kwargs or {}))

    def _set_aside(self, is_aside: bool) -> None:
        self._is_aside = is_aside

    def _on_call(self, k: int) -> Callable[..., None]:
        def called(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.grad_fn is not None and call_of(behind_views(output.grad_fn)) in _BOUNDED:
                self.limited.add(k)

        return called


class _Noises:
    """What each model is given in each run of the body."""

    def __init__(self) -> None:
        self._batch: list[Tensor] = []
        self._run = 0
        self._given: dict[int, tuple[int, list[Tensor]]] = {}  # at the first call of the first run
        self._runs: dict[int, set[int]] = {}
        self._changes: set[int] = set()

    def following(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches, one for each run of the body."""
        for batch in batches:
            self._run += 1
            self._batch = [tensor for _, tensor in tensors(batch)]
            yield batch

    def listen(self, parts: list[nn.Module]) -> list[Any]:
        """Hooks on the models."""
        return [part.register_forward_hook(LeftBehind(self._on_call(k)), with_kwargs=True) for k, part in enumerate(parts)]

    def _on_call(self, k: int) -> Callable[..., None]:
        def called(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            given = [tensor for _, tensor in tensors((args, kwargs))]
            if any(tensor.requires_grad or self._is_of_batch(tensor) for tensor in given):
                self._changes.add(k)
                return
            self._runs.setdefault(k, set()).add(self._run)
            run, known = self._given.setdefault(k, (self._run, [tensor.detach().clone() for tensor in given]))
            if run != self._run and not (len(known) == len(given) and all(map(torch.equal, known, given))):
                self._changes.add(k)

        return called

    def _is_of_batch(self, tensor: Tensor) -> bool:
        flat = tensor.detach().flatten().cpu()
        return any(t.numel() == flat.numel() and torch.equal(t.flatten().cpu().to(flat.dtype), flat) for t in self._batch)

    def are_fixed(self, k: int) -> bool:
        """Whether a model was given the same numbers in several runs, rows of them that differ, and nothing of a batch."""
        _, given = self._given.get(k, (0, []))
        first = next((t for t in given if t.dim() > 1 and t.is_floating_point() and len(t) > 1), None)
        is_repeated = k not in self._changes and len(self._runs.get(k, ())) >= _FEWEST
        return is_repeated and first is not None and bool((first != first[:1]).any())


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
        The critic and the generator (places among the models). `unlimited_critic`: the slope of the critic's loss is the same
        at all answers to what the generator makes, small and large, and the generator wants the opposite; no gradient goes
        through a derivative, nothing but its optimizer writes to the critic's weights, without decay, none of its layers is
        parametrised, and its answers are not bounded. `fixed_noise`: the generator is given the same numbers in five runs of
        the body and more, which are none of the batch's. `flat_where_sure`: the generator's loss wants of all answers the
        opposite of what the critic's wants, and its slope in what a sigmoid makes the answers of is a tenth and less, where
        the critic is sure, of what it is where the critic is deceived. `undone`: at each of five steps of the critic's
        optimizer and more, the critic's gradients are the sum of those of two losses that want opposite answers to the same
        outputs of the generator, and one of them gives the generator a gradient. None elsewhere.
    """
    found: dict[str, tuple[int, ...] | None] = dict.fromkeys(("unlimited_critic", "fixed_noise", "flat_where_sure", "undone"))
    if len(optimizers(optimizer)) < 2 or len(players(model)) < 2:
        return found
    limits, noises, derivatives = _Limits(), _Noises(), Derivatives()
    with generators_restored(batches), derivatives, limits:
        followed = noises.following(batches)
        watch = watched(model, optimizer, step, followed, listen=lambda *of: [*limits.listen(*of), *noises.listen(of[0])])
    if watch is None:
        return found
    found["undone"] = next((pair for pair, seen in watch.undone.items() if len(seen) >= _FEWEST and all(seen)), None)
    for pair, slopes in watch.judged.items():
        asked = watch.asked.get(pair, [])
        if len(slopes) < _FEWEST or not asked:
            continue
        signs = {_sign_of_a_line(slope) for slope in slopes}, {_sign_of_a_line(slope) for slope in asked}
        is_line = signs in (({1.0}, {-1.0}), ({-1.0}, {1.0}))
        if is_line and pair[0] not in limits.limited and not derivatives.came_back:
            found["unlimited_critic"] = pair
        if noises.are_fixed(pair[1]):
            found["fixed_noise"] = pair
        of_logits = watch.slopes_of_logits(pair, slopes), watch.slopes_of_logits(pair, asked)
        is_shown = pair[0] in watch.shown_data  # what is real; two domains of one encoder are both made
        if is_shown and len(asked) >= _FEWEST and all(_is_flat_where_sure(*each) for each in zip(*of_logits, strict=False)):
            found["flat_where_sure"] = pair
    return found


def _is_flat_where_sure(wanted: Tensor, asked: Tensor) -> bool:
    """Whether the generator's slope dies away at the end where the critic's loss wants the answers to be.

    Args:
        wanted: the slopes of the critic's loss, from the least answer to the largest.
        asked: those of the generator's.
    """
    signs = set(wanted.sign().tolist()), set(asked.sign().tolist())
    if signs not in (({1.0}, {-1.0}), ({-1.0}, {1.0})):
        return False
    sure, deceived = (asked[0], asked[-1]) if signs[0] == {1.0} else (asked[-1], asked[0])
    return float(sure.abs()) < _FLAT * float(deceived.abs())


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
