"""How fast a GPU trains VGG: the loop against the bare step and the usual script, and what bounds both.

    python benchmarks/gpu.py                       # everything, some ten minutes on an H100
    python benchmarks/gpu.py --only card loop      # parts of it
    python benchmarks/gpu.py --anew                # also what the file of results has already

card        the card's own rates: bf16, TF32 and fp32 matrix products of 8192 x 8192 random numbers, and a copy.
loop        D at 224: images/s of the bare step (one batch in memory: forward, backward, update), of `fit` without the doctor
            and of the usual script (DataLoader with worker processes, pinned memory, `.item()` every step; the same network),
            in turns of a few steps; with the share of the card's bf16 matrix rate that the network's operations take.
small       The same for B at 32 pixels.
watched     `fit` with the doctor at every 50th step and without it, in turns of whole runs.
own         a loop of one's own with `Monitor` at every 50th step and without it, in turns of 50 steps of one fit.
evaluation  images/s of the validation pass, against the bare forward pass.
loading     images/s of the streaming loader, that decodes a JPEG pack in worker processes, alone; of `fit` fed by it; and of
            `fit` on images in the card's memory.
memory      peak memory and time of a step with and without --run.checkpoint-activations, and whether their losses are equal.
profile     milliseconds of a step by kind of kernel.

Every ratio is a median over turns that alternate in one process. Results go to `results/gpu-CARD.json`.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gpu_own import classifier, own_loop, writer
from gpu_runs import BATCH, NUM_CLASSES, changed, evaluation, loading, loop_row, random_data, seconds_of, watched
from rich.console import Console
from throughput import bare_step, setting
from torch.nn import functional as F
from torch.profiler import ProfilerActivity
from torch.profiler import profile as profiler

from trainability.config import RunConfig
from trainability.training import engine as engines
from trainability.training.parts import assemble
from trainability.training.record import environment

RESULTS = Path(__file__).parent / "results"
ROUNDS = 2
UNWATCHED: dict[str, Any] = {"check": "off", "monitor_every_steps": None}


def card_rates() -> dict[str, float]:
    """Measure FLOP/s of matrix products, and bytes/s, read and written, of a copy."""
    rates = {}
    for name, dtype, precision in (("bf16", torch.bfloat16, "highest"), ("tf32", None, "high"), ("fp32", None, "highest")):
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(precision)
        a, b = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in range(2))
        rates[name] = 2 * 8192**3 / seconds_of(lambda a=a, b=b: torch.mm(a, b), steps=20)
        torch.set_float32_matmul_precision(before)
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    rates["copy"] = 2 * 2**30 / seconds_of(lambda: target.copy_(source), steps=20)
    return rates


def memory(config: RunConfig, *, steps: int) -> dict[str, Any]:
    """Compare training with and without activation checkpointing: bytes, time, losses."""
    rows: dict[str, Any] = {}
    data = random_data(config, BATCH * (steps + 2))
    for name, is_on in (("kept", False), ("checkpointed", True)):
        gc.collect()
        torch.cuda.empty_cache()
        run = changed(config, run__checkpoint_activations=is_on, run__deterministic=True, optim__lr=1e-3)
        with engines.start(run.run) as engine:
            parts = assemble(run, engine, data=data)
            losses = []
            torch.cuda.reset_peak_memory_stats()
            for number, step in enumerate(parts.loader.steps(0)):
                micro = next(step)
                torch.manual_seed(number)
                with engine.autocast():
                    logits = parts.network(micro.images)
                loss = F.cross_entropy(logits.float(), micro.labels)
                loss.backward()
                parts.optimizer.step()
                parts.optimizer.zero_grad()
                losses.append(loss.item())
                if number == steps:
                    break
            rows[name] = {
                "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
                "seconds_per_step": seconds_of(bare_step(parts, engine), steps=5),
                "losses": losses,
            }
    equal = rows["kept"].pop("losses") == rows["checkpointed"].pop("losses")
    return {**rows, "losses_bitwise_equal": equal, "steps": steps + 1}


KINDS = (
    ("convolution, forward", ("fprop",)),
    ("convolution, gradient of the input", ("dgrad",)),
    ("convolution, gradient of the weight", ("wgrad",)),
    ("matrix product", ("gemm", "cublas", "nvjet", "splitk")),
    ("pooling", ("max_pool", "pooled_kernel")),
    ("optimizer", ("multi_tensor", "foreach")),
)
"""Kinds of kernels, by parts of their names; the first that fits."""


def profile(config: RunConfig, *, steps: int) -> dict[str, float]:
    """Sum the milliseconds of a step's kernels by kind."""
    data = random_data(config, 2 * BATCH)
    with engines.start(config.run) as engine:
        parts = assemble(config, engine, data=data)
        step = bare_step(parts, engine)
        seconds_of(step, steps=1, warm_up=4)
        with profiler(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
            seconds_of(step, steps=steps, warm_up=0)
    sums: dict[str, float] = defaultdict(float)
    for event in seen.key_averages():
        if event.device_type.name == "CUDA" and not event.key.startswith("Optimizer."):
            name = event.key.lower()
            kind = next((kind for kind, parts in KINDS if any(part in name for part in parts)), "other, which moves memory")
            sums[kind] += event.self_device_time_total / 1e3 / steps
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def rows(rate: float) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Yield what is measured: its part, its name, and the measurement."""

    def run(model: str, crop: int, precision: str, width: float = 1.0, **more: Any) -> RunConfig:
        config = setting(model, width, crop, precision, BATCH, "cuda", 4, {**UNWATCHED, **more})
        return changed(config, data__num_classes=NUM_CLASSES)

    large, compiled = run("D", 224, "bf16"), run("D", 224, "bf16", compile=True)
    yield "card", "rates", card_rates
    for name, config in (("bf16", large), ("bf16, compiled", compiled), ("tf32", run("D", 224, "tf32"))):
        yield "loop", f"D at 224, {name}", partial(loop_row, config, steps=3, rate=rate)
    yield "loop", "D at 224, fp32", partial(loop_row, run("D", 224, "fp32"), steps=1, rate=rate)
    for name, precision, width, is_compiled in (
        ("B at 32, bf16", "bf16", 1.0, False),
        ("B at 32, bf16, compiled", "bf16", 1.0, True),
        ("B at 32, a quarter of the width, fp32", "fp32", 0.25, False),
    ):
        config = run("B", 32, precision, width, compile=is_compiled)
        yield "small", name, partial(loop_row, config, steps=40, rate=rate)
    yield "watched", "D at 224, bf16", partial(watched, large, rounds=ROUNDS, steps=100)
    yield "watched", "D at 224, bf16, compiled", partial(watched, compiled, rounds=ROUNDS, steps=100)
    yield "own", "GPT of 12 layers, bf16", partial(own_loop, writer, windows=8)
    yield "own", "four convolutions, bf16", partial(own_loop, classifier, windows=24)
    yield "evaluation", "D at 224, bf16", partial(evaluation, large, num_images=16 * BATCH)
    yield "memory", "D at 224, bf16", partial(memory, large, steps=4)
    yield "memory", "D at 224, fp32", partial(memory, run("D", 224, "fp32"), steps=2)
    yield "profile", "D at 224, bf16", partial(profile, large, steps=5)
    yield "profile", "D at 224, bf16, compiled", partial(profile, compiled, steps=5)
    yield "loading", "D at 224, bf16, compiled", partial(loading, compiled, num_images=20_000, rounds=ROUNDS, steps=60)


PARTS = ("card", "loop", "small", "watched", "own", "evaluation", "loading", "memory", "profile")


def main() -> None:
    """Measure, print, and write the results as they come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--anew", action="store_true", help="measure what has been measured again")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("torch sees no GPU here")
    card = torch.cuda.get_device_name()
    out = arguments.out or RESULTS / f"gpu-{'-'.join(card.lower().split())}.json"
    results: dict[str, Any] = json.loads(out.read_text()) if out.is_file() else {}
    machine = environment(device=torch.device("cuda"), world_size=1)
    del machine["command"]
    results["machine"] = {**machine, "cores": os.cpu_count()}
    console = Console(width=140)
    rate = results["card"]["rates"]["bf16"] if "card" in results else card_rates()["bf16"]
    for part, name, row in rows(rate):
        if part in arguments.only and (arguments.anew or name not in results.get(part, {})):
            results.setdefault(part, {})[name] = row()
            console.print(f"{part}: {name}", json.dumps(results[part][name]))
            out.write_text(json.dumps(results, indent=1) + "\n")
            gc.collect()
            torch.cuda.empty_cache()
    console.print(f"{card}, torch {torch.__version__}; {out}")


if __name__ == "__main__":
    main()
