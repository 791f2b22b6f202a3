"""How the programs of `programs/` are built, trained to their end, and shown to the doctor."""

import hashlib
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from programs.catalogue import FAULTS, KIND, MAILBAG, PROGRAMS, SOUND
from programs.program import Data, Loop, Program, nobody, usual
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor, Setup
from trainability.checking.check import check_setup
from trainability.doctor import Evidence

RESULTS = Path(__file__).parent / "results"
RUNS, REMEDIES = RESULTS / "faults-runs.jsonl", RESULTS / "faults-remedies.jsonl"
EVIDENCE = Path(tempfile.gettempdir()) / "faults-evidence"
SEED = 0
_SAMPLED_EVERY, _EVALUATIONS = 20, 5


def half_of(name: str) -> str:
    """The half that a program belongs to.

    Returns:
        "scored" for half of those in `programs/mailbag/`, by a hash of the name; "set" for all others.
    """
    return "scored" if name in MAILBAG and hashlib.sha256(name.encode()).digest()[0] % 2 else "set"


class Built:
    """A program, built: model, optimizer, scheduler and loaders."""

    def __init__(self, program: Program, *, seed: int = SEED) -> None:
        torch.manual_seed(seed)
        self.program = program
        self.seen: list[Evidence] = []
        self.model = program.model()
        for module in self.models():
            module.to(program.dtype)
        self.optimizer = program.optimizer(program.trained(self.model), **program.options)
        self.scheduler = program.scheduler(self.optimizer) if program.scheduler is not None else None
        order = torch.Generator().manual_seed(seed)
        self.train = DataLoader(
            TensorDataset(*self._cast(program.train())),
            program.batch,
            shuffle=program.shuffle,
            generator=order,
            collate_fn=program.collate,
        )
        self.held_out = self._cast(program.held_out())
        self.validation: DataLoader | None = None
        if program.loss is not None:
            seen = self._cast(program.validation()) if program.validation is not None else self.held_out
            self.validation = DataLoader(TensorDataset(*seen), 256)

    def models(self) -> list[nn.Module]:
        """Its models: one, or several of a dict."""
        return list(self.model.values()) if isinstance(self.model, dict) else [self.model]

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Its optimizers, in the order of the models."""
        return list(self.optimizer.values()) if isinstance(self.optimizer, dict) else [self.optimizer]

    def _cast(self, data: Data) -> Data:
        return tuple(x.to(self.program.dtype) if x.is_floating_point() else x for x in data)

    def batches(self) -> Iterator[Any]:
        """Batches without end, epoch after epoch."""
        while True:
            yield from self.train

    def score(self) -> float:
        """How well it answers on what was held out; NaN where outputs are not finite."""
        for module in self.models():
            module.eval()
        with torch.no_grad():
            return float(self.program.score(self.model, self.held_out))

    def evaluation(self) -> tuple[float, Tensor, Tensor] | None:
        """What the loop reports on its validation set, with answers and labels; None where it has no metric."""
        if self.program.metric is None or self.validation is None:
            return None
        self.model.train(self.program.evaluates_in == "train")
        with torch.no_grad():
            pairs = [(self.model(x), y) for x, y in self.validation]
        outputs, labels = torch.cat([o for o, _ in pairs]), torch.cat([y for _, y in pairs])
        answers = outputs.argmax(dim=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).long()
        return self.program.metric(pairs), answers, labels.flatten().long()


def setup_of(built: Built) -> Setup:
    """A built program as its author would give it to `check`."""
    program = built.program
    words: dict[str, Any] = {}
    if program.loss is not None:
        words["loss_fn"] = program.loss
    if program.training_step is not None:
        words["training_step"] = program.training_step
    if program.body is not usual:
        words["step"] = lambda m, o, b: program.body(m, o, b, Loop(loss_of=program.loss_of, clip=program.clip))
    return Setup(
        model=built.model,
        train_loader=built.train,
        optimizer=built.optimizer,
        scheduler=built.scheduler,
        scheduler_interval="step",
        val_loader=built.validation,
        metric=program.metric,
        clip=program.clip,
        planned_steps=program.steps,
        rehearse_seconds=300.0,  # a hundred steps, however busy the machine is
        **words,
    )


def train(built: Built, *, watch: bool = False) -> tuple[list[float], float | None, list[Evidence]]:
    """Trains a program to its end.

    Returns:
        The losses, what the loop reported last, and what a monitor per model saw.
    """
    program = built.program
    monitors = [
        Monitor(m, o, _SAMPLED_EVERY, clip=program.clip) for m, o in zip(built.models(), built.optimizers(), strict=True)
    ]
    seen = _tells(built, monitors) if watch else nobody
    loop = Loop(loss_of=program.loss_of, clip=program.clip, seen=seen)
    losses: list[float] = []
    reported: float | None = None
    batches = built.batches()
    try:
        for monitor in monitors if watch else ():
            monitor.__enter__()
        for step in range(1, program.steps + 1):
            losses.append(float(program.body(built.model, built.optimizer, next(batches), loop).detach()))
            if built.scheduler is not None:
                built.scheduler.step()
            if step % (program.steps // _EVALUATIONS) == 0 and (found := built.evaluation()) is not None:
                reported, answers, labels = found
                training = built.model.training
                for monitor in monitors if watch else ():
                    monitor.record_evaluation(
                        "validation", top1_error=1 - reported, predictions=answers, labels=labels, model_training=training
                    )
    finally:  # a run that raises has been watched until then
        for monitor in reversed(monitors) if watch else ():
            monitor.__exit__(None, None, None)
        built.seen = [monitor.evidence() for monitor in monitors] if watch else []
    return losses, reported, built.seen


def _tells(built: Built, monitors: list[Monitor]) -> Callable[..., None]:
    named = dict(zip(built.model, monitors, strict=True)) if isinstance(built.model, dict) else {"": monitors[0]}

    def seen(loss: Tensor, model: str = "") -> None:
        named[model].after_backward(loss)

    return seen


def outcome_of(program: Program, *, watch: bool = False) -> tuple[dict[str, Any], list[Evidence]]:
    """What happens to a program that is trained to its end, and what monitors saw of it where they watch."""
    began = time.process_time()
    built = Built(program)
    try:
        losses, reported, _ = train(built, watch=watch)
        told: dict[str, Any] = {"score": _short(built.score()), "reported": _short(reported)}
        told |= {"first_loss": _short(losses[0]), "last_loss": _short(sum(losses[-20:]) / 20)}
    except Exception as error:
        told = {"score": math.nan, "reported": None, "error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
    return told | {"cpu_seconds": round(time.process_time() - began, 1)}, built.seen


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def rows(path: Path) -> dict[str, dict[str, Any]]:
    """The lines of a file by name; of a name that occurs twice, the later one."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {row["name"]: row for row in map(json.loads, lines)}


