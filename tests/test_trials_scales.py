"""A trial at a scale: what is rescaled, what stands in, and how a run is spread over sessions."""

from pathlib import Path

import pytest

from trainability.data import dataset
from trainability.trials.book import TRIALS
from trainability.trials.scales import STAND_INS, at_width, configure, in_sessions


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


def test_a_published_run_differs_by_its_faults_and_what_was_published_only() -> None:
    trial = TRIALS["caltech-1"]
    published, repaired = (configure(trial, "pocket", variant, 0) for variant in ("as-published", "repaired"))
    assert published.run.faults == trial.faults
    assert repaired.run.faults == ()
    assert (published.model.num_outputs, repaired.model.num_outputs) == (1000, None)
    assert published.optim == repaired.optim
    assert published.data == repaired.data
    assert published.init == repaired.init


def test_real_sets_are_taken_from_the_folder_that_has_them(tmp_path: Path) -> None:
    (tmp_path / "caltech256").mkdir()
    assert configure(TRIALS["caltech-1"], "full", "repaired", 0, data_path=tmp_path).data.path == tmp_path / "caltech256"
    assert configure(TRIALS["cifar100-1"], "full", "repaired", 0, data_path=tmp_path).data.path is None


def test_sessions_add_up_to_the_run() -> None:
    config = configure(TRIALS["imagenet-A"], "pocket", "repaired", 0)
    calls = in_sessions(config, 3)
    assert calls[-1] == config
    ends = [call.optim.epochs for call in calls]
    assert ends == sorted(set(ends))
    assert in_sessions(config, 1) == [config]
