"""Every rule with Evidence that fires it and a near miss that does not; its page; causes before symptoms; verdicts."""

import dataclasses
import inspect
import math
import re
from pathlib import Path

import pytest
from rule_examples import (
    ADAM,
    CHANCE,
    EXAMPLES,
    FALLING,
    FLAT,
    LOW_LAYERS,
    SGD,
    data,
    fact,
    graph,
    layer,
    metric,
    probed,
    rehearsed,
    sample,
    split,
    steps,
)

from trainability.doctor import RULES, Diagnosis, Evidence, diagnose, explain
from trainability.doctor.evidence import StepRecord
from trainability.doctor.facts import Facts, LossGraph
from trainability.doctor.finding import SEVERITIES, Finding
from trainability.doctor.outlook import Outlook
from trainability.doctor.reading import has_learned
from trainability.doctor.rehearsed import CriticalStep, Observation
from trainability.doctor.rules import verdict as verdicts
from trainability.doctor.rules.catalogue import WIDTH, listing, markdown
from trainability.doctor.rules.rule import SECTIONS
from trainability.doctor.rules.verdict import PRECEDENCE

# The loss rises from the first bit of the update on.
UPHILL = CriticalStep(
    multiple=1e-7,
    at_limit=True,
    loss_before=2.3,
    loss_after=2.5,
    lowest_loss=2.3,
    resolution=1e-6,
    update_norm=1.0,
    num_evaluations=6,
)
PAGE = Path(__file__).parents[1] / "docs" / "rules.md"


def fires(rule: str) -> Evidence:
    """The evidence that the rule is worst about."""
    return next(iter(EXAMPLES[rule].fires.values()))


def test_every_rule_has_its_examples():
    assert set(EXAMPLES) == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_fires_with_each_of_its_severities(name):
    rule = RULES[name]
    assert set(EXAMPLES[name].fires) == set(rule.severities)
    assert list(rule.severities) == sorted(rule.severities, key=SEVERITIES.index, reverse=True)
    for severity, evidence in EXAMPLES[name].fires.items():
        (finding,) = rule.check(evidence)
        assert finding.severity == severity
        assert finding.rule == finding.code.partition(".")[0] == name
        assert finding.cause
        assert finding.remedy
        assert finding.source
        assert finding.read_more == f"trainability explain {finding.code}"


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_silent_on_a_near_miss_and_on_nothing(name):
    assert RULES[name].check(EXAMPLES[name].near) == []
    assert RULES[name].check(Evidence()) == []


@pytest.mark.parametrize("name", RULES)
def test_a_rule_has_its_page(name):
    rule = RULES[name]
    doc = inspect.getdoc(rule.check) or ""
    assert list(rule.sections) == list(SECTIONS)
    assert all(rule.sections.values()), rule.sections
    assert len(rule.summary) <= WIDTH - 24
    assert rule.summary.count(".") <= 2
    page = " ".join(explain(name).split())
    for word in " ".join(doc.split()).split():
        assert word in page
    assert all(symptom in page for symptom in rule.explains)
    assert max(map(len, explain(name).splitlines())) <= WIDTH


@pytest.mark.parametrize(
    ("name", "called"), [("18", "layer 18"), ("0.2", "layer 0.2"), ("head", "head"), ("block.2", "block.2")]
)
def test_a_measurement_says_that_a_number_is_a_layer(name, called):
    probe = probed((dataclasses.replace(LOW_LAYERS[0], name=name),), log10_gain=-5.1)
    (finding,) = RULES["gain_budget_low"].check(Evidence(probe=probe))
    assert [each.name for each in finding.measurements if each.threshold == 1.0] == [f"gain of {called}"]


def test_every_code_is_on_the_page_of_its_rule():
    folder = Path(inspect.getsourcefile(verdicts) or "").parent
    written = {found for file in folder.glob("*.py") for found in re.findall(r'"([a-z_]+)\.([a-z_]+)"', file.read_text())}
    codes = {(rule, code) for rule, code in written if rule in RULES and rule != "confirmed_change"}
    assert len(codes) > 150
    assert not [f"{rule}.{code}" for rule, code in sorted(codes) if f"`{code}`" not in inspect.getdoc(RULES[rule].check)]


