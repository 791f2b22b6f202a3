"""Codes of a rule beside its first: evidence that earns each, and evidence just short of it."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pytest
from rule_examples import (
    ADAM,
    CHANCE,
    FALLING,
    FLAT,
    SGD,
    STILL,
    against,
    beside_the_mean,
    data,
    distilled,
    fact,
    graph,
    layer,
    ordered,
    probed,
    rehearsed,
    sample,
    seen,
    split,
    steps,
    warming,
    written_to,
)

from trainability.doctor import diagnose
from trainability.doctor.audit_results import AddedNoise, Relation, TargetOrder
from trainability.doctor.evidence import Evaluation, Evidence, OptimizerSettings, Sample
from trainability.doctor.facts import Facts, LossGraph, Unreached
from trainability.doctor.graph_facts import LoneWord, MisreadHeads
from trainability.doctor.held_out_seen import HeldOutSeen
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.opponents import IdleLoss
from trainability.doctor.pair_facts import Company, KeptTargets, Misaligned, OwnPairs, PairForces, PairRelation, Pulls
from trainability.doctor.plateau_calls import PlateauCall, PlateauCalls
from trainability.doctor.readings import (
    AffineWhole,
    BehindPadding,
    ChangingWords,
    Circular,
    CodeSpread,
    EmptyTerm,
    ExchangedClasses,
    FilledEnds,
    GivenTwice,
    LevelBlind,
    MisreadEdges,
    NamedValues,
    NeighbourSums,
    OrderPooled,
    OwnPlaces,
    Readings,
    SameWithin,
    SeriesAhead,
    ShiftedLabels,
    ShortLength,
    ShrunkInput,
    Sliding,
    TurnedApart,
)
from trainability.doctor.rehearsed import (
    AddedInClosure,
    Clipped,
    CriticalStep,
    DecayTried,
    LatePeak,
    LeftStatistics,
    Observation,
    OtherRate,
    Rehearsal,
    RehearsedStep,
    Task,
    UnwrittenStatistics,
)
from trainability.doctor.rules.catalogue import RULES


def along(multiple: float) -> CriticalStep:
    """An update along which the loss rises from that multiple of it on."""
    return CriticalStep(
        multiple=multiple,
        loss_before=1.0,
        loss_after=1.0,
        lowest_loss=1.0,
        resolution=1e-7,
        update_norm=1e-3,
        num_evaluations=6,
    )


def multiplied(base: float, factor: float) -> Evidence:
    """A schedule whose function gives no more than that factor of the base rate."""
    return Evidence(optimizer=dataclasses.replace(ADAM, lr=base * factor, base_lr=base, largest_factor=factor))


def plateau(mode: str, *, is_epoch: bool = False) -> Evidence:
    """Epochs of ten steps whose loss falls, and a scheduler that is given it, or the epoch's number, and halves the rate."""
    losses, calls = [2.0 * 0.8**k for k in range(6)], []
    is_worse = mode == ("min" if is_epoch else "max")
    for epoch, loss in enumerate(losses):
        before = 0.5 ** max(epoch - 1, 0) if is_worse else 1.0
        after = 0.5**epoch if is_worse else 1.0
        calls.append(PlateauCall(step=10 * (epoch + 1), value=epoch if is_epoch else loss, before=before, after=after))
    settings = dataclasses.replace(ADAM, plateau=PlateauCalls(mode=mode, calls=tuple(calls)))
    return Evidence(steps=steps([loss for loss in losses for _ in range(10)]), optimizer=settings)


def named(rehearsed_to: float, *, loss: float | None = None, is_alone: bool = False) -> Evidence:
    """Codes that are taken for amounts, a sequence or one an example, a rehearsal, and a run.

    The rehearsal came to so much of a loss that is 1.6 for one answer.
    """
    found = NamedValues(
        place="[0]",
        layer="conv",
        num_examples=1000,
        num_values=255,
        z=300.0,
        like_neighbours=0.05,
        told_by_name=0.8,
        told_by_size=0.2,
    )
    looks = tuple(Observation(step=s, loss=x) for s, x in ((0, 3.0), (60, rehearsed_to)))
    tried = rehearsed(60, reference=looks, task=Task(kind="classification", chance=1.6))
    facts = Facts(loss=1.6, output_rms=1.0, readings=Readings(numbered=found) if is_alone else Readings(named=found))
    return dataclasses.replace(tried, facts=facts, steps=steps([loss] * 200) if loss is not None else ())


def noised(noise: float) -> Evidence:
    """Training examples with so much noise, and validation's without it."""
    return Evidence(data=data(added_noise=AddedNoise(num_examples=32, num_draws=4, share=0.99, noise=noise, spread=0.5)))


def changing(far: float, *, error: float = 0.01, z: float = 20.0) -> Evidence:
    """Words whose agreement with classes is so much weaker in examples that are far apart."""
    seen = ChangingWords(num_examples=4000, block=200, z=z, far=far, error=error)
    return fact(readings=Readings(changing=seen))


def crawling(eps: float, multiple: float = 2e4) -> Evidence:
    """Gradients of 0.01, an eps, and updates that may be that many times as long."""
    still = tuple(Observation(step=5 * i, loss=1.0) for i in range(7))
    seen = rehearsed(reference=still, critical=((1, along(multiple)), (5, along(multiple))))
    facts = Facts(eps=eps, output_rms=1.0, loss=1.0)
    looked = probed(tuple(layer(f"l{i}", kind="linear", gradient_rms=0.01) for i in range(3)), optimizer=ADAM)
    return dataclasses.replace(seen, facts=facts, probe=looked)


def above_constant(first: float, last: float) -> Evidence:
    """A regression whose best constant answer costs 1."""
    task = Task(kind="regression", loss="mse_loss", target="[1]", chance=1.0)
    return rehearsed(reference=(Observation(step=0, loss=first), Observation(step=30, loss=last)), task=task)


def too_slow(ratio: float) -> Evidence:
    """At chance after 100 rehearsed steps that could be a million times as long, and move the typical layer by this ratio."""
    looks = tuple(Observation(step=k, loss=2.303 - 1e-5 * k) for k in range(0, 101, 10))
    seen = rehearsed(reference=looks, task=Task(kind="classification", loss="cross_entropy", target="[1]", chance=2.3))
    assert seen.rehearsal is not None
    step = dataclasses.replace(along(1e6), update_ratios=(("0.weight", ratio), ("2.weight", ratio)))
    critical = tuple((k, step) for k in (0, 50, 99))
    return dataclasses.replace(seen, rehearsal=dataclasses.replace(seen.rehearsal, critical=critical))


def rounded_away(share: float, *, loss: float = 2.0) -> Evidence:
    """New weights in bfloat16, of which the rehearsed steps leave this share as it is; the best constant answer costs 2.3."""
    looks = tuple(Observation(step=10 * k, loss=2.3 if k < 3 else loss) for k in range(4))
    critical = tuple((k, dataclasses.replace(along(10.0), unmoved_fraction=share)) for k in (1, 5, 15, 30))
    task = Task(kind="classification", loss="cross_entropy", target="[1]", chance=2.3)
    found = rehearsed(reference=looks, critical=critical, task=task, rounds_steps=True)
    return dataclasses.replace(found, facts=Facts(low_precision="bfloat16", readings=Readings(is_new=True)))


def decay_tried(without: float) -> Evidence:
    """A loss of 0.4 under a decay of 5, what it is without that, and a best constant answer's cost of 1."""
    tried = DecayTried(share=0.05, steps=200, loss=0.4, without=without, constant_loss=1.0)
    settings = OptimizerSettings(name="AdamW", lr=0.01, weight_decay=5.0)
    return dataclasses.replace(rehearsed(decay_tried=tried), optimizer=settings)


def left_behind(mean_square: float) -> Evidence:
    """An average that is evaluated with the statistics of its start."""
    left = LeftStatistics(name="model.ema", twin="model.net", count=2, mean_square=mean_square, in_loss=False)
    return rehearsed(left_statistics=left)


def summed_over_neighbours(gain: float) -> Evidence:
    """The same of a graph network whose sums multiply the signal by so much."""
    return dataclasses.replace(
        above_constant(10.1, 2.1), facts=Facts(readings=Readings(neighbour_sums=NeighbourSums(count=3, gain=gain)))
    )


def stays_far(multiple: float, last: float = 19.9) -> Evidence:
    """The same from 20 on, with steps that could be so many times as long."""
    seen = above_constant(20.0, last)
    assert seen.rehearsal is not None
    critical = tuple((step, along(multiple)) for step in (0, 15, 29))
    return dataclasses.replace(seen, rehearsal=dataclasses.replace(seen.rehearsal, critical=critical))


def left_open(multiple: float = 150.0, *, scale: float = 1000.0, other: float = 0.29) -> Evidence:
    """A loss of an unknown kind that stays at the best constant answer's cost of 1, and what another rate comes to."""
    looks = (Observation(step=0, loss=2.0), Observation(step=30, loss=0.95))
    tried = OtherRate(scale=scale, reference=(Observation(step=0, loss=2.0), Observation(step=30, loss=other)))
    critical = tuple((step, along(multiple)) for step in (1, 15, 29))
    return rehearsed(reference=looks, constant_loss=1.0, remedy_rates=(tried,), critical=critical)


def at_size(last: float) -> Evidence:
    """The same with outputs whose size goes from 1 to this."""
    seen = above_constant(10.1, 2.1)
    looks = (Observation(step=0, loss=10.1, output_rms=1.0), Observation(step=30, loss=2.1, output_rms=last))
    assert seen.rehearsal is not None
    return dataclasses.replace(seen, rehearsal=dataclasses.replace(seen.rehearsal, reference=looks))


def unbent(last: float) -> Evidence:
    """A model that is affine as a whole, and whose loss falls from 1 to this."""
    seen = rehearsed(reference=(Observation(step=0, loss=1.0), Observation(step=30, loss=last)))
    readings = Readings(affine=AffineWhole(layers=("one", "two"), gap=1e-6, mixed=0.5))
    return dataclasses.replace(seen, facts=Facts(has_nonlinearity=True, readings=readings))


def target_order(explained: float, by_chance: float = 0.03) -> TargetOrder:
    """Twenty batches of 32 numbers between -1 and 1."""
    return TargetOrder(
        num_batches=20, num_examples=640, explained=explained, by_chance=by_chance, lowest=-1.0, highest=1.0, first_mean=-0.95
    )


def in_order(explained: float, by_chance: float = 0.03, target_mean: float = -0.95) -> Evidence:
    """The same in a training loader, and the mean of what the loss takes."""
    train = split(label_counts=(), target_order=target_order(explained, by_chance))
    return Evidence(data=data(train), facts=Facts(target_mean=target_mean))


