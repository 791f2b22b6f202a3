"""Programs that fail within their experiments: what can be tested is, and the rest says why not."""

from collections.abc import Callable, Iterator
from typing import Any

import planted_programs as planted
import pytest
import torch
from confirm_faults import chosen
from test_experiments import made
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Evidence, Setup, confirm
from trainability.checking.check import check_setup
from trainability.doctor.experimented import OTHER_SEED, UNCHANGED
from trainability.doctor.experiments.battery import experiment
from trainability.doctor.experiments.catalogue import INTERVENTIONS
from trainability.doctor.experiments.intervention import Intervention
from trainability.doctor.experiments.sources import kept_batches

STEPS = 20
TABLE = {name: INTERVENTIONS[name] for name in ("biases_zero", "rate_ten")}


def dead(loss: Callable[[Any, Any], Tensor], *, whole: bool = False) -> Setup:
    """A program whose biases of -10 keep it at chance, with a loss or a body of its own."""

    def body(model: Any, optimizer: Any, batch: Any) -> Tensor:
        optimizer.zero_grad()
        value = loss(model, batch)
        value.backward()
        optimizer.step()
        return value

    setup = made(planted.biases_minus_10)
    form = {"step": body} if whole else {"training_step": loss}
    return Setup(model=setup.model, train_loader=setup.train_loader, optimizer=setup.optimizer, rehearse_seconds=0.5, **form)


def of_one_size(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]) + torch.zeros(32, 10), batch[1])


def in_training_only(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]) if model.training else [], batch[1])


class Breaks:
    """A loss that fails once it was computed so many times, in whatever copy."""

    def __init__(self, after: int, error: BaseException) -> None:
        self.left, self.error = iter(range(after)), error

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        if next(self.left, None) is None:
            raise self.error
        return F.cross_entropy(model(batch[0]), batch[1])


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("loss", [of_one_size, in_training_only])
def test_the_fixed_batch_is_one_that_the_loss_takes(loss: Callable[[Any, Any], Tensor], whole: bool) -> None:
    found = experiment(dead(loss, whole=whole), Evidence(), seconds=600, max_steps=2 * STEPS, interventions=TABLE)
    assert [arm.name for arm in found.confirmed] == ["biases_zero"]
    assert any("looked at on" in note for note in found.notes) is not (whole and loss is in_training_only)


@pytest.mark.parametrize("error", [RuntimeError("one line\nand another"), ValueError("of the user's"), SystemExit(1)])
@pytest.mark.parametrize(("after", "arms"), [(0, ()), (10, ()), (STEPS + 15, (UNCHANGED,))])
def test_a_program_that_fails_without_a_change_is_not_tested(after: int, arms: tuple[str, ...], error: BaseException) -> None:
    found = experiment(dead(Breaks(after, error)), Evidence(), seconds=600, max_steps=STEPS, interventions=TABLE)
    assert found.state == "unknown"
    assert tuple(arm.name for arm in found.arms if arm.curve) == arms
    assert found.confirmed == ()
    (said,) = [note for note in found.notes if "nothing was tested" in note]
    assert (type(error).__name__ if isinstance(error, Exception) else "exit code 1") in said
    assert "\n" not in said


@pytest.mark.parametrize("after", [100, 150, 200, 250])
def test_what_was_seen_before_a_longer_run_failed_stays(after: int) -> None:
    found = experiment(dead(Breaks(after, RuntimeError("late"))), Evidence(), seconds=600, max_steps=STEPS, interventions=TABLE)
    assert {arm.name for arm in found.arms if arm.curve} >= {UNCHANGED, OTHER_SEED}
    assert all(arm.steps >= STEPS for arm in found.arms if arm.name in (UNCHANGED, OTHER_SEED))
    assert any("late" in text for text in (*found.notes, *(arm.reason for arm in found.changes)))


def of_two(spoil: Callable[[nn.Module], Any], stepped: tuple[str, ...] = ("trunk", "head")) -> Setup:
    """A trunk and a head with an optimizer each, and one loss."""
    torch.manual_seed(0)
    models = {"trunk": nn.Sequential(nn.Linear(64, 48), nn.ReLU()), "head": nn.Linear(48, 10)}
    spoil(models["trunk"][0])
    optimizers = {name: torch.optim.SGD(model.parameters(), 0.05, momentum=0.9) for name, model in models.items()}

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        for each in optimizer.values():
            each.zero_grad()
        loss = F.cross_entropy(model["head"](model["trunk"](batch[0])), batch[1])
        loss.backward()
        for name in stepped:
            optimizer[name].step()
        return loss

    return Setup(
        model=models,
        train_loader=planted.loader(*planted.digits()),
        optimizer=optimizers,
        step=step,
        rehearse_seconds=0.5,
    )


@pytest.mark.parametrize(
    ("setup", "cause"),
    [
        (lambda: of_two(lambda layer: nn.init.constant_(layer.bias, -10)), "biases_zero"),
        (lambda: of_two(lambda layer: nn.init.zeros_(layer.weight), stepped=("head",)), "step_in_order"),
        (lambda: of_two(lambda layer: None), None),
    ],
)
def test_several_models_with_one_loss_are_one_program(setup: Callable[[], Setup], cause: str | None) -> None:
    program = setup()
    evidence = check_setup(program).evidence
    table = {name: INTERVENTIONS[name] for name in ("step_in_order", "biases_zero", "rate_ten", "softmax_off")}
    found = experiment(program, evidence, seconds=600, max_steps=60, interventions=table)
    assert [arm.name for arm in found.confirmed] == ([cause] if cause is not None else [])
    assert found.chance == pytest.approx(2.3, abs=0.05)


def test_a_change_that_fails_hides_no_other() -> None:
    def fail(variant: Any) -> None:
        raise RuntimeError("no")

    bad = {name: Intervention(name=name, change=name, applies=lambda v: True, make=fail) for name in ("first", "last")}
    table = {"first": bad["first"], **TABLE, "last": bad["last"]}
    found = experiment(made(planted.biases_minus_10), Evidence(), seconds=600, max_steps=40, interventions=table)
    said = {arm.name: arm for arm in found.changes}
    assert [arm.name for arm in found.confirmed] == ["biases_zero"]
    assert all(said[name].outcome == "not tested" for name in bad)
    assert all("RuntimeError: no" in said[name].reason for name in bad)
    assert said["rate_ten"].curve


def test_a_loader_that_fails_on_the_way_gives_the_batches_before() -> None:
    def batches(good: int) -> Iterator[Tensor]:
        for _ in range(good):
            yield torch.zeros(2)
        raise OSError("no such image")

    kept, notes = kept_batches(batches(3), 10, 60.0)
    assert len(kept) == 3
    assert "OSError: no such image" in notes[0]
    with pytest.raises(ValueError, match="OSError: no such image"):
        kept_batches(batches(0), 10, 60.0)


def test_confirm_looks_where_a_loss_exists_in_training_only() -> None:
    experiments = confirm(dead(in_training_only), seconds=600, max_steps=2 * STEPS).evidence.experiments
    assert experiments is not None
    assert experiments.confirmed[0].name in ("biases_zero", "default_weights")  # both take the biases away


def test_programs_of_the_fault_benchmark_are_chosen_by_name() -> None:
    assert chosen(["temperature of 2,000"]) == ["temperature of 2,000"]
    assert chosen(["set", "scored"]) == chosen(["both"])
    assert set(chosen(["scored"])).isdisjoint(chosen(["set"]))
    with pytest.raises(ValueError, match="no such"):
        chosen(["temperature of 2,000", "no such"])
