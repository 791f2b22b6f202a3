"""A trial's result -> what its section of the book's page says."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from trainability import faults
from trainability.doctor.finding import Finding
from trainability.report.html import REPORT
from trainability.report.look import Figure
from trainability.trials.report.curves import COLOURS, PLAN_COLOURS, Multiples, Strand, multiples, probe_figure, strands_of
from trainability.trials.report.start import Mark, Stay, Strip, marks_of, stay, strips_of
from trainability.trials.report.table import Row, expectation_text, row_of
from trainability.trials.run import Result
from trainability.trials.scales import CONSTANT, STAND_INS, Scale
from trainability.trials.trial import Trial

DATA_NAMES = {
    "caltech256": "Caltech-256",
    "cifar100": "CIFAR-100",
    "cifar10": "CIFAR-10",
    "mnist": "MNIST",
    "imagenet": "ImageNet",
}
ROLES = {"phenomenon": "What was seen", "holds": "For the explanation", "fails": "Against it"}


@dataclass(frozen=True, kw_only=True)
class Glance:
    """A trial's verdict as two signs: `seen` and `explanation` are "yes", "no" or "open"; both are "none" if it was not run."""

    trial: str
    seen: str
    explanation: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Expected:
    """An expectation with its numbers; `met` is "yes", "no" or "open"."""

    role: str
    met: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the doctor found in runs of a trial, worse than a hint."""

    runs: str
    severity: str
    cause: str
    rule: str
    seen: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting with where it comes from."""

    flag: str
    value: str
    source: str
    note: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """What the page says of a trial.

    Attributes:
        trial: of the book.
        row: its result in words.
        glance: its verdict.
        subject: net and data.
        stand_in: what stands for the data; "" at the other scales.
        repeated: field of "reports", "explanation" and "reading" -> earlier trial of the chapter that has the same words.
        expected: its expectations.
        rows: of small pictures.
        probe: figure of a probe trial.
        strips: its plans.
        marks: its budgets.
        stays: its predicted plateaus.
        told: what the doctor found.
        faults: bugs of the published run, and what each did.
        settings: all of them.
        command: that makes its runs again.
        reports: title and address of each run's own page.
        damaged: what could not be read.
    """

    trial: Trial
    row: Row
    glance: Glance
    subject: str
    stand_in: str
    repeated: dict[str, str]
    expected: tuple[Expected, ...]
    rows: tuple[Multiples, ...]
    probe: Figure | None
    strips: tuple[Strip, ...]
    marks: tuple[Mark, ...]
    stays: tuple[Stay, ...]
    told: tuple[Told, ...]
    faults: tuple[tuple[str, str], ...]
    settings: tuple[Setting, ...]
    command: str
    reports: tuple[tuple[str, str], ...]
    damaged: tuple[str, ...]

    @property
    def is_made(self) -> bool:
        """Whether any of its runs is there."""
        return self.glance.seen != "none"


def section_of(
    result: Result, damaged: Sequence[str], earlier: Sequence[Trial], *, root: Path, standard: Path, out: Path
) -> Section:
    """Make the section of a trial.

    Args:
        result: what its runs measured.
        damaged: what could not be read.
        earlier: trials of the same chapter that come before it.
        root: folder of the book's runs.
        standard: what it is unless the reader says otherwise.
        out: the page.
    """
    trial, row = result.trial, row_of(result)
    strands = strands_of(result)
    inits = [(strand.run.config.model.config, strand.run.config.init.plan, strand.run.init) for strand in strands]
    colours = tuple(colour[1:] for colour in (PLAN_COLOURS if result.probes else COLOURS.values()))
    return Section(
        trial=trial,
        row=row,
        glance=_glance(result, row),
        subject=_subject(trial),
        stand_in=_stand_in(result),
        repeated=_repeated(trial, earlier),
        expected=tuple(
            Expected(role=ROLES[judged.expectation.role], met=_sign(judged.is_met), text=expectation_text(judged))
            for judged in result.verdict.judged
        ),
        rows=tuple(multiples(result, strands)),
        probe=probe_figure(result) if result.probes else None,
        strips=tuple(strips_of(result, inits)),
        marks=tuple(marks_of(result, colours)),
        stays=tuple(_stays(result, strands)),
        told=tuple(_told(result)),
        faults=tuple((name, faults.FAULTS[name].what) for name in trial.faults),
        settings=tuple(_settings(trial)),
        command=run_command((trial.id,), result.scale, root, standard),
        reports=tuple(
            (_run_name(result, variant, seed), quote(os.path.relpath(folder / REPORT, out.parent)))
            for (variant, seed), folder in result.folders.items()
        ),
        damaged=tuple(damaged),
    )


def run_command(names: Sequence[str], scale: Scale, root: Path, standard: Path) -> str:
    """Write the command that makes the runs of trials."""
    more = ["--scale", scale] if scale != "pocket" else []
    more += ["--dir", str(root)] if root != standard else []
    return shlex.join(["trainability", "trials", "run", *names, *more])


def _sign(answer: bool | None) -> str:
    return {True: "yes", False: "no", None: "open"}[answer]


def _glance(result: Result, row: Row) -> Glance:
    if not result.runs:
        return Glance(trial=row.trial, seen="none", explanation="none", text="not run")
    seen = {"as the seed saw it": "yes", "not as the seed saw it": "no"}.get(row.seen, "open")
    explanation = {"holds": "yes", "does not hold": "no"}.get(row.explanation, "open")
    words = row.seen if seen != "open" else "nothing to see again"
    return Glance(trial=row.trial, seen=seen, explanation=explanation, text=f"{words}; the explanation {row.explanation}")


def _subject(trial: Trial) -> str:
    letter = trial.settings["model.config"].value
    return f"VGG-{letter} on {DATA_NAMES[trial.data]}"


def _stand_in(result: Result) -> str:
    if result.trial.plans:
        return "A probe at the seed's own size at every scale: full width, 224 pixels, 1,000 classes, generated photographs"
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


def _stays(result: Result, strands: Sequence[Strand]) -> list[Stay]:
    found = []
    for strand in strands:
        numbers = result.runs[strand.variant, strand.seed]
        if strand.plateau_steps is not None:
            name = _run_name(result, strand.variant, strand.seed)
            left, nonfinite = numbers["left_chance_step"], numbers["nan_step"]
            found.append(stay(name, strand.plateau_steps, strand.planned_steps, left, nonfinite))
    return found


def _run_name(result: Result, variant: str, seed: int) -> str:
    return variant.replace("-", " ") + (f", seed {seed}" if len(result.trial.seeds) > 1 else "")


def _told(result: Result) -> list[Told]:
    """List what the doctor found, each thing once with the runs that have it."""
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
        Told(
            runs="; ".join(runs[rule]) if len(runs[rule]) < num_runs or num_runs == 1 else "all runs",
            **{key: getattr(finding, key) for key in ("severity", "cause", "rule", "seen", "remedy")},
        )
        for rule, finding in first.items()
    ]


def _settings(trial: Trial) -> list[Setting]:
    given = list({**CONSTANT, **trial.settings}.items())
    published = [(f"{flag}, as published only", value) for flag, value in (trial.published or {}).items()]
    plans = [Setting(flag=f"init.plan, {plan.label}", value=plan.plan, source="our choice", note="") for plan in trial.plans]
    return plans + [
        Setting(flag=flag, value=str(value.value), source=value.source, note=value.note) for flag, value in (*given, *published)
    ]
