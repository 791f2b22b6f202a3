"""22 variants of one small classifier, through a plain loop and through Lightning: each is named, the sound ones are silent.

Three ways look at each: `Monitor` in a plain loop, `LightningMonitor` in a fit, and Lightning's `check` before one.
"""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from loop_variants import EPOCHS, VARIANTS, Variant, train

import trainability
from trainability.doctor.diagnosis import Diagnosis

pytestmark = pytest.mark.slow

# Code of the first finding: in a loop that is watched, and in a check before it. None: no finding worse than a hint, and none
# of the code beside it.
NAMED: dict[str, tuple[str | None, str | None]] = {
    "healthy": (None, None),
    "no norm": (None, None),
    "uint8 inputs": ("input_scale", "input_scale"),
    "shuffled labels": (None, "shuffled_labels.unrelated"),  # a loop shows its labels' classes, and not whether they belong
    "NaN data": ("not_finite", "not_finite_data"),
    "one class": (None, "class_order.one_class"),  # it does learn that class
    "labels from 1": (None, "label_range"),  # PyTorch's own error ends the loop at its first step
    "sorted data": ("class_order", "class_order"),
    "softmax": ("softmax_twice", "softmax_twice"),
    "ReLU on logits": ("clamped_logits.relu", "clamped_logits.relu"),
    "deep sigmoid": ("vanishing_gradient.first_layers", "vanishing_gradient.first_layers"),
    "zero init": ("identical_units.zeros", "identical_units"),
    "frozen": ("untrained_parameter.as_drawn", "untrained_parameter.as_drawn"),  # a hint
    "head-only optimizer": ("untrained_parameter.unmanaged", "untrained_parameter.unmanaged"),
    "rate 5": ("exploding_gradient", "exploding_gradient"),
    "rate 1e-7": ("update_ratio.small", "update_ratio.small"),
    "stale optimizer": ("foreign_optimizer", "foreign_optimizer"),
    "negated loss": ("wrong_sign", "wrong_sign"),
    "eval mode": ("wrong_mode.training", "evaluation_mode"),
    "no zero_grad": ("missing_zero_grad", "stale_gradients"),
    "clip 1e-4": ("clipping", "clipping.to_nothing"),
    "zero_grad before step": ("untrained_parameter.gradient_lost", "zero_gradient"),
}
# Sound or merely odd: nothing is to be changed, whoever asks.
HARMLESS = ("healthy", "no norm", "frozen")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning about small loaders and few workers
        yield


def assert_named(diagnosis: Diagnosis, name: str, code: str | None) -> None:
    """The first finding has this code; where there is none, nothing is worse than a hint."""
    found = [(finding.severity, finding.code) for finding in diagnosis.findings]
    if code is None or name in HARMLESS:
        assert not diagnosis.worse_than_hint, found
    if code is not None:
        assert found, diagnosis
        assert found[0][1] == code, found
    if name == "healthy":
        assert not found
        assert diagnosis.verdict in ("has learned", "was still training when it ended", "will train")


def until_it_ends(variant: Variant) -> Any:
    """Where PyTorch raises an error at this variant, it is raised."""
    return pytest.raises(variant.raises) if variant.raises is not None else contextlib.nullcontext()


def test_there_are_22_variants() -> None:
    assert len(VARIANTS) == 22
    assert set(NAMED) == set(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_plain_loop_is_named(name: str) -> None:
    variant = VARIANTS[name]
    model = variant.make()
    optimizer = variant.optimizer(model)
    monitor = trainability.Monitor(model, optimizer, every=10, num_classes=10)
    with until_it_ends(variant):
        train(variant, model, optimizer, monitor)
    assert_named(monitor.diagnose(), name, NAMED[name][0])


def lightning_module(variant: Variant) -> Any:
    """The same program as a LightningModule, as somebody would port it."""
    lightning = pytest.importorskip("lightning", reason="needs the extra lightning")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = variant.make()

        def training_step(self, batch, index):
            if variant.is_evaluating:
                self.net.eval()
            return variant.loss_fn(self.net(batch[0].float()), batch[1])

        def validation_step(self, batch, index):
            self.log("val_acc", (self.net(batch[0].float()).argmax(dim=1) == batch[1]).float().mean())

        def configure_optimizers(self):
            return variant.optimizer(self.net)

    class NeverClears(Module):
        def optimizer_zero_grad(self, epoch, batch_idx, optimizer):
            pass

    class ClearsBeforeTheStep(Module):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, index):
            loss, optimizer = super().training_step(batch, index), self.optimizers()
            self.manual_backward(loss)
            optimizer.zero_grad()
            optimizer.step()

    return {"after": Module, "never": NeverClears, "before": ClearsBeforeTheStep}[variant.clears]()


@pytest.mark.parametrize("name", VARIANTS)
def test_lightnings_callback_names_the_same(name: str) -> None:
    lightning = pytest.importorskip("lightning", reason="needs the extra lightning")
    from trainability.integrations import LightningMonitor

    variant = VARIANTS[name]
    callback = LightningMonitor(every=10, num_classes=10)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    settings = {"max_epochs": EPOCHS, "accelerator": "cpu", "gradient_clip_val": variant.clip}
    with until_it_ends(variant):
        lightning.Trainer(**quiet, **settings, callbacks=[callback]).fit(lightning_module(variant), *variant.loaders())
    assert_named(callback.diagnosis, name, NAMED[name][0])


@pytest.mark.parametrize("name", VARIANTS)
def test_lightnings_check_names_it_before_the_fit(name: str) -> None:
    lightning = pytest.importorskip("lightning", reason="needs the extra lightning")
    from trainability.integrations.lightning import check

    variant = VARIANTS[name]

    class Data(lightning.LightningDataModule):
        def train_dataloader(self):
            return variant.loaders()[0]

        def val_dataloader(self):
            return variant.loaders()[1]

    module = lightning_module(variant)
    network = module.net
    before = {key: value.clone() for key, value in module.state_dict().items()}
    diagnosis = check(module, Data(), num_classes=10, clip=variant.clip, rehearse_seconds=3)
    assert_named(diagnosis, name, NAMED[name][1])
    assert module.net is network
    assert all(value.equal(before[key]) for key, value in module.state_dict().items() if not value.isnan().any())
