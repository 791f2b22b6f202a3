"""The fits that `overhead_loops.py` times: one loop in one process, that is watched and left alone by turns.

Prints one line of JSON at its end.

    python overhead_fits.py LOOP SIZE WATCHED_WINDOWS
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
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

EVERY = 50
"""Steps between sampled ones, and timed ones of a window."""
WARM = EVERY + 2
"""Steps at the beginning of a window that are not timed: a watch's first two samples and first norms are made once in a run."""
COMPARED = 2
"""Windows after which weights are compared."""


class Windows:
    """Times the steps of a fit, in windows; every other one is watched.

    Attributes:
        model: whose weights are compared.
        steps: of the whole fit.
        attach, detach: begin and end the watch.
        digest: of the weights, after `COMPARED` windows.
    """

    def __init__(self, num_watched: int, model: nn.Module) -> None:
        self.model = model
        self._num_windows = max(2 * num_watched + 1, COMPARED)
        self._is_never_watched = num_watched == 0
        self.steps = self._num_windows * (WARM + EVERY)
        self.attach: Callable[[], None] = lambda: None
        self.detach: Callable[[], None] = lambda: None
        self.digest = ""
        self._num_done, self._is_watched = 0, False
        self._rows: list[dict[str, float]] = []
        self._timed: tuple[float, float] = (0.0, 0.0)
        self._began = time.process_time()

    def step(self) -> None:
        """A step is over."""
        self._num_done += 1
        window, place = divmod(self._num_done, WARM + EVERY)
        now = time.process_time(), time.perf_counter()
        if place == WARM:
            self._timed = time.process_time(), time.perf_counter()
        elif place == 0:
            cpu, wall = (b - a for a, b in zip(self._timed, now, strict=True))
            if self._is_watched:
                self.detach()
            self._rows.append({"cpu": cpu, "wall": wall, "rest": time.process_time() - self._began - cpu})
            if window == COMPARED:
                weights = torch.cat([p.detach().flatten() for p in self.model.parameters()])
                self.digest = hashlib.sha256(weights.numpy().tobytes()).hexdigest()
            self._is_watched = window % 2 == 1 and window < self._num_windows and not self._is_never_watched
            self._began = time.process_time()
            if self._is_watched:
                self.attach()

    def found(self) -> dict[str, Any]:
        """What was measured: rows of windows, the watched ones being the second, fourth and so on."""
        return {"windows": self._rows, "weights": self.digest}


def network(size: int) -> tuple[nn.Module, Tensor, Tensor]:
    """The small network with one batch of `32 * size` images and labels."""
    torch.manual_seed(0)
    return small_vgg(16), torch.randn(32 * size, 3, 32, 32), torch.arange(32 * size) % 10


def plain(num_watched: int, size: int, *, has_run: bool = False, accelerator: Any = None, is_script: bool = False) -> Windows:
    """A plain loop: by hand, through Accelerate, or as `trainability run` watches it."""
    import trainability
    from trainability.loops.script_watch import ScriptWatch

    model, images, labels = network(size)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    used, stepped = (model, optimizer) if accelerator is None else accelerator.prepare(model, optimizer)
    windows = Windows(num_watched, model)
    now: list[Any] = []

    def attach() -> None:
        folder = Path(tempfile.mkdtemp()) / "run"
        if is_script:
            watch = ScriptWatch(Path("script.py"), every=EVERY, most_steps=None, place=lambda: folder)
            watch.begin()
            watch._wait_for(optimizer)  # as at its construction
        else:
            watch = trainability.Monitor(used, stepped, every=EVERY, run=folder if has_run else None)
            watch.__enter__()
        now.append(watch)

    def detach() -> None:
        watch = now.pop()
        watch.end(None) if is_script else watch.__exit__(None, None, None)

    windows.attach, windows.detach = attach, detach
    for _ in range(windows.steps):
        loss = F.cross_entropy(used(images), labels)
        loss.backward() if accelerator is None else accelerator.backward(loss)
        if now and not is_script:
            now[0].after_backward(loss)
        stepped.step()
        stepped.zero_grad()
        windows.step()
    return windows


def with_run(num_watched: int, size: int) -> Windows:
    """The plain loop with a run directory."""
    return plain(num_watched, size, has_run=True)


