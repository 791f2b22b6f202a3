"""A run is held to what was published by a month."""

from pathlib import Path
from typing import Any

import pytest
from conftest import config_of

from trainability.config import field_flags
from trainability.config.period import TECHNIQUES, check_period, schemes
from trainability.training import engine as engines
from trainability.training.parts import assemble

OF_2014: dict[str, Any] = {"run__period": "2014-09", "optim__schedule": "plateau"}

USES: dict[str, dict[str, Any]] = {
    "He initialisation": {"init__plan": "xavier:4,he"},
    "warm-up of the learning rate": {"optim__warmup_steps": 5},
    "cosine schedule": {"optim__schedule": "cosine"},
    "training in bfloat16": {"run__precision": "bf16"},
    "training in TensorFloat-32": {"run__precision": "tf32"},
}


def test_the_seeds_rule_lets_the_papers_techniques_pass() -> None:
    check_period(config_of(**OF_2014, init__plan="xavier:4,normal=0.01,xavier:3", optim__clip=1.0, data__jitter=(32, 64)))


@pytest.mark.parametrize("name", [name for name, technique in TECHNIQUES.items() if technique.month > "2014-09"])
def test_what_came_later_is_refused_by_name_month_and_field(name: str) -> None:
    technique = TECHNIQUES[name]
    config = config_of(**{**OF_2014, **USES[name]})
    with pytest.raises(ValueError, match=f"{name} .*{technique.month} .* {technique.flag} ") as refused:
        check_period(config)
    assert "\n" not in str(refused.value)
    check_period(config_of(**{**OF_2014, **USES[name], "run__period": technique.month}))
    check_period(config_of(**{**OF_2014, **USES[name], "run__period": None}))


def test_a_run_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    config = config_of(**OF_2014, init__plan="he")
    with engines.start(config.run) as engine, pytest.raises(ValueError, match="He initialisation"):
        assemble(config, engine)


def test_every_technique_names_a_field_and_a_month() -> None:
    flags = {f"{section}.{flag}" for section, names in field_flags().items() for flag in names}
    assert {technique.flag for technique in TECHNIQUES.values()} <= flags
    months = [technique.month for technique in TECHNIQUES.values()]
    assert months == sorted(months)


@pytest.mark.parametrize("period", ["2014", "2014-13", "September 2014"])
def test_a_period_is_a_year_and_a_month(period: str) -> None:
    with pytest.raises(ValueError, match=r"run.period .* as in 2014-09"):
        config_of(run__period=period)


def test_schemes_of_a_plan() -> None:
    assert schemes("xavier:4, normal=0.01,he-uniform:3") == {"xavier", "normal", "he-uniform"}
