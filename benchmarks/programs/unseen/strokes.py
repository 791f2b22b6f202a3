"""Signs in a row of columns, their places unknown: connectionist temporal classification over a recurrent net."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import CUT, LARGE, SMALL
from programs.program import Data, Loop, Program, but, fault
from programs.unseen.causes import CLAMPED, FROZEN, MISALIGNED, SUMMED, TWICE, UPSIDE_DOWN

SIGNS, FRAMES, ROWS, LONGEST = 6, 40, 8, 5


@functools.cache
def lines(train: bool) -> Data:
    """Columns (n, 40, 8) of ink, the signs (n, 5) from 1 on with zeros behind, and how many there are."""
    rng = torch.Generator().manual_seed(220 if train else 221)
    shapes = (torch.rand(SIGNS, 4, ROWS, generator=torch.Generator().manual_seed(7)) < 0.45).float() * 2
    n = 800 if train else 200
    x, y = 0.3 * torch.randn(n, FRAMES, ROWS, generator=rng), torch.zeros(n, LONGEST, dtype=torch.long)
    lengths = torch.randint(3, LONGEST + 1, (n,), generator=rng)
    for i in range(n):
        at = int(torch.randint(0, 5, (1,), generator=rng))
        for j in range(int(lengths[i])):
            sign = int(torch.randint(0, SIGNS, (1,), generator=rng))
            x[i, at : at + 4] += shapes[sign]
            y[i, j] = sign + 1
            at += 4 + int(torch.randint(1, 4, (1,), generator=rng))
    return x - 0.3, y, lengths


class Recogniser(nn.Module):
    """A convolution over columns, a bidirectional LSTM, and logits of blank and signs for each column."""

    def __init__(self, *, width: int = 24, last: nn.Module | None = None) -> None:
        super().__init__()
        self.ink = nn.Sequential(nn.Conv1d(ROWS, width, 5, padding=2), nn.GELU())
        self.rnn = nn.LSTM(width, width, bidirectional=True, batch_first=True)
        self.head = nn.Sequential(nn.Linear(2 * width, SIGNS + 1), *([last] if last else []))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 40, 8) to logits (n, 40, 7)."""
        return self.head(self.rnn(self.ink(x.transpose(1, 2)).transpose(1, 2))[0])


class Columns(nn.Module):
    """The same with dilated convolutions and layer norm for the LSTM."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.first = nn.Linear(ROWS, width)
        self.blocks = nn.ModuleList(nn.Conv1d(width, width, 3, padding=d, dilation=d) for d in (1, 2, 1, 2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.blocks)
        self.head = nn.Linear(width, SIGNS + 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 40, 8) to logits (n, 40, 7)."""
        h = self.first(x)
        for block, norm in zip(self.blocks, self.norms, strict=True):
            h = h + F.relu(block(norm(h).transpose(1, 2))).transpose(1, 2)
        return self.head(h)


def temporal(
    model: nn.Module,
    batch: Any,
    *,
    over: int = 2,
    reduction: str = "mean",
    move: bool = True,
    logs: bool = True,
    detach: bool = False,
) -> Tensor:
    """The loss of each line, over its length, as a mean."""
    x, y, lengths = batch
    logits = model(x)
    logits = logits.detach().requires_grad_() if detach else logits
    costs = logits.log_softmax(dim=over) if logs else logits
    costs = costs.transpose(0, 1) if move else costs.reshape(FRAMES, len(x), -1)
    return F.ctc_loss(costs, y, torch.full((len(x),), FRAMES), lengths, reduction=reduction, zero_infinity=True)


def read_right(model: nn.Module, data: Data) -> float:
    """One minus edits per sign of the best path; a line of blanks has 0."""
    edits = 0
    for path, signs, length in zip(model(data[0]).argmax(dim=2), data[1], data[2], strict=True):
        steps = torch.unique_consecutive(path)
        edits += _edits(steps[steps > 0].tolist(), signs[: int(length)].tolist())
    return 1 - edits / int(data[2].sum())


