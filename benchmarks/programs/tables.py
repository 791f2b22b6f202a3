"""Tables: regression, and one logit for yes or no."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.material import Data, moons, table
from programs.program import LARGE_STEPS, SMALL_STEPS, Program, but, ending, explained, fault


def net(inputs: int = 8, outputs: int = 1, width: int = 48) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))


class Mixed(nn.Module):
    """A number of a category, looked up or taken for a quantity, beside eight features."""

    def __init__(self, looked_up: bool) -> None:
        super().__init__()
        self.lookup = nn.Embedding(1000, 8) if looked_up else None
        self.body = net(16 if looked_up else 9)

    def forward(self, x: Tensor) -> Tensor:
        """Rows (n, 9), the category first, to (n, 1)."""
        if self.lookup is None:
            return self.body(x)
        return self.body(torch.cat([self.lookup(x[:, 0].long()), x[:, 1:]], dim=1))


def yes_or_no(model: nn.Module, data: Data) -> float:
    """Accuracy of the sign of the logit, from chance."""
    return 2 * float(((model(data[0]) > 0).float() == data[1]).float().mean()) - 1


def _accuracy_of_signs(pairs: list[tuple[Tensor, Tensor]]) -> float:
    right = sum(int(((output > 0).float() == target).sum()) for output, target in pairs)
    return right / sum(target.numel() for _, target in pairs)


def _accuracy_of_argmax(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """The accuracy of ten classes, used on one logit."""
    right = sum(int((output.argmax(dim=1) == target[:, 0]).sum()) for output, target in pairs)
    return right / sum(len(target) for _, target in pairs)


def _flat_targets(train: bool) -> Data:
    x, y = table(train)
    return x, y[:, 0]


def _prices(train: bool) -> Data:
    x, y = table(train)
    return x, 250_000 + 80_000 * y


def _units(train: bool) -> Data:
    x, y = table(train)
    return x * torch.tensor([1.0, 3e4, 1.0, 1e-3, 500.0, 1.0, 1.0, 1.0]) + torch.tensor([0.0, 9e4, 0, 0, 2e3, 0, 0, 0]), y


def _zeroed(train: bool) -> Data:
    x, y = table(train)
    return x * 0.0, y


def _gaps(train: bool) -> Data:
    x, y = table(train)
    x = x.clone()
    x[::50, 2] = torch.nan
    return x, y


def _categories(train: bool) -> Data:
    x, y = table(train)
    rng = torch.Generator().manual_seed(30)
    worth = torch.randn(1000, generator=rng)
    number = torch.randint(1000, (len(x) * 4,), generator=rng if train else torch.Generator().manual_seed(31))
    return torch.cat([number[:, None].float(), x.repeat(4, 1)], dim=1), worth[number][:, None] + 0.1 * y.repeat(4, 1)


def _plus_and_minus(train: bool) -> Data:
    x, y = moons(train)
    return x, 2 * y - 1


def _corners(train: bool) -> Data:
    """Exclusive or, with noise."""
    rng = torch.Generator().manual_seed(32 if train else 33)
    bits = torch.randint(2, (600, 2), generator=rng).float()
    return 2 * bits - 1 + 0.2 * torch.randn(600, 2, generator=rng), (bits.sum(dim=1) == 1).float()[:, None]


def _shuffled(train: bool) -> Data:
    x, y = table(train)
    return x, y[torch.randperm(len(y), generator=torch.Generator().manual_seed(34))]


def _own_log_loss(output: Tensor, target: Tensor) -> Tensor:
    p = torch.sigmoid(output)
    return -(target * torch.log(p) + (1 - target) * torch.log(1 - p)).mean()


def _pinball(output: Tensor, target: Tensor) -> Tensor:
    gap = target - output
    return torch.maximum(0.5 * gap, -0.5 * gap).mean()


REGRESSION = Program(
    model=net,
    train=lambda: table(True),
    held_out=lambda: table(False),
    score=explained,
    loss=F.mse_loss,
    options={"lr": 5e-3},
    steps=500,
)
PLAIN = but(REGRESSION, optimizer=torch.optim.SGD, options={"lr": 0.05, "momentum": 0.9})
BINARY = Program(
    model=lambda: net(2),
    train=lambda: moons(True),
    held_out=lambda: moons(False),
    score=yes_or_no,
    loss=F.binary_cross_entropy_with_logits,
    options={"lr": 5e-3},
    metric=_accuracy_of_signs,
    steps=300,
)
XOR = but(BINARY, train=lambda: _corners(True), held_out=lambda: _corners(False))
CATEGORIES = but(
    REGRESSION,
    model=lambda: Mixed(True),
    train=lambda: _categories(True),
    held_out=lambda: _categories(False),
    options={"lr": 0.02},
    batch=64,
)

SOUND = {
    "regression": REGRESSION,
    "regression sgd": PLAIN,
    "huber": but(REGRESSION, loss=F.smooth_l1_loss),
    "median regression": but(REGRESSION, loss=_pinball),
    "yes or no": BINARY,
    "yes or no by sigmoid and bce": but(
        BINARY,
        model=ending(BINARY.model, nn.Sigmoid()),
        loss=F.binary_cross_entropy,
        score=lambda m, d: yes_or_no(lambda x: m(x) - 0.5, d),
        metric=None,
    ),
    "exclusive or": XOR,
    "categories looked up": CATEGORIES,
}

FAULTS = {
    "targets without a column": fault(
        REGRESSION, "outputs (n, 1) against targets (n,)", "target_broadcast", train=lambda: _flat_targets(True)
    ),
    "prices as they are": fault(
        REGRESSION,
        "targets of 250,000 give or take 80,000",
        "target_scale",
        train=lambda: _prices(True),
        held_out=lambda: _prices(False),
    ),
    "prices under sgd": fault(
        PLAIN,
        "targets of 250,000 give or take 80,000",
        "target_scale",
        train=lambda: _prices(True),
        held_out=lambda: _prices(False),
    ),
    "relu on a signed output": fault(
        REGRESSION,
        "nn.ReLU ends a model whose targets are negative too",
        "unreachable_target capped_loss clamped_logits",
        model=ending(net, nn.ReLU()),
    ),
    "sigmoid on a signed output": fault(
        REGRESSION,
        "nn.Sigmoid ends a regression",
        "unreachable_target capped_loss clamped_logits",
        model=ending(net, nn.Sigmoid()),
    ),
    "columns in their own units": fault(
        PLAIN,
        "columns from 0.001 to 90,000",
        "input_scale",
        train=lambda: _units(True),
        held_out=lambda: _units(False),
        options={"lr": 0.01, "momentum": 0.9},
    ),
    "features all zero": fault(
        REGRESSION, "a wrong scaler leaves zeros", "constant_input blank_images", train=lambda: _zeroed(True)
    ),
    "missing values": fault(REGRESSION, "gaps of the table are NaN", "not_finite_data", train=lambda: _gaps(True)),
    "category as a quantity": fault(
        CATEGORIES, "the number of the category goes into a linear layer", "numbers_for_words", model=lambda: Mixed(False)
    ),
    "rows out of step": fault(REGRESSION, "targets belong to other rows", "shuffled_labels", train=lambda: _shuffled(True)),
    "adam rate 1 in regression": fault(REGRESSION, "lr=1 under Adam", LARGE_STEPS, options={"lr": 1.0}),
    "adam rate 1e-7": fault(
        REGRESSION,
        "lr=1e-7 under Adam",
        SMALL_STEPS,
        options={"lr": 1e-7},
    ),
    "sigmoid twice": fault(
        BINARY,
        "nn.Sigmoid under binary_cross_entropy_with_logits",
        "softmax_twice capped_loss",
        model=ending(BINARY.model, nn.Sigmoid()),
        score=lambda m, d: yes_or_no(lambda x: m(x) - 0.5, d),
        metric=None,
    ),
    "labels of plus and minus one": fault(
        BINARY,
        "targets -1 and 1 under binary cross-entropy",
        "label_range unreachable_target wrong_sign loss_below_floor",
        train=lambda: _plus_and_minus(True),
        steps=600,
    ),
    "cross-entropy of one output": fault(
        BINARY,
        "cross_entropy on one logit: always zero",
        "flat_loss zero_gradient",
        loss=F.cross_entropy,
    ),
    "softmax over one output": fault(
        BINARY,
        "softmax over a single output: always one",
        "flat_loss zero_gradient softmax_twice",
        model=ending(BINARY.model, nn.Softmax(dim=1)),
        loss=F.binary_cross_entropy,
    ),
    "no activation": fault(
        XOR, "linear on linear", "linear_stack", model=lambda: nn.Sequential(nn.Linear(2, 32), nn.Linear(32, 1))
    ),
    "arg-max of one logit": fault(
        BINARY, "argmax(dim=1) in the metric of one logit", "metric_wrong", metric=_accuracy_of_argmax
    ),
    "log of zero": fault(
        BINARY,
        "log(sigmoid) by hand, inputs a hundred times too large",
        "input_scale not_finite",
        loss=_own_log_loss,
        train=lambda: (moons(True)[0] * 300, moons(True)[1]),
        held_out=lambda: (moons(False)[0] * 300, moons(False)[1]),
    ),
}
