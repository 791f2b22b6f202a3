"""Named arrays in one file, written atomically and read with their checksums verified."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainability.disk import regular, seal, whole


def write(arrays: Mapping[str, Any], path: Path) -> None:
    """Write arrays so that a killed process leaves either the old or the new file.

    Raises:
        OSError: they cannot be written; the old file is unchanged.
    """
    made = io.BytesIO()
    np.savez_compressed(made, **arrays)
    with whole.replacing(path) as file:
        sealing = seal.Sealing(file)
        sealing.write(made.getbuffer())
        sealing.seal()


def read(path: Path) -> dict[str, np.ndarray]:
    """Read arrays after verifying the checksum of the file; the zip members' own checksums do not cover their names.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: it is damaged, not such a file, or of a version that wrote no checksum.
    """
    try:
        data = io.BytesIO(regular.read(path))
        seal.check_open(data)
        data.seek(0)
        with np.load(data, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        pass
    raise ValueError(f"{path} was changed or damaged")
