"""Loops with something more: accumulation, averages, bf16, fine-tuning, binary weights, mixup, penalties, checkpoints."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from programs.forum.causes import ABANDONED, UNPAIRED
from programs.held_out.causes import CLIPPED, CUT, DECAYED, LARGE, SMALL
from programs.program import Body, Data, Loop, Program, accuracy, but, class_score, explained, fault, in_bf16, usual
from programs.unseen.causes import FROZEN, SAME
from programs.workshop.schedules import arms, convolutions, flats, glyphs, rents, spirals
from programs.workshop.swells import rng_of


@functools.cache
def alarms(train: bool) -> Data:
    """Readings (n, 10) of a machine and 1 for the few that precede a failure, (n,)."""
    rng = rng_of(5200 if train else 5201)
    n = 2000 if train else 1500
    label = (torch.rand(n, generator=rng) < 0.06).long()
    x = torch.randn(n, 10, generator=rng)
    x[:, :4] += 1.1 * label[:, None]
    x[:, 4] *= 1 + 1.5 * label
    return x, label


@functools.cache
def backbone() -> dict[str, Tensor]:
    """Weights of convolutions that were trained on the same glyphs elsewhere."""
    with torch.random.fork_rng():
        torch.manual_seed(5202)
        model = pooled(convolutions())
        x, y = glyphs(True)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(300):
            rows = torch.randint(len(x), (64,))
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model.state_dict()


def pooled(model: nn.Module) -> nn.Sequential:
    """The convolutions with a head on the largest of each channel."""
    return nn.Sequential(*list(model.children())[:-2], nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(32, 6))


def pretrained(*, found: bool = True) -> nn.Sequential:
    """The convolutions with a new head; where keys are not found they stay as drawn."""
    model = nn.Sequential(*convolutions().children())
    known = {key if found else f"module.{key}": value for key, value in backbone().items() if value.shape[0] != 6}
    model.load_state_dict(known, strict=False)
    model[-1] = nn.Linear(288, 6)
    return model


def frozen(*, found: bool = True) -> nn.Sequential:
    """The same with all but a small head frozen."""
    model = pooled(pretrained(found=found))
    model[:-1].requires_grad_(False)
    return model


class Averaged(nn.Module):
    """Spirals' net and the moving average of its weights, which answers in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.mean = arms(), arms()
        self.mean.load_state_dict(self.net.state_dict())
        self.mean.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 2) to (n, 3)."""
        return (self.net if self.training else self.mean)(x)


class Sign(torch.autograd.Function):
    """The sign, with the derivative of a clipped line."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Of any shape."""
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """The gradient where |x| is below one."""
        (x,) = ctx.saved_tensors
        return grads[0] * (x.abs() <= 1)


class Binary(nn.Module):
    """A table's net with a layer of binary activations."""

    def __init__(self, *, straight: bool = True) -> None:
        super().__init__()
        self.straight = straight
        self.first, self.norm, self.last = nn.Linear(8, 128), nn.BatchNorm1d(128), nn.Linear(128, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 8) to (n, 1)."""
        h = self.norm(self.first(x))
        return self.last(Sign.apply(h) if self.straight else torch.sign(h))


class Checkpointed(nn.Module):
    """Spirals' net whose trunk is computed again in backward."""

    def __init__(self, *, reentrant: bool = False) -> None:
        super().__init__()
        self.reentrant = reentrant
        net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))
        self.trunk, self.head = net[:-1], net[-1]

    def forward(self, x: Tensor) -> Tensor:
        """(n, 2) to (n, 3)."""
        return self.head(checkpoint(self.trunk, x, use_reentrant=self.reentrant))


class TwoHeads(nn.Module):
    """A table's net that also rebuilds its inputs from a narrow layer."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 48)), nn.LeakyReLU(), nn.Linear(48, 24))
        self.rent, self.inputs = nn.Sequential(nn.LeakyReLU(), nn.Linear(24, 1)), nn.Linear(24, 8)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 8) to (n, 1)."""
        return self.rent(self.trunk(x))


