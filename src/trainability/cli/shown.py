"""How commands print a diagnosis."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trainability.cli.exit_codes import FAILED

if TYPE_CHECKING:
    from trainability.doctor import Diagnosis


def show(diagnosis: Diagnosis, *, as_json: bool) -> int:
    """Print a diagnosis, and return the exit code: 1 if something is to be changed."""
    if as_json:
        print(json_module.dumps(diagnosis.to_dict(), indent=2, allow_nan=False))
    else:
        from trainability.terminal.console import plain_console
        from trainability.terminal.diagnosis import print_diagnosis

        print_diagnosis(plain_console(), diagnosis)
    return FAILED if diagnosis.asks_for_change else 0


def show_what_to_fix_first(target: str, *, as_json: bool) -> None:
    """Say in one line what is wrong with MODULE:FUNCTION that no plan helps against; beside JSON, on standard error."""
    from trainability.checking.fix_first import fix_first_line, to_fix_first
    from trainability.checking.program import Program

    if errors := to_fix_first(Program(target=target).setup()):
        print(fix_first_line(errors, target), file=sys.stderr if as_json else sys.stdout, flush=True)


def show_each(diagnoses: Mapping[Path, Diagnosis], *, as_json: bool) -> int:
    """Print the diagnoses of several runs of one loop, each under its directory; in JSON, by the directory's name.

    Returns:
        The exit code: 1 if something is to be changed in any of them.
    """
    if as_json:
        plain = {folder.name: diagnosis.to_dict() for folder, diagnosis in diagnoses.items()}
        print(json_module.dumps(plain, indent=2, allow_nan=False))
        return FAILED if any(diagnosis.asks_for_change for diagnosis in diagnoses.values()) else 0
    codes = []
    for place, (folder, diagnosis) in enumerate(diagnoses.items()):
        print(f"{chr(10) if place else ''}{folder}")
        codes.append(show(diagnosis, as_json=False))
    return max(codes)
