"""The loop: what must not change a result does not, and what goes wrong is named."""

import functools
import json
import re
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import QuietDisplay, config_of, train
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from trainability import initialization
from trainability.data import dataset
from trainability.data.loader import ResidentLoader
from trainability.doctor.measure import monitor as monitor_module
from trainability.initialization import InitPlan
from trainability.models.vgg import set_dropout_keys
from trainability.training.checkpoint import Position
from trainability.training.nonfinite import first_nonfinite
from trainability.training.parts import build_model

GOLDEN = Path(__file__).parent / "golden" / "digits-20-steps.json"
# Rates at which 20 steps do not magnify rounding: over one or two threads, with oneDNN or without, these losses agree to 4e-4.
GOLDEN_RUNS = {
    "B": {"model__config": "B", "optim__clip": 1.0, "optim__lr": 1e-3},
    "D-he-standard": {
        "model__config": "D",
        "init__plan": "he",
        "data__input": "standard",
        "optim__clip": 1.0,
        "optim__lr": 2e-3,
    },
    "A-LRN-nesterov": {"model__config": "A-LRN", "optim__nesterov": True, "optim__lr": 2e-4},
}


@pytest.mark.parametrize("name", GOLDEN_RUNS)
def test_golden_losses(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    # 1,438 images in batches of 75: 20 steps, the last of 13.
    config = config_of(optim__batch_size=75, optim__epochs=1, model__width=0.125, model__hidden=128, **GOLDEN_RUNS[name])
    losses = train(tmp_path / "run", config).losses
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if request.config.getoption("--write-golden"):
        GOLDEN.write_text(json.dumps({**golden, name: losses}, indent=1) + "\n")
    else:
        assert losses == pytest.approx(golden[name], rel=3e-3)


def test_the_loop_equals_the_obvious_script(tmp_path: Path) -> None:
    config = config_of(optim__clip=0.5, optim__epochs=1, optim__schedule="constant")
    ours = train(tmp_path / "run", config)
    data = dataset.load(config.data, seed=0)
    loader = ResidentLoader(data, config.data, config.optim, seed=0, device=torch.device("cpu"))
    model = build_model(config, num_classes=10)
    initialization.apply(InitPlan.parse("xavier"), model, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    for row, micros in zip(ours.run.steps, loader.steps(0), strict=True):
        (micro,) = micros
        set_dropout_keys(model, micro.keys)
        logits = model(micro.images.contiguous())
        loss = F.cross_entropy(logits, micro.labels)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        assert row["loss"] == pytest.approx(loss.item(), rel=1e-3)
        assert row["gradient_norm"] == pytest.approx(norm.item(), rel=1e-2)
        assert row["clipped"] == (row["gradient_norm"] > 0.5)
        assert row["top1_error"] == pytest.approx((logits.argmax(1) != micro.labels).double().mean().item(), abs=0.02)


@pytest.mark.parametrize("micro_batch_size", [128, 50, 17])
def test_accumulation_equals_the_large_batch(tmp_path: Path, micro_batch_size: int) -> None:
    # Dropout and crops included, and the last step of an epoch, which has 30 images.
    # A small rate, because large updates magnify the rounding of earlier steps.
    small = {"optim__epochs": 1, "optim__lr": 1e-5}
    whole = train(tmp_path / "whole", config_of(**small))
    split = train(tmp_path / "split", config_of(**small, optim__micro_batch_size=micro_batch_size))
    assert split.losses == pytest.approx(whole.losses, rel=1e-5)
    norms = [[row["gradient_norm"] for row in trained.run.steps] for trained in (whole, split)]
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_checkpointed_activations_give_the_same_numbers_from_less_memory(tmp_path: Path, precision: str) -> None:
    runs, kept = [], []
    for checkpoints in (False, True):
        bytes_kept: dict[int, int] = {}

        def keep(values: torch.Tensor, counted: dict[int, int] = bytes_kept) -> torch.Tensor:
            counted[values.untyped_storage().data_ptr()] = values.untyped_storage().nbytes()
            return values

        config = config_of(optim__epochs=1, run__precision=precision, run__checkpoint_activations=checkpoints)
        runs.append(train(tmp_path / str(checkpoints), config))
        model = build_model(config, num_classes=10)
        model.checkpoints_stages = checkpoints
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda values: values):
            model(torch.randn(8, 3, 32, 32))
        kept.append(sum(bytes_kept.values()))
    for name in ("loss", "gradient_norm", "top1_error"):
        assert [row[name] for row in runs[0].run.steps] == [row[name] for row in runs[1].run.steps]
    assert kept[1] < 0.6 * kept[0]


@pytest.mark.parametrize("every", [1, 7, 1000])
def test_the_log_interval_changes_nothing(tmp_path: Path, every: int) -> None:
    one = train(tmp_path / "one", config_of(optim__epochs=1))
    other = train(tmp_path / "other", config_of(optim__epochs=1, run__log_every_steps=every, run__monitor_every_steps=4))
    assert one.losses == other.losses
    for name, value in one.parts.model.state_dict().items():
        assert torch.equal(value, other.parts.model.state_dict()[name])


def test_precision_bf16_trains_close_to_fp32(tmp_path: Path) -> None:
    fp32 = train(tmp_path / "fp32", config_of(optim__epochs=1))
    bf16 = train(tmp_path / "bf16", config_of(optim__epochs=1, run__precision="bf16"))
    assert bf16.losses == pytest.approx(fp32.losses, rel=0.2)
    assert bf16.losses != fp32.losses
    assert all(parameter.dtype == torch.float32 for parameter in bf16.parts.model.parameters())


@pytest.mark.slow
def test_a_compiled_network_trains_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The graphs are captured as for any backend; the default one calls a C++ compiler for minutes.
    monkeypatch.setattr(nn.Module, "compile", functools.partialmethod(nn.Module.compile, backend="aot_eager"))
    plain = train(tmp_path / "plain", config_of(optim__epochs=1))
    compiled = train(tmp_path / "compiled", config_of(optim__epochs=1, run__compile=True))
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-2)


