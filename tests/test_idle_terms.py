"""Terms of a loss that step functions of outputs give, beside terms that train and numbers that are only read."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import trainability
from trainability.doctor.measure.certain import facts_of

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(dim=1)


def errors(logits: Tensor) -> Tensor:
    return (logits.argmax(dim=1) != Y).float().mean()


LOSSES: dict[str, tuple[Callable[[Tensor], Tensor], str | None]] = {
    "share of errors": (lambda z: F.cross_entropy(z, Y) + errors(z), "argmax"),
    "weighted, in place": (lambda z: F.cross_entropy(z, Y).add_(2.0 * errors(z)), "argmax"),
    "accuracy taken off": (lambda z: F.cross_entropy(z, Y) - 0.5 * (z.argmax(dim=1) == Y).float().mean(), "argmax"),
    "comparison": (lambda z: F.cross_entropy(z, Y) + 3 * (z.softmax(dim=1).amax(dim=1) < 0.9).float().mean(), "lt"),
    "of three terms": (lambda z: F.cross_entropy(z, Y) + z.square().mean() + errors(z), "argmax"),
    "probabilities": (lambda z: F.cross_entropy(z, Y) + (1 - z.softmax(dim=1)[range(64), Y]).mean(), None),
    "a mask": (lambda z: F.cross_entropy(z, Y) + (z * (z > 0)).mean(), None),
    "only read": (lambda z: F.cross_entropy(z, Y) + 0 * errors(z), None),
    "detached": (lambda z: F.cross_entropy(z, Y) + z.square().mean().detach(), None),
    "chosen by class": (lambda z: F.cross_entropy(z, Y) + z[range(64), z.argmax(dim=1)].mean(), None),
    "straight through": (lambda z: F.mse_loss(z + (z.round() - z).detach(), torch.ones_like(z)), None),
}


class Hard(torch.autograd.Function):
    """A comparison with a gradient of its own."""

    @staticmethod
    def forward(ctx: Any, m: Tensor) -> Tensor:
        return (m > 0).float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def huber(z: Tensor) -> Tensor:
    size = (z - 1).abs()
    big = size > 1
    return (0.5 * size[~big] ** 2).sum() + size[big].sum() - 0.5 * big.sum()


def truncated(z: Tensor) -> Tensor:
    error, is_out = z - 1, (z - 1).abs() > 1
    return (error[~is_out] ** 2).sum() + is_out.float().mean()


def surrogate(z: Tensor) -> Tensor:
    loss = F.cross_entropy(z, Y)
    return errors(z) + (loss - loss.detach())


def gate(z: Tensor) -> Tensor:
    p = z.mean().sigmoid()
    return F.cross_entropy(z, Y) + ((p > 0.5).float() - p.detach() + p)


MEANT = {"own gradient": lambda z: F.cross_entropy(z, Y) + Hard.apply(z.mean()), "huber": huber, "truncated": truncated}
MEANT |= {"surrogate": surrogate, "gate": gate}
LOSSES |= {name: (made, None) for name, made in MEANT.items()}


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


@pytest.mark.parametrize("name", LOSSES)
def test_terms_without_a_slope(name: str) -> None:
    made, step = LOSSES[name]

    def training_step(model: Any, batch: Any) -> Tensor:
        return made(model(batch[0]))

    found = facts_of(net(), (X, Y), training_step=training_step).readings.idle_term
    assert (found[0] if found else None) == step
    assert found is None or 0 < found[1] < 1


def test_one_is_named_with_its_share() -> None:
    model = net()

    def training_step(model: Any, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1]) + 5 * (model(batch[0]).argmax(dim=1) != batch[1]).float().mean()

    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    report = trainability.check(model, [(X, Y)], training_step=training_step, optimizer=optimizer)
    (finding,) = [f for f in report.findings if f.rule == "idle_term"]
    assert finding.severity == "warning"
    assert finding.measurements[0].value > 0.3


class Boxes(nn.Module):
    """A head for marks and one for sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.marks, self.sizes = nn.Linear(6, 16), nn.Linear(16, 1), nn.Linear(16, 2)
        self.spare = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x).relu()
        return self.marks(h)[:, 0], self.sizes(h)


def chosen(least: float, reduction: str) -> Callable[[nn.Module, Any], Tensor]:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        marks, sizes = model(batch[0])
        there = batch[0][:, 0] > least
        if reduction == "function":
            far = F.smooth_l1_loss(sizes[there], batch[0][there][:, :2], reduction="sum")
        else:
            far = (sizes[there] - batch[0][there][:, :2]).square().sum()
        return F.binary_cross_entropy_with_logits(marks, there.float()) + far / there.sum().clamp(min=1)

    return loss


