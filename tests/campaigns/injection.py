"""SIGKILL at the n-th write, fsync, rename or unlink of a process and its children."""

from __future__ import annotations

import builtins
import io
import mmap
import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLS = ("fsync", "replace", "rename", "unlink", "remove", "rmdir", "mkdir", "ftruncate", "pwrite")


class Injector:
    """Counts what changes the disk below a folder, over a process and all that it forks; one count can end them all."""

    def __init__(self, folder: Path, *, at: int | None, action: str = "kill") -> None:
        """Choose a moment.

        Args:
            folder: only what happens below counts, so that a cache elsewhere does not move the numbers.
            at: the change before which it ends, counted from 1; half of a write is still made. `None` only counts.
            action: "kill" the session, "kill one" process of it, or "stop" the process, for another one to look at what it
                holds.
        """
        self.folder, self.at, self.action = str(folder.resolve()), at, action
        self.shared = mmap.mmap(-1, 4096)

    @property
    def count(self) -> int:
        """Changes so far."""
        return struct.unpack_from("<q", self.shared)[0]

    @property
    def place(self) -> str:
        """What it ended at: the call, and the file."""
        return self.shared[8:512].rstrip(b"\0").decode(errors="replace")

    def install(self) -> None:
        """Exchange the calls in this process."""
        for name in CALLS:
            setattr(os, name, self._counted(name, getattr(os, name)))
        opened = io.open

        def open_counted(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            found = opened(file, mode, *rest, **named)
            is_ours = any(letter in mode for letter in "wax+") and self._is_ours(file)
            return _Written(found, self, str(file)) if is_ours else found

        io.open = builtins.open = open_counted  # type: ignore[assignment]

    def happens(self, what: str, before: Callable[[], None] = lambda: None) -> None:
        """Count a change, and end if it is the one."""
        number = self.count + 1
        struct.pack_into("<q", self.shared, 0, number)
        if number == self.at:
            note = what.encode()[:500]
            self.shared[8 : 8 + len(note)] = note
            before()
            if self.action == "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            elif self.action == "kill one":
                os.kill(os.getpid(), signal.SIGKILL)
            else:
                os.killpg(0, signal.SIGKILL)

    def _is_ours(self, file: Any) -> bool:
        if isinstance(file, int):
            try:
                file = os.readlink(f"/proc/self/fd/{file}")
            except OSError:
                return False
        return isinstance(file, (str, os.PathLike)) and os.path.abspath(file).startswith(self.folder)

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(first: Any, *rest: Any, **named: Any) -> Any:
            # shutil.rmtree names files by their folder's descriptor.
            if named.get("dir_fd") is not None or self._is_ours(first):
                self.happens(f"{name} {first}")
            return call(first, *rest, **named)

        return counted


class _Written:
    """A file whose writes count; of the one at which the process ends, half is made."""

    def __init__(self, file: Any, injector: Injector, name: str) -> None:
        self.__dict__.update(file=file, injector=injector, name_of=name, num_writes=0)

    def write(self, data: Any) -> Any:
        def half() -> None:
            self.file.write(data[: len(data) // 2])
            self.file.flush()

        self.__dict__["num_writes"] += 1
        # torch writes shards in a thousand pieces, beside which the other changes of a sharded run would hardly ever be hit.
        if not self.name_of.endswith(".distcp") or self.num_writes % 50 == 1:
            self.injector.happens(f"write {self.name_of}", half)
        return self.file.write(data)

    def __enter__(self) -> _Written:
        self.file.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self.file.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self.file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)
