"""Proposed plans: the closed form against the full prediction, what is allowed, and nothing of the user's changed."""

import ast
import copy
import dataclasses
import io
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability.checking.plan import plans_for_setup
from trainability.cli import program as cli
from trainability.doctor import input_moments, predict, trace, weight_moments
from trainability.doctor.measure.critical import along_update
from trainability.doctor.rehearsed import CriticalStep
from trainability.doctor.setup import Setup
from trainability.initialization import InitPlan, apply
from trainability.models.vgg import build_vgg
from trainability.prescribe.candidates import plan_by_fan_in, plans_with_solved_std, promised_moments
from trainability.prescribe.plans import ranked
from trainability.prescribe.search import Proposal, propose
from trainability.terminal.plan import print_plans


def deep(depth: int = 12, *, scale: float = 1.0) -> tuple[nn.Sequential, list[tuple[torch.Tensor, torch.Tensor]]]:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth - 1):
        layers += [nn.Linear(32, 32), nn.ReLU()]
    labels = torch.arange(64) % 4
    inputs = scale * (torch.randn(64, 32) + F.one_hot(labels, 32))
    return nn.Sequential(*layers, nn.Linear(32, 4)), [(inputs, labels)] * 4


def setup_of(model: nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]], lr: float = 0.05) -> Setup:
    return Setup(
        model=model, train_loader=batches, loss_fn=F.cross_entropy, optimizer=torch.optim.SGD(model.parameters(), lr=lr)
    )


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_the_first_proposal_keeps_the_signal(scale: float) -> None:
    model, batches = deep(scale=scale)
    best = propose(setup_of(model, batches))[0]
    assert best.budget is not None
    assert abs(best.budget) < 0.5
    apply(best.plan, model, seed=3)
    with torch.no_grad():
        rms = float(model(batches[0][0]).square().mean().sqrt())
    assert 0.1 < rms < 10


def test_budgets_agree_with_the_full_prediction() -> None:
    model = build_vgg("A", num_classes=10, crop=32, width=0.25)
    images = torch.randn(8, 3, 32, 32)
    structure, own, moments = trace(model, (8, 3, 32, 32)), weight_moments(model), input_moments(images)
    for proposal in ranked(model, images):
        prediction = predict(structure, {**own, **promised_moments(proposal.plan, model)}, moments)
        assert prediction.log10_gain is not None
        assert proposal.budget == pytest.approx(prediction.log10_gain + prediction.log10_input)


def test_a_solved_standard_deviation_brings_the_budget_to_0() -> None:
    model = build_vgg("B", num_classes=10, crop=32, width=0.25)
    structure, own = trace(model, (8, 3, 32, 32)), weight_moments(model)
    moments = input_moments(30 * torch.randn(8, 3, 32, 32))

    def budget(plan: InitPlan) -> float:
        prediction = predict(structure, {**own, **promised_moments(plan, model)}, moments)
        assert prediction.log10_gain is not None
        return prediction.log10_gain + prediction.log10_input

    reference = InitPlan.parse("xavier")
    variances = {name.removesuffix(".weight"): m.variance for name, m in promised_moments(reference, model).items()}
    found = list(plans_with_solved_std(model, variances, budget(reference)))
    assert len(found) > 30
    for plan in found:  # a standard deviation of two digits leaves up to 2.5 % a layer
        assert abs(budget(plan)) < 0.3, str(plan)


def test_the_plan_by_fan_in_is_he_s() -> None:
    model = build_vgg("D", num_classes=10, crop=32, width=0.25)
    plan = plan_by_fan_in(model)
    assert all(segment.scheme == "normal" for segment in plan.segments)
    gains = [m.variance for m in promised_moments(plan, model).values()]
    he = [m.variance for m in promised_moments(InitPlan.parse("he"), model).values()]
    assert gains == pytest.approx(he, rel=0.1)  # of two digits


