"""The optional dependencies of each extra, and the message for a missing one.

The doctor needs only torch, and the command line tyro and rich. Data sets, training and reports need more; a package that does
calls `require` when it is imported, so that the user reads one line instead of "No module named 'simplejpeg'".
"""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS: dict[str, tuple[str, ...]] = {
    "lab": ("numpy", "PIL", "simplejpeg", "datasets", "plotly", "jinja2", "markupsafe", "safetensors", "platformdirs"),
    "notebook": ("pandas",),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "lightning": ("lightning",),
    "transformers": ("transformers", "accelerate"),
    "accelerate": ("accelerate",),
    "cluster": ("distributed",),
}
"""Import names by extra; `pyproject.toml` has the same extras with the distributions' names."""


class MissingExtra(ModuleNotFoundError):
    """A feature needs an extra that is not installed."""


def require(extra: str) -> None:
    """Check that the packages of an extra are installed, without importing them.

    Args:
        extra: key of `EXTRAS`.

    Raises:
        MissingExtra: one is not installed; the message has the command that installs it.
    """
    missing = next((name for name in EXTRAS[extra] if find_spec(name) is None), None)
    if missing is not None:
        raise MissingExtra(f"this needs the extra {extra}: pip install 'trainability[{extra}]'", name=missing)
