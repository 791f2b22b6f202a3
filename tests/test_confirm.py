"""`confirm` from the command line, for own programs and for runs of train, and in a report."""

import dataclasses
import functools
import json
import math
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from conftest import config_of
from test_report import finish_run, page_of, plot_of
from torch import nn

from trainability import Diagnosis, Setup, confirm
from trainability.checking.confirm_run import confirm_config
from trainability.checking.target import load_setup
from trainability.cli import program as cli
from trainability.doctor.evidence import Evidence
from trainability.doctor.experiment_table import COLUMNS, experiment_table, sparkline
from trainability.doctor.experimented import OTHER_SEED, UNCHANGED, Arm, Experiments
from trainability.doctor.experiments.catalogue import INTERVENTIONS
from trainability.doctor.finding import Finding, Measurement, Severity
from trainability.doctor.rules.catalogue import RULES
from trainability.doctor.rules.verdict import diagnose
from trainability.doctor.tested import with_outcomes
from trainability.doctor.tried_verdict import tried_verdict
from trainability.report.experiments_section import experiments_section
from trainability.training.record import EVIDENCE, read_run

PROGRAM = """
import torch
from torch import nn
from trainability import Setup

def setup(broken=True):
    x = torch.randn(640, 8)
    y = (x[:, 0] > 0).long()
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    if broken:
        nn.init.zeros_(model[0].weight), nn.init.zeros_(model[2].weight)
        nn.init.constant_(model[0].bias, -1)
    data = torch.utils.data.TensorDataset(x, y)
    loader = torch.utils.data.DataLoader(data, 32, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    return Setup(model=model, train_loader=loader, optimizer=optimizer, rehearse_seconds=1)

def sound():
    return setup(False)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    return name


def answer(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments])
    return int(stop.value.code or 0)


def test_confirm_names_what_mends_and_exits_with_1(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer("confirm", f"{program}:setup", "--seconds", "300", "--steps", "40", "--json") == 1
    plain = json.loads(capsys.readouterr().out)
    diagnosis = Diagnosis.from_dict(plain)
    experiments = diagnosis.evidence.experiments
    assert experiments is not None
    assert experiments.confirmed[0].name in ("he", "xavier", "default_weights")
    assert diagnosis.findings[0].tested is not None
    assert diagnosis.findings[0].tested.outcome == "confirmed"


def test_check_with_confirm_shows_the_table(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer("check", f"{program}:sound", "--confirm") == 0
    shown = capsys.readouterr().out
    assert "Experiments, 120 steps each" in shown
    assert "confirmed" not in shown


@pytest.mark.parametrize("flags", [["--seconds", "0"], ["--steps", "3"], ["--optim.lr", "0.1"]])
def test_the_user_s_mistake_exits_with_2(program: str, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert answer("confirm", f"{program}:setup", *flags) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_loader_that_can_be_read_once_is_read_once() -> None:
    x = torch.randn(640, 8)
    batches = [(part, (part[:, 0] > 0).long()) for part in x.split(32)]
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    setup = Setup(model=model, train_loader=iter(batches), optimizer=optimizer, rehearse_seconds=0.5)
    experiments = confirm(setup, seconds=100, max_steps=20).evidence.experiments
    assert experiments is not None
    assert experiments.state == "learns"


def test_a_run_of_train_is_experimented_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = {"model__config": "A", "model__width": 0.05, "model__hidden": 16, "optim__batch_size": 32}
    config = config_of(**small, init__plan="normal=0.001", optim__lr=0.05)
    diagnosis = confirm_config(config, seconds=300, max_steps=20)
    experiments = diagnosis.evidence.experiments
    assert experiments is not None
    assert experiments.unchanged is not None
    assert experiments.unchanged.curve
    tried = {arm.name for arm in experiments.changes if arm.curve}
    assert {"he", "rate_ten"} <= tried
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("confirm", "--steps", "20"), ("plan", "--seconds", "60"), ("check", "--confirm")])
@pytest.mark.parametrize("passes", [4, 90])
def test_ctrl_c_ends_in_one_line_and_130(
    program: str, command: tuple[str, ...], passes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    left = [passes]

    def press(module: nn.Module, args: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGINT)

    name, *flags = command
    handle = torch.nn.modules.module.register_module_forward_pre_hook(press)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell ignores it
    try:
        assert answer(name, f"{program}:setup", *flags) == 130
    finally:
        signal.signal(signal.SIGINT, handler)
        handle.remove()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "trainability: interrupted\n"


def test_the_command_line_takes_the_flags_of_train() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "trainability", "confirm", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert all(flag in shown for flag in ("--seconds", "--steps", "--json", "--model.config"))


# ------------------------------------------------------------------------------------------------------- what is made of it

CURVE = ((0, 2.3), (60, 2.31), (120, 2.3))


def experiments(*changes: Arm, **fields) -> Experiments:
    same = Arm(name=UNCHANGED, change="as it is", outcome="as it is", curve=CURVE)
    other = Arm(name=OTHER_SEED, change="another seed", outcome="as it is", curve=CURVE)
    return Experiments(**{"arms": (same, other, *changes), "state": "at chance", "steps": 120, "chance": 2.3, **fields})


def change(name: str, outcome: str, *suspects: str, **fields) -> Arm:
    curve = ((0, 2.3), (120, 0.1 if outcome in ("trains", "also helps") else 2.3))
    again = 0.12 if outcome in ("trains", "also helps") else None
    return Arm(
        **{"name": name, "change": name, "outcome": outcome, "suspects": suspects, "curve": curve, "again": again, **fields}
    )


def finding(rule: str, severity: Severity = "error") -> Finding:
    number = Measurement(name="a", value=1.0)
    return Finding(rule=rule, severity=severity, seen="", measurements=(number,), cause="", remedy="", source="")


def test_outcomes_of_findings() -> None:
    found = experiments(
        change("he", "trains", "slow_start"),
        change("rate_ten", "no better", "update_ratio", "clipping"),
        change("clip_off", "also helps", "clipping"),
        change("shuffled", "not tested", "class_order", curve=(), again=None, reason="does not apply to this program"),
    )
    listed = [finding(rule) for rule in ("update_ratio", "clipping", "class_order", "slow_start", "input_scale")]
    judged = with_outcomes(listed, found, predictions=["update_ratio"])
    said = {item.rule: item.tested.outcome for item in judged if item.tested is not None}
    assert said == {
        "slow_start": "confirmed",
        "clipping": "open",
        "class_order": "not tested",
        "input_scale": "not tested",
        "update_ratio": "refuted",
    }
    assert judged[0].rule == "slow_start"
    assert judged[-1].rule == "update_ratio"
    assert judged[-1].severity == "hint"  # a prediction that is not borne out


def test_a_fact_that_is_not_the_cause_stays_a_fact() -> None:
    found = experiments(change("he", "trains", "slow_start"), change("shuffled", "no better", "class_order"))
    judged = with_outcomes([finding("class_order"), finding("slow_start", "warning")], found, predictions=[])
    assert [(item.rule, item.severity) for item in judged] == [("slow_start", "error"), ("class_order", "error")]


@pytest.mark.parametrize(("loss", "outcome"), [(1.8, "open"), (2.25, "refuted"), (2.3, "refuted")])
def test_a_fact_whose_change_gets_further_is_not_refuted(loss: float, outcome: str) -> None:
    helped = change("all_parameters", "no better", "untrained_parameter", curve=((0, 2.3), (120, loss)))
    found = experiments(change("rate_hundred", "trains"), helped)
    for predictions, said in (([], outcome), (["untrained_parameter"], "refuted")):
        (judged,) = with_outcomes([finding("untrained_parameter")], found, predictions=predictions)
        assert judged.tested is not None
        assert judged.tested.outcome == said


def test_nothing_is_refuted_where_nothing_mends_or_the_program_learns() -> None:
    tried = change("rate_ten", "no better", "update_ratio")
    for state, outcome in (("at chance", "open"), ("learns", "not tested"), ("open", "not tested")):
        (judged,) = with_outcomes([finding("update_ratio")], experiments(tried, state=state), predictions=["update_ratio"])
        assert judged.tested is not None
        assert judged.tested.outcome == outcome
        assert judged.severity == "error"


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (0.1, "learns as it is, and reaches a lower loss with all_parameters: 2.3 to 0.1 in 120 steps"),
        (2.29, "learns as it is; all_parameters: about the same loss in 120 steps"),
        (2.9, "learns as it is"),
    ],
)
def test_what_a_fact_s_change_reaches_is_said_where_the_program_learns(loss: float, words: str) -> None:
    curve = ((0, 2.3), (120, loss))
    tried = change("all_parameters", "no better", "unregistered_layers", curve=curve, is_certain=True)
    luck = change("rate_ten", "no better", "unregistered_layers", curve=((0, 2.3), (120, 0.01)))
    (judged,) = with_outcomes([finding("unregistered_layers")], experiments(tried, luck, state="learns"), predictions=[])
    assert judged.tested is not None
    assert judged.tested.outcome == ("not tested" if loss > 2.3 else "open")
    assert judged.tested.said.endswith(words)


def test_a_remedy_that_no_experiment_makes_is_called_so() -> None:
    (judged,) = with_outcomes([finding("wrong_axis")], experiments(), predictions=[])
    assert judged.tested is not None
    assert judged.tested.said == "no experiment makes this change"


def test_a_control_confirms_what_it_was_asked() -> None:
    asked = change("future_exchanged", "control", "sees_future", bears_out=True, reason="it sees the future")
    (judged,) = with_outcomes([finding("sees_future")], experiments(asked, state="learns"), predictions=[])
    assert judged.tested is not None
    assert judged.tested.outcome == "confirmed"
    answered = change("future_exchanged", "control", "sees_future", bears_out=False, reason="no future is used")
    (judged,) = with_outcomes([finding("sees_future")], experiments(answered, state="learns"), predictions=[])
    assert judged.tested is not None
    assert (judged.tested.outcome, judged.tested.said) == ("open", "no future is used")


@pytest.mark.parametrize(
    ("state", "name", "verdict"),
    [
        ("at chance", "he", "stalled"),
        ("stays above", "softmax_off", "capped"),
        ("stays above", "all_parameters", "too slow"),
        ("not finite", "he", "unstable"),
    ],
)
def test_a_confirmed_cause_overrules_a_mild_verdict(state: str, name: str, verdict: str) -> None:
    found = experiments(change(name, "trains", "slow_start"), state=state)
    assert tried_verdict("will train", "", found)[0] == verdict
    kept, reason = tried_verdict("broken data", "counted", found)
    assert kept == "broken data"
    assert reason.startswith("counted; one change makes it learn")


@pytest.mark.parametrize(
    ("state", "last", "before", "is_clear", "verdict"),
    [
        ("learns", 0.2, "dead", False, "cannot tell"),  # it was seen to learn
        ("learns", 1.9, "too slow", False, "too slow"),  # a little in so many steps is no contradiction
        ("learns", 0.2, "broken metric", False, "broken metric"),
        ("learns", 0.2, "cannot tell", True, "will train"),
        ("learns", 0.2, "cannot tell", False, "cannot tell"),  # something speaks against it
        ("learns", 1.2, "cannot tell", True, "cannot tell"),
        ("at chance", 2.3, "will train", False, "cannot tell"),
        ("at chance", 2.3, "dead", False, "dead"),
        ("not finite", math.inf, "slow start", False, "unstable"),
        ("open", 2.3, "slow start", False, "slow start"),
        ("unknown", 2.3, "slow start", False, "slow start"),
    ],
)
def test_the_verdict_follows_from_experiments_without_a_confirmed_change(
    state: str, last: float, before: str, is_clear: bool, verdict: str
) -> None:
    found = experiments(change("rate_ten", "no better"), state=state)
    seeds = [dataclasses.replace(arm, curve=((0, 2.3), (120, last))) for arm in found.arms[:2]]
    found = dataclasses.replace(found, arms=(*seeds, *found.arms[2:]), chance=2.3)
    after, reason = tried_verdict(before, "why", found, is_clear=is_clear)  # type: ignore[arg-type]
    assert after == verdict
    assert ("experiments" in reason) == (state != "unknown")


@pytest.mark.parametrize(
    ("state", "loss", "words"),
    [
        ("learns", 0.02, "lower loss"),
        ("learns", 0.2, "about the same"),
        ("learns", 1.1, "higher loss"),
        ("learns", math.inf, "not finite"),
        ("at chance", 0.02, "lower, not enough"),
        ("at chance", 0.2, "no better"),
        ("at chance", 1.1, "no better"),
    ],
)
def test_the_table_says_how_a_change_compares(state: str, loss: float, words: str) -> None:
    found = experiments(change("rate_ten", "no better", curve=((0, 1.14), (120, loss))), state=state)
    ended = (0.173, 0.21)
    seeds = [dataclasses.replace(arm, curve=((0, 1.14), (120, end))) for arm, end in zip(found.arms[:2], ended, strict=True)]
    found = dataclasses.replace(found, arms=(*seeds, *found.arms[2:]))
    assert experiment_table(found).rows[2][0][COLUMNS.index("outcome")] == words


def test_a_change_cut_short_is_not_tested_and_speaks_for_nothing() -> None:
    short = change(
        "rate_ten", "not tested", "update_ratio", curve=((0, 2.3), (15, 2.3)), reason="cut short after 15 of 120 steps"
    )
    once = change("rate_tenth", "not tested", curve=((0, 2.3), (120, 0.4)), again=None, reason="it learns once")
    whole = change("clip_off", "no better", "clipping")
    (first, second) = with_outcomes([finding("update_ratio"), finding("clipping")], experiments(short, whole), predictions=[])
    assert first.tested is not None
    assert first.tested.outcome == "not tested"
    assert "15 of 120 steps" in first.tested.said
    assert second.tested is not None
    assert second.tested.outcome == "open"
    assert "none of the 1 " in second.tested.said
    assert "1 was not tested" in second.tested.said
    rows = {cells[0]: cells for cells, _ in experiment_table(experiments(short, once, whole)).rows}
    assert rows["rate_ten"][COLUMNS.index("outcome")] == "cut short"
    assert rows["rate_tenth"][COLUMNS.index("outcome")] == "one seed only"
    assert rows["rate_ten"][COLUMNS.index("steps")] == "15 of 120"


def test_what_nobody_suspected_is_a_finding_of_its_own() -> None:
    diagnosis = diagnose(Evidence(experiments=experiments(change("momentum_usual", "trains"))))
    assert [item.code for item in diagnosis.findings] == ["confirmed_change.momentum_usual"]
    assert diagnosis.worse_than_hint
    diagnosis = diagnose(Evidence(experiments=experiments(change("momentum_usual", "faster"), state="learns")))
    assert diagnosis.findings == ()


def test_experiments_survive_the_way_through_a_file() -> None:
    found = experiments(change("he", "trains", curve=((0, 2.3), (1, float("inf")))), notes=("a",))
    evidence = Evidence(experiments=found)
    assert Evidence.from_dict(json.loads(json.dumps(evidence.to_dict(), allow_nan=False))).experiments == found
    assert Evidence.from_dict({"version": 2}).experiments is None
    assert evidence.merge(Evidence()).experiments == found


def test_curves_stand_side_by_side_on_one_scale() -> None:
    assert sparkline([2.3, 1.2, 0.1], 0.1, 2.3) == "█▅▁"
    assert sparkline([50.0, float("inf")], 0.1, 2.3) == "█x"
    assert len(sparkline([1.0] * 100, 0.0, 2.0)) <= len("█████████")
    table = experiment_table(experiments(change("he", "trains")))
    assert [len(cells) for cells, _ in table.rows] == [len(COLUMNS)] * 3
    assert table.confirmed == ("he",)


@pytest.mark.parametrize("name", INTERVENTIONS)
def test_every_change_has_its_row_in_the_documentation(name: str) -> None:
    page = (Path(__file__).parent.parent / "docs" / "experiments.md").read_text()
    change = INTERVENTIONS[name]
    assert f"| `{name}` | {change.change} | {', '.join(f'`{rule}`' for rule in change.answers) or '–'} |" in page
    assert all(rule.partition(".")[0] in RULES for rule in change.answers)


def test_the_report_has_a_section(tmp_path: Path) -> None:
    run = finish_run(tmp_path / "run")
    assert experiments_section(read_run(run.folder)) is None
    evidence = Evidence(experiments=experiments(change("he", "trains"), change("rate_ten", "no better"))).to_dict()
    (run.folder / EVIDENCE).write_text(json.dumps(evidence))
    section = experiments_section(read_run(run.folder))
    assert section is not None
    drawn = plot_of(section.figure)
    assert [trace["name"] for trace in drawn["data"]] == ["as it is", "another seed", "he", "rate_ten"]
    assert [shape["name"] for shape in drawn["layout"]["shapes"]] == ["chance"]
    assert 'id="experiments"' in page_of(run.folder)


@pytest.mark.parametrize("steps", [40])
def test_changes_tried_elsewhere_do_what_they_do_here(program: str, tmp_path: Path, steps: int) -> None:
    make = functools.partial(load_setup, f"{program}:setup")
    torch.manual_seed(5)
    here = confirm(make, seconds=300, max_steps=steps).evidence.experiments
    with ThreadPoolExecutor(2) as executor:
        torch.manual_seed(5)
        there = confirm(make, seconds=300, max_steps=steps, executor=executor).evidence.experiments
    assert here is not None
    assert there is not None
    assert {arm.name: arm.curve for arm in there.arms} == {arm.name: arm.curve for arm in here.arms}
    assert [arm.name for arm in there.confirmed] == [arm.name for arm in here.confirmed]


def test_a_program_that_is_made_otherwise_elsewhere_is_refused(program: str) -> None:
    count = iter(range(100))

    def make() -> Setup:
        setup = load_setup(f"{program}:sound")
        with torch.no_grad():
            next(setup.model.parameters()).add_(next(count))
        batches = [(x, torch.randint(2, (32,))) for x, _ in setup.train_loader]  # nothing to learn, so that much is tried
        return dataclasses.replace(setup, train_loader=batches)

    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="other weights or batches"):
        confirm(make, seconds=60, max_steps=20, executor=executor)


@pytest.mark.parametrize("given", [nn.Linear(2, 2), "setup"])
def test_what_is_no_setup_is_refused_at_once(given: object) -> None:
    with pytest.raises(ValueError, match="takes a Setup or a function that returns one, not"):
        confirm(given)  # type: ignore[arg-type]
