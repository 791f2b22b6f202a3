"""Ctrl-C in confirm, plan and check --confirm, wherever it comes: model, optimizer, loader and random state stay the same."""

import contextlib
import copy
import os
import random
import signal
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import planted_programs as planted
import pytest
import torch
from test_experiments import same, started, state_of
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, Dataset

from trainability import Setup, confirm
from trainability.checking.check import check_setup
from trainability.checking.plan import plans_for_setup
from trainability.cli import program as cli
from trainability.doctor import Evidence
from trainability.doctor.experiments.battery import experiment

FORMS = ("loss_fn", "in place", "step")
PLACES = ("forward", "backward", "step", "copy")


class Pressed:
    """Ctrl-C at the given call; calls are counted once `armed`."""

    def __init__(self, at: int, *, armed: bool = True) -> None:
        self.left, self.armed = at, armed

    def __call__(self, *_: Any) -> None:
        self.left -= self.armed
        if self.armed and self.left == 0:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def default_handler() -> Iterator[None]:
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell ignores it
    yield
    signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def pressed_in(place: str, press: Pressed, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Counts forward passes of modules, backward passes, optimizer steps, or copies of models."""
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(monkeypatch.context())
        if place == "forward":
            stack.callback(nn.modules.module.register_module_forward_pre_hook(press).remove)
        elif place == "step":
            stack.callback(register_optimizer_step_post_hook(press).remove)
        elif place == "backward":
            backward = Tensor.backward

            def then_press(self: Tensor, *args: Any, **words: Any) -> None:
                backward(self, *args, **words)
                press()

            patch.setattr(Tensor, "backward", then_press)
        else:
            deepcopy = copy.deepcopy

            def copied(value: Any, *args: Any) -> Any:
                twin = deepcopy(value, *args)
                if isinstance(value, nn.Module):
                    press()
                return twin

            patch.setattr(copy, "deepcopy", copied)
        yield


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", [*PLACES, "between"])
@pytest.mark.parametrize("arm", [1, 2, 7])
def test_ctrl_c_in_an_arm(form: str, place: str, arm: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program as it is, its other seed, or a change."""
    if (form, place) == ("in place", "copy"):
        return  # nothing is copied
    setup, press = started(form), Pressed(1 if place in ("between", "copy") else 5, armed=False)
    before = state_of(setup)

    def progress(change: str, number: int, total: int | None) -> None:
        if number == arm:
            press.armed = True
            if place == "between":
                press()

    with pressed_in(place, press, monkeypatch), pytest.raises(KeyboardInterrupt):
        experiment(setup, Evidence(), seconds=600, max_steps=20, progress=progress)
    assert press.left == 0
    assert same(before, state_of(setup))


@pytest.mark.parametrize("form", FORMS)
def test_check_leaves_nothing_behind(form: str) -> None:
    setup = started(form)
    before = state_of(setup)
    check_setup(setup)
    assert same(before, state_of(setup))


@pytest.mark.parametrize(("place", "at"), [("backward", 2), ("backward", 6), ("step", 2), ("step", 6), ("copy", 2)])
@pytest.mark.parametrize("ask", [check_setup, lambda setup: plans_for_setup(setup, seconds=60, top=2)])
def test_ctrl_c_in_check_and_plan(place: str, at: int, ask: Callable[[Setup], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    setup, press = started("loss_fn"), Pressed(at)
    before = state_of(setup)
    with pressed_in(place, press, monkeypatch), contextlib.suppress(KeyboardInterrupt):
        ask(setup)
    assert press.left <= 0
    assert same(before, state_of(setup))


@pytest.mark.parametrize("number", [1, 2])
def test_ctrl_c_between_two_plans(number: int) -> None:
    setup, press = started("loss_fn"), Pressed(number)
    before = state_of(setup)
    with pytest.raises(KeyboardInterrupt):
        plans_for_setup(setup, seconds=60, top=2, trying=press)
    assert same(before, state_of(setup))


class Rows(Dataset[tuple[Tensor, Tensor]]):
    """Digits; the given read of one, counted in whatever process reads, presses Ctrl-C in the main one."""

    def __init__(self, at: int) -> None:
        self.x, self.y = planted.digits()
        self.left, self.main = at, os.getpid()

    def __len__(self) -> int:
        return 640

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        self.left -= 1
        if self.left == 0:
            os.kill(self.main, signal.SIGINT)
        return self.x[place], self.y[place]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("at", [5, 300])
@pytest.mark.parametrize("ask", [lambda s: confirm(s, max_steps=20), lambda s: plans_for_setup(s, seconds=60, top=2)])
def test_ctrl_c_while_a_loader_reads(workers: int, at: int, ask: Callable[[Setup], Any]) -> None:
    setup = started("loss_fn")
    loader = DataLoader(Rows(at), 32, shuffle=True, num_workers=workers, generator=torch.Generator().manual_seed(3))
    setup = Setup(model=setup.model, train_loader=loader, optimizer=setup.optimizer, rehearse_seconds=1)
    before = state_of(setup)
    with pytest.raises(KeyboardInterrupt):
        ask(setup)
    assert same(before, state_of(setup))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("place", "at"), [("forward", 40), ("backward", 8), ("backward", 60), ("step", 150)])
def test_ctrl_c_in_check_with_confirm(form: str, place: str, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    setup, press = started(form), Pressed(at)
    own = types.ModuleType("own_interrupted")
    own.setup = lambda: setup  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_interrupted", own)
    before, numbers = state_of(setup), random.getstate()
    with pressed_in(place, press, monkeypatch), pytest.raises(SystemExit) as stop:
        cli.main(["check", "own_interrupted:setup", "--confirm"])
    assert stop.value.code == 130
    random.setstate(numbers)  # rich draws from it for the links of the terminal
    assert same(before, state_of(setup))
