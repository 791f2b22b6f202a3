"""How often experiments confirm the true cause: programs with one planted fault, and healthy ones.

    python benchmarks/confirm.py                       # all, about half an hour on one core
    python benchmarks/confirm.py --only zero_weights vit --seconds 30
    python benchmarks/confirm.py --cases ../shared/cases   # small programs of public reports, where that folder is there
    python benchmarks/confirm.py --faults scored --wrong   # the programs of the fault benchmark; see confirm_faults.py

Each program is checked and experimented on by `trainability.confirm` with a time per program, on one thread; the time is the
processor's, so that the result does not depend on what else runs on the machine. The record has,
per program, the state that was seen, the first confirmed change, all that were confirmed, every finding with what experiments
say of it, and the losses. A fault counts as found where the first confirmed change is one that undoes it, or, where none is,
the first control that bears something out is about it; "remedy trains" where a fresh copy with that change, stepped for twice
as long with a third seed, leaves at most the share that `LEARNED` asks for.
"""

import argparse
import contextlib
import functools
import importlib
import importlib.machinery
import importlib.util
import itertools
import json
import math
import platform
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import confirm_faults
import numpy as np
import torch
from planted_programs import FAULTS, HEALTHY
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from trainability import Diagnosis, Setup, confirm
from trainability.checking.confirm import interventions_for
from trainability.doctor.experimented import JOINT, Experiments
from trainability.doctor.experiments.judging import LEARNED, Scale
from trainability.doctor.experiments.sources import Source
from trainability.doctor.experiments.variant import run

RESULTS = Path(__file__).parent / "results" / "confirm.json"

# --------------------------------------------------------------------------------------------------------------- cases

_STEPPED = {
    "no_zero_grad_heatmap": ("backward", "step"),
    "never_steps": ("zero", "backward"),
}


# What undoes the fault of a case, or asks about it; of the others, nothing that can be changed from outside does.
UNDONE_BY = {
    "batch_first": ("batch_first",),
    "dying_relu": ("rate_tenth", "rate_hundredth"),
    "input_scale_nan": ("inputs_standard", "inputs_standard + targets_standard"),
    "mse_broadcast": ("target_shape",),
    "never_steps": ("step_in_order",),
    "no_causal_mask": ("future_exchanged",),  # a control: it asks whether the future is seen
    "no_positions": ("positions_added",),
    "no_zero_grad_heatmap": ("zero_grad", "step_in_order"),
    "not_shuffled": ("shuffled",),
    "old_optimizer": ("all_parameters",),
    "plain_list": ("all_parameters",),
    "softmax_lstm": ("softmax_off",),
    "target_scale": ("targets_standard", "inputs_standard + targets_standard"),
    "xor_linear": ("relu_between",),
}


def cases(folder: Path) -> dict[str, Callable[[], Setup]]:
    """Programs of `shared/cases`, as their loops would be given."""
    sys.path.insert(0, str(folder))
    if importlib.util.find_spec("sklearn") is None:
        _stand_in()
    names = [path.stem for path in sorted(folder.glob("*.py")) if path.stem not in ("common", "lm")]
    return {name: functools.partial(_case, name) for name in names}


def _stand_in() -> None:
    """Where scikit-learn is not installed: the same digits from this package, and a made-up table in place of its diabetes."""
    with resources.files("trainability.data").joinpath("digits.npz").open("rb") as file:
        archive = np.load(file)
        images, labels = archive["images"].reshape(-1, 8, 8).astype("float64"), archive["labels"].astype("int64")
    noise = torch.Generator().manual_seed(0)
    x = torch.randn(442, 10, generator=noise)
    y = 150 + 40 * x @ torch.randn(10, generator=noise) + 50 * torch.randn(442, generator=noise)
    found = types.ModuleType("sklearn.datasets")
    found.load_digits = lambda: types.SimpleNamespace(  # type: ignore[attr-defined]
        images=images, data=images.reshape(len(images), 64), target=labels
    )
    found.load_diabetes = lambda: types.SimpleNamespace(data=x.numpy(), target=y.numpy())  # type: ignore[attr-defined]
    sys.modules |= {"sklearn": types.ModuleType("sklearn"), "sklearn.datasets": found}
    for name in ("sklearn", "sklearn.datasets"):  # torch asks whether it is installed
        sys.modules[name].__spec__ = importlib.machinery.ModuleSpec(name, None)