def append(path: Path, row: dict[str, Any]) -> None:
    """Adds a line to a file."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def happened(name: str, runs: dict[str, dict[str, Any]]) -> str:
    """What became of a program, told by its run and its sound twin's.

    Returns:
        "trained"; "failed", where its score is below nine tenths of the twin's; "misreported", where it trained and the metric
        that the loop reports is off by more than 0.05.
    """
    row = runs[name]
    if name in SOUND:
        return "trained" if row["score"] >= 0.5 else "failed"
    twin = outcome_of_twin(name, runs)
    if not row["score"] >= 0.9 * twin["score"]:
        return "failed"
    if row["reported"] is not None and abs(row["reported"] - twin["reported"]) > 0.05:
        return "misreported"
    return "trained"


def outcome_of_twin(name: str, runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The run of the sound program that a fault changes."""
    return runs[f"sound twin of {name}"] if f"sound twin of {name}" in runs else runs[_named(FAULTS[name].sound)]


def _named(program: Program) -> str:
    return next((name for name, sound in SOUND.items() if sound is program), "")


def run(names: list[str]) -> None:
    """Trains the programs that have not been trained yet, and the sound twins that are no program of their own."""
    for name in names:
        todo = {name: PROGRAMS[name]}
        if name in FAULTS and not _named(FAULTS[name].sound):
            todo[f"sound twin of {name}"] = FAULTS[name].sound
        for each, program in todo.items():
            if each not in rows(RUNS):
                append(RUNS, {"name": each, "kind": KIND[name], **outcome_of(program)[0]})


def ask(names: list[str], path: Path) -> None:
    """Keeps what the doctor sees of each program, before and during its run; the run is the one that labels it."""
    path.mkdir(exist_ok=True)
    for name in names:
        file = path / f"{name.replace(' ', '-')}.json"
        if not file.exists():
            told, seen = outcome_of(PROGRAMS[name], watch=True)
            if name not in rows(RUNS):
                append(RUNS, {"name": name, "kind": KIND[name], **told})
            file.write_text(json.dumps({**_checked(Built(PROGRAMS[name])), "during": [e.to_dict() for e in seen]}))


def _checked(built: Built) -> dict[str, Any]:
    try:
        return {"before": check_setup(setup_of(built)).to_dict()}
    except ValueError as error:
        return {"before": None, "refused": str(error)}
