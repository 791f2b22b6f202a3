"""The phase diagram: its borders against measurement, its runs against what they do, and a folder that is gone on with."""

import copy
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import browser
import pytest
import torch
from test_plan import deep, setup_of
from torch import nn
from torch.nn import functional as F

from trainability.checking.phase_map import read_runs, run_cells
from trainability.checking.program import Program
from trainability.cli import program as cli
from trainability.doctor.measure.probe import probe
from trainability.doctor.reading import total_budget
from trainability.doctor.setup import Setup
from trainability.initialization import InitPlan, apply
from trainability.prescribe import phase_map as maps
from trainability.prescribe.phase_map import AtBudget, Cell, PhaseMap, cells, outcomes, phase_map
from trainability.prescribe.short_run import ShortRun, scale_budget, short_run
from trainability.report.phase_map import map_figure, write_map

PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F
from trainability import Setup

def setup():
    torch.manual_seed(0)
    layers = []
    for _ in range(8):
        layers += [nn.Linear(16, 16, bias=False), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(16, 4, bias=False))
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    labels = torch.arange(32) % 4
    batches = [(torch.randn(32, 16) + 3 * F.one_hot(labels, 16), labels)] * 4
    return Setup(model=model, train_loader=batches, optimizer=torch.optim.SGD(model.parameters(), 0.05))

def normalised():
    made = setup()
    model = nn.Sequential(made.model, nn.LayerNorm(4))
    return Setup(model=model, train_loader=made.train_loader, optimizer=torch.optim.SGD(model.parameters(), 0.05))
