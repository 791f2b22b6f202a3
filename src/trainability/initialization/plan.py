"""An initialisation plan: one scheme per weight layer, first to last."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from trainability.config import nearest
from trainability.doctor.told import told
from trainability.initialization.schemes import SCHEMES


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A scheme and its number of consecutive layers; `None` takes all layers that the other segments leave."""

    scheme: str
    value: float | None = None
    count: int | None = None

    def __str__(self) -> str:
        """Write it as in a plan: `normal=0.01:3`."""
        value = "" if self.value is None else f"={self.value:g}"
        count = "" if self.count is None else f":{self.count}"
        return f"{self.scheme}{value}{count}"


_SEGMENT = re.compile(r"(?P<scheme>[a-z-]+)(=(?P<value>[^:]+))?(:(?P<count>.+))?")


@dataclass(frozen=True, kw_only=True)
class InitPlan:
    """One scheme per weight layer. Reading its text form gives an equal plan."""

    segments: tuple[Segment, ...]

    @classmethod
    def parse(cls, text: str) -> InitPlan:
        """Read a plan such as `xavier:4,normal=0.01,xavier:3`.

        Raises:
            ValueError: an unknown scheme, a missing or invalid value or count, or two segments without a count.
        """
        if not isinstance(text, str):
            raise ValueError(f"plan is {told(text)}; expected an InitPlan or its text, as in xavier:4,he")
        segments = tuple(_parse_segment(part.strip(), text) for part in text.split(","))
        open_ended = [str(segment) for segment in segments if segment.count is None]
        if len(open_ended) > 1:
            raise ValueError(
                f'init.plan "{text}": {" and ".join(open_ended)} have no count; only one segment can take the rest'
            )
        return cls(segments=segments)

    def __str__(self) -> str:
        """Write the text form."""
        return ",".join(map(str, self.segments))

    def resolve(self, num_layers: int) -> list[Segment]:
        """Assign a segment to each of a net's weight layers.

        Returns:
            One segment per layer.

        Raises:
            ValueError: the counts do not add up to the number of layers; the message has both numbers.
        """
        counted = sum(segment.count or 0 for segment in self.segments)
        rest = num_layers - counted
        open_ended = any(segment.count is None for segment in self.segments)
        if rest < 0 or (rest > 0 and not open_ended):
            raise ValueError(f'init.plan "{self}" is for {counted} weight layers; the network has {num_layers}')
        return [segment for segment in self.segments for _ in range(rest if segment.count is None else segment.count)]


def _parse_segment(part: str, text: str) -> Segment:
    match = _SEGMENT.fullmatch(part)
    if match is None:
        raise ValueError(f'init.plan "{text}": cannot read "{part}"; write SCHEME, SCHEME:LAYERS or SCHEME=VALUE:LAYERS')
    name = match["scheme"]
    if name not in SCHEMES:
        raise ValueError(f'init.plan "{text}": unknown scheme "{name}"{nearest(name, list(SCHEMES))}')
    needed = SCHEMES[name].value
    if needed and match["value"] is None:
        raise ValueError(f'init.plan "{text}": {name} needs {needed}, as in "{name}=0.01"')
    if not needed and match["value"] is not None:
        raise ValueError(f'init.plan "{text}": {name} takes no value')
    value = count = None
    if match["value"] is not None:
        value = _number(match["value"], text, float)
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f'init.plan "{text}": {needed} of {name} is {value:g}; it must be above 0')
    if match["count"] is not None:
        count = int(_number(match["count"], text, int))
        if count < 1:
            raise ValueError(f'init.plan "{text}": a count of {count} layers; it must be at least 1')
    return Segment(scheme=name, value=value, count=count)


def _number(written: str, text: str, kind: Callable[[str], float]) -> float:
    try:
        return kind(written)
    except ValueError:
        whole = "a whole number" if kind is int else "a number"
        raise ValueError(f'init.plan "{text}": "{written}" is not {whole}') from None
