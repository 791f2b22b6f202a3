"""Train very deep networks from scratch, and find out in seconds why one does not train."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainability.checking.check import check as check
    from trainability.checking.confirm import confirm as confirm
    from trainability.config import RunConfig as RunConfig
    from trainability.doctor import Diagnosis as Diagnosis
    from trainability.doctor import Evidence as Evidence
    from trainability.doctor import Finding as Finding
    from trainability.doctor import audit_data as audit_data
    from trainability.doctor import audit_metric as audit_metric
    from trainability.doctor import diagnose as diagnose
    from trainability.doctor import explain as explain
    from trainability.doctor.measure.probe import probe
    from trainability.doctor.setup import Setup as Setup
    from trainability.initialization import InitPlan as InitPlan
    from trainability.initialization import init_ as init_
    from trainability.loops.follow import follow as follow
    from trainability.loops.monitor import Monitor as Monitor
    from trainability.models.vgg import build_vgg as build_vgg
    from trainability.prescribe.plans import recommend_init as recommend_init
    from trainability.report.compare import Comparison as Comparison
    from trainability.report.compare import compare as compare
    from trainability.report.html import write_report as write_report
    from trainability.report.kept_figures import figures as figures
    from trainability.training.loop import fit as fit
    from trainability.training.record import Run as Run
    from trainability.training.record import read_run as read_run

__version__ = "0.1.0"

_PUBLIC = {
    "Comparison": "trainability.report.compare",
    "Diagnosis": "trainability.doctor",
    "Evidence": "trainability.doctor",
    "Finding": "trainability.doctor",
    "InitPlan": "trainability.initialization",
    "Monitor": "trainability.loops.monitor",
    "Run": "trainability.training.record",
    "RunConfig": "trainability.config",
    "Setup": "trainability.doctor.setup",
    "audit_data": "trainability.doctor",
    "audit_metric": "trainability.doctor",
    "build_vgg": "trainability.models.vgg",
    "check": "trainability.checking.check",
    "compare": "trainability.report.compare",
    "confirm": "trainability.checking.confirm",
    "diagnose": "trainability.doctor",
    "explain": "trainability.doctor",
    "figures": "trainability.report.kept_figures",
    "fit": "trainability.training.loop",
    "follow": "trainability.loops.follow",
    "init_": "trainability.initialization",
    "probe": "trainability.doctor",
    "read_run": "trainability.training.record",
    "recommend_init": "trainability.prescribe.plans",
    "write_report": "trainability.report.html",
}
__all__ = [
    "Comparison",
    "Diagnosis",
    "Evidence",
    "Finding",
    "InitPlan",
    "Monitor",
    "Run",
    "RunConfig",
    "Setup",
    "__version__",
    "audit_data",
    "audit_metric",
    "build_vgg",
    "check",
    "compare",
    "confirm",
    "diagnose",
    "explain",
    "figures",
    "fit",
    "follow",
    "init_",
    "probe",
    "read_run",
    "recommend_init",
    "write_report",
]


def __getattr__(name: str) -> Any:
    # Public names are imported on first access, so that `--help` does not wait for torch.
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name == "integrations":  # a package, so that `trainability.integrations.LightningMonitor` needs no import of its own
        return import_module("trainability.integrations")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
