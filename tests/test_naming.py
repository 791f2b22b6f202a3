"""A module is called what its program calls it."""

import gc
import sys
import weakref

import pytest
import torch
from torch import nn

from trainability.loops.naming import variable_name

OF_THE_FILE = nn.Linear(1, 1)


class Asks(nn.Module):
    """Is asked for its name while it runs, as in a forward hook."""

    def forward(self, _: object = None) -> str | None:
        return variable_name(self)


class Trainer:
    def __init__(self) -> None:
        self.critic = Asks()

    def fit(self) -> str | None:
        return self.critic(0)


def helper(m: nn.Module) -> str | None:
    return m(0)


# pytest's assertions call `locals()`, so the functions that are asked have none.
def in_a_function() -> list[str | None]:
    generator, other = Asks(), Asks()
    return [helper(generator), helper(other)]  # the outer function's name goes before the helper's


def in_a_dict() -> str | None:
    nets = {3: Asks(), "not a name": Asks(), "disc": Asks()}
    return nets["disc"](0)


def in_a_module() -> str | None:
    both = nn.Module()
    both.netG = Asks()
    return both.netG(0)


def in_a_list() -> str | None:
    kept = [Asks()]
    return kept[0](0)


def beside_a_proxy() -> str | None:
    class Proxy:
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(name)

        def __eq__(self, other: object) -> bool:
            raise AssertionError

        __hash__ = None  # type: ignore[assignment]

    proxy, model = Proxy(), Asks()
    return [model(0), proxy][0]


def test_variables_of_functions_attributes_dicts_and_children() -> None:
    assert in_a_function() == ["generator", "other"]
    assert Trainer().fit() == "critic"
    assert in_a_dict() == "disc"
    assert in_a_module() == "netG"
    assert beside_a_proxy() == "model"
    assert variable_name(OF_THE_FILE) == "OF_THE_FILE"
    assert in_a_list() is None


def batch_after_a_call() -> weakref.ref:
    model, batch = Asks(), torch.zeros(3)
    found = weakref.ref(batch)
    if model(batch) != "model":
        raise AssertionError
    del batch
    if found() is not None:
        raise AssertionError("the frame kept its variables")
    return weakref.ref(model)


def test_nothing_is_kept_alive() -> None:
    model = batch_after_a_call()
    gc.collect()
    assert model() is None


def kept_variables() -> tuple[dict[str, object], dict[str, object], str | None]:
    model = Asks()
    seen = locals()
    before = dict(seen)
    later = model(0)
    return before, dict(seen), later


def test_what_a_function_took_of_its_variables_stays_as_it_was() -> None:
    before, after, name = kept_variables()
    assert before == after
    assert name == (None if sys.version_info < (3, 13) else "model")


def test_a_debugger_s_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "gettrace", lambda: print)
    assert in_a_dict() == (None if sys.version_info < (3, 13) else "disc")
