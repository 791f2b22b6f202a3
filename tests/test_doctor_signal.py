"""Closed forms against measurement: budgets of the seed's plans, moments, loss, gradients, plateau."""

import math

import pytest
import torch
from random_nets import measured_over_predicted
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.theory import moments
from trainability.doctor.theory.fans import fan_in_and_out
from trainability.doctor.theory.moments import SignalMoments, WeightMoments
from trainability.doctor.theory.propagation import input_moments, predict
from trainability.doctor.theory.signal import (
    expected_cross_entropy,
    gain_budget,
    layer_kind,
    logit_gradient_rms,
    plateau_steps,
    weight_moments,
)
from trainability.doctor.theory.trace import trace

CONFIGS = {
    "A": "64 M 128 M 256 256 M 512 512 M 512 512 M",
    "B": "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    "D": "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
}


def vgg_on_meta(config: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for token in CONFIGS[config].split():
        if token == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, int(token), 3, padding=1), nn.ReLU(inplace=True)]
            channels = int(token)
    # The paper's classifier, convolutional: Xavier counts its 7x7 kernel in the fan-out.
    layers += [nn.Conv2d(512, 4096, 7), nn.ReLU(), nn.Dropout(), nn.Conv2d(4096, 4096, 1), nn.ReLU(), nn.Dropout()]
    return nn.Sequential(*layers, nn.Conv2d(4096, 1000, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).to("meta")


def planned(net: nn.Module, plan: list[float | None]) -> dict[str, WeightMoments]:
    """Weight moments that a plan promises: a std, or None for Xavier (uniform)."""
    named = [(name, p) for name, p in net.named_parameters() if name.endswith("weight")]
    assert len(named) == len(plan)
    found = {}
    for (name, p), std in zip(named, plan, strict=True):
        receptive = math.prod(p.shape[2:])
        variance = 2 / ((p.shape[0] + p.shape[1]) * receptive) if std is None else std**2
        found[name] = WeightMoments(shape=tuple(p.shape), variance=variance)
    return found


# The table of the seed's budgets, without the input's scale.
@pytest.mark.parametrize(
    ("config", "plan", "budget"),
    [
        ("D", [0.01] * 16, -15.7),
        ("D", [None] * 4 + [0.01] * 9 + [None] * 3, -11.0),
        ("D", [None] * 16, -6.8),
        ("D", [None] * 4 + [0.02] * 9 + [None] * 3, -5.6),
        ("D", [None] * 4 + [0.1] * 9 + [None] * 3, 7.0),
        ("B", [None] * 4 + [0.01] * 6 + [None] * 3, -8.8),
        ("A", [None] * 11, -5.3),
    ],
)
def test_budgets_of_the_seed(config, plan, budget):
    net = vgg_on_meta(config)
    prediction = predict(trace(net, (1, 3, 224, 224)), planned(net, plan))
    assert prediction.log10_gain == pytest.approx(budget, abs=0.06)
    assert prediction.structure == "plain"


def test_predicted_gradient_of_the_seed():
    # Measured at 224 pixels, 1000 classes: the largest gradient falls 3.6-fold from last to first on xavier:4 ...; the
    # rms of output gradients follows the same budget. Here: the logits of D with N(0, 0.01) are a millionth.
    net = vgg_on_meta("D")
    prediction = predict(trace(net, (1, 3, 224, 224)), planned(net, [0.01] * 16))
    assert prediction.logit_rms is not None
    assert -9 < math.log10(prediction.logit_rms) < -6


def test_gain_budget_reads_weights_only():
    net = nn.Sequential(nn.Linear(200, 300), nn.ReLU(), nn.Linear(300, 400))
    for layer in (net[0], net[2]):
        nn.init.normal_(layer.weight, std=0.1)
    budget = gain_budget(net)
    assert budget.log10_gain == pytest.approx(math.log10(200 * 0.01 / 2) + math.log10(300 * 0.01 / 2), abs=0.02)
    assert gain_budget(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))).log10_gain is None
    assert gain_budget(nn.ReLU()).reason is not None


def gaussians(rho: float, count: int, size: int = 200_000) -> torch.Tensor:
    common, own = torch.randn(size, 1), torch.randn(size, count)
    return math.sqrt(rho) * common + math.sqrt(1 - rho) * own


