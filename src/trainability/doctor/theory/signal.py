"""Predictions from weights alone: gain budget, loss and gradient before training, steps at chance level."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainability.doctor.theory.band import PLATEAU_SHARE, PLATEAU_START
from trainability.doctor.theory.fans import fan_in_and_out
from trainability.doctor.theory.moments import WeightMoments

_SAMPLE_SIZE = 1 << 18  # elements that a large weight's variance is estimated from: standard error 0.3 %
_FITTED_BATCH = 512  # images behind every gradient of the plateau fit
# A gradient's noise equals its signal at this many images per class: 8 nets (VGG-A and B, quarter width, 10 digits,
# budgets -1 to -6.5) measured at 8, 32, 128 and 512 images; docs/theory.md, section 7.
_NOISE_IMAGES_PER_CLASS = 16
_FITTED_CLASSES = 10
NORMALISATIONS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


@dataclass(frozen=True, kw_only=True)
class GainBudget:
    """Gain budget from weights alone.

    Attributes:
        gains: (layer name, gain) in the order of `named_modules()`.
        log10_gain: sum of log10 gain; None if gains do not multiply, see `reason`.
        reason: why there is no budget; None if there is one.
    """

    gains: tuple[tuple[str, float], ...]
    log10_gain: float | None
    reason: str | None = None


def weight_moments(model: nn.Module) -> dict[str, WeightMoments]:
    """Second moments of every weight, without data; large weights are sampled.

    Returns:
        By the weight's full name, together with the bias of the same module.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    found = {}
    with torch.no_grad():
        for name, parameter in parameters.items():
            if name.endswith("bias") or parameter.is_meta:
                continue
            owner, _, own = name.rpartition(".")
            bias = parameters.get(f"{owner}.bias" if owner else "bias")
            values = _thinned(parameter)
            centred = parameter.dim() > 1  # a normalisation's scale of ones has no variance and yet scales
            square = values.var(unbiased=False) if centred else values.square().mean()
            found[name] = WeightMoments(
                shape=tuple(parameter.shape),
                variance=float(square),
                bias_mean_square=float(bias.float().square().mean()) if bias is not None and own == "weight" else 0.0,
            )
    return found


