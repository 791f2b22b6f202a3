"""What a model trains, layer by layer: every module that owns a weight of two or more dimensions, or normalises."""

from dataclasses import dataclass

from torch import Tensor, nn

from trainability.doctor.theory.signal import layer_kind

_WEIGHTS = ("weight", "weight_orig", "weight_v")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A module and the weights that are trained in it.

    Attributes:
        module: whose output is the layer's.
        kind: as in `LayerStats`.
        weights: by the name of their row: the layer's own name for its one weight, or its main one; the parameter's full name
            for the others.
    """

    module: nn.Module
    kind: str
    weights: dict[str, Tensor]


def shown_name(row: str, layer: Layer) -> str:
    """Name of a row in the evidence.

    The model itself has an empty name in `named_modules()`: its row takes the name of its one weight, or "(model)".
    """
    if row:
        return row
    parameters = layer.module._parameters.items()
    own = [key for key, value in parameters if any(value is weight for weight in layer.weights.values())]
    return own[0] if len(own) == 1 else "(model)"


def layers_of(model: nn.Module) -> dict[str, Layer]:
    """Layers by the name that `named_modules()` gives them, in that order.

    A weight that a parametrisation computes is not read, since reading may change it (spectral norm iterates): watched is
    what is trained, `weight_orig`, `weight_v` or `parametrizations.weight.original`, under the name of the layer.
    """
    found = {}
    for name, module in model.named_modules():
        if type(module).__name__ == "ParametrizationList":
            continue
        kind = layer_kind(module)
        own = _trained(module, vectors=kind is not None)
        if kind == "norm":
            own = {key: value for key, value in own.items() if key in _WEIGHTS}
        if own or kind is not None:
            found[name] = Layer(module=module, kind=kind or _other_kind(module, own), weights=_rows(name, own))
    return found


def _trained(module: nn.Module, *, vectors: bool) -> dict[str, Tensor]:
    """Parameters of a module itself and of its parametrisations that are initialised; of vectors only weights."""
    own = {key: value for key, value in module._parameters.items() if value is not None}
    parametrised = getattr(module, "parametrizations", None)
    if isinstance(parametrised, nn.ModuleDict):
        for target, parts in parametrised.items():
            own |= {f"parametrizations.{target}.{key}": p for key, p in parts._parameters.items() if p is not None}
    return {
        key: value
        for key, value in own.items()
        if not nn.parameter.is_lazy(value) and (value.dim() >= 2 or (vectors and key in _WEIGHTS))
    }


def _rows(layer: str, own: dict[str, Tensor]) -> dict[str, Tensor]:
    main = next((key for key in own if _is_main(key)), next(iter(own)) if len(own) == 1 else None)
    prefix = f"{layer}." if layer else ""
    return {layer if key == main else prefix + key: value for key, value in own.items()}


def _is_main(key: str) -> bool:
    return key in _WEIGHTS or key in ("parametrizations.weight.original", "parametrizations.weight.original1")


def _other_kind(module: nn.Module, own: dict[str, Tensor]) -> str:
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return "recurrent"
    if isinstance(module, nn.MultiheadAttention):
        return "attention"
    return "other" if any(_is_main(key) for key in own) else "parameter"
