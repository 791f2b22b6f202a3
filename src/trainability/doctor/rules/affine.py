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
    wide = [p for p in facts.stacked if not p.are_factors and p.widths[1] >= min(p.widths[0], p.widths[2])]
    return [_without_activation(evidence, wide)] if wide else []


def _without_activation(evidence: Evidence, pairs: Sequence[Stacked]) -> Finding:
    """Pairs that are no factors of a matrix on purpose.

    A warning where nothing in the model, or behind its embeddings, bends but pooling, three layers follow each other, or an
    identity stands between two; a hint where it learns far all the same, where the targets are linear, and for a pair alone,
    which may be a projection behind another.
    """
    facts, first = reading.facts(evidence), pairs[0]
    nothing_bends = facts.has_nonlinearity is False
    chain = next(((p, q) for p in pairs for q in pairs if p.second == q.first), None)
    first = first if chain is not None else next((pair for pair in pairs if pair.is_idle), first)
    takes = f"takes the output of {first.first} " + (
        f"with only {' and '.join(first.between)} between, which is linear in evaluation" if first.between else "directly"
    )
    told = f"; nothing {'behind the embeddings' if facts.looks_up else 'in the model'} is nonlinear" if nothing_bends else ""
    if facts.readings.only_pools:
        told = "; nothing in the model is nonlinear but max pooling"
    elif chain is not None and not nothing_bends:
        told = f", and {chain[1].second} follows {chain[0].second} in the same way"
    elif any(pair.is_idle for pair in pairs) and not nothing_bends:
        told = "; an nn.Identity stands between them, as in the place of an activation"
    # Sums over tables may be all that the targets ask for, as of a bag of words.
    may_be_meant = not nothing_bends or facts.looks_up
    is_meant = (may_be_meant and (not told or _falls_far(evidence))) or facts.readings.told_by_a_line
    return Finding(
        rule="linear_stack",
        severity="hint" if is_meant else "warning",
        seen=f"layer {first.second} {takes}: without an activation between, the two are one linear layer{told}",
        measurements=(
            Measurement(name="pairs of linear layers without an activation between", value=float(len(pairs)), threshold=0.0),
        ),
        cause="an activation is missing between the layers",
        remedy=_remedy(pairs),
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
