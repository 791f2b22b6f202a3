"""Writes run directories as a run in progress does, without training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from trainability.config import ModelConfig, OptimConfig, RunConfig
from trainability.training.record import EVALUATIONS, LAYERS, STEPS, RunWriter

STEPS_PER_EPOCH = 4
FINDING = {
    "rule": "vanishing_gradient",
    "severity": "error",
    "seen": "the gradient shrinks 10^-6 times on its way back",
    "measurements": [],
    "cause": "the signal dies between the layers",
    "remedy": "--init.plan he",
    "source": "He et al. 2015",
    "layers": ["features.2"],
    "explains": [],
}


def begin(folder: Path, *, epochs: int = 3, num_classes: int = 10) -> RunWriter:
    """Make a run directory as far as the first step: 100 images in batches of 32."""
    config = RunConfig(model=ModelConfig(config="B"), optim=OptimConfig(batch_size=32, epochs=epochs))
    record = RunWriter.create(folder, config.completed())
    facts = {"name": "digits", "class_names": list(map(str, range(num_classes))), "num_train": 100, "num_val": 40}
    facts |= {"mean": [80.0] * 3, "std": [60.0] * 3}
    (folder / "data.json").write_text(json.dumps(facts))
    return record


def step_row(step: int, **changed: Any) -> dict[str, Any]:
    """Make a row of `steps.jsonl`."""
    row = {"step": step, "epoch": (step - 1) // STEPS_PER_EPOCH + 1, "lr": 0.01, "loss": 2.3 * math.exp(-step / 10)}
    row |= {"top1_error": 0.9 * math.exp(-step / 10), "top5_error": 0.2, "gradient_norm": 1.0, "clipped": False}
    return row | {"images_per_second": 1000.0} | changed


def steps(record: RunWriter, first: int, last: int, **changed: Any) -> None:
    """Append rows of steps, the last included."""
    record.append(STEPS, [step_row(step, **changed) for step in range(first, last + 1)])


def epoch(record: RunWriter, number: int, **changed: Any) -> None:
    """Append the end of an epoch."""
    row = {"epoch": number, "step": number * STEPS_PER_EPOCH, "val_num_examples": 40, "lr_drops": 0}
    row |= {f"{part}_{key}": 0.5 / number for part in ("train", "val") for key in ("loss", "top1_error", "top5_error")}
    row |= {"best_top1_error": 0.5 / number, "train_seconds": 2.0, "images_per_second": 50.0}
    record.append(EVALUATIONS, [row | changed])


def layers(record: RunWriter, step: int, num: int = 3, **changed: Any) -> None:
    """Append a sampled step: outputs that shrink a decade per layer."""
    record.append(
        LAYERS,
        [
            {"step": step, "name": f"features.{i}", "kind": "conv", "activation_rms": 10.0**-i, "gradient_rms": 1e-3}
            | {"update_ratio": 1e-3, "zero_fraction": 0.5, "activation_nonfinite": False, "gradient_nonfinite": False}
            | changed
            for i in range(num)
        ],
    )


def diagnosed(record: RunWriter, step: int, verdict: str = "dead", *found: dict[str, Any]) -> None:
    """Write what the doctor says."""
    plain = {"verdict": verdict, "reason": f"it is {verdict}", "findings": list(found), "not_checked": []}
    record.write_findings(step=step, evidence=None, remaining_steps=None, **plain)


def end(record: RunWriter, status: str = "finished", message: str | None = None) -> None:
    """Write how the run ended."""
    facts = {"step": 12, "epoch": 3, "best_top1_error": 0.125, "best_step": 8, "images_per_second": 50.0}
    record.write_result(status=status, message=message, **facts)
