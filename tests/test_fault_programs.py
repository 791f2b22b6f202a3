"""The programs of the fault benchmark: how many, of how many kinds, and that what is said of them can be looked up."""

from collections import Counter

import pytest
import torch
from fault_remedies import followed
from fault_runs import RUNS, Built, half_of, happened, rows, train
from programs.catalogue import FAULTS, FORUM, HELD_OUT, KIND, KINDS, MAILBAG, PROGRAMS, SOUND, UNSEEN, WORKSHOP

from trainability.doctor import RULES, Evidence, diagnose
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.measure.certain import facts_of


def finding(code: str, remedy: str) -> Finding:
    rule = code.partition(".")[0]
    measured = (Measurement(name="x", value=1.0),)
    return Finding(
        rule=rule, code=code, severity="error", seen="", measurements=measured, cause="", remedy=remedy, source="own"
    )


def test_there_are_as_many_as_are_promised():
    assert len(FAULTS) >= 60
    assert len(SOUND) >= 40
    assert len({KIND[name] for name in FAULTS}) >= 8
    assert set(PROGRAMS) == {*FAULTS, *SOUND}
    assert len(PROGRAMS) == len(FAULTS) + len(SOUND)


def test_no_name_occurs_twice():
    assert len(PROGRAMS) == sum(len(kind.SOUND) + len(kind.FAULTS) for kind in KINDS)


@pytest.mark.parametrize(
    ("apart", "num_kinds", "faults", "sound"),
    [(HELD_OUT, 10, 75, 45), (UNSEEN, 10, 70, 45), (FORUM, 7, 70, 45), (WORKSHOP, 16, 130, 120), (MAILBAG, 18, 110, 100)],
)
def test_what_was_written_apart_is_large_and_of_kinds_of_its_own(apart, num_kinds, faults, sound):
    assert sum(name in FAULTS for name in apart) >= faults
    assert sum(name in SOUND for name in apart) >= sound
    kinds, others = ({KIND[name] for name in names} for names in (apart, set(PROGRAMS) - apart))
    assert len(kinds) >= num_kinds
    assert kinds.isdisjoint(others)


def test_the_scored_half_is_what_no_rule_was_set_on():
    scored = {name for name in PROGRAMS if half_of(name) == "scored"}
    assert scored < MAILBAG
    assert 0.4 < len(scored) / len(MAILBAG) < 0.6


@pytest.mark.parametrize("name", FAULTS)
def test_the_causes_of_a_fault_are_rules(name):
    fault = FAULTS[name]
    assert {cause.partition(".")[0] for cause in fault.causes} <= set(RULES)
    assert fault.what
    assert fault.program != fault.sound


def test_every_program_has_been_run_and_sound_ones_train():
    runs = rows(RUNS)
    assert set(PROGRAMS) <= set(runs)
    assert [name for name in SOUND if happened(name, runs) != "trained"] == []
    failed = Counter(half_of(name) for name in FAULTS if happened(name, runs) != "trained")
    assert failed["set"] >= 400
    assert failed["scored"] >= 50


@pytest.mark.parametrize("name", ["yes or no", "couples"])
def test_a_program_trains_the_same_whether_it_is_watched_or_not(name):
    plain, watched = Built(PROGRAMS[name]), Built(PROGRAMS[name])
    losses, _, unseen = train(plain)
    assert unseen == []
    assert losses == train(watched, watch=True)[0]
    for a, b in zip(plain.model.parameters(), watched.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_batch_may_be_a_dict():
    batch = next(Built(PROGRAMS["letters from dicts"]).batches())
    assert {name: tuple(part.shape) for name, part in batch.items()} == {"input_ids": (16, 33), "labels": (16, 33)}


def test_a_remedy_is_followed_to_the_letter():
    fault = FAULTS["adam rate 0.3"]
    lower = followed(
        fault.program, finding("exploding_gradient", "lower the learning rate: Adam(..., lr=0.003) in place of 0.3"), fault
    )
    assert lower is not None
    assert lower.options == {"lr": 0.003}
    other = followed(fault.program, finding("softmax_twice", "remove the softmax"), fault)
    assert other is fault.program or other == fault.program  # there is no softmax to remove
    assert followed(fault.program, finding("shuffled_labels", "look at ten images"), fault) is None
    loop = FAULTS["no step"]
    assert followed(loop.program, finding("never_steps", "call optimizer.step()"), loop) is loop.sound


CERTAIN = {
    "targets not shifted": "sees_future.unshifted",
    "logits viewed for a transpose": "misread_logits",
    "first output in place of the last": "ignored_end",
    "outputs and targets exchanged": "swapped_arguments",
    "marks through softmax": "unreachable_target.exclusive",
    "masks of 0 and 255": "unreachable_target.binary",
    "cross-entropy of one output": "flat_loss.softmax_of_one",
    "dropout 0.99": "heavy_dropout",
    "forecast of zeros": "constant_input",
    "advantages of all pairs": "target_broadcast",
    "rewards of a million": "target_scale",
}


@pytest.mark.parametrize("name", CERTAIN)
def test_a_certain_fact_is_measured_and_its_sound_twin_has_none(name):
    fault = FAULTS[name]

    def codes(program):
        built = Built(program)
        facts = facts_of(
            built.model,
            next(iter(built.train)),
            loss_fn=program.loss,
            training_step=program.training_step,
            optimizer=built.optimizer,
        )
        assert facts.notes == ()
        return [found.code for found in diagnose(Evidence(facts=facts)).findings if found.severity != "hint"]

    assert CERTAIN[name] in codes(fault.program)
    assert CERTAIN[name] not in codes(fault.sound)
