"""Models that play against each other: judged by what one of them makes."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import planted_programs as planted
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Evidence, Setup
from trainability.checking.check import check_setup
from trainability.doctor.experimented import Arm
from trainability.doctor.experiments.battery import experiment
from trainability.doctor.experiments.catalogue import INTERVENTIONS
from trainability.doctor.experiments.judging import Scale
from trainability.doctor.experiments.outcomes import Witness
from trainability.doctor.experiments.players import energy_distance, judge_of
from trainability.doctor.experiments.sources import Source
from trainability.doctor.facts import Facts
from trainability.doctor.rehearsed import Rehearsal

MIDDLES = torch.tensor([[2.0, 0.0], [-2.0, 1.0], [0.0, -2.0]])


def duel(detaches: bool = False, makes: int = 2, as_one: bool = False) -> Setup:
    """A GAN of points in three heaps; a maker of other points than there are has nothing to be held against.

    Its networks are a dict of two, or one module that holds both.
    """
    torch.manual_seed(0)
    points = MIDDLES[torch.randint(3, (960,))] + 0.2 * torch.randn(960, 2)
    models = {"maker": planted.mlp(6, 32, 32, makes), "critic": planted.mlp(2, 32, 32, 1, act=nn.LeakyReLU)}
    optimizers = {
        name: torch.optim.Adam(model.parameters(), 2e-3 if name == "maker" else 4e-3, betas=(0.5, 0.999))
        for name, model in models.items()
    }

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        true = batch[0]
        made = model["maker"](torch.randn(len(true), 6))[:, :2]
        optimizer["critic"].zero_grad()
        real, fake = model["critic"](true), model["critic"](made.detach())
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()
        loss.backward()
        optimizer["critic"].step()
        optimizer["maker"].zero_grad()
        made = model["maker"](torch.randn(len(true), 6))[:, :2]
        fooled = F.softplus(-model["critic"](made.detach() if detaches else made)).mean()
        fooled.backward()
        optimizer["maker"].step()
        return loss

    model = nn.ModuleDict(models) if as_one else models
    return Setup(model=model, train_loader=planted.loader(points), optimizer=optimizers, step=step, rehearse_seconds=1)


def side_by_side(apart: bool = True) -> Setup:
    """A teacher that learns labels, and a student that learns its answers; or both of them for the sum of both losses."""
    torch.manual_seed(0)
    x = torch.randn(320, 6)
    pair = nn.ModuleDict({"teacher": planted.mlp(6, 32, 4), "student": planted.mlp(6, 8, 4)})
    optimizers = {name: torch.optim.Adam(model.parameters(), 1e-2) for name, model in pair.items()}

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        answers = model["teacher"](batch[0])
        for each in optimizer.values():
            each.zero_grad()
        first = F.cross_entropy(answers, batch[1])
        wanted = answers.softmax(1)
        second = F.kl_div(model["student"](batch[0]).log_softmax(1), wanted.detach(), reduction="batchmean")
        for loss in (first, second) if apart else (first + second,):
            loss.backward()
        for each in optimizer.values():
            each.step()
        return second

    data = planted.loader(x, (x @ torch.randn(6, 4)).argmax(1))
    return Setup(model=pair, train_loader=data, optimizer=optimizers, step=step, rehearse_seconds=1)


OPPOSED = Evidence(rehearsal=Rehearsal(steps=(), opposed=True))


def test_the_energy_distance_is_that_of_its_definition() -> None:
    a, b = torch.tensor([[0.0], [1.0]]).double(), torch.tensor([[3.0], [3.0]]).double()
    assert float(energy_distance(a, b)) == pytest.approx(2 * 2.5 - 0.5 - 0.0)
    assert float(energy_distance(a, a)) == 0.0


def test_a_maker_is_judged_by_how_far_its_rows_lie_from_the_batch() -> None:
    setup = duel()
    source = Source(setup, OPPOSED, list(setup.train_loader))
    with source.variant() as variant:
        judge = judge_of(variant)
        assert judge is not None
        mean = variant.reference[0].mean(dim=0)
        maker = variant.model["maker"]
        with torch.no_grad():
            maker[-1].weight.zero_()
            maker[-1].bias.copy_(mean)
        assert float(judge(variant.model, variant.reference)) == pytest.approx(1.0)
        with torch.no_grad():
            maker[-1].bias.copy_(mean + 10)
        assert float(judge(variant.model, variant.reference)) > 3


def test_weights_that_make_something_nearer_and_learn_nothing_fix_no_game() -> None:
    flat, nearer = ((0, 0.9), (10, 0.9), (20, 0.9)), ((0, 0.15), (10, 0.15), (20, 0.15))
    arms = [Arm(name=name, change=name, curve=curve) for name, curve in (("as", flat), ("he", nearer))]
    for curve, is_fixed in ((nearer, False), (((0, 0.9), (10, 0.3), (20, 0.15)), True)):
        arm = replace(arms[1], curve=curve, again=0.15)
        scale = Scale(chance=0.9, ideal=0.0, blind=True, is_game=True)
        witness = Witness(
            unchanged=arms[0], other=arms[0], scale=scale, vary=None, planned_steps=None, evidence=Evidence(), fixed_in=None
        )
        assert witness.is_fixed_by(arm) is is_fixed


def test_models_of_which_none_makes_what_the_batch_holds_are_not_tried() -> None:
    found = experiment(duel(makes=3), OPPOSED, seconds=100, max_steps=20)
    assert found.state == "unknown"
    assert found.arms == ()
    assert len(found.notes) == 1


@pytest.mark.parametrize("apart", [False, True])
def test_of_losses_that_move_different_networks_none_tells_how_the_program_trains(apart: bool) -> None:
    program = side_by_side(apart)
    evidence = check_setup(program).evidence
    assert evidence.rehearsal is not None
    assert not evidence.rehearsal.opposed
    assert (evidence.facts or Facts()).opponents.separate_losses == (2 if apart else 0)
    table = {"rate_tenth": INTERVENTIONS["rate_tenth"]}
    found = experiment(program, evidence, seconds=600, max_steps=20, interventions=table)
    assert (found.arms == ()) is apart


@pytest.mark.parametrize(
    ("setup", "cause"),
    [(lambda: duel(detaches=True), ["detach_off"]), (duel, []), (lambda: duel(as_one=True), [])],
)
def test_a_gan_is_experimented_on(setup: Callable[[], Setup], cause: list[str]) -> None:
    program = setup()
    evidence = check_setup(program).evidence
    assert evidence.rehearsal is not None
    assert evidence.rehearsal.opposed
    table = {name: INTERVENTIONS[name] for name in ("detach_off", "biases_zero", "rate_tenth", "rate_ten")}
    found = experiment(program, evidence, seconds=600, max_steps=100, interventions=table)
    assert [arm.name for arm in found.confirmed] == cause
    assert found.unchanged is not None
    assert found.unchanged.loss is not None
    assert math.isfinite(found.unchanged.loss)
    assert found.state == ("at chance" if cause else "learns")
