"""Read only what was added to a growing file.

The file may be on a shared disk. It is polled by opening it again, because a network file system updates its view of a file at
opening. Nothing is assumed about its last bytes, its inode or its clock.
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
    """Result of one read.

    Attributes:
        rows: in the order of the file.
        is_restart: the file was replaced since the last read: these are its first rows, and earlier rows are obsolete.
        is_all: nothing complete is left to read.
    """

    rows: list[dict[str, Any]]
    is_restart: bool = False
    is_all: bool = True


class Tail:
    """Reads a JSON-lines file incrementally.

    Attributes:
        problem: why the last read stopped early; `None` if it did not.
    """

    def __init__(self, path: Path, *, key: str, least: int = 1, newest_bytes: int | None = None) -> None:
        """Begin at the start of a file, which need not exist yet.

        Args:
            path: of the file.
            key: field that numbers the rows.
            least: smallest number.
            newest_bytes: the first read skips everything older than so many bytes.
        """
        self.path, self.key, self.least, self.newest_bytes = path, key, least, newest_bytes
        self.problem: str | None = None
        self._forget()

    def _forget(self) -> None:
        self.offset = 0
        self.last_line = b""

    def read(self) -> Appended:
        """Read the complete lines added since the last read, at most `CHUNK_BYTES`."""
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
            # A missing file may come back: a shared disk can be unavailable for a while.
            self.problem = f"{self.path} is gone" if self.offset else None
            return Appended(rows=[])
        except OSError as error:
            self.problem = f"{self.path} cannot be read ({error.strerror})"
            return Appended(rows=[])
        rows = self._take(data)
        return Appended(rows=rows, is_restart=is_restart, is_all=len(data) < CHUNK_BYTES or not rows)

    def _has_changed(self, file: Any) -> bool:
        """Whether the bytes before the offset differ from those read before.

        A resume replaces the file by a shorter one, which may have grown beyond the offset by the next read. The last line
        holds a step's number and numbers of 17 digits: if it is unchanged, so is everything before it.
        """
        if os.fstat(file.fileno()).st_size < self.offset:
            return True
        file.seek(self.offset - len(self.last_line))
        return file.read(len(self.last_line)) != self.last_line

    def _skip(self, file: Any) -> None:
        """Move to the first complete line of the newest bytes."""
        size = os.fstat(file.fileno()).st_size
        if self.newest_bytes is not None and size > self.newest_bytes:
            file.seek(size - self.newest_bytes)
            self.offset = size - self.newest_bytes + len(file.readline())

    def _take(self, data: bytes) -> list[dict[str, Any]]:
        """Parse complete lines, and move the offset behind the last one that parsed.

        A complete line that is not JSON is read again next time: on a network file system, a file's length can be visible
        before its bytes.
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
            if not isinstance(number, int) or number < self.least:
                self.problem = f"{self.path}: the line at byte {self.offset} is no record; the file was changed or damaged"
                break
            rows.append(row)
            self.offset += len(line)
            self.last_line = line
        return rows


def read_replaced(path: Path, before: Any) -> Any:
    """Read a small file that is always replaced as a whole.

    Args:
        path: of the file.
        before: its last contents.

    Returns:
        Its contents; `None` if it does not exist; `before` if it cannot be read at the moment.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return before
