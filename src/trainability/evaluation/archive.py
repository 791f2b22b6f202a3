"""Named arrays in one file, written atomically and read with their checksums verified."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainability.disk import regular, whole


def write(arrays: Mapping[str, Any], path: Path) -> None:
    """Write arrays so that a killed process leaves either the old or the new file.

    Raises:
        OSError: they cannot be written; the old file is unchanged.
    """
    with whole.replacing(path) as file:
        np.savez_compressed(file, **arrays)


def read(path: Path) -> dict[str, np.ndarray]:
    """Read arrays, verifying each checksum first: numpy alone parses headers before it verifies.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: it is damaged, or not such a file.
    """
    try:
        data = regular.read(path)
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            is_whole = members.testzip() is None
        if is_whole:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        pass
    raise ValueError(f"{path} was changed or damaged")
