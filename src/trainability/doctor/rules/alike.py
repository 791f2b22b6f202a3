"""Units of a layer, or modules, that are copies of each other; weights of zero that no gradient moves."""

import statistics

from trainability.doctor import reading
from trainability.doctor.as_code import as_code
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.drawing import drawn_each
from trainability.doctor.rules.flat import held_outputs
from trainability.doctor.rules.parameters import SYMPTOMS
from trainability.doctor.rules.rule import rule

_FEWEST_STEPS, _FEWEST_SAMPLES = 20, 3


@rule(
    severities=("error", "warning", "hint"),
    verdict="dead",
    explains=(
        *(*SYMPTOMS, "untrained_parameter", "dead_units", "unmoved_parameter", "zero_gradient", "flat_loss"),
        *("exploding_gradient", "loss_at_start", "gain_budget_high", "constant_as_good"),
    ),
)
def identical_units(evidence: Evidence) -> list[Finding]:
    """All units of a layer have the same weights and gradients, so they stay the same.

    Fires: the rows of a weight are alike to 1e-4 of the largest, and so are the rows of its gradient. Zeros count only where
        no weight of the model has a gradient; of weights that are of no layer of PyTorch's, those with rows of one number
        never do, nor those with a gradient of zero, unless no weight has another. Three warnings. Code `nearly`: in half of
        the linear layers and convolutions, at least two, every weight is the same number other than 0, within a tenth of it;
        a hint where the weights of all but one differ by more after the rehearsed steps, or after 20 watched ones and later,
        while the loss falls. In a watched run it is not said before. Code `modules`: in a model without dropout, sibling
        modules have the same weights and the same gradient; or one module has several numbered places in a list, is given the
        same input at each and gives the same answer, and the loss is the same whichever answer is moved, or all are joined by
        one cat or stack with no product of matrices behind. Code `zeros`: weights are zero, their gradient is exactly zero,
        and 20 rehearsed steps or three sampled ones leave them so; an error where no weight matrix of the model has a
        gradient.
    Why: equal units get equal updates for ever: a layer of 100 acts as a layer of one. The gradient is compared too, because a
        zero or constant last layer is healthy: its labels tell its units apart. Units that are nearly equal take long to
        differ, and their outputs add up: a layer multiplies the mean of its input by its fan-in. A factor that is multiplied by
        zero has no gradient: where two tables of zeros are multiplied, neither ever moves.
    What fools it: nothing known at the start; a layer whose units a regulariser makes equal.
    Fix: draw the weights at random: torch.nn.init.kaiming_normal_(layer.weight).
    Source: Goodfellow et al., Deep Learning, 2016, section 8.4 (initial parameters must break symmetry).
    """
    facts = reading.facts(evidence)
    equal, near = facts.identical_units, facts.near_constant
    if held_outputs(evidence):
        return []  # a limit behind all weights makes every gradient zero, so all are equal
    if facts.no_weight_moves and _gets_going(evidence, equal):
        equal = ()  # gradients of zero are all equal, and the later ones may not be
    zeros = _zeros_that_stay(evidence)
    if not equal and (len(near) < 2 or _is_early(evidence)):
        return _alike_modules(evidence) or zeros
    weights = tuple(dict.fromkeys((*equal, *(f"{name}.weight" for name in near))))
    names = tuple(name.removesuffix(".weight") for name in weights)
    if zeros and evidence.samples and set(names[: len(equal)]) <= set(zeros[0].layers):
        return zeros
    return [
        Finding(
            rule="identical_units",
            code="identical_units" if equal else "identical_units.nearly",
            severity="error" if equal else "hint" if _part(evidence, near) else "warning",
            seen=f"all units of {names[0]} have the same weights and the same gradient"
            if equal
            else f"every weight of {', '.join(names[:3])}{' and more' if len(names) > 3 else ''} is nearly the same number",
            measurements=(Measurement(name="layers of equal units", value=float(len(names)), threshold=0.0),),
            cause="weights start at a constant"
            if equal
            else "weights are drawn around a number other than 0, like the scales of a normalisation",
            remedy=f"draw them at random: {drawn_each(weights)}"
            if equal
            else f"call reset_parameters() of {', '.join(map(as_code, names))}; initialise only normalisations around 1, not "
            "these layers",
            source="Goodfellow et al., Deep Learning, section 8.4",
            layers=names,
        )
    ]


def _is_early(evidence: Evidence) -> bool:
    """Whether a watched run has not shown yet whether nearly equal units part."""
    return bool(evidence.steps) and evidence.rehearsal is None and reading.num_steps(evidence) < _FEWEST_STEPS