def _thinned(parameter: Tensor) -> Tensor:
    flat = parameter.detach().flatten()
    step = max(1, flat.numel() // _SAMPLE_SIZE)
    return flat[:: step | 1].float()  # an odd step does not align with power-of-two shapes


def log10(value: float) -> float:
    """log10, with -inf for the gain 0 of a dead layer."""
    return math.log10(value) if value > 0 else -math.inf


def gain_budget(model: nn.Module) -> GainBudget:
    """Gain budget P = sum of log10(fan_in * Var(w) * c) from weights alone: no data, no forward pass.

    c is the ReLU's factor 1/2; for nets with another activation c is that function's slope at 0, squared. Layers are
    taken in the order of `named_modules()`. The input's scale is not in it: add log10 of the input's mean square.

    Args:
        model: with weights; if it contains normalisation, there is no budget, and `reason` says so.

    Source: He et al., Delving Deep into Rectifiers, ICCV 2015, section 2.2; own 175 short runs of VGG-A to E.
    """
    factor = 0.5
    for module in model.modules():
        name = type(module).__name__.lower()
        if name in ("tanh", "selu", "softsign"):
            factor = 1.0
        elif name == "sigmoid":
            factor = 1 / 16
    weights = weight_moments(model)
    gains = []
    for name, module in model.named_modules():
        kind = layer_kind(module)
        full = f"{name}.weight" if name else "weight"
        if isinstance(module, nn.LocalResponseNorm):  # divides a small signal by a constant
            gains.append((name, module.k ** (-2 * module.beta)))
        if kind in ("conv", "linear", "conv_transpose") and full in weights:
            weight = weights[full]
            fan_in, _ = fan_in_and_out(kind, weight.shape, getattr(module, "groups", 1))
            gains.append((name, fan_in * weight.variance * factor))
    if any(isinstance(module, NORMALISATIONS) for module in model.modules()):
        return GainBudget(gains=tuple(gains), log10_gain=None, reason="normalisation resets the signal's scale")
    if not gains:
        return GainBudget(gains=(), log10_gain=None, reason="the model has no convolution or linear layer")
    return GainBudget(gains=tuple(gains), log10_gain=sum(log10(gain) for _, gain in gains))


def layer_kind(module: nn.Module) -> str | None:
    """Kind of a layer with weights; None for anything else."""
    if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        return "conv_transpose"
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return "conv"
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return "embedding"
    return "norm" if isinstance(module, NORMALISATIONS) else None


def expected_cross_entropy(logit_rms: float, num_classes: int) -> float:
    """Cross-entropy at the start, E[ln sum exp z], for independent z ~ N(0, logit_rms²) and any labels.

    With S = sum of exp z, ln S = ∫ (exp(-t) - exp(-t S)) dt / t, and the expectation of exp(-t S) factorises over
    classes. Exact for every scale and width: ln C + rms² / 2 for small logits, about rms * E[max z] for large ones.

    Args:
        logit_rms: of the logits.
        num_classes: C, at least 1.

    Returns:
        Nats.

    Source: Frullani's integral; docs/theory.md, section 5.
    """
    if not math.isfinite(logit_rms):
        return math.inf
    low, high = -8.5 * logit_rms - math.log(num_classes) - 20.0, 8.5 * logit_rms + 5.0
    # Both sums converge exponentially once a step is small beside the width of exp(-exp u), which is 1: to 1e-9 at 0.1.
    num_z = min(1201, 2 * math.ceil(85.0 * max(1.0, logit_rms)) + 1)
    num_u = min(1500, math.ceil(10.0 * (high - low)))
    grid = torch.linspace(-8.5, 8.5, num_z, dtype=torch.float64)
    density = torch.exp(-0.5 * grid**2)
    density = density / density.sum()
    u = torch.linspace(low, high, num_u, dtype=torch.float64)  # t = exp(u), so that dt / t = du
    shifted = torch.exp((u[:, None] + logit_rms * grid).clamp(max=50.0))
    single = torch.exp(-shifted) @ density
    integrand = torch.exp(-torch.exp(u.clamp(max=50.0))) - single**num_classes
    return float(torch.trapezoid(integrand, u))


def logit_gradient_rms(logit_rms: float, num_classes: int, batch_size: int) -> float:
    """Expected rms of d (mean cross-entropy) / d logits.

    The gradient is (p - onehot) / batch. Its mean square needs E[sum p²], which is 1 - 2 dL / d(rms²) by Stein's lemma.

    Source: docs/theory.md, section 6.
    """
    step = 1.02
    low, high = (expected_cross_entropy(logit_rms * f, num_classes) for f in (1 / step, step))
    slope = (high - low) / (logit_rms**2 * (step**2 - step**-2)) if 1e-3 < logit_rms < 1e6 else None
    if slope is None:
        slope = 0.5 * (1 - 1 / num_classes) if logit_rms <= 1e-3 else 0.0
    sum_of_squares = min(max(1 - 2 * slope, 1 / num_classes), 1.0)
    return math.sqrt(max(1 - 2 / num_classes + sum_of_squares, 0.0) / num_classes) / batch_size


def plateau_steps(
    relative_growth: Sequence[float],
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    clip: float | None = None,
    gradient_norm: float | None = None,
    batch_size: int = _FITTED_BATCH,
    num_classes: int = _FITTED_CLASSES,
) -> float:
    """Optimizer steps until the mean of the last 20 losses falls below 0.9 ln C, for SGD on a plain ReLU net.

    T = 1 / (lr / (1 - momentum) * sum of s(g_l) / s(W_l)), s() the largest singular value; the loss falls at step
    50 + 0.8 T. Within a factor 2 in 95 % of 105 runs of VGG-A, B, D. Clipping scales every step by clip / norm while the
    norm is above the threshold. Weight decay shrinks every weight by lr / (1 - momentum) * decay per step; if that is
    faster than 1 / T, nothing grows.

    Args:
        relative_growth: s(g_l) / s(W_l) per layer, g at the start on `batch_size` images with dropout off.
        lr: learning rate.
        momentum: in [0, 1).
        weight_decay: per step, coupled (as torch.optim.SGD has it).
        clip: gradient-norm threshold; None for none.
        gradient_norm: over all parameters at the start; needed with `clip`.
        batch_size: of the gradient. The formula was fitted at 512; a smaller batch has more noise, which does not add up
            over steps, and is corrected for.
        num_classes: C; a class's part of the gradient falls as 1 / sqrt(C) while the noise does not.

    Returns:
        Steps; infinite if weight decay is faster than growth, or if nothing changes.

    Raises:
        ValueError: momentum outside [0, 1), or clip without gradient_norm.

    Source: own, shared fit of 105 runs; docs/theory.md, section 7.
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum is {momentum}; the formula needs 0 <= momentum < 1")
    if clip is not None and gradient_norm is None:
        raise ValueError("clip needs gradient_norm")
    speed = lr / (1 - momentum)
    images = _NOISE_IMAGES_PER_CLASS * num_classes
    fitted = 1 + _NOISE_IMAGES_PER_CLASS * _FITTED_CLASSES / _FITTED_BATCH
    noise = max(1 + images / batch_size, fitted) / fitted
    rate = speed * sum(relative_growth) / math.sqrt(noise)
    if clip is not None and gradient_norm is not None and gradient_norm > clip:
        rate *= clip / gradient_norm
    if not rate > speed * weight_decay or not math.isfinite(rate):
        return math.inf
    return PLATEAU_START + PLATEAU_SHARE / rate
