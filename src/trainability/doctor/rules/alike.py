"""Modules that are copies of each other, and weights of zero that nothing moves. No rule."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.drawing import drawn_each

_FEWEST_STEPS, _FEWEST_SAMPLES = 20, 3


def alike_modules(evidence: Evidence) -> list[Finding]:
    """Several modules in place of one, which stay what they are: copies."""
    names = reading.facts(evidence).identical_modules
    if not names:
        return []
    return [
        Finding(
            rule="identical_units",
            code="identical_units.modules",
            severity="warning",
            seen=f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''} have the same weights and the same gradient",
            measurements=(Measurement(name="copies", value=float(len(names)), threshold=1.0),),
            cause="the modules are copies of one, and nothing tells them apart",
            remedy=f"draw each of them by itself: build {next(iter(names))} anew for each place, and copy no weights",
            source="Goodfellow et al., Deep Learning, section 8.4",
            layers=names,
        )
    ]


def zeros_that_stay(evidence: Evidence) -> list[Finding]:
    """Weights of zero whose gradient is zero because what they are multiplied by is zero, too."""
    names = _sampled(evidence) or _rehearsed(evidence)
    if not names:
        return []
    return [
        Finding(
            rule="identical_units",
            code="identical_units.zeros",
            severity="warning",
            seen=f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''}: weights and gradient are zero, and stay so",
            measurements=(Measurement(name="layers of zeros", value=float(len(names)), threshold=0.0),),
            cause="weights start at zero, and what they are multiplied by is zero as well",
            remedy=f"draw them at random: {drawn_each(names)}",
            source="Goodfellow et al., Deep Learning, section 8.4",
            layers=names,
        )
    ]


def _rehearsed(evidence: Evidence) -> tuple[str, ...]:
    rehearsal, probe = evidence.rehearsal, evidence.probe
    if rehearsal is None or probe is None or not probe.at_start or len(rehearsal.steps) < _FEWEST_STEPS:
        return ()
    still = set(reading.facts(evidence).zero_gradient) & set(rehearsal.unmoved)
    empty = [s.name for s in probe.layers if s.weight_rms == 0.0 and reading.is_matrix(s)]
    return tuple(name for name in empty if f"{name}.weight" in still)


def _sampled(evidence: Evidence) -> tuple[str, ...]:
    last = [[s for s in each.layers if reading.is_matrix(s)] for each in evidence.samples[-_FEWEST_SAMPLES:]]
    if len(last) < _FEWEST_SAMPLES:
        return ()
    empty = [{s.name for s in layers if s.weight_rms == 0.0 and s.gradient_rms == 0.0} for layers in last]
    return tuple(s.name for s in last[-1] if all(s.name in names for names in empty))
