"""Reads what was added to a growing file, and only that.

The file may be on a disk that several machines share: it is polled, by opening it anew, for that is when a network file system
looks at what others have written. Nothing is taken for granted about its last bytes, its inode or its clock.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainability.training.rows import parse

CHUNK_BYTES = 8 * 2**20


@dataclass(frozen=True, kw_only=True)
class Appended:
    """What one read found.

    Attributes:
        rows: in the order of the file.
        is_restart: the file is not the one that was read before, only longer: these rows are its first, and those before do
            not count any more.
        is_all: nothing complete is left to read.
    """

    rows: list[dict[str, Any]]
    is_restart: bool = False
    is_all: bool = True


class Tail:
    """Reads a JSON-lines file piece by piece.

    Attributes:
        problem: one line that says why the last read did not get further, if it did not.
    """

    def __init__(self, path: Path, *, key: str, newest_bytes: int | None = None) -> None:
        """Take a file, which need not exist yet.

        Args:
            path: of the file.
            key: under which every row has a number from 1 on.
            newest_bytes: where a first read finds more than so many, it leaves the older ones out.
        """
        self.path, self.key, self.newest_bytes = path, key, newest_bytes
        self.problem: str | None = None
        self._forget()

    def _forget(self) -> None:
        self.offset = 0
        self.last_line = b""

    def read(self) -> Appended:
        """Read the complete lines that were added since the last read, at most `CHUNK_BYTES` of them."""
        self.problem = None
        try:
            with self.path.open("rb") as file:
                is_restart = self._has_changed(file)
                if is_restart:
                    self._forget()
                if self.offset == 0:
                    self._skip(file)
                file.seek(self.offset)
                data = file.read(CHUNK_BYTES)
        except FileNotFoundError:
            # A file that was there may come back: a shared disk can be away for a while.
            self.problem = f"{self.path} is gone" if self.offset else None
            return Appended(rows=[])
        except OSError as error:
            self.problem = f"{self.path} cannot be read ({error.strerror})"
            return Appended(rows=[])
        rows = self._take(data)
        return Appended(rows=rows, is_restart=is_restart, is_all=len(data) < CHUNK_BYTES or not rows)

    def _has_changed(self, file: Any) -> bool:
        """Tell whether the bytes before the offset are others than were read.

        A resume cuts the file back by replacing it, and may have made it longer than it was by the time of the next look. The
        last line holds a step's number and numbers of 17 digits: where it stands unchanged, so does what is before it.
        """
        if os.fstat(file.fileno()).st_size < self.offset:
            return True
        file.seek(self.offset - len(self.last_line))
        return file.read(len(self.last_line)) != self.last_line

    def _skip(self, file: Any) -> None:
        """Go to the first whole line among the newest bytes."""
        size = os.fstat(file.fileno()).st_size
        if self.newest_bytes is not None and size > self.newest_bytes:
            file.seek(size - self.newest_bytes)
            self.offset = size - self.newest_bytes + len(file.readline())

    def _take(self, data: bytes) -> list[dict[str, Any]]:
        """Parse whole lines, and move the offset behind the last that could be.

        A line that is whole but is no JSON is looked at again the next time: a network file system may show the length of what
        another machine has written before its bytes.
        """
        rows = []
        for line in data.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                row = parse(line, f"{self.path}: the line at byte {self.offset}")
            except ValueError:
                row = None
            number = row.get(self.key) if isinstance(row, dict) else None
            if not isinstance(number, int) or number < 1:
                self.problem = f"{self.path}: the line at byte {self.offset} is no record; the file was changed or damaged"
                break
            rows.append(row)
            self.offset += len(line)
            self.last_line = line
        return rows


def read_replaced(path: Path, before: Any) -> Any:
    """Read a small file that is replaced as a whole.

    Args:
        path: of the file.
        before: what it held at the last look.

    Returns:
        What it holds; `None` if there is none; what it held before if it cannot be read just now.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return before
