"""What Monitor alone knows of a loop's loss: the loss as a function of outputs and targets, and pairs of sampled steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from trainability import Monitor
from trainability.doctor.facts import Facts
from trainability.doctor.measure.facts import look
from trainability.doctor.measure.tape import Tape

N = 24


Loss = Callable[[Tensor, Tensor], Tensor]


def net(width: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, width))


def watched(model: nn.Module, step: Callable[[], Tensor], steps: int = 1, every: int = 1) -> Monitor:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with Monitor(model, optimizer, every) as monitor:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = step()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert monitor.evidence().problems == ()
    return monitor


def of_monitor(model: nn.Module, step: Callable[[], Tensor]) -> Facts:
    facts = watched(model, step).evidence().facts
    assert facts is not None
    return facts


def negative_variance(output: Tensor, target: Tensor) -> Tensor:
    mean, spread = output.chunk(2, dim=1)
    return ((target - mean) ** 2 * (-spread).exp() - spread).mean()


def marks(rows: int) -> Tensor:
    return (torch.arange(rows) % 2).float()[:, None]


LOSSES: dict[str, tuple[int, Loss, Tensor]] = {
    "classes": (3, F.cross_entropy, torch.arange(N) % 3),
    "weights of classes": (3, lambda o, y: F.cross_entropy(o, y, weight=torch.ones(3)), torch.arange(N) % 3),
    "values": (2, F.mse_loss, torch.linspace(-1, 3, 2 * N).view(N, 2)),
    "values of one column": (1, F.mse_loss, torch.linspace(-1, 3, N)[:, None]),
    "marks": (1, F.binary_cross_entropy_with_logits, marks(N)),
    "likelihood upside down": (4, negative_variance, torch.linspace(-1, 3, 2 * N).view(N, 2)),
    "squares subtracted": (2, lambda o, y: -(o - y).square().mean(), torch.linspace(-1, 3, 2 * N).view(N, 2)),
    "hinge of labels that mean a low value": (1, lambda o, y: F.relu(1 + (2 * y - 1) * o).mean(), marks(N)),
    "probabilities for logarithms": (3, lambda o, y: F.kl_div(o.softmax(dim=1), y, reduction="batchmean"), torch.rand(N, 3)),
    "sums over all pairs": (1, lambda o, y: (o - y.flatten()).square().mean(), torch.linspace(-1, 3, N)[:, None]),
}
OF_THE_LOSS = (
    *("output_shape", "target_shape", "broadcast_shape", "output_rms", "target_rms", "target_mean", "target_below_zero"),
    *(
        "task_loss",
        "task_form",
        "prefers_wrong",
        "sure_of_wrong",
        "floorless",
        "boundless",
        "pole",
        "negated_task",
        "wrong_argument",
        "unpaired",
    ),
    *("misread_logits", "one_output", "wanted_below", "unread_targets", "pair_forces", "zero_gradient", "identical_units"),
)


@pytest.mark.parametrize("name", LOSSES)
def test_monitor_knows_of_the_loss_what_a_look_before_the_run_knows(name: str) -> None:
    width, loss_fn, target = LOSSES[name]
    x = torch.randn(N, 6, generator=torch.Generator().manual_seed(1))
    seen = of_monitor(model := net(width), lambda: loss_fn(model(x), target))
    known = look(net(width), (x, target), lambda m, batch: loss_fn(m(batch[0]), batch[1]))
    for field in OF_THE_LOSS:
        mine, its = getattr(seen, field), getattr(known, field)
        assert mine == (pytest.approx(its, rel=1e-4) if isinstance(its, float) else its), field
    assert (seen.boundless is not None) == (name == "likelihood upside down")
    assert (seen.prefers_wrong is not None) == (name == "squares subtracted")


class Doubt(nn.Module):
    """Two heads that the loop calls by themselves, and a variance of the loss's own."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Linear(6, 8), nn.Linear(8, 1)
        self.doubt = nn.Parameter(torch.zeros(1))


@pytest.mark.parametrize(("sign", "told"), [(1.0, None), (-1.0, "parameter doubt")])
def test_a_parameter_of_the_loss_is_asked_though_the_model_is_never_called(sign: float, told: str | None) -> None:
    torch.manual_seed(0)
    model, x = Doubt(), torch.randn(N, 6)
    y = x[:, :1].clone()

    def step() -> Tensor:
        error = F.mse_loss(model.head(model.trunk(x).relu()), y)
        return (error * (-model.doubt).exp() + sign * model.doubt).sum()

    assert of_monitor(model, step).boundless == told


class Counting(TorchFunctionMode):
    calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def stack_size() -> int:
    return torch._C._len_torch_function_stack()