def by_sampler(recurrence: tuple[str, float] | None) -> Evidence:
    """The same in the order of a sampler, and a model that has a recurrent layer or none."""
    train = split(label_counts=(), target_order=dataclasses.replace(target_order(0.9), along="sampler"))
    return Evidence(data=data(train), facts=Facts(target_mean=-0.95, recurrence=recurrence))


def in_steps_of_a_loop(explained: float, *, keeps: bool) -> Evidence:
    """The same in the sampled steps of a loop, whose model keeps rows from batch to batch or not."""
    readings = Readings(sorted_targets=target_order(explained), keeps_rows=keeps)
    return Evidence(steps=steps([1.0] * 40), facts=Facts(readings=readings))


def by_place(others: float, local: float = 0.3) -> Evidence:
    """Masks that what is about a place explains by that much, and another example's image by this."""
    return Evidence(relation=Relation(num_examples=200, z=1.0, local=local, local_of_others=others))


def in_steps(coarse: tuple[int, float, int] | None) -> Evidence:
    """A table whose column is large, and holds that many values or many."""
    return Evidence(data=data(split(shapes=((1,),), channel_means=(116.0,), channel_stds=(87.0,), coarse=coarse)))


def held_out(examples: int) -> Evidence:
    """Validation of so many examples, whose third channel has a mean 0.53 standard deviations higher."""
    return Evidence(data=data(validation=split("validation", channel_means=(0.0, 0.1, 0.4), num_images=examples)))


def first_states(is_a_policy: bool) -> Evidence:
    """A first batch whose numbers lie within 0.1 of zero, and a step that draws by its own outputs, or none."""
    return fact(input_mean=0.0, input_std=0.04, draws_own=is_a_policy)


def windows(loss: float, outside: float = 0.06) -> Evidence:
    """A run that rests at a loss, of windows that are scaled one by one and targets of variance 2, so many outside [0, 1]."""
    seen = graph("distance", own_scale="extremes", target_outside_unit=outside)
    return dataclasses.replace(beside_the_mean(loss, 300), facts=seen.facts)


def imbalanced(*, weighs: bool) -> Evidence:
    """Nine in ten of three classes are of one, and the loss weighs them or not."""
    return dataclasses.replace(fact(weighs_examples=weighs), data=data(split(label_counts=(900, 50, 50))))


def planned(steps: int) -> Evidence:
    """250 steps of a run of that length, at the cost of the mean."""
    return dataclasses.replace(beside_the_mean(1.91, 250), optimizer=dataclasses.replace(SGD, planned_steps=steps))


def seldom(share: float, *, classes: int = 0) -> Evidence:
    """A run at the cost of one answer, of marks that are seldom true, or of classes of which one has all but this share."""
    rest = share * math.log(share / max(classes - 1, 1)) + (1 - share) * math.log(1 - share)
    loss = "cross_entropy" if classes else "binary_cross_entropy_with_logits"
    task = Task(kind="classification", loss=loss, target="[1]", num_classes=classes or None, chance=-rest)
    return Evidence(steps=steps([-rest] * 400), num_classes=classes or None, rehearsal=Rehearsal(steps=(), task=task))


def marked(*, binary: bool, **fields) -> Evidence:
    """Targets of 0.0 and 1.0, of which all that were read are 0.0."""
    one_class = {"num_classes": 1, "changes": 0, "expected_changes": 0.0, **fields}
    order = ordered(20, **one_class).data
    assert order is not None
    train = split(order=order.train.order, label_counts=(), target_mean=0.0, target_variance=0.0)
    loss = "binary_cross_entropy_with_logits" if binary else "mse_loss"
    return Evidence(data=data(train), facts=Facts(task_loss=loss, output_rms=1.0))


def streamed(one_class: int) -> Evidence:
    """A watched loop on twenty batches of a stream, of which so many are of one class."""
    audit = ordered(one_class, is_stream=True).data
    assert audit is not None
    return Evidence(steps=steps([CHANCE] * 40), facts=Facts(readings=Readings(streamed=audit.train.order)), num_classes=10)


def raised(last: float, limit: float = 1e-3) -> Evidence:
    """A rehearsal whose gradients are clipped, and whose loss falls so far with a higher threshold."""
    followed = CriticalStep(
        multiple=1e3, loss_before=1.0, loss_after=1.0, lowest_loss=0.5, resolution=0.0, update_norm=1.0, num_evaluations=5
    )
    own, tried = (tuple(Observation(step=step, loss=loss) for step, loss in ((0, 1.0), (100, end))) for end in (0.98, last))
    clipped = Clipped(limit=limit, norm=0.3, tried=tried)
    return rehearsed(100, reference=own, critical=((1, followed),), clipped=clipped).merge(Evidence(optimizer=SGD))


def peaked(own: float, spread: float = 0.0, control: float = 0.1) -> Evidence:
    """A rehearsal that learns, and its whole schedule with half of the peak, and a tenth, which end so."""
    ends = ((1 / 2, own, spread), (0.1, control, 1.0))
    trials = tuple(
        OtherRate(
            scale=scale,
            schedule_steps=9,
            reference=tuple(
                Observation(step=step, loss=loss if step else CHANCE, output_rms=1.0, output_spread=apart if step else 1.0)
                for step in range(0, 101, 10)
            ),
        )
        for scale, loss, apart in ends
    )
    peak = LatePeak(step=300, rate=0.5, schedule="OneCycleLR", length=1000, trials=trials)
    task = Task(kind="classification", loss="cross_entropy", chance=CHANCE, floor=0.0)
    return rehearsed(30, task=task, late_peak=peak, reference=trials[1].reference)


def quiet_players(shrink: float) -> Evidence:
    """Two networks in one model, of which the first makes its signal smaller from layer to layer, by this factor."""
    layers = [
        LayerStats(name=f"{part}.{k}", kind="linear", activation_rms=rms**k, gradient_rms=1e-3, weight_rms=0.02)
        for part, rms in (("maker", shrink), ("critic", 0.9))
        for k in range(6)
    ]
    run = Evidence(steps=steps([0.7] * 60), samples=(Sample(step=1, layers=tuple(layers)),))
    return run.merge(Evidence(facts=Facts(opposed=True)))


def upright(last: float) -> Evidence:
    """Points of which the second coordinate spreads most in training, and the third in validation."""
    train = split(axes=((0.6, 0.01), (0.9, 0.01), (0.6, 0.01)))
    return Evidence(data=data(train, split("validation", axes=((0.6, 0.01), (0.6, 0.01), (last, 0.01)))))


def unwritten(evaluation: float) -> Evidence:
    """Steps that take the loss from 2.3 to 1; with a module of the user's in evaluation mode it is another."""
    found = UnwrittenStatistics(module="norm", kind="Normed", count=2, training=1.0, evaluation=evaluation)
    looks = tuple(Observation(step=s, loss=x) for s, x in ((0, 2.3), (30, 1.0)))
    return rehearsed(reference=looks, unwritten=found)


def labelled_apart(loss: float) -> Evidence:
    """Labels of the next step, and what sixty steps leave of the loss."""
    found = ShiftedLabels(given="[0]", target="[1]", by=1, sees_earlier=False, told=0.9, own=0.0, places=4000, cost=2.0)
    looks = (Observation(step=0, loss=2.1), Observation(step=60, loss=loss))
    return dataclasses.replace(rehearsed(reference=looks), facts=Facts(readings=Readings(shifted=found)))


def side_by_side(z: float = 0.5, *, loss: float = 2.3, plain: bool = True, held_out: float | None = None) -> Evidence:
    """Pairs of two inputs, and a rehearsal of a hundred steps that come to so much."""
    pairs = PairRelation(one="[0]", other="[1]", num_examples=600, z=z, is_plain=plain, constant_loss=2.3, held_out_z=held_out)
    made = rehearsed(100).rehearsal
    assert made is not None
    tried = dataclasses.replace(made, steps=tuple(dataclasses.replace(step, loss=loss) for step in made.steps))
    return Evidence(rehearsal=tried, facts=Facts(pair_relation=pairs))


def memorised(first: float) -> Evidence:
    """A run over such pairs, 60 batches of them, whose loss stays so high for one pass and falls to nothing after that."""
    pairs = PairRelation(one="[0]", other="[1]", num_examples=600, z=0.5, is_plain=True, constant_loss=2.3, num_batches=60)
    losses = [2.3] * 40 + [first] * 20 + [2.0 - 0.01 * i for i in range(150)]
    return Evidence(facts=Facts(pair_relation=pairs), steps=steps(losses), samples=(sample(1),))


def of_two(distance: float) -> Evidence:
    """Two optimizers that play against each other, of which one moved what it holds by this share."""
    return rehearsed(unmoved=("maker.weight",), num_parameters=4, opposed=True, distances=(distance, 0.3))


def falling(slope: float, count: int = 400) -> Evidence:
    """A loss that begins at 5 and falls by as much at each step."""
    return Evidence(steps=steps([5.0 - slope * i for i in range(count)]))


def returning(lowest: float) -> Evidence:
    """A loss at chance that was lower for forty steps."""
    losses = [CHANCE + 0.01 * (i % 3 - 1) for i in range(400)]
    return Evidence(steps=steps([*losses[:60], *[lowest] * 40, *losses[100:]]), num_classes=10)


def made(last: float, z: float = 1.0) -> Evidence:
    """Targets that the step makes, with no relation to what the model is given, and a loss that begins at 1."""
    seen = rehearsed(60, reference=(Observation(step=0, loss=1.0), Observation(step=60, loss=last)))
    return dataclasses.replace(seen, facts=Facts(made_relation=(256, z), output_rms=1.0))


def exchanged(second: float) -> Evidence:
    """Adam whose beta1 is 0.99, in a run that learns."""
    settings = dataclasses.replace(ADAM, betas=(0.99, second))
    return Evidence(optimizer=settings, steps=steps(FALLING), num_classes=10)


UNREACHED = fact(unreached=(Unreached(name="net.0.weight", reason="detached"),))
UNREACHED_BIAS = fact(unreached=(Unreached(name="net.0.bias", reason="detached"),))


def moving(step: int, size: float) -> Sample:
    """A sampled step in which a layer that the first loss does not reach has weights of this size."""
    return sample(step, (layer("net.0", weight_rms=size, gradient_rms=None), layer("net.2")))


