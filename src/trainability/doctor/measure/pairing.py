"""Which target the loss sets beside which example: in the order of the batch, in another one, or in none at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import map_parts
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.measure.workspace import set_training

_LOSSES = frozenset(
    {"cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy"}
    | {"binary_cross_entropy_with_logits", "poisson_nll_loss", "gaussian_nll_loss"}
)
_RATES = {"ExpBackward": "exp", "SoftplusBackward": "softplus", "ReluBackward": "relu"}
_FEWEST, _MOVED = 8, 0.1  # examples; share of them whose target is another's
_SAME, _CHANGED = 1e-4, 0.01  # of the gradient of the outputs


class Pairing(TorchFunctionMode):
    """Keeps what the losses of `torch.nn.functional` are given as targets.

    Attributes:
        targets: in the order of the calls.
        rates_twice: what makes the outputs, where `poisson_nll_loss` takes the exponential of what is a rate by itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[Tensor] = []
        self.rates_twice: str | None = None

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if getattr(func, "__name__", "") in _LOSSES:
            given = args[1] if len(args) > 1 else (kwargs or {}).get("target")
            if isinstance(given, Tensor) and not given.requires_grad:
                self.targets.append(given)
        if getattr(func, "__name__", "") == "poisson_nll_loss" and args:
            options = dict(zip(("log_input",), args[2:3], strict=False)) | (kwargs or {})
            made = type(args[0].grad_fn).__name__.rstrip("0123456789")
            self.rates_twice = _RATES.get(made) if options.get("log_input", True) else None
        return func(*args, **(kwargs or {}))

    def is_moved(self, seen: ForwardPass) -> bool:
        """Whether a tensor of the batch is a target in another order alone, though the model gets its input in the batch's own.

        Args:
            seen: the same pass.
        """
        given = [x for x in seen.inputs if isinstance(x, Tensor)]
        kept = any(_equal(x, t) for x in given for _, t in seen.batch)
        for _, tensor in seen.batch if kept else ():
            used = [t for t in self.targets if t.numel() == tensor.numel() == len(tensor) >= _FEWEST]
            if not used or any(_equal(x, tensor) for x in given):
                continue
            rows = tensor.flatten().double()
            orders = [t.flatten().double() for t in used]
            others = [o for o in orders if torch.equal(o.sort().values, rows.sort().values)]
            if others and all(float((o != rows).double().mean()) > _MOVED for o in others):
                return True
        return False


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a == b).all())


def unpaired(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], seen: ForwardPass) -> bool:
    """Whether the loss goes by the targets, and not by which example has which.

    Args:
        model: runs in train mode; the caller puts modes, buffers and random state back.
        batch: an input that the model is given, and a target that it is not.
        forward: of (model, batch), the loss.
        seen: the same pass.

    Returns:
        True where exchanging targets between examples leaves the gradient of the outputs as it is, and other targets do not;
        False, too, where that cannot be asked: answers that do not repeat, outputs or targets that are alike for all examples.
    """
    output, shown = seen.output, [x for x in seen.inputs if isinstance(x, Tensor)]
    given = {x.data_ptr() for x in shown}
    found = [t for _, t in seen.batch if t.data_ptr() not in given and not any(_equal(t, x) for x in shown)]
    if len(found) != 1 or len(seen.batch) != 2 or output is None or output.dim() == 0 or len(output) != len(found[0]):
        return False
    target, rows = found[0], output.detach().float()
    if len(target) < _FEWEST or float((rows - rows.mean(dim=0)).abs().max()) < 0.05 * float(rows.abs().max()):
        return False
    rolled = target.roll(len(target) // 2, dims=0)
    if float((rolled != target).float().mean()) < _MOVED:
        return False
    alike = target[:1].expand_as(target)

    def ask(other: Tensor) -> Tensor | None:
        def change(part: Any) -> Any:
            return other if part is target else part if isinstance(part, Tensor) else map_parts(part, change)

        set_training(model, True)
        looked = ForwardPass(model, change(batch))
        with torch.enable_grad(), randomness_restored(), looked:
            torch.manual_seed(0)
            loss = forward(model, change(batch)).sum()
        if looked.output is None or not looked.output.requires_grad:
            return None
        return torch.autograd.grad(loss, looked.output, allow_unused=True)[0]

    own, again, exchanged, constant = (ask(other) for other in (target, target, rolled, alike))
    if own is None or again is None or exchanged is None or constant is None or not torch.equal(own, again):
        return False
    size = float(own.norm())
    return float((exchanged - own).norm()) <= _SAME * size and float((constant - own).norm()) > _CHANGED * size


def pairing_facts(
    model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], seen: ForwardPass, pairing: Pairing
) -> dict[str, Any]:
    """Fields of `Facts` about which target is set beside which example; see `Pairing.is_moved` and `unpaired`."""
    return {
        "rates_twice": pairing.rates_twice,
        "moved_targets": pairing.is_moved(seen),
        "unpaired": unpaired(model, batch, forward, seen),
    }
