"""Sound programs of a form that a check has to follow, and that it leaves as they were."""

import copy
import functools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_programs import batches
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor, check
from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence, StepRecord
from trainability.doctor.facts import Facts
from trainability.doctor.readings import Readings

X = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long() + 2 * (X[:, 1] > 0).long()


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))


class Spread:
    """Losses weighted by how much each varies, as a running mean and variance say; undefined while nothing has varied."""

    def __init__(self) -> None:
        self.seen, self.mean, self.spread = 0, torch.zeros(2), torch.zeros(2)

    def __call__(self, losses: Tensor) -> Tensor:
        self.seen += 1
        step = losses.detach() - self.mean
        self.mean = self.mean + step / self.seen
        self.spread.add_(step * (losses.detach() - self.mean))
        weights = self.spread.sqrt() if self.seen > 2 else torch.ones(2)
        return (weights / weights.sum() * losses).sum()


@pytest.mark.parametrize("form", ["loss_fn", "training_step"])
def test_a_state_that_an_object_of_the_program_keeps_begins_anew(form: str) -> None:
    weigh, model = Spread(), net()

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        return weigh(torch.stack([F.cross_entropy(output, target), output.square().mean()]))

    def training_step(model: nn.Module, batch: Any) -> Tensor:
        return loss_fn(model(batch[0]), batch[1])

    words = {"loss_fn": loss_fn} if form == "loss_fn" else {"training_step": training_step}
    said = check(model, batches(X, Y), optimizer=torch.optim.Adam(model.parameters(), 1e-2), rehearse_seconds=60.0, **words)
    assert said.evidence.rehearsal is not None
    assert all(math.isfinite(look.loss) for look in said.evidence.rehearsal.reference)
    assert not [f for f in said.findings if f.severity != "hint"]
    assert (weigh.seen, weigh.mean.tolist(), weigh.spread.tolist()) == (0, [0.0, 0.0], [0.0, 0.0])


class InBackward(torch.optim.Optimizer):
    """Each parameter is stepped as soon as its gradient is there."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})
        for group in self.param_groups:
            for p in group["params"]:
                p.register_post_accumulate_grad_hook(functools.partial(self.update, group))

    @staticmethod
    @torch.no_grad()
    def update(group: dict[str, Any], p: Tensor) -> None:
        p.add_(p.grad, alpha=-group["lr"])
        p.grad = None

    def step(self, closure: Any = None) -> Any:
        """Nothing is left to be done."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Nor to be cleared."""


def test_updates_during_the_backward_pass() -> None:
    model = net()
    optimizer = InBackward(model.parameters(), lr=0.3)

    def step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        return loss.detach()

    before = [p.detach().clone() for p in model.parameters()]
    said = check(model, batches(X, Y), step=step, optimizer=optimizer, rehearse_seconds=60.0)
    assert said.verdict == "will train"
    assert said.evidence.rehearsal is not None
    assert said.evidence.rehearsal.in_place
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(("fresh", "found"), [(False, False), (True, True)])
def test_clients_that_train_a_copy_of_the_model(fresh: bool, found: bool) -> None:
    model = net()

    def step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
        local = net() if fresh else copy.deepcopy(model)
        if fresh:
            nn.init.normal_(local[0].weight, generator=torch.Generator().manual_seed(int(torch.randint(99, ()))))
        own = torch.optim.SGD(local.parameters(), lr=0.1)
        loss = F.cross_entropy(local(batch[0]), batch[1])
        for _ in range(2):
            own.zero_grad()
            loss = F.cross_entropy(local(batch[0]), batch[1])
            loss.backward()
            own.step()
        optimizer.zero_grad()
        for p, q in zip(model.parameters(), local.parameters(), strict=True):
            p.grad = (p - q).detach()
        optimizer.step()
        return loss.detach()

    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    said = check(model, batches(X, Y), step=step, optimizer=optimizer, rehearse_seconds=5.0)
    assert not found or said.verdict != "will train"
    assert found or "unregistered_layers.made_in_forward" not in [f.code for f in said.findings]