def _part(evidence: Evidence, names: tuple[str, ...]) -> bool:
    """Whether weights that were nearly one number differ by now, and the loss falls: all but one of them at least."""
    tried = evidence.rehearsal
    if reading.num_steps(evidence) >= _FEWEST_STEPS:
        losses = [step.loss for step in evidence.finite_steps]
        falls = len(losses) >= _FEWEST_STEPS and statistics.fmean(losses[-_FEWEST_STEPS // 2 :]) < statistics.fmean(losses[:5])
        return falls and not reading.diverged(evidence) and len(reading.facts(evidence).parted) >= len(names) - 1
    if tried is None or len(tried.reference) < 2 or tried.ended_by == "not finite":
        return False
    first, now, chance = tried.reference[0].loss, tried.reference[-1].loss, tried.task.chance
    falls = now < first and (chance is None or now < chance)
    return falls and sum(f"{name}.weight" in tried.parted for name in names) >= len(names) - 1


def _alike_modules(evidence: Evidence) -> list[Finding]:
    """Several modules that are copies of one, and stay copies."""
    names = reading.facts(evidence).identical_modules
    if not names:
        return _one_module(reading.facts(evidence).readings.same_members)
    return [
        Finding(
            rule="identical_units",
            code="identical_units.modules",
            severity="warning",
            seen=f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''} have the same weights and the same gradient",
            measurements=(Measurement(name="copies", value=float(len(names)), threshold=1.0),),
            cause="the modules are copies of one module, and nothing makes them differ",
            remedy=f"initialise each by itself: build a new {next(iter(names))} for each place, and copy no weights",
            source="Goodfellow et al., Deep Learning, section 8.4",
            layers=names,
        )
    ]


def _one_module(names: tuple[str, ...]) -> list[Finding]:
    """A list that holds one module several times."""
    if not names:
        return []
    return [
        Finding(
            rule="identical_units",
            code="identical_units.modules",
            severity="warning",
            seen=f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''} are one module, which is given the same input "
            "at each place and answers the same",
            measurements=(Measurement(name="places of one module", value=float(len(names)), threshold=1.0),),
            cause="a list was multiplied, [module] * n, or one module was appended several times: all places share weights",
            remedy="build a new module for each place: [make() for _ in range(n)]; or copy.deepcopy and reset_parameters()",
            source="own; calls of one module compared",
            layers=names,
        )
    ]


def _zeros_that_stay(evidence: Evidence) -> list[Finding]:
    """Weights of zero whose gradient is zero, because they are multiplied by zeros."""
    names = _sampled(evidence) or _rehearsed(evidence)
    if not names or reading.has_no_loss(evidence):
        return []
    return [
        Finding(
            rule="identical_units",
            code="identical_units.zeros",
            severity="error" if _nothing_moves(evidence) else "warning",
            seen=f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''}: weights and gradient are zero and stay zero",
            measurements=(Measurement(name="layers of zeros", value=float(len(names)), threshold=0.0),),
            cause="weights start at zero, and so does the factor that they are multiplied by",
            remedy=f"draw them at random: {drawn_each(tuple(f'{name}.weight' for name in names))}",
            source="Goodfellow et al., Deep Learning, section 8.4",
            layers=names,
        )
    ]


def _gets_going(evidence: Evidence, names: tuple[str, ...]) -> bool:
    """Whether weights whose gradients were all zero before the first step get others later, as with the first reward."""
    tried = evidence.rehearsal
    if reading.has_no_loss(evidence, 1):
        return True
    moves = tried is not None and len(tried.steps) > 1 and not set(names) & set(tried.unmoved)
    return moves or any(s.gradient_rms for sample in evidence.samples for s in sample.layers if reading.is_matrix(s))


def _nothing_moves(evidence: Evidence) -> bool:
    """Whether no weight matrix of the model has a gradient."""
    if not evidence.samples:
        return reading.facts(evidence).no_weight_moves
    return all(s.gradient_rms == 0.0 for s in evidence.samples[-1].layers if reading.is_matrix(s))


def _rehearsed(evidence: Evidence) -> tuple[str, ...]:
    rehearsal, probe = evidence.rehearsal, evidence.probe
    if rehearsal is None or probe is None or not probe.at_start or len(rehearsal.steps) < _FEWEST_STEPS:
        return ()
    still = set(reading.facts(evidence).zero_gradient) & set(rehearsal.unmoved)
    empty = [s.name for s in probe.layers if s.weight_rms == 0.0 and reading.is_matrix(s)]
    return tuple(name for name in empty if f"{name}.weight" in still)


def _sampled(evidence: Evidence) -> tuple[str, ...]:
    """Layers whose weights were zero at the first sample, and at the last ones, with a gradient of zero."""
    was = {s.name for sample in evidence.samples[:1] for s in sample.layers if s.weight_rms == 0.0}
    last = [[s for s in each.layers if reading.is_matrix(s)] for each in evidence.samples[-_FEWEST_SAMPLES:]]
    if len(last) < _FEWEST_SAMPLES:
        return ()
    empty = [{s.name for s in layers if s.weight_rms == 0.0 and s.gradient_rms == 0.0} for layers in last]
    return tuple(s.name for s in last[-1] if all(s.name in names for names in (was, *empty)))