def in_turns(*, every: int = 4, divides: bool = True) -> Body:
    """Steps after every fourth batch; the model counts its batches."""

    def body(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
        model.train()
        model.batches = getattr(model, "batches", 0) + 1
        loss = loop.loss_of(model, batch)
        (loss / every if divides else loss).backward()
        loop.seen(loss)
        if model.batches % every == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    return body


def averages(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """Keeps the moving average of the weights."""
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    optimizer.step()
    with torch.no_grad():
        for mean, now in zip(model.mean.parameters(), model.net.parameters(), strict=True):
            mean.lerp_(now, 0.03)
    return loss


def scaled(model: Any, optimizer: Any, batch: Any, loop: Loop, *, first: str = "unscaled") -> Tensor:
    """A loss scaled by 65,536 by hand, its gradients clipped at 1."""
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    (loss * 65536).backward()
    loop.seen(loss)
    parameters = [p for p in model.parameters() if p.grad is not None]
    if first == "clipped":
        nn.utils.clip_grad_norm_(parameters, 1.0)
    for p in parameters:
        p.grad /= 65536
    if first == "unscaled":
        nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    return loss


def begins_anew(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """Weights are drawn at the beginning of each epoch of 25 batches."""
    model.batches = getattr(model, "batches", -1) + 1
    if model.batches % 25 == 0:
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()
    return usual(model, optimizer, batch, loop)


def mixed(model: Any, batch: Any, *, swapped: bool = False) -> Tensor:
    """Mixup of each example with another."""
    x, y = batch
    share = float(torch.distributions.Beta(0.3, 0.3).sample())
    share, other = max(share, 1 - share), torch.randperm(len(x))
    output = model(share * x + (1 - share) * x[other])
    if swapped:
        share = 1 - share
    return share * F.cross_entropy(output, y) + (1 - share) * F.cross_entropy(output, y[other])


def sparse(model: Any, batch: Any, *, weight: float) -> Tensor:
    """Squared error and the sum of the absolute weights."""
    return F.mse_loss(model(batch[0]), batch[1]) + weight * sum(p.abs().sum() for p in model.parameters())


def smooth(model: Any, batch: Any) -> Tensor:
    """Cross-entropy and the square of its gradient by the inputs."""
    x = batch[0].clone().requires_grad_()
    loss = F.cross_entropy(model(x), batch[1])
    (slope,) = torch.autograd.grad(loss * len(x), x, create_graph=True)
    return loss + 0.01 * slope.square().sum(dim=1).mean()


def rebuilds(model: Any, batch: Any) -> Tensor:
    """The rent, and half the error of the inputs as they are rebuilt."""
    h = model.trunk(batch[0])
    return F.mse_loss(model.rent(h), batch[1]) + 0.5 * F.mse_loss(model.inputs(h), batch[0])


def _wrong_fifth(train: bool) -> Data:
    x, y = spirals(train)
    wrong = torch.rand(len(y), generator=rng_of(5203)) < 0.2
    return x, torch.where(wrong, torch.randint(3, y.shape, generator=rng_of(5204)), y)


def _whole(train: bool) -> Data:
    x, y = glyphs(train)
    return (x.sigmoid() * 0.999).to(torch.uint8).float(), y


def _weights(first: float, second: float) -> Any:
    return lambda o, y: F.cross_entropy(o, y, weight=torch.tensor([first, second]))


SPIRALS = Program(
    model=arms,
    train=lambda: spirals(True),
    held_out=lambda: spirals(False),
    score=class_score,
    loss=F.cross_entropy,
    metric=accuracy,
    optimizer=torch.optim.Adam,
    options={"lr": 1e-2},
    steps=400,
)
IN_TURNS = but(SPIRALS, body=in_turns(), batch=8, options={"lr": 0.1, "momentum": 0.9}, optimizer=torch.optim.SGD, steps=1600)
AVERAGED = but(SPIRALS, model=Averaged, body=averages, trained=lambda model: model.net.parameters())
CHECKPOINTED = but(SPIRALS, model=Checkpointed)
MIXED = but(SPIRALS, loss=None, training_step=mixed, metric=None, steps=500)
FLATS = Program(
    model=rents,
    train=lambda: flats(True),
    held_out=lambda: flats(False),
    score=explained,
    loss=F.mse_loss,
    optimizer=torch.optim.SGD,
    options={"lr": 0.1},
    steps=400,
)
SCALED = but(FLATS, body=scaled)
SPARSE = but(
    FLATS,
    loss=None,
    training_step=functools.partial(sparse, weight=3e-4),
    optimizer=torch.optim.Adam,
    options={"lr": 5e-3},
)
BINARY = but(FLATS, model=Binary, optimizer=torch.optim.Adam, options={"lr": 1e-2})
GLYPHS = Program(
    model=pretrained,
    train=lambda: glyphs(True),
    held_out=lambda: glyphs(False),
    score=class_score,
    loss=F.cross_entropy,
    metric=accuracy,
    optimizer=torch.optim.AdamW,
    options={"lr": 1e-3},
    steps=200,
)
FROZEN_GLYPHS = but(
    GLYPHS, model=frozen, options={"lr": 2e-2}, trained=lambda m: [p for p in m.parameters() if p.requires_grad]
)
ALARMS = Program(
    model=lambda: nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 2)),
    train=lambda: alarms(True),
    held_out=lambda: alarms(False),
    score=class_score,
    loss=_weights(0.06, 0.94),
    options={"lr": 5e-3},
    batch=64,
    steps=250,
)

SOUND = {
    "spirals in four turns": IN_TURNS,
    "spirals by the average of weights": AVERAGED,
    "spirals through a checkpoint": CHECKPOINTED,
    "spirals mixed up": MIXED,
    "spirals with a fifth of wrong arms": but(SPIRALS, train=lambda: _wrong_fifth(True), batch=128, options={"lr": 5e-3}),
    "spirals on a gentle slope": but(SPIRALS, loss=None, training_step=smooth, metric=None),
    "flats scaled by hand": SCALED,
    "flats of few weights": SPARSE,
    "flats of binary units": BINARY,
    "flats rebuilt beside": but(FLATS, model=TwoHeads, loss=None, training_step=rebuilds, options={"lr": 0.1, "momentum": 0.8}),
    "glyphs tuned": GLYPHS,
    "glyphs on frozen convolutions": FROZEN_GLYPHS,
    "glyphs in bf16": but(GLYPHS, model=convolutions, body=in_bf16, options={"lr": 2e-3}),
    "alarms, one in sixteen": ALARMS,
}

FAULTS = {
    "four turns undivided": fault(
        IN_TURNS,
        "the losses of 32 batches are summed before a step, not averaged",
        f"{LARGE} accumulation loss_divided sum_for_mean not_finite",
        body=in_turns(every=32, divides=False),
    ),
    "turns that never end": fault(
        IN_TURNS,
        "a step after every 2,000th batch of 1,600",
        "never_steps accumulation unmoved_parameter plateau.small_steps zero_rate",
        body=in_turns(every=2000),
    ),
    "drawn anew each epoch": fault(
        SPIRALS, "weights are drawn inside of the loop over epochs", "weights_redrawn loss_cliff", body=begins_anew
    ),
    "checkpoint without gradient": fault(
        CHECKPOINTED,
        "a reentrant checkpoint whose input needs no gradient gives none to its layers",
        FROZEN,
        model=lambda: Checkpointed(reentrant=True),
    ),
    "mixed up the wrong way": fault(
        MIXED,
        "the larger share goes to the labels of the others",
        UNPAIRED,
        training_step=functools.partial(mixed, swapped=True),
    ),
    "clipped while scaled": fault(
        SCALED,
        "gradients are clipped before they are divided by the scale of the loss",
        f"{CLIPPED} {SMALL}",
        body=functools.partial(scaled, first="clipped"),
    ),
    "few weights at any price": fault(
        SPARSE,
        "the sum of absolute weights enters with 0.3",
        f"{DECAYED} {SAME}",
        training_step=functools.partial(sparse, weight=0.3),
    ),
    "sign without a derivative": fault(
        BINARY,
        "torch.sign, whose derivative is zero",
        f"flat_derivative untrained_parameter.step_function unmoved_parameter.step_function {CUT}",
        model=lambda: Binary(straight=False),
    ),
    "weights of bf16": fault(
        FLATS,
        "model and data in bfloat16, SGD at 1e-3: sums are rounded back",
        f"unmoved_parameter.rounding underflow {SMALL}",
        dtype=torch.bfloat16,
        options={"lr": 1e-3},
    ),
    "head of before": fault(
        FROZEN_GLYPHS,
        "the optimizer was given the head that was replaced",
        ABANDONED,
        trained=lambda _: nn.Linear(32, 6).parameters(),
    ),
    "keys that begin with module": fault(
        FROZEN_GLYPHS,
        "no key of the checkpoint is found (strict=False), and what stays random is frozen",
        FROZEN,
        model=lambda: frozen(found=False),
    ),
    "images of whole numbers": fault(
        GLYPHS,
        "images from 0 to 1 are cast to uint8",
        f"blank_images constant_input blind {SAME}",
        train=lambda: _whole(True),
        held_out=lambda: _whole(False),
    ),
    "alarms weighted backwards": fault(
        ALARMS,
        "the class weights are frequencies, not their inverse",
        f"class_imbalance prediction_collapse {SAME}",
        loss=_weights(0.94, 0.06),
    ),
}
