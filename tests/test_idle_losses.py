"""Losses of several optimizers that move nothing, by how a loop uses its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import trainability
from trainability.doctor.measure.asked_for import unasked_for
from trainability.doctor.measure.idle_losses import follow_losses

X = torch.randn(256, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
LOADER = [(X[k : k + 32], Y[k : k + 32]) for k in range(0, 256, 32)]


def parts() -> nn.ModuleDict:
    return nn.ModuleDict({"encoder": nn.Linear(6, 4), "decoder": nn.Linear(4, 6), "judge": nn.Linear(4, 1)})


def adversarial(trains: str = "encoder", *, clear: str = "all", cut: bool = False, by_hand: bool = False) -> Callable:
    """An adversarial autoencoder: reconstruction, judge, and the encoder (or what else `trains` says) against the judge."""

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        x = batch[0]
        model.zero_grad()
        code = model["encoder"](x)
        loss = F.mse_loss(model["decoder"](code), x)
        loss.backward()
        optimizer["reconstruct"].step()
        model.zero_grad() if clear == "all" else optimizer["judge"].zero_grad()
        code = model["encoder"](x)
        real = model["judge"](torch.randn_like(code))
        # Without detach the encoder gets a gradient here, too, which is cleared: wasteful, and sound.
        (F.softplus(-real).mean() + F.softplus(model["judge"](code)).mean()).backward()
        optimizer["judge"].step()
        model.zero_grad()
        code = model["encoder"](x)
        fooled = F.softplus(-model["judge"](code.detach() if cut else code)).mean()
        (0.5 * fooled + F.mse_loss(model["decoder"](code), x) if cut else fooled).backward()
        if by_hand:
            with torch.no_grad():
                for p in model[trains].parameters():
                    p -= 0.01 * p.grad
        else:
            optimizer["adversarial"].step()
        return loss

    step.trains = trains
    return step


@pytest.mark.parametrize("wrap", [lambda parts: parts, lambda parts: nn.ModuleDict({"net": parts})])
@pytest.mark.parametrize("order", [("encoder", "decoder", "judge"), ("judge", "decoder", "encoder")])
def test_the_part_that_makes_is_named_before_the_one_that_judges(wrap: Callable, order: tuple[str, ...]) -> None:
    own = parts()
    inner = nn.ModuleDict({name: own[name] for name in order})
    model = wrap(inner)
    body = adversarial("decoder")

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        return body(model if "encoder" in model else model["net"], optimizer, batch)

    followed = follow_losses(model, optimizers_of(inner, "decoder"), step, LOADER)
    assert followed is not None
    assert followed.idle is not None
    assert [name.rpartition(".")[2] for name in followed.idle.reached] == ["encoder", "judge"]
    assert [name.rpartition(".")[2] for name in followed.idle.held] == ["decoder"]


def optimizers_of(model: nn.ModuleDict, trains: str) -> dict[str, torch.optim.Optimizer]:
    both = [*model["encoder"].parameters(), *model["decoder"].parameters()]
    held = {"reconstruct": both, "judge": model["judge"].parameters()}
    held["adversarial"] = both if trains == "both" else model[trains].parameters()
    return {name: torch.optim.Adam(list(own), lr=1e-3) for name, own in held.items()}


@pytest.mark.parametrize(
    ("trains", "words", "found"),
    [
        ("encoder", {}, None),
        ("decoder", {}, (3, None, ("encoder", "judge"), ("decoder",))),
        ("encoder", {"clear": "own"}, None),
        ("encoder", {"by_hand": True}, None),
        ("both", {"cut": True}, (3, 1, ("judge",), ("encoder", "decoder"))),
    ],
)
def test_a_loss_whose_gradient_nobody_steps_on(trains: str, words: dict, found: Any) -> None:
    model = parts()
    optimizer = optimizers_of(model, trains)
    before = [p.detach().clone() for p in model.parameters()]
    followed = follow_losses(model, optimizer, adversarial(trains, **words), LOADER)
    idle = followed.idle if followed is not None else None
    assert (idle and (idle.place, idle.term, idle.reached, idle.held)) == found
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("how", ["copy", "data", "set"])
def test_gradients_that_are_projected_by_hand_are_not_followed(how: str) -> None:
    model = parts()
    optimizer = optimizers_of(model, "encoder")

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        kept = []
        for target in (0.0, 1.0):
            model.zero_grad()
            loss = (model["encoder"](batch[0]) - target).square().mean()
            loss.backward()
            kept.append([p.grad.data.clone() if how == "data" else p.grad.clone() for p in model["encoder"].parameters()])
        for p, one, other in zip(model["encoder"].parameters(), *kept, strict=True):
            if how == "set":
                p.grad = one + other
            else:
                p.grad.copy_(one + other)
        optimizer["adversarial"].step()
        return loss

    assert follow_losses(model, optimizer, step, LOADER) is None


@pytest.mark.parametrize("every", [1, 3])
def test_gradients_that_are_added_up_over_bodies_are_stepped(every: int) -> None:
    model = parts()
    optimizer = optimizers_of(model, "encoder")

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        step.count += 1
        code = model["encoder"](batch[0])
        F.mse_loss(model["decoder"](code), batch[0]).backward()
        loss = F.softplus(-model["judge"](code.detach())).mean()
        loss.backward()
        if step.count % every == 0:
            for each in optimizer.values():
                each.step()
                each.zero_grad()
        return loss

    step.count = 0
    followed = follow_losses(model, optimizer, step, LOADER)
    assert followed is not None
    assert followed.idle is None
    assert [len(moved) for moved in followed.moved] == [4, 2]


class Codes(nn.Module):
    """A generator that is told a class beside noise in one tensor, a judge of its rows, and a reader of the class."""

    def __init__(self) -> None:
        super().__init__()
        self.maker = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 6))
        self.judge = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 1))
        self.reader = nn.Linear(6, 3)


@pytest.mark.parametrize(("held", "found"), [(("reader",), (1, 0, 2)), (("maker", "reader"), None)])
def test_a_class_that_only_its_reader_learns(held: tuple[str, ...], found: Any) -> None:
    model = Codes()

    def adam(*names: str) -> torch.optim.Optimizer:
        return torch.optim.Adam([p for name in names for p in getattr(model, name).parameters()], lr=1e-3)

    optimizer = {"maker": adam("maker"), "judge": adam("judge"), "reader": adam(*held)}

    def made(model: Any, code: Tensor) -> Tensor:
        return model.maker(torch.cat([torch.randn(len(code), 3), F.one_hot(code, 3).float()], dim=1))

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        x, code = batch[0], torch.randint(3, (len(batch[0]),))
        optimizer["judge"].zero_grad()
        (F.softplus(-model.judge(x)).mean() + F.softplus(model.judge(made(model, code).detach())).mean()).backward()
        optimizer["judge"].step()
        optimizer["maker"].zero_grad()
        F.softplus(-model.judge(made(model, code))).mean().backward()
        optimizer["maker"].step()
        optimizer["reader"].zero_grad()
        loss = F.cross_entropy(model.reader(made(model, code)), code)
        loss.backward()
        optimizer["reader"].step()
        return loss

    followed = follow_losses(model, optimizer, step, LOADER)
    assert followed is not None
    assert unasked_for(model, optimizer, step, LOADER[0], followed) == found


@pytest.mark.parametrize(("held", "found"), [("judge", (2, 2)), ("maker", None)])
def test_two_optimizers_for_one_network_and_none_for_another(held: str, found: Any) -> None:
    model = nn.ModuleDict({"maker": nn.Linear(6, 6), "judge": nn.Linear(6, 1)})
    optimizer = {"maker": model[held], "judge": model["judge"]}
    optimizer = {name: torch.optim.Adam(part.parameters(), lr=1e-3) for name, part in optimizer.items()}

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        made = model["maker"](torch.randn(len(batch[0]), 6))
        optimizer["judge"].zero_grad()
        (F.softplus(-model["judge"](batch[0])).mean() + F.softplus(model["judge"](made.detach())).mean()).backward()
        optimizer["judge"].step()
        optimizer["maker"].zero_grad()
        loss = F.softplus(-model["judge"](made)).mean()
        loss.backward()
        optimizer["maker"].step()
        return loss

    followed = follow_losses(model, optimizer, step, LOADER)
    assert followed is not None
    assert followed.held_twice == found
    report = trainability.check(model, LOADER * 2, step=step, optimizer=optimizer)
    assert (report.findings[0].code == "foreign_optimizer.twice" if report.findings else False) == (found is not None)


def two_losses(form: str) -> Callable:
    """Two backward passes and one step; what stands between them is the form's."""

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        x = batch[0].clone().requires_grad_(form == "attack")
        optimizer.zero_grad()
        code = model["encoder"](x)
        loss = F.mse_loss(model["decoder"](code), batch[0])
        loss.backward(retain_graph=True)
        if form == "measured":
            torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        if form in ("cleared", "attack", "measured"):
            model.zero_grad()
        if form == "stepped":
            optimizer.step()
            optimizer.zero_grad()
        if form == "attack":
            code = model["encoder"](x.detach() + 0.1 * x.grad.sign())
        else:
            code = model["encoder"](x)
        F.softplus(-model["judge"](code)).mean().backward()
        optimizer.step()
        return loss

    return step


