"""The cost of training on many GPUs: arithmetic and communication per step, from a measured rate and published link speeds."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from trainability.config import SOURCES, RunConfig
from trainability.models.vgg import VGG, count_parameters
from trainability.training import engine as engines
from trainability.training.engine import Engine
from trainability.training.parts import build_model

LEAST_SECONDS = 0.5
"""A measured step takes at least this long, if the batch is large enough."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """The arithmetic of a network.

    Attributes:
        num_parameters: of the network.
        forward: floating-point operations of an image's forward pass; a multiplication and an addition are two.
        step: of its forward and backward pass, including what activation checkpointing recomputes.
    """

    num_parameters: int
    forward: int
    step: int


@dataclass(frozen=True, kw_only=True)
class Links:
    """How processes are connected.

    Attributes:
        per_host: processes on a host.
        within: bytes per second and direction of a process to its neighbours on the host.
        between: bytes per second and direction of a process to other hosts.
    """

    per_host: int
    within: float
    between: float


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """What one step costs with a number of processes.

    Attributes:
        num_processes: number of processes that share the batch.
        images: images of a step per process; less than 1 if the batch has fewer images than there are processes.
        alone: seconds of arithmetic for that many images.
        compute: the same for the process with the most images; a process has whole images.
        communication: seconds of communication, if nothing else used the links.
        exposed: the part of these seconds that does not overlap with the backward pass.
        steps: of the whole run.
    """

    num_processes: int
    images: float
    alone: float
    compute: float
    communication: float
    exposed: float
    steps: int

    @property
    def seconds(self) -> float:
        """Seconds of the step, with communication overlapping the backward pass where possible."""
        return self.compute + self.exposed

    @property
    def efficiency(self) -> float:
        """Fraction of the processes' arithmetic rate that is used."""
        return self.alone / self.seconds

    @property
    def worst_efficiency(self) -> float:
        """The same without any overlap of communication."""
        return self.alone / (self.compute + self.communication)


def extent_of(config: RunConfig, num_train: int | None) -> tuple[int, int]:
    """Return the number of training images, and of classes, without reading the data.

    Raises:
        ValueError: they depend on files or on the seed, and are not given.
    """
    images, classes = SOURCES[config.data.name].extent or (None, None)
    if config.data.name == "synthetic":
        images, classes = round(config.data.num_images * (1 - config.data.val_fraction)), config.data.num_classes
    images, classes = num_train or images, config.model.num_outputs or classes
    if images is None or classes is None:
        missing = "--num-train" if images is None else "--model.num-outputs"
        raise ValueError(
            f"data.name {config.data.name}: how many images or classes it has is read from its files; give {missing}"
        )
    return images, classes


def work_of(config: RunConfig, num_classes: int) -> Work:
    """Count the operations of an image, on tensors without memory.

    Args:
        config: complete.
        num_classes: of the data.
    """
    assert config.data.crop is not None
    with torch.device("meta"):
        model = build_model(config, num_classes=num_classes)
        image = torch.zeros(1, 3, config.data.crop, config.data.crop)
    model.checkpoints_stages = config.run.checkpoint_activations
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(image)
    forward = counter.get_total_flops()
    with counter:
        model(image).sum().backward()
    return Work(num_parameters=count_parameters(model), forward=forward, step=counter.get_total_flops())


def measured_rate(config: RunConfig, num_classes: int, *, seconds: float) -> float:
    """Measure how many images per second this device trains: forward, backward and update, on images in memory.

    Args:
        config: complete; its device, precision and compilation.
        num_classes: of the data.
        seconds: time to spend, after a large enough batch has been found.
    """
    with engines.start(config.run) as engine:
        model = build_model(config, num_classes=num_classes)
        model.checkpoints_stages = config.run.checkpoint_activations
        network = engine.prepare(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
        most = config.optim.micro_batch_size or config.optim.batch_size
        size = 1
        while (taken := _step_seconds(network, model, optimizer, config, size, engine)) < LEAST_SECONDS and size < most:
            size = min(2 * size, most)
        times = [taken]
        end = time.monotonic() + seconds - taken
        while time.monotonic() < end:
            times.append(_step_seconds(network, model, optimizer, config, size, engine))
    return size / sorted(times)[len(times) // 2]


def _step_seconds(
    network: torch.nn.Module, model: VGG, optimizer: torch.optim.SGD, config: RunConfig, size: int, engine: Engine
) -> float:
    assert config.data.crop is not None
    images = torch.zeros(size, 3, config.data.crop, config.data.crop, device=engine.device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(size, dtype=torch.int64, device=engine.device)
    wait = torch.cuda.synchronize if engine.device.type == "cuda" else lambda: None
    wait()
    begun = time.perf_counter()
    with engine.autocast():
        logits = network(images)
    optimizer.zero_grad()
    F.cross_entropy(logits.float(), labels).backward()
    optimizer.step()
    wait()
    return time.perf_counter() - begun


def communication_seconds(num_bytes: float, num_processes: int, links: Links, *, parallel: str) -> float:
    """Compute how long the processes of a step communicate.

    A ring reduce-scatter or all-gather of S bytes moves (g - 1) / g S through each process of a host of g, then
    (h - 1) / h S / g between h hosts (Thakur, Rabenseifner & Gropp 2005, section 4.5, on two levels). Gradients of DDP are
    reduced, then gathered; sharded weights are gathered in the forward and in the backward pass, and their gradients
    reduced (Zhao et al. 2023, arXiv 2304.11277, section 3).

    Args:
        num_bytes: of the gradients of the whole network.
        num_processes: in all.
        links: between them.
        parallel: "ddp" or "sharded".
    """
    local = min(num_processes, links.per_host)
    hosts = -(-num_processes // links.per_host)
    once = (local - 1) / local * num_bytes / links.within + (hosts - 1) / hosts * num_bytes / local / links.between
    return once * (3 if parallel == "sharded" else 2)


def step_cost(
    config: RunConfig,
    work: Work,
    *,
    num_processes: int,
    batch_size: int,
    num_train: int,
    images_per_second: float,
    links: Links,
) -> StepCost:
    """Compute what a step costs.

    Args:
        config: complete; how the processes share the network, and for how many epochs.
        work: of `work_of`.
        num_processes: number of processes that share the batch.
        batch_size: images of a step, over all processes.
        num_train: number of training images.
        images_per_second: rate at which one process alone trains.
        links: between the processes.
    """
    images = batch_size / num_processes
    compute = math.ceil(images) / images_per_second
    communication = communication_seconds(4.0 * work.num_parameters, num_processes, links, parallel=config.run.parallel)
    backward = compute * (1 - work.forward / work.step)
    return StepCost(
        num_processes=num_processes,
        images=images,
        alone=images / images_per_second,
        compute=compute,
        communication=communication,
        exposed=max(0.0, communication - backward),
        steps=-(-num_train // batch_size) * config.optim.epochs,
    )
