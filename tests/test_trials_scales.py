"""A trial at a scale: what is rescaled, what stands in, and how a run is spread over sessions."""

import dataclasses
from pathlib import Path

import pytest

from trainability.data import dataset
from trainability.trials.book import TRIALS
from trainability.trials.cost import cost_seconds
from trainability.trials.scales import DESK_SETS, STAND_INS, at_width, configure, find_places, in_sessions, scales_of


def test_a_standard_deviation_grows_as_the_width_shrinks() -> None:
    assert at_width("xavier:4,normal=0.01,xavier:3", 0.25) == "xavier:4,normal=0.02,xavier:3"
    assert at_width("uniform=0.5:2,he", 0.25) == "uniform=1:2,he"
    assert at_width("xavier", 0.25) == "xavier"


@pytest.mark.parametrize("name", STAND_INS)
def test_a_stand_in_has_the_training_images_that_its_steps_are_counted_by(name: str) -> None:
    trial = next(trial for trial in TRIALS.values() if trial.data == name and not trial.plans)
    config = configure(trial, "pocket", "repaired", 0)
    data = dataset.load(config.data, seed=0)
    assert len(data.train) == STAND_INS[name].num_train
    per_epoch = -(-len(data.train) // config.optim.batch_size)
    assert config.optim.epochs * per_epoch == pytest.approx(trial.steps, abs=per_epoch)


def test_a_run_with_the_bugs_differs_by_its_faults_and_what_was_wrong_only() -> None:
    trial = TRIALS["caltech-1"]
    as_run, repaired = (configure(trial, "pocket", variant, 0) for variant in ("as-run", "repaired"))
    assert as_run.run.faults == trial.faults
    assert repaired.run.faults == ()
    assert (as_run.model.num_outputs, repaired.model.num_outputs) == (1000, None)
    assert as_run.optim == repaired.optim
    assert as_run.data == repaired.data
    assert as_run.init == repaired.init


def test_real_sets_are_taken_from_the_folder_that_has_them(tmp_path: Path) -> None:
    (tmp_path / "caltech256").mkdir()
    (tmp_path / "elsewhere").mkdir()
    places = find_places(tmp_path, [f"mnist={tmp_path / 'elsewhere'}"])
    assert places == {"caltech256": tmp_path / "caltech256", "mnist": tmp_path / "elsewhere"}
    assert configure(TRIALS["caltech-1"], "full", "repaired", 0, places=places).data.path == tmp_path / "caltech256"
    assert configure(TRIALS["cifar100-1"], "full", "repaired", 0, places=places).data.path is None
    assert configure(TRIALS["mnist-fail"], "desk", "repaired", 0, places=places).data.path == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("root", "named", "words"),
    [
        ("nowhere", [], "no such folder"),
        (".", [], "it holds none of caltech256"),
        (None, ["/data"], "expected NAME=PATH"),
        (None, ["mnst=/"], "with NAME one of caltech256"),
        (None, ["mnist=/nowhere/at/all"], "there is no /nowhere/at/all"),
    ],
)
def test_places_that_are_none_are_refused_in_one_line(
    root: str | None, named: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words) as error:
        find_places(None if root is None else Path(root), named)
    assert "\n" not in str(error.value)


def test_real_sets_are_run_where_they_are_at_hand_and_small_enough(tmp_path: Path) -> None:
    places = {"mnist": tmp_path, "imagenet": tmp_path}
    assert scales_of(TRIALS["mnist-fail"], None, places) == ("pocket", "desk")
    assert scales_of(TRIALS["cifar10-fail"], None, places) == ("pocket",)
    assert scales_of(TRIALS["imagenet-A"], None, places) == ("pocket",)
    assert scales_of(TRIALS["mnist-fail"], "full", places) == ("full",)
    assert scales_of(TRIALS["caltech-1"], "desk", places) == ()


def test_a_desk_run_is_the_real_set_at_a_quarter_of_the_width() -> None:
    config = configure(TRIALS["mnist-success"], "desk", "as-told", 0)
    assert (config.data.name, config.data.crop, config.model.width) == ("mnist", 32, 0.25)
    assert config.init.plan == "xavier:4,normal=0.02,xavier:3"
    assert config.optim.epochs == DESK_SETS["mnist"].epochs


def test_what_a_trial_costs_is_known_before() -> None:
    for trial in TRIALS.values():
        pocket = cost_seconds(trial, "pocket")
        assert pocket is not None
        assert pocket > 0
        assert (cost_seconds(trial, "full") is None) == (not trial.plans)
    # Twice the seeds, twice the cost; a real set costs more than its stand-in.
    assert cost_seconds(TRIALS["imagenet-B-fail-2"], "pocket") == pytest.approx(
        2 * cost_seconds(dataclasses.replace(TRIALS["imagenet-B-fail-2"], faults=()), "pocket")  # type: ignore[operator]
    )
    assert cost_seconds(TRIALS["mnist-fail"], "desk") > cost_seconds(TRIALS["mnist-fail"], "pocket")  # type: ignore[operator]


def test_the_whole_book_takes_at_most_three_quarters_of_an_hour_on_two_cores() -> None:
    assert sum(cost_seconds(trial, "pocket") or 0 for trial in TRIALS.values()) / 2 < 45 * 60


def test_sessions_add_up_to_the_run() -> None:
    config = configure(TRIALS["imagenet-A"], "pocket", "repaired", 0)
    calls = in_sessions(config, 3)
    assert calls[-1] == config
    ends = [call.optim.epochs for call in calls]
    assert ends == sorted(set(ends))
    assert in_sessions(config, 1) == [config]
