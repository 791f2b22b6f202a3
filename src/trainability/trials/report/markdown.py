"""Results of the book -> a page of documentation: its table, the real sets, the evidence for and against each explanation."""

from __future__ import annotations

from collections.abc import Sequence

from trainability.trials.book import LOG
from trainability.trials.report.table import HOLDS_WORDS, MET_WORDS, ROLE_WORDS, SEEN_WORDS, expectation_text, row_of
from trainability.trials.run import Result
from trainability.trials.scales import DESK_SETS, STAND_INS
from trainability.trials.trial import Answer, Trial

_HEAD = (
    "| trial | the log says | measured | as the log saw it? | its explanation | cause, by the doctor |",
    "|---|---|---|---|---|---|",
)
_READING = (
    "*As run*: what the log's code ran, with its bugs. *As told*: what its text names where that is something else, without "
    "the bugs. *Repaired*: what the code ran, without the bugs. A trial *cannot be told at this scale* if its run is shorter "
    "than its predicted stay at chance, or the quantity was not measured."
)
"""How to read the table; on the page, this is a list."""
_SHORT: dict[Answer, str] = {"yes": "yes", "no": "no", "open": SEEN_WORDS["open"], "none": SEEN_WORDS["none"]}


def markdown(results: Sequence[Result], desk: Sequence[Result], full: Sequence[Result], *, command: str, machine: str) -> str:
    """Write the whole book as a page of documentation.

    Args:
        results: in the book's order, all of one scale.
        desk: of the trials on real sets that two cores can train on; empty if none was run.
        full: of the same trials at the log's own size, run or not.
        command: the command that made the runs.
        machine: the machine on which they were made.
    """
    scale = results[0].scale
    lines = [
        "# The book of trials",
        "",
        f"{LOG} Every trial is made again here, and each explanation held against what was measured.",
        "",
        f"Made by `{command}` and `trainability trials report --markdown docs/trials.md`, scale **{scale}**, {machine}.",
        "",
        f"**{counted(results)}**",
        "",
        f"{scale_note(scale)} {_READING}" if scale == "pocket" else scale_note(scale),
        "",
        *_table(results),
    ]
    if desk:
        lines += [
            "",
            "## On the real sets",
            "",
            "Scale **desk**: the real sets at 32 pixels, a quarter of the width, 64 images a step; made by "
            f"`trainability trials run {' '.join(result.trial.id for result in desk)} --scale desk --data-root DATA`. "
            f"**{counted(desk)}**",
            "",
            *_table(desk),
        ]
    if full:
        lines += ["", "## At the log's own size", "", "Rescaled to 256 pixels, cropped to 224, full width: needs a GPU.", ""]
        lines += [line for result in full for line in _full_lines(result)]
    lines += ["", "## What speaks for and against each explanation", ""]
    for result in results:
        lines += [f"### {result.trial.id}", "", plan_line(result.trial), ""]
        lines += [f"The log: {result.trial.explanation}", "", result.trial.reading, ""]
        for judged in result.verdict.judged:
            role = ROLE_WORDS[judged.expectation.role]
            lines.append(f"- {role}: {expectation_text(judged)}: **{MET_WORDS[judged.answer]}**")
        lines.append("")
    return "\n".join(lines)


def plan_line(trial: Trial) -> str:
    """Write the initialisation plans of a trial, at the log's own width, with their sources."""
    if trial.plans:
        plans = [(plan.label, plan.plan, plan.source) for plan in trial.plans]
    else:
        of_variant = (("", trial.settings), ("as run", trial.as_run), ("as told", trial.as_told))
        given = [(label, values["init.plan"]) for label, values in of_variant if values and "init.plan" in values]
        plans = [(label, str(value.value), value.source) for label, value in given]
    said = "; ".join(f"{label}: `{plan}` ({source})".removeprefix(": ") for label, plan, source in plans)
    return f"Plan at full width: {said}"


def counted(results: Sequence[Result]) -> str:
    """Count the answers: "Of 37 trials, 24 look as the log saw them (4 do not, 9 cannot be told) …"."""
    made = [result.verdict for result in results if result.runs]

    def count(answers: Sequence[Answer], answer: Answer) -> int:
        return sum(found == answer for found in answers)

    seen: list[Answer] = [verdict.seen for verdict in made]
    holds: list[Answer] = [verdict.holds for verdict in made]
    return (
        f"Of {len(made)} trials that were run, {count(seen, 'yes')} look as the log saw them, {count(seen, 'no')} do not, "
        f"and of {count(seen, 'open')} it cannot be told; the explanation holds for {count(holds, 'yes')}, does not hold for "
        f"{count(holds, 'no')}, and cannot be told for {count(holds, 'open')}."
    )


def _table(results: Sequence[Result]) -> list[str]:
    lines = [*_HEAD]
    for result in results:
        row = row_of(result)
        not_shown = f"<br>*Not at this scale:* {row.not_shown}" if row.not_shown else ""
        measured = "<br>".join(row.measured) or "not run"
        cells = [row.trial, row.says, measured + not_shown, _SHORT[row.seen], HOLDS_WORDS[row.holds], row.cause]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def _full_lines(result: Result) -> list[str]:
    row = row_of(result)
    return [f"- {row.trial}: " + ("; ".join(row.measured) or f"not measured; `{full_command(result.trial)}`")]


def full_command(trial: Trial) -> str:
    """Write the command that runs a trial at the log's own size."""
    return f"trainability trials run {trial.id} --scale full --data-root DATA --as-run --repaired"


def scale_note(scale: str) -> str:
    """Describe what a scale keeps and what it reduces, in one paragraph."""
    if scale == "desk":
        sets = ", ".join(f"{name} for {real.epochs} epochs" for name, real in DESK_SETS.items())
        return f"Real data sets at 32 pixels, a quarter of the width, 64 images a step: {sets}."
    if scale != "pocket":
        return "Real data sets." if scale == "real" else "Real data sets, rescaled to 256 pixels and cropped to 224."
    kept = "; ".join(f"{name}: {stand_in.kept}" for name, stand_in in STAND_INS.items())
    return (
        "Pocket scale keeps depth, classifier, classes and gain budget (a standard deviation grows as 1/sqrt(width), so that "
        "every layer keeps its gain), at 32 pixels and a quarter of the width, with stand-ins for the data. What they keep: "
        f"{kept}. The trials on gradients are probes at the log's own size at every scale: net D, full width, 224 pixels, "
        "1,000 classes, generated photographs, and real ones where they are at hand."
    )
