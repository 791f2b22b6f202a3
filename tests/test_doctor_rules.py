"""Every rule with an Evidence that fires it and one that leaves it silent; causes before symptoms; verdicts."""

import dataclasses
import math

import pytest

from trainability.doctor import RULES, Diagnosis, Evidence, diagnose
from trainability.doctor.audit_results import DataAudit, MetricAudit, MetricCase, SplitAudit
from trainability.doctor.evidence import (
    Evaluation,
    LayerStats,
    OptimizerSettings,
    ProbeResult,
    Sample,
    StepRecord,
)
from trainability.doctor.finding import Finding
from trainability.doctor.reading import has_learned
from trainability.doctor.rules.catalogue import EXPLAINS

CHANCE = math.log(10)


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


def clipped_then_not() -> tuple[StepRecord, ...]:
    on = steps(FLAT[:50], gradient_norm=4.0, clip_ratio=0.25)
    off = steps(FLAT[:100], gradient_norm=4.0, clip_ratio=1.0)[50:]
    return (*on, *off)


def evaluations(gap_growth: float, collapse: float = 1.0) -> tuple[Evaluation, ...]:
    rows = []
    for i in range(4):
        entropy = {"predicted_class_entropy": 2.3 * collapse, "label_entropy": 2.3}
        rows.append(Evaluation(step=100 * (i + 1), split="train", top1_error=0.3 - gap_growth * i, model_training=False))
        rows.append(Evaluation(step=100 * (i + 1), split="validation", top1_error=0.3, model_training=False, **entropy))
    return tuple(rows)


LOW_LAYERS = tuple(layer(f"conv{i}", gain=0.1) for i in range(11))
CLIFF = [CHANCE] * 40 + [0.5] * 100 + [CHANCE] * 60

FIRES: dict[str, Evidence] = {
    "blind": Evidence(samples=(sample(layers=(), blind=True),)),
    "metric_wrong": Evidence(metric=metric(0.02)),
    "label_range": Evidence(data=data(split(label_min=1, label_max=10))),
    "channels_last": Evidence(data=data(split(shapes=((32, 32, 3),)))),
    "not_finite_data": Evidence(data=data(split(nonfinite_fraction=0.01))),
    "blank_images": Evidence(data=data(split(blank_fraction=0.32, constant_channel_fraction=0.4))),
    "shuffled_labels": Evidence(data=data(class_signal_z=0.4, class_signal_accuracy=0.1)),
    "split_overlap": Evidence(data=data(overlap_fraction=0.3)),
    "split_shift": Evidence(data=data(validation=split("validation", channel_means=(2.0, 2.0, 2.0)))),
    "split_size": Evidence(data=data(validation=split("validation", shapes=((3, 64, 64),)))),
    "mirrored": Evidence(data=data(split(mirror_asymmetry=0.05), validation=split("validation", mirror_asymmetry=0.53))),
    "label_conflict": Evidence(data=data(label_conflict_fraction=0.04)),
    "class_imbalance": Evidence(data=data(split(label_counts=(900, 50, 50)))),
    "softmax_twice": Evidence(probe=probed(outputs_are_probabilities=True)),
    "head_width": Evidence(probe=probed(num_logits=1000), num_classes=257),
    "sum_for_mean": Evidence(probe=probed(loss=2.4 * 64)),
    "loss_divided": Evidence(steps=steps([x / 2 for x in FALLING]), num_classes=10),
    "missing_zero_grad": Evidence(samples=tuple(sample(i, gradient_norm_before_backward=float(i)) for i in (0, 50))),
    "wrong_mode": Evidence(samples=(sample(training=False),)),
    "untrained_parameter": Evidence(optimizer=dataclasses.replace(SGD, unmanaged=("head.weight",))),
    "lr_schedule": Evidence(steps=steps(FALLING, lr=0.01, expected_lr=0.001)),
    "accumulation": Evidence(steps=(*steps(FALLING[:1], micro_batches=3), *steps(FALLING, micro_batches=2)[1:])),
    "clip_dropped": Evidence(steps=clipped_then_not(), num_classes=10),
    "batch_leakage": Evidence(probe=probed(leakage=0.2)),
    "padded_pointwise": Evidence(probe=probed((layer(kernel=(1, 1), padding=(1, 1)),))),
    "augmentation_missing": Evidence(data=data(repeated_fraction=1.0)),
    "gain_budget_low": Evidence(probe=probed(LOW_LAYERS, log10_gain=-11.0, plateau_steps=math.inf)),
    "gain_budget_high": Evidence(probe=probed(log10_gain=7.0)),
    "input_scale": Evidence(data=data(split(channel_means=(120.0,), channel_stds=(60.0,)))),
    "slow_start": Evidence(probe=probed(plateau_steps=math.inf)),
    "exploding_gradient": Evidence(samples=(sample(layers=(layer(update_ratio=30.0),)),)),
    "saturation": Evidence(samples=(sample(layers=(layer(activation="tanh", saturated_fraction=0.8),)),)),
    "dead_units": Evidence(samples=(sample(layers=(layer(dead_fraction=0.9),)),)),
    "vanishing_gradient": Evidence(probe=probed(tuple(layer(f"c{i}", gradient_rms=1e-9) for i in range(4)))),
    "not_finite": Evidence(steps=steps([2.3, 2.2, math.nan])),
    "oscillation": Evidence(steps=steps([4 + 2 * (-1) ** i for i in range(100)]), num_classes=10),
    "loss_cliff": Evidence(steps=steps(CLIFF), num_classes=10),
    "plateau": Evidence(steps=steps(FLAT), num_classes=10),
    "underflow": Evidence(probe=probed((layer(underflow_fraction=0.9),), precision="float16")),
    "cannot_overfit": Evidence(probe=probed(overfit_loss=2.3, overfit_steps=100)),
    "constant_output": Evidence(probe=probed(logit_spread=1e-6)),
    "prediction_collapse": Evidence(evaluations=evaluations(0.0, collapse=0.1)),
    "overfit": Evidence(evaluations=evaluations(0.09)),
    "clipping": Evidence(steps=steps(FALLING, gradient_norm=9.0, clip_ratio=0.1)),
    "update_ratio": Evidence(samples=(sample(layers=(layer(update_ratio=1e-8),)),)),
    "activation_scale": Evidence(probe=probed((layer(activation_rms=30.0),))),
    "loss_at_start": Evidence(probe=probed(cross_entropy=8.9, loss=8.9)),
}

