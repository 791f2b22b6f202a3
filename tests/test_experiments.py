"""Experiments: each change fixes the fault that it is for, sound programs are left alone, and nothing is left behind."""

import copy
import dataclasses
import functools
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import planted_programs as planted
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Evidence, Setup, confirm
from trainability.checking.check import check_setup
from trainability.doctor.audit_results import Relation
from trainability.doctor.experiment_table import COLUMNS, experiment_table
from trainability.doctor.experimented import OTHER_SEED, UNCHANGED, Arm, Experiments
from trainability.doctor.experiments.battery import experiment
from trainability.doctor.experiments.catalogue import INTERVENTIONS
from trainability.doctor.experiments.judging import Scale, fixes
from trainability.doctor.experiments.optimizer_changes import _scale_rate, measured_rate
from trainability.doctor.experiments.outcomes import Witness, judged, ordered, unfixed
from trainability.doctor.experiments.sources import Source, reference_of
from trainability.doctor.experiments.variant import run
from trainability.doctor.facts import Facts, Stacked, Unreached
from trainability.doctor.finding import Finding, Measurement, Severity
from trainability.doctor.rules.verdict import diagnose

STEPS = 60


def made(make: Callable[[], Setup], seed: int = 0) -> Setup:
    torch.manual_seed(seed)
    return make()


def alone(
    name: str, setup: Setup, *, evidence: Evidence | None = None, steps: int = STEPS, suspected_by: str | None = None
) -> Experiments:
    """The battery with one change only, and the control that is tried beside it."""
    table = {key: INTERVENTIONS[key] for key in (name, INTERVENTIONS[name].beside) if key}
    number = Measurement(name="a", value=0.0)
    findings = [
        Finding(
            rule=rule.partition(".")[0],
            code=rule,
            severity="error",
            seen="",
            measurements=(number,),
            cause="",
            remedy="",
            source="",
        )
        for rule in ([suspected_by] if suspected_by is not None else [])
    ]
    return experiment(setup, evidence or Evidence(), findings, seconds=600, max_steps=steps, interventions=table)


def arm_of(found: Experiments, name: str) -> Arm:
    return next(arm for arm in found.arms if arm.name == name)


# What `check` would have seen, where a change needs it to know what to do.
SEEN: dict[str, Evidence] = {
    "exclusive_or_linear": Evidence(facts=Facts(stacked=(Stacked(first="0", second="1", widths=(2, 16, 1)),))),
    "broadcast_targets": Evidence(facts=Facts(broadcast_shape=(32, 32))),
    "positions_dropped": Evidence(facts=Facts(unreached=(Unreached(name="place.weight", reason="dropped"),))),
}
CHECKED = ("evaluation_mode",)
LONGER = {"default_in_depth": 240, "deep_sigmoid": 240, "layers_in_a_list": 120, "momentum_0999": 120}


@pytest.mark.parametrize("name", planted.FAULTS)
def test_the_change_that_undoes_a_fault_mends_it(name: str) -> None:
    fault = planted.FAULTS[name]
    setup = made(fault.make)
    evidence = check_setup(setup).evidence if name in CHECKED else SEEN.get(name)
    found = alone(fault.undone_by[0], setup, evidence=evidence, steps=LONGER.get(name, STEPS))
    arm = arm_of(found, fault.undone_by[0])
    assert arm.outcome == "trains", (found.state, [(a.name, a.outcome, a.reason, a.curve, a.again) for a in found.arms])
    assert found.fails
    assert arm.loss is not None
    assert found.unchanged is not None
    assert found.unchanged.steps == 5 * arm.steps or not math.isfinite(found.unchanged.curve[-1][1])


COVERED = {name for fault in planted.FAULTS.values() for name in fault.undone_by}


def test_every_change_has_a_fault_that_it_undoes_or_a_test_of_its_own() -> None:
    own = {"rate_ten", "rate_hundred", "rate_thousand", "leaky_relu", "clip_on", "odd_weights", "plain_loop", "divergence_less"}
    controls = {"labels_permuted", "left_out", "future_exchanged"}
    assert {*COVERED, *own, *controls} - {"recommended_weights"} >= set(INTERVENTIONS)


def with_mixed_labels(model: Any, optimizer: Any, batch: Any) -> Tensor:
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(batch[0]), batch[1].flip(0))
    loss.backward()
    optimizer.step()
    return loss


def test_the_plain_loop_undoes_what_a_body_does_to_its_own_loss() -> None:
    def program(**fields: Any) -> Setup:
        return planted.on_digits(planted.he(planted.mlp(64, 48, 10)), step=with_mixed_labels, **fields)

    arm = arm_of(alone("plain_loop", made(functools.partial(program, loss_fn=F.cross_entropy))), "plain_loop")
    assert arm.outcome == "trains", (arm.reason, arm.curve)
    assert arm_of(alone("plain_loop", made(program)), "plain_loop").outcome == "not tested"


def with_odd_layers(*layers: int, factor: float) -> nn.Module:
    model = planted.he(planted.mlp(64, 24, 24, 24, 10))
    with torch.no_grad():
        for layer in layers:
            weights_of(model)[layer].mul_(factor)
    return model


def weights_of(model: nn.Module) -> list[Tensor]:
    return [p.detach() for p in model.parameters() if p.dim() > 1]


@pytest.mark.parametrize(("layers", "factor"), [((1,), 0.0), ((1, 2), 1e-4), ((0,), 300.0)])
def test_layers_of_an_odd_size_alone_are_drawn_anew(layers: tuple[int, ...], factor: float) -> None:
    setup = made(lambda: planted.on_digits(with_odd_layers(*layers, factor=factor)))
    with Source(setup, Evidence(), list(setup.train_loader)).variant() as variant:
        assert INTERVENTIONS["odd_weights"].applies(variant)
        INTERVENTIONS["odd_weights"].make(variant)
        for place, (weight, before) in enumerate(zip(weights_of(variant.model), weights_of(setup.model), strict=True)):
            assert torch.equal(weight, before) == (place not in layers)
            assert 0.5 < float(weight.std()) / math.sqrt(2 / weight.shape[1]) < 1.5
    arm = arm_of(alone("odd_weights", setup, steps=120), "odd_weights")
    assert arm.outcome == "trains", (arm.reason, arm.curve)


