"""A trial's result -> the contents of its section of the book's page."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from trainability import faults
from trainability.doctor.finding import Finding
from trainability.report.html import REPORT
from trainability.report.look import Figure
from trainability.trials.cost import cost_seconds, num_runs
from trainability.trials.report.curves import (
    COLOURS,
    PLAN_COLOURS,
    FigureRow,
    TrialRun,
    figure_rows,
    probe_figure,
    read_trial_runs,
)
from trainability.trials.report.start import BudgetMark, PlanStrip, PredictedStay, marks_of, stay, strips_of
from trainability.trials.report.table import (
    HOLDS_WORDS,
    MET_WORDS,
    ROLE_WORDS,
    SEEN_WORDS,
    VARIANT_WORDS,
    TableRow,
    expectation_text,
    row_of,
)
from trainability.trials.run import Result
from trainability.trials.scales import CONSTANT, STAND_INS, Scale
from trainability.trials.trial import Answer, Trial, Variant

DATA_NAMES = {
    "caltech256": "Caltech-256",
    "cifar100": "CIFAR-100",
    "cifar10": "CIFAR-10",
    "mnist": "MNIST",
    "imagenet": "ImageNet",
}


@dataclass(frozen=True, kw_only=True)
class VerdictSigns:
    """A trial's verdict as two signs, and in words."""

    seen: Answer
    holds: Answer
    seen_words: str
    holds_words: str


@dataclass(frozen=True, kw_only=True)
class ExpectationLine:
    """An expectation with its numbers."""

    role: str
    answer: Answer
    answer_words: str
    text: str