@pytest.mark.parametrize("form", ["cleared", "added", "stepped", "attack", "measured"])
def test_a_gradient_that_is_cleared_before_the_step_is_told_from_others(form: str) -> None:
    model = parts()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    followed = follow_losses(model, optimizer, two_losses(form), LOADER)
    idle = followed.idle if followed is not None else None
    assert (idle is not None) is (form == "cleared")
    if idle is not None:
        assert (idle.place, idle.num_losses, idle.before_step, idle.reached) == (1, 2, True, ("encoder", "decoder"))
        said = trainability.check(model, LOADER, optimizer=optimizer, step=two_losses(form), rehearse_seconds=1)
        assert {f.code: f.severity for f in said.findings}.get("idle_loss.cleared") == "error"


@pytest.mark.parametrize("form", ["adversarial", "separate"])
@pytest.mark.parametrize("are_exchanged", [True, False])
def test_optimizers_that_changed_places(form: str, are_exchanged: bool) -> None:
    """A judge and a maker, or two networks with a loss each."""

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        first, second = optimizer["encoder" if are_exchanged else "judge"], optimizer["judge" if are_exchanged else "encoder"]
        first.zero_grad()
        made = model["encoder"](batch[0])
        if form == "separate":
            loss = model["judge"](batch[0][:, :4]).square().mean()
        else:
            loss = F.softplus(-model["judge"](torch.randn_like(made))).mean() + F.softplus(model["judge"](made.detach())).mean()
        loss.backward()
        first.step()
        second.zero_grad()
        (made.square().mean() if form == "separate" else F.softplus(-model["judge"](made)).mean()).backward()
        second.step()
        return loss

    model = parts()
    optimizer = {name: torch.optim.Adam(model[name].parameters(), lr=1e-3) for name in ("encoder", "judge")}
    followed = follow_losses(model, optimizer, step, LOADER)
    assert followed is not None
    found = followed.idle and (followed.idle.place, followed.idle.exchanged, followed.idle.reached, followed.idle.held)
    assert found == ((1, 2, ("judge",), ("encoder",)) if are_exchanged else None)