def script(num_watched: int, size: int) -> Windows:
    """The plain loop, without a line of ours, as `trainability run` watches it."""
    return plain(num_watched, size, is_script=True)


def accelerate(num_watched: int, size: int) -> Windows:
    """The plain loop through Accelerate."""
    from accelerate import Accelerator

    return plain(num_watched, size, accelerator=Accelerator(cpu=True))


def lightning(num_watched: int, size: int) -> Windows:
    """A fit of Lightning's Trainer."""
    import lightning as lib

    from trainability.integrations import LightningMonitor

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    net, images, labels = network(size)
    windows = Windows(num_watched, net)

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
            windows.step()

    def attach() -> None:
        trainer.callbacks.append(LightningMonitor(every=EVERY))  # type: ignore[attr-defined]
        trainer.callbacks[-1].on_train_start(trainer, module)  # type: ignore[attr-defined]

    windows.attach, windows.detach = attach, lambda: trainer.callbacks.pop().on_train_end(trainer, module)  # type: ignore[attr-defined]
    module = Module()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lib.Trainer(**quiet, max_steps=windows.steps, max_epochs=1, accelerator="cpu", callbacks=[Clock()])  # type: ignore[arg-type]
    trainer.fit(module, torch.utils.data.DataLoader([(images, labels)] * windows.steps, batch_size=None))  # type: ignore[arg-type]
    return windows


def transformers(num_watched: int, size: int) -> Windows:
    """A training of Transformers' Trainer: a GPT-2 of two layers on generated tokens."""
    import transformers as lib

    from trainability.integrations import TransformersMonitor

    lib.set_seed(0)
    sizes = {"vocab_size": 64, "n_positions": 64, "n_embd": 64, "n_layer": 2, "n_head": 4, "bos_token_id": 0, "eos_token_id": 0}
    model = lib.GPT2LMHeadModel(lib.GPT2Config(**sizes, loss_type="ForCausalLM"))  # type: ignore[arg-type]
    tokens = (torch.arange(1024)[:, None] + torch.arange(64)) % 64
    data = [{"input_ids": row, "labels": row} for row in tokens]
    windows = Windows(num_watched, model)

    class Clock(lib.TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            windows.step()

    def callbacks() -> list[Any]:
        return trainer.callback_handler.callbacks

    def attach() -> None:
        callbacks().append(TransformersMonitor(every=EVERY))
        now = {"model": trainer.model, "optimizer": trainer.optimizer}
        begun = dataclasses.replace(trainer.state, global_step=0)  # every window is the beginning of a watch, as of the others
        callbacks()[-1].on_train_begin(trainer.args, begun, trainer.control, **now)

    windows.attach = attach
    windows.detach = lambda: callbacks().pop().on_train_end(trainer.args, trainer.state, trainer.control)
    with tempfile.TemporaryDirectory() as folder:
        arguments = lib.TrainingArguments(
            output_dir=folder,
            max_steps=windows.steps,
            per_device_train_batch_size=16 * size,
            report_to=[],
            use_cpu=True,
            logging_strategy="no",
            save_strategy="no",
            lr_scheduler_type="constant",  # as the compared fits are not equally long
            disable_tqdm=True,
        )
        trainer = lib.Trainer(model=model, args=arguments, train_dataset=data, callbacks=[Clock()])  # type: ignore[arg-type]
        trainer.train()
    return windows


FITS: dict[str, tuple[Callable[[int, int], Windows], str | None]] = {
    "Monitor": (plain, None),
    "Monitor(run=...)": (with_run, None),
    "trainability run": (script, None),
    "Lightning": (lightning, "lightning"),
    "Transformers": (transformers, "transformers"),
    "Accelerate": (accelerate, "accelerate"),
}
"""Kinds of loop, each with the package that it needs."""


def main(name: str, size: int, num_watched: int) -> None:
    """Prints what one fit measured; only that on the standard output."""
    from trainability.loops import monitor

    monitor._FIRST_LOOKS = 3  # a long run has time to diagnose nearly every sampled step; a window's timed one counts with that
    warnings.simplefilter("ignore")  # of these libraries about each other
    os.environ["HF_HUB_OFFLINE"] = "1"
    with contextlib.redirect_stdout(sys.stderr):
        found = FITS[name][0](num_watched, size).found()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