def _case(name: str) -> Setup:
    found = importlib.import_module(name)
    made = found.parts() if name.startswith("healthy_") else found.parts("bad")
    model = next(item for item in made if isinstance(item, nn.Module))
    fields: dict[str, Any] = {
        "model": model,
        "optimizer": next(item for item in made if isinstance(item, torch.optim.Optimizer)),
        "train_loader": next((item for item in made if isinstance(item, DataLoader)), None),
        "loss_fn": next((item for item in made if callable(item) and not isinstance(item, nn.Module | type)), None),
        "rehearse_seconds": 4,
    }
    if name == "healthy_slow_xor":
        fields |= {"train_loader": [(found.X, found.Y)], "loss_fn": F.mse_loss, "planned_steps": 6000}
    elif name == "healthy_siamese":
        fields["loss_fn"] = lambda output, target: F.binary_cross_entropy(output[:, 0], target)
    elif name == "no_zero_grad_heatmap":
        fields["loss_fn"] = F.mse_loss
    elif name == "decoder_zeros":

        def loss(model: Any, batch: Any) -> Tensor:
            return F.mse_loss(model(batch[0], torch.zeros_like(batch[1][:, :-1])), batch[1][:, 1:])

        fields |= {"loss_fn": None, "training_step": loss}
    if name in _STEPPED:
        fields["step"] = _body(fields.pop("loss_fn"), *_STEPPED[name])
    return Setup(**fields)


def _body(loss_fn: Callable[[Any, Any], Tensor], *does: str) -> Callable[[Any, Any, Any], Tensor]:
    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        if "zero" in does:
            optimizer.zero_grad()
        loss = loss_fn(model(batch[0]), batch[1])
        loss.backward()
        if "step" in does:
            optimizer.step()
        return loss

    return step


# --------------------------------------------------------------------------------------------------------------- score


def measured(name: str, make: Callable[[], Setup], undone_by: tuple[str, ...], seconds: float, steps: int) -> dict[str, Any]:
    """What `confirm` says of one program."""
    began = time.monotonic()
    torch.manual_seed(0)
    diagnosis = confirm(make, seconds=seconds, max_steps=steps)
    found = diagnosis.evidence.experiments
    assert found is not None
    first = found.confirmed[0] if found.confirmed else None
    said = [arm.name for arm in (*found.confirmed, *(arm for arm in found.arms if arm.bears_out))]
    row: dict[str, Any] = {
        "program": name,
        "undone_by": undone_by,
        "state": found.state,
        "first": said[0] if said else None,
        "confirmed": [arm.name for arm in found.confirmed],
        "helps": [arm.name for arm in found.arms if arm.outcome == "also helps"],
        "faster": [arm.name for arm in found.arms if arm.outcome == "faster"],
        "controls": {arm.name: arm.reason for arm in found.arms if arm.outcome == "control"},
        "findings": [_said(diagnosis, finding) for finding in diagnosis.findings],
        "verdict": diagnosis.verdict,
        "losses": _losses(found),
        "left": _left(found),
        "steps": found.steps,
        "seconds": round(time.monotonic() - began, 1),
        "notes": list(found.notes),
    }
    if first is not None:
        row["remedy_leaves"] = remedy(make, diagnosis, first.name, 2 * first.steps)
    return row


def _said(diagnosis: Diagnosis, finding: Any) -> dict[str, str]:
    return {"code": finding.code, "severity": finding.severity, "tested": finding.tested.outcome if finding.tested else ""}


