"""Monitor and probe leave a program as it was: the same losses, weights and random numbers, bit for bit, whatever the model."""

import contextlib
import copy
import random
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from harmless_programs import SCENARIOS, SLOW_SCENARIOS, Program, mlp
from torch import Tensor, nn
from torch.nn import functional as F

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


COMPILED = {
    "wrapped": lambda model: torch.compile(model, backend="eager"),
    "in place": lambda model: model.compile(backend="eager") or model,
    "as a function": lambda model: torch.compile(lambda x: model(x), backend="eager"),
}


def compiled_losses(how: str, monitors: list[dict[str, Any]]) -> tuple[list[float], list[Tensor], list[Monitor]]:
    """A compiled model (whose backend rounds as plain PyTorch does), watched by some monitors at once."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = mlp()
    called = COMPILED[how](model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    x, y = torch.randn(8, 4), torch.randn(8, 3)
    losses, watching = [], []
    with contextlib.ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("error")
        watching += [stack.enter_context(Monitor(model, optimizer, **options)) for options in monitors]
        for _ in range(NUM_STEPS):
            loss = F.mse_loss(called(x), y)
            loss.backward()
            for monitor in watching:
                monitor.after_backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
    return losses, [p.detach().clone() for p in model.parameters()], watching


@pytest.mark.parametrize("how", COMPILED)
@pytest.mark.parametrize("every", [[2], [2, 3], [1, 1]])
def test_compiled_models_run_plain_at_sampled_steps_and_compiled_afterwards(how: str, every: list[int]) -> None:
    losses, weights, _ = compiled_losses(how, [])
    watched_losses, watched_weights, monitors = compiled_losses(how, [{"every": number} for number in every])
    assert watched_losses == losses
    assert all(torch.equal(a, b) for a, b in zip(weights, watched_weights, strict=True))
    for monitor in monitors:
        evidence = monitor.evidence()
        assert evidence.problems == ()
        assert not any(sample.blind for sample in evidence.samples)
    assert torch._dynamo.eval_frame._stance.stance == "default"


def test_a_compiled_model_can_be_copied_and_saved_while_its_layers_have_hooks(tmp_path) -> None:
    torch._dynamo.reset()
    model = mlp()
    called = torch.compile(model, backend="eager")
    called(torch.randn(2, 4))
    with Monitor(model, every=1):
        twin = copy.deepcopy(model)
        torch.save(model, tmp_path / "model.pt")
        loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    x = torch.randn(2, 4)
    assert torch.equal(twin(x), model(x))
    assert torch.equal(loaded(x), model(x))
    assert b"trainability" not in (tmp_path / "model.pt").read_bytes()
    assert not has_hooks(twin)


def test_a_model_is_scripted_between_sampled_steps_where_something_was_compiled_and_told_so_in_them() -> None:
    torch._dynamo.reset()
    model = mlp()
    torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scripted = []
    with Monitor(model, optimizer, every=2) as monitor:
        for step in range(1, 5):
            with contextlib.nullcontext() if step % 2 == 0 else pytest.raises(AttributeError, match="not sampled"):
                scripted.append(torch.jit.script(model))
            loss = model(torch.ones(2, 4)).sum()
            loss.backward()
            monitor.after_backward(loss)
            scripted.append(torch.jit.script(model))  # the layers were seen
            optimizer.step()
            optimizer.zero_grad()
    assert len(scripted) == 6
    assert monitor.evidence().problems == ()
    assert not any(sample.blind for sample in monitor.evidence().samples)


def test_nested_monitors_of_one_model_see_the_same() -> None:
    program = built("mlp")
    with Monitor(program.model, program.optimizer, every=1) as outer:
        inner = Monitor(program.model, program.optimizer, every=1)
        with inner:
            for _ in range(3):
                loss = F.mse_loss(program.model(program.inputs), program.target)
                loss.backward()
                outer.after_backward(loss)
                inner.after_backward(loss)
                program.optimizer.step()
                program.optimizer.zero_grad()
    assert outer.evidence().samples == inner.evidence().samples
    assert not has_hooks(program.model)


def test_two_models_with_an_optimizer_each_take_a_monitor_each() -> None:
    def loop(watched: bool) -> tuple[list[float], list[Any]]:
        torch.manual_seed(0)
        generator, critic = mlp(out=4), mlp(out=1)
        optimizers = [torch.optim.Adam(m.parameters(), lr=0.01) for m in (generator, critic)]
        monitors = [Monitor(m, o, every=2) for m, o in zip((generator, critic), optimizers, strict=True)] if watched else []
        losses = []
        with contextlib.ExitStack() as stack:
            for monitor in monitors:
                stack.enter_context(monitor)
            for _ in range(NUM_STEPS):
                noise, real = torch.randn(8, 4), torch.randn(8, 4)
                fake = generator(noise)
                for i, (optimizer, loss_of) in enumerate(
                    zip(
                        optimizers[::-1],
                        (lambda f=fake, r=real: critic(f.detach()).mean() - critic(r).mean(), lambda f=fake: -critic(f).mean()),
                        strict=True,
                    )
                ):
                    for each in optimizers:
                        each.zero_grad()
                    loss = loss_of()
                    loss.backward()
                    if monitors:
                        monitors[1 - i].after_backward(loss)
                    optimizer.step()
                    losses.append(float(loss.detach()))
        assert all(monitor.evidence().problems == () for monitor in monitors)
        assert all(len(monitor.evidence().steps) == NUM_STEPS for monitor in monitors)
        return losses, [p.detach().clone() for m in (generator, critic) for p in m.parameters()]

    losses, weights = loop(watched=False)
    watched_losses, watched_weights = loop(watched=True)
    assert losses == watched_losses
    assert all(torch.equal(a, b) for a, b in zip(weights, watched_weights, strict=True))


def test_where_warnings_are_errors_the_loop_goes_on() -> None:
    watched, other = built("mlp"), built("mlp")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Monitor(watched.model, other.optimizer, every=1) as monitor:
            for _ in range(3):
                other.step(monitor)
    assert len(monitor.evidence().steps) == 3
    assert [sample.blind for sample in monitor.evidence().samples] == [True] * 3
    assert len(monitor.evidence().problems) == 1


def test_a_step_that_the_scaler_skips_does_not_make_the_next_sample_blind() -> None:
    program = built("scaler that skips")
    with Monitor(program.model, program.optimizer, every=2) as monitor:
        for _ in range(8):
            program.step(monitor)
    evidence = monitor.evidence()
    assert [record.step for record in evidence.steps if record.skipped] == [2, 3]
    assert not any(sample.blind for sample in evidence.samples)
    assert [sample.step for sample in evidence.samples] == [1, 5, 7]  # 3 was due, and its forward pass over


def test_lazy_layers_of_a_model_that_cannot_be_copied_are_refused_in_one_line() -> None:
    class Held(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.LazyLinear(3)

        def __deepcopy__(self, memo):
            raise RuntimeError("holds a socket")

        def forward(self, x):
            return self.layer(x)

    model = Held()
    with pytest.raises(ValueError, match="lazy layers") as caught:
        probe(model, F.mse_loss, torch.randn(4, 2), torch.randn(4, 3))
    assert "\n" not in str(caught.value)
    assert nn.parameter.is_lazy(model.layer.weight)