def test_no_layer_is_odd_among_usual_ones_or_where_all_are() -> None:
    nets = (
        (planted.mlp(64, 24, 10), True),
        (planted.he(planted.cnn()), False),
        (with_odd_layers(0, 1, 2, 3, factor=0.0), True),
    )
    for model, flat in nets:
        setup = made(functools.partial(planted.on_digits, model, flat=flat))
        with Source(setup, Evidence(), list(setup.train_loader)).variant() as variant:
            assert not INTERVENTIONS["odd_weights"].applies(variant)


@pytest.mark.filterwarnings("ignore:Seems like:UserWarning")  # a copied scheduler counts the steps of its copied optimizer
@pytest.mark.parametrize(("name", "factor"), [("rate_tenth", 0.1), ("rate_ten", 10.0), ("rate_hundred", 100.0)])
def test_a_scaled_rate_is_the_program_with_that_rate(name: str, factor: float) -> None:
    def program(lr: float) -> Setup:
        model = planted.mlp(64, 24, 10)
        optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 5, gamma=0.5)
        return planted.on_digits(model, optimizer, scheduler=schedule)

    def curve(lr: float, change: str | None) -> tuple[tuple[int, float], ...]:
        setup = made(functools.partial(program, lr))
        batches = list(setup.train_loader)[:20]
        with Source(setup, Evidence(), batches).variant() as variant:
            if change is not None:
                INTERVENTIONS[change].make(variant)
            return run(variant, 20, every=5).curve

    scaled, whole = curve(0.001, name), curve(0.001 * factor, None)
    assert [loss for _, loss in scaled] == pytest.approx([loss for _, loss in whole], rel=1e-5)
    assert scaled[-1] != curve(0.001, None)[-1]


def test_the_critical_step_gives_the_rate_that_no_fixed_factor_reaches() -> None:
    def program() -> Setup:
        model = planted.he(planted.mlp(64, 48, 48, 10))
        return planted.on_digits(model, torch.optim.Adam(model.parameters(), 1e-8))

    setup = made(program)
    rate = measured_rate(check_setup(setup).evidence)
    assert rate is not None
    assert rate.compensates
    found = experiment(setup, Evidence(), seconds=600, max_steps=STEPS, interventions={rate.name: rate})
    assert [arm.name for arm in found.confirmed] == ["rate_measured"]
    sound = check_setup(made(planted.sound_mlp_adam)).evidence
    assert measured_rate(sound) is None


@pytest.mark.filterwarnings("ignore:Seems like:UserWarning")  # a copied scheduler counts the steps of its copied optimizer
def test_what_an_optimizer_lacks_is_trained_under_its_schedule() -> None:
    def program() -> Setup:
        optimizer = planted.sgd(planted.mlp(64, 24, 10))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=1000)
        return planted.on_digits(planted.mlp(64, 24, 10), optimizer, scheduler=schedule)

    setup = made(program)
    assert setup.optimizer is not None
    held = setup.optimizer.param_groups[0]["params"]
    arm = arm_of(alone("all_parameters", setup, suspected_by="foreign_optimizer"), "all_parameters")
    assert arm.outcome == "trains", arm.reason
    assert setup.optimizer.param_groups[0]["params"] is held


