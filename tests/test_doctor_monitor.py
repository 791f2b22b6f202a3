"""The monitor: sees what happens, changes nothing, fails nobody's run."""

import contextlib
import dataclasses
import math
import warnings
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import trainability
from trainability.doctor import Evidence, Monitor, diagnose, probe
from trainability.doctor.finding import Finding, Measurement, Severity, take_news
from trainability.doctor.measure import gradient_norms
from trainability.doctor.measure import monitor as monitor_module


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(8 * 16, 32),
        nn.ReLU(inplace=True),
        nn.Linear(32, 5),
    )


def run(
    monitored: bool = True,
    *,
    num_steps: int = 12,
    every: int = 4,
    micro: int = 1,
    clip: float | None = None,
    call=lambda model: model,
    zero_grad: bool = True,
    autocast: bool = False,
    model: nn.Module | None = None,
):
    model = model or net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    called = call(model)
    monitor = Monitor(called, optimizer, every=every, accumulation=micro, num_classes=5) if monitored else None
    losses = []
    with monitor or contextlib.nullcontext():
        for _ in range(num_steps):
            for _ in range(micro):
                images, labels = torch.randn(16, 3, 8, 8), torch.randint(5, (16,))
                with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                    loss = F.cross_entropy(called(images).float(), labels) / micro
                loss.backward()
                losses.append(loss.item())
                if monitor:
                    monitor.after_backward(loss * micro)
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            if zero_grad:
                optimizer.zero_grad()
    return losses, [t.detach().clone() for t in model.state_dict().values()], monitor


@pytest.mark.parametrize("options", [{}, {"micro": 2}, {"clip": 0.5}, {"autocast": True}, {"every": 1}])
def test_weights_and_losses_are_bitwise_identical_with_and_without_monitor(options):
    losses, state, _ = run(monitored=False, **options)
    watched_losses, watched_state, monitor = run(monitored=True, **options)
    assert losses == watched_losses
    assert all(torch.equal(a, b) for a, b in zip(state, watched_state, strict=True))
    assert not monitor.evidence().problems


def test_steps_and_samples():
    losses, _, monitor = run(every=4)
    evidence = monitor.evidence()
    assert [s.step for s in evidence.steps] == list(range(1, 13))
    assert [s.loss for s in evidence.steps] == pytest.approx(losses)
    assert [s.step for s in evidence.samples] == [1, 5, 9]
    assert [layer.name for layer in evidence.samples[1].layers] == ["0", "1", "6", "8"]
    assert [layer.activation for layer in evidence.samples[1].layers] == [None, "relu", "relu", None]
    for layer in evidence.samples[1].layers:
        for histogram in (layer.weight_histogram, layer.gradient_histogram, layer.activation_histogram):
            assert histogram is not None
            assert histogram.zero_fraction + sum(histogram.fractions) == pytest.approx(1.0, abs=1e-5)
        assert layer.update_ratio is not None
        assert 0 < layer.update_ratio < 1
        assert layer.output_gradient_rms is not None
    assert evidence.samples[0].training is True
    assert evidence.samples[0].batch_size == 16
    assert Evidence.from_dict(evidence.to_dict()) == evidence


def test_a_norm_that_the_loop_has_computed_takes_the_place_of_ours():
    def watched(hands_over: bool) -> Evidence:
        model, calls = net(), []
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        with Monitor(model, optimizer, every=4) as monitor:
            take = monitor._norms.take
            monitor._norms.take = lambda **words: calls.append(words["gauges_only"]) or take(**words)
            for step in range(8):
                torch.manual_seed(step)
                loss = F.cross_entropy(model(torch.randn(16, 3, 8, 8)), torch.randint(5, (16,)))
                loss.backward()
                monitor.after_backward(loss)
                norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                if hands_over:
                    monitor.take_gradient_norm(norm)
                optimizer.step()
                optimizer.zero_grad()
        assert calls == [hands_over and step not in (0, 4) for step in range(8)]
        return monitor.evidence()

    told, own = watched(True), watched(False)
    for a, b in zip(told.steps, own.steps, strict=True):
        assert a.gradient_norm == pytest.approx(b.gradient_norm, rel=1e-6)
        assert a.clip_ratio == b.clip_ratio
        assert a.clip_ratio < 1.0


