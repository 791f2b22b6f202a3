"""The probe: what it measures, and that it leaves no trace."""

import copy
import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainability.doctor import RULES, Evidence, ProbeResult, diagnose, optimizer_settings
from trainability.doctor.measure.probe import probe, probe_step


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(8 * 16, 10),
    )


def batch(size: int = 32):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 3, 8, 8, generator=generator), torch.arange(size) % 10


def test_leaves_model_gradients_buffers_modes_and_random_state_bit_for_bit():
    model = net()
    images, labels = batch()
    F.cross_entropy(model(images), labels).backward()
    model[1].eval()  # a mode of its own
    state = copy.deepcopy(model.state_dict())
    gradients = [p.grad for p in model.parameters()]
    values = [g.clone() for g in gradients if g is not None]
    modes = [m.training for m in model.modules()]
    seeds = torch.get_rng_state(), random.getstate()
    buffers = dict(model.named_buffers())
    probe(model, F.cross_entropy, images, labels, overfit_steps=3)
    assert all(torch.equal(a, b) for a, b in zip(state.values(), model.state_dict().values(), strict=True))
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(values, gradients, strict=True) if b is not None)
    assert modes == [m.training for m in model.modules()]
    assert torch.equal(seeds[0], torch.get_rng_state())
    assert seeds[1] == random.getstate()
    assert all(buffer is buffers[name] for name, buffer in model.named_buffers())
    assert not any(m._forward_hooks for m in model.modules())


def test_restores_after_an_exception():
    model = net().eval()
    images, labels = batch()
    with pytest.raises(ValueError, match=r"loss_fn.*shape"):
        probe(model, lambda z, y: F.cross_entropy(z, y, reduction="none"), images, labels)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())


def test_measures_layers_that_an_in_place_relu_overwrites():
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(inplace=True), nn.Linear(128, 10))
    images, labels = torch.randn(64, 64), torch.arange(64) % 10
    report = probe(model, F.cross_entropy, images, labels)
    pre = model[0](images).detach()
    first = report.layers[0]
    assert first.activation_rms == pytest.approx(float(pre.square().mean().sqrt()), rel=1e-4)
    assert first.zero_fraction == pytest.approx(float((pre <= 0).float().mean()), abs=1e-6)
    assert first.activation == "relu"
    pre.requires_grad_()
    F.cross_entropy(model[2](pre.relu()), labels).backward()
    assert pre.grad is not None
    assert first.output_gradient_rms == pytest.approx(float(pre.grad.square().mean().sqrt()), rel=1e-4)
    assert report.log10_gain is not None


def test_predicts_and_measures_the_loss_at_the_start():
    report = probe(net(), F.cross_entropy, *batch(64))
    assert report.structure == "normalised"
    assert report.predicted_loss == pytest.approx(report.loss, rel=0.2)
    assert report.cross_entropy == pytest.approx(report.loss)
    assert report.leakage is not None
    assert report.leakage < 1e-5


def test_dead_units_and_underflow():
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    with torch.no_grad():
        model[0].bias[:8] = -1e3
        model[2].weight.mul_(1e-7)
    report = probe(model, F.cross_entropy, torch.randn(32, 16), torch.arange(32) % 4, precision=torch.float16)
    assert report.layers[0].dead_fraction == pytest.approx(0.25)
    assert report.layers[0].underflow_fraction is not None
    assert report.layers[0].underflow_fraction > 0.5


def test_plateau_needs_sgd_and_a_plain_relu_net():
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    images, labels = torch.randn(64, 64), torch.arange(64) % 10
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    report = probe(model, F.cross_entropy, images, labels, optimizer=sgd)
    assert report.plateau_steps is None  # PyTorch's default biases have a gradient of their own
    assert report.biased

    def why(found: ProbeResult) -> str:
        return next(line for line in diagnose(Evidence(probe=found)).not_checked if line.startswith("how long"))

    assert "biases" in why(report)
    for layer in (model[0], model[2]):
        nn.init.zeros_(layer.bias)
    report = probe(model, F.cross_entropy, images, labels, optimizer=sgd)
    assert report.plateau_steps is not None
    assert not report.biased
    adam = torch.optim.Adam(model.parameters())
    under_adam = probe(model, F.cross_entropy, images, labels, optimizer=adam)
    normalised = probe(net(), F.cross_entropy, *batch(), optimizer=sgd)
    unknown = probe(model, F.cross_entropy, images, labels)
    assert under_adam.plateau_steps is normalised.plateau_steps is unknown.plateau_steps is None
    assert "Adam" in why(under_adam)
    assert "normalisation" in why(normalised)
    assert "optimizer=" in why(unknown)


def test_finds_leakage_across_the_batch():
    class Leaky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            return torch.softmax(self.head(x), dim=0)

    report = probe(Leaky(), F.cross_entropy, torch.randn(8, 8), torch.arange(8) % 4)
    assert "batch_leakage" in [f.rule for f in diagnose(Evidence(probe=report)).findings]


def test_overfits_a_copy():
    model = net()
    before = copy.deepcopy(model.state_dict())
    report = probe(model, F.cross_entropy, *batch(16), overfit_steps=60)
    assert report.overfit_accuracy == 1.0
    assert report.overfit_loss is not None
    assert report.overfit_loss < 0.5
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))