class TwoHeads(torch.nn.Module):
    """Its new head is a layer that forward does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc, self.head = planted.mlp(64, 24), torch.nn.Linear(24, 10), torch.nn.Linear(24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(x).relu())


def test_a_new_head_that_forward_does_not_use_is_the_cause_that_is_confirmed() -> None:
    def program() -> Setup:
        model = TwoHeads()
        return planted.on_digits(model, torch.optim.SGD(model.head.parameters(), 0.1, momentum=0.9))

    arm = arm_of(alone("all_parameters", made(program), suspected_by="unreached_parameter.unused"), "all_parameters")
    assert (arm.outcome, arm.suspects) == ("trains", ("unreached_parameter.unused",)), arm.reason


def test_gradients_are_cleared_in_each_call_of_a_closure() -> None:
    def program(clears: bool) -> Setup:
        def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
            def closure() -> Tensor:
                if clears:
                    optimizer.zero_grad()
                loss = F.cross_entropy(model(batch[0]), batch[1])
                loss.backward()
                return loss

            return optimizer.step(closure)

        model = planted.mlp(64, 10)
        return planted.on_digits(model, torch.optim.LBFGS(model.parameters(), 0.1, max_iter=3), step=step)

    def curve(clears: bool, change: str | None) -> tuple[tuple[int, float], ...]:
        setup = made(functools.partial(program, clears))
        with Source(setup, Evidence(), list(setup.train_loader)[:5]).variant() as variant:
            if change is not None:
                INTERVENTIONS[change].make(variant)
            return run(variant, 5, every=1).curve

    assert curve(False, "zero_grad") == curve(True, None)
    assert curve(False, None) != curve(True, None)


@pytest.mark.parametrize("last", [nn.Sigmoid(), nn.Softmax(dim=1)])
def test_what_makes_probabilities_of_numbers_is_removed(last: nn.Module) -> None:
    def program() -> Setup:
        x = torch.randn(640, 8)
        model = planted.mlp(8, 24, 2, last=(last,))
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        return Setup(model=model, train_loader=planted.loader(x, 3 * x[:, :2]), loss_fn=F.mse_loss, optimizer=optimizer)

    assert arm_of(alone("last_activation_off", made(program)), "last_activation_off").outcome == "trains"


@pytest.mark.parametrize("shuffle", [False, True])
def test_another_seed_shuffles_only_what_the_loader_shuffles(shuffle: bool) -> None:
    x, y = planted.digits()

    def program() -> Setup:
        return planted.on_digits(planted.mlp(64, 10), train_loader=planted.loader(x, y, shuffle=shuffle))

    setup = made(program)
    batches = list(setup.train_loader)
    with Source(setup, Evidence(), batches, make=program).variant(seed=1) as variant:
        assert all(a is b for a, b in zip(variant.batches, batches, strict=True)) is not shuffle
    with Source(setup, Evidence(), batches).variant(seed=1) as variant:  # a copy has no other weights
        assert any(a is not b for a, b in zip(variant.batches, batches, strict=True))


@pytest.mark.parametrize("count", [1, 15, 16, 31, 47, 120])
def test_the_reference_is_spread_over_all_batches(count: int) -> None:
    reference = reference_of([torch.full((32, 1), float(place)) for place in range(count)])
    places = reference.flatten().unique()
    assert places[0] == 0
    assert places[-1] >= count - 1 - count / 16
    assert len(places) == min(count, 16)


def test_no_change_is_tried_where_little_is_left() -> None:
    found = experiment(made(planted.sound_cnn), Evidence(), seconds=600, max_steps=STEPS)
    assert found.unchanged is not None
    stepped = {arm.name for arm in found.changes if arm.curve}
    assert stepped <= {"labels_permuted", "left_out"}
    assert all(arm.reason for arm in found.changes if not arm.curve)


def test_a_pair_is_of_two_kinds_of_change() -> None:
    def program() -> Setup:
        return planted.on_digits(planted.mlp(64, *[48] * 9, 10, act=nn.Sigmoid))

    names = ("he", "xavier", "default_weights", "relu")
    table = {name: INTERVENTIONS[name] for name in names}
    found = experiment(made(program), Evidence(), seconds=600, max_steps=STEPS, interventions=table)
    pairs = [arm.name for arm in found.changes if " + " in arm.name]
    assert [arm.name for arm in found.confirmed] in (["he + relu"], ["relu + he"])
    assert all("relu" in name for name in pairs)


def test_two_facts_are_the_cause_together_where_a_rate_makes_up_for_both() -> None:
    """Cubes of numbers up to 4,000, as they are: with both scales right it learns, and with an enormous rate."""

    def program() -> Setup:
        x = torch.arange(1, 4000).float().unsqueeze(1)
        model = planted.mlp(1, 50, 1)
        batches = planted.loader(x, x**3, batch=64)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        return Setup(model=model, train_loader=batches, loss_fn=F.mse_loss, optimizer=optimizer)

    rate = INTERVENTIONS["rate_ten"]
    enormous = dataclasses.replace(rate, make=functools.partial(_scale_rate, factor=1e5))
    table = {"inputs_standard": INTERVENTIONS["inputs_standard"], "targets_standard": INTERVENTIONS["targets_standard"]}
    table[rate.name] = enormous
    number = Measurement(name="a", value=0.0)
    facts = [
        Finding(rule=rule, severity="error", seen="", measurements=(number,), cause="", remedy="", source="")
        for rule in ("input_scale", "target_scale")
    ]
    outcomes = []
    for findings in (facts, []):
        found = experiment(made(program), Evidence(), findings, seconds=600, max_steps=80, interventions=table)
        outcomes.append(([arm.name for arm in found.confirmed], arm_of(found, "rate_ten").outcome))
    assert outcomes == [(["inputs_standard + targets_standard"], "also helps"), (["rate_ten"], "trains")]


def test_labels_that_belong_to_other_examples_are_named() -> None:
    x, y = planted.digits()
    wrong = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(5))]

    def program(labels: Tensor) -> Setup:
        model = planted.he(planted.mlp(64, 256, 10))
        few = planted.loader(x[:320], labels[:320])
        return planted.on_digits(model, torch.optim.Adam(model.parameters(), 3e-3), train_loader=few)

    for labels, codes in ((wrong, ["shuffled_labels"]), (y, [])):
        found = alone("labels_permuted", made(functools.partial(program, labels)), steps=120)
        assert found.confirmed == ()
        assert [f.code for f in diagnose(Evidence(experiments=found)).findings] == codes


def test_labels_that_go_with_their_inputs_are_not_exchanged() -> None:
    """A net that does not find what the data were seen to hold is no proof that they hold nothing."""
    for z, stepped in ((0.5, True), (20.0, False)):
        setup = made(planted.momentum_0999)
        source = Source(setup, Evidence(relation=Relation(num_examples=400, z=z)), list(setup.train_loader)[:5])
        with source.variant() as variant:
            assert INTERVENTIONS["labels_permuted"].applies(variant) == stepped


def switches(batches: int, rate: float) -> Setup:
    """Which three of twelve switches decide by their parity: nothing at first, and then all at once."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 2, (batches, 128, 12), generator=generator) * 2.0 - 1
    loader = [(each, (each[:, :3].prod(dim=1) > 0).float()) for each in x]
    model = nn.Sequential(nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 1), nn.Flatten(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    loss_fn = nn.BCEWithLogitsLoss()
    return Setup(model=model, train_loader=loader, optimizer=optimizer, loss_fn=loss_fn, rehearse_seconds=20.0)


@pytest.mark.parametrize(
    ("batches", "rate", "confirmed"),
    [(4000, 7e-4, []), (40, 7e-4, []), (40, 7e-5, ["update_ratio.small"])],
)
def test_a_plateau_is_waited_for_in_a_first_pass_and_at_a_usual_rate(batches: int, rate: float, confirmed: list[str]) -> None:
    found = confirm(made(functools.partial(switches, batches, rate)), seconds=40.0, max_steps=60)
    assert [f.code for f in found.findings if f.tested and f.tested.outcome == "confirmed"] == confirmed


def dying() -> Setup:
    model = planted.mlp(64, 32, 32, 10)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.constant_(module.bias, -3.0)
    return planted.on_digits(model, torch.optim.Adam(model.parameters(), 3e-3))


def test_leaky_units_revive_what_is_dead() -> None:
    found = alone("leaky_relu", made(dying))
    assert arm_of(found, "leaky_relu").outcome == "trains"


def exploding() -> Setup:
    model = planted.he(planted.mlp(64, *[48] * 9, 10))
    return planted.on_digits(model, torch.optim.SGD([*model.parameters()], 0.3))


def test_clipping_tames_what_explodes() -> None:
    found = alone("clip_on", made(exploding), steps=120)
    arm, unchanged = arm_of(found, "clip_on"), found.unchanged
    assert unchanged is not None
    assert arm.loss is not None
    assert arm.loss < 0.8 * (unchanged.loss_at(arm.steps) or math.inf)


def test_labels_that_carry_nothing_are_told_from_those_that_do() -> None:
    x, y = planted.digits()
    few = planted.loader(x[:64], y[:64])

    def memoriser() -> Setup:
        model = planted.mlp(64, 128, 10)
        return planted.on_digits(model, torch.optim.Adam(model.parameters(), 1e-2), train_loader=few)

    setup = made(planted.sound_mlp_adam)
    scale = Scale(chance=math.log(10), ideal=0.0)
    reading = INTERVENTIONS["labels_permuted"].reading
    assert reading is not None
    batches = list(setup.train_loader)
    with Source(setup, Evidence(), batches).variant() as variant:
        own = Arm(name=UNCHANGED, change="", curve=run(variant, STEPS, every=10).curve)
    source = Source(setup, Evidence(), batches)
    with source.variant() as variant:
        INTERVENTIONS["labels_permuted"].make(variant)
        exchanged = Arm(name="labels_permuted", change="", curve=run(variant, STEPS, every=10).curve)
    assert reading(exchanged, own, own, scale.left)[1] is False
    memorised = made(memoriser)
    source = Source(memorised, Evidence(), list(memorised.train_loader))
    curves = []
    for change in (None, "labels_permuted", "left_out"):
        with source.variant() as variant:
            if change is not None:
                INTERVENTIONS[change].make(variant)
            curves.append(Arm(name="", change="", curve=run(variant, 150, every=50).curve))
    assert reading(curves[1], curves[0], curves[0], scale.left)[1] is True
    beside = INTERVENTIONS["left_out"].reading
    assert beside is not None
    assert beside(curves[2], curves[0], curves[0], scale.left)[1] is False  # it memorises as fast, and does not only memorise


def test_what_is_left_out_is_not_trained_on() -> None:
    x, y = planted.digits()
    setup = made(lambda: planted.on_digits(planted.mlp(64, 48, 10), train_loader=planted.loader(x[:200], y[:200])))
    batches = [batch for _ in range(3) for batch in setup.train_loader][:18]  # every example three times
    with Source(setup, Evidence(), batches).variant() as variant:
        INTERVENTIONS["left_out"].make(variant)
        trained = {tuple(row.tolist()) for images, _ in variant.batches for row in images}
        judged = [tuple(row.tolist()) for row in variant.reference[0]]
        assert len(judged) == len(set(judged)) == 50
        assert trained.isdisjoint(judged)
        assert len(trained) > 100
        assert all(len(labels) == 32 for _, labels in variant.batches)
    few = Source(setup, Evidence(), [(x[:32], y[:32])] * 3)
    with few.variant() as variant:
        assert not INTERVENTIONS["left_out"].applies(variant)


@pytest.mark.parametrize(("longest", "applies"), [(3, True), (8, False)])
def test_sequences_of_one_of_many_lengths_do_not_stand_for_all(longest: int, applies: bool) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.out = nn.GRU(4, 8, batch_first=True), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.cell(x)[0][:, -1])

    torch.manual_seed(0)
    batches = [(torch.randn(32, 3 + k % (longest - 2), 4), torch.arange(32) % 3) for k in range(18)]
    model = Last()
    setup = Setup(
        model=model,
        train_loader=batches,
        optimizer=torch.optim.Adam(model.parameters(), 1e-2),
        loss_fn=F.cross_entropy,
    )
    with Source(setup, Evidence(), batches).variant() as variant:
        assert INTERVENTIONS["left_out"].applies(variant) is applies


