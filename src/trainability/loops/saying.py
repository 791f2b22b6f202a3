"""What somebody else's loop says on the standard error stream: findings as they arise, and the verdict."""

from __future__ import annotations

import shlex
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.finding import Finding
from trainability.doctor.view import finding_view, finding_views, verdict_title
from trainability.loops.recorder import is_main_process
from trainability.training.free_folder import free_beside

_SAID, _SAID_OF_HINTS = ("seen", "change", "more"), ("change", "more")
_WIDEST = 100  # columns; a wider terminal is not filled


def say(text: str) -> None:
    """Print a paragraph, as wide as the terminal; in the main process only."""
    if is_main_process():
        print(_wrapped(f"trainability: {text}", "  "), file=sys.stderr, flush=True)


def say_command(text: str, command: Sequence[str]) -> None:
    """Print a command below what it is for, in a line that can be pasted, however long; in the main process only."""
    say(f"{text}:")
    if is_main_process():
        print(f"  {shlex.join(command)}", file=sys.stderr, flush=True)


def folder_for_run(folder: Path, *, holds_several: bool = False) -> Path:
    """A folder for a run, or, where it holds one, the next free one beside it, which is said; see `free_beside`."""
    found = free_beside(folder, holds_several=holds_several)
    if found != folder:
        say(f"{as_typed(folder)} already holds a run; this one is written to {as_typed(found)}")
    return found


def as_typed(folder: Path) -> Path:
    """A directory as one would type it."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _wrapped(text: str, indent: str) -> str:
    """A paragraph in lines; words that are longer, such as paths, stay whole."""
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def say_finding(part: str, step: int, finding: Finding) -> None:
    """Say a new finding: what was seen, what to change, and where to read more; of a hint what was seen leads.

    Args:
        part: of the model, "" where there is one.
        step: after which it was seen.
        finding: the finding.
    """
    view = finding_view(finding)
    where = f"{part}, step {step:,}" if part else f"step {step:,}"
    is_hint = finding.severity == "hint"
    say(f"{where}: {view.line if is_hint else view.heading}")
    for name, text in view.rows:
        if name in (_SAID_OF_HINTS if is_hint else _SAID) and is_main_process():
            print(_wrapped(f"  {name:<7} {text}", " " * 10), file=sys.stderr, flush=True)


def say_verdict(part: str, diagnosis: Diagnosis) -> None:
    """Say how it ended, and each finding in one line, which may have been said long before."""
    title = verdict_title(diagnosis.verdict, diagnosis.remaining_steps, diagnosis.findings)
    say(f"{part + ': ' if part else ''}{title}: {diagnosis.reason}")
    for view in finding_views(diagnosis.findings):
        if is_main_process():
            print(_wrapped(f"  {view.severity} {view.code}: {view.cause}", " " * 4), file=sys.stderr, flush=True)


def say_not_looked_at(*, data: bool, evaluations: bool) -> None:
    """Say what a watched script leaves open.

    Args:
        data: whether examples of the script's data were read.
        evaluations: whether evaluations of the script were looked at, the trainer tells of them, or the model is no classifier,
            of which none would be recognised.
    """
    left = "the model before its first step" if data else "most of the data, and the model before its first step"
    unseen = (
        ""
        if evaluations
        else ". No evaluation was seen: evaluations are recognised for classifiers only, where a DataLoader yields the "
        "validation data"
    )
    say(f"not looked at: {left}; trainability check looks at {'it' if data else 'both'}{unseen}")