def died(first: float) -> Evidence:
    """Units that die in training, behind a first layer whose gradient was this before the first step; the last's was 1."""

    def layers(dead: float) -> tuple:
        return layer("0", gradient_rms=first), layer("2", dead_fraction=dead), layer("4", gradient_rms=1.0)

    return Evidence(
        samples=tuple(sample(step, layers(0.5 if step == 1 else 0.9)) for step in (1, 21, 41)), steps=steps([1.0] * 41)
    )


def far_off(first: float) -> Evidence:
    """A loss of no known kind that is near 1 from the fifth rehearsed step on."""
    return rehearsed(reference=tuple(Observation(step=5 * i, loss=1.0 if i else first) for i in range(9)))


def sure_and_wrong(error: float, *, train: float = 0.1, last: float = 3.5) -> Evidence:
    """A training loss that has come down to this, and a validation loss that has risen to that."""
    told = [Evaluation(step=60 * (i + 1), split="validation", loss=x, top1_error=error) for i, x in enumerate((2.0, 2.6, last))]
    losses = [CHANCE + (train - CHANCE) * min(1.0, step / 100) for step in range(200)]
    return Evidence(steps=steps(losses), evaluations=tuple(told), num_classes=10)


def paired(further: float, nearer: float = 1.9) -> Evidence:
    """A loss that pulls pairs together which are that surely further apart in one direction."""
    pulls = Pulls(num_pulled=100, num_pushed=100, apart_pulled=1.0, apart_pushed=1.0, z=0.0)
    return fact(pulls=dataclasses.replace(pulls, further_z=further, nearer_z=nearer))


def read_behind(left: float) -> Evidence:
    """A rehearsal that leaves this share of the first loss, of a model that reads its last step behind padding."""
    looks = (Observation(step=0, loss=1.0), Observation(step=60, loss=left))
    known = BehindPadding(share=0.6, steps=20, told_by="[1]")
    return rehearsed(60, reference=looks).merge(fact(drowned=1e-6, readings=Readings(behind_padding=known)))


def filled_up(**fields: bool) -> Evidence:
    """Targets of different lengths that end in zeros, which the loss counts."""
    ends = FilledEnds(target="['mass']", told_by="['mask']", value=0.0, share=0.4, sudden=True, shown=False)
    return fact(readings=Readings(filled_ends=dataclasses.replace(ends, **fields)))


def belonging(pushed: float, pulled: float = 0.0, nearer: float = 0.0) -> Evidence:
    """A loss that pushes pairs apart that are that surely nearer to each other than to others."""
    own = OwnPairs(pushed_z=pushed, pushed_share=0.1, pulled_z=pulled, nearer_z=nearer, pulled_there_z=-3.0)
    pulls = Pulls(num_pulled=100, num_pushed=100, apart_pulled=1.0, apart_pushed=1.0, z=0.0, own=own)
    return fact(pulls=pulls)


def hard(**fields: float) -> Evidence:
    """A loss that pulls pairs together which are further apart, and pushes pairs apart that belong together."""
    plain = {"pushed_z": 6.1, "pushed_share": 0.1, "pulled_z": 0.0, "nearer_z": 0.0, "pulled_there_z": -3.0}
    own = OwnPairs(**{**plain, **fields})
    return fact(pulls=Pulls(num_pulled=100, num_pushed=100, apart_pulled=1.2, apart_pushed=1.0, z=4.1, own=own))


def stepped(zero: tuple[str, ...]) -> Evidence:
    """Weights that do not move in front of a sign, with a gradient of exactly zero or not."""
    facts = Facts(flat_function="sign() in Net.forward", zero_gradient=zero)
    return dataclasses.replace(rehearsed(unmoved=("0.weight",), num_parameters=4), facts=facts)


def tabled(last: float) -> Evidence:
    """A table without a relation to its targets, and a loss that 50 steps take to that, of 1 for the best constant."""
    looks = tuple(Observation(step=10 * i, loss=1.2 if i == 0 else last) for i in range(6))
    seen = rehearsed(reference=looks, task=Task(kind="regression", loss="mse_loss", target="[2]", chance=1.0))
    return dataclasses.replace(seen, relation=Relation(num_examples=600, z=1.0, mixed=True))


PARTED = Misaligned(given="['words']", target="['label']", num_wrong=24, num_asked=32, row=0, made=5, held=3)


FORGOTTEN = dataclasses.replace(SGD, unmanaged=("head.weight",))


def behind_zeros(unmanaged: tuple[str, ...]) -> Evidence:
    """A head of zeros: it alone has a gradient, and the optimizer, which lacks what is named, finds none at any step."""
    looked = fact(zero_gradient=("stem.weight", "stem.bias"), num_gradients=4)
    settings = dataclasses.replace(SGD, unmanaged=unmanaged)
    return dataclasses.replace(rehearsed(norm=0.0, unmoved=unmanaged), facts=looked.facts, optimizer=settings)


def overflowing(rms: float) -> Evidence:
    """A run under Adam whose steps leave a layer as it is."""
    still = layer(gradient_rms=rms, update_ratio=0.0)
    return Evidence(optimizer=ADAM, samples=tuple(sample(i, layers=(still,)) for i in range(1, 5)))


def chosen(unmoved: tuple[str, ...]) -> Evidence:
    """An attention over one key, and what the rehearsal left unmoved."""
    looked = fact(zero_gradient=("query.weight", "query.bias"), num_gradients=6, graph=LossGraph(lone_softmax=True))
    return dataclasses.replace(rehearsed(unmoved=unmoved), facts=looked.facts)


def shrinking(last: float) -> Evidence:
    """Normalisations whose weights were drawn around zero, and the loss after 60 rehearsed steps from 2.3."""
    tried = rehearsed(60, reference=(Observation(step=0, loss=2.3), Observation(step=60, loss=last)))
    return dataclasses.replace(tried, facts=fact(drawn_norms=("norm",)).facts)


def broken(norms: tuple[float, ...]) -> Evidence:
    """A first step that moves a layer by 1.1 of its size, losses that fall, and gradients of those norms, then NaN."""
    seen = steps([3.0 - 0.1 * i for i in range(len(norms) + 1)])
    watched = tuple(dataclasses.replace(s, gradient_norm=n) for s, n in zip(seen, (*norms, math.nan), strict=True))
    lost = (dataclasses.replace(seen[-1], step=len(norms) + 2, loss=math.nan, gradient_norm=math.nan),)
    return Evidence(optimizer=SGD, steps=watched + lost, samples=(sample(1, layers=(layer(update_ratio=1.1),)),))


def blown(output_rms: float) -> Evidence:
    """Two layers whose budget is above the band, outputs of that size, and a loss of no known kind that becomes NaN."""
    looked = fact(output_rms=output_rms, target_rms=1.0, loss=1e3)
    tried = rehearsed().rehearsal
    assert tried is not None
    worse = dataclasses.replace(tried, steps=(*tried.steps, dataclasses.replace(tried.steps[-1], step=31, loss=math.nan)))
    two = (layer("a"), layer("b"))
    start = probed(two, log10_gain=2.8, cross_entropy=None, label_entropy=None, num_logits=0)
    return Evidence(probe=start, facts=looked.facts, rehearsal=worse)


def far_targets(last: float) -> Evidence:
    """Targets of rms 100 under a squared error, and a rehearsal whose last loss is that."""
    tried = rehearsed().rehearsal
    assert tried is not None
    ended = dataclasses.replace(tried, steps=(*tried.steps, dataclasses.replace(tried.steps[-1], step=31, loss=last)))
    return Evidence(facts=fact(target_rms=100.0, task_loss="mse_loss").facts, rehearsal=ended)


def behind(examples: float) -> Evidence:
    """A batch norm that keeps 0.7 of each batch, and statistics as uncertain as those of so many examples."""
    return fact(fast_statistics=("norm", 0.7), examples_behind=(3, examples))


def shared_norm(off: float) -> Evidence:
    """One batch norm in five places, and a run that has learned and names one class in its evaluation."""
    told = Evaluation(step=150, split="validation", predicted_class_entropy=0.3, label_entropy=2.3, model_training=False)
    return Evidence(
        facts=fact(shared_statistics=("norm", 5, off, "BatchNorm1d")).facts,
        steps=steps(FALLING),
        evaluations=(told,),
        num_classes=10,
    )


def folders(asked: int, *, outputs: int = 10, order: int = 576, known: int = 5, rare: int = 100) -> Evidence:
    """Training with the first classes of ten, two of them rare, and validation with 100 of each and as many of one more."""
    counts = (*(100,) * (known - 2), rare, rare)
    seen = ordered(changes=order).data
    assert seen is not None
    train = split(label_counts=counts, order=seen.train.order)
    held_out = split("validation", label_counts=(*(100,) * 5, asked))
    return Evidence(data=data(train, held_out, num_classes=None), probe=probed(num_logits=outputs))


def undone(last: float, *, kept: float = 0.3, loss: float = 1.0, learned: float | None = None) -> Evidence:
    """Outputs that differ between examples by half of their size, and by this after steps; at a tenth of the rate by that.

    With `learned`, they come to this in the last quarter alone, and the loss at a tenth of the rate to that.
    """

    def looks(end: float, loss: float) -> tuple[Observation, ...]:
        shares = ((0, 0.5), (20, 0.1), (40, 0.1), (50, end), (60, end)) if learned else ((0, 0.5), (40, end), (60, end))
        return tuple(Observation(step=s, loss=loss if s else 1.2, output_rms=1.0, output_spread=x) for s, x in shares)

    task = Task(kind="regression", loss="mse_loss", target="[1]", chance=1.0)
    smaller = OtherRate(scale=0.1, reference=looks(kept, learned or loss))
    return rehearsed(60, task=task, reference=looks(last, loss), other_rates=(smaller,))


def outdone(other: float, *, own: float = 1.1, scale: float = 0.1, multiple: float = 0.5) -> Evidence:
    """A loss that stays near the best constant answer's cost of 1, and what it comes to at another rate."""
    task = Task(kind="regression", loss="mse_loss", target="[1]", chance=1.0, floor=0.0)
    looks = tuple(Observation(step=s, loss=own if s else 1.2, output_rms=1.0, output_spread=0.5) for s in (0, 20, 40, 60))
    tried = OtherRate(scale=scale, reference=(*looks[:3], dataclasses.replace(looks[3], loss=other)))
    critical = tuple((step, along(multiple)) for step in (1, 30, 59))
    return rehearsed(60, task=task, reference=looks, critical=critical, other_rates=(tried,), remedy_rates=(tried,))


