"""Results of the book -> its table: the seed says, measured, does the explanation hold, cause."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trainability.trials.judge import Judged
from trainability.trials.measure import METRICS, PROBE_METRICS
from trainability.trials.run import Result
from trainability.trials.scales import STAND_INS
from trainability.trials.trial import EVENTS, Expectation, Variant

NOT_MADE = "not run"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A trial in words.

    Attributes:
        trial: id.
        says: what the seed reports.
        claim: why, according to the seed.
        measured: what the runs show, a line per variant.
        seen: whether that is as the seed saw it.
        explanation: whether the seed's explanation holds.
        cause: what the doctor names, from the published run where there is one.
        not_shown: what this scale cannot show.
    """

    trial: str
    says: str
    claim: str
    measured: tuple[str, ...]
    seen: str
    explanation: str
    cause: str
    not_shown: str


def row_of(result: Result) -> Row:
    """Write a trial's result in words."""
    trial, verdict = result.trial, result.verdict
    return Row(
        trial=trial.id,
        says=trial.reports,
        claim=trial.explanation,
        measured=_measured(result) or (NOT_MADE,),
        seen=verdict.phenomenon,
        explanation=verdict.explanation,
        cause=cause(result),
        not_shown=trial.not_at_pocket if result.scale == "pocket" else "",
    )


def _measured(result: Result) -> tuple[str, ...]:
    if result.probes:
        return tuple(_probe_line(label, result) for label in result.probes)
    lines = []
    for variant in result.trial.variants:
        seeds = [seed for seed in result.trial.seeds if (variant, seed) in result.runs]
        lines += [_run_line(result, variant, seed) for seed in seeds]
    return tuple(lines)


def _probe_line(label: str, result: Result) -> str:
    numbers = result.runs["repaired", 0]
    first, last = numbers[f"first_gradient:{label}"], numbers[f"last_gradient:{label}"]
    budget = numbers[f"budget:{label}"]
    return f"{label}: largest gradient {size(first)} in the first layer, {size(last)} in the last; budget {signed(budget)}"


def _run_line(result: Result, variant: Variant, seed: int) -> str:
    numbers = result.runs[variant, seed]
    parts = [f"budget {signed(numbers['budget'])}"]
    if numbers["nan_step"] is not None:
        parts.append(f"not finite at step {numbers['nan_step']:,.0f}")
    elif numbers["left_chance_step"] is not None:
        parts.append(f"leaves chance at step {numbers['left_chance_step']:,.0f}")
    else:
        predicted = numbers["plateau_steps"]
        parts.append("at chance or above to the end" + ("" if predicted is None else f", predicted {steps(predicted)}"))
    if numbers["top1_error"] is not None:
        shown = numbers["shown_top1_error"]
        wrong = variant == "as-published" and "metric-of-last-batch" in result.trial.faults and shown is not None
        text = f"top-1 error {share(numbers['top1_error'])}"
        parts.append(f"shows {share(shown)} top-1 error at best, is {share(numbers['top1_error'])}" if wrong else text)
    which = f", seed {seed}" if len(result.trial.seeds) > 1 else ""
    return f"{variant.replace('-', ' ')}{which}: " + "; ".join(parts)


def cause(result: Result) -> str:
    """Say what the doctor names as the cause, worst first; of several runs, of the first."""
    named: dict[str, None] = {}
    for found in list(result.findings.values())[: None if result.probes else 1]:
        named |= {f"{finding.cause} ({finding.rule})": None for finding in found if finding.severity != "hint"}
    return "; ".join(named) or ("nothing worse than a hint" if result.findings else "")


def expectation_text(judged: Judged) -> str:
    """Write an expectation with what was measured: "it learns: accuracy over that of one constant answer 1.0 (at least 2)"."""
    values = ", ".join("none" if value is None else quantity(judged.expectation.metric, value) for value in judged.values)
    return f"{judged.expectation.text}: {title(judged.expectation.metric)} {values} ({bounds(judged.expectation)})"


def title(metric: str) -> str:
    """Name a metric, with the plan of a probe behind it."""
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
    """Write a share in [0, 1] in percent."""
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


def markdown(results: Sequence[Result], *, command: str, machine: str) -> str:
    """Write the whole book as a page of documentation.

    Args:
        results: in the book's order, all of one scale.
        command: that made the runs.
        machine: that they were made on.
    """
    scale = results[0].scale
    lines = [
        "# The book of trials",
        "",
        f"Made by `{command}` and `trainability trials report --markdown docs/trials.md`, scale **{scale}**, {machine}.",
        "",
        *scale_note(scale),
        "",
        "| trial | the seed says | measured | as the seed saw it? | its explanation | cause, by the doctor |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        row = row_of(result)
        not_shown = f"<br>*Not at this scale:* {row.not_shown}" if row.not_shown else ""
        seen = {"as the seed saw it": "yes", "not as the seed saw it": "no"}.get(row.seen, "–")
        cells = [row.trial, row.says, "<br>".join(row.measured) + not_shown, seen, row.explanation, row.cause]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += ["", "## What speaks for and against each explanation", ""]
    for result in results:
        lines += [f"### {result.trial.id}", "", f"The seed: {result.trial.explanation}", "", result.trial.reading, ""]
        words = {"phenomenon": "what was seen", "holds": "for it", "fails": "against it"}
        for judged in result.verdict.judged:
            met = {True: "yes", False: "no", None: "not measured"}[judged.is_met]
            lines.append(f"- {words[judged.expectation.role]}: {expectation_text(judged)}: **{met}**")
        lines.append("")
    return "\n".join(lines)


def scale_note(scale: str) -> list[str]:
    """Say what a scale keeps and what it gives up, in one paragraph."""
    if scale != "pocket":
        return ["Real data sets." if scale == "real" else "Real data sets, rescaled to 256 pixels and cropped to 224."]
    kept = "; ".join(f"{name}: {stand_in.kept}" for name, stand_in in STAND_INS.items())
    return [
        "Pocket scale keeps depth, classifier, classes and gain budget (a standard deviation grows as 1/sqrt(width), so that "
        "every layer "
        f"keeps its gain), at 32 pixels and a quarter of the width, with stand-ins for the data. What they keep: "
        f"{kept}. The four trials on "
        "gradients are probes at the seed's own size at every scale: net D, full width, 224 pixels, 1,000 classes, generated "
        "photographs.",
    ]