@pytest.mark.parametrize(("norm", "works"), [(2.5, True), (torch.tensor(2.5), True), (torch.ones(2), False), (None, False)])
@pytest.mark.filterwarnings("ignore:the monitor stopped watching")
def test_a_norm_never_ends_the_loop(norm: Any, works: bool):
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer) as monitor:
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        monitor.after_backward(loss)
        monitor.take_gradient_norm(norm)
        optimizer.step()
    assert (monitor.evidence().steps[0].gradient_norm == 2.5) == works
    assert bool(monitor.evidence().problems) != works


def test_gradient_norm_and_clip_ratio():
    *_, monitor = run(clip=0.5)
    for step in monitor.evidence().steps:
        assert step.gradient_norm is not None
        assert step.clip_ratio == pytest.approx(min(1.0, 0.5 / step.gradient_norm), rel=1e-3)


def test_update_ratio_is_the_step_that_was_taken():
    model = nn.Linear(4, 3, bias=False)
    before = model.weight.detach().clone()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with Monitor(model, optimizer) as monitor:
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        monitor.after_backward(loss)
        optimizer.step()
    moved = float((model.weight.detach() - before).norm() / before.norm())
    assert monitor.evidence().samples[0].layers[0].update_ratio == pytest.approx(moved, rel=1e-4)


def test_histogram_puts_magnitudes_into_their_octave():
    model = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        model.weight.fill_(0.3)
        model.weight[0] = 0.0
    with Monitor(model) as monitor:
        loss = model(torch.randn(8, 4)).sum()
        loss.backward()
        monitor.after_backward(loss)
    histogram = monitor.evidence().samples[0].layers[0].weight_histogram
    assert histogram.zero_fraction == pytest.approx(0.25)
    assert histogram.fractions[-2 - histogram.lowest_exponent] == pytest.approx(0.75)  # 2**-2 <= 0.3 < 2**-1


def test_missing_zero_grad_is_seen():
    *_, monitor = run(zero_grad=False)
    assert "missing_zero_grad" in [f.rule for f in diagnose(monitor.evidence()).findings]
    *_, monitor = run(micro=3)
    assert "missing_zero_grad" not in [f.rule for f in diagnose(monitor.evidence()).findings]


def test_eval_mode_is_seen():
    *_, monitor = run(model=net().eval())
    assert "wrong_mode" in [f.rule for f in diagnose(monitor.evidence()).findings]