def test_only_allowed_plans_are_proposed() -> None:
    model, batches = deep()

    def is_allowed(plan: InitPlan) -> bool:
        return all(segment.scheme != "he" for segment in plan.segments)

    found = propose(setup_of(model, batches), is_allowed=is_allowed, top=20)
    assert found
    assert all(is_allowed(proposal.plan) for proposal in found)
    with pytest.raises(ValueError, match="no plan is allowed"):
        propose(setup_of(model, batches), is_allowed=lambda plan: False)


@pytest.mark.parametrize(("lr", "changes"), [(0.05, False), (500.0, True), (3e-5, True)])
def test_the_rate_changes_where_the_critical_step_asks_for_it(lr: float, changes: bool) -> None:
    model, batches = deep(4)
    best = propose(setup_of(model, batches, lr))[0]
    assert best.lr is not None
    assert best.multiple is not None
    assert (best.lr != lr) == changes
    assert 1 < best.multiple < 1000
    kept = propose(setup_of(model, batches, lr), vary_lr=False)[0]
    assert kept.lr == lr


@pytest.mark.parametrize(("depth", "clips"), [(12, True), (4, False)])
def test_a_deep_plain_net_gets_a_clip_from_its_first_gradients(depth: int, clips: bool) -> None:
    setup = setup_of(*deep(depth))
    best = propose(setup)[0]
    assert (best.clip is not None) == clips
    assert propose(setup, vary_clip=False)[0].clip is None
    assert propose(dataclasses.replace(setup, clip=3.0))[0].clip == 3.0
    if best.clip is not None:
        apply(best.plan, setup.model, seed=0)
        F.cross_entropy(setup.model(deep(depth)[1][0][0]), deep(depth)[1][0][1]).backward()
        norm = float(nn.utils.clip_grad_norm_(setup.model.parameters(), math.inf))
        assert 0.1 < best.clip / norm < 10


def test_an_update_that_rises_at_any_length_does_not_ask_for_a_shorter_one() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.tensor([1.0, 0.0]))

    def along(update: torch.Tensor) -> CriticalStep:
        before = [weight.detach().clone()]
        with torch.no_grad():
            weight.add_(update)
        found = along_update({"w": weight}, before, lambda: weight.square().sum())
        with torch.no_grad():
            weight.copy_(before[0])
        return found

    assert along(torch.tensor([0.1, 0.0])).is_uphill
    assert not along(torch.tensor([-0.1, 0.0])).is_uphill
    assert not along(torch.tensor([-100.0, 0.0])).is_uphill  # too long, and falls at a fiftieth of it


def test_the_same_program_gets_the_same_proposal_whatever_was_drawn_before() -> None:
    found = []
    for seed in (1, 2):
        torch.manual_seed(7)
        model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
        x = torch.randn(256, 8)
        loader = DataLoader(TensorDataset(x, x[:, :3].argmax(dim=1)), 16, shuffle=True)
        optimizer = torch.optim.SGD(model.parameters(), 5.0, momentum=0.9)
        torch.manual_seed(seed)
        found.append(propose(Setup(model=model, train_loader=loader, optimizer=optimizer, loss_fn=F.cross_entropy))[0])
    assert found[0] == found[1]


