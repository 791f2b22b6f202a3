"""Steps that round away, come to nothing or replace the weights, starts far off, weights that no answer trains; and neighbours.

Each program is one of a kind, and stands beside a sound one that differs in a number or a line.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor, check
from trainability.doctor import Diagnosis, diagnose


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Program:
    """A model, data and a loss; trained by SGD or Adam."""

    model: Callable[[], nn.Module]
    data: Callable[[], tuple[Tensor, ...]]
    loss: Callable[[Any, Any], Tensor]
    lr: float
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam
    clip: float | None = None
    steps: int = 300
    dtype: torch.dtype = torch.float32
    batch: int = 32
    pairs: bool = True  # batches are (input, target), and the loss is of (output, target)
    options: dict[str, Any] = field(default_factory=dict)

    def build(self) -> tuple[nn.Module, torch.optim.Optimizer, DataLoader, Callable[[Any, Any], Tensor]]:
        torch.manual_seed(0)
        model = self.model().to(self.dtype)
        data = [x.to(self.dtype) if x.is_floating_point() else x for x in self.data()]
        loader = DataLoader(TensorDataset(*data), self.batch, shuffle=True, generator=torch.Generator().manual_seed(0))
        optimizer = self.optimizer([p for p in model.parameters() if p.requires_grad], lr=self.lr, **self.options)
        step = (lambda m, batch: self.loss(m(batch[0]), batch[1])) if self.pairs else self.loss
        return model, optimizer, loader, step

    def before(self) -> Diagnosis:
        model, optimizer, loader, step = self.build()
        told: dict[str, Any] = {"loss_fn": self.loss} if self.pairs else {"training_step": step}
        return check(
            model, loader, optimizer=optimizer, clip=self.clip, planned_steps=self.steps, rehearse_seconds=120.0, **told
        )

    def during(self) -> Diagnosis:
        model, optimizer, loader, step = self.build()
        taken = 0
        with Monitor(model, optimizer, every=20, clip=self.clip) as monitor:
            while taken < self.steps:
                for batch in loader:
                    loss = step(model, batch)
                    optimizer.zero_grad()
                    loss.backward()
                    monitor.after_backward(loss)
                    if self.clip is not None:
                        nn.utils.clip_grad_norm_(model.parameters(), self.clip)
                    optimizer.step()
                    taken += 1
                    if taken == self.steps:
                        break
        return diagnose(monitor.evidence())


def curve(scale: float = 1.0, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """Rows and a smooth function of them."""
    x = drawn(640, 6)
    return x, shift + scale * (torch.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3] + 0.5 * x[:, 3:4])


def kinds() -> tuple[Tensor, Tensor]:
    x = drawn(640, 6)
    return x, (x @ drawn(6, 4, seed=1) + x.square() @ drawn(6, 4, seed=2)).argmax(dim=1)


def mlp(outputs: int = 1, depth: int = 2, width: int = 32, active: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(width if i else 6, width), active()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def quiet(depth: int) -> nn.Sequential:
    """N(0, 0.01) and zero biases in every layer but the last."""
    net = mlp(depth=depth, outputs=4)
    for layer in list(net)[:-1]:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.01)
            nn.init.zeros_(layer.bias)
    return net


class Towers(nn.Module):
    """Two towers whose cosine is multiplied; the loss is a softmax over the batch."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.a, self.b, self.scale = mlp(8), mlp(8), scale

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.scale * F.normalize(self.a(x), dim=1) @ F.normalize(self.b(y), dim=1).T


def beside(model: Any, batch: Any) -> Tensor:
    scores = model(batch[0], batch[1])
    return F.cross_entropy(scores, torch.arange(len(scores)))


def views() -> tuple[Tensor, Tensor]:
    x = drawn(640, 6)
    return x, x + 0.3 * drawn(640, 6, seed=9)


def apart(model: Any, batch: Any) -> Tensor:
    """A margin between a row's own view and another row's."""
    a, b = model(batch[0]), model(batch[1])
    return F.triplet_margin_loss(a, b, b.roll(1, dims=0))