class _Head(nn.Module):
    """Two linear layers with dropout between them, by a function."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(nn.functional.dropout(self.a(x).relu(), 0.5, self.training))


def fine_tuned(kind: str) -> nn.Module:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
    if kind not in ("nothing frozen", "plain"):
        model[:4].requires_grad_(False)
        model[3] = nn.Sequential(nn.Linear(8, 8).requires_grad_(False), nn.Dropout(0.2))  # frozen as a whole
    if kind == "plain":
        model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Dropout(0.0), nn.LSTM(8, 2))
    if kind in ("function", "head in train mode"):
        model[4] = _Head()
    model.eval()
    if kind == "head in train mode":
        model[4].train()
    return model


@pytest.mark.parametrize(
    ("kind", "fires"),
    [("nothing frozen", True), ("function", True), ("trunk frozen", False), ("head in train mode", False), ("plain", False)],
)
def test_eval_mode_of_what_is_frozen_is_meant(kind: str, fires: bool) -> None:
    model = fine_tuned(kind)
    with Monitor(model) as monitor:
        output = model(torch.randn(16, 8))
        loss = (output[0] if isinstance(output, tuple) else output).square().mean()
        loss.backward()
        monitor.after_backward(loss)
    assert ("wrong_mode" in [f.rule for f in diagnose(monitor.evidence()).findings]) == fires


def test_an_attack_in_eval_mode_is_no_training_in_eval_mode():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(4):
            x = torch.randn(8, 3, 8, 8, requires_grad=True)
            model.eval()
            torch.autograd.grad(model(x).sum(), x)
            model.train()
            loss = model(x.detach()).square().mean()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    assert "wrong_mode" not in [f.rule for f in diagnose(monitor.evidence()).findings]


def test_parameters_in_no_group_are_seen():
    model = net()
    monitor = Monitor(model, torch.optim.SGD(model[:6].parameters(), lr=0.1))
    settings = monitor.evidence().optimizer
    assert settings is not None
    assert settings.unmanaged == ("6.weight", "6.bias", "8.weight", "8.bias")


def test_odd_accumulation_is_seen():
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer) as monitor:
        for micro in (3, 2, 2, 2):
            for _ in range(micro):
                loss = model(torch.randn(8, 4)).square().mean()
                loss.backward()
                monitor.after_backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    assert [s.micro_batches for s in monitor.evidence().steps] == [3, 2, 2, 2]
    assert [f.rule for f in diagnose(monitor.evidence()).findings if f.severity != "hint"] == ["accumulation"]


def test_evaluation_between_steps_is_not_mistaken_for_training():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer, every=1) as monitor:
        model.eval()
        with torch.no_grad():
            model(torch.full((4, 3, 8, 8), 1e6))
        model.train()
        loss = model(torch.randn(16, 3, 8, 8)).square().mean()
        loss.backward()
        monitor.after_backward(loss)
        optimizer.step()
    (sample,) = monitor.evidence().samples
    assert sample.training is True
    assert sample.layers[0].activation_rms < 10


def test_compiled_model_is_sampled_plain_and_runs_compiled_between():
    compiled_calls = []

    def backend(graph, inputs):
        def call(*args):
            compiled_calls.append(1)
            return graph.forward(*args)

        return call

    *_, monitor = run(call=lambda model: torch.compile(model, backend=backend))
    evidence = monitor.evidence()
    assert not any(sample.blind for sample in evidence.samples)
    assert len(evidence.samples) == 3
    assert len(compiled_calls) == 12 - 3
    assert not evidence.problems


def test_a_blind_monitor_says_so_once():
    model, other = net(), net()
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    monitor = Monitor(model, optimizer, every=1)

    def loop() -> None:
        with monitor:
            for _ in range(3):
                loss = other(torch.randn(16, 3, 8, 8)).square().mean()
                loss.backward()
                monitor.after_backward(loss)
                optimizer.step()
                optimizer.zero_grad()

    with pytest.warns(RuntimeWarning, match="no layer"):
        loop()
    diagnosis = diagnose(monitor.evidence())
    assert diagnosis.verdict == "cannot tell"
    assert diagnosis.findings[0].rule == "blind"
    assert len(monitor.evidence().steps) == 3
    assert len(monitor.evidence().samples) == 3  # one blind look does not end looking


@pytest.mark.parametrize("kind", ["alone", "healthy before", "broken before"])
@pytest.mark.parametrize("is_followed", [False, True])
def test_that_no_backward_pass_was_told_is_said_first(kind: str, is_followed: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4), *([nn.Softmax(1)] if "broken" in kind else []))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.randn(64, 8)
    batches = [(inputs, inputs[:, :4].argmax(dim=1))]
    before = None if kind == "alone" else trainability.check(model, batches, optimizer=optimizer, planned_steps=100)
    monitor = trainability.Monitor(model, optimizer, every=2, before=before)
    monitor.is_followed = is_followed

    def loop() -> None:
        with monitor:
            for _ in range(5):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), batches[0][1]).backward()
                optimizer.step()

    with pytest.warns(RuntimeWarning, match="after_backward"):
        loop()
    diagnosis = monitor.diagnose()
    codes = [(finding.severity, finding.code) for finding in diagnosis.findings]
    assert (codes[:1] == [("error", "blind.uncalled")]) is not is_followed
    assert ("softmax_twice" in {code for _, code in codes}) == ("broken" in kind)
    if not is_followed:
        assert diagnosis.verdict == "cannot tell"
        assert diagnosis.reason == diagnosis.findings[0].seen
        assert diagnosis.findings[0].measurements[0].value == 5


@pytest.mark.parametrize("place", ["gradient_stats", "dead_fraction", "thin", "log_histograms"])
def test_an_error_inside_is_named_once_and_the_run_goes_on(monkeypatch, place):
    def broken(*args, **options):
        raise ZeroDivisionError("oops")

    losses, state, _ = run(monitored=False)
    monkeypatch.setattr(f"trainability.doctor.measure.statistics.{place}", broken)
    with pytest.warns(RuntimeWarning, match="ZeroDivisionError: oops") as caught:
        watched_losses, watched_state, monitor = run()
    assert len(caught) == 1
    assert losses == watched_losses
    assert all(torch.equal(a, b) for a, b in zip(state, watched_state, strict=True))
    assert "ZeroDivisionError" in monitor.evidence().problems[0]


def test_a_layer_that_sees_no_example_fails_nobody():
    class Sparse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return torch.cat([self.one(x), self.other(x[:0])])

    model = Sparse()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer, every=1) as monitor:
        loss = F.cross_entropy(model(torch.randn(8, 4)), torch.arange(8) % 3)
        loss.backward()
        monitor.after_backward(loss)
        optimizer.step()
    assert monitor.evidence().problems == ()
    (sample,) = monitor.evidence().samples
    assert {layer.name: layer.activation_rms is not None for layer in sample.layers} == {"one": True, "other": False}


def test_an_output_that_nothing_uses_beside_one_that_is_used_fails_nobody():
    class LastState(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(2, 8), nn.Linear(8, 1)

        def forward(self, x):
            return self.head(self.lstm(x)[1][0][-1]).squeeze(1)

    torch.manual_seed(0)
    model = LastState()
    optimizer = torch.optim.Adam(model.parameters())
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(3):
            optimizer.zero_grad()
            x = torch.rand(5, 8, 2)
            loss = F.mse_loss(model(x), x.sum((0, 2)))
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert monitor.diagnose().evidence.problems == ()


def test_leaves_no_hooks():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(KeyboardInterrupt), Monitor(model, optimizer):
        raise KeyboardInterrupt
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_loss_scale_is_taken_off_and_a_skipped_step_is_no_nan():
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norms = []
    with Monitor(model, optimizer, every=10) as monitor:
        for i in range(3):
            optimizer.zero_grad()
            loss = model(torch.randn(8, 4)).square().mean()
            scale = math.inf if i == 1 else 1024.0
            (loss * scale).backward()
            monitor.after_backward(loss, grad_scale=scale)
            if i != 1:  # what GradScaler.step does: unscale, or skip the step on overflow
                for p in model.parameters():
                    p.grad /= scale
                norms.append(float(nn.utils.get_total_norm([p.grad for p in model.parameters()])))
                optimizer.step()
    steps = monitor.evidence().steps
    assert [s.skipped for s in steps] == [False, True, False]
    assert [s.gradient_norm for s in steps if not s.skipped] == pytest.approx(norms, rel=1e-5)
    assert [s.clip_ratio for s in steps if not s.skipped] == pytest.approx([1.0, 1.0], rel=1e-4)
    assert "not_finite" not in [f.rule for f in diagnose(monitor.evidence()).findings]


@pytest.fixture
def as_on_a_device(monkeypatch):
    """Numbers wait, as on a device; on a CPU they are read at once."""
    monkeypatch.setattr(monitor_module, "settled", lambda number: number)


def test_on_a_cpu_no_tensor_waits_and_the_numbers_are_those_of_a_device(monkeypatch):
    _, _, read = run(clip=0.5)
    waiting = []
    monkeypatch.setattr(monitor_module, "settled", lambda number: waiting.append(number) or number)
    _, _, waited = run(clip=0.5)
    assert any(isinstance(number, torch.Tensor) for number in waiting)
    for field in ("loss", "gradient_norm", "clip_ratio", "lr"):
        values = [[getattr(step, field) for step in seen.evidence().steps] for seen in (read, waited)]
        assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_one_copy_to_the_host_per_sampled_step(monkeypatch, as_on_a_device):
    copies = []
    original = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: copies.append(1) or original(self))
    run(every=4)
    assert len(copies) == 3 + 1  # three samples, and what was pending when the loop ended


class _Reads(TorchDispatchMode):
    """Counts what waits for a device: `float`, `bool` and `item` of a tensor; `cpu` and `tolist` are patched in beside."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            self.seen.append("item")
        return func(*args, **(kwargs or {}))