def _edits(a: list[int], b: list[int]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        above, row[0] = row[:], i + 1
        for j, y in enumerate(b):
            row[j + 1] = min(above[j] + (x != y), above[j + 1] + 1, row[j] + 1)
    return row[-1]


def _reward(model: nn.Module, batch: Any) -> Tensor:
    """F.ctc_loss is already minus a log-likelihood."""
    return -temporal(model, batch)


def _accumulates(model: nn.Module, optimizer: Any, batch: list[Tensor], loop: Loop) -> Tensor:
    """Two micro-batches, each loss divided by two, one step."""
    model.train()
    optimizer.zero_grad()
    total = torch.zeros(())
    for half in zip(*(part.chunk(2) for part in batch), strict=True):
        loss = loop.loss_of(model, half) / 2
        loss.backward()
        total = total + loss.detach()
    loop.seen(total)
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    return total


LINE = Program(
    model=Recogniser,
    train=lambda: lines(True),
    held_out=lambda: lines(False),
    score=read_right,
    training_step=temporal,
    options={"lr": 6e-3},
    clip=5.0,
    steps=220,
)
CONVOLVED = but(LINE, model=Columns, options={"lr": 4e-3}, clip=None, steps=250)
MOMENTUM = but(CONVOLVED, optimizer=torch.optim.SGD, options={"lr": 0.1, "momentum": 0.9}, clip=1.0)

SOUND = {
    "lines": LINE,
    "lines convolved": CONVOLVED,
    "lines convolved under sgd": MOMENTUM,
    "lines in micro-batches": but(LINE, body=_accumulates, clip=None),
}

FAULTS = {
    "lines in the order of the batch": fault(
        LINE,
        "ctc_loss wants time first; the output is reshaped, not transposed",
        MISALIGNED,
        training_step=lambda model, batch: temporal(model, batch, move=False),
    ),
    "log-softmax over time": fault(
        CONVOLVED,
        "log_softmax over the columns, not over the signs",
        f"misread_logits softmax_twice {UPSIDE_DOWN} loss_at_start",
        training_step=lambda model, batch: temporal(model, batch, over=1),
    ),
    "probabilities without a log": fault(
        LINE,
        "ctc_loss gets probabilities for their logarithms",
        f"misread_logits {UPSIDE_DOWN} {TWICE}",
        model=lambda: Recogniser(last=nn.Softmax(dim=2)),
        training_step=lambda model, batch: temporal(model, batch, logs=False),
    ),
    "minus the ctc loss": fault(LINE, "the loss is taken for a log-likelihood and negated", UPSIDE_DOWN, training_step=_reward),
    "lines summed": fault(
        MOMENTUM,
        "reduction='sum' with a rate for the mean, and the clipping taken away",
        SUMMED,
        training_step=lambda model, batch: temporal(model, batch, reduction="sum"),
        clip=None,
    ),
    "probabilities for ctc": fault(
        LINE, "the head ends in softmax, and log_softmax follows", TWICE, model=lambda: Recogniser(last=nn.Softmax(dim=2))
    ),
    "logits clamped at zero": fault(
        MOMENTUM, "ReLU behind the head", CLAMPED, model=lambda: nn.Sequential(Columns(), nn.ReLU())
    ),
    "rate of a fine-tuning": fault(LINE, "the rate of another project, 3e-6", SMALL, options={"lr": 3e-6}),
    "recogniser's logits detached": fault(
        CONVOLVED,
        "logits are made a new tensor with requires_grad before the loss",
        f"{CUT} {FROZEN}",
        training_step=lambda model, batch: temporal(model, batch, detach=True),
    ),
    "lines at a rate of 0.5": fault(LINE, "Adam at SGD's rate", LARGE, options={"lr": 0.5}),
}
