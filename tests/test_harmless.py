"""Monitor and probe leave a program as it was: the same losses, weights and random numbers, bit for bit, whatever the model."""

import contextlib
import random
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from programs import SCENARIOS, SLOW_SCENARIOS, Program
from torch import nn

from trainability.doctor import Monitor, probe

NUM_STEPS = 6


def built(name: str) -> Program:
    torch._dynamo.reset()  # what another test compiled is not this program's
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    return {**SCENARIOS, **SLOW_SCENARIOS}[name]()


def state_of(program: Program) -> list[Any]:
    """Everything that a run leaves behind, in a form that can be compared."""
    numpy_state = np.random.get_state()
    tensors = [
        *(t.detach().clone() for t in (*program.model.parameters(), *program.model.buffers()) if not nn.parameter.is_lazy(t)),
        torch.get_rng_state(),
    ]
    others = [
        {name: value for name, value in vars(module).items() if isinstance(value, (int, float, str))}
        for module in program.model.modules()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    return [*tensors, others, random.getstate(), numpy_state[1].tolist(), numpy_state[2]]


def same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num()) and torch.equal(a.isnan(), b.isnan())
        if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)
        else a == b
        for a, b in zip(one, other, strict=True)
    )


def losses_of(program: Program, monitor: Monitor | None) -> list[str]:
    losses = []
    with monitor or contextlib.nullcontext():
        for _ in range(NUM_STEPS):
            loss = program.step(monitor)
            losses.append(repr(float(loss.detach() if isinstance(loss, torch.Tensor) else loss)))
    return losses


def has_hooks(model: nn.Module) -> bool:
    return nn.modules.module._has_any_global_hook() or any(
        type(hook).__module__.startswith("trainability") for m in model.modules() for hook in m._forward_hooks.values()
    )


def marked(names: dict[str, Any], slow: dict[str, Any]) -> list[Any]:
    return [*names, *(pytest.param(name, marks=pytest.mark.slow) for name in slow)]


@pytest.mark.parametrize("name", marked(SCENARIOS, SLOW_SCENARIOS))
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_same_run_with_and_without_monitor(name: str) -> None:
    alone, watched = built(name), None
    expected, left = losses_of(alone, None), state_of(alone)
    watched = built(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # an error inside the monitor warns
        monitor = Monitor(watched.model, watched.optimizer, every=2, **(watched.monitors or {}))
        found = losses_of(watched, monitor)
    assert found == expected
    assert same(state_of(watched), left)
    assert not has_hooks(watched.model)
    evidence = monitor.evidence()
    assert len(evidence.steps) >= NUM_STEPS - 2
    assert len(evidence.samples) >= 2
    assert not any(sample.blind for sample in evidence.samples)
    if watched.said is None:
        assert evidence.problems == ()
        assert all(layer.activation_rms is not None or layer.weight_rms is not None for layer in evidence.samples[0].layers)
    else:
        (line,) = evidence.problems
        assert watched.said in line


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_same_run_after_a_probe(name: str) -> None:
    alone = built(name)
    if alone.inputs is None:
        pytest.skip("the model has no forward")
    expected, left = losses_of(alone, None), state_of(alone)
    probed = built(name)
    before = state_of(probed)
    gradients = [p.grad for p in probed.model.parameters()]
    result = probe(probed.model, probed.loss_fn, probed.inputs, probed.target)
    assert result.layers
    if probed.probed is not None:
        assert any(probed.probed in note for note in result.notes)
    assert same(state_of(probed), before)
    assert all(p.grad is g for p, g in zip(probed.model.parameters(), gradients, strict=True))
    assert not has_hooks(probed.model)
    assert losses_of(probed, None) == expected
    assert same(state_of(probed), left)