def test_nothing_is_read_between_sampled_steps(monkeypatch, as_on_a_device):
    reads = _Reads()
    for name in ("cpu", "tolist"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda self, f=original, n=name: reads.seen.append(n) or f(self))
    net, loss_fn = nn.Linear(4, 3), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    seen = []
    with Monitor(net, optimizer, every=4) as monitor:
        for _ in range(5):
            loss_fn(net(torch.randn(8, 4)), torch.arange(8) % 3).backward()
            reads.seen = []
            with reads:
                monitor.after_backward(torch.ones(()), grad_scale=torch.tensor(2.0))
                optimizer.step()
            seen.append(reads.seen)
            optimizer.zero_grad()
    assert seen[1:4] == [[], [], []]
    assert seen[4]  # sampled


def test_a_replaced_head_counts_from_its_first_step():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    norms = []
    with Monitor(net, every=100) as monitor:
        for step in range(4):
            if step == 2:
                net[1] = nn.Linear(4, 3)  # the old one keeps its gradient
            net.zero_grad()
            net(torch.ones(2, 4)).square().sum().backward()
            norms.append(nn.utils.get_total_norm([p.grad for p in net.parameters()]).item())
            monitor.after_backward(1.0)
    assert [s.gradient_norm for s in monitor.evidence().steps] == pytest.approx(norms, rel=1e-6)


