"""The doctor in other libraries' trainers, each behind its extra: `lightning`, `transformers`, `accelerate`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainability.integrations.lightning import LightningMonitor as LightningMonitor
    from trainability.integrations.transformers import TransformersMonitor as TransformersMonitor

_PUBLIC = {"LightningMonitor": "lightning", "TransformersMonitor": "transformers"}


def __getattr__(name: str) -> Any:
    # Imported on first access: nobody has all of these libraries.
    if name in _PUBLIC:
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    if name in _PUBLIC.values():
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*_PUBLIC, *_PUBLIC.values()})