# Near misses: what looks like the fault and is none.
SILENT: dict[str, Evidence] = {
    "blind": Evidence(samples=(sample(),)),
    "metric_wrong": Evidence(metric=metric(0.4)),
    "label_range": Evidence(data=data()),
    "channels_last": Evidence(data=data(split(shapes=((3, 32, 3),)))),
    "not_finite_data": Evidence(data=data()),
    "blank_images": Evidence(data=data(split(blank_fraction=0.001))),
    "shuffled_labels": Evidence(data=data(class_signal_z=None)),
    "split_overlap": Evidence(data=data(overlap_fraction=0.001)),
    "split_shift": Evidence(data=data(validation=split("validation", channel_means=(0.2, 0.2, 0.2)))),
    "split_size": Evidence(data=data(split(shapes=((3, 32, 32), (3, 48, 48))))),
    "mirrored": Evidence(data=data(split(mirror_asymmetry=0.45), validation=split("validation", mirror_asymmetry=0.53))),
    "label_conflict": Evidence(data=data(label_conflict_fraction=0.005)),
    "class_imbalance": Evidence(data=data(split(label_counts=(600, 400)))),
    "softmax_twice": Evidence(probe=probed(outputs_are_probabilities=True, loss=2.3, cross_entropy=2.25)),
    "head_width": Evidence(probe=probed(), num_classes=10),
    "sum_for_mean": Evidence(probe=probed(loss=2.6)),
    "loss_divided": Evidence(steps=steps(FALLING), num_classes=10),
    "missing_zero_grad": Evidence(samples=tuple(sample(i, gradient_norm_before_backward=0.0) for i in (0, 50))),
    "wrong_mode": Evidence(samples=(sample(),), evaluations=evaluations(0.0)),
    "untrained_parameter": Evidence(optimizer=SGD),
    "lr_schedule": Evidence(steps=steps(FALLING, expected_lr=0.01)),
    "accumulation": Evidence(steps=(*steps(FALLING, micro_batches=2), *steps(FALLING[:1], micro_batches=1))),
    "clip_dropped": Evidence(steps=(*steps(FALLING[:50], gradient_norm=4.0, clip_ratio=0.25), *steps(FALLING)[50:])),
    "batch_leakage": Evidence(probe=probed(leakage=1e-6)),
    "padded_pointwise": Evidence(probe=probed((layer(kernel=(1, 1), padding=(0, 0)),))),
    "augmentation_missing": Evidence(data=data(repeated_fraction=0.55)),
    "gain_budget_low": Evidence(probe=probed(log10_gain=-4.0)),
    "gain_budget_high": Evidence(probe=probed(log10_gain=2.0)),
    "input_scale": Evidence(data=data()),
    "slow_start": Evidence(probe=probed(plateau_steps=600.0)),
    "exploding_gradient": Evidence(samples=(sample(layers=(layer(update_ratio=0.3),)),)),
    "saturation": Evidence(samples=(sample(layers=(layer(activation="tanh", saturated_fraction=0.3),)),)),
    "dead_units": Evidence(samples=(sample(layers=(layer(dead_fraction=0.55),)),)),
    "vanishing_gradient": Evidence(
        samples=(sample(layers=tuple(layer(f"c{i}", gradient_rms=1e-9) for i in range(4))),),
        steps=steps(FALLING),
        num_classes=10,
    ),
    "not_finite": Evidence(steps=(*steps([2.3]), *steps([2.3], gradient_norm=math.inf, skipped=True))),
    "oscillation": Evidence(steps=steps([CHANCE + 0.3 * (-1) ** i for i in range(100)]), num_classes=10),
    "loss_cliff": Evidence(steps=steps([9.0] * 5 + FALLING), num_classes=10),
    "plateau": Evidence(steps=steps(FLAT), num_classes=10, probe=probed(plateau_steps=600.0)),
    "underflow": Evidence(probe=probed((layer(underflow_fraction=0.1),))),
    "cannot_overfit": Evidence(probe=probed(overfit_loss=0.1, overfit_steps=100)),
    "constant_output": Evidence(probe=probed(logit_spread=0.05)),
    "prediction_collapse": Evidence(evaluations=evaluations(0.0, collapse=0.9)),
    "overfit": Evidence(evaluations=evaluations(0.01)),
    "clipping": Evidence(steps=steps(FALLING)),
    "update_ratio": Evidence(samples=(sample(layers=(layer(update_ratio=1e-3),)),)),
    "activation_scale": Evidence(probe=probed((layer(activation_rms=2.0),))),
    "loss_at_start": Evidence(probe=probed(cross_entropy=3.1, loss=3.1)),
}