@pytest.mark.parametrize(("log_every", "lr"), [(1, 1e6), (5, 1e6), (1000, 1e6), (5, 3.0)])
def test_a_non_finite_step_is_named_and_the_weights_before_it_are_kept(tmp_path: Path, log_every: int, lr: float) -> None:
    config = config_of(optim__lr=lr, run__log_every_steps=log_every, optim__epochs=6)
    bad = train(tmp_path / "run", config)
    assert bad.outcome.status == "non-finite"
    step = bad.outcome.position.step + 1
    assert f"step {step}: " in bad.outcome.message
    assert "features." in bad.outcome.message or "classifier." in bad.outcome.message
    assert [row["step"] for row in bad.run.steps] == list(range(1, step + 1))
    assert all(row["loss"] is not None for row in bad.run.steps[:-1])
    assert bad.run.steps[-1]["loss"] is None or bad.run.steps[-1]["gradient_norm"] is None
    assert all(value.isfinite().all() for value in bad.parts.model.state_dict().values())
    assert bad.run.result["status"] == "non-finite"
    saved = torch.load(sorted((bad.run.folder / "checkpoints").glob("*.pt"))[-1], weights_only=True)
    assert saved["position"]["step"] == step - 1
    # The same step, whatever the interval at which the device is read.
    first = train(tmp_path / "again", config_of(optim__lr=lr, run__log_every_steps=1, optim__epochs=6))
    assert first.outcome.position.step + 1 == step
    assert first.outcome.message.split(";")[0] == bad.outcome.message.split(";")[0]


def test_the_layer_where_a_gradient_first_overflows_is_named() -> None:
    # sqrt at 0: finite going forward, an infinite slope on the way back.
    class Root(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sqrt()

    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), Root(), nn.Linear(4, 2))
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    place = first_nonfinite(model, lambda: model(torch.ones(2, 3)).sum().backward())
    assert place is not None
    assert place.split()[:5] == ["the", "gradient", "that", "reached", "1"]


def test_weights_that_are_not_finite_are_named_in_the_first_step(tmp_path: Path) -> None:
    bad = train(tmp_path / "run", config_of(init__plan="normal=1e39,xavier:10"))
    assert bad.outcome.status == "non-finite"
    assert re.search(r"step 1: .*features\.0\.weight .*Inf", bad.outcome.message)