def test_an_untraceable_model_is_measured_without_prediction():
    class Peeks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 4)

        def forward(self, x):
            return self.layer(x if x.sum() > 0 else -x)

    report = probe(Peeks(), F.cross_entropy, torch.randn(8, 8), torch.arange(8) % 4)
    assert report.structure == "unknown"
    assert report.layers[0].activation_rms is not None
    assert any("cannot follow" in note for note in report.notes)


def test_settings_name_parameters_in_no_group():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].bias.requires_grad_(False)
    settings = optimizer_settings(torch.optim.SGD(model[0].parameters(), lr=0.1), model)
    assert settings.unmanaged == ("1.weight",)
    assert settings.frozen == ("1.bias",)
    assert settings.weight_decay is None


class Tupled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return self.layer(x), x


@pytest.mark.parametrize(
    ("model", "images", "loss_fn", "message"),
    [
        (Tupled(), torch.randn(4, 4), F.cross_entropy, "tuple of 2"),
        (nn.Linear(4, 2), torch.randn(0, 4), F.cross_entropy, "empty"),
        (nn.Linear(4, 2), ["a", "b"], F.cross_entropy, "images is a list without a tensor"),
        (nn.Linear(4, 2).to("meta"), torch.randn(4, 4), F.cross_entropy, "cpu .* meta"),
        (nn.Linear(4, 2), torch.randn(4, 4), lambda z, y: z.detach().sum().item(), "one number"),
        (nn.Linear(4, 2), torch.randn(4, 4), lambda z, y: z.detach().sum(), "trainable"),
    ],
)
def test_the_users_mistakes_are_one_line(model, images, loss_fn, message):
    with pytest.raises(ValueError, match=message) as caught:
        probe(model, loss_fn, images, torch.zeros(len(images), dtype=torch.long))
    assert "\n" not in str(caught.value)


def test_runs_a_compiled_model_plain():
    model = torch.compile(net(), backend="eager")
    report = probe(model, F.cross_entropy, *batch())
    assert [layer.name for layer in report.layers] == ["0", "1", "6"]


def test_a_net_that_overflows_is_diagnosed_and_not_a_crash():
    torch.manual_seed(0)
    model = nn.Sequential(*[m for _ in range(12) for m in (nn.Linear(64, 64), nn.ReLU())], nn.Linear(64, 10))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1e5)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    diagnosis = diagnose(
        Evidence(probe=probe(model, F.cross_entropy, torch.randn(32, 64), torch.arange(32) % 10, optimizer=sgd))
    )
    assert diagnosis.verdict == "unstable"
    assert diagnosis.findings[0].rule == "gain_budget_high"
    assert "not_finite" in diagnosis.findings[0].explains
    assert not {line.partition(":")[0] for line in diagnosis.not_checked} & RULES.keys()
    assert "UNSTABLE" in str(diagnosis)


def test_takes_token_indices():
    model = nn.Sequential(nn.Embedding(50, 32), nn.Flatten(), nn.Linear(32 * 6, 10))
    report = probe(model, F.cross_entropy, torch.randint(50, (32, 6)), torch.arange(32) % 10)
    assert report.layers[0].kind == "embedding"
    assert report.predicted_logit_rms == pytest.approx(report.logit_rms, rel=0.5)


def test_random_state_is_put_back_after_a_model_that_draws():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 4)

        def forward(self, x):
            return self.layer(x + 0.1 * torch.randn_like(x))

    model, images, labels = Noisy(), torch.randn(16, 8), torch.arange(16) % 4
    before = torch.get_rng_state()
    probe(model, F.cross_entropy, images, labels)
    assert torch.equal(before, torch.get_rng_state())


# ----------------------------------------------------------------------------------------------- through a training step


def test_through_a_training_step_it_measures_what_it_measures_with_a_loss_function() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 4))
    images, labels = torch.randn(64, 8), torch.randint(4, (64,))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    state = torch.get_rng_state()
    one = probe(model, F.cross_entropy, images, labels, optimizer=optimizer)
    other = probe_step(
        model,
        lambda model, batch: F.cross_entropy(model(batch["x"]), batch["y"]),
        {"x": images, "y": labels},
        optimizer=optimizer,
    )
    assert one == other
    assert one.structure == "plain"
    assert one.cross_entropy is not None
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


def test_of_a_loss_that_is_no_cross_entropy_nothing_is_said_about_classes() -> None:
    torch.manual_seed(0)
    model = nn.Linear(8, 4)
    found = probe_step(
        model, lambda model, batch: model(batch[0]).square().mean(), (torch.randn(16, 8), torch.randint(4, (16,)))
    )
    assert (found.num_logits, found.cross_entropy, found.label_max) == (None, None, None)
    assert [layer.gradient_rms is not None for layer in found.layers] == [True]


def test_a_training_step_that_does_not_call_the_model_as_a_whole_is_told() -> None:
    model = nn.ModuleList([nn.Linear(8, 4)])
    with pytest.raises(ValueError, match="does not call the model itself"):
        probe_step(model, lambda model, batch: model[0](batch).square().mean(), torch.randn(16, 8))