@pytest.mark.parametrize("function", [F.relu, torch.tanh, F.gelu, F.leaky_relu, torch.sigmoid])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.95])
def test_activation_moments(function, rho):
    torch.manual_seed(0)
    z = 1.3 * gaussians(rho, 2)
    y = function(z)
    net = trace(_Apply(function), (2, 3))
    x = SignalMoments(mean_square=1.69, correlations=(rho,) * 8)
    out = moments.activation(net.ops[0], x)
    assert out.mean_square == pytest.approx(float(y.square().mean()), rel=0.02)
    assert out.between_examples * out.mean_square == pytest.approx(float((y[:, 0] * y[:, 1]).mean()), rel=0.03, abs=0.01)
    slope = torch.func.vmap(torch.func.grad(function))(z.flatten())
    assert moments.activation_slope(net.ops[0], x) == pytest.approx(float(slope.square().mean()), rel=0.02)


class _Apply(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("rho", [0.0, 0.4, 0.9])
def test_max_pool_moments(rho):
    torch.manual_seed(0)
    net = trace(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), (1, 1, 8, 8))
    x = moments.relu(SignalMoments(mean_square=4.0, correlations=(rho,) * 8))
    pooled = moments.max_pool(net.ops[1], x)
    assert pooled is not None
    measured = (2 * gaussians(rho, 4)).relu().amax(dim=1)
    assert pooled[0].mean_square == pytest.approx(float(measured.square().mean()), rel=0.03)
    # The chosen pixel is positive unless all four are not; the average one is so half the time.
    assert pooled[1] == pytest.approx(float((measured > 0).float().mean()) / 0.5, rel=0.03)


def test_padding_takes_away_taps():
    net = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1)).requires_grad_(False)
    nn.init.normal_(net[0].weight, std=math.sqrt(1 / 576))
    nn.init.zeros_(net[0].bias)
    torch.manual_seed(0)
    x = torch.randn(256, 64, 2, 2)
    prediction = predict(trace(net, tuple(x.shape)), weight_moments(net), input_moments(x))
    assert prediction.logit_rms == pytest.approx(math.sqrt(4 / 9), rel=0.02)
    assert float(net(x).square().mean()) == pytest.approx(4 / 9, rel=0.05)


@pytest.mark.parametrize("scale", [0.1, 3.0, 300.0])
def test_local_response_normalisation_is_a_gain(scale):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(400, 400), nn.ReLU(), nn.Unflatten(1, (400, 1)), nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    )
    nn.init.kaiming_normal_(net[0].weight)
    nn.init.zeros_(net[0].bias)
    x = scale * torch.randn(64, 400)
    structure = trace(net, tuple(x.shape))
    prediction = predict(structure, weight_moments(net), input_moments(x))
    assert prediction.structure == "plain"
    assert prediction.logit_rms is not None
    assert prediction.logit_rms == pytest.approx(float(net(x).detach().square().mean().sqrt()), rel=0.25)
    if scale < 1:  # a small signal meets a constant, and weights alone tell
        assert prediction.log10_gain == pytest.approx(gain_budget(net).log10_gain, abs=0.01)


@pytest.mark.parametrize("scale", [1e-3, 0.3, 1.0, 5.0, 40.0])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_expected_loss_and_logit_gradient(scale, classes):
    torch.manual_seed(0)
    z = scale * torch.randn(4000, classes)
    labels = torch.randint(classes, (4000,))
    assert expected_cross_entropy(scale, classes) == pytest.approx(float(F.cross_entropy(z, labels)), rel=0.06)
    gradient = (torch.softmax(z, dim=1) - F.one_hot(labels, classes)) / 4000
    assert logit_gradient_rms(scale, classes, 4000) == pytest.approx(float(gradient.square().mean().sqrt()), rel=0.05)


def test_plateau_steps():
    base = plateau_steps([0.5, 0.5], lr=0.01, momentum=0.9)
    assert base == pytest.approx(50 + 0.8 / (0.1 * 1.0))
    assert plateau_steps([0.5, 0.5], lr=0.01, momentum=0.9, clip=1.0, gradient_norm=0.5) == base
    assert plateau_steps([0.5, 0.5], lr=0.01, momentum=0.9, clip=0.5, gradient_norm=5.0) == pytest.approx(50 + 80)
    assert plateau_steps([1e-5], lr=0.01, weight_decay=1e-4) == math.inf  # decay pulls faster than the gradient pushes
    assert plateau_steps([0.0], lr=0.01) == math.inf
    # A batch of 8 shows four times the gradient that 512 images show; the prediction must not believe it.
    assert plateau_steps([4.0], lr=0.01, batch_size=8) == pytest.approx(plateau_steps([1.0], lr=0.01), rel=0.05)
    with pytest.raises(ValueError, match=r"momentum is 1\.0"):
        plateau_steps([1.0], lr=0.1, momentum=1.0)
    with pytest.raises(ValueError, match="gradient_norm"):
        plateau_steps([1.0], lr=0.1, clip=1.0)


