"""Parameters that will not be trained, and the layers of a loss among them. No rule."""

from collections.abc import Sequence

from trainability.doctor.finding import Finding, Measurement, Severity

_LAYERS = frozenset(
    {
        *("Linear", "Bilinear", "Embedding", "EmbeddingBag", "MultiheadAttention", "PReLU"),
        *("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"),
        *("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"),
        *("LayerNorm", "GroupNorm", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "RMSNorm"),
    }
)


def of_criterion(names: tuple[str, ...]) -> list[Finding]:
    """Parameters of the loss itself, which `model.parameters()` does not have."""
    if not names:
        return []
    kind = names[0].partition(".")[0]
    if kind in _LAYERS:
        remedy = f"self.layer = torch.nn.{kind}(...) in the model's __init__, before the optimizer is created from "
        remedy += "model.parameters(); or pass the layer's parameters to the optimizer as well"
        cause = f"a torch.nn.{kind} that is no part of the model takes part in the loss, and no optimizer holds it"
    else:
        remedy = "pass the loss's parameters to the optimizer as well: [*model.parameters(), *criterion.parameters()]"
        cause = "the loss is a module with parameters of its own, and the optimizer was given the model's alone"
    return [untrained("unmanaged", names, len(names), cause=cause, remedy=remedy)]


def untrained(
    word: str,
    names: tuple[str, ...],
    count: int,
    *,
    cause: str,
    remedy: str,
    severity: Severity = "warning",
    shown: Sequence[str] = (),
    explains: tuple[str, ...] = (),
) -> Finding:
    """The finding on parameters that stay as they are.

    Args:
        word: the finding's code, behind the rule's name.
        names: of the parameters or layers.
        count: of what the word counts: parameters, or sampled steps.
        cause: why they stay.
        remedy: what trains them.
        severity: of the finding.
        shown: what they are called, where that is not their name.
        explains: findings that are symptoms of it.
    """
    shown = shown or names
    units = {"unmanaged": "parameters in no optimizer", "frozen": "parameters with requires_grad=False"}
    unit = units.get(word, "sampled steps without a change")
    return Finding(
        rule="untrained_parameter",
        code=f"untrained_parameter.{word}",
        severity=severity,
        seen=f"{', '.join(shown[:4])}{' and more' if len(shown) > 4 else ''} will not be trained",
        measurements=(Measurement(name=unit, value=float(count), threshold=0.0),),
        cause=cause,
        remedy=remedy,
        source="SageMaker Debugger; torchtest 2",
        layers=names,
        explains=explains,
    )
