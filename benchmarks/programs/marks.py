"""Several marks for one example: binary cross-entropy over six outputs."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.material import Data, flat_digits
from programs.program import Program, but, ending, fault


def marks(train: bool) -> Data:
    """Rows (n, 64) and six marks: the four bits of the digit, whether it is odd, and whether it has a loop."""
    images, labels = flat_digits(train)
    bits = [(labels >> bit) & 1 for bit in range(4)]
    loops = torch.isin(labels, torch.tensor([0, 6, 8, 9]))
    return images, torch.stack([*bits, labels % 2, loops.long()], dim=1).float()


def net() -> nn.Sequential:
    """One hidden layer, six logits."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 6))


def agreement(model: nn.Module, data: Data, threshold: float = 0.0) -> float:
    """Mean over the marks of balanced accuracy, from chance."""
    said, true = model(data[0]) > threshold, data[1] > 0.5
    per_mark = [
        float((said[true[:, i], i]).float().mean()) + float((~said[~true[:, i], i]).float().mean()) - 1 for i in range(6)
    ]
    return sum(per_mark) / 6


def _swapped(output: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(target, output)


BITS = Program(
    model=net,
    train=lambda: marks(True),
    held_out=lambda: marks(False),
    score=agreement,
    loss=F.binary_cross_entropy_with_logits,
)

SOUND = {
    "marks": BITS,
    "marks weighted": but(BITS, loss=nn.BCEWithLogitsLoss(pos_weight=torch.full((6,), 2.0))),
    "marks batch norm": but(
        BITS, model=lambda: nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 6))
    ),
}

FAULTS = {
    "marks through softmax": fault(
        BITS,
        "softmax over marks that do not exclude each other",
        "softmax_twice capped_loss unreachable_target",
        model=ending(net, nn.Softmax(dim=1)),
        loss=F.binary_cross_entropy,
        score=lambda m, d: agreement(m, d, 0.5),
    ),
    "marks through sigmoid twice": fault(
        BITS,
        "nn.Sigmoid under the loss with logits",
        "softmax_twice capped_loss",
        model=ending(net, nn.Sigmoid()),
        optimizer=torch.optim.SGD,
        options={"lr": 0.1},
    ),
    "outputs and targets exchanged": fault(BITS, "loss(target, output)", "swapped_arguments", loss=_swapped),
}