def test_what_is_tried_learns_and_nothing_of_the_user_s_changes() -> None:
    model, batches = deep(6)
    setup = setup_of(model, batches)
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(7)
    state = torch.get_rng_state()
    found = plans_for_setup(setup, seconds=6, top=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert setup.single_optimizer is not None
    assert not setup.single_optimizer.state
    assert [group["lr"] for group in setup.single_optimizer.param_groups] == [0.05]
    best = found[0]
    assert best.num_steps > 0
    assert best.loss_after is not None
    assert best.loss_before is not None
    assert best.loss_after < best.loss_before


@pytest.mark.parametrize("passes", [20, 100, 400])
def test_nothing_of_the_user_s_changes_when_plan_is_interrupted(passes: int) -> None:
    model, batches = deep(6)
    setup = setup_of(model, batches)
    before, left = copy.deepcopy(model.state_dict()), [passes]
    torch.manual_seed(7)
    state = torch.get_rng_state()

    def interrupt(module: nn.Module, args: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    handle = torch.nn.modules.module.register_module_forward_pre_hook(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            plans_for_setup(setup, seconds=60, top=2)
    finally:
        handle.remove()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    optimizer = setup.single_optimizer
    assert optimizer is not None
    assert not optimizer.state
    assert [group["lr"] for group in optimizer.param_groups] == [0.05]


class Residual(nn.Module):
    """Ten residual blocks without normalisation: gains do not multiply."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(32, 32) for _ in range(10))
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = x + torch.relu(block(x))
        return self.head(x)


def test_nets_whose_gains_do_not_multiply_are_ranked_by_their_predicted_outputs() -> None:
    _, batches = deep()
    best, *rest = propose(setup_of(Residual(), batches), top=30)
    assert best.budget is not None
    assert abs(best.budget) <= min(abs(p.budget) for p in rest if p.budget is not None) + 0.5


def test_token_ids_get_the_usual_schemes() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(20, 16), nn.Flatten(), nn.Linear(16 * 8, 32), nn.ReLU(), nn.Linear(32, 20))
    tokens = torch.randint(0, 20, (32, 8))
    best = propose(setup_of(model, [(tokens, tokens[:, 0])] * 3))[0]
    assert best.multiple is not None


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        (lambda: setup_of(nn.Linear(4, 2), [{"x": torch.zeros(2, 4)}]), "input, label"),  # type: ignore[list-item]
        (lambda: setup_of(nn.BatchNorm1d(4), [(torch.zeros(2, 4), torch.zeros(2).long())]), "no convolution or linear"),
    ],
)
def test_what_cannot_be_planned_is_one_line(setup, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        propose(setup())
    assert "\n" not in str(refused.value)


def test_the_command_keeps_to_the_period_and_writes_a_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--model.config", "D", "--run.period", "2014-09", "--optim.schedule", "plateau", "--model.width", "0.125"]
    with pytest.raises(SystemExit) as stop:
        cli.main(["plan", *flags, "--out", "mine.toml", "--json"])
    assert stop.value.code == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 5
    assert all("he" not in row["plan"].replace("xavier", "") for row in rows)
    assert abs(rows[0]["budget"]) < 0.5
    assert math.isfinite(rows[0]["multiple"])
    with pytest.raises(SystemExit) as stop:
        cli.main(["check", "--recipe", "mine.toml", "--json"])
    diagnosis = json.loads(capsys.readouterr().out)
    assert diagnosis["verdict"] not in ("dead", "unstable")


@pytest.mark.parametrize("wrong", [["--top", "0"], ["--seconds", "-1"], ["--vary", "momentum"], ["some:thing", "--out", "x"]])
def test_wrong_values_are_one_line(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["plan", *wrong])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def deep_setup() -> Setup:
    return setup_of(*deep(depth=8))


def test_plans_tried_elsewhere_do_what_they_do_here() -> None:
    here = propose(deep_setup(), top=2, seconds=600)
    with ThreadPoolExecutor(2) as executor:
        there = propose(deep_setup(), top=2, seconds=600, executor=executor, make=deep_setup)
    assert there == here
    assert all(proposal.num_steps for proposal in there)


@pytest.mark.parametrize("lr", [None, 0.05])
@pytest.mark.parametrize("clip", [None, 2.0])
def test_what_is_to_be_pasted_is_code(lr: float | None, clip: float | None) -> None:
    written = io.StringIO()
    best = Proposal(plan=InitPlan.parse("he"), budget=0.0, lr=lr, clip=clip)
    print_plans(Console(file=written, width=200), [best], flags=None)
    line = written.getvalue().strip().splitlines()[-1]
    (call,) = ast.parse(line).body
    assert isinstance(call, ast.Expr)
    assert ("0.05" in line, "clip_grad_norm_" in line) == (lr is not None, clip is not None)
