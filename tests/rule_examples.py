"""What each rule fires on, by severity, and a near miss: evidence just on the other side of its threshold. One entry a rule."""

import dataclasses
import math
from dataclasses import dataclass

from trainability.doctor.audit_results import DataAudit, MetricAudit, MetricCase, SplitAudit
from trainability.doctor.evidence import (
    Evaluation,
    Evidence,
    LayerStats,
    OptimizerSettings,
    ProbeResult,
    Sample,
    StepRecord,
)
from trainability.doctor.finding import Severity

CHANCE = math.log(10)


@dataclass(frozen=True)
class Example:
    """Evidence that makes a rule fire, for every severity that it can have, and evidence close to it that does not."""

    fires: dict[Severity, Evidence]
    near: Evidence


def layer(name: str = "conv0", **fields) -> LayerStats:
    healthy = {
        "kind": "conv",
        "fan_in": 288,
        "num_units": 64,
        "kernel": (3, 3),
        "padding": (1, 1),
        "activation": "relu",
        "gain": 1.0,
        "weight_rms": 0.08,
        "activation_rms": 1.0,
        "predicted_activation_rms": 1.1,
        "dead_fraction": 0.0,
        "gradient_rms": 1e-3,
        "update_ratio": 1e-3,
        "underflow_fraction": 0.0,
    }
    return LayerStats(name=name, **{**healthy, **fields})


