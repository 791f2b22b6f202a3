"""What `pip install trainability` leaves out, by the name of the extra that brings it.

The doctor needs torch alone, and the command line tyro and rich. Data sets, training and reports need more; a package that
does calls `require` when it is imported, so that a person reads one line in place of "No module named 'simplejpeg'".
"""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS: dict[str, tuple[str, ...]] = {
    "lab": ("numpy", "PIL", "simplejpeg", "datasets", "plotly", "jinja2", "markupsafe", "safetensors", "platformdirs"),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
}
"""Import names by extra; `pyproject.toml` has the same extras with the names that pip knows."""


class MissingExtra(ModuleNotFoundError):
    """Something was asked for that an extra brings, and the extra is not installed."""


def require(extra: str) -> None:
    """Check that the packages of an extra are there, without importing them.

    Args:
        extra: key of `EXTRAS`.

    Raises:
        MissingExtra: one is not installed; its one line has the command that installs it.
    """
    missing = next((name for name in EXTRAS[extra] if find_spec(name) is None), None)
    if missing is not None:
        raise MissingExtra(f"this needs the extra {extra}: pip install 'trainability[{extra}]'", name=missing)
