"""What the doctor costs in each kind of loop: time of a Trainer's or a loop's own steps with it, over the same without.

Whole fits with and without the doctor alternate, in turns of which one goes first, and what is compared is processor time of
the process between the end of the first step and the end of the last, so that set-up counts nowhere and a busy machine
disturbs little. A round's ratio is one fit over the other; the figure is the median over rounds. The doctor samples at every
50th step, writes no run directory unless the row says so, and its diagnoses and its end count. Weights are compared bit for
bit after every pair of fits. Goal: at most 1.02.

The program is that of `overhead.py` (VGG-B at a quarter of its width, 32 images of 32 pixels in memory, SGD), for
Transformers a GPT-2 of two layers on generated tokens.

    OMP_NUM_THREADS=1 python benchmarks/overhead_loops.py
"""

import argparse
import contextlib
import importlib.metadata
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from overhead import small_vgg
from torch import Tensor, nn
from torch.nn import functional as F

import trainability
from trainability.training.record import environment

EVERY = 50
BATCH = 32
RESULTS = Path(__file__).parent / "results" / "overhead_loops.json"
Fit = Callable[[int, bool], tuple[float, Tensor]]
"""Of steps and whether the doctor watches: processor seconds between the first step's end and the last's, and the weights."""


def weights_of(model: nn.Module) -> Tensor:
    """All parameters in one row."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def network() -> tuple[nn.Module, Tensor, Tensor]:
    """The small network with one batch of images and labels."""
    torch.manual_seed(0)
    return small_vgg(16), torch.randn(BATCH, 3, 32, 32), torch.arange(BATCH) % 10


def plain(steps: int, is_watched: bool, *, run: str | None = None, accelerator: Any = None) -> tuple[float, Tensor]:
    """A plain loop, with a run directory or without, by hand or through Accelerate."""
    model, images, labels = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    used, stepped = (model, optimizer) if accelerator is None else accelerator.prepare(model, optimizer)
    began = 0.0
    monitor = trainability.Monitor(used, stepped, every=EVERY, run=run) if is_watched else None
    with monitor or contextlib.nullcontext():
        for step in range(steps):
            loss = F.cross_entropy(used(images), labels)
            loss.backward() if accelerator is None else accelerator.backward(loss)
            if monitor is not None:
                monitor.after_backward(loss)
            stepped.step()
            stepped.zero_grad()
            began = time.process_time() if step == 0 else began
    return time.process_time() - began, weights_of(model)


def with_run(steps: int, is_watched: bool) -> tuple[float, Tensor]:
    """The plain loop with a run directory."""
    with tempfile.TemporaryDirectory() as folder:
        return plain(steps, is_watched, run=f"{folder}/run")


def accelerate(steps: int, is_watched: bool) -> tuple[float, Tensor]:
    """The plain loop through Accelerate."""
    from accelerate import Accelerator

    return plain(steps, is_watched, accelerator=Accelerator(cpu=True))


def lightning(steps: int, is_watched: bool) -> tuple[float, Tensor]:
    """A fit of Lightning's Trainer."""
    import lightning as lib

    from trainability.integrations import LightningMonitor

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    stamps: list[float] = []
    net, images, labels = network()

    class Module(lib.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def training_step(self, batch: Any, index: int) -> Tensor:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=1e-3, momentum=0.9)

    class Clock(lib.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            stamps.append(time.process_time())

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    callbacks = [*([LightningMonitor(every=EVERY)] if is_watched else []), Clock()]
    trainer = lib.Trainer(**quiet, max_steps=steps, max_epochs=1, accelerator="cpu", callbacks=callbacks)  # type: ignore[arg-type]
    trainer.fit(Module(), torch.utils.data.DataLoader([(images, labels)] * steps, batch_size=None))  # type: ignore[arg-type]
    return time.process_time() - stamps[0], weights_of(net)


def transformers(steps: int, is_watched: bool) -> tuple[float, Tensor]:
    """A training of Transformers' Trainer."""
    import transformers as lib

    from trainability.integrations import TransformersMonitor

    lib.set_seed(0)
    stamps: list[float] = []
    sizes = {"vocab_size": 64, "n_positions": 64, "n_embd": 64, "n_layer": 2, "n_head": 4, "bos_token_id": 0, "eos_token_id": 0}
    model = lib.GPT2LMHeadModel(lib.GPT2Config(**sizes, loss_type="ForCausalLM"))  # type: ignore[arg-type]
    tokens = (torch.arange(512)[:, None] + torch.arange(64)) % 64
    data = [{"input_ids": row, "labels": row} for row in tokens]

    class Clock(lib.TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            stamps.append(time.process_time())

    with tempfile.TemporaryDirectory() as folder:
        arguments = lib.TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=16,
            report_to=[],
            use_cpu=True,
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
        )
        callbacks = [*([TransformersMonitor(every=EVERY)] if is_watched else []), Clock()]
        lib.Trainer(model=model, args=arguments, train_dataset=data, callbacks=callbacks).train()  # type: ignore[arg-type]
    return time.process_time() - stamps[0], weights_of(model)


SCRIPT = """
import sys, time
sys.path[:0] = {path!r}
import torch
from overhead_loops import network, weights_of
from torch.nn import functional as F
model, images, labels = network()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
for step in range({steps}):
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    began = time.process_time() if step == 0 else began
seconds = time.process_time() - began
torch.save(weights_of(model), {out!r})
print("seconds", seconds)
"""


def script(steps: int, is_watched: bool) -> tuple[float, Tensor]:
    """A script as it is, by Python or by `trainability run`, which also writes a run directory."""
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "script.py", str(Path(folder) / "weights.pt")
        file.write_text(SCRIPT.format(steps=steps, out=out, path=[str(Path(__file__).parent)]))
        ours = ["-m", "trainability", "run", "--every", str(EVERY)] if is_watched else []
        done = subprocess.run([sys.executable, *ours, str(file)], cwd=folder, capture_output=True, text=True, check=True)
        return float(done.stdout.split("seconds ")[1]), torch.load(out)


FITS: dict[str, tuple[Fit, str | None]] = {
    "Monitor": (plain, None),
    "Monitor(run=...)": (with_run, None),
    "trainability run": (script, None),
    "Lightning": (lightning, "lightning"),
    "Transformers": (transformers, "transformers"),
    "Accelerate": (accelerate, "accelerate"),
}
"""Kinds of loop, each with the package that it needs."""


def measure(fit: Fit, steps: int, rounds: int) -> dict[str, Any]:
    """Ratios of fits with the doctor and without, and whether the weights are equal."""
    fit(4, True)  # imports, and what PyTorch sets up once
    ratios, seconds, equal = [], [], True
    for number in range(rounds):
        found = {is_watched: fit(steps, is_watched) for is_watched in ((False, True) if number % 2 == 0 else (True, False))}
        ratios.append(found[True][0] / found[False][0])
        seconds.append(found[False][0] / (steps - 1))
        equal &= torch.equal(found[True][1], found[False][1])
    return {
        "ratio": statistics.median(ratios),
        "ratios": [round(ratio, 4) for ratio in ratios],
        "seconds_per_step": statistics.median(seconds),
        "bitwise_equal": equal,
    }


def main() -> None:
    """Prints a row for each kind of loop and writes them as JSON beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=101, help="of each fit; the first is not counted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(FITS), choices=list(FITS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of these libraries about each other
    os.environ["HF_HUB_OFFLINE"] = "1"
    rows = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
    machine = environment(device=torch.device("cpu"), world_size=1)
    del machine["command"]
    print(f"{'loop':<18}{'ratio':>7}{'s/step':>9}  bitwise equal")
    for name in options.only:
        fit, package = FITS[name]
        try:
            version = importlib.metadata.version(package) if package else None
        except importlib.metadata.PackageNotFoundError:
            print(f"{name:<18}  {package} is not installed")
            continue
        row = measure(fit, options.steps, options.rounds)
        rows[name] = {**row, "steps": options.steps, "rounds": options.rounds, "every": EVERY, "version": version}
        print(f"{name:<18}{row['ratio']:>7.3f}{row['seconds_per_step']:>9.4f}  {row['bitwise_equal']}", flush=True)
        RESULTS.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