SGD = OptimizerSettings(name="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4)


def probed(layers: tuple[LayerStats, ...] | None = None, **fields) -> ProbeResult:
    healthy = {
        "batch_size": 64,
        "input_shape": (64, 3, 32, 32),
        "input_mean": 0.0,
        "input_mean_square": 1.0,
        "num_logits": 10,
        "log10_gain": 0.0,
        "structure": "plain",
        "loss": 2.4,
        "cross_entropy": 2.4,
        "predicted_loss": 2.5,
        "predicted_logit_rms": 1.0,
        "logit_rms": 1.0,
        "logit_spread": 0.3,
        "gradient_norm": 5.0,
        "plateau_steps": 55.0,
        "optimizer": SGD,
        "label_min": 0,
        "label_max": 9,
    }
    layers = layers or tuple(layer(f"conv{i}") for i in range(11))
    return ProbeResult(layers=layers, **{**healthy, **fields})


def steps(losses, **fields) -> tuple[StepRecord, ...]:
    healthy = {"gradient_norm": 1.0, "clip_ratio": 1.0, "lr": 0.01}
    return tuple(StepRecord(step=i + 1, loss=float(x), **{**healthy, **fields}) for i, x in enumerate(losses))


FALLING = [CHANCE * math.exp(-i / 100) + 0.02 * (i % 3) for i in range(200)]
FLAT = [CHANCE + 0.01 * (i % 3 - 1) for i in range(400)]


def sample(step: int = 1, layers=None, **fields) -> Sample:
    return Sample(step=step, layers=layers or (layer(),), **{"batch_size": 64, "training": True, **fields})


def split(name: str = "train", **fields) -> SplitAudit:
    healthy = {
        "num_images": 1000,
        "shapes": ((3, 32, 32),),
        "channel_means": (0.0, 0.1, -0.1),
        "channel_stds": (1.0, 1.0, 0.9),
        "minimum": -2.0,
        "maximum": 2.0,
        "clipped_fraction": 0.01,
        "blank_fraction": 0.0,
        "constant_channel_fraction": 0.0,
        "nonfinite_fraction": 0.0,
        "label_min": 0,
        "label_max": 9,
        "label_counts": (100,) * 10,
    }
    return SplitAudit(name=name, **{**healthy, **fields})


def data(train=None, validation=None, **fields) -> DataAudit:
    healthy = {"num_classes": 10, "overlap_fraction": 0.0, "class_signal_z": 20.0, "class_signal_accuracy": 0.5}
    return DataAudit(train=train or split(), validation=validation or split("validation"), **{**healthy, **fields})


def metric(got: float = 0.4) -> MetricAudit:
    return MetricAudit(cases=(MetricCase(name="batches of 32, the last of 4", expected=0.4, got=got),))


def evaluations(gap_growth: float, collapse: float = 1.0) -> tuple[Evaluation, ...]:
    rows = []
    for i in range(4):
        entropy = {"predicted_class_entropy": 2.3 * collapse, "label_entropy": 2.3}
        rows.append(Evaluation(step=100 * (i + 1), split="train", top1_error=0.3 - gap_growth * i, model_training=False))
        rows.append(Evaluation(step=100 * (i + 1), split="validation", top1_error=0.3, model_training=False, **entropy))
    return tuple(rows)


ADAM = OptimizerSettings(name="AdamW", lr=1e-3)
LOW_LAYERS = tuple(layer(f"conv{i}", gain=0.1) for i in range(11))
TWO_LAYERS = (layer("a", gain=0.1), layer("b", gain=0.1))
LEARNED = {"steps": steps(FALLING), "num_classes": 10}


def cliff(after: float, end: float) -> Evidence:
    """A loss that falls from chance to 0.5, jumps to `after`, and ends at `end`."""
    return Evidence(steps=steps([CHANCE] * 40 + [0.5] * 100 + [after] * 40 + [end] * 20), num_classes=10)


def swinging(middle: float, swing: float) -> Evidence:
    return Evidence(steps=steps([middle + swing * (-1) ** i for i in range(100)]), num_classes=10)


def resting(num: int, **fields) -> Evidence:
    return Evidence(steps=steps(FLAT[:num]), num_classes=10, **fields)


def seen(layers: tuple[LayerStats, ...], **fields) -> Evidence:
    return Evidence(samples=(sample(layers=layers),), **fields)


def faint(rms: float) -> tuple[LayerStats, ...]:
    """Four layers of weight rms 0.1 with the same gradient."""
    return tuple(layer(f"c{i}", gradient_rms=rms, weight_rms=0.1) for i in range(4))


def clipped_then_not(num_over: int, loss: float = CHANCE) -> Evidence:
    on = steps(FLAT[:50], gradient_norm=4.0, clip_ratio=0.25)
    off = steps([loss] * (50 + num_over), gradient_norm=4.0, clip_ratio=1.0)[50:]
    return Evidence(steps=(*on, *off), num_classes=10)


def mostly_clipped(num: int) -> Evidence:
    """A hundred steps, `num` of them clipped to a tenth."""
    on = steps(FALLING[:100], gradient_norm=9.0, clip_ratio=0.1)[:num]
    return Evidence(steps=(*on, *steps(FALLING[:100])[num:]))


def gaps(*values: float) -> Evidence:
    """Evaluations of both splits whose error differs by these values."""
    rows = []
    for i, gap in enumerate(values):
        rows.append(Evaluation(step=100 * (i + 1), split="train", top1_error=0.5 - gap))
        rows.append(Evaluation(step=100 * (i + 1), split="validation", top1_error=0.5))
    return Evidence(evaluations=tuple(rows))


def unmoved(num: int) -> Evidence:
    """Sampled steps of which the last `num` leave a layer's weight as it is."""
    ratios = [1e-3] * (4 - num) + [0.0] * num
    return Evidence(samples=tuple(sample(i, layers=(layer(update_ratio=r),)) for i, r in enumerate(ratios)))


EXAMPLES: dict[str, Example] = {
    # data
    "label_range": Example(
        {"error": Evidence(data=data(split(label_max=10)))}, near=Evidence(data=data(split(label_min=0, label_max=9)))
    ),
    "channels_last": Example(
        {"error": Evidence(data=data(split(shapes=((5, 5, 3),))))}, near=Evidence(data=data(split(shapes=((4, 5, 3),))))
    ),
    "not_finite_data": Example(
        {"error": Evidence(data=data(split(nonfinite_fraction=1e-3)))}, near=Evidence(data=data(split(nonfinite_fraction=0.0)))
    ),
    "blank_images": Example(
        {
            "error": Evidence(data=data(split(blank_fraction=0.05))),
            "warning": Evidence(data=data(split(blank_fraction=0.049))),
        },
        near=Evidence(data=data(split(blank_fraction=0.009, constant_channel_fraction=0.049))),
    ),
    "shuffled_labels": Example(
        {"warning": Evidence(data=data(class_signal_z=1.9))}, near=Evidence(data=data(class_signal_z=2.0))
    ),
    "label_conflict": Example(
        {"warning": Evidence(data=data(label_conflict_fraction=0.011))},
        near=Evidence(data=data(label_conflict_fraction=0.01)),
    ),
    "class_imbalance": Example(
        {"warning": Evidence(data=data(split(label_counts=(510, 245, 245))))},
        near=Evidence(data=data(split(label_counts=(500, 250, 250)))),
    ),
    "input_scale": Example(
        {
            "warning": Evidence(data=data(split(channel_means=(3.1,), channel_stds=(1.0,)))),
            "hint": Evidence(data=data(split(channel_means=(3.1,), channel_stds=(1.0,))), probe=probed()),
        },
        near=Evidence(data=data(split(channel_means=(3.0, 0.0), channel_stds=(0.05, 10.0)))),
    ),
    # splits
    "split_overlap": Example(
        {"warning": Evidence(data=data(overlap_fraction=0.01))}, near=Evidence(data=data(overlap_fraction=0.009))
    ),
    "augmentation_missing": Example(
        {"warning": Evidence(data=data(repeated_fraction=0.76))}, near=Evidence(data=data(repeated_fraction=0.75))
    ),
    "split_shift": Example(
        {"warning": Evidence(data=data(validation=split("validation", channel_means=(0.0, 0.1, 0.4))))},
        near=Evidence(data=data(validation=split("validation", channel_means=(0.0, 0.1, 0.34)))),
    ),
    "split_size": Example(
        {"hint": Evidence(data=data(validation=split("validation", shapes=((3, 33, 32),))))},
        near=Evidence(data=data(split(shapes=((3, 32, 32), (3, 48, 48))))),
    ),
    "mirrored": Example(
        {"hint": Evidence(data=data(split(mirror_asymmetry=0.2), split("validation", mirror_asymmetry=0.41)))},
        near=Evidence(data=data(split(mirror_asymmetry=0.21), split("validation", mirror_asymmetry=0.41))),
    ),
    # loss
    "metric_wrong": Example({"error": Evidence(metric=metric(0.4002))}, near=Evidence(metric=metric(0.40009))),
    "softmax_twice": Example(
        {"error": Evidence(probe=probed(outputs_are_probabilities=True, loss=2.301, cross_entropy=2.3))},
        near=Evidence(probe=probed(outputs_are_probabilities=True, loss=2.304, cross_entropy=2.3)),
    ),
    "head_width": Example(
        {"warning": Evidence(probe=probed(num_logits=11), num_classes=10)},
        near=Evidence(probe=probed(num_logits=10), num_classes=10),
    ),
    "sum_for_mean": Example({"warning": Evidence(probe=probed(loss=2.4 * 64.5))}, near=Evidence(probe=probed(loss=2.4 * 65))),
    "loss_divided": Example(
        {"warning": Evidence(steps=steps([x / 2.03 for x in FALLING]), num_classes=10)},
        near=Evidence(steps=steps([x / 2.05 for x in FALLING]), num_classes=10),
    ),
    "loss_at_start": Example(
        {"hint": Evidence(probe=probed(cross_entropy=4.61, loss=4.61))},
        near=Evidence(probe=probed(cross_entropy=4.6, loss=4.6)),
    ),
    # outputs
    "batch_leakage": Example({"warning": Evidence(probe=probed(leakage=1.1e-3))}, near=Evidence(probe=probed(leakage=0.9e-3))),
    "cannot_overfit": Example(
        {"warning": Evidence(probe=probed(overfit_loss=1.21, overfit_steps=100))},
        near=Evidence(probe=probed(overfit_loss=1.19, overfit_steps=100)),
    ),
    "constant_output": Example(
        {
            "warning": Evidence(probe=probed(logit_spread=0.9e-3)),
            "hint": Evidence(probe=probed(logit_spread=0.9e-3, optimizer=ADAM)),
        },
        near=Evidence(probe=probed(logit_spread=1.1e-3)),
    ),
    # loop
    "blind": Example(
        {"error": Evidence(samples=(sample(), sample(layers=(), blind=True)))}, near=Evidence(samples=(sample(), sample()))
    ),
    "missing_zero_grad": Example(
        {"error": Evidence(samples=tuple(sample(i, gradient_norm_before_backward=float(i)) for i in (0, 50)))},
        # One clean sampled step clears the loop.
        near=Evidence(samples=tuple(sample(i, gradient_norm_before_backward=n) for i, n in ((0, 0.0), (50, 1.0), (100, 0.0)))),
    ),
    "wrong_mode": Example(
        {"warning": Evidence(samples=(sample(), sample(50, training=False)))},
        near=Evidence(samples=(sample(), sample(50, training=None)), evaluations=evaluations(0.0)),
    ),
    "untrained_parameter": Example(
        {
            "warning": unmoved(3),
            "hint": Evidence(optimizer=dataclasses.replace(SGD, frozen=("stem.weight",))),
        },
        near=unmoved(2),
    ),
    "lr_schedule": Example(
        {"error": Evidence(steps=steps(FALLING, lr=0.01, expected_lr=0.01002))},
        near=Evidence(steps=steps(FALLING, lr=0.01, expected_lr=0.010005)),
    ),
    "accumulation": Example(
        {"warning": Evidence(steps=(*steps(FALLING[:1], micro_batches=3), *steps(FALLING, micro_batches=2)[1:]))},
        near=Evidence(steps=(*steps(FALLING[:1], micro_batches=1), *steps(FALLING, micro_batches=2)[1:])),
    ),
    # clip
    "clip_dropped": Example({"error": clipped_then_not(5), "warning": clipped_then_not(5, loss=1.0)}, near=clipped_then_not(4)),
    "clipping": Example({"hint": mostly_clipped(95)}, near=mostly_clipped(94)),
    # start
    "gain_budget_low": Example(
        {
            "error": Evidence(probe=probed(LOW_LAYERS, log10_gain=-5.1, plateau_steps=math.inf)),
            "warning": Evidence(probe=probed(LOW_LAYERS, log10_gain=-8.1, plateau_steps=None, biased=True)),
            "hint": Evidence(probe=probed(LOW_LAYERS, log10_gain=-5.1, plateau_steps=None, optimizer=ADAM)),
        },
        near=Evidence(probe=probed(LOW_LAYERS, log10_gain=-4.9)),
    ),
    "gain_budget_high": Example(
        {"error": Evidence(probe=probed(log10_gain=2.8)), "hint": Evidence(probe=probed(TWO_LAYERS, log10_gain=2.8))},
        near=Evidence(probe=probed(log10_gain=2.6)),
    ),
    "slow_start": Example(
        {
            "error": Evidence(probe=probed(plateau_steps=501.0, optimizer=dataclasses.replace(SGD, planned_steps=500))),
            "warning": Evidence(probe=probed(plateau_steps=2001.0)),
        },
        near=Evidence(probe=probed(plateau_steps=2000.0)),
    ),
    # gradients
    "exploding_gradient": Example({"error": seen((layer(update_ratio=1.1),))}, near=seen((layer(update_ratio=0.9),))),
    "vanishing_gradient": Example(
        {"warning": seen(faint(0.9e-6)), "hint": seen(faint(0.9e-6), optimizer=ADAM)}, near=seen(faint(1.1e-6))
    ),
    "underflow": Example(
        {"warning": Evidence(probe=probed((layer(underflow_fraction=0.51),), precision="float16"))},
        near=Evidence(probe=probed((layer(underflow_fraction=0.5),), precision="float16")),
    ),
    "update_ratio": Example({"hint": seen((layer(update_ratio=0.9e-5),))}, near=seen((layer(update_ratio=1.1e-5),))),
    # layers
    "saturation": Example(
        {
            "warning": seen((layer(activation="tanh", saturated_fraction=0.51),)),
            "hint": seen((layer(activation="tanh", saturated_fraction=0.51),), **LEARNED),
        },
        near=seen((layer(activation="tanh", saturated_fraction=0.5),)),
    ),
    "dead_units": Example(  # 64 units: the limit is 0.5 + 1.5 / 8
        {
            "error": seen((layer(dead_fraction=1.0),)),
            "warning": seen((layer(dead_fraction=0.69),)),
            "hint": seen((layer(dead_fraction=0.69),), **LEARNED),
        },
        near=seen((layer(dead_fraction=0.68),)),
    ),
    "activation_scale": Example(
        {"hint": Evidence(probe=probed((layer(activation_rms=4.5),)))},
        near=Evidence(probe=probed((layer(activation_rms=4.3),))),
    ),
    "padded_pointwise": Example(
        {"warning": Evidence(probe=probed((layer(kernel=(1, 1), padding=(1, 1)),)))},
        near=Evidence(probe=probed((layer(kernel=(1, 1), padding=(0, 0)), layer(kernel=(1, 3), padding=(0, 1))))),
    ),
    # run
    "not_finite": Example(
        {"error": Evidence(steps=steps([2.3, 2.2, math.nan]))},
        near=Evidence(steps=(*steps([2.3]), *steps([2.3], gradient_norm=math.inf, skipped=True))),
    ),
    "oscillation": Example({"error": swinging(2.8, 0.3)}, near=swinging(2.7, 0.3)),
    "loss_cliff": Example({"error": cliff(2.1, 2.1), "hint": cliff(2.1, 0.5)}, near=cliff(2.0, 2.0)),
    "plateau": Example({"error": resting(300), "warning": resting(100)}, near=resting(99)),
    # evaluations
    "prediction_collapse": Example(
        {"warning": Evidence(evaluations=evaluations(0.0, collapse=0.49))},
        near=Evidence(evaluations=evaluations(0.0, collapse=0.51)),
    ),
    "overfit": Example({"warning": gaps(0.1, 0.2, 0.31), "hint": gaps(0.01, 0.05, 0.11)}, near=gaps(0.01, 0.05, 0.09)),
}
