"""Small programs, each with one mistake and without: the cause is named first, and the sound form is left alone."""

import itertools
from collections.abc import Callable

import pytest
import small_programs as programs
import torch
from small_programs import Program
from torch import nn

from trainability import Diagnosis, Monitor, check
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.outlook import judge_rehearsal

BEFORE = {
    "mean_of_pairs": "target_broadcast",
    "large_rate": "exploding_gradient",
    "softmax_twice": "softmax_twice",
    "foreign_optimizer": "foreign_optimizer",
    "exclusive_or": "linear_stack",
    "target_scale": "target_scale",
    "input_scale": "input_scale",
    "next_sign": "sees_future",
    "no_places": "unreached_parameter.dropped",
    "batch_for_time": "batch_leakage.sequences",
    "sorted_classes": "class_order",
    "plain_dict": "unregistered_layers",
    "decoder_of_zeros": "constant_input",
    "words_as_numbers": "numbers_for_words",
}
# From Monitor alone, which records a step and asks it when the loop is over; what only a loop shows comes in addition.
AFTER = BEFORE | {"stale_gradients": "missing_zero_grad"}
# With what `check` saw before: the cause stays ahead of the symptoms that training adds.
BOTH = ("mean_of_pairs", "target_scale", "input_scale", "no_places", "batch_for_time", "sorted_classes", "next_sign")
ALL = sorted({*BEFORE, *AFTER})


def made(name: str, *, bad: bool) -> Program:
    torch.manual_seed(0)
    build: Callable[[bool], Program] = getattr(programs, name)
    return build(bad)


def looked_at(program: Program, *, seconds: float = 0.5) -> Diagnosis:
    return check(
        program.model,
        program.train,
        program.loss_fn,
        training_step=program.loss,
        optimizer=program.optimizer,
        val_loader=[program.validation],
        rehearse_seconds=seconds,
    )


def trained(program: Program, num_steps: int, before: Diagnosis | None = None) -> Diagnosis:
    known = {"num_classes": program.num_classes, "before": before}
    monitor = Monitor(program.model, program.optimizer, every=20, **known)
    program.model.train()
    endless = itertools.chain.from_iterable(iter(program.train) for _ in itertools.count())
    with monitor:
        for batch in itertools.islice(endless, num_steps):
            if program.clears:
                program.optimizer.zero_grad()
            loss = program.step_loss(program.model, batch)
            loss.backward()
            monitor.after_backward(loss)
            program.optimizer.step()
    return monitor.diagnose()


def causes(diagnosis: Diagnosis) -> list[str]:
    assert not any("itself failed" in line for line in diagnosis.not_checked), diagnosis.not_checked
    assert diagnosis.evidence.facts is None or not diagnosis.evidence.facts.notes, diagnosis.evidence.facts
    return [finding.code for finding in diagnosis.findings if finding.severity != "hint"]


@pytest.mark.parametrize("name", BEFORE)
def test_the_cause_is_named_before_the_first_step(name: str) -> None:
    assert causes(looked_at(made(name, bad=True)))[:1] == [BEFORE[name]]


@pytest.mark.parametrize("name", AFTER)
def test_the_cause_is_named_by_monitor_alone(name: str) -> None:
    assert causes(trained(made(name, bad=True), 120))[:1] == [AFTER[name]]


@pytest.mark.parametrize("name", BOTH)
def test_the_cause_stays_ahead_of_what_training_adds(name: str) -> None:
    program = made(name, bad=True)
    assert causes(trained(program, 120, before=looked_at(program)))[:1] == [BEFORE[name]]


@pytest.mark.parametrize("name", ALL)
def test_the_sound_form_is_left_alone(name: str) -> None:
    program = made(name, bad=False)
    before = looked_at(program)
    assert causes(before) == []
    assert causes(trained(program, 120, before=before)) == []


def test_a_slow_start_under_a_cap_is_capped() -> None:
    program = made("softmax_twice", bad=True)
    for group in program.optimizer.param_groups:
        group["lr"] *= 1e-3
    diagnosis = looked_at(program, seconds=30.0)  # other rates are tried to their end
    assert diagnosis.evidence.rehearsal is not None
    assert judge_rehearsal(diagnosis.evidence.rehearsal).verdict == "too slow"
    assert diagnosis.verdict == "capped"


def test_looking_changes_nothing() -> None:
    program = made("next_sign", bad=True)
    model = nn.Sequential(program.model, nn.BatchNorm1d(20), nn.Dropout(0.1)).eval()
    program.model.train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    batch = next(iter(program.train))
    random = torch.get_rng_state()
    facts_of(model, batch, loss_fn=program.loss_fn, optimizer=program.optimizer)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(random, torch.get_rng_state())
