"""What each rule fires on, by severity, and a near miss: evidence just on the other side of its threshold. One entry a rule."""

import dataclasses
import math
from dataclasses import dataclass

from trainability.doctor.audit_results import (
    BatchOrder,
    DataAudit,
    LabelsCompared,
    MetricAudit,
    MetricCase,
    Redrawn,
    Relation,
    SplitAudit,
)
from trainability.doctor.evidence import Evaluation, Evidence, OptimizerSettings, ProbeResult, Sample, StepRecord
from trainability.doctor.experimented import UNCHANGED, Arm, Experiments, Outcome
from trainability.doctor.facts import Facts, LossGraph, Stacked, Unreached
from trainability.doctor.finding import Severity
from trainability.doctor.graph_facts import MisreadHeads
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.opponents import IdleLoss, Opponents
from trainability.doctor.pair_facts import Misplaced, Pulls
from trainability.doctor.processes import Comparison, Processes
from trainability.doctor.readings import (
    ClassNumbers,
    CodeSpread,
    LastNoise,
    MisreadEdges,
    Overwritten,
    PlaceBlind,
    Readings,
    ShortLength,
    ShortPass,
)
from trainability.doctor.rehearsed import CriticalStep, Observation, Rehearsal, RehearsedStep, SlowAverage, Task

CHANCE = math.log(10)


@dataclass(frozen=True)
class Example:
    """Evidence that makes a rule fire, for every severity that it can have, and evidence close to it that does not."""

    fires: dict[Severity, Evidence]
    near: Evidence


def written_to(kind: str) -> Overwritten:
    return Overwritten(kind=kind, place="clips", num_examples=16, num_changed=15)


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


def metric(got: float = 0.4, **fields) -> MetricAudit:
    return MetricAudit(cases=(MetricCase(name="batches of 32, the last of 4", expected=0.4, got=got),), **fields)


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


def fading(large: int, losses: list[float] = FLAT[:200]) -> Evidence:
    """Two hundred steps, of which so many have the full learning rate, and the others a hundredth of it."""
    rows = (*steps(losses[:large], lr=0.1), *steps(losses, lr=0.001)[large:])
    return Evidence(steps=rows, num_classes=10)


def swinging(middle: float, swing: float, *, rises: bool = False) -> Evidence:
    found = steps([middle + swing * (-1) ** i for i in range(100)])
    if rises:
        found = tuple(dataclasses.replace(step, lr=1e-4 * step.step) for step in found)
    return Evidence(steps=found, num_classes=10)


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


def fact(**fields) -> Evidence:
    """Certain facts of a program whose outputs have rms 1."""
    return Evidence(facts=Facts(**{"output_rms": 1.0, "loss": 2.3, **fields}))


LAST_NOISE = LastNoise(kept=0.36, least=0.33, share=0.36, step=99.0, steps=100, rows=200)


def against(**fields) -> Evidence:
    """Certain facts of models that play against each other."""
    return fact(opponents=Opponents(**fields))


def numbered(ordered: float) -> Readings:
    """Whole numbers as targets, whose order fits as well as so many shuffled ones."""
    return Readings(class_numbers=ClassNumbers(classes=10, examples=2000, clear=0.7, ordered=ordered))


def placed(across: float) -> Evidence:
    """Images with images for targets, and outputs whose columns go with the image's by so much."""
    relation = Relation(num_examples=200, z=20.0, local=0.3)
    return Evidence(facts=Facts(misplaced=Misplaced(num_asked=96, down=0.9, across=across)), relation=relation)


def pulled(z: float) -> Pulls:
    return Pulls(num_pulled=60, num_pushed=60, apart_pulled=1.2, apart_pushed=1.0, z=z)


def graph(takes: str | None = None, made_by: str | None = None, *, swapped: bool = False, **fields) -> Evidence:
    return fact(graph=LossGraph(takes=takes, made_by=made_by, num_outputs=10, swapped=swapped), **fields)


def hidden(num_untrained: int) -> Evidence:
    """Two parameters in a plain list, of which some are in no optimizer."""
    return fact(graph=LossGraph(unregistered=("layers[0].weight", "layers[0].bias"), unregistered_untrained=num_untrained))


def stacked(middle: int, *, whole: bool) -> Evidence:
    """Two linear layers with nothing between, of 8 inputs and 8 outputs."""
    return fact(stacked=(Stacked(first="0", second="1", widths=(8, middle, 8)),), has_nonlinearity=not whole)


def ordered(one_class: int = 0, **fields) -> Evidence:
    """Labels of ten balanced classes in twenty batches of 32."""
    usual = {"num_batches": 20, "batch_size": 32, "num_examples": 640, "num_classes": 10, "changes": 576}
    order = BatchOrder(one_class_batches=one_class, **{"expected_changes": 575.1, **usual, **fields})
    return Evidence(data=data(split(order=order)))


def shrunk(to: float) -> Evidence:
    """Weights that are at this share of what they were at the first sampled step, under weight decay."""
    first = sample(1, layers=(layer(weight_rms=0.1),))
    return Evidence(samples=(first, sample(50, layers=(layer(weight_rms=0.1 * to),))), optimizer=SGD)