def test_every_rule_has_both_cases():
    assert set(FIRES) == set(SILENT) == set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_rule_fires_with_numbers_cause_and_remedy(rule):
    findings = RULES[rule](FIRES[rule])
    assert findings
    for finding in findings:
        assert finding.rule == rule
        assert finding.measurements
        assert finding.cause
        assert finding.remedy
        assert finding.source


@pytest.mark.parametrize("rule", RULES)
def test_rule_is_silent_on_a_near_miss_and_on_nothing(rule):
    assert RULES[rule](SILENT[rule]) == []
    assert RULES[rule](Evidence()) == []


def test_a_net_that_learns_label_frequencies_alone_cannot_overfit():
    learned = probed(loss=8.9, cross_entropy=8.9, label_entropy=2.3, overfit_loss=2.29, overfit_steps=100)
    assert RULES["cannot_overfit"](Evidence(probe=learned))
    assert not RULES["cannot_overfit"](Evidence(probe=dataclasses.replace(learned, overfit_loss=1.0)))


def test_explanations_name_rules():
    assert set(EXPLAINS) <= set(RULES)
    assert {symptom for symptoms in EXPLAINS.values() for symptom in symptoms} <= set(RULES)


def rules_of(diagnosis: Diagnosis) -> list[str]:
    return [finding.rule for finding in diagnosis.findings]


def test_a_dead_budget_is_told_once_with_its_symptoms_under_it():
    layers = tuple(layer(f"conv{i}", gain=0.1, gradient_rms=1e-9, update_ratio=1e-9) for i in range(11))
    probe = probed(layers, log10_gain=-11.0, plateau_steps=math.inf, logit_rms=1e-5, logit_spread=1e-9)
    diagnosis = diagnose(Evidence(probe=probe, steps=steps(FLAT), num_classes=10))
    assert rules_of(diagnosis) == ["gain_budget_low"]
    assert diagnosis.verdict == "dead"
    explained = diagnosis.findings[0].explains
    assert {"slow_start", "vanishing_gradient", "plateau", "constant_output"} <= set(explained)


def test_blank_images_explain_the_shift_they_make():
    train = split(blank_fraction=0.32, constant_channel_fraction=0.4, channel_means=(2.0, 2.0, 2.0))
    diagnosis = diagnose(Evidence(data=data(train)))
    assert rules_of(diagnosis) == ["blank_images"]
    assert diagnosis.findings[0].explains == ("split_shift",)
    assert diagnosis.verdict == "broken data"


def test_a_hint_does_not_swallow_an_error():
    shallow = probed((layer("a", gain=1e-6, gradient_rms=1e-3), layer("b")), log10_gain=-6.0, plateau_steps=math.inf)
    diagnosis = diagnose(Evidence(probe=shallow))
    assert "slow_start" in rules_of(diagnosis)
    assert diagnosis.verdict == "dead"


