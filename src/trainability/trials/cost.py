"""What the runs of a trial cost, before they are made. No torch."""

from __future__ import annotations

from trainability.trials.scales import DESK_SETS, POCKET_BATCH, Scale
from trainability.trials.trial import Trial

MILLISECONDS_PER_IMAGE: dict[str, float] = {"A": 0.55, "B": 0.95, "C": 1.05, "D": 1.2}
"""Milliseconds per training image on one core, at a quarter of the width and 32 pixels, with monitoring and logging."""

RUN_SECONDS = 12.0
"""Seconds of a run besides its steps: start, check, predictions, report."""

PROBE_SECONDS = 50.0


def run_seconds(trial: Trial, scale: Scale) -> float | None:
    """Predict the seconds that one run, or one probe, takes on one core; `None` if it needs a GPU, or there is no run."""
    if trial.plans:
        return PROBE_SECONDS
    if scale == "pocket":
        num_images = trial.steps * POCKET_BATCH
    elif scale == "desk" and trial.data in DESK_SETS:
        real = DESK_SETS[trial.data]
        # A forward pass alone costs a third.
        num_images = real.epochs * (real.num_train + real.num_val // 3)
    else:
        return None
    return RUN_SECONDS + num_images * MILLISECONDS_PER_IMAGE[trial.settings["model.config"].value] / 1000


def num_runs(trial: Trial) -> int:
    """Count the runs of a trial at one scale, or its probes."""
    return len(trial.plans) or len(trial.seeds) * len(trial.variants)


def cost_seconds(trial: Trial, scale: Scale) -> float | None:
    """Predict the seconds that all runs of a trial take on one core; `None` if they need a GPU, or there are none."""
    each = run_seconds(trial, scale)
    return None if each is None else num_runs(trial) * each