def test_modes_of_the_loop_stay_where_they_are() -> None:
    model, x, outside, inside = net(1), torch.randn(N, 6), Counting(), Counting()
    with outside:
        watched(model, lambda: model(x).square().mean())
        assert stack_size() == 1
    monitor = Monitor(model, None, 1)
    with monitor:
        output = model(x)
        with inside:
            loss = output.square().mean()
            loss.backward()
            monitor.after_backward(loss)
            assert stack_size() == 1
            before = inside.calls
            torch.ones(2).add(1)
            assert inside.calls > before
        assert stack_size() == 0

    def fails() -> None:
        with Monitor(model, None, 1):
            model(x)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert stack_size() == 0
    assert not nn.modules.module._has_any_global_hook()


def test_what_the_loss_writes_into_is_written_once() -> None:
    model, x, buffer, target = net(1), torch.randn(N, 6), torch.zeros(N, 1), torch.randn(N, 1)

    def step() -> Tensor:
        output = model(x)
        buffer.add_(output.detach())
        error = (output - target).abs_()
        error += 1
        return error.mean() + 0 * buffer.mean()

    watched(model, step)
    with torch.no_grad():
        assert float(buffer.abs().max()) <= float(net(1)(x).abs().max()) * 1.001


@pytest.mark.parametrize("given_on", [lambda y: y.to("cpu"), lambda y: y.long(), lambda y: y.data, lambda y: y.view(-1)])
def test_what_the_loop_writes_into_its_targets_is_written_once(given_on: Callable[[Tensor], Tensor]) -> None:
    model, x, labels = net(3), torch.randn(N, 6), torch.arange(N) % 3 + 1
    seen: list[Tensor] = []

    def step() -> Tensor:
        target, output = labels.clone(), model(x)
        own = given_on(target)
        own -= 1
        seen.append(target)
        return F.cross_entropy(output, own)

    watched(model, step, steps=2)
    assert all(torch.equal(target, labels - 1) for target in seen)


def test_the_tape_is_lost_where_a_function_is_not_seen() -> None:
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return 2 * gradients[0]

    model, x = net(1), torch.randn(N, 6)
    tape = Tape(model)
    tape.attach()
    loss = Own.apply(model(x)).mean()
    tape.close()
    assert tape.read(loss) is None
    other = Tape(model)
    other.attach()
    loss = model(x).square().mean()
    other.close()
    replay = other.read(loss)
    assert replay is not None
    assert float(replay(replay.model, replay.batch).detach()) == pytest.approx(float(loss.detach()))


@pytest.mark.parametrize("roll", [0, 7])
def test_targets_of_other_rows_are_told_by_the_sampled_steps(roll: int) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(3200, 6, generator=rng)
    y = (x[:, :1] - x[:, 1:2]).roll(roll, dims=0)
    batches = iter(zip(x.split(32), y.split(32), strict=True))
    model = net(1)

    def step() -> Tensor:
        given, target = next(batches)
        return F.mse_loss(model(given), target)

    monitor = watched(model, step, steps=100, every=10)
    relation = monitor.evidence().relation
    assert relation is not None
    assert relation.num_examples == 320
    codes = [found.code for found in monitor.diagnose().findings]
    assert ("shuffled_labels.unrelated" in codes) == (roll > 0)


def test_an_autoencoder_and_a_repeated_batch_tell_no_relation() -> None:
    model, x = net(6), torch.randn(40, 6)
    assert watched(model, lambda: F.mse_loss(model(x), x), steps=6).evidence().relation is None
    y = torch.randn(40, 6)
    assert watched(model, lambda: F.mse_loss(model(x), y), steps=6).evidence().relation is None


class Stepping(nn.Module):
    """A cell that is called step by step, from its last state or from zeros."""

    def __init__(self, *, anew: bool) -> None:
        super().__init__()
        self.cell, self.anew = nn.GRUCell(2, 6), anew

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), 6)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], torch.zeros(len(x), 6) if self.anew else h)
        return h[:, 0]


@pytest.mark.parametrize("anew", [False, True])
def test_a_state_that_is_made_anew_at_every_step_is_named_by_both_looks(anew: bool) -> None:
    torch.manual_seed(0)
    model, x, y = Stepping(anew=anew), torch.randn(N, 5, 2), torch.randn(N)
    told = ("cell",) if anew else ()
    assert look(model, (x, y), lambda m, batch: F.mse_loss(m(batch[0]), batch[1])).stateless == told
    monitor = watched(model, lambda: F.mse_loss(model(x), y))
    facts = monitor.evidence().facts
    assert facts is not None
    assert facts.stateless == told
    assert any(found.code == "ignored_end.state" for found in monitor.diagnose().findings) == anew


