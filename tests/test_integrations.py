"""Callbacks in the real libraries: what they see against closed forms, bitwise the same weights, and how they stop."""

import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainability.doctor.evidence import Evidence
from trainability.integrations.watching import Watching
from trainability.loops.events import Listener
from trainability.training.record import read_run

pytestmark = pytest.mark.slow
lightning = pytest.importorskip("lightning", reason="needs the extra lightning")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def batches(num: int = 8) -> torch.utils.data.DataLoader:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(num, 16, 8, generator=generator)
    return torch.utils.data.DataLoader([(part, part[:, :4].argmax(dim=1)) for part in inputs], batch_size=None)


class Module(lightning.LightningModule):
    def __init__(self, lr: float = 0.1, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        self.lr = lr
        self.seen: list[float] = []

    def training_step(self, batch, index):
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        self.seen.append(loss.item())
        return loss

    def validation_step(self, batch, index):
        logits = self.net(batch[0])
        self.log("val_loss", F.cross_entropy(logits, batch[1]))
        self.log("val_acc", (logits.argmax(dim=1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def fit(module, *callbacks, **settings):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(**quiet | {"max_epochs": 2, "accelerator": "cpu", "callbacks": list(callbacks)} | settings)
    trainer.fit(module, batches(), batches(2))
    return trainer


def evidence(callback) -> Evidence:
    (monitor,) = callback.watching.monitors.values()
    return monitor.evidence()


@pytest.mark.parametrize(
    "settings",
    [{}, {"accumulate_grad_batches": 4, "gradient_clip_val": 0.05}, {"precision": "bf16-mixed"}],
    ids=["plain", "accumulated and clipped", "bf16"],
)
def test_lightning_weights_are_bitwise_identical_and_losses_are_those_before_division(settings) -> None:
    from trainability.integrations import LightningMonitor

    callback = LightningMonitor(every=1)
    watched, plain = Module(), Module()
    fit(watched, callback, **settings)
    fit(plain, **settings)
    for one, other in zip(watched.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)
    per_step = settings.get("accumulate_grad_batches", 1)
    steps = evidence(callback).steps
    expected = [sum(watched.seen[i : i + per_step]) / per_step for i in range(0, len(watched.seen), per_step)]
    assert [record.loss for record in steps] == pytest.approx(expected, rel=1e-6)
    assert {record.micro_batches for record in steps} == {per_step}
    for record in steps:
        assert record.gradient_norm is not None
        clip = settings.get("gradient_clip_val")
        assert record.clip_ratio == pytest.approx(1.0 if clip is None else min(1.0, clip / record.gradient_norm), rel=1e-3)
    assert all(layer.update_ratio for sample in evidence(callback).samples for layer in sample.layers)
    assert all(sample.batch_size == 16 and sample.training for sample in evidence(callback).samples)


def test_lightning_evaluations_are_read_from_its_metrics() -> None:
    from trainability.integrations import LightningMonitor

    callback = LightningMonitor()
    trainer = fit(Module(), callback)
    last = evidence(callback).evaluations[-1]
    assert len(evidence(callback).evaluations) == 2  # the sanity check before the first step is none
    assert last.loss == pytest.approx(float(trainer.callback_metrics["val_loss"]))
    assert last.top1_error == pytest.approx(1 - float(trainer.callback_metrics["val_acc"]))


def test_lightning_writes_a_run_beside_its_logger(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from lightning.pytorch.loggers import TensorBoardLogger

    from trainability.integrations import LightningMonitor

    callback = LightningMonitor(every=4, run=tmp_path / "run")
    fit(Module(), callback, logger=TensorBoardLogger(tmp_path / "logs"))
    run = read_run(tmp_path / "run")
    assert [row["step"] for row in run.steps] == list(range(1, 17))
    assert [row["epoch"] for row in run.steps] == [1] * 8 + [2] * 8
    assert run.loop["config"] == {"lr": 0.1, "dropout": 0.0}
    assert run.loop["planned_steps"] == 16
    assert list((tmp_path / "logs").rglob("events.*"))


def test_lightning_second_fit_is_written_beside_the_first(tmp_path: Path) -> None:
    from trainability.integrations import LightningMonitor

    for num in (1, 2):
        callback = LightningMonitor(every=4, run=tmp_path / "run")
        fit(Module(), callback, max_epochs=num)
    assert len(read_run(tmp_path / "run").steps) == 8
    assert len(read_run(tmp_path / "run-002").steps) == 16


def test_runs_of_several_optimizers_go_beside_earlier_ones_together(tmp_path: Path) -> None:
    for _ in range(2):
        parts = nn.ModuleDict({"one": nn.Linear(4, 4), "two": nn.Linear(4, 4)})
        watching = Watching(4, None, {"run": tmp_path / "run"})
        watching.begin(parts, [torch.optim.SGD(part.parameters(), lr=0.1) for part in parts.values()])
        watching.end()
    assert sorted(path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("loop.json")) == [
        "run-002/one",
        "run-002/two",
        "run/one",
        "run/two",
    ]


def test_lightning_stops_a_doomed_fit(tmp_path: Path) -> None:
    from trainability.integrations import LightningMonitor

    doomed, patient = LightningMonitor(every=1, stop_on="doomed", run=tmp_path / "run"), LightningMonitor(every=1)
    assert fit(Module(lr=1e6), doomed, max_epochs=20).global_step < 160
    assert doomed.diagnosis.verdict in ("dead", "unstable")
    assert fit(Module(lr=1e6), patient, max_epochs=20).global_step == 160
    with pytest.raises(ValueError, match="doomed"):
        LightningMonitor(stop_on="dead")


class Adversarial(lightning.LightningModule):
    """Two networks, two optimizers, steps by hand."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.automatic_optimization = False
        self.generator, self.critic = nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
        self.losses: dict[str, list[float]] = {"generator": [], "critic": []}

    def configure_optimizers(self):
        return [torch.optim.Adam(part.parameters(), lr=1e-3) for part in (self.generator, self.critic)]

    def training_step(self, batch, index):
        for_generator, for_critic = self.optimizers()
        real, fake = self.critic(batch[0]), self.critic(self.generator(batch[0][:, :4]).detach())
        self._step("critic", for_critic, F.softplus(-real).mean() + F.softplus(fake).mean())
        self._step("generator", for_generator, F.softplus(-self.critic(self.generator(batch[0][:, :4]))).mean())

    def _step(self, name, optimizer, loss):
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        self.losses[name].append(loss.item())


def test_lightning_gan_has_a_monitor_for_each_network_and_is_silent() -> None:
    from trainability.integrations import LightningMonitor

    callback = LightningMonitor(every=2)
    module, plain = Adversarial(), Adversarial()
    fit(module, callback)
    fit(plain)
    for one, other in zip(module.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)
    assert set(callback.watching.monitors) == {"generator", "critic"}
    for name, monitor in callback.watching.monitors.items():
        assert [record.loss for record in monitor.evidence().steps] == pytest.approx(module.losses[name], rel=1e-6)
        assert not monitor.diagnose().worse_than_hint, str(monitor.diagnose())


def test_lightning_check_rehearses_the_modules_own_step() -> None:
    from trainability.integrations.lightning import check

    module = Module()
    before = [p.clone() for p in module.parameters()]
    healthy = check(module, batches(), rehearse_seconds=3)
    assert healthy.evidence.rehearsal is not None
    assert not healthy.worse_than_hint, str(healthy)
    assert all(torch.equal(p, q) for p, q in zip(module.parameters(), before, strict=True))
    assert check(Module(lr=1e6), batches(), rehearse_seconds=3).verdict == "unstable"
    with pytest.raises(ValueError, match="one optimizer"):
        check(Adversarial(), batches())


# ------------------------------------------------------------------------------------------------------- transformers


def gpt2(callbacks=(), **settings):
    pytest.importorskip("transformers", reason="needs the extra transformers")
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

    set_seed(0)
    sizes = {"vocab_size": 16, "n_positions": 8, "n_embd": 16, "n_layer": 1, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}
    model = GPT2LMHeadModel(GPT2Config(**sizes, loss_type="ForCausalLM"))
    tokens = (torch.arange(96)[:, None] + torch.arange(8)) % 16
    data = [{"input_ids": row, "labels": row} for row in tokens]
    usual = {"output_dir": "out", "max_steps": 6, "per_device_train_batch_size": 8, "report_to": [], "use_cpu": True}
    usual |= {"logging_strategy": "no", "save_strategy": "no", "disable_tqdm": True, "learning_rate": 1e-3}
    arguments = TrainingArguments(**usual | settings)
    return Trainer(model=model, args=arguments, train_dataset=data, eval_dataset=data[:16], callbacks=list(callbacks))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gradient_accumulation_steps": 3, "max_grad_norm": 0.05},
        {"max_grad_norm": 0},
        {"save_strategy": "steps", "save_steps": 2},
    ],
    ids=["plain", "accumulated and clipped", "unclipped", "with checkpoints"],
)
def test_transformers_weights_are_bitwise_identical_and_the_loss_is_the_steps_mean(
    settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("transformers", reason="needs the extra transformers")
    from trainability.integrations import TransformersMonitor

    callback = TransformersMonitor(every=2)
    watched = gpt2([callback], **settings)  # each is seeded as it is made, and trains with dropout
    result = watched.train()
    plain = gpt2(**settings)
    plain.train()
    for one, other in zip(watched.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(one, other)
    steps = evidence(callback).steps
    assert len(steps) == 6
    # The Trainer's own figure: mean over all steps of what it divided.
    assert sum(record.loss for record in steps) / 6 == pytest.approx(result.training_loss, rel=1e-4)
    assert {record.micro_batches for record in steps} == {settings.get("gradient_accumulation_steps", 1)}
    clip = settings.get("max_grad_norm", 1.0) or float("inf")
    for record in steps:
        assert record.clip_ratio == pytest.approx(min(1.0, clip / record.gradient_norm), rel=1e-2)


def test_transformers_callback_takes_every_event_of_a_loop() -> None:
    pytest.importorskip("transformers", reason="needs the extra transformers")
    from trainability.integrations import TransformersMonitor

    events = [name for name in vars(Listener) if name.startswith("on_")]
    assert len(events) > 5
    assert [name for name in events if not callable(getattr(TransformersMonitor, name, None))] == []


def test_transformers_loss_is_not_doubled_where_the_trainer_leaves_it_undivided(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra transformers")
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

    from trainability.integrations import TransformersMonitor

    set_seed(0)
    sizes = {"vocab_size": 16, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertForSequenceClassification(BertConfig(**sizes, max_position_embeddings=8, num_labels=2))
    rows = torch.randint(16, (64, 8))
    data = [{"input_ids": row, "labels": (row.sum() % 2).long()} for row in rows]
    usual = {"output_dir": str(tmp_path), "max_steps": 3, "per_device_train_batch_size": 4, "report_to": [], "use_cpu": True}
    usual |= {"save_strategy": "no", "disable_tqdm": True, "gradient_accumulation_steps": 4}
    callback = TransformersMonitor(every=2)
    Trainer(model=model, args=TrainingArguments(**usual), train_dataset=data, callbacks=[callback]).train()
    # It takes the number of tokens and makes nothing of it, so the Trainer adds four losses of the full size.
    assert [record.loss for record in evidence(callback).steps] == pytest.approx([math.log(2)] * 3, abs=0.1)


def test_transformers_evaluates_stops_and_writes_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("transformers", reason="needs the extra transformers")
    from trainability.integrations import TransformersMonitor
    from trainability.integrations.transformers import check

    callback = TransformersMonitor(every=2, run=tmp_path / "run")
    gpt2([callback], eval_strategy="steps", eval_steps=3).train()
    run = read_run(tmp_path / "run")
    assert [row["step"] for row in run.steps] == list(range(1, 7))
    assert [row["step"] for row in run.evaluations] == [3, 6]
    assert run.loop["config"]["learning_rate"] == 1e-3
    doomed = TransformersMonitor(every=1, stop_on="doomed")
    broken = gpt2([doomed], max_steps=40)
    torch.nn.init.constant_(broken.model.transformer.ln_f.weight, float("nan"))
    broken.train()
    assert broken.state.global_step < 40
    trainer = gpt2()
    diagnosis = check(trainer, rehearse_seconds=3)
    assert diagnosis.evidence.rehearsal is not None
    assert trainer.optimizer is None
