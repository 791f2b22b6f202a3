"""The git commit that a program was run from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SECONDS = 5.0  # a folder on a slow disk does not delay the run for longer


def own_commit() -> str | None:
    """Return the commit of the package's source tree, with "-dirty" if it has uncommitted changes; `None` without one."""
    here = Path(__file__).resolve()
    if _git(here.parent, "ls-files", "--error-unmatch", str(here)) is None:  # installed into some other repository
        return None
    return _git(here.parent, "describe", "--always", "--dirty", "--abbrev=12")


def commit_of_program() -> str | None:
    """Return the commit of the user's program; `None` where that is in no repository.

    It is that of the folder of the script, or else of the current one, as for a notebook, or a script that was installed.
    """
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    script = Path(file).resolve() if file else None
    # A file that the repository around it does not hold, such as an installed launcher, is of no commit.
    is_held = script is not None and _git(script.parent, "ls-files", "--error-unmatch", str(script)) is not None
    folder = script.parent if script is not None and is_held else Path.cwd()
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")  # without tags: a commit is its hash


def _git(folder: Path, *command: str) -> str | None:
    try:
        # Without optional locks, git writes nothing: it would store in the user's index what it has compared.
        done = subprocess.run(
            ["git", *command],
            cwd=folder,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