@pytest.mark.parametrize("twice", [False, True])
def test_noise_that_is_drawn_once_more_for_the_loss_is_named(twice: bool) -> None:
    model, x = net(6), torch.randn(N, 6)

    def step() -> Tensor:
        noise = torch.randn_like(x)
        output = model(x + noise)
        return F.mse_loss(output, torch.randn_like(x) if twice else noise)

    monitor = watched(model, step)
    assert any(found.code == "shuffled_labels.drawn" for found in monitor.diagnose().findings) == twice


def test_noise_that_a_later_call_is_given_is_what_its_answer_is_held_against() -> None:
    parts, alone, x = nn.ModuleDict({"codes": net(6), "noise": net(6)}), net(6), torch.randn(N, 6)

    def step(first: nn.Module, second: nn.Module) -> Tensor:
        codes = first(x)
        noise = torch.randn_like(codes)
        return F.mse_loss(second(codes + 2 * noise), noise)

    assert not of_monitor(parts, lambda: step(parts["codes"], parts["noise"])).drawn_target
    assert not of_monitor(alone, lambda: step(alone, net(6))).drawn_target  # the second is somebody else's


@pytest.mark.parametrize("crossed", [False, True])
def test_as_many_bins_as_examples_are_no_targets(crossed: bool) -> None:
    model, x, y, bins = net(1), torch.randn(N, 6), torch.randn(N, 1), torch.linspace(-3, 3, N)

    def step() -> Tensor:
        output = model(x)
        if crossed:
            return (output - y[:, 0]).square().mean()
        return ((4 * (bins - output)).sigmoid() - (y < bins).float()).square().mean()

    assert (of_monitor(model, step).broadcast_shape is not None) == crossed


def test_a_container_of_the_programs_own_that_cannot_be_read_is_left_alone() -> None:
    class Lazy(dict[str, Tensor]):
        def __iter__(self) -> Any:
            raise RuntimeError("not to be listed")

    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 1)

        def forward(self, batch: Lazy) -> Tensor:
            return self.layer(dict.__getitem__(batch, "x"))

    model = Reading()
    with warnings.catch_warnings(), Monitor(model) as monitor:
        warnings.simplefilter("ignore")  # the monitor may stop watching
        loss = model(Lazy(x=torch.randn(N, 6))).square().mean()
        loss.backward()
        monitor.after_backward(loss)
    assert model.layer.weight.grad is not None


def test_a_forward_pass_that_is_cut_short_brings_no_warning() -> None:
    """PyTorch ends a checkpointed pass by an exception, and calls global hooks without keywords then."""
    inner, last, x = net(6), net(1), torch.randn(N, 6)

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.last = inner, last

        def forward(self, x: Tensor) -> Tensor:
            return self.last(checkpoint(self.inner, x, use_reentrant=False))

    model = Checkpointed()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watched(model, lambda: model(x).square().mean())
        gradients = [p.grad for p in model.parameters()]
    assert all(gradient is not None for gradient in gradients)


def test_a_first_loss_far_above_chance_is_told_by_the_run_alone() -> None:
    torch.manual_seed(0)
    loud, x, y = nn.Linear(6, 3), torch.randn(N, 6), torch.arange(N) % 3
    with torch.no_grad():
        loud.weight.mul_(200)
    findings = watched(loud, lambda: F.cross_entropy(loud(x), y)).diagnose().findings
    assert [found.severity for found in findings if found.code == "loss_at_start"] == ["warning"]
    calm = net(3)
    assert not any(f.code == "loss_at_start" for f in watched(calm, lambda: F.cross_entropy(calm(x), y)).diagnose().findings)


def warned(*, is_watched: bool, action: str) -> list[tuple[str, int, str]]:
    """Where a loop of four steps is warned of a loss that broadcasts, and of a softmax without a dimension."""
    torch.manual_seed(0)
    model = net(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    globals().pop("__warningregistry__", None)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter(action)  # type: ignore[arg-type]
        with Monitor(model, optimizer, 2) as monitor:
            for _ in range(4):
                output, target = model(torch.randn(N, 6)), torch.randn(N)
                loss = F.mse_loss(output, target) + 0 * F.softmax(output).sum()
                optimizer.zero_grad()
                loss.backward()
                if is_watched:
                    monitor.after_backward(loss)
                optimizer.step()
    return [(each.filename, each.lineno, str(each.message)) for each in told if "monitor" not in str(each.message)]


@pytest.mark.parametrize("action", ["default", "always"])
def test_a_warning_of_pytorch_is_told_of_the_line_in_the_loop_as_often_as_without_monitor(action: str) -> None:
    with_monitor, without = warned(is_watched=True, action=action), warned(is_watched=False, action=action)
    assert with_monitor == without
    assert {name for name, _, _ in without} == {__file__}
    assert len(without) == (2 if action == "default" else 8)
