"""Train very deep convolutional networks from scratch, and learn in seconds why one will not train."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainability.checking.setup import Setup as Setup
    from trainability.config import RunConfig as RunConfig
    from trainability.doctor import Evidence as Evidence
    from trainability.doctor import Monitor as Monitor
    from trainability.doctor import audit_data as audit_data
    from trainability.doctor import audit_metric as audit_metric
    from trainability.doctor import diagnose as diagnose
    from trainability.doctor import explain as explain
    from trainability.doctor.measure.probe import probe
    from trainability.initialization import InitPlan as InitPlan
    from trainability.models.vgg import build_vgg as build_vgg
    from trainability.training.loop import fit as fit
    from trainability.training.record import read_run as read_run

__version__ = "0.1.0"

_PUBLIC = {
    "Evidence": "trainability.doctor",
    "InitPlan": "trainability.initialization",
    "Monitor": "trainability.doctor",
    "RunConfig": "trainability.config",
    "Setup": "trainability.checking.setup",
    "audit_data": "trainability.doctor",
    "audit_metric": "trainability.doctor",
    "build_vgg": "trainability.models.vgg",
    "diagnose": "trainability.doctor",
    "explain": "trainability.doctor",
    "fit": "trainability.training.loop",
    "probe": "trainability.doctor",
    "read_run": "trainability.training.record",
}
__all__ = [
    "Evidence",
    "InitPlan",
    "Monitor",
    "RunConfig",
    "Setup",
    "__version__",
    "audit_data",
    "audit_metric",
    "build_vgg",
    "diagnose",
    "explain",
    "fit",
    "probe",
    "read_run",
]


def __getattr__(name: str) -> Any:
    # Public names are imported when they are asked for: `--help` must not wait for torch.
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