@pytest.fixture
def process_group(tmp_path):
    dist = torch.distributed
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield dist
    dist.destroy_process_group()


def data_parallel(model):
    return nn.parallel.DistributedDataParallel(model)


def sharded(model):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [data_parallel, sharded])
def test_watches_a_distributed_model(process_group, wrap):
    def layers(wrapped: bool):
        torch.manual_seed(0)
        plain = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        model = wrap(plain) if wrapped else plain
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with Monitor(model, optimizer, every=2) as monitor:
            for _ in range(4):
                loss = F.cross_entropy(model(torch.randn(32, 8)), torch.randint(4, (32,)))
                loss.backward()
                monitor.after_backward(loss)
                optimizer.step()
                optimizer.zero_grad()
        evidence = monitor.evidence()
        assert not evidence.problems
        return evidence.samples[1].layers

    assert layers(wrapped=True) == layers(wrapped=False)


def test_records_evaluations():
    monitor = Monitor(net(), every=5)
    labels = torch.arange(100) % 5
    monitor.record_evaluation("validation", top1_error=0.8, predictions=torch.zeros(100, dtype=torch.long), labels=labels)
    (evaluation,) = monitor.evidence().evaluations
    assert evaluation.predicted_class_entropy == 0.0
    assert evaluation.label_entropy == pytest.approx(math.log(5))
    assert evaluation.most_predicted_fraction == 1.0


def test_bad_arguments():
    with pytest.raises(ValueError, match="every is 0"):
        Monitor(net(), every=0)
    with pytest.raises(ValueError, match="first_step is 0"):
        Monitor(net(), first_step=0)
    with pytest.raises(ValueError, match=r"every is 1\.5"):
        Monitor(net(), every=1.5)  # type: ignore[arg-type]
    for several in ({"a": net(), "b": net()}, [net()], (net(),)):
        with pytest.raises(ValueError, match="a Monitor each"):
            Monitor(several)  # type: ignore[arg-type]
    for wrong in ("adam", torch.optim.Adam, {}, 3):
        with pytest.raises(ValueError, match="optimizer is"):
            Monitor(net(), wrong)  # type: ignore[arg-type]
    for wrapper in (SimpleNamespace(param_groups=[]), SimpleNamespace(step=lambda: None)):
        Monitor(net(), wrapper)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"before is a Sequential; .*Diagnosis.*Evidence.*ProbeResult"):
        Monitor(net(), before=net())


def test_after_backward_outside_of_the_block_is_an_error():
    monitor = Monitor(net())
    with pytest.raises(RuntimeError, match="with Monitor"):
        monitor.after_backward(1.0)
    with monitor:
        pass
    with pytest.raises(RuntimeError, match="with Monitor"):
        monitor.after_backward(1.0)
    monitor.record_evaluation("validation", top1_error=0.5)  # also after the loop
    assert len(monitor.evidence().evaluations) == 1


def test_a_loop_that_forgets_after_backward_is_told_once_and_left_alone():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loop(num_steps: int) -> None:
        for _ in range(num_steps):
            model(torch.randn(4, 3, 8, 8)).square().mean().backward()
            optimizer.step()

    with Monitor(model, optimizer) as monitor:
        with pytest.warns(RuntimeWarning, match="after_backward") as caught:
            loop(3)
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert len(caught) == 1
    assert monitor.evidence().steps == ()
    assert any("after_backward" in line for line in monitor.diagnose().not_checked)