@pytest.mark.parametrize(
    ("name", "hint"), [("gain_budget", "gain_budget_"), ("zzz", "trainability explain"), ("nosuchrule", "trainability explain")]
)
def test_an_unknown_rule_is_refused_with_the_nearest_name(name, hint):
    with pytest.raises(ValueError, match=f"{name}.*{hint}"):
        explain(name)


def test_the_list_has_a_line_for_every_rule():
    lines = [line for line in listing().splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == list(RULES)
    assert max(map(len, lines)) <= WIDTH


def test_the_catalogue_in_docs_is_up_to_date():
    assert PAGE.read_text() == markdown(), "run python -m trainability.doctor.rules > docs/rules.md"


def test_rules_refer_to_rules_and_verdicts():
    assert {symptom for rule in RULES.values() for symptom in rule.explains} <= set(RULES)
    assert {rule.verdict for rule in RULES.values()} - {None} == set(PRECEDENCE)
    for rule in RULES.values():
        assert rule.name not in rule.explains
        assert rule.verdict is None or "error" in rule.severities


def test_a_net_that_learns_label_frequencies_alone_cannot_overfit():
    learned = probed(loss=8.9, cross_entropy=8.9, label_entropy=2.3, overfit_loss=2.29, overfit_steps=100)
    assert RULES["cannot_overfit"].check(Evidence(probe=learned))
    assert not RULES["cannot_overfit"].check(Evidence(probe=dataclasses.replace(learned, overfit_loss=1.0)))


def rules_of(diagnosis: Diagnosis) -> list[str]:
    return [finding.rule for finding in diagnosis.findings]


CODES = {
    "flat_loss.softmax_of_one": fact(graph=LossGraph(takes="log_softmax", num_outputs=1)),
    "unreachable_target.binary": graph("sigmoid", target_outside_unit=0.01),
    "unreachable_target.exclusive": fact(rows_off_one=0.05),
    "sees_future.unshifted": fact(unshifted=True),
    "wrong_sign.uphill": rehearsed(
        reference=(Observation(step=0, loss=2.3), Observation(step=30, loss=9.0)),
        critical=((1, UPHILL), (15, UPHILL)),
    ),
}


def test_a_loss_against_goals_of_the_model_s_own_may_rise() -> None:
    """Of values that are learned from values, each step moves the goals."""
    said = diagnose(dataclasses.replace(CODES["wrong_sign.uphill"], facts=Facts(asks_itself=True)))
    assert (said.verdict, [finding.code for finding in said.findings]) == ("cannot tell", [])


def test_an_update_that_follows_another_loss_is_not_said_to_go_uphill() -> None:
    """A body with an optimizer of its own, as of a discriminator; and a loss that gives no weight a gradient."""
    evidence = CODES["wrong_sign.uphill"]
    assert evidence.rehearsal is not None
    still = tuple(dataclasses.replace(step, gradient_norm=0.0) for step in evidence.rehearsal.steps)
    for changes in ({"moves_others": True}, {"steps": still}):
        said = diagnose(dataclasses.replace(evidence, rehearsal=dataclasses.replace(evidence.rehearsal, **changes)))
        assert "wrong_sign" not in rules_of(said)


@pytest.mark.parametrize("code", CODES)
def test_a_rule_that_tells_causes_apart_names_them(code):
    (finding,) = RULES[code.partition(".")[0]].check(CODES[code])
    assert finding.code == code
    assert finding.severity == "error"


@pytest.mark.parametrize(
    ("rule", "evidence"),
    [
        ("rate_dies", rehearsed(9, rates=(0.0,) * 9)),  # zero_rate says so
        ("rate_dies", rehearsed(rates=(0.9e-4,), planned_steps=59)),  # half of the run is over
        ("flat_loss", fact(graph=LossGraph(takes="log_softmax", num_outputs=2))),
        ("unreachable_target", graph("sigmoid", target_outside_unit=0.0)),
        ("unreachable_target", fact(rows_off_one=0.04)),
        (
            "wrong_sign",  # along one update of two the loss falls
            rehearsed(
                reference=(Observation(step=0, loss=2.3), Observation(step=30, loss=9.0)),
                critical=((1, UPHILL), (15, dataclasses.replace(UPHILL, lowest_loss=2.2))),
            ),
        ),
    ],
)
def test_what_is_near_such_a_cause_is_not_named(rule, evidence):
    assert RULES[rule].check(evidence) == []


def test_a_page_says_how_often_its_rule_was_right():
    assert "programs with a mistake" in explain("softmax_twice")


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


@pytest.mark.parametrize(
    ("fields", "severity"),
    [
        ({"log10_gain": -11.0, "plateau_steps": math.inf}, "error"),
        ({"log10_gain": -11.0, "plateau_steps": None, "optimizer": None}, "error"),
        ({"log10_gain": -11.0, "plateau_steps": None, "optimizer": ADAM}, "hint"),  # Adam does not mind the scale
        ({"log10_gain": -6.0, "plateau_steps": 400.0}, "hint"),  # slow, with an end in sight
        ({"log10_gain": -6.0, "plateau_steps": 400.0, "batch_size": 2, "num_logits": 1000}, "error"),  # two images of noise
        ({"log10_gain": -6.2, "plateau_steps": None, "biased": True}, "hint"),  # PyTorch's default, 8 layers: trains
        ({"log10_gain": -7.0, "plateau_steps": None, "biased": True}, "hint"),  # 9 layers: trains within 550 steps
        ({"log10_gain": -8.6, "plateau_steps": None, "biased": True}, "warning"),  # 11 layers: at chance after 1,500
    ],
)
def test_how_far_the_budget_band_speaks(fields, severity):
    (finding,) = RULES["gain_budget_low"].check(Evidence(probe=probed(LOW_LAYERS, **fields)))
    assert finding.severity == severity


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (Evidence(), "cannot tell"),
        (Evidence(probe=probed()), "will train"),
        (Evidence(probe=probed(log10_gain=None, structure="normalised", plateau_steps=None)), "cannot tell"),
        (Evidence(probe=probed(log10_gain=None, structure="unknown", plateau_steps=None)), "cannot tell"),
        (Evidence(probe=probed(plateau_steps=600.0)), "slow start"),
        (Evidence(probe=probed(plateau_steps=600.0, batch_size=2, num_logits=1000)), "cannot tell"),
        (Evidence(probe=probed(plateau_steps=600.0), steps=steps(FLAT), num_classes=10), "slow start"),
        (Evidence(probe=probed(), steps=steps(FALLING), num_classes=10), "is training"),
        (fires("plateau"), "dead"),
        (fires("gain_budget_high"), "unstable"),
        (fires("not_finite"), "unstable"),
        (fires("blank_images"), "broken data"),
        (fires("metric_wrong"), "broken metric"),
        (fires("blind"), "cannot tell"),
    ],
)
def test_verdict(evidence, verdict):
    assert diagnose(evidence).verdict == verdict