def swinging(momentum: float, *, last: float = 1.2, first: float = 51.0) -> Evidence:
    """A loss that swings above the best constant answer's cost of 1 under SGD with this momentum."""
    looks = tuple(Observation(step=10 * k, loss=x) for k, x in enumerate((3.0, 1.2, 1.4, 1.2, 1.4, 1.2, last)))
    critical = tuple((step, along(x)) for step, x in ((1, first), (30, 1.0), (59, 1.0)))
    task = Task(kind="regression", loss="mse_loss", target="[1]", chance=1.0, floor=0.0)
    seen = rehearsed(60, task=task, reference=looks, critical=critical)
    return dataclasses.replace(seen, optimizer=OptimizerSettings(name="SGD", lr=0.1, momentum=momentum))


def little_learned(share: float, num: int) -> Evidence:
    """A regression with dropout of 0.9 whose loss falls to a share of what the mean of the targets costs, and falls on."""
    losses = [2.0 * (share + 0.05 - 0.05 * k / num) for k in range(num)]
    return dataclasses.replace(
        beside_the_mean(1.0, num), steps=steps(losses), facts=Facts(heavy_dropout=("drop",), dropout=0.9)
    )


def rehearsed_with_dropout(last: float) -> Evidence:
    """Outputs that start far from all answers, with dropout of 0.9; a constant answer costs 1."""
    looks = tuple(Observation(step=step, loss=loss) for step, loss in ((0, 2.0), (30, 1.2), (60, last)))
    task = Task(kind="regression", loss="mse_loss", target="[1]", chance=1.0, floor=0.0)
    seen = rehearsed(60, task=task, reference=looks)
    return dataclasses.replace(seen, facts=Facts(heavy_dropout=("drop",), dropout=0.9))


def memorised_script(hits: float, *, passes: float = 10.0, training: float = 0.1, loss: float = 2.0) -> Evidence:
    """What a script's own evaluation pass shows of five classes."""
    seen = HeldOutSeen(
        step=500,
        num_examples=400,
        hits=hits,
        most_frequent=0.2,
        loss=loss,
        constant_loss=1.6,
        training_loss=training,
        passes=passes,
    )
    return fact(held_out=(dataclasses.replace(seen, step=400, passes=passes - 1), seen))


SHRUNK = ShrunkInput(layer="first", factor=1 / 255, given=0.001, loaded=0.25)


def at_their_limits(share: float, *, last: float = 0.6) -> Evidence:
    """Three tanh layers and a head, that share of them saturated before the first step, and a loss that falls to this."""
    layers = tuple(layer(f"l{i}", kind="linear", activation="tanh", saturated_fraction=share) for i in range(3))
    head = layer("head", kind="linear", activation=None)
    losses = [1.0 + (last - 1.0) * i / 299 for i in range(300)]
    return Evidence(samples=tuple(sample(step, (*layers, head)) for step in (1, 281)), steps=steps([*losses, *[last] * 20]))


def at_chance(losses: Sequence[float] = FLAT, **fields: Any) -> Evidence:
    """A watched run of ten classes, whose loss stays there."""
    return dataclasses.replace(fact(**fields), steps=steps(losses), num_classes=10)


def tried_on(std: float, *, last: float, mean: float = 0.0) -> Evidence:
    """A check of one channel of this spread, and a rehearsal of unknown chance whose loss came down to this."""
    looks = (Observation(step=0, loss=2.3), Observation(step=60, loss=last))
    rehearsal = Rehearsal(steps=(RehearsedStep(step=60, loss=last, optimizer_steps=1),), reference=looks, ended_by="steps")
    return Evidence(data=data(split(channel_means=(mean,), channel_stds=(std,))), rehearsal=rehearsal)


def at_limit(losses: Sequence[float]) -> Evidence:
    """A watched run of ten classes with a tanh layer that is at its limits."""
    full = layer("body", kind="linear", activation="tanh", saturated_fraction=0.9)
    return Evidence(samples=(sample(1, (full, layer("head"))),), steps=steps(losses), num_classes=10)


def compared_so(*, plain: bool = True, held_out: float | None = None, run: int = 0) -> Evidence:
    """Targets of training that have nothing to do with their inputs, what validation has, and a run at chance."""
    relation = Relation(num_examples=600, z=1.0, is_plain=plain, held_out_z=held_out)
    return Evidence(relation=relation, facts=Facts(), steps=steps([CHANCE] * run), num_classes=10 if run else None)


def thrown(ratio: float, rise: float) -> Evidence:
    """A run at chance whose first step moved both layers by that, and the loss by that factor."""
    moved = sample(1, (layer("body", update_ratio=ratio), layer("head", update_ratio=ratio)))
    return Evidence(samples=(moved, sample(51)), steps=steps([CHANCE, rise * CHANCE] + [CHANCE] * 300), num_classes=10)


def compared_with(*, z: float, unpaired: bool = False) -> Evidence:
    """So much more related to their own targets than to others, and a loss that may not ask which are whose."""
    return Evidence(relation=Relation(num_examples=600, z=z), facts=Facts(unpaired=unpaired))


def emptied(*, z: float) -> Evidence:
    """Examples that were scaled one by one, and so much more related to their own targets than to others."""
    seen = graph("distance", own_scale="deviation", target_outside_unit=0.5)
    return dataclasses.replace(compared_with(z=z), facts=seen.facts)


def empty_images(one_target: bool) -> Evidence:
    """A twentieth of the images are blank, whose targets are one or several."""
    return Evidence(data=data(split(blank_fraction=0.05, blank_target=one_target)))


def out_of_range(loss: str) -> Evidence:
    """Labels 0 to 10 of ten outputs, which rehearsed steps took."""
    tried = rehearsed(30, task=Task(kind="classification", loss=loss)).rehearsal
    return Evidence(data=data(split(label_min=0, label_max=10), num_classes=10), rehearsal=tried)


def under(settings: Any, **facts: Any) -> Evidence:
    """Facts of a program with this optimizer."""
    return dataclasses.replace(fact(**facts), optimizer=settings)


def stuck(settings: Any, **facts: Any) -> Evidence:
    """The same, where 60 rehearsed steps leave the loss at chance."""
    tried = rehearsed(60, reference=(Observation(step=60, loss=1.0),), task=Task(kind="regression", chance=1.0))
    return dataclasses.replace(under(settings, **facts), rehearsal=tried.rehearsal)


def added(settings: Any, **facts: Any) -> Evidence:
    """The same, in a run of 8 micro-batches a step whose loss was thrown far up, and has come back to chance."""
    losses = [CHANCE, 40 * CHANCE, *(CHANCE for _ in range(60))]
    return dataclasses.replace(under(settings, **facts), steps=steps(losses, micro_batches=8), num_classes=10)


def of_columns(now: float) -> Evidence:
    """A table with columns of one number, and where 60 rehearsed steps take the loss, of a chance of 1."""
    seen = Observation(step=60, loss=now)
    tried = rehearsed(60, reference=(seen,), task=Task(kind="regression", chance=1.0))
    return dataclasses.replace(tried, data=data(split(same_columns=((1, 0.0), (2, 1.0), (5, 1.0)))))


def of_filled(columns: tuple[tuple[int, float, float, float], ...]) -> Evidence:
    """A table with columns in which one number is far from all others, and a loss that stays high."""
    seen = Observation(step=60, loss=0.8)
    tried = rehearsed(60, reference=(seen,), task=Task(kind="regression", chance=1.0))
    return dataclasses.replace(tried, data=data(split(filled_columns=columns)))