def test_a_step_without_after_backward_in_a_loop_that_calls_it_is_no_mistake():
    # One optimizer that also takes steps of another kind, as the generator's of a GAN.
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(3):
            loss = model(torch.randn(8, 4)).square().mean()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            optimizer.step()
    assert [record.step for record in monitor.evidence().steps] == [1, 2, 3]
    assert monitor.evidence().problems == ()


def test_what_was_known_before_is_read_together_with_the_loop():
    model = net()
    images, labels = torch.randn(32, 3, 8, 8), torch.arange(32) % 5
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    start = probe(model, F.cross_entropy, images, labels, optimizer=optimizer, clip=1.0, planned_steps=40)
    for before in (start, Evidence(probe=start), diagnose(start)):
        with Monitor(model, optimizer, every=10, before=before) as monitor:
            for _ in range(4):
                loss = F.cross_entropy(model(images), labels)
                loss.backward()
                monitor.after_backward(loss)
                optimizer.step()
                optimizer.zero_grad()
        monitor.record_evaluation("validation", top1_error=0.1)
        seen = monitor.evidence()
        assert seen.probe == start
        assert (len(seen.steps), len(seen.samples), len(seen.evaluations)) == (4, 1, 1)
        assert seen.optimizer is not None
        assert (seen.optimizer.clip, seen.optimizer.planned_steps) == (1.0, 40)
        assert monitor.diagnose() == diagnose(seen)


def test_a_prescription_outlives_the_rule_s_own_remedy():
    model = net()
    optimizer = torch.optim.SGD(model[:6].parameters(), lr=0.05)
    images, labels = torch.randn(32, 3, 8, 8), torch.arange(32) % 5
    plain = diagnose(probe(model, F.cross_entropy, images, labels, optimizer=optimizer))
    (finding,) = (finding for finding in plain.findings if finding.rule == "untrained_parameter")
    prescribed = dataclasses.replace(finding, remedy="optimizer = SGD(model.parameters(), lr=0.05)")
    before = dataclasses.replace(plain, findings=(prescribed, *(f for f in plain.findings if f is not finding)))
    with Monitor(model, optimizer, before=before) as monitor:
        for _ in range(3):
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    remedies = {finding.rule: finding.remedy for finding in monitor.diagnose().findings}
    assert remedies["untrained_parameter"] == prescribed.remedy
    assert diagnose(monitor.evidence()).findings[0].remedy != prescribed.remedy


def test_a_second_monitor_continues_the_numbers():
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loop(**more) -> Monitor:
        with Monitor(model, optimizer, every=2, **more) as monitor:
            for _ in range(3):
                loss = model(torch.randn(8, 4)).square().mean()
                loss.backward()
                monitor.after_backward(loss)
                optimizer.step()
                optimizer.zero_grad()
        return monitor

    evidence = loop(before=loop().evidence()).evidence()
    assert [record.step for record in evidence.steps] == [1, 2, 3, 4, 5, 6]
    assert [sample.step for sample in evidence.samples] == [1, 3, 5]
    assert [record.step for record in loop(first_step=41).evidence().steps] == [41, 42, 43]


def dying_net() -> nn.Sequential:
    """A net whose smallest weight belongs to a layer that can be killed."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 10))


@torch.no_grad()
def kill(model: nn.Sequential) -> None:
    """Leave every unit at zero: what has a gradient from now on is the last bias."""
    for layer in (model[0], model[2]):
        layer.get_parameter("bias").fill_(-1e3)


def watched_to_death(clip: float | None, *, alive: int = 5, dead: int = 20, drops: bool = False) -> Evidence:
    """Steps of a net that dies on the way, all of them clipped, or none once it is dead."""
    model = dying_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with Monitor(model, optimizer, every=5, num_classes=10) as monitor:
        for step in range(alive + dead):
            if step == alive:
                kill(model)
            loss = F.cross_entropy(model(torch.randn(16, 8)), torch.arange(16) % 10)
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            if clip is not None and not (drops and step >= alive):
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
    return monitor.evidence()


def test_a_constant_clip_is_seen_where_the_smallest_weight_has_no_gradient() -> None:
    evidence = watched_to_death(0.05)
    measured = [step for step in evidence.steps if step.gradient_norm is not None]
    assert [step.step for step in measured] == [*range(1, 22), 25]
    for step in measured:
        assert step.gradient_norm is not None
        assert step.clip_ratio == pytest.approx(0.05 / step.gradient_norm, rel=1e-3)
    assert "clip_dropped" not in [finding.rule for finding in diagnose(evidence).findings]


def scaled_by(scale: Callable[[torch.Tensor], object], *, every: int = 3) -> list[float | None]:
    """Clip ratios of ten steps of a loop that does something to each gradient before the optimizer's step."""
    model = nn.Linear(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with Monitor(model, optimizer, every=every) as monitor:
        for _ in range(10):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(torch.randn(16, 8)), torch.arange(16) % 4)
            loss.backward()
            monitor.after_backward(loss)
            for parameter in model.parameters():
                assert parameter.grad is not None
                scale(parameter.grad)
            optimizer.step()
    return [step.clip_ratio for step in monitor.evidence().steps]


