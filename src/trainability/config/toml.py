"""Write a configuration as TOML, read it back, compare two, and expand one into flags."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from trainability.config.checks import nearest, shown
from trainability.config.fields import SECTIONS, RunConfig
from trainability.disk import regular

MOST_BYTES = 2**20


def field_flags() -> dict[str, dict[str, str]]:
    """Per section: name of a field on the command line and in TOML (`from`, `batch-size`) -> its Python name."""
    return {
        section: {f.name.rstrip("_").replace("_", "-"): f.name for f in dataclasses.fields(cls)}
        for section, cls in SECTIONS.items()
    }


def to_toml(config: RunConfig) -> str:
    """Write a configuration as TOML; `from_toml` and `--recipe` read back an equal one.

    TOML has no null: off is written "None", as on the command line.
    """
    lines = []
    for section in SECTIONS:
        lines.append(f"[{section}]")
        part = getattr(config, section)
        for flag, name in field_flags()[section].items():
            lines.append(f"{flag} = {_toml_value(getattr(part, name))}")
        lines.append("")
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    # JSON's string escapes are a subset of those of TOML's basic strings.
    return json.dumps(str(value), ensure_ascii=False)


def read_tables(path: Path) -> dict[str, dict[str, Any]]:
    """Read a recipe or a run's `config.toml`, and check that every key is a field.

    Raises:
        ValueError: no such file, not TOML, or an unknown section or key; the message suggests the nearest known one.
    """
    try:
        text = regular.read(path, most_bytes=MOST_BYTES)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        tables = tomllib.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(f"{path}: not a TOML file ({reason})") from None
    flags = field_flags()
    for section, table in tables.items():
        if section not in flags or not isinstance(table, dict):
            said = f"unknown section [{section}]" if isinstance(table, dict) else f"{section} is in no section"
            raise ValueError(f"{path}: {said}; sections are {', '.join(f'[{s}]' for s in flags)}")
        for key in table:
            if key not in flags[section]:
                raise ValueError(f"{path}: unknown key {section}.{key}{nearest(key, list(flags[section]))}")
    return tables


def recipe_flags(path: Path) -> list[str]:
    """Expand a TOML recipe into command-line flags. They come before the user's own flags, which override them.

    Raises:
        ValueError: as in `read_tables`, or a value has another type than its field.
    """
    arguments: list[str] = []
    flags = field_flags()
    for section, table in read_tables(path).items():
        hints = get_type_hints(SECTIONS[section])
        for key, value in table.items():
            _from_toml_value(f"{path}: {section}.{key}", value, hints[flags[section][key]])
            if hints[flags[section][key]] is bool and isinstance(value, bool):
                arguments.append(f"--{section}.{key}" if value else f"--{section}.no-{key}")
                continue
            arguments.append(f"--{section}.{key}")
            arguments.extend(str(item) for item in (value if isinstance(value, list) else [value]))
    return arguments


def from_toml(path: Path) -> RunConfig:
    """Read a configuration that `to_toml` wrote.

    Raises:
        ValueError: as in `read_tables`, or a field does not accept its value.
    """
    parts = {}
    flags = field_flags()
    for section, table in read_tables(path).items():
        hints = get_type_hints(SECTIONS[section])
        values = {flags[section][key]: value for key, value in table.items()}
        parts[section] = SECTIONS[section](
            **{name: _from_toml_value(f"{path}: {section}.{name}", value, hints[name]) for name, value in values.items()}
        )
    return RunConfig(**parts)


def _from_toml_value(name: str, value: Any, hint: Any) -> Any:
    """Convert a TOML value to the type of its field: the inverse of `_toml_value`."""
    accepted = get_args(hint) if get_origin(hint) not in (None, tuple, Literal) else (hint,)
    if value == "None" and type(None) in accepted:
        return None
    for kind in accepted:
        if get_origin(kind) is tuple and isinstance(value, list):
            return tuple(value)
        if get_origin(kind) is Literal and value in get_args(kind):
            return value
        if kind is Path and isinstance(value, str):
            return Path(value)
        if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):
                return float(value)
        if isinstance(kind, type) and type(value) is kind:
            return value
    said = shown(value if isinstance(value, int) else repr(value))
    raise ValueError(f"{name} is {said}; accepted: {' or '.join(map(_kind, accepted))}")


def _kind(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return ", ".join(map(repr, get_args(hint)))
    if get_origin(hint) is tuple:
        return "a list"
    kinds = {float: "a number", int: "a whole number", bool: "true or false", type(None): "'None'"}
    return kinds.get(hint, "text in quotes")


def differences(stored: RunConfig, given: RunConfig) -> list[str]:
    """List the fields in which two configurations differ, as "optim.lr is 0.1, the run has 0.01"."""
    found = []
    for section, names in field_flags().items():
        for flag, name in names.items():
            ours, theirs = getattr(getattr(stored, section), name), getattr(getattr(given, section), name)
            if ours != theirs:
                found.append(f"{section}.{flag} is {theirs}, the run has {ours}")
    return found
