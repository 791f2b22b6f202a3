"""Weight layers without an activation between: the finding of `linear_stack`. No rule."""

from collections.abc import Sequence

from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.graph_facts import Stacked

_MOST_NAMED = 6


def without_activation(pairs: Sequence[Stacked], *, is_affine: bool) -> Finding:
    """A warning where the whole model is one affine map and two of its layers are no factors of a matrix on purpose."""
    wide = [pair for pair in pairs if not pair.are_factors and pair.widths[1] >= min(pair.widths[0], pair.widths[2])]
    first = (wide or pairs)[0]
    takes = f"takes the output of {first.first} " + (
        f"with only {' and '.join(first.between)} between, which is linear in evaluation" if first.between else "directly"
    )
    return Finding(
        rule="linear_stack",
        severity="warning" if wide and is_affine else "hint",
        seen=f"layer {first.second} {takes}: without an activation between, the two are one linear layer"
        + ("; nothing in the model is nonlinear" if wide and is_affine else ""),
        measurements=(Measurement(name="such pairs", value=float(len(pairs)), threshold=0.0),),
        cause="an activation is missing between the layers",
        remedy=_remedy([pair for pair in pairs if not pair.are_factors] if wide else [first])
        if is_affine
        else f"an activation between {first.first} and {first.second}, such as torch.nn.ReLU()",
        source="own; XOR: Minsky and Papert, 1969",
        layers=tuple(dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second))),
    )


def _remedy(pairs: Sequence[Stacked]) -> str:
    if len(pairs) == 1 and not pairs[0].between:
        return f"an activation between {pairs[0].first} and {pairs[0].second}, such as torch.nn.ReLU()"
    names = [pair.first for pair in pairs]
    named = ", ".join(names[:_MOST_NAMED]) + (" and so on" if len(names) > _MOST_NAMED else "")
    is_normed = any("batch normalisation" in pair.between for pair in pairs)
    return f"torch.nn.ReLU(), or another activation, behind {named}" + (", after the batch normalisation" if is_normed else "")