def harmful(mean: float) -> Evidence:
    return Evidence(
        data=data(split(channel_means=(mean,), channel_stds=(1.0,))), samples=(sample(layers=(layer(update_ratio=2.0),)),)
    )


def rehearsed(
    count: int = 30, *, calls: int = 1, norm: float | None = 1.0, rates: tuple[float, ...] = (), **fields
) -> Evidence:
    """A rehearsal of that many steps; the learning rates of the last ones may be given."""
    lrs = [0.1] * (count - len(rates)) + list(rates)
    body = tuple(
        RehearsedStep(step=i + 1, loss=2.3, gradient_norm=norm, lr=lr, optimizer_steps=calls) for i, lr in enumerate(lrs)
    )
    return Evidence(rehearsal=Rehearsal(steps=body, **{"num_parameters": 2, "training": True, **fields}))


def undivided_sum() -> Evidence:
    """A rehearsal of sums of four passes that did not stay finite, though its first updates are hardly too long."""
    ahead = CriticalStep(
        multiple=1.5, loss_before=2.3, loss_after=2.2, lowest_loss=2.0, resolution=1e-6, update_norm=1.0, num_evaluations=8
    )
    seen = rehearsed(
        10,
        reference=(Observation(step=0, loss=2.3), Observation(step=5, loss=9.0)),
        critical=((1, ahead), (6, ahead)),
        task=Task(kind="classification", chance=2.3, floor=0.0),
        ended_by="not finite",
        undivided=4,
    )
    return dataclasses.replace(seen, optimizer=OptimizerSettings(name="SGD", lr=0.5))


