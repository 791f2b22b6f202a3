"""Results of the book -> its table: the log says, measured, does the explanation hold, cause."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from trainability.trials.judge import JudgedExpectation
from trainability.trials.measure import METRICS, PROBE_METRICS, measure_probe
from trainability.trials.run import Result
from trainability.trials.trial import EVENTS, Answer, Expectation, Role, Variant

NOT_SAID = "cannot be told at this scale"
SEEN_WORDS: dict[Answer, str] = {
    "yes": "as the log saw it",
    "no": "not as the log saw it",
    "open": NOT_SAID,
    "none": "not run",
}
HOLDS_WORDS: dict[Answer, str] = {"yes": "holds", "no": "does not hold", "open": NOT_SAID, "none": "not run"}
MET_WORDS: dict[Answer, str] = {"yes": "yes", "no": "no", "open": NOT_SAID, "none": "not run"}
VARIANT_WORDS: dict[Variant, str] = {"as-run": "as run", "as-told": "as told", "repaired": "repaired"}
ROLE_WORDS: dict[Role, str] = {
    "phenomenon": "What was seen",
    "holds": "For the explanation",
    "fails": "Against it",
}


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A trial in words.

    Attributes:
        trial: id.
        says: what the log reports.
        claim: why, according to the log.
        measured: what the runs show, a line per variant; empty if there are no runs.
        seen: whether this is as the log saw it.
        holds: whether the log's explanation holds.
        cause: the doctor's cause, from the run with the bugs if there is one.
        not_shown: what this scale cannot show.
    """

    trial: str
    says: str
    claim: str
    measured: tuple[str, ...]
    seen: Answer
    holds: Answer
    cause: str
    not_shown: str


def row_of(result: Result) -> TableRow:
    """Write a trial's result in words."""
    trial, verdict = result.trial, result.verdict
    return TableRow(
        trial=trial.id,
        says=trial.reports,
        claim=trial.explanation,
        measured=_measured(result),
        seen=verdict.seen,
        holds=verdict.holds,
        cause=cause(result),
        not_shown=trial.not_at_pocket if result.scale == "pocket" else "",
    )


def _measured(result: Result) -> tuple[str, ...]:
    if result.probes:
        lines = []
        for label, diagnosis in result.probes.items():
            lines.append(_probe_line(label, measure_probe(diagnosis)))
            if label in result.photographs:
                lines.append(_probe_line(f"{label}, on photographs", measure_probe(result.photographs[label])))
        return tuple(lines)
    lines = []
    for variant in result.trial.variants:
        seeds = [seed for seed in result.trial.seeds if (variant, seed) in result.runs]
        lines += [_run_line(result, variant, seed) for seed in seeds]
    return tuple(lines)


def _probe_line(name: str, numbers: Mapping[str, float | None]) -> str:
    first, last, budget = (numbers[metric] for metric in ("first_gradient", "last_gradient", "budget"))
    return f"{name}: largest gradient {size(first)} in the first layer, {size(last)} in the last; budget {signed(budget)}"


def _run_line(result: Result, variant: Variant, seed: int) -> str:
    numbers = result.runs[variant, seed]
    parts = [f"budget {signed(numbers['budget'])}"]
    if numbers["nan_step"] is not None:
        parts.append(f"not finite at step {numbers['nan_step']:,.0f}")
    elif numbers["left_chance_step"] is not None:
        parts.append(f"leaves chance at step {numbers['left_chance_step']:,.0f}")
    else:
        predicted, made = numbers["plateau_steps"], numbers["num_steps"] or 0
        parts.append(
            f"at chance or above for all of {made:,.0f} steps"
            + ("" if predicted is None else f", predicted {steps(predicted)}")
        )
    if numbers["top1_error"] is not None:
        shown = numbers["shown_top1_error"]
        wrong = variant == "as-run" and "metric-of-last-batch" in result.trial.faults and shown is not None
        text = f"top-1 error {share(numbers['top1_error'])}"
        parts.append(f"shows {share(shown)} top-1 error at best, is {share(numbers['top1_error'])}" if wrong else text)
    which = f", seed {seed}" if len(result.trial.seeds) > 1 else ""
    return f"{VARIANT_WORDS[variant]}{which}: " + "; ".join(parts)


def cause(result: Result) -> str:
    """Return the doctor's first cause, and its other rules; with several runs, those of the first run."""
    named: dict[str, str] = {}
    for found in list(result.findings.values())[: None if result.probes else 1]:
        for finding in found:
            if finding.severity != "hint":
                named.setdefault(finding.rule, finding.cause)
    if not named:
        return "nothing worse than a hint" if result.findings else ""
    (rule, words), *others = named.items()
    return f"{words} ({rule})" + (f"; also {', '.join(name for name, _ in others)}" if others else "")


def expectation_text(judged: JudgedExpectation) -> str:
    """Write an expectation with what was measured: "it learns: accuracy over that of one constant answer 1.0 (at least 2)"."""
    values = ", ".join("none" if value is None else quantity(judged.expectation.metric, value) for value in judged.values)
    return f"{judged.expectation.text}: {title(judged.expectation.metric)} {values} ({bounds(judged.expectation)})"


def title(metric: str) -> str:
    """Return the title of a metric, followed by the plan of a probe."""
    name, _, label = metric.partition(":")
    if not label:
        return METRICS[name].title
    return f"{PROBE_METRICS[name]}, {label.replace('/', ' over ')}"


def bounds(expectation: Expectation) -> str:
    """Write the range of an expectation."""
    if expectation.never:
        return "expected: never"
    if expectation.metric in EVENTS and expectation.low == 1 and expectation.high is None:
        return "expected: at any step"
    parts = []
    if expectation.low is not None:
        parts.append(f"at least {quantity(expectation.metric, expectation.low)}")
    if expectation.high is not None:
        parts.append(f"at most {quantity(expectation.metric, expectation.high)}")
    return ", ".join(parts)


def quantity(metric: str, value: float) -> str:
    """Write a metric's value with its unit."""
    unit = METRICS[metric].unit if metric in METRICS else ""
    if unit == "step":
        return f"at step {value:,.0f}"
    return share(value) if unit == "%" else f"{size(value)} {unit}".strip()


def share(value: float | None) -> str:
    """Write a fraction in [0, 1] in percent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def size(value: float | None) -> str:
    """Write a number of any size in three digits."""
    if value is None:
        return "–"
    if math.isinf(value):
        return "infinite"
    return f"{value:.3g}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.1e}"


def signed(value: float | None) -> str:
    """Write a power of ten."""
    return "–" if value is None else f"{value:+.1f}"


def steps(value: float) -> str:
    """Write a predicted number of steps."""
    return "never" if math.isinf(value) else f"{value:,.0f} steps"