def test_slow_start_says_how_many_steps_are_left():
    diagnosis = diagnose(Evidence(probe=probed(plateau_steps=600.0), steps=steps(FLAT), num_classes=10))
    assert diagnosis.remaining_steps == pytest.approx(200.0)


def test_findings_come_worst_first():
    settings = dataclasses.replace(SGD, unmanaged=("head.weight",))
    evidence = dataclasses.replace(EXAMPLES["loss_at_start"].fires["hint"], metric=metric(0.0), optimizer=settings)
    assert rules_of(diagnose(evidence)) == ["metric_wrong", "untrained_parameter", "loss_at_start"]


def test_a_rule_that_fails_is_named_and_stops_nothing(monkeypatch):
    def broken(evidence):
        raise ZeroDivisionError("oops")

    monkeypatch.setitem(RULES, "plateau", dataclasses.replace(RULES["plateau"], check=broken))
    diagnosis = diagnose(fires("metric_wrong"))
    assert diagnosis.verdict == "broken metric"
    assert any(line.startswith("plateau: ") for line in diagnosis.not_checked)


def test_no_measurements_no_finding():
    with pytest.raises(ValueError, match="no measurements"):
        Finding(rule="x", severity="hint", seen="s", measurements=(), cause="c", remedy="r", source="s")


