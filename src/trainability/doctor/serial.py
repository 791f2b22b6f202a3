"""Convert frozen dataclasses to plain JSON values and back, with NaN and infinity as strings, which any JSON reader accepts."""

import dataclasses
import functools
import math
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def to_plain(value: Any) -> Any:
    """Convert dataclasses, tuples and floats to values of strict JSON.

    Args:
        value: a dataclass instance, a tuple or dict of them, or a plain value.

    Returns:
        Dicts, lists, strings and numbers; a float that is not finite becomes ``"nan"``, ``"inf"`` or ``"-inf"``,
        because JSON (RFC 8259) cannot express it.
    """
    if isinstance(value, float):  # first, as most values of histograms are
        return value if math.isfinite(value) else "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, (tuple, list)):
        is_plain = set(map(type, value)) == {float} and all(map(math.isfinite, value))  # histograms: in one go
        return list(value) if is_plain else [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def from_plain(kind: type[T], value: Any) -> T:
    """Rebuild what `to_plain` wrote.

    Args:
        kind: the dataclass to build.
        value: a dict as `to_plain` or ``json.loads`` returns it. Unknown keys are an error; missing ones take the
            field's default, so that records of older versions can be read.

    Raises:
        ValueError: an unknown key, or a value of the wrong type; the message gives it.
    """
    return _decode(kind, value, kind.__name__)


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _decode(_without_none(kind), value, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(kind, value, where)
    if origin is tuple:
        return _decode_tuple(typing.get_args(kind), value, where)
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError(f"{where}: expected a number, got {value!r}")
        if isinstance(value, str) and value not in _NON_FINITE:
            raise ValueError(f"{where}: expected a number, got {value!r}")
        return _NON_FINITE[value] if isinstance(value, str) else float(value)
    if kind in (int, str, bool) and not isinstance(value, kind):
        raise ValueError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value


def _without_none(kind: Any) -> Any:
    (only,) = [arm for arm in typing.get_args(kind) if arm is not type(None)]  # unions here have one type besides None
    return only


def _decode_dataclass(kind: type, value: Any, where: str) -> Any:
    if isinstance(value, kind):
        return value  # already decoded by a class that also reads its older forms
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected an object, got {value!r}")
    hints = _hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(value) - names):
        raise ValueError(f"{where}: unknown field {unknown[0]!r}; known are {', '.join(sorted(names))}")
    decoded = {name: _decode(hints[name], item, f"{where}.{name}") for name, item in value.items()}
    try:
        return kind(**decoded)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None


def _decode_tuple(arms: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{where}: expected a list, got {value!r}")
    if len(arms) == 2 and arms[1] is Ellipsis:
        return tuple(_decode(arms[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(arms) != len(value):
        raise ValueError(f"{where}: expected {len(arms)} values, got {len(value)}")
    return tuple(_decode(arm, item, f"{where}[{i}]") for i, (arm, item) in enumerate(zip(arms, value, strict=True)))