@pytest.mark.parametrize("scale", [lambda g: g.mul_(0.5), lambda g: g.data.mul_(0.5)], ids=["counted", "through data"])
def test_what_changes_gradients_is_measured_counted_by_pytorch_or_not(scale) -> None:
    assert scaled_by(scale) == pytest.approx([0.5] * 10)


def test_gradients_that_nobody_writes_to_are_measured_once_a_step(monkeypatch) -> None:
    calls = []
    original = gradient_norms._norms_of
    monkeypatch.setattr(gradient_norms, "_norms_of", lambda *args: calls.append(1) or original(*args))
    assert scaled_by(lambda _: None) == [1.0] * 10
    assert len(calls) == 10 + 4  # at the four sampled steps once more


def test_no_gradient_outlives_its_step() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4, bias=False))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with Monitor(model, optimizer, every=5) as monitor:
        for _ in range(30):
            loss = model(torch.randn(16, 8)).square().mean()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            gradients = [weakref.ref(p.grad) for p in model.parameters() if p.grad is not None]
            optimizer.zero_grad()
            assert [gradient() for gradient in gradients] == [None] * 3


def test_a_clip_that_is_dropped_on_a_dead_net_is_found() -> None:
    assert "clip_dropped" in [finding.rule for finding in diagnose(watched_to_death(0.05, drops=True)).findings]


def test_without_any_gradient_the_clip_ratio_is_unknown() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 10, bias=False))
    kill_bias = model[0].get_parameter("bias")
    with torch.no_grad():
        kill_bias.fill_(-1e3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer, num_classes=10) as monitor:
        loss = F.cross_entropy(model(torch.randn(16, 8)), torch.randint(10, (16,)))
        loss.backward()
        monitor.after_backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert [step.clip_ratio for step in monitor.evidence().steps] == [None]


def accumulated(model: nn.Sequential, *, first_scale: float, learns: bool, k: int = 4, divided: bool = True) -> Evidence:
    """A loop that passes `loss / k` on, as accumulation is written everywhere."""
    with torch.no_grad():
        model[4].get_parameter("bias")[0] = first_scale
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    draws = torch.Generator().manual_seed(0)
    with Monitor(model, optimizer, every=20, accumulation=k, num_classes=10) as monitor:
        for step in range(120):
            if step == 5:
                with torch.no_grad():
                    model[4].get_parameter("bias").zero_()
            for _ in range(k):
                labels = torch.randint(10, (64,), generator=draws)
                images = torch.randn(64, 8, generator=draws)
                if learns:
                    images[:, 0] = 4 * (labels % 2)
                    images[:, 1] = 4.0 * (labels > 4)
                loss = F.cross_entropy(model(images), labels) / k
                loss.backward()
                monitor.after_backward(loss if divided else loss * k)
            optimizer.step()
            optimizer.zero_grad()
    return monitor.evidence()


def test_a_loss_over_the_accumulation_steps_is_not_taken_for_learning() -> None:
    model = dying_net()
    kill(model)
    # A dead net that starts above chance and comes down to it: a quarter of ln 10 looks like half the way to the goal.
    evidence = accumulated(model, first_scale=30.0, learns=False)
    assert evidence.steps[-1].loss == pytest.approx(math.log(10) / 4, rel=0.02)
    diagnosis = diagnose(evidence)
    assert diagnosis.verdict not in ("has learned", "was still training when it ended")
    found = {finding.rule: finding for finding in diagnosis.findings}
    assert found["loss_divided"].measurements[0].value == pytest.approx(4, rel=0.02)
    whole = accumulated(dying_net(), first_scale=30.0, learns=False, divided=False)
    assert "loss_divided" not in [finding.rule for finding in diagnose(whole).findings]