@dataclass(frozen=True, kw_only=True)
class DoctorLine:
    """A finding in runs of a trial that is worse than a hint."""

    runs: str
    severity: str
    cause: str
    rule: str
    seen: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting and its source."""

    flag: str
    value: str
    source: str
    note: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """The contents of a trial's section.

    Attributes:
        trial: of the book.
        row: its result in words.
        signs: its verdict.
        desk: its result on the real set at a quarter of the width; `None` if there is none.
        desk_signs: the verdict on that result.
        subject: net and data.
        stand_in: what replaces the data; "" at the other scales.
        repeated: "reports", "explanation" or "reading" -> earlier trial of the chapter with the same text.
        expected: its expectations.
        rows: of small pictures.
        probe: figure of a probe trial.
        strips: its plans.
        marks: its budgets.
        stays: its predicted plateaus.
        doctor: the doctor's findings.
        faults: bugs of the run, and what each did.
        settings: all settings.
        command: the command that makes its runs again.
        cost: number of its runs, and their time if it is known.
        reports: title and address of each run's own page.
        damaged: what could not be read.
    """

    trial: Trial
    row: TableRow
    signs: VerdictSigns
    desk: TableRow | None
    desk_signs: VerdictSigns | None
    subject: str
    stand_in: str
    repeated: dict[str, str]
    expected: tuple[ExpectationLine, ...]
    rows: tuple[FigureRow, ...]
    probe: Figure | None
    strips: tuple[PlanStrip, ...]
    marks: tuple[BudgetMark, ...]
    stays: tuple[PredictedStay, ...]
    doctor: tuple[DoctorLine, ...]
    faults: tuple[tuple[str, str], ...]
    settings: tuple[Setting, ...]
    command: str
    cost: str
    reports: tuple[tuple[str, str], ...]
    damaged: tuple[str, ...]

    @property
    def is_made(self) -> bool:
        """Whether any of its runs exists."""
        return self.signs.seen != "none"


def section_of(
    result: Result,
    damaged: Sequence[str],
    earlier: Sequence[Trial],
    desk: Result | None,
    *,
    root: Path,
    standard: Path,
    out: Path,
) -> Section:
    """Make the section of a trial.

    Args:
        result: measurements of its runs.
        damaged: what could not be read.
        earlier: earlier trials of the same chapter.
        desk: measurements of its runs on the real set; `None` if there are none.
        root: folder of the book's runs.
        standard: default of `root` on the command line.
        out: the page.
    """
    trial = result.trial
    runs = read_trial_runs(result)
    inits: list[tuple[Variant, str, str, list[dict[str, Any]]]] = [
        (run.variant, run.records.train_config.model.config, run.records.train_config.init.plan, run.records.init)
        for run in runs
    ]
    labels = [plan.label for plan in trial.plans]
    colours = {**COLOURS, **dict(zip(labels, PLAN_COLOURS, strict=False))}
    return Section(
        trial=trial,
        row=row_of(result),
        signs=_signs(result),
        desk=row_of(desk) if desk is not None else None,
        desk_signs=_signs(desk) if desk is not None else None,
        subject=_subject(trial),
        stand_in=_stand_in(result),
        repeated=_repeated(trial, earlier),
        expected=tuple(
            ExpectationLine(
                role=ROLE_WORDS[judged.expectation.role],
                answer=judged.answer,
                answer_words=MET_WORDS[judged.answer],
                text=expectation_text(judged),
            )
            for judged in result.verdict.judged
        ),
        rows=tuple(figure_rows(result, runs)),
        probe=probe_figure(result) if result.probes else None,
        strips=tuple(strips_of(result, inits)),
        marks=tuple(marks_of(result, {name: role.removeprefix("@") for name, role in colours.items()})),
        stays=tuple(_stays(result, runs)),
        doctor=tuple(_doctor_lines(result)),
        faults=tuple((name, faults.FAULTS[name].what) for name in trial.faults),
        settings=tuple(_settings(trial)),
        command=run_command((trial.id,), result.scale, root, standard),
        cost=_cost(trial, result.scale),
        reports=tuple(
            (_run_name(result, variant, seed), quote(os.path.relpath(folder / REPORT, out.parent)))
            for (variant, seed), folder in result.folders.items()
        ),
        damaged=tuple(damaged),
    )


def _cost(trial: Trial, scale: Scale) -> str:
    number, seconds = num_runs(trial), cost_seconds(trial, scale)
    what = f"{number} {'probe' if trial.plans else 'run'}{'' if number == 1 else 's'}"
    return what + ("" if seconds is None else f", about {max(1, round(seconds / 60))} min of one core")


def run_command(names: Sequence[str], scale: Scale, root: Path, standard: Path) -> str:
    """Write the command that makes the runs of trials."""
    more = ["--scale", scale] if scale != "pocket" else []
    more += ["--dir", str(root)] if root != standard else []
    return shlex.join(["trainability", "trials", "run", *names, *more])


def _signs(result: Result) -> VerdictSigns:
    verdict = result.verdict
    return VerdictSigns(
        seen=verdict.seen,
        holds=verdict.holds,
        seen_words=SEEN_WORDS[verdict.seen],
        holds_words=HOLDS_WORDS[verdict.holds],
    )


def _subject(trial: Trial) -> str:
    letter = trial.settings["model.config"].value
    return f"VGG-{letter} on {DATA_NAMES[trial.data]}"


def _stand_in(result: Result) -> str:
    if result.trial.plans:
        return "A probe at the log's own size at every scale: full width, 224 pixels, 1,000 classes, generated photographs"
    if result.scale != "pocket":
        return ""
    stand_in, name = STAND_INS[result.trial.data], DATA_NAMES[result.trial.data]
    images = "handwritten digits stand" if stand_in.data["name"] == "digits" else "generated images stand"
    return f"Pocket scale: {images} in for {name}, at 32 pixels and a quarter of the width; kept: {stand_in.kept}"


def _repeated(trial: Trial, earlier: Sequence[Trial]) -> dict[str, str]:
    found: dict[str, str] = {}
    for other in earlier:
        for field in ("reports", "explanation", "reading"):
            if getattr(other, field) == getattr(trial, field):
                found.setdefault(field, other.id)
    return found


def _stays(result: Result, runs: Sequence[TrialRun]) -> list[PredictedStay]:
    found = []
    for run in runs:
        numbers = result.runs[run.variant, run.seed]
        if run.plateau_steps is not None:
            name = _run_name(result, run.variant, run.seed)
            left, nonfinite = numbers["left_chance_step"], numbers["nan_step"]
            found.append(stay(name, run.plateau_steps, run.planned_steps, left, nonfinite))
    return found


def _run_name(result: Result, variant: Variant, seed: int) -> str:
    return VARIANT_WORDS[variant] + (f", seed {seed}" if len(result.trial.seeds) > 1 else "")


def _doctor_lines(result: Result) -> list[DoctorLine]:
    """List the doctor's findings, each once, with the runs that have it."""
    runs: dict[str, list[str]] = {}
    first: dict[str, Finding] = {}
    for key, found in result.findings.items():
        name = key if isinstance(key, str) else _run_name(result, *key)
        for finding in found:
            if finding.severity != "hint":
                runs.setdefault(finding.rule, []).append(name)
                first.setdefault(finding.rule, finding)
    num_runs = len(result.findings)
    return [
        DoctorLine(
            runs="; ".join(runs[rule]) if len(runs[rule]) < num_runs or num_runs == 1 else "all runs",
            **{key: getattr(finding, key) for key in ("severity", "cause", "rule", "seen", "remedy")},
        )
        for rule, finding in first.items()
    ]


def _settings(trial: Trial) -> list[Setting]:
    given = list({**CONSTANT, **trial.settings}.items())
    given += [(f"{flag}, as run", value) for flag, value in (trial.as_run or {}).items()]
    given += [(f"{flag}, as told", value) for flag, value in (trial.as_told or {}).items()]
    plans = [Setting(flag=f"init.plan, {plan.label}", value=plan.plan, source=plan.source, note="") for plan in trial.plans]
    return plans + [
        Setting(flag=flag, value="off" if value.value is None else str(value.value), source=value.source, note=value.note)
        for flag, value in given
    ]
