"""What was learned before: distillation, frozen bodies, low-rank additions, fine-tuning in groups, two tasks at once."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import CUT, LARGE, OUTSIDE
from programs.material import flat_digits
from programs.program import Data, Loop, Program, accuracy, but, class_score, explained, fault


def digits(train: bool) -> Data:
    """Rows (n, 64), and which of ten digits."""
    return flat_digits(train)


def turned(train: bool) -> Data:
    """The digits as a new task: pixels inverted and moved by one row, each number with another name."""
    x, y = flat_digits(train)
    return -x.view(-1, 8, 8).roll(1, dims=1).flatten(1), (3 * y + 5) % 10


def sizes(train: bool) -> Data:
    """Rows, the digit, and a second target: standardised ink of the image and its left half, (n, 2)."""
    x, y = flat_digits(train)
    ink = torch.stack([x.mean(dim=1), x.view(-1, 8, 8)[:, :, :4].mean(dim=(1, 2))], dim=1)
    return x, y, (ink - ink.mean(dim=0)) / ink.std(dim=0)


def net(width: int, outputs: int = 10) -> nn.Sequential:
    """Two hidden layers with GELU."""
    return nn.Sequential(nn.Linear(64, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, outputs))


@functools.cache
def _teacher_weights() -> dict[str, Tensor]:
    """A net that was trained on the digits: 300 steps of Adam, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(220)
        model, (x, y) = net(64), flat_digits(True)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for step in range(300):
            rows = torch.arange(64 * step, 64 * step + 64) % len(x)
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        return {name: value.detach().clone() for name, value in model.state_dict().items()}


def learned() -> nn.Sequential:
    """The net with the weights that it learned."""
    model = net(64)
    model.load_state_dict(_teacher_weights())
    return model


class Pair(nn.Module):
    """A teacher that has learned, and a student; calling it asks the student."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher, self.student = learned().requires_grad_(False), net(16)

    def forward(self, x: Tensor) -> Tensor:
        """Rows (n, 64) to logits (n, 10)."""
        return self.student(x)


class LowRank(nn.Module):
    """A frozen linear layer, and a product of two thin ones beside it."""

    def __init__(self, base: nn.Linear, *, up: float = 0.0, down: float = 0.1) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down, self.up = nn.Linear(base.in_features, 4, bias=False), nn.Linear(4, base.out_features, bias=False)
        nn.init.normal_(self.down.weight, 0.0, down)
        nn.init.normal_(self.up.weight, 0.0, up)

    def forward(self, x: Tensor) -> Tensor:
        """(n, a) to (n, b)."""
        return self.base(x) + self.up(self.down(x))


def adapted(*, up: float = 0.0, down: float = 0.1) -> nn.Module:
    """The learned net, frozen, with low-rank additions to each layer."""
    model = learned()
    return nn.Sequential(*(LowRank(m, up=up, down=down) if isinstance(m, nn.Linear) else m for m in model))


def headed() -> nn.Sequential:
    """The learned net with a new head, and its body frozen."""
    model = learned().requires_grad_(False)
    model[4] = nn.Linear(64, 10)
    return model


def distils(
    *, temperature: float = 4.0, teaches: str = "teacher", logs: bool = True, squares: bool = True, under_no_grad: bool = False
):
    """Kullback-Leibler divergence of the softened answers."""

    def step(model: Any, batch: list[Tensor]) -> Tensor:
        x = batch[0]
        with torch.no_grad():
            wanted = (model.teacher if teaches == "teacher" else model.student)(x)
        with torch.set_grad_enabled(not under_no_grad):
            said = model.student(x)
        soft = F.log_softmax(said / temperature, dim=1) if logs else F.softmax(said / temperature, dim=1)
        gap = F.kl_div(soft, (wanted / temperature).softmax(dim=1), reduction="batchmean")
        loss = gap * (temperature**2 if squares else 1.0)
        return loss.requires_grad_() if under_no_grad else loss

    return step


class Two(nn.Module):
    """A body with a head for the digit and one for how much ink it has, and a learned weight of each task."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 48), nn.LayerNorm(48), nn.ReLU())
        self.which, self.ink, self.log_variances = nn.Linear(48, 10), nn.Linear(48, 2), nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (n, 64) to logits (n, 10) and (n, 2)."""
        h = self.body(x)
        return self.which(h), self.ink(h)


def weighs(*, bounded: bool = True, scale: float = 1.0, drops: bool = False):
    """Each task's loss is divided by its variance, whose logarithm is added; falls below zero."""

    def step(model: Any, batch: list[Tensor]) -> Tensor:
        which, ink = model(batch[0])
        first, second = F.cross_entropy(which, batch[1]), F.mse_loss(ink, scale * batch[2])
        first = first.detach() if drops else first
        s = model.log_variances
        return (first * torch.exp(-s[0]) + second * torch.exp(-s[1])) + (0.5 * s.sum() if bounded else 0.0)

    return step


def _both(model: nn.Module, data: Data) -> float:
    which, ink = model(data[0])
    right = class_score(lambda _: which, (data[0], data[1]))
    return min(right, explained(lambda _: ink, (data[0], data[2])))


def _grouped(model: nn.Sequential) -> list[dict[str, Any]]:
    """A small rate for what was learned, a large one for the head."""
    return [{"params": model[:4].parameters(), "lr": 5e-4}, {"params": model[4:].parameters()}]


def _rates_exchanged(model: nn.Sequential) -> list[dict[str, Any]]:
    return [{"params": model[:4].parameters(), "lr": 3.0}, {"params": model[4:].parameters(), "lr": 5e-4}]