class Mixing(nn.Module):
    """Complex numbers in, complex numbers out."""

    def __init__(self) -> None:
        super().__init__()
        self.taps = nn.Parameter(torch.zeros(8, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.taps


def test_complex_inputs_and_targets() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(512, 8, dtype=torch.cfloat, generator=rng)
    model = Mixing()
    y = x @ torch.randn(8, dtype=torch.cfloat, generator=rng)
    optimizer = torch.optim.Adam(model.parameters(), 3e-2)
    said = check(model, batches(x, y), lambda out, goal: (out - goal).abs().square().mean(), optimizer, rehearse_seconds=60.0)
    assert said.verdict == "will train"
    assert said.evidence.data is not None
    assert not [f for f in said.findings if f.severity != "hint"]


class Decays(nn.Module):
    """A formula with two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.rate, self.level = nn.Parameter(torch.tensor(-2.0)), nn.Parameter(torch.tensor(0.0))

    def forward(self, days: Tensor) -> Tensor:
        return self.level.exp() * (-self.rate.exp() * days[:, 0]).exp()


@pytest.mark.parametrize("watched", [False, True])
def test_inputs_of_a_formula_need_no_scaling(watched: bool) -> None:
    days = 20 + 10 * torch.rand(512, 1, generator=torch.Generator().manual_seed(0))
    y = 3 * (-0.05 * days[:, 0]).exp()
    model = Decays()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    if not watched:
        findings = check(model, batches(days, y), F.mse_loss, optimizer, rehearse_seconds=60.0).findings
    else:
        with Monitor(model, optimizer, every=20) as monitor:
            for _ in range(4):
                for x, goal in batches(days, y):
                    optimizer.zero_grad()
                    loss = F.mse_loss(model(x), goal)
                    loss.backward()
                    monitor.after_backward(loss)
                    optimizer.step()
        findings = monitor.diagnose().findings
    assert "input_scale" not in [f.rule for f in findings]


def test_many_columns_behind_one_weight_each_do() -> None:
    """The same inputs under a sum over columns."""
    facts = Facts(input_mean=25.0, input_std=3.0)
    assert "input_scale" in [f.rule for f in diagnose(Evidence(facts=facts)).findings]
    scalars = Facts(input_mean=25.0, input_std=3.0, readings=Readings(has_only_scalars=True))
    assert "input_scale" not in [f.rule for f in diagnose(Evidence(facts=scalars)).findings]


@pytest.mark.parametrize(("later", "found"), [(0.0, True), (0.2, False)])
def test_a_loss_that_is_zero_until_the_first_reward(later: float, found: bool) -> None:
    losses = [1e-9 * (-1) ** k for k in range(60)] + [later] * 60
    records = tuple(StepRecord(step=k, loss=loss, micro_batches=1) for k, loss in enumerate(losses, start=1))
    told = diagnose(Evidence(steps=records, facts=Facts(output_rms=0.3)))
    assert ("flat_loss.zero" in [f.code for f in told.findings]) == found


class Gate(nn.Module):
    """Squeeze and excitation: a mean over all pixels of normalised maps scales their channels."""

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Conv2d(4, 16, 3, padding=1, bias=False)
        self.body, self.gate = (
            nn.Sequential(conv, nn.BatchNorm2d(16)),
            nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 16)),
        )
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return self.head((y * self.gate(y.mean(dim=(2, 3)))[:, :, None, None].sigmoid()).relu().mean(dim=(2, 3)))


def test_a_prediction_that_fails_is_no_reason_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(256, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    x[:, :, ::2] = -x[:, :, 1::2]  # neighbours that are opposites
    model, y = Gate(), (x[:, 0, 0, 0] > 0).long()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    said = check(model, batches(x, y), F.cross_entropy, optimizer, rehearse_seconds=0.0)
    assert said.evidence.probe is not None
    monkeypatch.setattr("trainability.doctor.theory.moments.math", SimpleNamespace(**{**vars(math), "pi": -3.0}))
    assert check(model, batches(x, y), F.cross_entropy, optimizer, rehearse_seconds=0.0).verdict
    with pytest.raises(ValueError, match="loader is empty"):
        check(model, [], F.cross_entropy, optimizer)
