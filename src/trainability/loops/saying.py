"""What somebody else's loop says on the standard error stream: findings as they arise, and the verdict."""

from __future__ import annotations

import sys

from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.finding import Finding
from trainability.doctor.view import finding_view, verdict_title
from trainability.loops.recorder import is_main_process

_SAID = ("seen", "change", "more")


def say(text: str) -> None:
    """Print a line; in the main process only."""
    if is_main_process():
        print(f"trainability: {text}", file=sys.stderr, flush=True)


def say_finding(part: str, step: int, finding: Finding) -> None:
    """Say a new finding: a hint in one line, others with what was seen and what to change.

    Args:
        part: of the model, "" where there is one.
        step: after which it was seen.
        finding: the finding.
    """
    view = finding_view(finding)
    where = f"{part}, step {step:,}" if part else f"step {step:,}"
    if finding.severity == "hint":
        say(f"{where}: {view.line}")
        return
    rows = [f"\n  {name:<7} {text}" for name, text in view.rows if name in _SAID]
    say(f"{where}: {view.heading}" + "".join(rows))


def say_verdict(part: str, diagnosis: Diagnosis) -> None:
    """Say how it ended."""
    title = verdict_title(diagnosis.verdict, diagnosis.remaining_steps)
    say(f"{part + ': ' if part else ''}{title}: {diagnosis.reason}")
