"""The check on the first images of MNIST and CIFAR-10, as they are and with one mistake; and the predictions that were made."""

import math
from pathlib import Path

import pytest
import real_audits
import real_sets

from trainability.data.dataset import DataSet

IMAGES = 1000
COMBINATIONS = [(name, title) for name in real_audits.SETS for title, case in real_audits.CASES.items() if name in case.sets]


@pytest.fixture(scope="module")
def sets() -> dict[str, DataSet]:
    missing = [name for name in real_audits.SETS if not (real_audits.DATA / name).is_dir()]
    if missing:
        pytest.skip(f"no {' and '.join(missing)} in {real_audits.DATA}")
    return {name: real_audits.data_of(name, real_audits.DATA, IMAGES) for name in real_audits.SETS}


@pytest.mark.parametrize(("name", "title"), COMBINATIONS)
def test_a_planted_mistake_is_named_and_nothing_else_is(sets: dict[str, DataSet], name: str, title: str) -> None:
    (other,) = (own for key, own in sets.items() if key != name)
    case = real_audits.CASES[title]
    diagnosis = case.look(sets[name], real_audits.DATA, other)
    assert real_audits.is_right(case, diagnosis), [finding.code for finding in diagnosis.findings]


def test_plans_have_the_budget_that_is_asked_for(tmp_path: Path) -> None:
    place = real_sets.Place(data_root=tmp_path, cache=None, device="cpu", never_steps=1)
    for number in range(24):
        spec = real_sets.draw(number)
        plan = real_sets.config_of(spec, place).init.plan
        if spec["start"] == "scheme":
            continue
        stds = [float(part.removeprefix("normal=").removesuffix(":1")) for part in plan.split(",")]
        gains = sum(math.log10(fan_in * std**2 / 2) for fan_in, std in zip(_fan_ins(spec), stds, strict=True))
        assert gains == pytest.approx(spec["budget"] - real_sets.LOG10_SQUARE[spec["data"], spec["input"]], abs=0.02)


def _fan_ins(spec: dict) -> list[int]:
    """Of the paper's table, at the width of the run and ten classes, for images of 32 pixels: the last map has one pixel."""
    per_stage = {"A": (1, 1, 2, 2, 2), "B": (2, 2, 2, 2, 2), "D": (2, 2, 3, 3, 3), "E": (2, 2, 4, 4, 4)}[spec["net"]]
    channels, found = 3, []
    for count, wide in zip(per_stage, (64, 128, 256, 512, 512), strict=True):
        for _ in range(count):
            found.append(9 * channels)
            channels = round(wide * spec["width"])
    hidden = round(4096 * spec["width"])
    return [*found, channels, hidden, hidden]


def test_a_prediction_holds_within_a_factor_two() -> None:
    assert real_sets.holds(100.0, 51)
    assert real_sets.holds(100.0, 199)
    assert not real_sets.holds(100.0, 49)
    assert not real_sets.holds(100.0, 201)
    assert not real_sets.holds(100.0, None)
    assert real_sets.holds(math.inf, None)
    assert not real_sets.holds(math.inf, 5000)
