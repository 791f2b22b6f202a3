"""Configurations: their text form, and what they refuse."""

import dataclasses
from pathlib import Path

import pytest

from trainability import config as configuration
from trainability.config import DataConfig, InitConfig, ModelConfig, OptimConfig, RunConfig, RunSettings, toml

ODD = RunConfig(
    model=ModelConfig(config="A-LRN", width=0.5, classifier="linear"),
    init=InitConfig(plan="xavier:4,normal=0.01,xavier:3", from_=Path('a "quoted" \\ path')),
    data=DataConfig(name="synthetic", flip=False, imbalance=50.0),
    optim=OptimConfig(clip=None, schedule="steps", step_epochs=(3, 5), nesterov=True, lr=1e-7),
    run=RunSettings(sinks=("tensorboard", "wandb"), dir=Path("x"), seed=2**62),
)


@pytest.mark.parametrize("config", [RunConfig(), RunConfig().completed(), ODD, ODD.completed()])
def test_text_round_trip(config: RunConfig, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(configuration.to_toml(config))
    assert configuration.from_toml(path) == config


@pytest.mark.parametrize("config", [RunConfig(), ODD, ODD.completed()])
def test_recipe_flags_parse_to_the_same_configuration(config: RunConfig, tmp_path: Path) -> None:
    from trainability.cli import program as cli

    path = tmp_path / "recipe.toml"
    path.write_text(configuration.to_toml(config))
    call = cli._parse(["train", *configuration.recipe_flags(path)])
    assert call.keywords["config"] == config  # type: ignore[attr-defined]


def test_a_complete_configuration_leaves_nothing_open() -> None:
    config = RunConfig().completed()
    assert (config.model.width, config.model.hidden) == (0.25, 1024)
    assert (config.data.crop, config.data.size, config.data.flip) == (32, 36, False)
    assert config.completed() == config
    full = RunConfig(data=DataConfig(name="synthetic", crop=224)).completed()
    assert (full.model.width, full.model.hidden, full.data.size, full.data.flip) == (1.0, 4096, 224, True)


def test_configurations_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().model.config = "D"  # type: ignore[misc]


def test_differences_name_field_and_both_values() -> None:
    other = dataclasses.replace(ODD, optim=dataclasses.replace(ODD.optim, lr=0.1))
    (said,) = configuration.differences(ODD, other)
    assert all(part in said for part in ("optim.lr", "0.1", "1e-07"))
    assert configuration.differences(ODD, ODD) == []


@pytest.mark.parametrize("value", ["text", 1.5, True, None])
def test_a_value_of_the_wrong_kind_in_a_stored_configuration(tmp_path: Path, value: object) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"[optim]\nepochs = {toml._toml_value(value)}\n")
    with pytest.raises(ValueError, match=r"optim\.epochs"):
        configuration.from_toml(path)