"""


def he_setup(lr: float = 0.05) -> Setup:
    model, batches = deep()
    apply(InitPlan.parse("he"), model, seed=0)
    return setup_of(model, batches, lr=lr)


@pytest.fixture(scope="module")
def found() -> PhaseMap:
    return phase_map(he_setup(), steps=100, seconds=300.0)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"mapped_{os.getpid()}_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    return name


def test_scaled_weights_have_the_budget_that_was_asked_for() -> None:
    setup = he_setup()
    batch = setup.train_loader[0]  # type: ignore[index]
    before = total_budget(probe(setup.model, F.cross_entropy, *batch))
    scale_budget(setup.model, -3.5)
    after = total_budget(probe(setup.model, F.cross_entropy, *batch))
    assert before is not None
    assert after is not None
    assert after - before == pytest.approx(-3.5, abs=1e-3)


def test_the_predicted_stay_is_as_long_as_the_run_on_the_slow_border(found: PhaseMap) -> None:
    for budget in (-4.0, -2.0):
        border = found.slowest_lr(budget)
        assert border is not None
        setup = he_setup(lr=border)
        scale_budget(setup.model, budget - found.budget)
        batch = tuple(torch.cat([part, part]) for part in setup.train_loader[0])  # type: ignore[index]  # as many as the map takes
        stay = probe(setup.model, F.cross_entropy, *batch, optimizer=setup.optimizer).plateau_steps
        assert stay == pytest.approx(found.steps, rel=0.02)


def test_the_first_update_raises_the_loss_above_the_critical_rate_alone(found: PhaseMap) -> None:
    for budget in (-3.0, 0.0, 2.0):
        border = found.first_critical_lr(budget)
        assert border is not None
        for factor, rises in ((0.4, False), (2.5, True)):
            setup = he_setup(lr=factor * border)
            scale_budget(setup.model, budget - found.budget)
            images, labels = (part[:32] for part in setup.train_loader[0])  # type: ignore[index]
            before = F.cross_entropy(setup.model(images), labels)
            before.backward()
            setup.optimizer.step()
            assert (F.cross_entropy(setup.model(images), labels) > before).item() is rises


def test_a_net_that_grows_meets_the_rates_of_the_budgets_on_its_way(found: PhaseMap) -> None:
    at = [found.critical_lr(float(budget)) for budget in range(-12, 1)]
    assert all(lr is not None for lr in at)
    assert at == sorted(at)  # type: ignore[type-var]
    assert found.critical_lr(-8.0) <= found.first_critical_lr(0.0)  # type: ignore[operator]


def test_what_is_predicted_at_the_corners(found: PhaseMap) -> None:
    assert found.predicted(-11.0, 1e-3) == "dead"
    assert found.predicted(-4.0, 1e-6) == "slow"
    assert found.predicted(0.0, 0.05) == "trained"
    assert found.predicted(0.0, 1e4) == "exploded"
    assert found.predicted(11.0, 1e-3) == "exploded"
    assert found.predicted(5.0, 1e-6) is None  # above the band, below the critical rate


@pytest.mark.parametrize(
    ("decades", "lr", "end"),
    [(0.0, 0.05, "trained"), (0.0, 1e6, "exploded"), (-12.0, 0.05, "at chance"), (5.0, 1e-9, "falling")],
)
def test_a_short_run_says_what_happened(decades: float, lr: float, end: str) -> None:
    setup = he_setup()
    before = copy.deepcopy(setup.model.state_dict())
    state = torch.get_rng_state()
    run = short_run(setup, decades=decades, lr=lr, steps=100, chance=math.log(4))
    assert run.end == end
    assert (run.left_chance_step is not None) is (end == "trained")
    assert all(torch.equal(value, before[name]) for name, value in setup.model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_units_that_die_of_a_step_too_long_have_exploded() -> None:
    setup = he_setup()
    assert short_run(setup, decades=4.0, lr=0.05, steps=100, chance=math.log(4)).end == "exploded"


def run_of(end: str, left: int | None = None) -> ShortRun:
    return ShortRun(end=end, steps=100, left_chance_step=left, first_loss=1.4, last_loss=1.4)  # type: ignore[arg-type]


def test_slow_and_dead_are_told_apart_by_the_larger_rates() -> None:
    runs = {
        Cell(budget=-3.0, lr=0.001): run_of("at chance"),
        Cell(budget=-3.0, lr=0.01): run_of("trained", 40),
        Cell(budget=-9.0, lr=0.001): run_of("at chance"),
        Cell(budget=-9.0, lr=0.01): run_of("at chance"),
        Cell(budget=4.0, lr=1e-5): run_of("falling"),
        Cell(budget=4.0, lr=1.0): run_of("exploded"),
        Cell(budget=0.0, lr=1.0): run_of("at chance"),
        Cell(budget=0.0, lr=0.1): run_of("trained", 40),
    }
    assert list(outcomes(runs).values()) == ["slow", "trained", "dead", "dead", "slow", "exploded", "dead", "trained"]


def test_more_runs_fill_the_gaps_between_those_that_are_there(found: PhaseMap) -> None:
    every = len(found.budgets) * len(found.rates)
    order = cells(found, every)
    assert len(set(order)) == every
    assert order[0] == found.here
    for count in (10, 40, 160):
        assert cells(found, count) == order[:count]
        columns = [sum(cell.budget == budget for cell in order[:count]) for budget in found.budgets]
        assert max(columns) - min(columns) <= 2 + count / 40
    assert len(cells(found, 10 * every)) == every


def drawn(name: str, folder: Path, count: int, **program: str) -> dict[Cell, ShortRun]:
    made = Program(target=f"{name}:setup")
    borders = phase_map(made.setup(), steps=60, seconds=0.001)
    return run_cells(made, borders, count, folder=folder, executor=lambda: ThreadPoolExecutor(1))


def test_a_folder_is_gone_on_with_and_its_runs_are_not_made_again(program: str, tmp_path: Path) -> None:
    first = drawn(program, tmp_path / "map", 3)
    path = tmp_path / "map" / "runs.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:17])  # killed in the middle of a line
    again = drawn(program, tmp_path / "map", 5)
    assert len(again) == 5
    assert {cell: again[cell] for cell in first} == first
    assert path.read_text().startswith("".join(lines[:2]))
    assert read_runs(tmp_path / "map") == again
    assert len({json.loads(line)["name"] for line in path.read_text().splitlines() if line.endswith("}")}) == 5


def test_the_runs_of_another_program_are_refused(program: str, tmp_path: Path) -> None:
    borders = phase_map(he_setup(), steps=60, seconds=0.001)
    run_cells(Program(target=f"{program}:setup"), borders, 0, folder=tmp_path, executor=lambda: ThreadPoolExecutor(1))
    with pytest.raises(ValueError, match="runs of another map"):
        run_cells(Program(target="other:setup"), borders, 0, folder=tmp_path, executor=lambda: ThreadPoolExecutor(1))


def answer(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments])
    return int(stop.value.code or 0)


def test_the_command_writes_page_and_json(program: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--steps", "60", "--seconds", "1", "--runs", "2", "--processes", "1", "--dir", "made")
    assert answer("map", f"{program}:setup", *flags, "--json") == 0
    plain = json.loads(capsys.readouterr().out)
    assert sum(row["outcome"] is not None for row in plain["cells"]) == 2
    here = [row for row in plain["cells"] if {"budget": row["budget"], "lr": row["lr"]} == plain["here"]]
    assert here[0]["outcome"] == "trained"
    assert (tmp_path / "made" / "map.html").stat().st_size > 1e6
    assert answer("map", f"{program}:setup", *flags) == 0
    shown = capsys.readouterr().out
    assert "you are here" in shown
    assert "2 runs" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--runs", "-1"), "runs"),
        (("--steps", "3"), "steps"),
        (("--runs", "2", "--processes", "0"), "--processes is 0"),
        (("--runs", "2", "--processes", "2", "--cluster", "tcp://127.0.0.1:1"), "one of them"),
        (("--model.config", "D"), "flags of train"),
    ],
)
def test_unusable_values_are_one_line(
    program: str, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer("map", f"{program}:setup", *arguments) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert len(shown.splitlines()) == 1


def test_a_net_without_a_budget_is_one_line(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer("map", f"{program}:normalised") == 2
    assert "normalisation" in capsys.readouterr().err


def test_where_the_band_does_not_speak_it_is_not_drawn() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    apply(InitPlan.parse("he"), model, seed=0)
    shallow = phase_map(setup_of(model, deep()[1]), steps=60, seconds=0.001)
    assert shallow.band is None
    assert "2 weight layers" in " ".join(shallow.notes)
    names = {trace["name"] for trace in map_figure(shallow, {}, {}).plot["data"]}  # type: ignore[index]
    assert "band" not in names
    assert "critical" in names


def test_borders_are_interpolated_where_both_sides_are_known() -> None:
    measured = (
        AtBudget(budget=-4.0, plateau_steps=1050.0, critical_lr=1.0),
        AtBudget(budget=-2.0, plateau_steps=60.0, critical_lr=0.01),
        AtBudget(budget=0.0, plateau_steps=None, critical_lr=None),
        AtBudget(budget=-8.0, plateau_steps=math.inf, critical_lr=None),
    )
    made = PhaseMap(
        budget=-2.0,
        lr=0.1,
        steps=150,
        chance=1.0,
        budgets=maps.BUDGETS,
        rates=(0.01, 0.1, 1.0),
        band=(-5.0, 2.7),
        measured=tuple(sorted(measured, key=lambda m: m.budget)),
    )
    assert made.first_critical_lr(-3.0) == pytest.approx(0.1)
    assert made.slowest_lr(-4.0) == pytest.approx(1.0)
    assert made.slowest_lr(-3.0) == pytest.approx(0.1)
    assert made.slowest_lr(-6.0) == math.inf
    assert made.slowest_lr(-1.0) is None
    assert made.predicted(-6.0, 0.1) == "dead"
    assert made.predicted(-3.0, 0.05) == "slow"
    assert made.predicted(3.0, 0.05) == "exploded"


def test_a_stay_longer_than_the_run_is_slow_and_noise_is_asked_for_on_the_way() -> None:
    measured = (
        AtBudget(budget=-4.0, plateau_steps=250.0, critical_lr=10.0, noise_lr=8.0),
        AtBudget(budget=-2.0, plateau_steps=90.0, critical_lr=10.0, noise_lr=0.5),
        AtBudget(budget=0.0, plateau_steps=58.0, critical_lr=10.0, growing_steps=1000.0, noise_lr=2.0),
    )
    made = PhaseMap(
        budget=-2.0,
        lr=0.1,
        steps=150,
        chance=1.0,
        budgets=maps.BUDGETS,
        rates=(0.01, 0.1, 1.0),
        band=(-5.0, 2.7),
        measured=measured,
    )
    assert made.told(-2.0, 0.1) == "trained, at chance for about 90 steps"
    assert made.predicted(-4.0, 0.1) == "slow"
    assert made.told(-4.0, 0.1) == "slow, at chance for about 250 steps"
    assert made.predicted(-4.0, 0.4) == "trained"
    assert made.predicted(-4.0, 0.6) is None  # it passes -2, where noise outruns the gradient from 0.5 on
    assert made.predicted(-4.0, 11.0) == "exploded"
    settled = made.stay(0.0, 0.1)  # 10 steps before it came down to chance, 1000 after
    assert settled == pytest.approx(50 + 0.8 * math.sqrt(15.0 * 1005.0))
    border = made.slowest_lr(0.0)
    assert border is not None
    assert made.stay(0.0, border) == pytest.approx(150, rel=1e-3)


@pytest.mark.browser
def test_the_page_draws_its_map(found: PhaseMap, tmp_path: Path) -> None:
    if browser.CHROMIUM is None:
        pytest.skip("chromium is not installed")
    runs = {found.here: run_of("trained", 30)}
    page = write_map(tmp_path / "map.html", found, runs, outcomes(runs), title="a net")
    seen = browser.visit(page, tmp_path)
    assert "you are here" in seen.dom
    assert not seen.console
    assert not seen.requests