def test_starting_from_a_shallower_run(tmp_path: Path) -> None:
    shallow = train(tmp_path / "A", config_of(optim__epochs=1))
    deep = train(tmp_path / "B", config_of(model__config="B", init__from_=tmp_path / "A", optim__epochs=1, optim__lr=1e-9))
    schemes = [row["scheme"] for row in deep.run.init]
    assert schemes.count("copied") == 7
    trained, copied = shallow.parts.model.features[0].weight, deep.parts.model.features[0].weight
    torch.testing.assert_close(trained, copied, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_trains_like_the_cpu(tmp_path: Path, precision: str) -> None:
    cpu = train(tmp_path / "cpu", config_of(optim__epochs=1))
    gpu = train(tmp_path / "gpu", config_of(optim__epochs=1, run__device="cuda", run__precision=precision))
    assert gpu.losses == pytest.approx(cpu.losses, rel=5e-2 if precision == "fp32" else 0.3)


class Steps(QuietDisplay):
    """A display that notes how many steps have been issued, and does `after_step` after each."""

    def __init__(self, after_step: Callable[[], object] = lambda: None) -> None:
        self.issued = 0
        self.after_step = after_step

    def step(self, position: Position) -> None:
        self.issued = position.step
        self.after_step()


class Reads(TorchDispatchMode):
    """Notes after how many steps a value goes to the host, and from which line: there a GPU would be waited for."""

    OPERATIONS = (
        torch.ops.aten._local_scalar_dense.default,  # item(), bool(), float(), int(), and what torch decides by a value
        torch.ops.aten.nonzero.default,
        torch.ops.aten.masked_select.default,
    )

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self.steps = steps
        self.seen: list[tuple[int, str]] = []

    def note(self) -> None:
        lines = [frame for frame in traceback.extract_stack() if "trainability" in Path(frame.filename).parts]
        self.seen.append((self.steps.issued, f"{Path(lines[-1].filename).name}:{lines[-1].name}" if lines else "torch"))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in self.OPERATIONS:
            self.note()
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("clip", "sampled"), [(None, ()), (1.0, ()), (1.0, (5, 10))])
def test_values_reach_the_host_at_the_end_of_an_epoch_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: float | None, sampled: tuple[int, ...]
) -> None:
    # 12 steps make an epoch, and the log interval is longer. The monitor copies a sample to the host in the sampled step.
    config = config_of(
        run__log_every_steps=1000, run__monitor_every_steps=5 if sampled else None, optim__epochs=1, optim__clip=clip
    )
    steps = Steps()
    reads = Reads(steps)
    plain = torch.Tensor.tolist

    def tolist(tensor: torch.Tensor) -> object:  # on a CPU it reads the memory, past every dispatch
        reads.note()
        return plain(tensor)

    monkeypatch.setattr(torch.Tensor, "tolist", tolist)
    monkeypatch.setattr(monitor_module, "settled", lambda number: number)  # as on a device, where numbers wait
    with reads:
        train(tmp_path / "run", config, display=steps)
    assert steps.issued == 12
    assert (12, "tally.py:read") in reads.seen
    assert {step for step, _ in reads.seen if 0 < step < 12} == set(sampled)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_no_device_synchronisation_outside_logged_steps(tmp_path: Path) -> None:
    # From the first step on, torch raises at any wait. One read, at the end of the epoch; nothing before it may wait. Without
    # the monitor, which reads what it has when the run ends by an exception.
    config = config_of(run__device="cuda", run__log_every_steps=1000, run__monitor_every_steps=None)
    steps = Steps(after_step=lambda: torch.cuda.set_sync_debug_mode("error"))
    try:
        with pytest.raises(RuntimeError, match="synchroniz") as raised:
            train(tmp_path / "run", config, display=steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    ours = [entry for entry in raised.traceback if "trainability" in Path(entry.path).parts]
    assert (steps.issued, Path(ours[-1].path).name, ours[-1].name) == (12, "tally.py", "read")
    assert not (tmp_path / "run" / "steps.jsonl").exists()