def _losses(found: Experiments) -> dict[str, float | str | None]:
    def plain(loss: float | None) -> float | str | None:
        return loss if loss is None or math.isfinite(loss) else str(loss)

    unchanged, other = found.unchanged, found.other_seed
    first = found.confirmed[0] if found.confirmed else None
    rest = [arm for arm in found.changes if arm.curve and arm.outcome in ("no better", "faster") and arm.loss is not None]
    best = min(rest, key=lambda arm: arm.loss or 0.0, default=None)
    return {
        "chance": plain(found.chance),
        "as it is": plain(unchanged.loss_at(found.steps) if unchanged else None),
        "as it is, at the end": plain(unchanged.loss if unchanged else None),
        "other seed": plain(other.loss if other else None),
        "with the first": plain(first.loss if first else None),
        "with it, other seed": plain(first.again if first else None),
        "best that does not help": plain(best.loss if best else None),
        "which": best.name if best else None,
    }


def _left(found: Experiments) -> dict[str, float | None]:
    """What is left of the way from chance to the ideal after an arm's steps: with two seeds as it is, and the best change."""
    unchanged, other = found.unchanged, found.other_seed
    if unchanged is None or other is None or found.state == "unknown":
        return {}
    first = unchanged.first_loss or 1.0
    scale = Scale(chance=found.chance if found.chance is not None else first, ideal=found.ideal, blind=found.chance is None)
    changed = [arm for arm in found.changes if arm.curve and arm.outcome != "control" and arm.steps >= found.steps]
    lefts = {
        "as it is": scale.late(unchanged.curve, found.steps),
        "other seed": scale.late(other.curve, found.steps),
        "best change": min((scale.left(arm.loss_at(found.steps)) for arm in changed), default=math.inf),
    }
    return {name: left if math.isfinite(left) else None for name, left in lefts.items()}


def remedy(make: Callable[[], Setup], diagnosis: Diagnosis, name: str, steps: int) -> float | None:
    """What is left with a change, twice as long and with a third seed; None where the change does not apply with that seed."""
    torch.manual_seed(2)
    setup = make()
    interventions = interventions_for(setup, diagnosis.evidence)
    if any(part not in interventions for part in name.split(JOINT)):
        return None
    batches = list(itertools.islice(setup.train_loader, steps))
    source = Source(setup, diagnosis.evidence, batches)
    with source.variant() as variant:
        for part in name.split(JOINT):
            interventions[part].make(variant)
        seen = run(variant, steps, every=steps)
    chance = source.task.chance
    scale = Scale(chance=chance or seen.curve[0][1], ideal=source.ideal, blind=chance is None)
    left = scale.left(seen.curve[-1][1])
    return left if math.isfinite(left) else None