CODES = {
    "update_ratio.peak": (peaked(CHANCE), peaked(0.97 * CHANCE)),
    "update_ratio.peak of answers that differ": (peaked(2.1 * CHANCE, 0.1), peaked(1.9 * CHANCE, 0.1)),
    "update_ratio.peak beside one that learns": (peaked(CHANCE, control=0.8 * CHANCE), peaked(CHANCE, control=0.95 * CHANCE)),
    "update_ratio.large at the first step": (thrown(0.31, 1.21), thrown(0.29, 1.21)),
    "update_ratio.large that raises the loss": (thrown(0.31, 1.21), thrown(0.31, 1.19)),
    "shuffled_labels.pairs": (side_by_side(), side_by_side(3.6)),
    "shuffled_labels.pairs that are learned": (side_by_side(), side_by_side(loss=2.1)),
    "shuffled_labels.pairs of words": (side_by_side(plain=False, held_out=8.1), side_by_side(plain=False, held_out=7.9)),
    "shuffled_labels.pairs of a run": (memorised(2.2), memorised(2.0)),
    "shuffled_labels.unrelated beside validation": (
        compared_so(plain=False, held_out=8.1),
        compared_so(plain=False, held_out=7.9),
    ),
    "shuffled_labels.unrelated of words and series": (compared_so(), compared_so(plain=False)),
    "shuffled_labels.unrelated of series in a run": (compared_so(plain=False, run=500), compared_so(plain=False, run=499)),
    "blank_images.augmentation": (empty_images(False), empty_images(True)),
    "label_conflict": (
        Evidence(data=data(label_conflict_fraction=0.1, copied_fraction=0.49)),
        Evidence(data=data(label_conflict_fraction=0.1, copied_fraction=0.5)),
    ),
    "label_range": (out_of_range("cross_entropy"), out_of_range("corn")),
    "update_ratio.large of outputs that come to nothing": (undone(0.9e-3), undone(1.1e-3)),
    "update_ratio.large of outputs that come to nothing at any rate": (undone(1e-4, kept=0.06), undone(1e-4, kept=0.04)),
    "update_ratio.large of outputs that come to the answer": (undone(1e-4, loss=0.96), undone(1e-4, loss=0.94)),
    "update_ratio.large of outputs that come to nothing late": (undone(1e-4, learned=0.79), undone(1e-4, learned=0.81)),
    "saturation": (at_their_limits(0.81), at_their_limits(0.79)),
    "saturation of what learns": (at_their_limits(0.9, last=0.51), at_their_limits(0.9, last=0.49)),
    "blank_images.cast": (
        Evidence(data=data(split(lone_fraction=0.95), label_conflict_fraction=0.2, class_signal_z=5.0)),
        Evidence(data=data(split(lone_fraction=0.95), label_conflict_fraction=0.2, class_signal_z=7.0)),
    ),
    "split_shift.axes": (upright(0.9), upright(0.61)),
    "split_shift.noise": (noised(12.0), Evidence(data=data())),
    "split_shift of few examples": (held_out(200), held_out(80)),
    "input_scale of a policy's first states": (
        at_chance(input_mean=0.0, input_std=0.04),
        at_chance(draws_own=True, input_mean=0.0, input_std=0.04),
    ),
    "input_scale of a run that learns": (
        at_chance(input_mean=40.0, input_std=9.0),
        at_chance(losses=FALLING, input_mean=40.0, input_std=9.0),
    ),
    "input_scale of a run that has not gone far": (
        at_chance(input_mean=40.0, input_std=9.0),
        at_chance(losses=FLAT[:99], input_mean=40.0, input_std=9.0),
    ),
    "input_scale of a rehearsal that learns": (tried_on(0.02, last=2.1), tried_on(0.02, last=2.0)),
    "input_scale of large ones, whose loss falls by itself": (
        tried_on(1.0, mean=12.0, last=2.0),
        tried_on(0.02, last=2.0),
    ),
    "saturation of a run that has not gone far": (at_limit(FLAT[:100]), at_limit(FLAT[:99])),
    "split_shift.classes": (folders(100), folders(0)),
    "split_shift.classes of few examples": (folders(27), folders(26)),
    "split_shift.classes beside rare ones": (folders(100, rare=20), folders(100, rare=19)),
    "split_shift.classes without an output": (folders(100, outputs=6), folders(100, outputs=5)),
    "split_shift.classes read in order": (folders(100, order=518), folders(100, order=517)),
    "unread_ends.backward": (fact(credited=("rewards", 0.98)), fact()),
    "wrong_sign.sure": (fact(sure_of_wrong=(1e-5, 0.2)), fact()),
    "wrong_sign.term": (fact(readings=Readings(turned_term=(0.99, 0.01))), fact()),
    "evaluation_path.last_batch": (behind(5.9), behind(6.1)),
    "evaluation_path.shared_norm": (shared_norm(1.26), shared_norm(1.24)),
    "untrained_parameter.unmanaged that the body writes itself": (
        dataclasses.replace(rehearsed(unmoved=("head.weight",)), optimizer=FORGOTTEN),
        dataclasses.replace(rehearsed(), optimizer=FORGOTTEN),
    ),
    "untrained_parameter.unmanaged behind zeros": (behind_zeros(("head.weight", "head.bias")), behind_zeros(())),
    "untrained_parameter.gradient_lost": (overflowing(1e-3), overflowing(math.inf)),
    "rate_dies": (
        rehearsed(planned_steps=300, rate_spent=(150, 0.0, 0.1)),
        rehearsed(planned_steps=300, rate_spent=(151, 0.0, 0.1)),
    ),
    "rate_dies.ends": (
        rehearsed(planned_steps=300, schedule_ends=120),
        rehearsed(planned_steps=300, schedule_ends=None),
    ),
    "rate_dies at a hundredth": (
        rehearsed(planned_steps=300, rate_spent=(150, 0.001, 0.1)),
        rehearsed(planned_steps=300, rate_spent=(151, 0.001, 0.1)),
    ),
    "rate_dies.factor": (multiplied(1e-3, 1e-3), multiplied(2.1e-2, 2.1e-2)),
    "rate_dies.factor of a small rate": (multiplied(1e-3, 7e-3), multiplied(1.0, 7e-3)),
    "rate_dies.mode": (plateau("max"), plateau("min")),
    "rate_dies.metric": (plateau("min", is_epoch=True), plateau("max", is_epoch=True)),
    "rate_dies in the first pass": (rehearsed(rates_of_pass=(200, 49.0, 9e-3)), rehearsed(rates_of_pass=(200, 51.0, 9e-3))),
    "rate_dies at its end": (rehearsed(rates_of_pass=(200, 49.0, 9e-3)), rehearsed(rates_of_pass=(200, 49.0, 1.1e-2))),
    "gain_budget_low.norms": (shrinking(2.1), shrinking(2.0)),
    "flat_loss.softmax_of_one": (chosen(("query.weight",)), chosen(())),
    "exploding_gradient": (broken((1.0, 1.1)), broken((1.0, 0.9))),
    "gain_budget_high": (blown(33.0), blown(31.0)),
    "target_scale": (far_targets(math.nan), far_targets(2.3)),
    "overfit.memorised": (memorised_script(0.6), memorised_script(0.61)),
    "overfit.memorised of few passes": (memorised_script(0.5), memorised_script(0.5, passes=9.0)),
    "overfit.memorised of a loss that falls": (memorised_script(0.5), memorised_script(0.5, training=0.2)),
    "overfit.memorised of answers that are not sure": (memorised_script(0.5), memorised_script(0.5, loss=1.5)),
    "overfit.loss": (sure_and_wrong(0.9), sure_and_wrong(0.7)),
    "overfit.loss of a loss that fell": (sure_and_wrong(0.9), sure_and_wrong(0.9, train=0.6)),
    "overfit.loss that rose above chance": (sure_and_wrong(0.9), sure_and_wrong(0.9, last=2.2)),
    "long_momentum.swings": (swinging(0.98), swinging(0.979)),
    "long_momentum.swings of a loss that falls": (swinging(0.99), swinging(0.99, last=0.99)),
    "long_momentum.swings of steps that are long at once": (swinging(0.99), swinging(0.99, first=49.0)),
    "long_momentum.betas": (exchanged(0.9), exchanged(0.995)),
    "loss_at_start.falls": (far_off(1.1e5), far_off(0.9e5)),
    "shuffled_labels.unrelated": (made(0.95), made(0.85)),
    "shuffled_labels.unrelated of related ones": (made(0.95), made(0.95, z=4.0)),
    "update_ratio.eps": (crawling(10.0), crawling(0.09)),
    "update_ratio.eps of short steps": (crawling(0.11, multiple=101.0), crawling(0.09, multiple=101.0)),
    "update_ratio.eps as steps are long": (crawling(10.0), crawling(10.0, multiple=100.0)),
    "long_warm_up of a schedule that is stepped once an epoch": (warming(0.09, at_once=50), warming(0.11, at_once=50)),
    "long_warm_up that has ended": (warming(0.09, at_once=20), warming(0.09, at_once=20, stays=20)),
    "wrong_sign.observed": tuple(
        fact(company=Company(num_pairs=900, pulled=50.0, pushed=60.0, pushed_too=(share, 0.2))) for share in (0.61, 0.59)
    ),
    "wrong_sign.observed of half of them": tuple(
        fact(company=Company(num_pairs=900, pulled=50.0, pushed=60.0, pushed_too=(share, 0.1))) for share in (0.51, 0.49)
    ),
    "unread_ends.drawn_again": (fact(drawn_again=True), fact()),
    "evaluation_path.never_written": (unwritten(2.01), unwritten(1.99)),
    "evaluation_path.no_statistics": (fact(no_statistics=("norm", 32, 8)), fact(no_statistics=("norm", 32, 9))),
    "constant_as_good.rare": (seldom(0.07), seldom(0.09)),
    "constant_as_good.rare of classes": (seldom(0.1, classes=4), seldom(0.15, classes=4)),
    "constant_as_good.regression at the end of a plan": (planned(250), planned(251)),
    "batch_leakage.normalised": (fact(over_examples=True), fact()),
    "capped_loss.temperature of cosines": (fact(cosine_scale=(0.5, 64)), fact(cosine_scale=(0.51, 64))),
    "capped_loss.temperature of few cosines": (fact(cosine_scale=(0.07, 4)), fact(cosine_scale=(0.3, 4))),
    "own_target.advantage": (fact(moves_critic=True), fact()),
    "wrong_sign.clip": (fact(takes_better=True), fact()),
    "target_broadcast.picked": (fact(picked_columns=32), fact()),
    "unreached_parameter.targets": (fact(readings=Readings(cut_targets=True)), fact()),
    "misread_heads.mask": (fact(readings=Readings(soft_mask=((4, 2, 8, 8), 0.4))), fact()),
    "label_range.several": (fact(wrong_argument=("cross_entropy", "several")), fact(wrong_argument=None)),
    "class_imbalance.twice": (fact(readings=Readings(balanced_twice=(9.0, 9.0))), fact()),
    "unreachable_target.limits": (
        fact(readings=Readings(limited=(-0.5, 0.5, 0.9, 0.8))),
        fact(readings=Readings(limited=(-0.5, 0.5, 0.9, 0.14))),
    ),
    "capped_loss.one_temperature": (fact(temperatures=(4.0, 1.0)), fact(temperatures=(1.0, 4.0))),
    "capped_loss.temperature": (distilled(40.0), distilled(41.0)),
    "capped_loss.kept": (fact(kept_by_flow=(2, 4)), fact(kept_by_flow=None)),
    "capped_loss.smoothing": (fact(wrong_argument=("cross_entropy", "smoothed")), fact(wrong_argument=None)),
    "wrong_sign.variance": (fact(wrong_argument=("gaussian_nll_loss", "deviation")), fact(wrong_argument=None)),
    "misread_logits.sequences": (fact(mixed_sequences=(3, 3)), fact(mixed_sequences=(2, 3))),
    "unreachable_target.relu": (fact(wanted_below=0.26, graph=LossGraph()), fact(wanted_below=0.24, graph=LossGraph())),
    "unreachable_target.one_sided": (graph("distance", out_of_reach=0.26), graph("distance", out_of_reach=0.24)),
    "wrong_sign.ctc": (fact(wrong_argument=("ctc_loss", "over_steps")), fact(wrong_argument=None)),
    "label_range of a script that failed": (fact(refused_label=("nll_loss", 3, 3)), fact(refused_label=None)),
    "label_range.signs": (fact(wrong_argument=("soft_margin_loss", "zeros")), fact(wrong_argument=None)),
    "label_range.signs of an own loss": (fact(readings=Readings(unread_zeros=1.0)), fact(readings=Readings())),
    "label_range.blank": (fact(wrong_argument=("ctc_loss", "blank")), fact(wrong_argument=None)),
    "loss_at_start.constant": (above_constant(10.1, 2.1), above_constant(10.1, 1.9)),
    "loss_at_start.constant that is left behind": (above_constant(100.0, 3.1), above_constant(100.0, 2.9)),
    "loss_at_start.constant of outputs that grow": (at_size(1.9), at_size(2.1)),
    "misread_edges.away": (fact(readings=Readings(edges_away=(40, 0.02))), fact()),
    "misread_edges.order": (fact(readings=Readings(node_order=0.2)), fact()),
    "identical_units.modules of one": (fact(readings=Readings(same_members=("members.0", "members.1"))), fact()),
    "loss_at_start.neighbours": (
        summed_over_neighbours(31.0),
        summed_over_neighbours(29.0),
    ),
    "loss_at_start.constant from near": (above_constant(10.1, 2.1), above_constant(9.9, 2.1)),
    "clipping.to_nothing raised": (raised(0.79), raised(0.81)),
    "clipping.to_nothing of little": (raised(0.5), raised(0.5, limit=4e-3)),
    "linear_stack as a whole": (unbent(0.26), unbent(0.24)),
    "sum_for_mean.beside_mean of a mean over a variance": (fact(code_price=(8.0, 64, 0.1)), fact(code_price=(8.0, 64, 0.6))),
    "class_order.targets": (in_order(0.51), in_order(0.49)),
    "class_order.targets beside what random order gives": (in_order(0.6), in_order(0.6, by_chance=0.16)),
    "class_order.targets of others than the loss takes": (in_order(0.99), in_order(0.99, target_mean=0.2)),
    "class_order.targets along a sampler": (by_sampler(None), by_sampler(("lstm", 1.0))),
    "class_order.targets of a loop": (in_steps_of_a_loop(0.99, keeps=False), in_steps_of_a_loop(0.99, keeps=True)),
    "class_order.stream": (ordered(10, is_stream=True), ordered(9, is_stream=True)),
    "class_order.stream of a loop": (streamed(10), streamed(9)),
    "class_order.one_class": (marked(binary=True), marked(binary=False)),
    "class_order.one_class of a few": (marked(binary=True), marked(binary=True, num_batches=9)),
    "unmoved_parameter.zero_gradient": (
        of_two(9e-6).merge(fact(zero_gradient=("maker.weight",))),
        of_two(9e-6).merge(fact(zero_gradient=("other.weight",))),
    ),
    "unmoved_parameter.rounding": (of_two(9e-6), of_two(0.0)),
    "unreachable_target.softplus": (
        graph("distance", "softplus", target_below_zero=0.06),
        graph("distance", "softplus", target_below_zero=0.04),
    ),
    "unreachable_target.sigmoid of more than noise": (
        graph("distance", "sigmoid", target_outside_unit=0.3, cut_to_unit=0.16),
        graph("distance", "sigmoid", target_outside_unit=0.04, cut_to_unit=0.16),
    ),
    "wrong_sign.endless": (falling(1.0), falling(0.3)),
    "foreign_optimizer.twice": (fact(shared=(6, 6)), fact()),
    "foreign_optimizer.last": (fact(passed_by=4), fact()),
    "foreign_optimizer.in_vain": (
        Evidence(facts=Facts(in_vain=True), steps_of_others=1200),
        Evidence(facts=Facts(), steps_of_others=1200),
    ),
    "sees_future.backward": (fact(shifted_by=-1), fact()),
    "sees_future.twice": (fact(shifted_by=2), fact()),
    "sees_future.fed": (fact(fed_answer=True), fact()),
    "sees_future.series": (
        fact(readings=Readings(ahead=SeriesAhead(by=1, share=0.99))),
        fact(readings=Readings()),
    ),
    "sees_future.mask": (
        fact(readings=Readings(own=OwnPlaces(kind="mask", masks=("first.mask",), change=1.2))),
        fact(readings=Readings()),
    ),
    "sees_future.itself": (fact(readings=Readings(own=OwnPlaces(kind="itself", change=1.2))), fact(readings=Readings())),
    "wrong_sign.spread": (
        fact(readings=Readings(code_spread=CodeSpread(taken_for="log variance", ratio=0.06))),
        fact(readings=Readings(code_spread=CodeSpread(taken_for="log variance", ratio=0.9))),
    ),
    "wrong_sign.spread of the mean alone": (fact(readings=Readings(code_spread=CodeSpread(taken_for="", ratio=0.0))), fact()),
    "wrong_sign.volume": (fact(volume_against=True), fact()),
    "wrong_sign.volume of likelihoods": (fact(volume_turned=True), fact()),
    "random_evaluation.shuffled": (
        fact(evaluation_noise=0.5, noise_source="state", shuffled_state="h"),
        fact(evaluation_noise=0.5, noise_source="state"),
    ),
    "wrong_sign.unnormalised": (fact(readings=Readings(free_weights=(0, 5))), fact()),
    "saturation.attention": (fact(readings=Readings(sharp_attention=((32, 4, 16, 16), 0.9))), fact()),
    "evaluation_mode.idle": (
        rehearsed(in_evaluation_mode=("norm",), idle_norms=("norm",)),
        rehearsed(in_evaluation_mode=("norm",)),
    ),
    "overwritten_data.step": (
        fact(readings=Readings(overwritten=written_to("step"))),
        fact(readings=Readings()),
    ),
    "pooled_places.level": (
        fact(
            readings=Readings(
                level_blind=LevelBlind(given="[0]", target="[1]", kinds=("mean",), examples=480, levelled=0.9, free=0.02)
            )
        ),
        fact(readings=Readings()),
    ),
    "pooled_places.order": (
        fact(readings=Readings(order_pooled=OrderPooled(given="[0]", target="[1]", examples=600, ordered=0.5, free=0.02))),
        fact(readings=Readings()),
    ),
    "pooled_places.tokens": (
        fact(
            readings=Readings(
                order_pooled=OrderPooled(given="[0]", target="[1]", examples=480, ordered=0.9, free=0.1, is_for_each=True)
            )
        ),
        fact(readings=Readings()),
    ),
    "repeated_batch.sliding": (
        fact(readings=Readings(sliding=Sliding(batches=60, batch_size=40, shown=99, held=2400))),
        fact(readings=Readings()),
    ),
    "short_length.weights": (
        fact(readings=Readings(short=ShortLength(declared=10, held=718, batch_size=None))),
        fact(readings=Readings()),
    ),
    "constant_input.unknown": (
        Evidence(
            facts=Facts(lone_word=LoneWord(layer="words", word=1, share=0.9, num_words=4, num_rows=90)),
            relation=Relation(num_examples=400, z=0.5),
        ),
        fact(),
    ),
    "constant_input.position": (fact(order_blind="pos.pe"), fact()),
    "flat_loss.filler": (fact(filled_extreme=("max", math.inf)), fact()),
    "mirrored.corners": (
        Evidence(data=data(split(crossed=(0.5, 0.0)), split("validation", crossed=(0.0, 0.0)))),
        Evidence(data=data(split(crossed=(0.5, 0.0)), split("validation", crossed=(0.4, 0.0)))),
    ),
    "mirrored.apart": (
        fact(readings=Readings(apart=TurnedApart(input="[0]", target="[1]", num_pairs=24, num_apart=18))),
        fact(readings=Readings()),
    ),
    "mirrored.classes": (
        fact(readings=Readings(exchanged=ExchangedClasses(sides="left and right", place="[1]", first=0, second=1, share=0.9))),
        fact(readings=Readings()),
    ),
    "overwritten_data.shared": (
        fact(readings=Readings(overwritten=written_to("shared"))),
        fact(readings=Readings()),
    ),
    "overwritten_data.shared as a loop shows it": (
        fact(readings=Readings(overwritten=written_to("rows"))),
        fact(readings=Readings()),
    ),
    "overwritten_data.batch": (
        fact(readings=Readings(overwritten=written_to("batch"))),
        fact(),
    ),
    "overwritten_data.stored": (
        fact(readings=Readings(overwritten=written_to("stored"))),
        fact(readings=Readings()),
    ),
    "mirrored.alone": (fact(mirrored_alone=("left and right", "[1]", 0.6)), fact()),
    "clip_dropped.result": (rehearsed(dropped_result=("clamp", "0.weight", False)), rehearsed()),
    "clip_dropped.order": (rehearsed(vain_clip=("before", 0.9)), rehearsed(vain_clip=("before", 1.1))),
    "constant_input.class": (fact(one_class_asked=("generator", 2)), fact()),
    "class_imbalance.padding": (fact(padding_asked=("marked", -100, 0.1)), fact(padding_asked=("class", 0, 0.4))),
    "class_imbalance.padding of values": (filled_up(), filled_up(shown=True)),
    "class_imbalance.padding of what comes to its end": (filled_up(), filled_up(sudden=False)),
    "shuffled_labels.padded": (fact(padded_apart=0.3), fact()),
    "shuffled_labels.shifted": (labelled_apart(1.9), labelled_apart(1.5)),
    "wrong_sign.backward": (fact(turned_gradients=("trunk.weight",)), fact()),
    "wrong_sign.pairs": (paired(5.1), paired(4.9)),
    "wrong_sign.pairs where none are nearer": (paired(5.1), paired(5.1, nearer=2.1)),
    "ignored_end.last": (fact(unread_words="last"), fact()),
    "recurrent_gain.forget": (fact(kept_by_gates=("lstm", 0.11)), fact(kept_by_gates=("lstm", 0.13))),
    "ignored_end.backward": (fact(readings=Readings(backward_ends=("rnn", 9))), fact()),
    "ignored_end.behind": (read_behind(0.26), read_behind(0.24)),
    "ignored_end.packed": (fact(readings=Readings(empty_ends=("rnn", 31, 32))), fact()),
    "ignored_end.padding": (fact(unread_words="all"), fact()),
    "heavy_dropout.function": (fact(function_dropout=0.95), fact(function_dropout=0.94)),
    "heavy_dropout": (little_learned(0.91, 1000), little_learned(0.89, 1000)),
    "heavy_dropout of a rehearsal": (rehearsed_with_dropout(0.9), rehearsed_with_dropout(0.89)),
    "heavy_dropout of a long run": (little_learned(0.91, 1000), little_learned(0.91, 999)),
    "heavy_dropout.answers": (fact(dropped_answers=0.4), fact()),
    "heavy_dropout.state": (fact(dropped_state=("drop", 0.5, 10)), fact(dropped_state=("drop", 0.5, 9))),
    "activation_scale.third_sine": (fact(third_sine_of=8.1), fact(third_sine_of=7.9)),
    "activation_scale.sine": (fact(sine_of=10.1), fact(sine_of=9.9)),
    "unmoved_parameter.step_function": (stepped(("0.weight",)), stepped(())),
    "shuffled_labels.unrelated of a table": (tabled(0.96), tabled(0.94)),
    "softmax_twice.exp": (fact(rates_twice="exp"), fact()),
    "stale_gradients.closure": (
        rehearsed(added_in_closure=AddedInClosure(later=5, added=3, is_lbfgs=True)),
        rehearsed(added_in_closure=AddedInClosure(later=6, added=3, is_lbfgs=True)),
    ),
    "stale_gradients.closure of a few": (
        rehearsed(added_in_closure=AddedInClosure(later=3, added=3, is_lbfgs=True)),
        rehearsed(added_in_closure=AddedInClosure(later=2, added=2, is_lbfgs=True)),
    ),
    "stale_gradients.closure of another optimizer": (
        rehearsed(added_in_closure=AddedInClosure(later=9, added=9, is_lbfgs=False), ended_by="not finite"),
        rehearsed(added_in_closure=AddedInClosure(later=9, added=9, is_lbfgs=False), reference=STILL),
    ),
    "missing_zero_grad.closure": (
        fact(added_in_closure=AddedInClosure(later=9, added=9, is_lbfgs=True)),
        fact(added_in_closure=AddedInClosure(later=9, added=9, is_lbfgs=False)),
    ),
    "stale_gradients.opponent": (rehearsed(mixed_gradient="maker.weight"), rehearsed()),
    "stale_gradients.together": (against(undone=("critic", "maker")), against()),
    "sum_for_mean.prior": (fact(graph=LossGraph(prior_weight=(4000.0, 4000))), fact(graph=LossGraph(prior_weight=(1.0, 4000)))),
    "shuffled_labels.unsorted": (fact(readings=Readings(unsorted=("[1]", 3.2, 3.1))), fact()),
    "shuffled_labels.kept": (
        fact(readings=Readings(kept=KeptTargets(num_examples=400, z=0.4, own_z=60.0, shape=(32, 10)))),
        fact(readings=Readings(kept=None)),
    ),
    "numbers_for_words.codes": (named(1.7), named(0.7)),
    "numbers_for_words.codes of a run": (named(1.7, loss=0.9), named(1.7, loss=0.7)),
    "numbers_for_words.column": (named(1.7, is_alone=True), named(0.7, is_alone=True)),
    "split_shift.chunks": (changing(0.1, error=0.06), changing(0.1, error=0.07)),
    "split_shift.chunks of few": (changing(0.0, z=8.1), changing(0.0, z=7.9)),
    "shuffled_labels.scores": (fact(scores_of_others=("[1]", "[2]", 600, 0.5)), fact()),
    "wrong_sign.floorless": (fact(floorless=1), fact()),
    "wrong_sign.switched_off": (fact(switched_off=("log_vars", 1)), fact()),
    "shuffled_labels.unrelated of masks": (by_place(0.26), by_place(0.24)),
    "shuffled_labels.unrelated of masks that fit no map": (by_place(-0.2, 0.04), by_place(-0.2, 0.06)),
    "class_imbalance": (imbalanced(weighs=False), imbalanced(weighs=True)),
    "shuffled_labels.moved": (fact(moved_targets=True), fact()),
    "shuffled_labels.collated": (fact(separated=PARTED), fact()),
    "masked_targets.shown": (fact(asks_shown="values"), fact()),
    "masked_targets.shown of words": (fact(asks_shown="words"), fact()),
    "idle_term.empty": (
        fact(
            readings=Readings(
                empty_term=EmptyTerm(name="sum", file="train.py", line=3, batches=13, is_enough=True, silent=("head.weight",))
            )
        ),
        fact(readings=Readings()),
    ),
    "wrong_sign.pairs that are further apart": (hard(), hard(pushed_z=5.9)),
    "wrong_sign.pairs that are no hard ones": (
        hard(pulled_z=2.6, nearer_z=3.1, pulled_there_z=2.6),
        hard(pulled_z=2.6, nearer_z=3.1, pulled_there_z=2.4),
    ),
    "wrong_sign.pairs that belong together": (belonging(6.1), belonging(5.9)),
    "wrong_sign.pairs that belong together, alone": (belonging(6.1), belonging(6.1, pulled=2.6)),
    "wrong_sign.pairs that belong together, in no direction": (belonging(6.1, nearer=2.9), belonging(6.1, nearer=3.1)),
    "masked_targets.below_zero": (fact(readings=Readings(unread_below=(0, 0.45))), fact(readings=Readings())),
    "masked_targets.answers": (fact(masked_answers=True), fact()),
    "target_broadcast.one_for_all of the largest": (fact(largest_output=(4, "[1]")), fact()),
    "augmentation_missing.views": (
        fact(pair_forces=PairForces(num_examples=64, num_pulled=32, num_pushed=900, equal_views=True)),
        fact(pair_forces=PairForces(num_examples=64, num_pulled=32, num_pushed=900)),
    ),
    "unread_ends.index": (fact(index_goals=4), fact()),
    "unread_ends.same": (fact(same_after=("[0]", "[3]")), fact()),
    "wrong_sign.quantiles": (fact(turned_quantiles=("quantiles", (0.1, 0.9), (0.9, 0.1), True)), fact()),
    "target_broadcast.inside": (fact(all_pairs=(64, True, True)), fact()),
    "target_broadcast.unpaired": (fact(unpaired=True), fact()),
    "target_broadcast.unpaired of noise": (compared_with(z=3.6, unpaired=True), compared_with(z=3.4, unpaired=True)),
    "shuffled_labels.unrelated of two distributions": (compared_with(z=1.0), compared_with(z=1.0, unpaired=True)),
    "wrong_sign.policy": (fact(lowered=("reward", 1.0)), fact()),
    "blind.uncalled": (Evidence(unheard_steps=2), Evidence()),
    "never_steps.one": (Evidence(steps_of_others=1200), Evidence(steps_of_others=20)),
    "shuffled_labels.bags": (fact(falling_offsets=("bag", 0.4)), fact()),
    "unreached_parameter.detached of a layer that moves": (
        dataclasses.replace(UNREACHED, samples=(moving(1, 0.1), moving(51, 0.1))),
        dataclasses.replace(UNREACHED, samples=(moving(1, 0.1), moving(51, 0.2))),
    ),
    "unreached_parameter.detached of a bias beside a weight that moves": (
        dataclasses.replace(UNREACHED_BIAS, samples=(moving(1, 0.1), moving(51, 0.1))),
        dataclasses.replace(UNREACHED_BIAS, samples=(moving(1, 0.1), moving(51, 0.2))),
    ),
    "unreached_parameter.detached": (fact(drawn="Normal"), fact()),
    "input_scale.rounded": (in_steps((0, 128.0, 3)), in_steps(None)),
    "input_scale.filled": (of_filled(((2, -14.0, 0.03, 210.0),)), of_filled(())),
    "input_scale.twice": (fact(readings=Readings(shrunk=SHRUNK)), fact()),
    "input_scale.column": (fact(loud_column=("head", 9, 2e3)), fact()),
    "misread_heads.weights": (fact(graph=LossGraph(attention_axes=((32, 4, 16, 16), 2, 3))), fact(graph=LossGraph())),
    "misread_heads.frames": (
        fact(graph=LossGraph(heads=MisreadHeads(kind="places", given=(32, 8, 16, 30), made=(32, 30, 128)))),
        fact(graph=LossGraph()),
    ),
    "unreachable_target.generated": (fact(judged_outside=("tanh", 0.3)), fact(judged_outside=("tanh", 0.04))),
    "misread_heads.steps": (
        fact(graph=LossGraph(heads=MisreadHeads(kind="steps", given=(64, 50, 3), made=(50, 64, 3)))),
        fact(graph=LossGraph()),
    ),
    "misread_edges.unshifted": (
        fact(readings=Readings(edges=MisreadEdges(num_edges=900, how="unshifted", num_graphs=8, num_nodes=160, reach=24))),
        fact(readings=Readings()),
    ),
    "flat_derivative.without_graph": (fact(constant_term=True), fact()),
    "flat_derivative.mean": (fact(graph=LossGraph(mean_slope=64)), fact(graph=LossGraph())),
    "flat_derivative.residual": (fact(graph=LossGraph(constant_slope=True)), fact(graph=LossGraph())),
    "loss_divided.mean": (stuck(SGD, mean_again=64), stuck(ADAM, mean_again=64)),
    "loss_divided.again": (under(SGD, divided_again=4), under(SGD)),
    "accumulation.undivided": (added(SGD, undivided=8), added(ADAM, undivided=8)),
    "constant_input.columns": (of_columns(0.8), of_columns(0.4)),
    "constant_input.batch": (
        stuck(SGD, readings=Readings(same_within=SameWithin(place="[1]", examples=256, batches=8))),
        stuck(SGD, readings=Readings()),
    ),
    "constant_input.counted": (fact(counted_condition=("1", 0.64)), fact()),
    "wrong_sign.slopes": (fact(falls_with_slopes=True), fact()),
    "batch_leakage.reordered": (fact(output_shape=(8, 4), reordered=True), fact(output_shape=(8, 4))),
    "condition_not_judged": (against(not_judged=("judge", "maker")), fact()),
    "condition_not_judged.unmoved": (against(not_judged=("judge", "maker", "reader")), against(not_judged=("judge", "maker"))),
    "idle_loss.detached": (
        against(idle_loss=IdleLoss(place=2, num_losses=2, term=None, reached=("judge",), held=("maker",), is_cut=True)),
        against(idle_loss=IdleLoss(place=2, num_losses=2, term=None, reached=("judge",), held=("maker",))),
    ),
    "idle_loss.exchanged": (
        against(idle_loss=IdleLoss(place=1, num_losses=2, term=None, reached=("judge",), held=("maker",), exchanged=2)),
        against(idle_loss=IdleLoss(place=1, num_losses=2, term=None, reached=("judge",), held=("maker",))),
    ),
    "idle_loss.term": (
        against(idle_loss=IdleLoss(place=2, num_losses=2, term=1, reached=("judge",), held=("encoder",))),
        against(idle_loss=IdleLoss(place=2, num_losses=2, term=None, reached=("judge",), held=("encoder",))),
    ),
    "constant_as_good.solved": (fact(solved_by=10.0), fact()),
    "flat_loss.rounding": (fact(rounded_gradient=(1e-7, 1e-16)), fact()),
    "flat_loss.most_examples": (fact(flat_examples=(0.9, 1.0)), fact()),
    "shuffled_labels.uniform": (fact(redrawn=("uniform", 0.5)), fact()),
    "shuffled_labels.noise_alone": (fact(redrawn=("alone", 1e-4)), fact()),
    "fixed_noise.target": (fact(readings=Readings(kept_noise=0.5)), fact(readings=Readings())),
    "wrong_mode.teacher": (fact(readings=Readings(teacher_mode=("Teacher", 2, 0.4))), fact(readings=Readings())),
    "shuffled_labels.noised_input": (fact(redrawn=("noised", 0.5)), fact(redrawn=("jittered", 0.5))),
    "shuffled_labels.drawn": (fact(redrawn=("noise", 1.0)), fact()),
    "unreachable_target.marks": (fact(readings=Readings(far_mark=255.0)), fact(readings=Readings())),
    "wrong_sign.entropy": (fact(sinks_entropy=True), fact()),
    "misread_logits.other_dimension": (
        fact(graph=LossGraph(softmax_astray=((8, 24, 30), 1, 2))),
        fact(graph=LossGraph()),
    ),
    "batch_leakage.softmax": (fact(softmax_over_batch=(32, 4)), fact()),
    "flat_loss.held": (
        fact(no_weight_moves=True, loss=1.0, graph=LossGraph(held_by="clamp(1, 5)")),
        fact(no_weight_moves=True, loss=1.0, graph=LossGraph()),
    ),
    "flat_loss.at_limit": (fact(no_weight_moves=True, loss=1.0, all_at_limit=True), fact(no_weight_moves=True, loss=1.0)),
    "evaluation_path.average": (left_behind(2.0), left_behind(1.9)),
    "weights_decayed.held_out": (decay_tried(0.19), decay_tried(0.21)),
    "underflow.unmoved": (rounded_away(0.95), rounded_away(0.94)),
    "flat_loss.underflow": (fact(underflow=("exp", 0.9, 1e-10)), fact()),
    "sum_for_mean.beside_means": (fact(unequal_terms=(32.0, 32)), fact(unequal_terms=(31.9, 32))),
    "sum_for_mean.beside_each": (fact(graph=LossGraph(summed_beside=16)), fact(graph=LossGraph())),
    "sum_for_mean.beside_mean": (fact(code_price=(64.0, 64, 0.49)), fact(code_price=(64.0, 64, 0.51))),
    "sum_for_mean.beside_mean of a smaller weight": (fact(code_price=(2.1, 64, 0.1)), fact(code_price=(1.9, 64, 0.1))),
    "input_scale.each": (windows(0.21), windows(0.19)),
    "input_scale.each of what tells nothing": (emptied(z=1.0), emptied(z=4.0)),
    "input_scale.each of targets outside": (windows(0.21), windows(0.21, outside=0.04)),
    "constant_input.twice": (
        fact(readings=Readings(twice=GivenTwice(given="[0]", unread="[1]", layer="", how="joined"))),
        fact(readings=Readings()),
    ),
    "constant_input.row": (fact(one_row=("maker",)), fact()),
    "weights_decayed.penalty": (
        fact(readings=Readings(weight_penalty=(3.0, 0.5))),
        fact(readings=Readings(weight_penalty=(2.9, 0.9))),
    ),
    "weights_decayed.penalty of a small share": (
        fact(readings=Readings(weight_penalty=(30.0, 0.5))),
        fact(readings=Readings(weight_penalty=(30.0, 0.49))),
    ),
    "wrong_sign.custom": (fact(readings=Readings(wrong_backward=("Act", 0.1))), fact()),
    "unreachable_target.corners": (fact(readings=Readings(boxes_crossed=0.11)), fact(readings=Readings(boxes_crossed=0.09))),
    "unreachable_target.binary": (fact(readings=Readings(odd_likelihood=0.01)), fact(readings=Readings(odd_likelihood=0.0))),
    "unreachable_target.one_way": (fact(readings=Readings(one_way=4.1)), fact()),
    "untrained_parameter.norm": (fact(readings=Readings(idle_norms=("1", "4"))), fact()),
    "untrained_parameter.frozen": (
        Evidence(
            optimizer=OptimizerSettings(name="SGD", lr=0.1, frozen=("3.weight",)),
            facts=Facts(readings=Readings(frozen_head="3")),
        ),
        Evidence(optimizer=OptimizerSettings(name="SGD", lr=0.1, frozen=("3.weight",)), facts=Facts()),
    ),
    "weights_redrawn.limited": (
        dataclasses.replace(rehearsed(cut_off=(("0.weight",), 0.01, 0.9)), facts=Facts(task_loss="mse_loss")),
        dataclasses.replace(rehearsed(cut_off=(("0.weight",), 0.01, 0.9)), facts=Facts()),
    ),
    "weights_redrawn.limited of all players": (
        rehearsed(cut_off=(("one.weight", "two.weight"), 0.01, 0.9), opposed=True),
        rehearsed(opposed=True),
    ),
    "update_ratio.small of a rehearsal that leaves room": (left_open(101.0), left_open(99.0)),
    "update_ratio.small of weights that were drawn": (
        left_open(),
        dataclasses.replace(left_open(), facts=Facts(readings=Readings(is_fine_tuned=True))),
    ),
    "update_ratio.small of a rate that is far larger": (left_open(), left_open(scale=990.0)),
    "update_ratio.small of a rate that learned": (left_open(), left_open(other=0.31)),
    "update_ratio.large of a smaller rate that learned": (outdone(0.79), outdone(0.81)),
    "update_ratio.large of a loss that stays": (outdone(0.5, own=0.91), outdone(0.5, own=0.89)),
    "update_ratio.small of a larger rate that learned": (
        outdone(0.29, scale=1000.0, multiple=1e5),
        outdone(0.31, scale=1000.0, multiple=1e5),
    ),
    "update_ratio.small of a program that is too slow": (too_slow(0.9e-5), too_slow(1.1e-5)),
    "update_ratio.small far from the targets": (stays_far(3100.0), stays_far(2900.0)),
    "update_ratio.small of a loss that moves": (stays_far(3100.0), stays_far(3100.0, last=19.5)),
    "unreachable_target.normalised": (
        fact(readings=Readings(normed_answers=(2, 0.2))),
        fact(readings=Readings(normed_answers=(2, 0.19))),
    ),
    "unreachable_target.through_zero": (
        fact(readings=Readings(through_zero=(100, 0.2))),
        fact(readings=Readings(through_zero=(100, 0.19))),
    ),
    "unreachable_target.circular": (
        fact(readings=Readings(circular=Circular(examples=2000, column=None, around=6.28, gap=0.35, astray=0.0))),
        fact(readings=Readings(circular=Circular(examples=2000, column=None, around=6.28, gap=0.36, astray=0.0))),
    ),
    "unreachable_target.log_scale": (fact(readings=Readings(floored_log_scale="ReLU")), fact()),
    "unread_ends.reversed": (fact(reversed_ends=("[3]", 0.1)), fact()),
    "idle_loss.overwritten": (fact(readings=Readings(overwritten_losses=("mse_loss", "train.py", 12, 5))), fact()),
    "idle_loss.cleared": (
        against(idle_loss=IdleLoss(place=1, num_losses=2, term=None, reached=("judge",), held=("judge",), before_step=True)),
        against(idle_loss=None),
    ),
    "dead_units.scale": (
        seen((layer(kind="norm", weight_rms=0.0, dead_fraction=1.0),)),
        seen((layer(kind="norm", weight_rms=1e-3, dead_fraction=1.0),)),
    ),
    "untrained_parameter.teacher": (fact(readings=Readings(drawn_teacher=("Teacher", 3))), fact()),
    "dead_units.large_step": (died(1.1e-4), died(0.9e-4)),
    "class_imbalance.weights": (fact(wrong_argument=("cross_entropy", "rare_lighter"), weighs_by_share=True), fact()),
    "plateau.at_chance": (returning(CHANCE * 0.95), returning(CHANCE * 0.92)),
}