def test_normalisation_and_unknown_operations_are_said():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.b = nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 4)

        def forward(self, x):
            return self.b(self.norm(torch.cumsum(self.a(x), dim=1)))

    net = Odd()
    prediction = predict(trace(net, (2, 8)), weight_moments(net))
    assert prediction.log10_gain is None
    assert prediction.structure == "normalised"
    assert any("cumsum" in note for note in prediction.notes)
    assert prediction.logit_rms is not None  # the norm sets the scale anew


def test_what_is_compared_is_no_signal() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x) * (x != 0).float() + torch.randn_like(x)

    net = Masked()
    notes = predict(trace(net, (2, 8)), weight_moments(net)).notes
    assert len(notes) == 1  # of the product alone: no comparison, and no draw
    assert "mul()" in notes[0]


def test_trace_needs_no_values_and_says_when_it_does():
    class Peeks(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ValueError, match="without data"):
        trace(Peeks(), (2, 3))


@pytest.mark.slow
def test_scale_of_logits_and_gradients_on_200_random_nets():
    ratios = [measured_over_predicted(seed) for seed in range(200)]
    for name in ("logits", "gradient"):
        assert sum(0.5 < ratio[name] < 2 for ratio in ratios) >= 190, name


TRANSPOSED = nn.ConvTranspose2d(64, 96, 4, stride=2, padding=1, groups=4)


@pytest.mark.parametrize("layer", [TRANSPOSED, nn.Conv2d(96, 64, 3, groups=4)], ids=["transposed", "convolution"])
def test_grouped_convolutions_keep_their_signal_at_variance_one_over_fan_in(layer):
    torch.manual_seed(0)
    net = nn.Sequential(layer).requires_grad_(False)
    x = torch.randn(64, layer.in_channels, 16, 16)
    kind = layer_kind(layer)
    assert kind is not None
    fan_in, fan_out = fan_in_and_out(kind, layer.weight.shape, layer.groups)
    area = math.prod(layer.kernel_size)
    assert (fan_in, fan_out) == (layer.in_channels // 4 * area, layer.out_channels // 4 * area)
    nn.init.normal_(layer.weight, std=math.sqrt(1 / fan_in))
    nn.init.zeros_(layer.bias)
    prediction = predict(trace(net, tuple(x.shape)), weight_moments(net), input_moments(x))
    (row,) = prediction.layers
    assert (row.fan_in, row.fan_out, row.num_units) == (fan_in, fan_out, layer.out_channels)
    assert gain_budget(net).log10_gain == pytest.approx(math.log10(0.5), abs=0.02)
    # Stride 2 spreads each input over a quarter of the kernel's outputs: an output collects fan_in / 4 products.
    expected = 1 / 4 if kind == "conv_transpose" else 1.0
    assert prediction.logit_rms == pytest.approx(math.sqrt(expected), rel=0.02)
    inside = net(x)[:, :, 2:-2, 2:-2]
    assert float(inside.square().mean()) == pytest.approx(expected, rel=0.05)


class Meeting(nn.Module):
    """Two layers of one value, joined in one of several ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.first, self.second, self.third, self.how = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8), how

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x).relu()
        one, other = self.second(h), self.third(h)
        match self.how:
            case "skip":
                return h + one
            case "skip through a reshape":
                return h.view(-1, 2, 4).flatten(1) + one
            case "beside what was made of it":
                return torch.cat((h, one), dim=1)
            case "sampled code":
                return one + torch.randn_like(other) * (0.5 * other).exp()
            case "two branches":
                return torch.cat((one, other), dim=1)
            case _:  # noise on the input, and no branch
                return self.second((x + 0.1 * torch.randn_like(x)).relu())


@pytest.mark.parametrize(
    ("how", "structure"),
    [
        ("skip", "residual"),
        ("skip through a reshape", "residual"),
        ("beside what was made of it", "residual"),
        ("sampled code", "branched"),
        ("two branches", "branched"),
        ("noise", "unknown"),
    ],
)
def test_only_a_value_that_skips_layers_makes_a_net_residual(how: str, structure: str) -> None:
    torch.manual_seed(0)
    model, x = Meeting(how), torch.randn(4, 8)
    prediction = predict(trace(model, tuple(x.shape)), weight_moments(model), input_moments(x))
    assert (prediction.structure, prediction.log10_gain) == (structure, None)