class Words(nn.Module):
    """An autoencoder whose code is the nearest row of a table."""

    def __init__(self, *, through: bool) -> None:
        super().__init__()
        self.encode, self.decode, self.through = mlp(4), nn.Linear(4, 6), through
        self.table = nn.Parameter(0.5 * torch.randn(16, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.encode(x)
        word = self.table[torch.cdist(code, self.table).argmin(dim=1)]
        cost = F.mse_loss(word, code.detach()) + 0.25 * F.mse_loss(code, word.detach())
        return self.decode(code + (word - code).detach() if self.through else word.detach()), cost


def rebuilt(model: Any, batch: Any) -> Tensor:
    said, cost = model(batch[0])
    return F.mse_loss(said, batch[0]) + cost


class Gated(nn.Module):
    """Experts, and a gate that is also held to even shares."""

    def __init__(self, *, detach: bool) -> None:
        super().__init__()
        self.gate, self.experts, self.detach = nn.Linear(6, 3), nn.ModuleList(mlp() for _ in range(3)), detach
        self.share = torch.zeros(3)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.gate(x).softmax(dim=1)
        self.share = weight.mean(dim=0)
        weight = weight.detach() if self.detach else weight
        return (weight[:, :, None] * torch.stack([expert(x) for expert in self.experts], dim=1)).sum(dim=1)


def even(model: Any, batch: Any) -> Tensor:
    return F.mse_loss(model(batch[0]), batch[1]) + 0.1 * model.share.square().sum()


class Cascade(nn.Module):
    """A first answer with a loss of its own, whose sign goes into the second."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = mlp(), nn.Linear(7, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = self.first(x)
        return self.second(torch.cat([x, first.detach().sign()], dim=1)), first


def both(model: Any, batch: Any) -> Tensor:
    second, first = model(batch[0])
    return F.mse_loss(second, batch[1]) + F.mse_loss(first, batch[1])


def frozen(*, body: bool, active: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    net = mlp(width=64, active=active)
    for layer in list(net)[:-1] if body else list(net)[2:]:
        layer.requires_grad_(False)
    if not body:  # the last layer is nearly silent, so that what trains cannot be heard
        nn.init.constant_(net[-1].weight, 1e-4)  # type: ignore[arg-type]
    return net


def by_hand(model: Any, batch: Any) -> Tensor:
    """Squares whose gap is taken by the loop; half as far where the target is negative, as of those who are still there."""
    gap = batch[1][:, 0] / 1.0 - model(batch[0])[:, 0]
    return (torch.where(batch[1][:, 0] >= 0, gap, gap.relu()) ** 2).mean()


def positive(scale: float) -> tuple[Tensor, Tensor]:
    x, y = curve()
    return x, scale * (y - y.min() + 0.1)


# Name: program, the rule or code before (None: not asked), and during.
FAULTS: dict[str, tuple[Program, str | None, str | None]] = {
    "bfloat16, values": (
        Program(mlp, curve, F.mse_loss, 2e-4, dtype=torch.bfloat16),
        "underflow.weights",
        "underflow.weights",
    ),
    "bfloat16, classes": (
        Program(lambda: mlp(4), kinds, F.cross_entropy, 1e-3, torch.optim.SGD, dtype=torch.bfloat16),
        "underflow.unmoved",
        "underflow.weights",
    ),
    "Adam at 2": (Program(lambda: mlp(4, active=nn.Tanh), kinds, F.cross_entropy, 2.0), None, "exploding_gradient"),
    "towers at a tiny rate": (
        Program(lambda: Towers(5.0), views, beside, 1e-5, torch.optim.SGD, pairs=False),
        "update_ratio.small",
        "update_ratio.small",
    ),
    "triplets at a tiny rate": (
        Program(lambda: mlp(8), views, apart, 1e-6, torch.optim.SGD, pairs=False),
        "update_ratio.small",
        "update_ratio.small",
    ),
    "values clipped to nothing": (
        Program(mlp, curve, F.mse_loss, 0.03, torch.optim.SGD, clip=5e-4),
        "clipping.to_nothing",
        "clipping.to_nothing",
    ),
    "classes clipped to nothing": (
        Program(lambda: mlp(4), kinds, F.cross_entropy, 0.03, torch.optim.SGD, clip=5e-4),
        "clipping.to_nothing",
        "plateau.clipped",
    ),
    "cosines times 3000": (
        Program(lambda: Towers(3000.0), views, beside, 1e-4, pairs=False),
        "loss_at_start.constant",
        "loss_at_start.constant",
    ),
    "a codebook, not straight through": (
        Program(lambda: Words(through=False), views, rebuilt, 3e-3, pairs=False),
        "unreached_parameter.detached",
        None,
    ),
    "a detached gate held to even shares": (
        Program(lambda: Gated(detach=True), curve, even, 3e-3, pairs=False),
        "unreached_parameter.detached",
        None,
    ),
    "what is needed is frozen": (
        Program(lambda: frozen(body=False), lambda: curve(1.0), F.mse_loss, 0.05, torch.optim.SGD, steps=320),
        None,
        "untrained_parameter.frozen",
    ),
    "hundreds, by a loss of one's own": (
        Program(mlp, lambda: positive(300.0), by_hand, 1e-3, pairs=False),
        "target_scale",
        None,
    ),
    "hundreds, plainly": (Program(mlp, lambda: curve(900.0), F.mse_loss, 1e-3), "target_scale", "target_scale"),
    "N(0, 0.01) in eight layers": (
        Program(lambda: quiet(8), kinds, F.cross_entropy, 3e-4),
        "gain_budget_low",
        "gain_budget_low.measured",
    ),
}
SOUND: dict[str, Program] = {
    "bfloat16 at a usual rate": Program(mlp, curve, F.mse_loss, 5e-3, dtype=torch.bfloat16, steps=400),
    "Adam at 0.02": Program(lambda: mlp(4, active=nn.Tanh), kinds, F.cross_entropy, 0.02),
    "towers": Program(lambda: Towers(5.0), views, beside, 3e-3, pairs=False),
    "triplets": Program(lambda: mlp(8), views, apart, 3e-3, pairs=False),
    "values clipped at 0.3": Program(mlp, curve, F.mse_loss, 0.1, torch.optim.SGD, clip=0.3),
    "cosines times 30": Program(lambda: Towers(30.0), views, beside, 3e-3, pairs=False),
    "a codebook, straight through": Program(lambda: Words(through=True), views, rebuilt, 3e-3, pairs=False),
    "a gate held to even shares": Program(lambda: Gated(detach=False), curve, even, 3e-3, pairs=False),
    "a cascade": Program(Cascade, curve, both, 5e-3, pairs=False),
    "random features": Program(lambda: frozen(body=True, active=nn.ReLU), curve, F.mse_loss, 5e-3),
    "tens": Program(mlp, lambda: curve(20.0), F.mse_loss, 0.02),
    "PyTorch's weights in five layers": Program(lambda: mlp(4, depth=5), kinds, F.cross_entropy, 2e-3),
}


def codes(diagnosis: Diagnosis) -> list[str]:
    assert not any("itself failed" in line for line in diagnosis.not_checked), diagnosis.not_checked
    return [f.code for f in diagnosis.findings]


def names(found: list[str], wanted: str) -> bool:
    return bool(found) and (found[0] == wanted or found[0].partition(".")[0] == wanted)


@pytest.mark.parametrize("name", [name for name, row in FAULTS.items() if row[1] is not None])
def test_it_is_named_before(name: str) -> None:
    program, wanted, _ = FAULTS[name]
    diagnosis = program.before()
    assert wanted is not None
    assert names(codes(diagnosis), wanted), (diagnosis.verdict, codes(diagnosis))
    assert diagnosis.verdict not in ("will train", "is training") or diagnosis.asks_for_change


@pytest.mark.parametrize("name", [name for name, row in FAULTS.items() if row[2] is not None])
def test_it_is_named_during(name: str) -> None:
    program, _, wanted = FAULTS[name]
    diagnosis = program.during()
    assert wanted is not None
    assert names(codes(diagnosis), wanted), (diagnosis.verdict, codes(diagnosis))
    assert diagnosis.asks_for_change


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("way", ["before", "during"])
def test_its_neighbour_is_not(name: str, way: str) -> None:
    diagnosis = getattr(SOUND[name], way)()
    assert not diagnosis.asks_for_change, (diagnosis.verdict, [(f.code, f.severity, f.seen) for f in diagnosis.findings])