@pytest.mark.parametrize("name", CODES)
def test_a_code_is_earned_and_narrowly_missed(name: str) -> None:
    code = name.partition(" ")[0]
    fires, near = CODES[name]
    assert all(f.severity in RULES[f.rule].severities for f in (*diagnose(fires).findings, *diagnose(near).findings))
    assert code in [f.code for f in diagnose(fires).findings if f.severity != "hint"]
    assert code not in [f.code for f in diagnose(near).findings if f.severity != "hint"]


@pytest.mark.parametrize(("shrink", "codes"), [(0.1, {"gain_budget_low.measured"}), (0.3, set())])
def test_a_signal_that_dies_in_one_of_two_networks_is_a_hint(shrink: float, codes: set[str]) -> None:
    found = {f.code: f.severity for f in diagnose(quiet_players(shrink)).findings}
    assert set(found) == codes
    assert not codes or found["gain_budget_low.measured"] == "hint"


def test_what_made_the_outputs_is_known_after_the_run_too() -> None:
    at = LossGraph(takes="distance", made_by="softplus", made_at="model[7]")
    before = Evidence(facts=Facts(graph=at, target_below_zero=0.5, output_rms=1.0))
    during = Evidence(facts=Facts(graph=LossGraph()), steps=steps([1.0 / math.sqrt(i + 1) for i in range(50)]))
    (finding,) = [f for f in diagnose(before.merge(during)).findings if f.code == "unreachable_target.softplus"]
    assert "model[7]" in finding.remedy


