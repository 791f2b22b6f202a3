"""Numbers as a person reads them."""

import math

import pytest

from trainability.formats import NONE, duration, finite, number, percent, signed


@pytest.mark.parametrize("value", [None, math.nan, math.inf, True, "1"])
def test_what_is_no_number_is_written_as_such(value: object) -> None:
    assert finite(value) is None
    assert percent(value) == number(value) == signed(value) == NONE
    assert percent(value, missing="not defined") == "not defined"


def test_numbers() -> None:
    assert percent(0.12345) == "12.35 %"
    assert (number(-0.5), number(1234.5, ",.0f"), signed(2), signed(-0.25, ".2f")) == ("−0.5", "1,234", "+2.0", "−0.25")


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(2.94, "2.9 s"), (725, "12 min 5 s"), (3 * 3600 + 7 * 60, "3 h 7 min"), (52 * 3600, "2 d 4 h"), (59.94, "59.9 s")],
)
def test_durations(seconds: float, written: str) -> None:
    assert duration(seconds) == written