def warming(reached: float, losses=FLAT[:200], *, at_once: int = 1, stays: int = 0) -> Evidence:
    """A run of 200 steps whose rate rises to this share of its schedule's peak, in stairs of some steps, and may stay there."""
    rates = [reached * (min(k, len(losses) - 1 - stays) // at_once + 1) * at_once / len(losses) for k in range(len(losses))]
    records = tuple(dataclasses.replace(step, lr=lr) for step, lr in zip(steps(losses), rates, strict=True))
    settings = OptimizerSettings(name="SGD", lr=rates[-1], base_lr=1.0, schedule="LinearLR")
    return Evidence(steps=records, optimizer=settings, num_classes=10, has_ended=True, is_complete=True)


def spread(last: float) -> tuple[Observation, ...]:
    """Outputs of rms 1 that differ by 0.1 between examples, and then by `last`."""
    return tuple(Observation(step=s, loss=x * x, output_rms=1.0, output_spread=x) for s, x in ((0, 0.1), (60, last)))


FOLLOWING = SlowAverage(name="model.ema", twin="model.net", rate=1e-4, is_used=False)
STILL = tuple(Observation(step=5 * i, loss=2.3) for i in range(7))


def distilled(times: float) -> Evidence:
    """A run that stands at a divergence from soft targets at a temperature of 20, times this."""
    facts = Facts(distilled=(20.0, 0.05, 0.03), loss=0.03 * times, output_rms=1.0)
    return Evidence(facts=facts, optimizer=SGD, steps=steps([0.03 * times] * 120))


def clipped(threshold: float) -> ProbeResult:
    """A gradient of norm 1, and a threshold for it."""
    return probed(gradient_norm=1.0, optimizer=dataclasses.replace(SGD, clip=threshold))


def told(error: float, counted: float, **fields) -> Evidence:
    """An evaluation of 1,000 examples whose error is told and counted."""
    seen = Evaluation(step=100, split="validation", top1_error=error, counted_error=counted, num_examples=1000, **fields)
    return Evidence(evaluations=(seen,))


def low_loss(error: float) -> Evidence:
    """A loss of 0.05 of one label an example, and two evaluations of training with that error."""
    seen = tuple(Evaluation(step=step, split="train", top1_error=error) for step in (100, 200))
    facts = Facts(task_loss="cross_entropy", output_shape=(8, 10), target_shape=(8,))
    return Evidence(steps=steps([0.05] * 200), evaluations=seen, facts=facts, num_classes=10)


def slow_norm(step: int) -> Evidence:
    """Batch norm with a momentum of 0.001, and an evaluation at that step; half of the start is left after 693."""
    seen = Evaluation(step=step, split="validation", top1_error=0.5, model_training=False)
    return Evidence(facts=Facts(slow_statistics=("norm", 0.001)), evaluations=(seen,))


def beside_the_mean(loss: float, num: int) -> Evidence:
    """A regression whose targets have variance 2, and whose loss stands still."""
    task = Task(kind="regression", loss="mse_loss", target="[1]", chance=2.1)
    audit = data(split(target_mean=5.0, target_variance=2.0))
    return Evidence(steps=steps([loss] * num), data=audit, rehearsal=Rehearsal(steps=(), task=task))


def labels_compared(**fields) -> Evidence:
    """A classifier that is right on 0.8 of training, and of validation only after classes 0 and 1 are exchanged."""
    usual = {"num_validation": 600, "accuracy_training": 0.8, "accuracy_validation": 0.6, "accuracy_renamed": 0.8}
    usual |= {"renamed": ((0, 1), (1, 0)), "gain_z": 6.0, "loss_in_training_z": 9.0, "own_accuracy": 0.75, "own_signal_z": 30.0}
    return Evidence(data=data(labels_compared=LabelsCompared(**{**usual, **fields})))


def drawn(**fields) -> Evidence:
    return Evidence(data=data(redrawn=Redrawn(num_examples=6, num_draws=4, **fields)))


SOFTMAX = Task(kind="classification", loss="cross_entropy", form="probabilities", num_classes=10, chance=2.3, floor=1.46)
NLL = Task(kind="classification", loss="nll_loss", num_classes=10, chance=2.3, floor=-math.inf)
AT_CHANCE = (Observation(step=0, loss=2.3),)


def tried(outcome: Outcome) -> Evidence:
    """One change beside a program that stays at chance; nobody suspected it."""
    unchanged = Arm(name=UNCHANGED, change="as it is", outcome="as it is", curve=((0, CHANCE), (600, CHANCE)))
    changed = Arm(name="decay_off", change="no weight decay", outcome=outcome, curve=((0, CHANCE), (120, 0.1)), again=0.1)
    return Evidence(experiments=Experiments(arms=(unchanged, changed), state="at chance", steps=120, chance=CHANCE))


def processes(*rows: Comparison, **fields) -> Evidence:
    return Evidence(processes=Processes(ranks=(0, 1), comparisons=rows, **{"wrapper": "DistributedDataParallel", **fields}))


def beside(step: int = 1, **fields) -> Comparison:
    """A step that is the same in two processes, but for the fields."""
    same = {
        "losses": (2.2, 2.3),
        "lrs": (0.1, 0.1),
        "gradient_norms": (1.0, 1.0),
        "step_gradient_norms": (1.0, 1.0),
        "clip_ratios": (1.0, 1.0),
        "weights_distance": 0.0,
        "update_distance": 0.0,
        "num_compared": 2,
        "inputs_compared": 2,
    }
    return Comparison(step=step, ranks=(0, 1), **{**same, **fields})


APART = {"gradient_norms": (1.0, 0.9), "step_gradient_norms": (1.0, 0.9), "differing": ("body", "head"), "update_distance": 0.1}
BOTH = {"same_inputs": ((0, 1),)}

EXAMPLES: dict[str, Example] = {
    # rehearsal
    "never_steps": Example(
        {
            "error": rehearsed(16, calls=0, unmoved=("a.weight", "a.bias")),
            "warning": rehearsed(16, idle=("b.weight",), unmoved=("b.weight",)),
        },
        near=rehearsed(15, calls=0, unmoved=("a.weight", "a.bias")),  # gradients may be accumulated
    ),
    "stale_gradients": Example(
        {"error": rehearsed(stale_fraction=0.51, stale_gradient=3.0)}, near=rehearsed(stale_fraction=0.5, stale_gradient=3.0)
    ),
    "zero_gradient": Example({"error": rehearsed(3, norm=0.0)}, near=rehearsed(2, norm=0.0)),
    "unmoved_parameter": Example(
        {
            "error": rehearsed(unmoved=("a.weight", "a.bias")),
            "warning": rehearsed(unmoved=("a.weight",), without_gradient=("a.weight",)),
            "hint": dataclasses.replace(rehearsed(unmoved=("a.weight",)), optimizer=OptimizerSettings(name="SGD", lr=1e-9)),
        },
        near=rehearsed(unmoved=("a.bias",)),
    ),
    "evaluation_mode": Example(
        {
            "warning": rehearsed(in_evaluation_mode=("dropout",), training=False),
            "hint": rehearsed(in_evaluation_mode=("norm",)),
        },
        near=rehearsed(training=False),
    ),
    "rate_dies": Example(
        {
            "error": rehearsed(rates=(0.9e-4,), planned_steps=60),
            "warning": fading(5),
            "hint": fading(5, losses=FALLING),
        },
        near=fading(11),
    ),
    "long_warm_up": Example(
        {"warning": warming(0.099), "hint": warming(0.099, losses=FALLING)},
        near=warming(0.101),
    ),
    "slow_average": Example(
        {
            "warning": rehearsed(planned_steps=3000, slow_average=FOLLOWING),
            "hint": rehearsed(planned_steps=3000, slow_average=dataclasses.replace(FOLLOWING, is_used=True)),
        },
        near=rehearsed(planned_steps=3000, slow_average=dataclasses.replace(FOLLOWING, rate=4.1e-4)),
    ),
    "loss_below_floor": Example(
        {"error": rehearsed(task=NLL, reference=AT_CHANCE)},
        near=rehearsed(task=dataclasses.replace(NLL, form="log_probabilities", floor=0.0), reference=AT_CHANCE),
    ),
    "capped_loss": Example(
        {"error": rehearsed(task=SOFTMAX), "warning": distilled(1.0), "hint": fact(temperatures=(1.0, 4.0))},
        near=rehearsed(task=dataclasses.replace(SOFTMAX, form="tanh", floor=0.22)),
    ),
    # data
    "label_range": Example(
        {
            "error": Evidence(data=data(split(label_max=10))),
            "warning": fact(wrong_argument=("cross_entropy", "several")),
            "hint": fact(readings=Readings(unread_zeros=0.0)),
        },
        near=Evidence(data=data(split(label_min=0, label_max=9))),
    ),
    "channels_last": Example(
        {
            "error": Evidence(data=data(split(shapes=((5, 5, 3),)))),
            "warning": Evidence(data=data(split(shapes=((3, 5, 5),), regrouped_roughness=0.99))),
        },
        near=Evidence(data=data(split(shapes=((4, 5, 3),), regrouped_roughness=1.01))),
    ),
    "not_finite_data": Example(
        {
            "error": Evidence(data=data(split(nonfinite_fraction=1e-3))),
            "hint": dataclasses.replace(
                rehearsed(10), data=data(split(nonfinite_fraction=0.1, order=ordered().data.train.order))
            ),
        },
        near=Evidence(data=data(split(nonfinite_fraction=0.0))),
    ),
    "blank_images": Example(
        {
            "error": Evidence(data=data(split(blank_fraction=0.05))),
            "warning": Evidence(data=data(split(blank_fraction=0.049))),
            "hint": Evidence(data=data(split(blank_fraction=0.05, blank_target=True))),
        },
        near=Evidence(data=data(split(blank_fraction=0.009, constant_channel_fraction=0.049))),
    ),
    "shuffled_labels": Example(
        {
            "warning": Evidence(data=data(class_signal_z=1.9)),
            "hint": Evidence(relation=Relation(num_examples=400, z=0.5, is_plain=False)),
        },
        near=Evidence(data=data(class_signal_z=2.0)),
    ),
    "overwritten_data": Example(
        {
            "error": fact(readings=Readings(overwritten=written_to("shared"))),
            "warning": fact(readings=Readings(overwritten=written_to("stored"))),
        },
        near=fact(readings=Readings()),
    ),
    "misread_edges": Example(
        {"warning": fact(readings=Readings(edges=MisreadEdges(num_edges=100, how="sorted")))}, near=fact(readings=Readings())
    ),
    "pooled_places": Example(
        {
            "warning": fact(
                readings=Readings(
                    place_blind=PlaceBlind(
                        given="[0]",
                        target="[1]",
                        shape=(1, 48, 48),
                        dims=(2, 3),
                        moved=0.3,
                        examples=480,
                        column=0,
                        placed=0.99,
                        free=0.01,
                    )
                )
            )
        },
        near=fact(readings=Readings()),
    ),
    "short_length": Example(
        {"warning": fact(readings=Readings(short=ShortLength(declared=44, held=1437, batch_size=32)))},
        near=fact(readings=Readings()),
    ),
    "misread_heads": Example(
        {"warning": fact(graph=LossGraph(heads=MisreadHeads(kind="split", given=(8, 16, 64), made=(8, 4, 16, 16))))},
        near=fact(graph=LossGraph()),
    ),
    "label_conflict": Example(
        {
            "warning": Evidence(data=data(label_conflict_fraction=0.011)),
            "hint": Evidence(data=data(split(shapes=((63,),)), label_conflict_fraction=0.011)),
        },
        near=Evidence(data=data(label_conflict_fraction=0.01)),
    ),
    "class_imbalance": Example(
        {
            "warning": Evidence(data=data(split(label_counts=(850, 75, 75)))),
            "hint": Evidence(data=data(split(label_counts=(510, 245, 245)))),
        },
        near=Evidence(data=data(split(label_counts=(500, 250, 250)))),
    ),
    "input_scale": Example(
        {
            "error": harmful(100.0),
            "warning": Evidence(data=data(split(channel_means=(10.0,), channel_stds=(1.0,)))),
            "hint": Evidence(data=data(split(channel_means=(9.9,), channel_stds=(1.0,)))),
        },
        near=Evidence(data=data(split(channel_means=(3.0, 0.0), channel_stds=(0.05, 10.0)))),
    ),
    # inputs
    "class_order": Example(
        {
            "error": ordered(10),
            "warning": ordered(changes=115),
            "hint": ordered(3, num_batches=3, num_examples=96, num_classes=1, changes=0, expected_changes=0.0),
        },
        near=ordered(9, changes=116),
    ),
    "repeated_batch": Example(
        {
            "error": ordered(num_batches=3, repeated_batches=2),
            "warning": ordered(num_batches=20, repeated_batches=8, stream_workers=2),
            "hint": Evidence(data=dataclasses.replace(ordered(num_batches=3, repeated_batches=2).data, validation=None)),
        },
        near=ordered(num_batches=20, repeated_batches=7, stream_workers=2),
    ),
    "numbers_for_words": Example({"warning": fact(numbers_for_words=9999.0, number_layer="rnn")}, near=fact()),
    "constant_input": Example(
        {
            "error": fact(constant_inputs=("dec",), zero_gradient=("dec.weight",)),
            "warning": fact(constant_inputs=("dec",), zero_gradient=("enc.weight",)),
            "hint": fact(zeros_beside_state=("dec",)),
        },
        near=fact(zero_gradient=("dec.weight",)),
    ),
    "target_scale": Example(
        {
            "error": fact(target_rms=1e4, task_loss="mse_loss"),
            "warning": fact(target_rms=9.9e3, task_loss="mse_loss"),
            "hint": fact(target_rms=100.0, task_loss="l1_loss"),
        },
        near=fact(target_rms=99.0, task_loss="mse_loss"),
    ),
    "unread_ends": Example(
        {"warning": fact(unread_ends=("[4]", 3.1)), "hint": fact(unread_ends=("[4]", 2.9))}, near=fact(solved_by=None)
    ),
    "ignored_end": Example(
        {
            "warning": fact(ignores_end=True),
            "hint": dataclasses.replace(
                fact(readings=Readings(backward_ends=("rnn", 9))), steps=steps(FALLING), num_classes=10
            ),
        },
        near=fact(zero_gradient=("rnn.weight_hh_l0",)),
    ),
    "masked_targets": Example(
        {"warning": fact(unread_targets=(1,)), "hint": fact(ignored_class=(0, 0.6), target_shape=(8, 4, 4))},
        near=fact(ignored_class=(0, 0.6), target_shape=(8,)),
    ),
    "sees_future": Example(
        {"error": fact(future=1.1e-4), "warning": fact(own_tokens="causal"), "hint": fact(own_tokens="unknown")},
        near=fact(future=1e-4),
    ),
    # head
    "target_broadcast": Example(
        {
            "error": fact(output_shape=(64, 1), target_shape=(64,), broadcast_shape=(64, 64)),
            "warning": fact(one_target=(3, "[1]")),
            "hint": fact(one_target=(3, "")),
        },
        near=fact(output_shape=(64, 1), target_shape=(64, 1)),
    ),
    "misread_logits": Example({"error": fact(misread_logits=True), "warning": placed(0.4)}, near=placed(0.6)),
    "swapped_arguments": Example({"error": graph("sigmoid", swapped=True)}, near=graph("sigmoid")),
    "clamped_logits": Example(
        {"error": graph("sigmoid", "relu"), "warning": graph("log_softmax", "relu")}, near=graph("distance", "relu")
    ),
    "numbers_for_classes": Example(
        {
            "warning": Evidence(facts=Facts(readings=numbered(0.1)), metric=metric(0.4)),
            "hint": fact(readings=numbered(0.1)),
        },
        near=fact(readings=numbered(0.09)),
    ),
    "unreachable_target": Example(
        {
            "error": graph("distance", "sigmoid", target_outside_unit=0.25),
            "warning": graph("distance", "relu", target_below_zero=0.24),
            "hint": graph("distance", "softplus", target_below_zero=0.5, cut_at_zero=0.14),
        },
        near=graph("distance", "sigmoid", target_outside_unit=0.04),
    ),
    "wrong_sign": Example(
        {
            "error": fact(loss=-2.3, negated_task="cross_entropy"),
            "warning": fact(pulls=pulled(4.1)),
            "hint": fact(readings=Readings(code_spread=CodeSpread(taken_for="log variance", ratio=0.9))),
        },
        near=fact(task_loss="nll_loss", task_form="log_probabilities"),
    ),
    "linear_stack": Example(
        {"warning": stacked(8, whole=True), "hint": stacked(8, whole=False)}, near=fact(has_nonlinearity=True)
    ),
    # parameters
    "foreign_optimizer": Example(
        {
            "error": Evidence(optimizer=dataclasses.replace(SGD, unmanaged=("head.weight",), managed=0)),
            "warning": against(moved_by_critic=("critic", "maker")),
        },
        near=Evidence(optimizer=dataclasses.replace(SGD, unmanaged=("head.weight",), managed=1)),
    ),
    "unregistered_layers": Example({"error": hidden(1), "hint": hidden(0)}, near=fact(graph=LossGraph())),
    # moved_by_losses
    "condition_not_judged": Example({"warning": against(not_judged=("judge", "maker"))}, near=fact()),
    "idle_loss": Example(
        {
            "error": against(idle_loss=IdleLoss(place=3, num_losses=3, term=None, reached=("encoder",), held=("decoder",))),
            "warning": against(idle_loss=IdleLoss(place=2, num_losses=2, term=2, reached=("judge",), held=("encoder",))),
        },
        near=fact(),
    ),
    # adversaries
    "unlimited_critic": Example({"warning": against(unlimited_critic=("critic", "maker"))}, near=fact()),
    "remade_optimizer": Example(
        {"warning": fact(remade=(40, True)), "hint": fact(remade=(40, False))}, near=fact(remade=(3, True))
    ),
    "repeated_step": Example(
        {"error": fact(repeated_steps=(20, 40, True)), "warning": rehearsed(repeated_steps=(20, 40, False))}, near=rehearsed()
    ),
    "short_pass": Example(
        {
            "warning": fact(short_pass=ShortPass(read=7, declared=200)),
            "hint": fact(short_pass=ShortPass(read=7, declared=200, is_left=True)),
        },
        near=fact(),
    ),
    "idle_term": Example(
        {
            "warning": fact(readings=Readings(idle_term=("argmax", 0.5))),
            "hint": fact(readings=Readings(idle_term=("argmax", 1e-3))),
        },
        near=fact(readings=Readings()),
    ),
    "noise_schedule": Example(
        {
            "warning": fact(readings=Readings(last_noise=LAST_NOISE)),
            "hint": fact(readings=Readings(last_noise=dataclasses.replace(LAST_NOISE, kept=0.15, least=0.12, share=0.15))),
        },
        near=fact(readings=Readings()),
    ),
    "own_target": Example({"warning": fact(readings=Readings(target_slope=0.97))}, near=fact(readings=Readings())),
    "saturating_generator": Example({"hint": against(flat_where_sure=("judge", "maker"))}, near=fact()),
    "fixed_noise": Example({"warning": against(fixed_noise=("judge", "maker"))}, near=fact()),
    # cut_off
    "flat_derivative": Example({"warning": fact(flat_derivative=True)}, near=fact()),
    "weights_redrawn": Example(
        {
            "error": rehearsed(redrawn=("0.weight",)),
            "warning": dataclasses.replace(
                rehearsed(cut_off=(("0.weight",), 0.01, 0.9)), facts=Facts(task_loss="mse_loss", output_rms=1.0)
            ),
        },
        near=rehearsed(),
    ),
    "interpolated_labels": Example(
        {"warning": fact(readings=Readings(smeared_edges=(0.71, 200)))}, near=fact(readings=Readings(smeared_edges=(0.69, 200)))
    ),
    # parameters
    "unreached_parameter": Example(
        {
            "error": dataclasses.replace(
                fact(unreached=(Unreached(name="0.weight", reason="turn"),)), steps=steps([0.7] * 21, gradient_norm=None)
            ),
            "warning": fact(unreached=(Unreached(name="pos.weight", reason="dropped"),)),
            "hint": fact(unreached=(Unreached(name="aux.weight", reason="unused"),)),
        },
        near=fact(),
    ),
    "identical_units": Example(
        {
            "error": fact(identical_units=("0.weight",)),
            "warning": fact(identical_modules=("heads.0", "heads.1")),
            "hint": dataclasses.replace(
                rehearsed(parted=("0.weight",), reference=(Observation(step=0, loss=1.0), Observation(step=30, loss=0.5))),
                facts=Facts(near_constant=("0", "2")),
            ),
        },
        near=fact(near_constant=("0",)),
    ),
    "flat_loss": Example(
        {
            "error": fact(no_weight_moves=True, loss=0.7),
            "warning": Evidence(steps=steps([1e-8, -1e-8] * 10, gradient_norm=1e-8)),
        },
        near=Evidence(facts=Facts(no_weight_moves=True, loss=1e-7), steps=steps([1e-8] * 20)),
    ),
    "eps_underflow": Example({"error": fact(low_precision="float16", eps=1e-8)}, near=fact(low_precision="float16", eps=3e-8)),
    # splits
    "split_overlap": Example(
        {
            "warning": Evidence(data=data(overlap_fraction=0.01)),
            "hint": Evidence(data=data(overlap_fraction=0.04, copied_fraction=0.02)),
        },
        near=Evidence(data=data(overlap_fraction=0.009)),
    ),
    "validation_labels": Example({"warning": labels_compared()}, near=labels_compared(gain_z=4.9)),
    "augmentation_missing": Example(
        {"warning": Evidence(data=data(repeated_fraction=0.76))}, near=Evidence(data=data(repeated_fraction=0.75))
    ),
    "repeated_draws": Example(
        {"warning": drawn(varies=True, epochs_alike=True)}, near=drawn(varies=False, workers_alike=True, epochs_alike=True)
    ),
    "split_shift": Example(
        {
            "warning": Evidence(data=data(validation=split("validation", channel_means=(0.0, 0.1, 0.4)))),
            "hint": Evidence(data=data(split(is_windowed=True), split("validation", channel_means=(0.0, 0.1, 0.4)))),
        },
        near=Evidence(data=data(validation=split("validation", channel_means=(0.0, 0.1, 0.34)))),
    ),
    "split_size": Example(
        {"hint": Evidence(data=data(validation=split("validation", shapes=((3, 33, 32),))))},
        near=Evidence(data=data(split(shapes=((3, 32, 32), (3, 48, 48))))),
    ),
    "mirrored": Example(
        {
            "warning": fact(mirrored_alone=("left and right", "[1]", 0.6)),
            "hint": Evidence(data=data(split(mirror_asymmetry=0.2), split("validation", mirror_asymmetry=0.41))),
        },
        near=Evidence(data=data(split(mirror_asymmetry=0.21), split("validation", mirror_asymmetry=0.41))),
    ),
    # loss
    "metric_wrong": Example(
        {
            "error": Evidence(metric=metric(0.4002)),
            "warning": Evidence(metric=metric(0.4002, measure="unknown")),
            "hint": Evidence(metric=metric(0.4, asked_as="as classes")),
        },
        near=Evidence(metric=metric(0.40009, asked_as="as classes", raises=True)),
    ),
    "softmax_twice": Example(
        {"error": Evidence(probe=probed(outputs_are_probabilities=True, loss=2.301, cross_entropy=2.3))},
        near=Evidence(probe=probed(outputs_are_probabilities=True, loss=2.304, cross_entropy=2.3)),
    ),
    "head_width": Example(
        {
            "warning": Evidence(probe=probed(num_logits=20), num_classes=10),
            "hint": Evidence(probe=probed(num_logits=19), num_classes=10),
        },
        near=Evidence(probe=probed(num_logits=10), num_classes=10),
    ),
    "sum_for_mean": Example(
        {
            "warning": Evidence(probe=probed(loss=2.4 * 64.5)),
            "hint": Evidence(probe=probed(loss=2.4 * 64), steps=steps([64 * x for x in FALLING]), num_classes=10),
        },
        near=Evidence(probe=probed(loss=2.4 * 65)),
    ),
    "loss_divided": Example(
        {
            "warning": Evidence(probe=probed(loss=1.2, cross_entropy=2.4)),
            "hint": Evidence(steps=steps([x / 2.03 for x in FALLING]), num_classes=10),
        },
        near=Evidence(steps=steps([x / 2.05 for x in FALLING]), num_classes=10),
    ),
    "recurrent_gain": Example(
        {
            "warning": fact(recurrence=("lstm", 5.0)),
            "hint": dataclasses.replace(fact(kept_by_gates=("lstm", 0.1)), steps=steps(FALLING), num_classes=10),
        },
        near=fact(recurrence=("lstm", 4.9)),
    ),
    "loss_at_start": Example(
        {
            "warning": Evidence(probe=probed(cross_entropy=20.1 * CHANCE, loss=20.1 * CHANCE)),
            "hint": Evidence(probe=probed(cross_entropy=4.61, loss=4.61)),
        },
        near=Evidence(probe=probed(cross_entropy=4.6, loss=4.6)),
    ),
    # outputs
    "batch_leakage": Example(
        {"warning": Evidence(probe=probed(leakage=1.1e-3)), "hint": fact(along_batch="gru", maybe_steps_first=True)},
        near=Evidence(probe=probed(leakage=0.9e-3)),
    ),
    "collapsed_output": Example(
        {"warning": rehearsed(60, reference=spread(0.009))},
        near=rehearsed(60, reference=spread(0.011)),
    ),
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
    "long_momentum": Example(
        {
            "warning": Evidence(optimizer=dataclasses.replace(SGD, momentum=0.9951)),
            "hint": Evidence(optimizer=dataclasses.replace(SGD, momentum=0.9951), **LEARNED),
        },
        near=Evidence(optimizer=dataclasses.replace(SGD, momentum=0.9949)),
    ),
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
            "error": unmoved(3),
            "warning": Evidence(optimizer=dataclasses.replace(SGD, unmanaged=("head.weight",))),
            "hint": Evidence(optimizer=dataclasses.replace(SGD, frozen=("stem.weight",))),
        },
        near=unmoved(2),
    ),
    "unusable_setting": Example(
        {"error": Evidence(optimizer=OptimizerSettings(name="SGD", lr=math.nan, unusable="learning rate is nan"))},
        near=Evidence(optimizer=OptimizerSettings(name="SGD", lr=0.0)),
    ),
    "zero_rate": Example(
        {"error": rehearsed(3, rates=(0.0, 0.0, 0.0)), "hint": rehearsed(3, zero_rate=("0.weight",))},
        near=rehearsed(3, rates=(0.0, 0.0, 1e-9)),
    ),
    "kept_state": Example({"warning": fact(kept_state=29)}, near=fact()),
    "lr_schedule": Example(
        {"error": Evidence(steps=steps(FALLING, lr=0.01, expected_lr=0.01002))},
        near=Evidence(steps=steps(FALLING, lr=0.01, expected_lr=0.010005)),
    ),
    "accumulation": Example(
        {
            "warning": Evidence(steps=(*steps(FALLING[:1], micro_batches=3), *steps(FALLING, micro_batches=2)[1:])),
            "hint": undivided_sum(),
        },
        near=Evidence(steps=(*steps(FALLING[:1], micro_batches=1), *steps(FALLING, micro_batches=2)[1:])),
    ),
    # processes
    "unreduced_parameter": Example({"error": processes(unreduced=("spare.weight",))}, near=processes(beside())),
    "unsynchronised": Example(
        {
            "error": processes(beside(lrs=(0.1, 0.1002))),
            "warning": processes(outside=("head.weight",)),
            "hint": processes(beside(**APART), wrapper=None),
        },
        near=processes(
            beside(
                lrs=(0.1, 0.10009),
                gradient_norms=(1.0, 0.9991),
                step_gradient_norms=(1.0, 0.9991),
                clip_ratios=(0.5, 0.491),
                weights_distance=0.9e-4,
                update_distance=0.9e-2,
            )
        ),
    ),
    "local_clipping": Example(
        {"warning": processes(beside(between_ratios=(0.5, 0.52)))}, near=processes(beside(between_ratios=(0.5, 0.509)))
    ),
    "same_batches": Example(
        {"warning": processes(beside(1, **BOTH), beside(3, **BOTH)), "hint": processes(beside(1, **BOTH))},
        near=processes(beside(1, **BOTH), beside(3)),
    ),
    # clip
    "clip_dropped": Example(
        {
            "error": clipped_then_not(5),
            "warning": clipped_then_not(5, loss=1.0),
            "hint": rehearsed(vain_clip=("after", 1.0)),
        },
        near=clipped_then_not(4),
    ),
    "clipping": Example(
        {
            "warning": rehearsed(reference=STILL).merge(Evidence(probe=clipped(0.009))),
            "hint": mostly_clipped(95),
        },
        near=mostly_clipped(94),
    ),
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
    "exploding_gradient": Example(
        {
            "error": seen((layer(update_ratio=1.1),), steps=steps(FLAT[:30])),
            "warning": seen(
                (layer("a", update_ratio=1.1), layer("b", update_ratio=1.1)), steps=steps([FALLING[0], 3.0, *FALLING[2:30]])
            ),
            "hint": seen((layer(update_ratio=1.1),), steps=steps(FALLING[:30])),
        },
        near=seen((layer(update_ratio=0.9),), steps=steps(FLAT[:30])),
    ),
    "vanishing_gradient": Example(
        {"warning": seen(faint(0.9e-6)), "hint": seen(faint(0.9e-6), optimizer=ADAM)}, near=seen(faint(1.1e-6))
    ),
    "underflow": Example(
        {"warning": Evidence(probe=probed((layer(underflow_fraction=0.51),), precision="float16"))},
        near=Evidence(probe=probed((layer(underflow_fraction=0.5),), precision="float16")),
    ),
    "update_ratio": Example(
        {
            "warning": Evidence(samples=(sample(layers=(layer(update_ratio=0.9e-5),)),), steps=steps(FLAT[:100])),
            "hint": seen((layer(update_ratio=0.9e-5),)),
        },
        near=seen((layer(update_ratio=1.1e-5),)),
    ),
    # layers
    "saturation": Example(
        {
            "warning": seen((layer(activation="tanh", saturated_fraction=0.51), layer())),
            "hint": seen((layer(), layer(activation="tanh", saturated_fraction=0.51))),
        },
        near=seen((layer(activation="tanh", saturated_fraction=0.5), layer())),
    ),
    "dead_units": Example(  # 64 units: the limit is 0.5 + 1.5 / 8
        {
            "error": seen((layer(dead_fraction=1.0),)),
            "warning": seen((layer(dead_fraction=0.69),)),
            "hint": seen((layer(dead_fraction=0.69),), **LEARNED),
        },
        near=seen((layer(dead_fraction=0.68),)),
    ),
    "heavy_dropout": Example(
        {
            "error": fact(heavy_dropout=("drop",), dropout=1.0),
            "warning": fact(heavy_dropout=("drop",), dropout=0.95),
            "hint": dataclasses.replace(fact(heavy_dropout=("drop",), dropout=0.9), steps=steps(FALLING), num_classes=10),
        },
        near=fact(),
    ),
    "weights_decayed": Example({"warning": shrunk(0.049)}, near=shrunk(0.051)),
    "activation_scale": Example(
        {"hint": Evidence(probe=probed((layer(activation_rms=4.5),))), "warning": fact(sine_of=10.1)},
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
    "oscillation": Example({"error": swinging(2.8, 0.3), "hint": swinging(2.8, 0.3, rises=True)}, near=swinging(2.7, 0.3)),
    "loss_cliff": Example({"error": cliff(2.1, 2.1), "hint": cliff(2.1, 0.5)}, near=cliff(2.0, 2.0)),
    "plateau": Example({"error": resting(300), "warning": resting(100)}, near=resting(99)),
    # evaluations
    "random_evaluation": Example(
        {
            "warning": fact(evaluation_noise=2e-4, noise_source="dropout"),
            "hint": fact(evaluation_noise=2e-4, noise_source="random"),
        },
        near=fact(evaluation_noise=1e-4, noise_source="dropout"),
    ),
    "evaluation_told": Example(
        {"error": told(0.9925, 0.9), "warning": told(12.5, 0.125), "hint": told(0.13, 0.125)}, near=told(0.1253, 0.125)
    ),
    "evaluation_path": Example(
        {"warning": low_loss(0.26), "hint": slow_norm(400)},
        near=slow_norm(900),
    ),
    "constant_as_good": Example(
        {"warning": beside_the_mean(1.91, 300), "hint": beside_the_mean(1.91, 299)}, near=beside_the_mean(1.89, 300)
    ),
    "prediction_collapse": Example(
        {"warning": Evidence(evaluations=evaluations(0.0, collapse=0.49))},
        near=Evidence(evaluations=evaluations(0.0, collapse=0.51)),
    ),
    "overfit": Example({"warning": gaps(0.1, 0.2, 0.31), "hint": gaps(0.01, 0.05, 0.11)}, near=gaps(0.01, 0.05, 0.09)),
    # experiments
    "confirmed_change": Example({"error": tried("trains")}, near=tried("faster")),
}