def test_the_input_alone_is_named_when_it_is_the_cause():
    evidence = Evidence(probe=probed(log10_gain=-0.5, input_mean_square=5000.0))
    (finding,) = RULES["gain_budget_high"].check(evidence)
    assert finding.code == "gain_budget_high.input"
    assert "-0.5" in finding.remedy


@pytest.mark.parametrize(("last", "learned"), [(1.15, False), (0.9, True)])
def test_a_loss_that_is_logged_halved_has_not_learned_because_it_is_below_chance(last, learned):
    steps = tuple(StepRecord(step=i + 1, loss=1.15 if i < 30 else last, gradient_norm=1.0) for i in range(60))
    assert has_learned(Evidence(num_classes=10, steps=steps)) is learned
    # Watched from its middle, a run says nothing about where it began.
    later = tuple(dataclasses.replace(step, step=step.step + 500) for step in steps)
    assert has_learned(Evidence(num_classes=10, steps=later))


@pytest.mark.parametrize(("ratio", "factor"), [(9e-6, 100), (3e-9, 100), (0.2, None)])
def test_a_rate_is_raised_by_a_factor_of_100_at_most(ratio, factor):
    (finding,) = RULES["update_ratio"].check(Evidence(probe=probed((layer(update_ratio=ratio),))))
    proposed = re.search(r"SGD\(\.\.\., lr=(\S+)\) in place of ([^:,]+)", finding.remedy)
    assert proposed is not None
    assert float(proposed[1]) / float(proposed[2]) == pytest.approx(factor or 1 / 200)


@pytest.mark.parametrize(("ratio", "said"), [(0.0, False), (1e-12, True), (9e-6, True), (2e-5, False)])
def test_a_step_at_a_rate_of_zero_is_no_small_one(ratio: float, said: bool) -> None:
    found = RULES["update_ratio"].check(Evidence(probe=probed((layer(update_ratio=ratio, gradient_rms=0.1),))))
    assert [(f.code, f.severity) for f in found] == [("update_ratio.small", "hint")] * said


@pytest.mark.parametrize("verdict", ["dead", "will train", "unstable"])
def test_a_prediction_is_an_error_where_the_rehearsal_bears_it_out_and_a_hint_where_the_loss_falls(verdict, monkeypatch):
    evidence = dataclasses.replace(EXAMPLES["gain_budget_low"].fires["warning"], rehearsal=rehearsed().rehearsal)
    monkeypatch.setattr(verdicts, "judge_rehearsal", lambda _: Outlook(verdict=verdict, cause="constant"))
    (finding,) = [f for f in diagnose(evidence).findings if f.rule == "gain_budget_low"]
    assert finding.severity == {"dead": "error", "will train": "hint", "unstable": "warning"}[verdict]


@pytest.mark.parametrize(("end", "said"), [(0.01, False), (0.5, True)])
def test_small_steps_of_a_loss_that_has_little_left_are_not_told(end: float, said: bool) -> None:
    falling = [CHANCE * (end / CHANCE) ** min(i / 60, 1.0) for i in range(120)]
    samples = (sample(step=1, layers=(layer(update_ratio=1e-3),)), sample(step=101, layers=(layer(update_ratio=1e-6),)))
    found = diagnose(Evidence(samples=samples, steps=steps(falling), num_classes=10)).findings
    assert any(finding.code == "update_ratio.small" for finding in found) == said


@pytest.mark.parametrize(("share", "floor"), [(None, 0.3133), (1.0, 0.3133), (0.0, 0.6931), (0.21, 0.6133)])
def test_the_floor_of_two_sigmoids_is_that_of_the_targets(share: float | None, floor: float) -> None:
    (found,) = diagnose(graph("sigmoid", "sigmoid", target_mean=share)).findings
    assert found.code == "softmax_twice.sigmoid"
    assert found.measurements[0].value == pytest.approx(floor, abs=1e-4)