def test_a_net_that_learns_is_training_however_its_loss_is_logged() -> None:
    for divided in (True, False):
        diagnosis = diagnose(accumulated(dying_net(), first_scale=0.0, learns=True, divided=divided))
        assert diagnosis.verdict == "has learned"


@pytest.mark.parametrize("steps", ["never", "at times", "another"])
def test_a_loop_that_never_steps_is_named(steps: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer, other = (torch.optim.SGD(model.parameters(), lr=0.01) for _ in range(2))
    with Monitor(model, optimizer, every=10, num_classes=3) as monitor:
        for number in range(20):
            inputs = torch.randn(16, 8)
            loss = F.cross_entropy(model(inputs), inputs[:, :3].argmax(dim=1))
            loss.backward()
            monitor.after_backward(loss)
            if steps == "at times" and number % 5 == 0:
                optimizer.step()
            if steps == "another":
                other.step()
            optimizer.zero_grad()
    found = monitor.diagnose()
    assert ("never_steps" in [finding.code for finding in found.findings]) == (steps == "never")
    assert (found.verdict == "dead") == (steps == "never")


def test_news_is_what_appears_or_becomes_worse_than_it_was_told() -> None:
    def found(severity: Severity) -> list[Finding]:
        measured = (Measurement(name="number", value=1.0),)
        return [Finding(rule="input_scale", severity=severity, seen="", measurements=measured, cause="", remedy="", source="")]

    told: dict[str, int] = {}
    looks: list[list[Finding]] = [found("hint"), found("error"), found("warning"), [], found("error"), found("error")]
    assert [[f.severity for f in take_news(look, told)] for look in looks] == [["hint"], ["error"], [], [], [], []]
    both = [*found("error"), *found("hint")]
    told = {}
    assert take_news(both, told) == both
    assert take_news(found("error"), told) == []


class Stack(nn.Module):
    """Tanh layers whose head the loop calls by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.ModuleList(nn.Linear(8, 8) for _ in range(3)), nn.Linear(8, 2)

    def hidden(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.body:
            x = torch.tanh(layer(x))
        return x


def test_what_follows_a_layer_is_known_where_the_model_is_never_called():
    torch.manual_seed(0)
    model, x, y = Stack(), torch.randn(16, 8), torch.arange(16) % 2
    first = model.body[0]
    assert isinstance(first, nn.Linear)
    nn.init.normal_(first.weight, 0.0, 20.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(2):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model.head(model.hidden(x)), y)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    for sample in monitor.evidence().samples:
        told = {s.name: s for s in sample.layers}
        assert [told[f"body.{i}"].activation for i in range(3)] == ["tanh"] * 3
        assert told["head"].activation is None
        share = (first(x).tanh().abs() > 0.85).float().mean()
        assert told["body.0"].saturated_fraction == pytest.approx(float(share), abs=0.05)


@pytest.mark.parametrize("is_late", [True, False])
def test_after_backward_behind_the_step_is_told_and_blames_no_module(is_late: bool) -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with warnings.catch_warnings(record=True) as caught, Monitor(model, optimizer, every=1) as monitor:
        warnings.simplefilter("always")
        for _ in range(10):
            optimizer.zero_grad()
            loss = model(torch.randn(16, 3)).square().mean()
            loss.backward()
            if not is_late:
                monitor.after_backward(loss)
            optimizer.step()
            if is_late:
                monitor.after_backward(loss)
    assert bool(caught) == is_late
    assert any("after_backward" in line for line in monitor.evidence().problems) == is_late
    assert "blind" not in {f.rule for f in monitor.diagnose().findings}


def test_gradients_that_are_cleared_before_the_step_were_not_clipped():
    """As those of a discriminator, before the step for its generator's loss, with one optimizer for both."""
    torch.manual_seed(0)
    net = nn.ModuleDict({"generator": nn.Linear(4, 4), "critic": nn.Linear(4, 1)})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with Monitor(net, optimizer, every=2) as monitor:
        for _ in range(8):
            optimizer.zero_grad()
            loss = net["critic"](net["generator"](torch.randn(8, 4))).square().mean()
            loss.backward()
            monitor.after_backward(loss)
            net["critic"].zero_grad()
            optimizer.step()
    assert [step.clip_ratio for step in monitor.evidence().steps] == [None] * 8