@pytest.mark.parametrize("takes_sine", [True, False])
def test_a_draw_for_sines_is_told_of_sines_only(takes_sine: bool) -> None:
    evidence = dataclasses.replace(above_constant(10.1, 2.1), facts=Facts(takes_sine=takes_sine))
    (finding,) = [f for f in diagnose(evidence).findings if f.code == "loss_at_start.constant"]
    assert ("sin(" in finding.remedy) is takes_sine


def of_a_run(first: float, last: float) -> Evidence:
    """The same regression as a run of 120 steps."""
    before = above_constant(first, last)
    losses = [first, *[last] * 119]
    return dataclasses.replace(before, steps=steps(losses), samples=(sample(1),))


@pytest.mark.parametrize(
    ("evidence", "first", "now"),
    [
        (above_constant(10.1, 2.1), 10.0, 2.0),
        (of_a_run(20.5, 1.0), 20.0, 0.95),
        (of_a_run(100.5, math.nan), 100.0, None),
    ],
)
def test_a_start_is_measured_by_the_limits_that_its_page_names(evidence: Evidence, first: float, now: float | None) -> None:
    (finding,) = [f for f in diagnose(evidence).findings if f.code == "loss_at_start.constant"]
    limits = {m.name: m.threshold for m in finding.measurements}
    assert limits["loss at the start"] == pytest.approx(first)
    assert limits.get("loss now") == (None if now is None else pytest.approx(now))


@pytest.mark.parametrize(
    ("start", "expected", "limit"),
    [
        (2.1 * CHANCE, 1.1 * CHANCE, 2 * CHANCE),
        (1.9 * CHANCE, 0.4 * CHANCE, 0.8 * CHANCE + 1),
        (21 * CHANCE, 1.1 * CHANCE, 20 * CHANCE),
    ],
)
def test_what_a_first_loss_is_held_against_is_what_it_is_above(start: float, expected: float, limit: float) -> None:
    evidence = Evidence(probe=dataclasses.replace(probed((), num_logits=10), cross_entropy=start, predicted_loss=expected))
    (finding,) = [f for f in diagnose(evidence).findings if f.rule == "loss_at_start"]
    assert finding.measurements[0].threshold == pytest.approx(limit)
    assert (f"{expected:.2f}" in finding.seen) is (start < 2 * CHANCE)