def table(rows: list[dict[str, Any]]) -> str:
    """The record as text."""
    lines = []

    def number(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    for row in rows:
        losses = row["losses"]
        ends = " / ".join(
            number(losses[k]) for k in ("as it is, at the end", "other seed", "with the first", "best that does not help")
        )
        mark = ""
        if row["undone_by"]:
            mark = "right" if row["first"] in row["undone_by"] else "none" if row["first"] is None else "OTHER"
        elif row["first"] is not None:
            mark = "CONFIRMED"
        lines.append(
            f"{row['program']:26} {mark:9} {row['state']:12} {row['first'] or '-':24} {ends:34} {row['seconds']:5.0f} s"
        )
    return "\n".join(lines)


def summary(rows: list[dict[str, Any]]) -> str:
    faulty, sound = [r for r in rows if r["undone_by"]], [r for r in rows if not r["undone_by"]]
    right = [r for r in faulty if r["first"] in r["undone_by"]]
    said = [r for r in faulty if r["first"] is not None]
    trained = [r for r in said if r.get("remedy_leaves") is not None]
    works = [r for r in trained if r["remedy_leaves"] <= LEARNED]
    return (
        f"{len(right)} of {len(faulty)} faults: the first confirmed change undoes it; {len(said) - len(right)} another; "
        f"{len(faulty) - len(said)} nothing confirmed\n"
        f"{len(works)} of {len(trained)} confirmed remedies train with a third seed and twice the steps\n"
        f"{sum(r['first'] is not None for r in sound)} of {len(sound)} programs without a planted fault: something confirmed"
    )


def null(rows: list[dict[str, Any]]) -> str:
    """How far two seeds of programs without a planted fault are apart, and how far the best change is ahead of both."""
    lefts = [row["left"] for row in rows if not row["undone_by"] and len(row["left"]) == 3 and None not in row["left"].values()]
    if not lefts:
        return "no pair of seeds"
    floor = 0.03
    apart = sorted(abs(math.log(max(at["as it is"], floor) / max(at["other seed"], floor))) for at in lefts)
    ahead = sorted(min(at["as it is"], at["other seed"]) / max(at["best change"], floor) for at in lefts)
    middle = len(lefts) // 2
    return (
        f"n = {len(lefts)} programs without a planted fault: what two seeds leave differs by a factor of "
        f"{math.exp(apart[middle]):.2f} (median) and {math.exp(apart[-1]):.2f} (most); the better seed leaves "
        f"{ahead[middle]:.2f} (median) and {ahead[-1]:.2f} (most) times what the best change leaves"
    )


def chosen(only: list[str] | None, folder: Path | None) -> Iterator[tuple[str, Callable[[], Setup], tuple[str, ...]]]:
    planted = [(name, fault.make, fault.undone_by) for name, fault in FAULTS.items()]
    sound = [(name, make, ()) for name, make in HEALTHY.items()]
    found = cases(folder) if folder is not None else {}
    others = [(name, make, UNDONE_BY.get(name, ())) for name, make in found.items()]
    for name, make, undone_by in others or [*planted, *sound]:
        if only is None or name in only:
            yield name, make, undone_by


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--cases", type=Path, help="folder of the shared cases, in place of the programs here")
    parser.add_argument(
        "--faults",
        nargs="+",
        metavar="NAME",
        help="programs of the fault benchmark instead: names, halves (see faults.py) or both",
    )
    parser.add_argument("--wrong", action="store_true", help="with --faults: list what went wrong")
    parser.add_argument("--stop-after", type=float, default=math.inf, help="with --faults: seconds; another call goes on")
    parser.add_argument("--processes", type=int, help="with --faults: programs at the same time, each on one thread")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument(
        "--out", type=Path, help="record; of one that is there, only the programs that it lacks are asked about"
    )
    chosen_by = parser.parse_args()
    torch.set_num_threads(1)
    time.monotonic = time.process_time  # type: ignore[assignment]
    warnings.simplefilter("ignore")  # a planted fault has its warnings
    if chosen_by.faults is not None:
        confirm_faults.main(
            chosen_by.faults,
            chosen_by.seconds,
            chosen_by.steps,
            chosen_by.out,
            wrong=chosen_by.wrong,
            stop_after=chosen_by.stop_after,
            processes=chosen_by.processes,
        )
        return
    rows = json.loads(chosen_by.out.read_text())["programs"] if chosen_by.out is not None and chosen_by.out.exists() else []
    done = {row["program"] for row in rows}
    for name, make, undone_by in chosen(chosen_by.only, chosen_by.cases):
        if name in done:
            continue
        with contextlib.redirect_stdout(sys.stderr):
            row = measured(name, make, undone_by, chosen_by.seconds, chosen_by.steps)
        rows.append(row)
        print(table([row]), flush=True)
        if chosen_by.out is not None:
            machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__, "threads": 1}
            record = {"machine": machine, "seconds": chosen_by.seconds, "steps": chosen_by.steps, "programs": rows}
            chosen_by.out.write_text(json.dumps(record, indent=1) + "\n")
    print(table(rows) if done else "", summary(rows), null(rows), sep="\n")


if __name__ == "__main__":
    main()