def test_an_example_that_comes_again_alone_is_known() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        x, y = torch.randn(48, 40_000, generator=torch.Generator().manual_seed(0)), torch.arange(48) % 10
        batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 48, 8)] + [(x[i : i + 1], y[i : i + 1]) for i in range(48)]
        setup = made(lambda: planted.on_digits(planted.mlp(40_000, 2, 10)))
        with Source(setup, Evidence(), batches).variant() as variant:
            assert variant.task.target == "[1]"
            INTERVENTIONS["left_out"].make(variant)
    finally:
        torch.set_num_threads(threads)
    trained = {float(row[0]) for rows, _ in variant.batches for row in rows}
    judged = {float(row[0]) for row in variant.reference[0]}
    assert len(judged) == 12
    assert len(variant.reference[1]) == 12
    assert len(trained) == 36
    assert trained.isdisjoint(judged)
    assert all(
        torch.equal(y[(x[:, 0] == row[0]).nonzero()[0, 0]], label) for row, label in zip(*variant.reference, strict=True)
    )


class Babbler(nn.Module):
    """One layer of attention over signs, with and without a mask."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.sign, self.place, self.causal = nn.Embedding(12, 24), nn.Embedding(20, 24), causal
        self.block = nn.TransformerEncoderLayer(24, 2, 48, dropout=0.0, batch_first=True)
        self.head = nn.Linear(24, 12)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(size) if self.causal else None
        return self.head(self.block(self.sign(x) + self.place(torch.arange(size)), src_mask=mask))


@pytest.mark.parametrize("causal", [False, True])
def test_a_loss_that_comes_from_the_future_is_told_by_another_future(causal: bool) -> None:
    signs = torch.randint(12, (480, 13))  # nothing to predict without the future

    def program() -> Setup:
        model = Babbler(causal)
        return Setup(
            model=model,
            train_loader=planted.loader(signs[:, :-1].contiguous(), signs[:, 1:].contiguous()),
            loss_fn=lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten()),
            optimizer=torch.optim.Adam(model.parameters(), 1e-2),
            rehearse_seconds=2,
        )

    found = alone("future_exchanged", made(program), steps=150, suspected_by="sees_future")
    arm = arm_of(found, "future_exchanged")
    assert arm.outcome == "control"
    assert arm.bears_out is (not causal)
    assert found.confirmed == ()


# ------------------------------------------------------------------------------------------------------ sound programs


@pytest.mark.parametrize("name", [name for name in planted.HEALTHY if name not in ("vit", "small_gpt", "unet")])
def test_nothing_is_confirmed_of_a_sound_program(name: str) -> None:
    table = {key: INTERVENTIONS[key] for key in ("rate_ten", "rate_tenth", "he", "decay_off", "dropout_off", "clip_off")}
    found = experiment(
        made(planted.HEALTHY[name]), Evidence(), make=planted.HEALTHY[name], seconds=600, max_steps=40, interventions=table
    )
    assert found.confirmed == ()
    assert not found.fails


WORSE = {"rate_hundred", "rate_thousand", "rate_hundredth", "update_reversed"}  # of a sound program


@pytest.mark.parametrize("name", sorted(set(INTERVENTIONS) - WORSE))
def test_a_sound_program_is_as_good_with_a_change(name: str) -> None:
    """With the change, twice the steps leave no more than a third of the way."""
    setup = made(planted.sound_cnn_dropout if name == "dropout_off" else planted.sound_mlp_adam)
    batches = list(setup.train_loader)
    source = Source(setup, Evidence(), batches)
    with source.variant() as variant:
        change = INTERVENTIONS[name]
        if change.is_control or not change.applies(variant):
            return
        change.make(variant)
        seen = run(variant, 2 * STEPS, every=STEPS)
    bound = 0.75 if name == "rate_tenth" else 0.35
    assert Scale(chance=source.task.chance or 1.0, ideal=0.0).left(seen.curve[-1][1]) < bound


# ------------------------------------------------------------------------------------------------------------- no trace


def state_of(setup: Setup) -> list[Any]:
    """All that an experiment may not touch, in a form that compares."""
    model, optimizer = setup.model, setup.optimizer
    values = [*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters() if p.grad is not None)]
    for entries in optimizer.state.values():
        values += [value for value in entries.values() if isinstance(value, Tensor)]
    generator = getattr(setup.train_loader, "generator", None)
    values += [torch.get_rng_state(), *([generator.get_state()] if generator is not None else [])]
    plain = [random.getstate()[1][:5], tuple(np.random.get_state()[1][:5])]  # type: ignore[index]
    plain += [[{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]]
    plain += [[type(module).__name__ for module in model.modules()], [module.training for module in model.modules()]]
    plain += [[len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]]
    plain += [
        [len(optimizer._optimizer_step_pre_hooks), len(optimizer._optimizer_step_post_hooks), len(optimizer.param_groups)]
    ]
    plain += [[p.dtype for p in model.parameters()], [getattr(module, "p", None) for module in model.modules()]]
    return [copy.deepcopy(value.detach()) if isinstance(value, Tensor) else copy.deepcopy(value) for value in [*values, *plain]]


def same(before: list[Any], after: list[Any]) -> bool:
    pairs = zip(before, after, strict=True)
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


def started(form: str) -> Setup:
    """A failing program under way, with dropout, batch norm, momenta and a shuffling loader."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Sigmoid(), nn.Dropout(0.3), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), 20.0, momentum=0.9, weight_decay=0.1)
    x, y = planted.digits()
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, y), 32, shuffle=True, generator=torch.Generator().manual_seed(3)
    )
    for _, (images, labels) in zip(range(3), loader, strict=False):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    def reaching(own: Any, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])  # the model itself, and not the one that is given

    def step(own: Any, optimizer: Any, batch: Any) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(own(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss

    forms: dict[str, dict[str, Any]] = {"loss_fn": {}, "in place": {"training_step": reaching}, "step": {"step": step}}
    return Setup(model=model, train_loader=loader, optimizer=optimizer, rehearse_seconds=1, clip=5.0, **forms[form])


@pytest.mark.parametrize("form", ["loss_fn", "in place", "step"])
def test_everything_is_as_it_was(form: str) -> None:
    setup = started(form)
    before = state_of(setup)
    found = experiment(setup, Evidence(), seconds=600, max_steps=20)
    assert sum(bool(arm.curve) for arm in found.arms) > 8
    assert same(before, state_of(setup))


@pytest.mark.parametrize("form", ["loss_fn", "in place", "step"])
@pytest.mark.parametrize("when", [3, 9])
def test_everything_is_as_it_was_after_ctrl_c(form: str, when: int) -> None:
    setup = started(form)
    before = state_of(setup)
    calls = [0]

    def interrupt(module: nn.Module, args: Any) -> None:
        if torch.is_grad_enabled():
            calls[0] += 1
            if calls[0] > 25 * when:
                raise KeyboardInterrupt

    def progress(change: str, number: int, total: int | None) -> None:
        if number == when:
            handles.append(torch.nn.modules.module.register_module_forward_pre_hook(interrupt))
            calls[0] = 25 * when

    handles: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        experiment(setup, Evidence(), seconds=600, max_steps=20, progress=progress)
    for handle in handles:
        handle.remove()
    assert handles
    assert same(before, state_of(setup))


@pytest.mark.parametrize("passes", [3, 60, 300, 700])
@pytest.mark.parametrize("form", ["loss_fn", "in place", "step"])
def test_everything_is_as_it_was_after_ctrl_c_in_confirm(form: str, passes: int) -> None:
    setup = started(form)
    before = state_of(setup)
    calls = [0]

    def interrupt(module: nn.Module, args: Any) -> None:
        calls[0] += module is not None
        if calls[0] == passes:
            raise KeyboardInterrupt

    handle = torch.nn.modules.module.register_module_forward_pre_hook(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            confirm(setup, seconds=600, max_steps=20)
    finally:
        handle.remove()
    assert same(before, state_of(setup))


def test_every_arm_gets_the_same_batches_and_starts_with_the_same_weights() -> None:
    seen: dict[int, list[float]] = {}

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        seen.setdefault(id(model), []).append(float(batch[0].double().sum()))
        return F.cross_entropy(model(batch[0]), batch[1])

    model = planted.mlp(64, 16, 10)
    setup = planted.on_digits(model, training_step=lambda model, batch: step(model, None, batch))
    batches = list(setup.train_loader)[:5]
    source = Source(setup, Evidence(), batches)
    kept = []
    for _ in range(2):
        with source.variant() as variant:
            seen.clear()
            first = [p.detach().clone() for p in variant.parameters]
            assert all(a is not b for a, b in zip(variant.parameters, model.parameters(), strict=True))
            run(variant, 7, every=3)
            kept.append((next(iter(seen.values())), first))
    assert kept[0][0] == kept[1][0]
    assert all(torch.equal(a, b) for a, b in zip(kept[0][1], kept[1][1], strict=True))


def test_inputs_that_a_step_may_compare_its_outputs_with_are_not_standardised() -> None:
    images, model = torch.rand(256, 64), planted.mlp(64, 8, 64)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def rebuilt(model: nn.Module, batch: Any) -> Tensor:  # of standardised pixels this has no lowest value
        return F.binary_cross_entropy_with_logits(model(batch[0]), batch[0], reduction="sum") / len(batch[0])

    def classified(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    batches = [(part, part.argmax(dim=1)) for part in images.split(32)]

    def timed(model: nn.Module, batch: Any) -> Tensor:  # a loss that no kind of task is recognised by
        return (model(batch[0])[:, 0] - batch[1]).abs().exp().mean()

    def own_cost(model: nn.Module, batch: Any) -> Tensor:  # the model compares by itself, and returns what it costs
        return model(batch[0])

    class Rebuilds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = planted.mlp(64, 8, 64)

        def forward(self, x: Tensor) -> Tensor:
            return F.mse_loss(self.net(x), x)

    one = planted.mlp(64, 8, 1)
    for step, net, fits in (
        (rebuilt, model, False),
        (classified, model, True),
        (timed, one, True),
        (own_cost, Rebuilds(), False),
    ):
        setup = Setup(model=net, train_loader=batches, optimizer=optimizer, training_step=step)
        with Source(setup, Evidence(), batches).variant() as variant:
            assert INTERVENTIONS["inputs_standard"].applies(variant) == fits


def test_chance_of_a_loss_of_one_s_own_is_that_of_the_best_constant() -> None:
    x = torch.randn(640, 8)
    y = x[:, :1] + 3

    def loss(model: nn.Module, batch: Any) -> Tensor:  # no kind of task has it
        return (model(batch[0]) - batch[1]).square().add(1e-6).pow(0.75).mean()

    model = planted.mlp(8, 24, 1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    setup = Setup(model=model, train_loader=planted.loader(x, y), optimizer=optimizer, training_step=loss, rehearse_seconds=20)
    evidence = check_setup(setup).evidence
    source = Source(setup, evidence, list(setup.train_loader))
    places = torch.linspace(2.5, 3.5, 101)
    best = min(float((source.reference[1] - place).square().add(1e-6).pow(0.75).mean()) for place in places)
    assert source.task.chance == pytest.approx(best, rel=1e-2)
    assert Source(setup, Evidence(), list(setup.train_loader)).task.chance is None  # no rehearsal found one


def test_a_second_seed_has_other_weights_where_the_program_can_be_made_anew() -> None:
    make = planted.sound_mlp
    setup = made(make)
    batches = list(setup.train_loader)[:8]
    for given, differ in ((make, True), (None, False)):
        source = Source(setup, Evidence(), batches, make=given)
        with source.variant(1) as variant:
            weights = zip(variant.parameters, setup.model.parameters(), strict=True)
            assert any(not torch.equal(a, b) for a, b in weights) is differ
            assert {id(batch) for batch in variant.batches} == {id(batch) for batch in batches}


# ------------------------------------------------------------------------------------------------------------- judging


def standing(**ends: float) -> tuple[Arm, ...]:
    """Arms that leave so much of a chance of 1, with both seeds."""
    return tuple(
        Arm(name=name, change=name, curve=((0, 1.0), (120, left)), again=left, **_KNOWN.get(name, {}))
        for name, left in ends.items()
    )


_KNOWN: dict[str, dict[str, Any]] = {
    "all_parameters": {"suspects": ("untrained_parameter",), "is_certain": True},
    "rate_ten": {"suspects": ("slow_start",)},
    "he": {"suspects": ("slow_start",)},
}


def witness(one: float = 1.0, other: float = 1.0) -> Witness:
    """The program as it is, with two seeds."""
    arms = [
        Arm(name=name, change=name, curve=((0, 1.0), (120, left))) for name, left in ((UNCHANGED, one), (OTHER_SEED, other))
    ]
    return Witness(
        unchanged=arms[0], other=arms[1], scale=Scale(chance=1.0, ideal=0.0), vary=None, planned_steps=None, evidence=Evidence()
    )


@pytest.mark.parametrize(
    ("ends", "outcomes"),
    [
        # a fact's change is the cause, however much less a rate leaves
        ({"rate_ten": 0.05, "all_parameters": 0.5}, ["also helps", "trains"]),
        # of two that findings suggest, the rate makes up where the other does as well, and is the cause where it does not
        ({"rate_ten": 0.2, "he": 0.2}, ["also helps", "trains"]),
        ({"rate_ten": 0.05, "he": 0.5}, ["trains", "also helps"]),
        # what no finding suggests does not push a rate aside that one does
        ({"rate_ten": 0.2, "decay_off": 0.2}, ["trains", "trains"]),
    ],
)
def test_what_is_the_cause_and_what_also_helps(ends: dict[str, float], outcomes: list[str]) -> None:
    found = judged(standing(**ends), witness(), "at chance", ["rate_ten"])
    assert [arm.outcome for arm in found] == outcomes


def test_a_rate_is_nearer_to_the_cause_than_a_clip() -> None:
    def outcomes(**ends: float) -> list[str]:
        found = judged(standing(**ends), witness(), "at chance", ["clip_on", "rate_tenth"], nearer={"clip_on": {"rate_tenth"}})
        return [arm.outcome for arm in found]

    assert outcomes(clip_on=0.02, rate_tenth=0.5) == ["also helps", "trains"]
    assert outcomes(clip_on=0.02, rate_tenth=0.95) == ["trains", "faster"]


def test_of_a_summed_loss_the_rate_is_confirmed_and_no_clip() -> None:
    x, y = planted.digits()
    batches = planted.loader(x, y)

    def setup() -> Setup:
        torch.manual_seed(0)
        model = planted.mlp(64, 64, 10)
        optimizer = torch.optim.SGD(model.parameters(), 0.5)
        return planted.on_digits(model, optimizer, train_loader=batches, loss_fn=nn.CrossEntropyLoss(reduction="sum"))

    table = {name: INTERVENTIONS[name] for name in ("clip_on", "rate_hundredth")}
    found = experiment(setup(), Evidence(), [], seconds=600, max_steps=STEPS, interventions=table)
    assert arm_of(found, "rate_hundredth").outcome == "trains"
    assert arm_of(found, "clip_on").outcome != "trains"


@pytest.mark.parametrize("trains_the_other", [True, False])
def test_what_the_body_trains_by_itself_needs_no_other_optimizer(trains_the_other: bool) -> None:
    """As a discriminator, beside a generator that gets no gradient."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"maker": nn.Linear(2, 4), "judge": nn.Linear(4, 1)})
    own = torch.optim.Adam(model["judge"].parameters(), 1e-3) if trains_the_other else None

    def step(model: Any, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
        made = model["maker"](batch[0][:, :2]).detach()
        if own is not None:
            own.zero_grad()
            F.softplus(model["judge"](made)).mean().backward()
            own.step()
        optimizer.zero_grad()
        loss = F.softplus(-model["judge"](made)).mean()
        loss.backward()
        optimizer.step()
        return loss

    batches = planted.loader(torch.randn(256, 4), torch.zeros(256, 1))
    setup = Setup(model=model, step=step, optimizer=torch.optim.Adam(model["maker"].parameters(), 1e-3), train_loader=batches)
    assert (arm_of(alone("all_parameters", setup), "all_parameters").outcome == "not tested") is trains_the_other


def test_facts_come_first_then_suspicions_then_small_changes() -> None:
    arms = {
        arm.name: dataclasses.replace(arm, outcome="trains")
        for arm in standing(decay_off=0.05, dropout_off=0.05, he=0.1, all_parameters=0.5)
    }
    order = {name: place for place, name in enumerate(INTERVENTIONS)}
    ranked = [arm.name for arm in ordered(arms, order, None)]
    assert ranked == ["all_parameters", "he", "decay_off", "dropout_off"]


@pytest.mark.parametrize(("left", "fixes"), [(0.95, True), (0.55, True), (0.4, False), (0.3, False)])
def test_a_larger_rate_fixes_what_is_still_far_from_half_way(left: float, fixes: bool) -> None:
    (rate,), (other,) = standing(rate_ten=0.01), standing(he=0.01)
    slow = dataclasses.replace(witness(left, left), hastening=frozenset(name for name, c in INTERVENTIONS.items() if c.hastens))
    assert slow.is_fixed_by(rate) == fixes
    assert slow.is_fixed_by(other)
    assert INTERVENTIONS["rate_hundred"].hastens
    assert not INTERVENTIONS["rate_tenth"].hastens


@pytest.mark.parametrize(("draws", "tested"), [(True, False), (False, True)])
def test_the_loss_of_a_policy_is_no_measure(draws: bool, tested: bool) -> None:
    model = planted.mlp(4, 16, 3)

    def step(model: Any, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
        chosen = torch.distributions.Categorical(logits=model(batch[0]))
        actions = chosen.sample()
        loss = -(chosen.log_prob(actions) * (actions == batch[1][:, 0]).float()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    batches = planted.loader(torch.randn(256, 4), torch.zeros(256, 1))
    setup = Setup(model=model, step=step, optimizer=torch.optim.Adam(model.parameters(), 1e-3), train_loader=batches)
    found = alone("rate_ten", setup, evidence=Evidence(facts=Facts(draws_own=draws)))
    assert bool(found.arms) is tested


def test_a_rate_that_is_doubted_also_helps() -> None:
    (arm,) = judged(standing(rate_ten=0.3), witness(), "at chance", ["rate_ten"], "a doubt")
    assert (arm.outcome, arm.reason) == ("also helps", "a doubt")
    (arm,) = judged(standing(he=0.3), witness(), "at chance", ["rate_ten"], "a doubt")
    assert arm.outcome == "trains"


@pytest.mark.parametrize(("left", "further"), [(0.7, True), (0.85, False), (0.95, False)])
def test_a_setting_that_gets_further_is_ahead_of_both_seeds(left: float, further: bool) -> None:
    (arm,) = standing(float32=left)
    assert witness(0.9, 1.0).gets_further(arm) is further


def test_a_change_has_to_be_ahead_by_more_than_two_seeds_are_apart() -> None:
    (arm,) = standing(he=0.05)
    assert witness(0.45, 0.5).is_fixed_by(arm)
    assert not witness(0.45, 0.9).is_fixed_by(arm)
    assert witness(50.0, 2.0).is_fixed_by(arm)  # how far above chance is no matter
    assert witness(0.45, 0.9).is_fixed_by(standing(he=0.03)[0])  # nor how far apart, where both are out of reach
    fact = dataclasses.replace(arm, is_certain=True)  # not chosen for doing best
    assert witness(0.45, 0.9).is_fixed_by(fact)
    assert not witness(0.15, 0.9).is_fixed_by(fact)


@pytest.mark.parametrize(("program", "seconds"), [("weight_decay_05", 60.0), ("weight_decay_05", 2.0), ("sound_mlp", 60.0)])
def test_progress_counts_on_and_its_total_never_falls(program: str, seconds: float) -> None:
    heard: list[tuple[int, int | None]] = []
    experiment(
        made(getattr(planted, program)),
        Evidence(),
        seconds=seconds,
        max_steps=60,
        progress=lambda _, *numbers: heard.append(numbers),
    )
    assert [number for number, _ in heard] == list(range(1, len(heard) + 1))
    totals = [total for _, total in heard]
    assert totals[:2] == [None, None]
    known = [total for total in totals[2:] if total is not None]
    assert len(known) == len(totals) - 2 > 0
    assert known == sorted(known)
    assert all(number <= total for number, total in heard[2:] if total is not None)


@pytest.mark.parametrize(("severity", "certain"), [("error", True), ("warning", True), ("hint", False)])
def test_a_hint_makes_no_change_certain(severity: Severity, certain: bool) -> None:
    number = Measurement(name="a", value=0.0)
    said = Finding(rule="input_scale", severity=severity, seen="", measurements=(number,), cause="", remedy="", source="")
    assert INTERVENTIONS["inputs_standard"].is_certain((said,)) is certain
    assert INTERVENTIONS["inputs_standard"].suspected_by((said,)) == ("input_scale",)


def test_a_change_cut_short_is_not_tested() -> None:
    found = experiment(made(planted.weight_decay_05), Evidence(), seconds=2.0, max_steps=400)
    short = [arm for arm in found.changes if arm.curve and arm.steps < found.steps and math.isfinite(arm.loss or math.inf)]
    assert all(arm.outcome in ("not tested", "control", "trains", "also helps", "faster") for arm in short)
    assert all(f"{arm.steps} of {found.steps} steps" in arm.reason for arm in short if arm.outcome == "not tested")
    words = {cells[0]: cells[COLUMNS.index("outcome")] for cells, _ in experiment_table(found).rows}
    assert "not tested" not in words.values()
    assert {words[arm.change] for arm in short if arm.outcome == "not tested"} <= {"cut short"}
    assert found.steps == 400 or any("400 steps" in note for note in found.notes)


def test_what_mends_and_what_is_only_faster() -> None:
    assert fixes(0.2, 1.0)
    assert fixes(0.7, 1.0)
    assert not fixes(0.9, 1.0)  # has not shown that it learns
    assert not fixes(0.8, 0.9)
    assert fixes(0.05, 0.3)
    assert not fixes(0.1, 0.3)  # three times as good is a faster program
    assert fixes(0.1, 0.3, is_certain=True)  # but where a counted fact calls for the change
    assert not fixes(0.2, 0.3, is_certain=True)
    assert not fixes(0.001, 0.1)  # nothing is left to fix
    assert not fixes(0.05, 0.3, is_game=True)  # a game that comes nearer is slow
    assert fixes(0.2, 1.0, is_game=True)
    assert not fixes(0.6, 1.0, blind=True)
    assert fixes(0.2, math.inf)
    assert not fixes(math.inf, math.inf)


def test_a_slow_program_is_given_time_before_a_faster_one_is_the_cause() -> None:
    def slow() -> Setup:
        model = planted.he(planted.mlp(64, 32, 10))
        return planted.on_digits(model, torch.optim.SGD(model.parameters(), 0.02))

    found = alone("rate_ten", made(slow), steps=30)
    arm = arm_of(found, "rate_ten")
    assert arm.loss is not None
    assert found.unchanged is not None
    assert arm.loss < 0.5 * (found.unchanged.loss_at(30) or 0.0)
    assert arm.outcome in ("faster", "no better")


def test_a_program_that_has_more_steps_planned_than_were_tried_is_open() -> None:
    found = alone("rate_thousand", made(planted.slow_exclusive_or), steps=60)
    assert found.confirmed == ()
    assert found.state in ("open", "learns")


def test_too_little_time_is_said_and_tests_nothing() -> None:
    found = experiment(made(planted.zero_weights), Evidence(), seconds=1e-3, max_steps=200)
    assert found.state == "unknown"
    assert found.confirmed == ()
    assert any(note.startswith("experiments: ") for note in found.notes)
    assert all(arm.outcome in ("as it is", "not tested") for arm in found.arms)


def test_several_models_are_not_judged_by_one_loss() -> None:
    models = {"a": nn.Linear(64, 10), "b": nn.Linear(64, 10)}
    optimizers = [torch.optim.SGD(part.parameters(), 0.1) for part in models.values()]
    setup = Setup(model=models, train_loader=planted.loader(*planted.digits()), optimizer=optimizers, step=lambda m, o, b: None)
    found = experiment(setup, Evidence())
    assert found.state == "unknown"
    assert found.arms == ()
    assert len(found.notes) == 1


@pytest.mark.parametrize(("seconds", "steps"), [(0.0, 120), (10.0, 5)])
def test_numbers_that_mean_nothing_are_refused(seconds: float, steps: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        experiment(made(planted.zero_weights), Evidence(), seconds=seconds, max_steps=steps)


# ------------------------------------------------------------------------------------------------------------ diagnosis


def test_a_confirmed_cause_comes_first_and_what_is_refuted_last() -> None:
    diagnosis = confirm(planted.biases_minus_10, seconds=600, max_steps=40)
    experiments = diagnosis.evidence.experiments
    assert experiments is not None
    first = diagnosis.findings[0]
    assert first.tested is not None
    assert first.tested.outcome == "confirmed"
    assert first.severity == "error"
    assert [arm.name for arm in experiments.arms[:2]] == [UNCHANGED, OTHER_SEED]
    assert experiments.confirmed[0].name in ("biases_zero", "default_weights")  # both take the biases away
    assert diagnosis.verdict not in ("will train", "slow start", "cannot tell")
    assert type(diagnosis).from_dict(diagnosis.to_dict()).evidence.experiments == experiments
    text = str(diagnosis)
    assert all(arm.change in text for arm in experiments.confirmed)


@pytest.mark.parametrize(
    ("name", "code"), [("weight_decay_05", "confirmed_change.decay_off"), ("momentum_0999", "long_momentum")]
)
def test_what_no_rule_suspects_becomes_a_finding_of_its_own(name: str, code: str) -> None:
    setup = made(planted.FAULTS[name].make)
    setup = Setup(model=setup.model, train_loader=setup.train_loader, optimizer=setup.optimizer, rehearse_seconds=0)
    diagnosis = confirm(setup, seconds=600, max_steps=120)
    first = diagnosis.findings[0]
    assert first.code == code
    assert first.tested is not None
    assert first.tested.outcome == "confirmed"
    assert [finding.code for finding in diagnosis.findings if finding.rule == "confirmed_change"] in ([], [code])


def test_a_program_that_stands_still_is_not_waited_for() -> None:
    def standing_at(*losses: float) -> Witness:
        curve = tuple((120 * place, loss) for place, loss in enumerate(losses))
        arms = [Arm(name=name, change=name, curve=curve) for name in (UNCHANGED, OTHER_SEED)]
        scale = Scale(chance=1.0, ideal=0.0)
        known = {"scale": scale, "vary": None, "planned_steps": 10_000, "evidence": Evidence(), "fixed_in": 120}
        return Witness(unchanged=arms[0], other=arms[1], **known)

    (arm,) = standing(detach_off=0.05)
    assert standing_at(1.0, 1.0, 1.0, 1.0, 1.0, 1.0).state([arm]) == "at chance"
    assert standing_at(1.0, 1.0, 1.0, 0.99, 0.98, 0.97).state([arm]) == "open"


@pytest.mark.parametrize(
    ("state", "outcome", "notes"), [("at chance", "no better", 1), ("learns", "no better", 0), ("at chance", "trains", 0)]
)
def test_what_no_change_touches_is_said_where_none_fixes(state: Any, outcome: Any, notes: int) -> None:
    arms = [dataclasses.replace(arm, outcome=outcome) for arm in standing(he=0.9, decay_off=0.95)]
    found = unfixed([*standing(unchanged=1.0, other_seed=1.0), *arms], state)
    assert len(found) == notes
    assert all("none of the 2 changes" in note for note in found)
