"""A zip file with the SHA-256 of its own bytes in its archive comment.

`torch.save` and `numpy.savez` write zip files, and their readers verify no checksum. A zip's checksums do not cover its table
of contents either, where one flipped bit loads another tensor. This digest covers every byte before the length of the comment.
Any zip reader can read a sealed file.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

_DIGITS = 64
_LENGTH = _DIGITS.to_bytes(2, "little")
_NO_COMMENT = b"\0\0"
_CHUNK_BYTES = 2**22


class Sealing:
    """A file that a zip is written to, from its first byte to its last; `seal` completes it."""

    def __init__(self, file: BinaryIO) -> None:
        """Begin with an empty file."""
        self.file = file
        self.digest = hashlib.sha256()
        self.tail = b""  # the last two bytes of the zip are the length of its comment, which `seal` changes

    def write(self, data: bytes | memoryview) -> int:
        """Write the next bytes of the zip."""
        view = memoryview(data).cast("B")
        self.file.write(view)
        if len(view) >= len(_NO_COMMENT):
            self.digest.update(self.tail)
            self.digest.update(view[: -len(_NO_COMMENT)])
            self.tail = bytes(view[-len(_NO_COMMENT) :])
        else:
            joined = self.tail + bytes(view)
            self.digest.update(joined[: -len(_NO_COMMENT)])
            self.tail = joined[-len(_NO_COMMENT) :]
        return len(view)

    def flush(self) -> None:
        """Flush to the operating system."""
        self.file.flush()

    def seal(self) -> None:
        """Replace the zip's empty comment by the digest."""
        assert self.tail == _NO_COMMENT
        self.file.seek(-len(_NO_COMMENT), os.SEEK_END)
        self.file.write(_LENGTH + self.digest.hexdigest().encode())


def check_seal(path: Path) -> None:
    """Read a sealed zip and verify its digest.

    Raises:
        OSError: it cannot be read.
        ValueError: it has no digest, or the digest does not match.
    """
    with path.open("rb") as file:
        check_open(file)


def check_open(file: BinaryIO) -> None:
    """Verify the digest of a sealed zip that is open, on disk or in memory.

    Raises:
        OSError: it cannot be read.
        ValueError: it has no digest, or the digest does not match.
    """
    num_bytes = file.seek(0, os.SEEK_END) - len(_LENGTH) - _DIGITS
    file.seek(max(0, num_bytes))
    trailer = file.read()
    if num_bytes < 0 or not trailer.startswith(_LENGTH):
        raise ValueError("it does not end with its checksum: it is truncated, damaged, or of an older version")
    file.seek(0)
    digest, left = hashlib.sha256(), num_bytes
    while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
        digest.update(chunk)
        left -= len(chunk)
    if left or digest.hexdigest().encode() != trailer[len(_LENGTH) :]:
        raise ValueError("its checksum is wrong")
