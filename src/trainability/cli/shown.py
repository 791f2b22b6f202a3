"""How commands print a diagnosis."""

from __future__ import annotations

import json as json_module
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