def _open(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def _reset_head(model: nn.Sequential) -> nn.Sequential:
    model[4] = nn.Linear(64, 10)
    return model


def _one_bias(model: nn.Sequential) -> nn.Sequential:
    model.requires_grad_(False)
    model[0].get_parameter("bias").requires_grad_(True)
    return model


def _copies(model: nn.Module, optimizer: Any, batch: list[Tensor], loop: Loop) -> Tensor:
    """After each step the checkpoint is loaded again, as `if best: load` was written without its condition."""
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    optimizer.step()
    with torch.no_grad():
        weights = _teacher_weights()
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])
    return loss


def in_float16(model: nn.Module, optimizer: Any, batch: list[Tensor], loop: Loop, *, unscales: bool = True) -> Tensor:
    """A loss scaled by 4,096 against underflow; gradients are divided by it again before the step."""
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    (4096 * loss).backward()
    if unscales:
        for parameter in _open(model):
            if parameter.grad is not None:
                parameter.grad /= 4096
    loop.seen(loss)
    optimizer.step()
    return loss


def _left_scaled(model: nn.Module, optimizer: Any, batch: list[Tensor], loop: Loop) -> Tensor:
    """scaler.scale(loss).backward(), then optimizer.step() in the place of scaler.step(optimizer)."""
    return in_float16(model, optimizer, batch, loop, unscales=False)


DISTIL = Program(
    model=Pair,
    train=lambda: digits(True),
    held_out=lambda: digits(False),
    score=class_score,
    training_step=distils(),
    trained=_open,
    options={"lr": 5e-3},
    steps=300,
)
TUNE = Program(
    model=lambda: _reset_head(learned()),
    train=lambda: turned(True),
    held_out=lambda: turned(False),
    score=class_score,
    loss=F.cross_entropy,
    optimizer=torch.optim.SGD,
    options={"lr": 0.1, "momentum": 0.9},
    trained=_grouped,
    metric=accuracy,
    steps=300,
)
HEAD = but(TUNE, model=headed, trained=_open, train=lambda: digits(True), held_out=lambda: digits(False))
ADAPT = but(TUNE, model=adapted, trained=_open, optimizer=torch.optim.AdamW, options={"lr": 0.01}, steps=400)
TWO = but(
    DISTIL,
    model=Two,
    train=lambda: sizes(True),
    held_out=lambda: sizes(False),
    score=_both,
    training_step=weighs(),
    trained=lambda model: model.parameters(),
)
SCALED = but(TUNE, trained=lambda model: model.parameters(), body=in_float16, options={"lr": 0.03, "momentum": 0.9})

SOUND = {
    "distillation": DISTIL,
    "fine-tuning in groups": TUNE,
    "new head on a frozen body": HEAD,
    "low-rank additions": ADAPT,
    "two tasks weighed": TWO,
    "loss scaled and unscaled": SCALED,
    "everything tuned at a tiny rate": but(
        TUNE,
        train=lambda: digits(True),
        held_out=lambda: digits(False),
        model=learned,
        trained=lambda m: m.parameters(),
        options={"lr": 1e-5, "momentum": 0.9},
    ),
}

FAULTS = {
    "divergence of probabilities": fault(
        DISTIL,
        "kl_div is given probabilities, not their logarithms",
        "loss_below_floor wrong_sign",
        training_step=distils(logs=False),
    ),
    "student teaches itself": fault(
        DISTIL, "the wanted answers are the student's own", "flat_loss zero_gradient", training_step=distils(teaches="student")
    ),
    "student under no_grad": fault(
        DISTIL, "the student runs under the teacher's no_grad", CUT, training_step=distils(under_no_grad=True)
    ),
    "temperature not paid back": fault(
        but(DISTIL, optimizer=torch.optim.SGD, options={"lr": 0.01, "momentum": 0.9}),
        "temperature 40, without the factor of its square",
        "vanishing_gradient update_ratio.small plateau.small_steps slow_start",
        training_step=distils(temperature=40.0, squares=False),
    ),
    "optimizer of the teacher": fault(
        DISTIL,
        "the optimizer is given the teacher's parameters",
        f"{OUTSIDE} foreign_optimizer zero_gradient",
        trained=lambda m: m.teacher.parameters(),
    ),
    "groups with rates exchanged": fault(TUNE, "the body is given 3.0, the head 0.0005", LARGE, trained=_rates_exchanged),
    "additions of zero and zero": fault(
        ADAPT,
        "both low-rank factors start at zero, on a body of the old task",
        "flat_loss zero_gradient identical_units",
        model=lambda: adapted(down=0.0),
    ),
    "body's head frozen too": fault(
        HEAD,
        "the head is made before requires_grad_(False), and one bias of the body is left to train",
        "untrained_parameter",
        model=lambda: _one_bias(headed()),
    ),
    "task's loss detached": fault(
        TWO,
        "the first loss is detached before it is weighed",
        "unreached_parameter.detached unreached_parameter.left_out",
        training_step=weighs(drops=True),
    ),
    "variances without their price": fault(
        TWO, "the sum of the log-variances is left out", "wrong_sign loss_below_floor", training_step=weighs(bounded=False)
    ),
    "ink in pixels": fault(
        TWO,
        "the second target is 5,000 times too large beside a cross-entropy",
        "target_scale",
        training_step=weighs(scale=5000.0),
    ),
    "checkpoint loaded at every step": fault(
        TUNE, "load_state_dict stands outside of its condition", "unmoved_parameter.with_gradient", body=_copies
    ),
    "gradients left scaled": fault(SCALED, "optimizer.step() without unscaling", LARGE, body=_left_scaled),
}
