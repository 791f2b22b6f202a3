"""A remedy that is followed to the letter makes a program train: one small program for each kind, in several forms of loop."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from small_programs import batches, digits
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor, check
from trainability.doctor import Diagnosis, Evidence
from trainability.doctor import finding as findings
from trainability.doctor.evidence import OptimizerSettings
from trainability.doctor.experimented import Arm, Experiments
from trainability.doctor.experiments.catalogue import INTERVENTIONS
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rate_choice import chosen, guess, next_rate
from trainability.doctor.rehearsed import CriticalStep, Observation, OtherRate, Rehearsal, RehearsedStep
from trainability.doctor.rules.advice import advised

STEPS = 150


def _data() -> tuple[Tensor, Tensor]:
    x, y = digits()
    return x.flatten(1)[:500], y[:500]


def _net(activation: type[nn.Module] = nn.ReLU, depth: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    hidden = [layer for _ in range(depth - 1) for layer in (nn.Linear(32, 32), activation())]
    return nn.Sequential(nn.Linear(64, 32), activation(), *hidden, nn.Linear(32, 10))


def _accuracy(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: tuple[Tensor, Tensor],
    *,
    clip: float | None = None,
    seen: Callable[[Tensor], None] = lambda loss: None,
) -> float:
    """Of the training set after `STEPS` steps of the usual loop."""
    x, y = data
    order = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        rows = torch.randint(len(x), (32,), generator=order)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        seen(loss)
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    with torch.no_grad():
        return float((model(x).argmax(dim=1) == y).float().mean())


def _number(words: str, name: str) -> float:
    found = re.search(rf"{name}=(\d[\d.e+-]*\d|\d)", words)
    assert found is not None, words
    return float(found[1])


def _checked(model: nn.Module, optimizer: Any, **fields: Any) -> Diagnosis:
    fields = {"loss_fn": F.cross_entropy, **fields}
    return check(model, batches(*_data()), optimizer=optimizer, planned_steps=STEPS, rehearse_seconds=60.0, **fields)


def _watched(model: nn.Module, optimizer: torch.optim.Optimizer, *, clip: float | None = None, before: Any = None) -> Diagnosis:
    with Monitor(model, optimizer, 10, clip=clip, before=before) as monitor:
        _accuracy(model, optimizer, _data(), clip=clip, seen=monitor.after_backward)
    return monitor.diagnose()


def _found(diagnosis: Diagnosis, *rules: str) -> Finding:
    found = [f for f in diagnosis.findings if f.rule in rules or f.code in rules]
    assert found, [f.code for f in diagnosis.findings]
    return found[0]


OPTIMIZERS: dict[str, Callable[[Any, float], torch.optim.Optimizer]] = {
    "Adam": lambda parameters, lr: torch.optim.Adam(parameters, lr=lr),
    "AdamW": lambda parameters, lr: torch.optim.AdamW(parameters, lr=lr),
    "SGD": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.9),
}
RATE_RULES = ("exploding_gradient", "update_ratio", "unmoved_parameter", "plateau", "dead_units", "oscillation")


@pytest.mark.parametrize(
    ("name", "lr", "form"),
    [("Adam", 0.5, "loss_fn"), ("SGD", 20.0, "training_step"), ("Adam", 1e-7, "training_step"), ("SGD", 1e-6, "loss_fn")],
)
def test_the_rate_that_is_proposed_was_tried_and_trains(name: str, lr: float, form: str) -> None:
    model = _net()
    fields = {} if form == "loss_fn" else {"training_step": lambda m, batch: F.cross_entropy(m(batch[0]), batch[1])}
    finding = _found(_checked(model, OPTIMIZERS[name](model.parameters(), lr), **fields), *RATE_RULES)
    assert f"{name}(..., lr=" in finding.remedy
    assert "clip" not in finding.remedy
    rate = _number(finding.remedy, "lr")
    assert (rate < lr / 10) if lr > 1e-3 else (rate > 10 * lr)
    model = _net()
    assert _accuracy(model, OPTIMIZERS[name](model.parameters(), rate), _data()) > 0.9


@pytest.mark.parametrize(("name", "lr"), [("Adam", 2.0), ("Adam", 1e-8)])
def test_monitor_alone_proposes_a_rate_by_the_first_update(name: str, lr: float) -> None:
    model = _net()
    finding = _found(_watched(model, OPTIMIZERS[name](model.parameters(), lr)), *RATE_RULES)
    rate = _number(finding.remedy, "lr")
    model = _net()
    assert _accuracy(model, OPTIMIZERS[name](model.parameters(), rate), _data()) > 0.9


def test_a_scheduler_counts_from_the_rate_that_is_proposed() -> None:
    model = _net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 2))
    finding = _found(_checked(model, optimizer, scheduler=scheduler), *RATE_RULES)
    assert "in place of 1:" in finding.remedy
    assert 1e-4 <= _number(finding.remedy, "lr") <= 2e-2


def test_each_optimizer_of_a_gan_gets_a_rate_by_its_own_first_update() -> None:
    torch.manual_seed(0)
    maker = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    critic = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizers = [torch.optim.Adam(net.parameters(), lr=3.0) for net in (maker, critic)]
    real = torch.randn(64, 2)
    ones = torch.ones(64, 1)
    with Monitor(maker, optimizers[0], 10) as first, Monitor(critic, optimizers[1], 10) as second:
        for _ in range(120):
            made = maker(torch.randn(64, 4))
            optimizers[1].zero_grad()
            loss = F.binary_cross_entropy_with_logits(critic(real), ones)
            loss = loss + F.binary_cross_entropy_with_logits(critic(made.detach()), 0 * ones)
            loss.backward()
            second.after_backward(loss)
            optimizers[1].step()
            optimizers[0].zero_grad()
            loss = F.binary_cross_entropy_with_logits(critic(made), ones)
            loss.backward()
            first.after_backward(loss)
            optimizers[0].step()
    remedies = [f.remedy for m in (first, second) for f in m.diagnose().findings if "Adam(..., lr=" in f.remedy]
    assert remedies
    for words in remedies:
        assert 3e-4 <= _number(words, "lr") <= 3e-2
        assert "clip" not in words


def test_a_clip_that_leaves_nothing_is_raised_to_the_usual_norm() -> None:
    model = _net()
    diagnosis = _watched(model, OPTIMIZERS["SGD"](model.parameters(), 0.05), clip=1e-5)
    finding = _found(diagnosis, "plateau")
    assert "lr=" not in finding.remedy
    assert (limit := _number(finding.remedy, "max_norm")) == _number(_found(diagnosis, "clipping").remedy, "max_norm")
    model = _net()
    assert _accuracy(model, OPTIMIZERS["SGD"](model.parameters(), 0.05), _data(), clip=limit) > 0.9


def test_a_decay_that_eats_the_weights_is_lowered_to_what_the_run_bears() -> None:
    def made(decay: float) -> tuple[nn.Module, torch.optim.Optimizer]:
        model = _net()
        return model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=decay)

    decay = _number(_found(_watched(*made(0.5)), "weights_decayed").remedy, "weight_decay")
    assert decay * 0.05 / 0.1 * STEPS <= 0.6  # at one digit
    assert _accuracy(*made(decay), _data()) > 0.9


def test_sigmoids_in_depth_are_replaced_and_their_layers_drawn_anew() -> None:
    model = _net(nn.Sigmoid, depth=6)
    optimizer = OPTIMIZERS["SGD"](model.parameters(), 0.02)
    finding = _found(_checked(model, optimizer), "constant_output", "vanishing_gradient")
    assert "torch.nn.ReLU() in place of torch.nn.Sigmoid()" in finding.remedy
    assert "kaiming_normal_" in finding.remedy
    model = _net(nn.ReLU, depth=6)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)
    assert _accuracy(model, OPTIMIZERS["SGD"](model.parameters(), 0.02), _data()) > 0.9


class _Recurrent(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.recurrent = nn.RNN(8, 32, batch_first=True, nonlinearity="relu")
        self.head = nn.Linear(32, 10)
        nn.init.orthogonal_(self.recurrent.get_parameter("weight_hh_l0"), gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x.reshape(-1, 8, 8))[0][:, -1])


def test_loud_recurrence_is_drawn_orthogonal_and_clipped() -> None:
    model = _Recurrent(5.0)
    finding = _found(_watched(model, torch.optim.SGD(model.parameters(), lr=0.1)), "exploding_gradient", "not_finite")
    assert "torch.nn.init.orthogonal_(model.recurrent.weight_hh_l0)" in finding.remedy
    limit = _number(finding.remedy, "max_norm")
    model = _Recurrent(1.0)
    assert _accuracy(model, torch.optim.SGD(model.parameters(), lr=0.1), _data(), clip=limit) > 0.8


def test_a_function_that_is_not_finite_is_named_with_its_line() -> None:
    model = _net()

    def loss(m: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(m(batch[0]), batch[1]) + (m(batch[0]) - m(batch[0])).square().sum(dim=1).sqrt().mean()

    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    weights, state = [p.detach().clone() for p in model.parameters()], torch.get_rng_state()
    finding = _found(_checked(model, optimizer, loss_fn=None, training_step=loss), "not_finite", "exploding_gradient")
    assert all(torch.equal(p, kept) for p, kept in zip(model.parameters(), weights, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.is_anomaly_enabled()
    assert "1e-8 under the square root" in finding.remedy
    assert re.search(r"test_remedies\.py:\d+, .*sqrt\(\)", finding.remedy)


class _Ends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = _net()

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.net(x), dim=1)


@pytest.mark.parametrize(
    ("model", "place"),
    [
        (lambda: nn.Sequential(_net(), nn.Softmax(dim=1)), "model[1], a torch.nn.Softmax"),
        (_Ends, "softmax() in _Ends.forward"),
    ],
)
def test_the_activation_to_remove_is_named_by_module_or_call(model: Callable[[], nn.Module], place: str) -> None:
    made = model()
    finding = _found(_checked(made, torch.optim.Adam(made.parameters(), 1e-3)), "softmax_twice")
    assert place in finding.remedy


def _rehearsed(multiple: float, *, momentum: float | None = None) -> Evidence:
    step = CriticalStep(
        multiple=multiple, loss_before=2.0, loss_after=2.0, lowest_loss=2.0, resolution=0.0, update_norm=1.0, num_evaluations=6
    )
    rehearsal = Rehearsal(
        steps=tuple(RehearsedStep(step=i, loss=2.0, lr=1.0, optimizer_steps=1) for i in range(1, 101)),
        reference=(Observation(step=0, loss=2.0), Observation(step=100, loss=2.0)),
        critical=((1, step),),
    )
    return Evidence(optimizer=OptimizerSettings(name="SGD", lr=1.0, momentum=momentum), rehearsal=rehearsal)


@pytest.mark.parametrize(
    ("multiple", "momentum", "rate"), [(1.2, None, 0.1), (0.012, 0.0, 0.001), (1.2, 0.9, 0.01), (3.6e5, None, 3e4)]
)
def test_the_first_rate_to_try_is_12_times_below_the_critical_one_and_momentum_adds_steps_up(multiple, momentum, rate) -> None:
    assert guess(_rehearsed(multiple, momentum=momentum)) == pytest.approx(rate)


@pytest.mark.parametrize(("best", "tried"), [(0.1, 3), (0.03, 3), (0.003, 5), (1.0, 5)])
def test_rates_are_tried_beside_the_best_until_both_neighbours_are_worse(best: float, tried: int) -> None:
    evidence = _rehearsed(1.2)
    while (rate := next_rate(evidence)) is not None:
        assert evidence.rehearsal is not None
        loss = 0.1 + abs(math.log10(rate / best))
        looks = (Observation(step=0, loss=2.0), Observation(step=100, loss=loss))
        trials = (*evidence.rehearsal.remedy_rates, OtherRate(scale=rate, reference=looks))
        evidence = replace(evidence, rehearsal=replace(evidence.rehearsal, remedy_rates=trials))
    found = chosen(evidence)
    assert evidence.rehearsal is not None
    assert found is not None
    assert len(evidence.rehearsal.remedy_rates) == tried
    assert found.rate == pytest.approx(best)
    assert found.last == pytest.approx(0.1, abs=0.03)


def _tried(outcome: str, change: str = "rate_hundredth") -> tuple[list[Finding], Evidence]:
    curve = ((0, 2.3), (100, 0.1))
    arms = (
        Arm(name="unchanged", change="as it is", outcome="as it is", curve=((0, 2.3), (100, 2.3))),
        Arm(
            name=change,
            change=INTERVENTIONS[change].change,
            outcome="trains",
            suspects=("exploding_gradient",),
            curve=curve,
        ),
    )
    evidence = Evidence(optimizer=OptimizerSettings(name="Adam", lr=0.5), experiments=Experiments(arms=arms, state="at chance"))
    rule = "exploding_gradient" if outcome == "confirmed" else "class_order"
    finding = Finding(
        rule=rule,
        severity="error",
        seen="",
        measurements=(Measurement(name="x", value=1.0),),
        cause="",
        remedy="what the rule says",
        source="",
        tested=findings.Tested(outcome=outcome, said=""),  # type: ignore[arg-type]
    )
    return [finding], evidence


def test_a_confirmed_change_is_the_remedy_with_its_number_and_losses() -> None:
    (finding,) = advised(*_tried("confirmed"))
    assert _number(finding.remedy, "lr") == 0.005
    assert all(word in finding.remedy for word in ("Adam(...", "0.1", "2.3", "100 steps"))


@pytest.mark.parametrize("change", ["decay_off", "dropout_off", "leaky_relu", "softmax_off", "rate_hundredth"])
def test_what_was_tested_is_told_from_what_the_rule_advises_beside_it(change: str) -> None:
    (finding,) = advised(*_tried("confirmed", change))
    tested, _, not_tested = finding.remedy.partition("not tested")
    assert "0.1 in 100 steps" in tested
    is_another = change in ("decay_off", "dropout_off", "leaky_relu")
    assert ("what the rule says" in not_tested, INTERVENTIONS[change].change in tested) == (is_another, True)


@pytest.mark.parametrize(("outcome", "kept"), [("refuted", False), ("open", True), ("not tested", True)])
def test_the_remedy_of_a_refuted_finding_is_no_advice(outcome: str, kept: bool) -> None:
    (finding,) = advised(*_tried(outcome))
    assert ("what the rule says" in finding.remedy) is kept
    assert finding.remedy.startswith("nothing") is not kept


@pytest.mark.parametrize(("momentum", "code"), [(0.99, "update_ratio.large"), (0.9, None)])
def test_a_loss_that_is_lost_again_gets_a_rate_that_keeps_it(momentum: float, code: str | None) -> None:
    """The typical step is no longer than the loss allows: what momentum has added up overshoots, again and again."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(1500, 12, generator=rng)
    y = (x @ torch.randn(12, 4, generator=rng) + 0.5 * torch.randn(1500, 4, generator=rng)).argmax(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=momentum)
    said = check(model, batches(x, y, size=64), nn.CrossEntropyLoss(), optimizer, planned_steps=500)
    assert next((found.code for found in said.findings if found.severity != "hint"), None) == code
    assert (said.verdict == "unstable") == (code is not None)


def test_a_dead_verdict_beside_a_low_budget_names_it_under_adam_too() -> None:
    rng = torch.Generator().manual_seed(0)
    y = torch.randint(0, 4, (1500,), generator=rng)
    x = torch.randn(4, 10, generator=rng)[y] + torch.randn(1500, 10, generator=rng)
    torch.manual_seed(0)
    hidden = [layer for _ in range(24) for layer in (nn.Linear(32, 32), nn.ReLU())]
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), *hidden, nn.Linear(32, 4))  # PyTorch's weights, and biases
    said = check(model, batches(x, y), nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=1e-3), planned_steps=600)
    assert said.verdict == "dead"
    assert (said.findings[0].code, said.findings[0].severity) == ("gain_budget_low", "error")
