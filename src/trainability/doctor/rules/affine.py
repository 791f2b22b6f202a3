"""Weight layers without an activation between: the finding of `linear_stack`. No rule."""

from collections.abc import Sequence

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.graph_facts import Stacked
from trainability.doctor.readings import AffineWhole

_MOST_NAMED, _ENOUGH = 6, 0.25  # layers; share of the first loss


def missing_activation(evidence: Evidence) -> list[Finding]:
    """What was measured of the model as a whole; else what its trace shows."""
    facts = reading.facts(evidence)
    if facts.readings.affine is not None:
        return [_affine_as_a_whole(evidence, facts.readings.affine)]
    return [_without_activation(facts.stacked, is_affine=facts.has_nonlinearity is False)] if facts.stacked else []


def _without_activation(pairs: Sequence[Stacked], *, is_affine: bool) -> Finding:
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


def _affine_as_a_whole(evidence: Evidence, measured: AffineWhole) -> Finding:
    """The same of a model that does not bend, whatever lies between its layers; a hint where it learns all the same."""
    named = ", ".join(measured.layers[:_MOST_NAMED]) + (" and so on" if len(measured.layers) > _MOST_NAMED else "")
    return Finding(
        rule="linear_stack",
        severity="hint" if _falls_far(evidence) else "warning",
        seen=f"the model is an affine function of its input, small or large: {named} run one after the other without a "
        "nonlinear function between them",
        measurements=(
            Measurement(name="distance of the outputs from an affine function", value=measured.gap, threshold=1e-3),
            Measurement(name="what two layers do together beyond each alone", value=measured.mixed, threshold=1e-2),
        ),
        cause="an activation is missing between the layers",
        remedy=f"torch.nn.ReLU(), or another activation, on the output of each of {named} but the last, after branches are "
        "summed; if a layer takes its activation as an argument, check that one is passed",
        source="own; XOR: Minsky and Papert, 1969",
        layers=measured.layers,
    )


def _falls_far(evidence: Evidence) -> bool:
    """Whether the loss of the run, or of its rehearsal, falls to a quarter of the first: what the model can be is enough."""
    looks = evidence.rehearsal.reference if evidence.rehearsal is not None else ()
    recent, steps = reading.recent_loss(evidence), evidence.finite_steps
    if recent is not None and 0 <= recent <= _ENOUGH * reading.loss_divisor(evidence) * steps[0].loss:
        return True
    return len(looks) > 1 and 0 <= looks[-1].loss <= _ENOUGH * looks[0].loss


def _remedy(pairs: Sequence[Stacked]) -> str:
    if len(pairs) == 1 and not pairs[0].between:
        return f"an activation between {pairs[0].first} and {pairs[0].second}, such as torch.nn.ReLU()"
    names = [pair.first for pair in pairs]
    named = ", ".join(names[:_MOST_NAMED]) + (" and so on" if len(names) > _MOST_NAMED else "")
    is_normed = any("batch normalisation" in pair.between for pair in pairs)
    return f"torch.nn.ReLU(), or another activation, behind {named}" + (", after the batch normalisation" if is_normed else "")
