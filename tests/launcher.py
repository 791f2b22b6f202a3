"""Starts `trainability` again and again out of one process that has loaded it: a fork each time in place of imports."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Nothing is computed before a fork: a copy of a process whose OpenMP threads have run can hang.
_SERVER = """
import json, os, sys
import trainability.cli.train
import trainability.report.html
import trainability.training.loop
import trainability.training.parts
from trainability.cli import program

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        program.main(json.loads(line))
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@dataclass
class Launcher:
    """The process that forks; one command at a time."""

    server: subprocess.Popen[bytes]

    def start(self, arguments: Sequence[str]) -> int:
        """Start a command in a process group of its own; what it says is thrown away. Returns its process id."""
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(list(arguments)).encode() + b"\n")
        return self._number()

    def is_running(self) -> bool:
        """Whether the command has not ended yet."""
        assert self.server.stdout is not None
        return not select.select([self.server.stdout], [], [], 0)[0]

    def exit_code(self) -> int:
        """Wait for the command's end; minus the signal where one ended it."""
        return self._number()

    def _number(self) -> int:
        assert self.server.stdout is not None
        return int(self.server.stdout.readline())


@contextlib.contextmanager
def launcher(folder: Path) -> Iterator[Launcher]:
    """Open a launcher whose commands run in a folder."""
    # Unbuffered on this side: `select` sees the pipe and not what a buffer holds.
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    server = subprocess.Popen([sys.executable, "-c", _SERVER], cwd=folder, **pipes)
    try:
        yield Launcher(server)
    finally:
        server.communicate()
