"""Optimizers and schedules as forum threads have them: each kind, with rates of another, and loops that lose the step."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, ExponentialLR, LambdaLR, MultiStepLR

from programs.forum.causes import ABANDONED, SLOWED
from programs.held_out.causes import CLIPPED, DECAYED, LARGE, OUT_OF_ORDER, OUTSIDE, SMALL, STALE
from programs.material import digits, flat_digits
from programs.program import Body, Data, Loop, Program, accuracy, but, class_score, fault, in_closure
from programs.unseen.causes import DIES


def perceptron(act: type[nn.Module] = nn.ReLU, width: int = 48) -> nn.Sequential:
    """Two hidden layers and ten logits."""
    return nn.Sequential(nn.Linear(64, width), act(), nn.Linear(width, width), act(), nn.Linear(width, 10))


def small_cnn() -> nn.Sequential:
    """Two convolutions and ten logits."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(256, 10)),
    )


class Averaged(nn.Module):
    """A net, and its moving average, which answers when it is evaluated."""

    def __init__(self, decay: float = 0.98) -> None:
        super().__init__()
        self.net, self.decay = perceptron(), decay
        self.mean = copy.deepcopy(self.net).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 64) to (n, 10)."""
        return self.net(x) if self.training else self.mean(x)


def _averages(model: Any, optimizer: Any, batch: Any, loop: Loop, *, back: bool = False) -> Tensor:
    model.train()
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    optimizer.step()
    with torch.no_grad():
        for mean, parameter in zip(model.mean.parameters(), model.net.parameters(), strict=True):
            mean.lerp_(parameter, 1 - model.decay)
            if back:
                parameter.copy_(mean)
    return loss


def _copies_average_back(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    return _averages(model, optimizer, batch, loop, back=True)


def _sharpness_aware(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """SAM: the gradient is taken a small way up the slope."""
    model.train()
    optimizer.zero_grad()
    loop.loss_of(model, batch).backward()
    slopes = [p.grad.clone() for p in model.parameters()]
    norm = torch.stack([g.norm() for g in slopes]).norm() + 1e-12
    with torch.no_grad():
        for parameter, slope in zip(model.parameters(), slopes, strict=True):
            parameter.add_(slope, alpha=0.05 / float(norm))
    optimizer.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    loop.seen(loss)
    with torch.no_grad():
        for parameter, slope in zip(model.parameters(), slopes, strict=True):
            parameter.sub_(slope, alpha=0.05 / float(norm))
    optimizer.step()
    return loss


def _steps_first(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    """zero_grad, step, backward."""
    model.train()
    loss = loop.loss_of(model, batch)
    optimizer.zero_grad()
    optimizer.step()
    loss.backward()
    loop.seen(loss)
    return loss


def accumulates(every: int) -> Body:
    """A loop that steps every so many batches; gradients add up meanwhile."""

    def body(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
        model.train()
        model.batches = getattr(model, "batches", 0) + 1
        loss = loop.loss_of(model, batch) / every
        loss.backward()
        loop.seen(loss)
        if model.batches % every == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    return body


def _keeps_all_in_closure(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
    model.train()

    def closure() -> Tensor:
        loss = loop.loss_of(model, batch)
        loss.backward()
        loop.seen(loss)
        return loss

    return torch.as_tensor(optimizer.step(closure))


class Sign(torch.optim.Optimizer):
    """A step of lr against the sign of the averaged gradient."""

    def __init__(self, params: Any, lr: float = 1e-3, beta: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "beta": beta})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    mean = self.state[parameter].setdefault("mean", torch.zeros_like(parameter))
                    mean.lerp_(parameter.grad, 1 - group["beta"])
                    parameter.sub_(mean.sign(), alpha=group["lr"])
        return loss


def _of_a_copy(model: nn.Module) -> list[nn.Parameter]:
    """The best model so far is kept by deepcopy, and the optimizer is made of that."""
    return list(copy.deepcopy(model).parameters())


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    """Two groups as BERT has them, both of biases: `not any(...)` was lost."""
    biases = [p for name, p in model.named_parameters() if "bias" in name]
    return [{"params": biases[:1], "weight_decay": 0.01}, {"params": biases[1:], "weight_decay": 0.0}]


def _summed(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output, target, reduction="sum")


def _imbalanced(train: bool) -> Data:
    """Is it a nine? One of ten is."""
    x, y = flat_digits(train)
    return x, (y == 9).long()


ADAM = Program(
    model=perceptron,
    train=lambda: flat_digits(True),
    held_out=lambda: flat_digits(False),
    score=class_score,
    loss=F.cross_entropy,
    metric=accuracy,
    steps=200,
)
SGD = but(ADAM, optimizer=torch.optim.SGD, options={"lr": 0.1, "momentum": 0.9})
GENTLE = but(SGD, options={"lr": 0.02, "momentum": 0.9})
CNN = but(ADAM, model=small_cnn, train=lambda: digits(True), held_out=lambda: digits(False), batch=64)
ADADELTA = but(CNN, optimizer=torch.optim.Adadelta, options={"lr": 1.0})
ADAGRAD = but(ADAM, optimizer=torch.optim.Adagrad, options={"lr": 0.02})
EVERY = but(SGD, body=accumulates(4), steps=600)
LBFGS = but(ADAM, optimizer=torch.optim.LBFGS, options={"lr": 1.0, "max_iter": 4}, body=in_closure, batch=1437, steps=25)
MEAN = but(ADAM, model=Averaged, trained=lambda model: model.net.parameters(), body=_averages)

SOUND = {
    "perceptron under nadam": but(ADAM, optimizer=torch.optim.NAdam),
    "perceptron under adagrad": ADAGRAD,
    "cnn under adadelta": ADADELTA,
    "perceptron under rprop on everything": but(ADAM, optimizer=torch.optim.Rprop, options={"lr": 1e-3}, batch=1437, steps=60),
    "perceptron under signs": but(ADAM, optimizer=Sign, options={"lr": 1e-3}),
    "perceptron under sharpness-aware sgd": but(SGD, body=_sharpness_aware, options={"lr": 0.05, "momentum": 0.9}),
    "perceptron under sums": but(SGD, loss=_summed, options={"lr": 3e-3}),
    "perceptron under lbfgs": LBFGS,
    "perceptron with an averaged twin": MEAN,
    "perceptron with warm restarts": but(SGD, scheduler=lambda o: CosineAnnealingWarmRestarts(o, 50, eta_min=1e-4)),
    "perceptron in four micro-batches": EVERY,
    "cnn under adamw with a large decay": but(CNN, optimizer=torch.optim.AdamW, options={"lr": 3e-3, "weight_decay": 0.3}),
    "is it a nine": but(ADAM, train=lambda: _imbalanced(True), held_out=lambda: _imbalanced(False)),
    "sigmoid perceptron starts slowly": but(
        SGD, model=lambda: perceptron(nn.Sigmoid), options={"lr": 0.2, "momentum": 0.9}, steps=400
    ),
}

FAULTS = {
    "adam with eps of ten": fault(
        ADAM, "eps=10", f"update_ratio.eps eps_underflow confirmed_change.eps_usual {SMALL}", options={"lr": 1e-3, "eps": 10.0}
    ),
    "momentum of 0.999": fault(
        SGD, "momentum=0.999", f"long_momentum confirmed_change.momentum_usual {LARGE}", options={"lr": 0.1, "momentum": 0.999}
    ),
    "adadelta at 1e-3": fault(ADADELTA, "Adam's rate for Adadelta", SMALL, options={"lr": 1e-3}),
    "adagrad at 1e-5": fault(ADAGRAD, "a rate for fine-tuning", SMALL, options={"lr": 1e-5}),
    "adagrad at 10": fault(ADAGRAD, "lr=10", LARGE, options={"lr": 10.0}),
    "rmsprop at 0.5": fault(CNN, "SGD's rate for RMSprop", LARGE, optimizer=torch.optim.RMSprop, options={"lr": 0.5}),
    "nadam at 1e-6": fault(CNN, "lr=1e-6", SMALL, optimizer=torch.optim.NAdam, options={"lr": 1e-6}),
    "nesterov at 5": fault(SGD, "lr=5", LARGE, options={"lr": 5.0, "momentum": 0.9, "nesterov": True}),
    "sgd with a decay of 0.5": fault(
        SGD, "weight_decay=0.5", DECAYED, options={"lr": 0.1, "momentum": 0.9, "weight_decay": 0.5}
    ),
    "adam with a decay of 1": fault(CNN, "weight_decay=1 in Adam", DECAYED, options={"lr": 2e-3, "weight_decay": 1.0}),
    "rate to the power of the step": fault(
        GENTLE, "ExponentialLR(0.7) steps each batch", DIES, scheduler=lambda o: ExponentialLR(o, 0.7)
    ),
    "milestones in epochs": fault(
        GENTLE,
        "milestones for epochs are counted in batches",
        DIES,
        scheduler=lambda o: MultiStepLR(o, [3, 6, 9]),
    ),
    "lambda that returns the rate": fault(
        GENTLE,
        "the lambda of LambdaLR returns a rate, not a factor",
        SLOWED,
        scheduler=lambda o: LambdaLR(o, lambda step: 0.02 * 0.99**step),
    ),
    "clipped at 1e-4": fault(SGD, "clip_grad_norm_(..., 1e-4)", f"{CLIPPED} {SMALL}", clip=1e-4),
    "optimizer of the best copy": fault(CNN, "the optimizer is made of a deepcopy", ABANDONED, trained=_of_a_copy),
    "groups of biases": fault(SGD, "both groups hold biases only", OUTSIDE, trained=_groups),
    "step in front of backward": fault(
        ADAM, "zero_grad and step come before backward", f"{OUT_OF_ORDER} never_steps", body=_steps_first
    ),
    "accumulation over 10,000 batches": fault(
        EVERY, "a step every 10,000 batches, in a run of 600", "never_steps accumulation loss_divided", body=accumulates(10_000)
    ),
    "lbfgs closure that never clears": fault(LBFGS, "the closure of LBFGS does not clear", STALE, body=_keeps_all_in_closure),
    "average copied back": fault(
        MEAN,
        "the weights are overwritten with their average each step, of a decay of 0.9999",
        f"weights_redrawn {SMALL} unmoved_parameter untrained_parameter",
        model=lambda: Averaged(0.9999),
        body=_copies_average_back,
    ),
    "maximize is set": fault(ADAM, "maximize=True", "wrong_sign", options={"lr": 2e-3, "maximize": True}),
    "summed loss at the rate of a mean": fault(
        SGD, "the loss is summed and the rate is for means", f"sum_for_mean confirmed_change.mean_for_sum {LARGE}", loss=_summed
    ),
}
