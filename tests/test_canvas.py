"""Curves of braille characters: known points, known dots."""

import pytest
from rich.text import Text

from trainability.watch.canvas import Axis, Canvas, Curve, plot, value_axis


def drawn(curves: list[Curve], **given) -> list[str]:
    settings = {"width": 18, "height": 3, "last_x": 10.0, "level": None, "level_style": "grey50", "label": "{:.3g}".format}
    return [line.plain for line in plot(curves, **(settings | given))]


def test_every_dot_is_the_braille_dot_of_its_place() -> None:
    # Unicode numbers a character's dots 1 2 3 7 down the left column, 4 5 6 8 down the right.
    places = {1: (0, 0), 2: (0, 1), 3: (0, 2), 4: (1, 0), 5: (1, 1), 6: (1, 2), 7: (0, 3), 8: (1, 3)}
    for number, (x, y) in places.items():
        canvas = Canvas(1, 1)
        canvas.dot(x, y)
        assert canvas.text()[0].plain == chr(0x2800 + (1 << (number - 1)))


def test_outside_nothing_is_drawn() -> None:
    canvas = Canvas(2, 1)
    for x, y in ((-1, 0), (4, 0), (0, -1), (0, 4)):
        canvas.dot(x, y)
    assert canvas.text()[0].plain == "  "


def test_a_character_has_the_colour_of_its_last_dot() -> None:
    canvas = Canvas(1, 1)
    canvas.dot(0, 0, "red")
    canvas.dot(1, 3, "blue")
    (line,) = canvas.text()
    assert line.plain == "⢁"
    assert [str(span.style) for span in line.spans] == ["blue"]


def test_a_known_curve() -> None:
    # Eight by eight dots, and the diagonal from the upper left to the lower right: in each character dots 1 and 5, 3 and 8.
    falling = [Curve(points=[(0, 1.0), (10, 0.0)], style="")]
    assert drawn(falling, width=12, height=2) == ["      1 ⠑⢄  ", "      0   ⠑⢄"]
    rising = [Curve(points=[(0, 0.0), (10, 1.0)], style="")]
    assert drawn(rising, width=12, height=2) == ["      1   ⡠⠊", "      0 ⡠⠊  "]


def test_a_gap_is_left_open_and_a_lone_point_is_drawn() -> None:
    points = [(0, 1.0), (2, 1.0), (4, None), (6, 1.0), (8, None), (10, 1.0)]
    top = drawn([Curve(points=points, style="")])[0][8:]
    assert [place for place, char in enumerate(top) if char == " "] == [3, 4, 6, 7, 8]


def test_a_level_is_dashed_and_lies_below_the_curves() -> None:
    lines = plot(
        [Curve(points=[(0, 1.0), (10, 1.0)], style="blue")],
        width=18,
        height=3,
        last_x=10,
        level=0.5,
        level_style="grey50",
        label="{:.3g}".format,
    )
    assert "⠒⠒ ⠒⠒" in lines[1].plain or "⠤⠤ ⠤⠤" in lines[1].plain
    assert colours(lines[0]) == {"blue"}
    assert colours(lines[1]) == {"grey50"}
    same = plot(
        [Curve(points=[(0, 1.0), (10, 1.0)], style="blue")],
        width=18,
        height=3,
        last_x=10,
        level=1.0,
        level_style="grey50",
        label="{:.3g}".format,
    )
    assert colours(same[0]) == {"blue"}


def colours(line: Text) -> set[str]:
    return {str(span.style) for span in line.spans} - {"dim", ""}


@pytest.mark.parametrize(
    ("values", "axis"),
    [
        ([2.3, 2.2, 2.1], Axis(low=0, high=2.3)),  # a curve that does not move must look so
        ([2.3, 0.01], Axis(low=0.01, high=2.3, is_log=True)),
        ([0.9, 0.0], Axis(low=0, high=0.9)),
        ([0.9, 0.01, 0.0], Axis(low=0.01, high=0.9, is_log=True)),
        ([0.0], Axis(low=0, high=1)),
        ([], Axis(low=0, high=1)),
    ],
)
def test_the_axis_is_logarithmic_where_values_span_decades(values: list[float], axis: Axis) -> None:
    assert value_axis(values) == axis


def test_a_logarithmic_axis_gives_every_decade_the_same_height() -> None:
    axis = Axis(low=0.01, high=100, is_log=True)
    assert [axis.place(10.0**power, 41) for power in range(-2, 3)] == [0, 10, 20, 30, 40]
    assert axis.place(0, 41) == 0
    assert axis.value(0.5) == pytest.approx(1)


@pytest.mark.parametrize("size", [(1, 1), (8, 1), (9, 2), (200, 3)])
def test_any_size_is_drawn(size: tuple[int, int]) -> None:
    lines = drawn([Curve(points=[(0, 1.0), (10, 0.0)], style="")], width=size[0], height=size[1])
    assert len(lines) == size[1]
    assert drawn([], width=size[0], height=size[1])