def masked(least: float, *, is_shared: bool = False) -> Callable[[nn.Module, Any], Tensor]:
    """The same with a mask that multiplies; or with the marks' head for sizes, too."""

    def loss(model: nn.Module, batch: Any) -> Tensor:
        marks, sizes = model(batch[0])
        there = (batch[0][:, :1] > least).float()
        far = (sizes - batch[0][:, :2]).square() * there.expand_as(sizes)
        near = F.binary_cross_entropy_with_logits(sizes[:, 0] if is_shared else marks, there[:, 0])
        return near + far.sum() / there.sum().clamp(min=1)

    return loss


def becomes_sure(model: nn.Module, batch: Any) -> Tensor:
    """Sizes count where the marks are sure, which they are not at first."""
    marks, sizes = model(batch[0])
    sure = (marks.detach().sigmoid() > 0.999).float()[:, None].expand_as(sizes)
    near = F.binary_cross_entropy_with_logits(marks, (batch[0][:, 0] > 0).float())
    return near + ((sizes - batch[0][:, :2]).square() * sure).mean()


def opened_later(way: str) -> Callable[[nn.Module, Any], Tensor]:
    """Sizes count from some step or epoch on, by what is neither of the batch nor of the outputs."""
    state: dict[str, Any] = {"epoch": 0, "step": 0, "memory": torch.zeros(16), "limit": torch.tensor(9.0)}

    def loss(model: nn.Module, batch: Any) -> Tensor:
        marks, sizes = model(batch[0])
        first = batch[0][:, 0]
        state["step"] += 1
        state["memory"] = 0.9 * state["memory"] + 0.1 * first.abs().amax()
        far = (sizes - batch[0][:, :2]).square().sum(dim=1)
        masks = {
            "a switch": lambda: torch.full_like(first, float(state["epoch"] >= 5)),
            "a limit of epochs": lambda: (first.abs() < 1e-9 * state["epoch"]).float(),
            "a limit by name": lambda: (first.abs() < state["epoch"]).float(),
            "a limit of steps": lambda: (first.abs() < 1e-9 * state["step"]).float(),
            "errors": lambda: (far.detach() < 1e-9).float(),
            "a memory": lambda: (first > 9 * state["memory"]).float(),
            "a number that others set": lambda: (first > state["limit"]).float(),
            "a teacher": lambda: (SURE(batch[0])[:, 0] > 99).float() * (first > -9),
        }
        return F.binary_cross_entropy_with_logits(marks, (first > 0).float()) + (masks[way]() * far).mean()

    return loss


SURE = nn.Linear(6, 1).requires_grad_(False)
LATER = (
    *("a switch", "a limit of epochs", "a limit by name", "a limit of steps", "errors", "a memory", "a number that others set"),
    "a teacher",
)


def by_overlap(width: float) -> Callable[[nn.Module, Any], Tensor]:
    """Sizes count at anchors that overlap a span of the batch by half."""
    middle, threshold = torch.linspace(-2, 2, 2), 0.5

    def loss(model: nn.Module, batch: Any) -> Tensor:
        marks, sizes = model(batch[0])
        low, high = batch[0][:, :1] - 1, batch[0][:, :1] + 1
        both = (torch.minimum(high, middle + width / 2) - torch.maximum(low, middle - width / 2)).clamp(min=0)
        there = both / (2 + width - both) >= threshold
        far = (sizes - batch[0][:, :2]).square()
        near = F.binary_cross_entropy_with_logits(marks, there.any(dim=1).float())
        return near + (far * there).sum() / there.sum().clamp(min=1)

    return loss


def clipped_far(model: nn.Module, batch: Any) -> Tensor:
    """No number is far off, so that the far part of this loss is empty, and nothing waits for it."""
    marks, sizes = model(batch[0])
    off = torch.cat([marks, sizes.flatten()])
    return off[off.abs() < 50].square().sum() + off[off.abs() >= 50].abs().sum()


@pytest.mark.parametrize(
    ("step", "found"),
    [
        (chosen(9.0, "function"), True),
        (chosen(9.0, "sum"), True),
        (chosen(0.5, "function"), False),
        (chosen(2.2, "sum"), False),  # in a few batches
        (masked(9.0), True),
        (masked(9.0, is_shared=True), True),
        (masked(0.5), False),
        (masked(2.2), False),
        (becomes_sure, False),
        (clipped_far, False),
        *((opened_later(way), False) for way in LATER),
        (by_overlap(0.02), True),
        (by_overlap(2.0), False),
    ],
)
def test_a_choice_that_is_empty_in_every_batch(step: Callable[[nn.Module, Any], Tensor], found: bool) -> None:
    torch.manual_seed(0)
    model = Boxes()
    loader = DataLoader(TensorDataset(torch.randn(256, 6)), 16)
    said = trainability.check(model, loader, training_step=step, optimizer=torch.optim.Adam(model.parameters(), 1e-2))
    told = {f.code: f for f in said.findings}
    assert ("idle_term.empty" in told) == found
    if found:
        assert told["idle_term.empty"].layers == ("sizes",)
        assert not any(code.startswith("unmoved_parameter") for code in told)
