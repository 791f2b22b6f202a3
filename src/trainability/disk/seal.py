"""A zip that carries the SHA-256 of its own bytes, as its archive comment.

`torch.save` and `numpy.savez` write zips, whose readers look at none of the checksums in them, and a zip's own checksums leave
out its table of contents: one flipped bit there loads another tensor. The digest is over every byte before the comment's
length. Whoever reads zips reads a sealed one.
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
    """A file to write a zip to, from its first byte to its last; `seal` ends it."""

    def __init__(self, file: BinaryIO) -> None:
        """Take an empty file."""
        self.file = file
        self.digest = hashlib.sha256()
        self.tail = b""  # the comment's length, which the seal changes, is the zip's last two bytes

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
        """Hand what was written to the system."""
        self.file.flush()

    def seal(self) -> None:
        """Write the digest over the zip's empty comment."""
        assert self.tail == _NO_COMMENT
        self.file.seek(-len(_NO_COMMENT), os.SEEK_END)
        self.file.write(_LENGTH + self.digest.hexdigest().encode())


def check_seal(path: Path) -> None:
    """Read a sealed zip and compare its digest.

    Raises:
        OSError: it cannot be read.
        ValueError: it has no digest, or another one than its bytes.
    """
    with path.open("rb") as file:
        num_bytes = os.fstat(file.fileno()).st_size - len(_LENGTH) - _DIGITS
        file.seek(max(0, num_bytes))
        trailer = file.read()
        if num_bytes < 0 or not trailer.startswith(_LENGTH):
            raise ValueError("it does not end with its checksum: it is cut off, damaged, or of an older version")
        file.seek(0)
        digest, left = hashlib.sha256(), num_bytes
        while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
            digest.update(chunk)
            left -= len(chunk)
    if left or digest.hexdigest().encode() != trailer[len(_LENGTH) :]:
        raise ValueError("its checksum is wrong")