ADAM = OptimizerSettings(name="AdamW", lr=1e-3)


@pytest.mark.parametrize(
    ("fields", "severity"),
    [
        ({"log10_gain": -11.0, "plateau_steps": math.inf}, "error"),
        ({"log10_gain": -11.0, "plateau_steps": None, "optimizer": None}, "error"),
        ({"log10_gain": -11.0, "plateau_steps": None, "optimizer": ADAM}, "hint"),  # Adam does not mind the scale
        ({"log10_gain": -6.0, "plateau_steps": 400.0}, "hint"),  # slow, with an end in sight
        ({"log10_gain": -6.0, "plateau_steps": 400.0, "batch_size": 2, "num_logits": 1000}, "error"),  # two images of noise
        ({"log10_gain": -6.2, "plateau_steps": None, "biased": True}, "hint"),  # PyTorch's default, 8 layers: trains
        ({"log10_gain": -10.1, "plateau_steps": None, "biased": True}, "warning"),
    ],
)
def test_how_far_the_budget_band_speaks(fields, severity):
    (finding,) = RULES["gain_budget_low"](Evidence(probe=probed(LOW_LAYERS, **fields)))
    assert finding.severity == severity


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (Evidence(), "cannot tell"),
        (Evidence(probe=probed()), "will train"),
        (Evidence(probe=probed(log10_gain=None, structure="normalised", plateau_steps=None)), "will train"),
        (Evidence(probe=probed(log10_gain=None, structure="unknown", plateau_steps=None)), "cannot tell"),
        (Evidence(probe=probed(plateau_steps=600.0)), "slow start"),
        (Evidence(probe=probed(plateau_steps=600.0, batch_size=2, num_logits=1000)), "will train"),
        (Evidence(probe=probed(plateau_steps=600.0), steps=steps(FLAT), num_classes=10), "slow start"),
        (Evidence(probe=probed(), steps=steps(FALLING), num_classes=10), "is training"),
        (FIRES["plateau"], "dead"),
        (FIRES["gain_budget_high"], "unstable"),
        (FIRES["not_finite"], "unstable"),
        (FIRES["blank_images"], "broken data"),
        (FIRES["metric_wrong"], "broken metric"),
        (FIRES["blind"], "cannot tell"),
    ],
)
def test_verdict(evidence, verdict):
    assert diagnose(evidence).verdict == verdict


def test_slow_start_says_how_many_steps_are_left():
    diagnosis = diagnose(Evidence(probe=probed(plateau_steps=600.0), steps=steps(FLAT), num_classes=10))
    assert diagnosis.remaining_steps == pytest.approx(200.0)


def test_findings_come_worst_first():
    evidence = dataclasses.replace(FIRES["loss_at_start"], metric=metric(0.0), optimizer=FIRES["untrained_parameter"].optimizer)
    assert rules_of(diagnose(evidence)) == ["metric_wrong", "untrained_parameter", "loss_at_start"]


def test_a_rule_that_fails_is_named_and_stops_nothing(monkeypatch):
    def broken(evidence):
        raise ZeroDivisionError("oops")

    monkeypatch.setitem(RULES, "plateau", broken)
    diagnosis = diagnose(FIRES["metric_wrong"])
    assert diagnosis.verdict == "broken metric"
    assert any("plateau: the rule itself failed" in line for line in diagnosis.not_checked)


def test_no_measurements_no_finding():
    with pytest.raises(ValueError, match="no measurements"):
        Finding(rule="x", severity="hint", seen="s", measurements=(), cause="c", remedy="r", source="s")


def test_the_input_alone_is_named_when_it_is_the_cause():
    evidence = Evidence(probe=probed(log10_gain=-0.5, input_mean_square=5000.0))
    (finding,) = RULES["gain_budget_high"](evidence)
    assert "input" in finding.cause
    assert "normalise the input" in finding.remedy


@pytest.mark.parametrize(("last", "learned"), [(1.15, False), (0.9, True)])
def test_a_loss_that_is_logged_halved_has_not_learned_because_it_is_below_chance(last, learned):
    steps = tuple(StepRecord(step=i + 1, loss=1.15 if i < 30 else last, gradient_norm=1.0) for i in range(60))
    assert has_learned(Evidence(num_classes=10, steps=steps)) is learned
    # Watched from its middle, a run says nothing about where it began.
    later = tuple(dataclasses.replace(step, step=step.step + 500) for step in steps)
    assert has_learned(Evidence(num_classes=10, steps=later))
