"""Models that are asked for their own input, and wide enough everywhere to hand it through."""

from __future__ import annotations

from torch import Tensor, nn

from trainability.doctor.measure.forward_pass import ForwardPass

_BESIDE = (nn.Linear, nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.ELU, nn.SELU, nn.Mish, nn.Softplus, nn.Identity)
_BESIDE += (nn.Sequential, nn.LayerNorm)


def can_copy(model: nn.Module, seen: ForwardPass) -> bool:
    """Whether the loss holds the answer against the model's own input, and no layer is narrower than that.

    Args:
        model: of linear layers and functions behind them alone, which hand everything on that they are given: nothing is
            dropped, drawn or masked.
        seen: its pass.
    """
    given = seen.inputs[0] if len(seen.inputs) == 1 else None
    if not isinstance(given, Tensor) or given.dim() != 2 or seen.against is None:
        return False
    target = seen.against[1]
    if target.shape != given.shape or not bool((target == given).all()) or seen.against[0].shape != given.shape:
        return False
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    plain = all(type(module) in _BESIDE for module in model.modules())
    return plain and len(layers) > 1 and all(layer.out_features >= given.shape[1] for layer in layers)
