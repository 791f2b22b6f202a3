"""A rehearsal at other learning rates: what it takes, what it leaves, and what is read off it."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_outlook import digits_like, rehearsal
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import check
from trainability.doctor.measure.other_rates import rehearse_with_other_rates
from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.other_rates import looks_ahead, next_scale, plan_scale, reach, trials
from trainability.doctor.outlook import judge_rehearsal, wanted_scale
from trainability.doctor.outlook_text import sentence
from trainability.doctor.rehearsed import Observation, OtherRate, Rehearsal
from trainability.doctor.serial import from_plain, to_plain

OPTIMIZERS: dict[str, Callable[[Any, float], torch.optim.Optimizer]] = {
    "SGD": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9, weight_decay=0.01),
    "AdamW": lambda p, lr: torch.optim.AdamW(p, lr, weight_decay=0.1),
    "a rate that is a tensor": lambda p, lr: torch.optim.Adam(p, torch.tensor(lr)),
}


def other(losses: list[float], scale: float, spread: float = 0.5) -> OtherRate:
    """Thirty steps at another rate with the reference loss at 0, 15 and 30."""
    seen = [Observation(step=15 * i, loss=loss, output_rms=1.0, output_spread=spread) for i, loss in enumerate(losses)]
    return OtherRate(scale=scale, reference=tuple(seen))


def at_ten_times(*losses: float) -> OtherRate:
    """Looked at early enough to be held against the rehearsal."""
    looks = zip((0, 3, 15, 30), losses, strict=True)
    return OtherRate(
        scale=10.0, reference=tuple(Observation(step=i, loss=loss, output_rms=1.0, output_spread=0.5) for i, loss in looks)
    )


def tried(own: list[float], *others: OtherRate, **changes: Any) -> Rehearsal:
    """Thirty of 300 steps, and the same at other rates."""
    return rehearsal(own, **{"planned_steps": 300, "other_rates": others, **changes})


# The rehearsal's own way is from 2.3 (chance) to 2.29; at ten times the rate it is one step of fifteen on.
SLOW = [2.3, 2.295, 2.29]
FLAT: tuple[Any, ...] = (
    [2.3, 2.3, 2.3],
    other([2.3, 2.3, 2.3], 2.0, spread=1e-5),
    other([2.3, 2.31, 2.3], 100.0, spread=1e-5),
    other([2.3, 2.3, 2.3], 0.3, spread=1e-5),
)
NOWHERE = (other([9.0, 8.0, 7.0], 100.0), other([9.0, 8.97, 8.94], 0.3))
CASES: dict[str, tuple[Rehearsal, str]] = {
    "the plan's end has learned": (tried(SLOW, other([2.3, 1.9, 1.5], 10.0), multiple=200.0), "will train"),
    "it falls short, and a larger rate learns": (
        tried(SLOW, other([2.3, 2.26, 2.2], 10.0), other([2.3, 1.4, 0.9], 100.0), multiple=200.0),
        "too slow",
    ),
    "it is near what is asked": (
        tried(SLOW, other([2.3, 2.29, 1.75], 2.0), multiple=200.0, planned_steps=60),
        "cannot tell",
    ),
    "too large a rate to believe its end": (tried(SLOW, other([2.3, 1.9, 1.5], 10.0), multiple=20.0), "cannot tell"),
    "it does not repeat the rehearsal": (
        tried(SLOW, other([2.3, 1.9, 1.5], 2.0), multiple=100.0, planned_steps=60),
        "cannot tell",
    ),
    "no rate learns": (tried(*FLAT, multiple=1500.0, planned_steps=60), "dead"),
    # The rehearsal ends before the first look at that rate: an end that may come from overshooting is not believed.
    "no rate learns, but the plan's end cannot be compared": (
        tried(FLAT[0], replace(FLAT[1], scale=10.0), *FLAT[2:], multiple=1500.0),
        "cannot tell",
    ),
    "it comes down from far above chance, plan unknown": (
        tried([9.0, 8.9, 8.8], at_ten_times(9.0, 8.8, 8.2, 7.6), *NOWHERE, multiple=200.0, planned_steps=None),
        "cannot tell",
    ),
    "it stays far above chance, plan unknown": (
        tried([9.0, 9.0, 9.0], at_ten_times(9.0, 9.0, 9.0, 9.0), *NOWHERE, multiple=200.0, planned_steps=None),
        "stalled",
    ),
    "it stands at chance at any rate, plan unknown": (
        tried([2.3, 2.31, 2.3], at_ten_times(2.3, 2.31, 2.3, 2.3), *NOWHERE, multiple=200.0, planned_steps=None),
        "cannot tell",
    ),
    "it has come below the best constant, plan unknown": (
        tried([2.3, 2.29, 2.27], at_ten_times(2.3, 2.31, 2.3, 2.3), *NOWHERE, multiple=200.0, planned_steps=None),
        "cannot tell",
    ),
    "a plateau that ends after 700 steps, plan unknown": (
        tried([2.3, 2.31, 2.3], other([2.3, 2.2, 0.9], 30.0), multiple=200.0, planned_steps=None),
        "cannot tell",
    ),
    "the same in a plan of 300": (tried([2.3, 2.31, 2.3], other([2.3, 2.2, 0.9], 30.0), multiple=200.0), "too slow"),
    "steps a thousand times too small, plan unknown": (
        tried([2.3, 2.31, 2.3], other([2.3, 2.2, 0.9], 1000.0), multiple=9000.0, planned_steps=None),
        "too slow",
    ),
    "a smaller rate learns": (
        tried([2.3, 2.31, 2.32], other([2.3, 9.0, 9.0], 10.0), other([2.3, 1.6, 1.2], 0.1), multiple=2.0),
        "unstable",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_verdicts_by_trial(case: tuple[Rehearsal, str]) -> None:
    outlook = judge_rehearsal(case[0])
    assert outlook.verdict == case[1]
    assert ("would tell" in sentence(case[0], outlook)) == (case[1] == "cannot tell")


def test_the_plans_end_is_tried_first_then_larger_rates_then_smaller_ones() -> None:
    seen = tried(SLOW, multiple=5000.0)
    scales = []
    while (scale := next_scale(seen, 5000.0, 5000.0)) is not None:
        scales.append(scale)
        seen = replace(seen, other_rates=(*seen.other_rates, other([2.3, 2.3, 2.29], scale)))
    assert scales == [10.0, 100.0, 1000.0, 0.3]  # 100 is the decade below 5000 / 8


def test_nothing_is_tried_where_the_rehearsal_said_enough() -> None:
    assert wanted_scale(rehearsal([2.4, 2.1, 1.9])) is None
    assert wanted_scale(rehearsal([2.4, math.nan])) is None
    assert wanted_scale(rehearsal([2.4, 2.4, 2.4], critical=())) is None


def test_a_rate_that_ends_in_a_loss_that_is_not_finite_does_not_learn() -> None:
    up = replace(other([2.3, 1.4, 0.9], 100.0), ended_by="not finite")
    seen = tried(SLOW, other([2.3, 2.26, 2.2], 10.0), up, multiple=200.0)
    assert trials(seen)[2].end == -math.inf
    assert judge_rehearsal(seen).cause != "larger_rate"


def test_a_plan_that_was_rehearsed_as_a_whole_has_no_later_part() -> None:
    whole = rehearsal(SLOW, planned_steps=30, multiple=200.0)
    assert plan_scale(whole) == 1.0
    assert wanted_scale(whole) == 10.0  # a larger rate is the first
    assert looks_ahead(whole, 200.0) == (trials(whole)[0], True)


@pytest.mark.parametrize(("planned", "multiple", "scale"), [(300, 200.0, 10.0), (300, 20.0, 2.5), (30_000, 200.0, 31.25)])
def test_a_look_ahead_stays_below_the_critical_multiple(planned: int, multiple: float, scale: float) -> None:
    seen = rehearsal(SLOW, planned_steps=planned, multiple=multiple)
    assert reach(seen, multiple) == scale
    learned = replace(seen, other_rates=(other([2.3, 1.8, 1.4], scale),))
    assert looks_ahead(learned, multiple)[1] == (scale == 10.0)
    assert judge_rehearsal(learned).verdict == "will train"


def batches_of(model: nn.Module) -> DataLoader:
    width = next(model.parameters()).shape[1]
    x = torch.randn(512, width, generator=torch.Generator().manual_seed(0))
    y = (x @ torch.randn(width, 4, generator=torch.Generator().manual_seed(1))).argmax(dim=1)
    return DataLoader(TensorDataset(x, y), 32, shuffle=True, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("whole", [False, True], ids=["loss_fn", "step"])
def test_a_scaled_rehearsal_is_one_at_that_rate(make: Callable[[Any, float], torch.optim.Optimizer], whole: bool) -> None:
    model, _ = digits_like(0, 0.35)

    def step(model: Any, optimizer: Any, batch: Any) -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss

    form: dict[str, Any] = {"step": step} if whole else {"loss_fn": F.cross_entropy}
    found = []
    for lr, scale in ((0.002, 4.0), (0.008, 1.0)):
        twin = copy.deepcopy(model)
        optimizer = make(twin.parameters(), lr)
        before = [p.detach().clone() for p in twin.parameters()]
        found.append(rehearse(twin, optimizer, batches_of(twin), max_steps=20, scale=scale, **form))
        assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(lr)
        assert all(map(torch.equal, before, twin.parameters()))
    assert [seen.loss for seen in found[0].reference] == pytest.approx([seen.loss for seen in found[1].reference], rel=1e-4)
    assert found[0].critical == ()


def test_the_schedule_is_stepped_as_often_as_asked() -> None:
    model, _ = digits_like(0, 0.35)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    form: dict[str, Any] = {"loss_fn": F.cross_entropy, "scheduler": scheduler, "max_steps": 4}
    found = rehearse(model, optimizer, batches_of(model), schedule_steps=3, scale=2.0, **form)
    assert [step.lr for step in found.steps] == pytest.approx([0.1, 0.1 / 4, 0.1 / 7, 0.1 / 10])
    assert scheduler.last_epoch == 0


def run(model: nn.Module, lr: float, steps: int) -> list[float]:
    """The loss on the reference of a rehearsal, after each step of a run."""
    loader = batches_of(model)
    reference = [torch.cat(parts) for parts in zip(*(batch for _, batch in zip(range(4), loader, strict=False)), strict=True)]
    optimizer, losses = torch.optim.SGD(model.parameters(), lr), []
    while len(losses) < steps:
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            with torch.no_grad():
                losses.append(float(F.cross_entropy(model(reference[0]), reference[1])))
    return losses[:steps]


@pytest.mark.parametrize(("highest", "verdict"), [(1.2, "cannot tell"), (2.3, "dead")])
def test_what_learns_for_a_while_at_some_rate_is_not_dead(highest: float, verdict: str) -> None:
    kept = replace(FLAT[2], reference=other([2.3, highest, 2.3], 100.0, spread=1e-5).reference)
    found = tried(FLAT[0], FLAT[1], kept, FLAT[3], multiple=1500.0, planned_steps=60)
    assert judge_rehearsal(found).verdict == verdict


@pytest.mark.parametrize(("end", "verdict"), [(1.8, "cannot tell"), (1.9, "too slow")])
def test_a_forecast_that_gets_there_soon_after_the_plan_settles_nothing(end: float, verdict: str) -> None:
    found = tried(SLOW, other([2.3, 2.29, end], 2.0), other([2.3, 1.0, 0.8], 100.0), multiple=2000.0, planned_steps=60)
    assert judge_rehearsal(found).verdict == verdict


def planned(lr: float) -> tuple[Rehearsal, list[float]]:
    """A hundred of a thousand steps, and the losses of all of them."""
    model, _ = digits_like(0, 0.35)
    form: dict[str, Any] = {"loss_fn": F.cross_entropy, "planned_steps": 1000, "max_steps": 100}
    optimizer = torch.optim.SGD(model.parameters(), lr)
    found = rehearse_with_other_rates(model, optimizer, batches_of(model), seconds=600.0, **form)
    ahead, is_end = looks_ahead(found, judge_rehearsal(found).multiple or 0.0)
    assert ahead is not None
    assert (ahead.scale, is_end) == (10.0, True)
    return found, run(copy.deepcopy(model), lr, 1000)


def test_the_forecast_is_where_the_plan_ends() -> None:
    found, losses = planned(2e-3)
    tried_at = next(rate for rate in found.other_rates if rate.scale == 10.0)
    assert tried_at.reference[-1].loss == pytest.approx(losses[-1], abs=0.05)
    assert min(losses) > 0.75 * (found.task.chance or 0.0)  # a quarter of the way to zero is beyond the plan,
    assert judge_rehearsal(found).steps_needed is None  # and so is any number that could be trusted


def test_a_forecast_tells_far_ahead_that_it_trains_and_not_when() -> None:
    found, losses = planned(2e-2)
    outlook = judge_rehearsal(found)
    reached = next(step for step, loss in enumerate(losses, 1) if loss <= 0.75 * (found.task.chance or 0.0))
    assert (outlook.verdict, outlook.cause) == ("will train", "forecast")
    assert (
        outlook.steps_needed is None
    )  # read off the forecast, 686: further ahead than numbers were compared with what it took
    assert reached < 1000


PROGRAMS = {
    "a rate that is too small": ((0.35, None), 5e-3, "too slow"),
    "biases of -10": ((0.35, -10.0), 0.1, "dead"),
    "zero weights": ((0.0, None), 0.1, "dead"),
}


@pytest.mark.parametrize("case", PROGRAMS.values(), ids=PROGRAMS)
def test_programs_whose_end_is_known(case: tuple) -> None:
    (scale, bias), lr, verdict = case
    model, _ = digits_like(0, scale, bias)
    loader = batches_of(model)
    optimizer = torch.optim.SGD(model.parameters(), lr)
    state = [*(p.detach().clone() for p in model.parameters()), torch.get_rng_state(), loader.generator.get_state()]
    form: dict[str, Any] = {"loss_fn": F.cross_entropy, "planned_steps": 400, "max_steps": 100}
    found = rehearse_with_other_rates(model, optimizer, loader, seconds=600.0, **form)
    outlook = judge_rehearsal(found)
    assert found.other_rates
    assert outlook.verdict == verdict
    assert all(map(torch.equal, state, [*model.parameters(), torch.get_rng_state(), loader.generator.get_state()]))
    assert optimizer.param_groups[0]["lr"] == lr
    assert from_plain(Rehearsal, to_plain(found)) == found


def test_of_what_can_be_read_once_only_no_other_rate_is_tried() -> None:
    model, _ = digits_like(0, 0.35)
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)
    form: dict[str, Any] = {"loss_fn": F.cross_entropy, "planned_steps": 10_000, "max_steps": 10}
    full = rehearse_with_other_rates(model, optimizer, batches_of(model), seconds=600.0, **form)
    none = rehearse_with_other_rates(model, optimizer, iter(list(batches_of(model))), seconds=600.0, **form)
    assert full.other_rates
    assert none.other_rates == ()


@pytest.mark.parametrize(("asked", "rate", "expected"), [((1, 4, 9), 0.05, "cannot tell"), ((1,), 1e-5, "too slow")])
def test_a_parity_that_stands_at_chance_first_is_not_too_slow(asked: tuple[int, ...], rate: float, expected: str) -> None:
    """Of three of twelve bits the loss leaves chance in the seventh epoch, and is a tenth of it after sixteen."""
    torch.manual_seed(0)
    bits = torch.randint(0, 2, (3200, 12)).float() * 2 - 1
    batches = DataLoader(TensorDataset(bits, (bits[:, list(asked)].prod(dim=1) > 0).long()), 32)
    model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 2))
    found = check(model, batches, None, torch.optim.SGD(model.parameters(), lr=rate), rehearse_seconds=6)
    assert found.verdict == expected, found.reason
