"""Remedies for wrong initial weights: the initialisation to use, by the activations that follow. No rule."""

from collections import Counter

from trainability.doctor.as_code import as_code
from trainability.doctor.evidence import Evidence
from trainability.doctor.layer_stats import LayerStats

SIGMOIDS = {"sigmoid": "Sigmoid", "hardsigmoid": "Hardsigmoid"}


def drawn_for_signal(evidence: Evidence, layers: tuple[LayerStats, ...]) -> str:
    """Propose an initialisation that passes signal and gradient through the layers, and another activation where none can.

    A sigmoid's slope is at most 1/4, so no scale of the weights carries a gradient through many of them.

    Args:
        evidence: whose probe is asked where `layers` name no activation.
        layers: those of the finding.
    """
    known = layers if any(s.activation for s in layers) else evidence.probe.layers if evidence.probe is not None else layers
    hidden = Counter(s.activation for s in known if s.activation)
    usual = hidden.most_common(1)[0][0] if hidden else "relu"
    if usual in SIGMOIDS:
        last = [s.name for s in known if s.activation == usual]
        swap = f"torch.nn.ReLU() in place of torch.nn.{SIGMOIDS[usual]}() after {_listed(last)}"
        return f"{swap}, and torch.nn.init.kaiming_normal_(layer.weight) and zero biases in every layer"
    if usual == "tanh":
        return "torch.nn.init.xavier_normal_(layer.weight, gain=5 / 3) and zero biases in every layer"
    return "torch.nn.init.kaiming_normal_(layer.weight) and zero biases in every layer; or normalisation between them"


def drawn_each(weights: tuple[str, ...]) -> str:
    """Draw each of these weights, given by their names as `named_parameters()` has them, as code."""
    if len(weights) == 1:
        return f"torch.nn.init.kaiming_normal_({as_code(weights[0])})"
    return f"torch.nn.init.kaiming_normal_(weight) for weight in ({', '.join(map(as_code, weights))})"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (" and the others" if len(names) > 4 else "")
