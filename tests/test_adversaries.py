"""Models against each other: limits of a critic, and noise that is never new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import trainability
from trainability.doctor.measure.opponent_facts import facts_of_opponents

X = torch.randn(320, 4, generator=torch.Generator().manual_seed(0))
LOADER = [(X[k : k + 32],) for k in range(0, 320, 32)]
FIXED = torch.randn(32, 3, generator=torch.Generator().manual_seed(1))


def models(limit: str | None = None) -> dict[str, nn.Module]:
    last = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 1)) if limit == "norm" else nn.Linear(8, 1)
    ends = [nn.Tanh()] if limit == "tanh" else []
    critic = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), last, *ends)
    return {"maker": nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4)), "critic": critic}


def optimizers_of(models: dict[str, nn.Module], decay: float = 0.0) -> dict[str, torch.optim.Optimizer]:
    return {name: torch.optim.RMSprop(model.parameters(), lr=1e-3, weight_decay=decay) for name, model in models.items()}


def plays(
    limit: str | None = None, *, noise: Callable[[], Tensor] = lambda: torch.randn(32, 3), kind: str = "line"
) -> Callable:
    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        x = batch[0]
        for _ in range(2):
            if limit in ("first", "wide"):
                for p in model["critic"].parameters():
                    p.data.clamp_(-0.01, 0.01) if limit == "first" else p.data.clamp_(-9, 9)
            made = model["maker"](noise()).detach()
            real, fake = model["critic"](x), model["critic"](made)
            loss = fake.mean() - real.mean() if kind == "line" else F.softplus(fake).mean() + F.softplus(-real).mean()
            if limit in ("penalty", "unused"):
                between = ((x + made) / 2).requires_grad_()
                slope = torch.autograd.grad(model["critic"](between).sum(), between, create_graph=True)[0]
                penalty = 10 * (slope.norm(dim=1) - 1).square().mean()
                loss = loss + penalty if limit == "penalty" else loss
            optimizer["critic"].zero_grad()
            loss.backward()
            optimizer["critic"].step()
            if limit == "clip":
                for p in model["critic"].parameters():
                    p.data.clamp_(-0.01, 0.01)
            elif limit == "lost":
                for p in model["critic"].parameters():
                    p.data.clamp(-0.01, 0.01)
        answers = model["critic"](model["maker"](noise()))
        loss = -answers.mean() if kind == "line" else F.softplus(-answers).mean()
        optimizer["maker"].zero_grad()
        loss.backward()
        optimizer["maker"].step()
        return loss

    return step


@pytest.mark.parametrize("limit", [None, "lost", "unused", "clip", "first", "wide", "penalty", "norm", "tanh", "decay"])
def test_what_limits_a_wasserstein_critic(limit: str | None) -> None:
    players = models(limit)
    optimizer = optimizers_of(players, decay=1e-2 if limit == "decay" else 0.0)
    before = [p.detach().clone() for model in players.values() for p in model.parameters()]
    found = facts_of_opponents(players, optimizer, plays(limit), LOADER)
    assert found["unlimited_critic"] == ((1, 0) if limit in (None, "lost", "unused") else None)
    assert all(torch.equal(a, b) for a, b in zip(before, (p for m in players.values() for p in m.parameters()), strict=True))


def test_a_loss_with_a_floor_needs_no_limit() -> None:
    players = models()
    found = facts_of_opponents(players, optimizers_of(players), plays(kind="floor"), LOADER)
    assert found == {"unlimited_critic": None, "fixed_noise": None, "flat_where_sure": None, "undone": None}


@pytest.mark.parametrize(
    ("noise", "found"), [(lambda: FIXED, (1, 0)), (lambda: FIXED.roll(int(torch.randint(9, ())), 0), None)]
)
def test_noise_that_is_drawn_once(noise: Callable[[], Tensor], found: Any) -> None:
    players = models()
    assert facts_of_opponents(players, optimizers_of(players), plays(kind="floor", noise=noise), LOADER)["fixed_noise"] == found


def test_a_maker_of_the_batch_itself_is_given_no_noise() -> None:
    """An adversarial autoencoder that is to overfit one batch."""
    players = {"maker": nn.Linear(4, 4), "critic": nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))}

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        drawn, made = torch.randn(32, 4), model["maker"](batch[0])
        optimizer["critic"].zero_grad()
        (F.softplus(-model["critic"](drawn)).mean() + F.softplus(model["critic"](made.detach())).mean()).backward()
        optimizer["critic"].step()
        optimizer["maker"].zero_grad()
        loss = F.softplus(-model["critic"](made)).mean()
        loss.backward()
        optimizer["maker"].step()
        return loss

    assert facts_of_opponents(players, optimizers_of(players), step, LOADER[:1] * 8)["fixed_noise"] is None


@pytest.mark.parametrize(("limit", "codes"), [(None, {"unlimited_critic"}), ("clip", set())])
def test_models_in_a_structure_within_a_structure_are_named(limit: str | None, codes: set[str]) -> None:
    players = models()
    nets = {"nets": [players["maker"], players["critic"]]}
    body = plays(limit)

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        maker, critic = model["nets"]
        return body({"maker": maker, "critic": critic}, optimizer, batch)

    report = trainability.check(nets, LOADER, step=step, optimizer=optimizers_of(players))
    found = {finding.rule: finding for finding in report.findings if finding.severity != "hint"}
    assert set(found) & {"unlimited_critic", "fixed_noise", "idle_loss"} == codes
    assert not codes or "nets.1" in found["unlimited_critic"].seen


@pytest.mark.parametrize("thaws", [False, True])
def test_a_critic_that_is_never_thawed(thaws: bool) -> None:
    players = models()

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        if thaws:
            model["critic"].requires_grad_(True)
        made = model["maker"](torch.randn(32, 3))
        optimizer["critic"].zero_grad()
        (F.softplus(model["critic"](made)).mean() + F.softplus(-model["critic"](batch[0])).mean()).backward()
        optimizer["critic"].step()
        model["critic"].requires_grad_(False)
        optimizer["maker"].zero_grad()
        loss = F.softplus(-model["critic"](model["maker"](torch.randn(32, 3)))).mean()
        loss.backward()
        optimizer["maker"].step()
        return loss

    optimizer = optimizers_of(players)
    report = trainability.check(players, LOADER * 4, step=step, optimizer=optimizer)
    codes = {finding.code for finding in report.findings if finding.severity != "hint"}
    assert codes == (set() if thaws else {"unmoved_parameter.frozen"})


ASKED: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {  # a generator's loss of logits; whether it dies away
    "minimax": (lambda a: -F.binary_cross_entropy_with_logits(a, torch.zeros_like(a)), True),
    "minimax of chances": (lambda a: torch.log(1 - a.sigmoid() + 1e-7).mean(), True),
    "other label": (lambda a: F.binary_cross_entropy_with_logits(a, torch.ones_like(a)), False),
    "other label of chances": (lambda a: -torch.log(a.sigmoid() + 1e-7).mean(), False),
    "line": (lambda a: -a.mean(), False),
    "squares": (lambda a: (a - 1).square().mean(), False),
}


@pytest.mark.parametrize("by_chances", [False, True])
@pytest.mark.parametrize("name", ASKED)
def test_a_generator_whose_loss_is_flat_where_the_critic_is_sure(name: str, by_chances: bool) -> None:
    asks, is_flat = ASKED[name]
    players = models()
    if by_chances:
        players["critic"] = nn.Sequential(players["critic"], nn.Sigmoid())

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        made = model["maker"](torch.randn(32, 3))
        real, fake = model["critic"](batch[0]), model["critic"](made.detach())
        real, fake = (real.logit(), fake.logit()) if by_chances else (real, fake)
        loss = F.softplus(fake).mean() + F.softplus(-real).mean()
        optimizer["critic"].zero_grad()
        loss.backward()
        optimizer["critic"].step()
        answers = model["critic"](made)
        loss = asks(answers.logit() if by_chances else answers)
        optimizer["maker"].zero_grad()
        loss.backward()
        optimizer["maker"].step()
        return loss

    found = facts_of_opponents(players, optimizers_of(players), step, LOADER)
    assert found["flat_where_sure"] == ((1, 0) if is_flat else None)


@pytest.mark.parametrize(("clamped", "codes"), [(("critic",), set()), (("critic", "maker"), {"weights_redrawn.limited"})])
def test_weights_that_are_clamped_from_a_list(clamped: tuple[str, ...], codes: set[str]) -> None:
    """The list holds the loop's own parameters, which no copy has: the rehearsal steps these, and puts them back."""
    torch.manual_seed(0)
    players = models()
    held = [p for name in clamped for p in players[name].parameters()]
    body = plays()

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        loss = body(model, optimizer, batch)
        for p in held:
            p.data.clamp_(-0.01, 0.01)
        return loss

    before = [p.detach().clone() for model in players.values() for p in model.parameters()]
    report = trainability.check(players, LOADER, step=step, optimizer=optimizers_of(players))
    told = {finding.code for finding in report.findings if finding.rule in ("unlimited_critic", "weights_redrawn")}
    assert told == codes
    assert all(torch.equal(a, b) for a, b in zip(before, (p for m in players.values() for p in m.parameters()), strict=True))
