"""Parse a command line into a call. tyro reads the flags; every mistake becomes a one-line message.

tyro reports a mistake twice: as a box of text for people, and as an event with fields. This module uses the events, never the
text. They come from a private module of tyro, so pyproject.toml allows only versions that have it, and tests/test_parsing.py
makes each kind of mistake once.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import inspect
import itertools
import re
import textwrap
import typing
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

import tyro
from tyro import _errors as tyro_errors

from trainability import config as configuration
from trainability.config import RunConfig, nearest

if TYPE_CHECKING:
    from tyro import _arguments as tyro_arguments

Command = Callable[..., int]

HELP_FLAGS = ("-h", "--help")
_HELP_WIDTH = 110
_KINDS = {"FLOAT": "a number", "INT": "a whole number", "INT INT": "two whole numbers"}
_BRACES = str.maketrans("", "", "{}")


def parse(arguments: list[str], commands: Mapping[str, Command], *, program: str, description: str) -> Callable[[], int]:
    """Parse a command line into a call.

    Args:
        arguments: the command's name, and its flags.
        commands: by name.
        program: name of the program, for messages and help.
        description: what the program does, for its help.

    Raises:
        ValueError: it cannot be parsed; one line.
        SystemExit: help was requested, and printed.
    """
    name = arguments[0]
    if name not in commands and name not in HELP_FLAGS:
        what = "option" if name.startswith("-") else "command"
        near = f"; a command comes first: {', '.join(commands)}"
        if what == "command":
            near = nearest(name, list(commands))
            near = (near if "did you mean" in near else ";") + f" commands are {', '.join(commands)}"
        raise ValueError(f"unknown {what} {name}{near}")
    if name in HELP_FLAGS:
        print(overview(commands, program=program, description=description))
        raise SystemExit(0)
    if any(flag in arguments for flag in HELP_FLAGS):
        _describe_fields()
    elif name in commands:
        arguments = _with_switches(arguments, commands[name])

    def refuse(event: tyro_errors.ParseErrorEvent) -> NoReturn:
        raise ValueError(_one_line(event, arguments, program, commands))

    with tyro_errors.on_parse_error(refuse):
        return tyro.extras.subcommand_cli_from_dict(
            {name: _deferred(command) for name, command in commands.items()},
            prog=program,
            description=description,
            args=arguments,
        )


def overview(commands: Mapping[str, Command], *, program: str, description: str) -> str:
    """Write the help of a program: its description, and the first sentence of each command's docstring."""
    width = max(map(len, commands))
    lines = [f"usage: {program} COMMAND ...", ""]
    for paragraph in inspect.cleandoc(description).split("\n\n"):
        lines += [*textwrap.wrap(paragraph, _HELP_WIDTH), ""]
    lines.append("commands:")
    for name, command in commands.items():
        first = inspect.cleandoc(command.__doc__ or "").split("\n\n")[0].split(". ")[0].rstrip(".")
        indent = " " * (width + 4)
        lines += textwrap.wrap(
            " ".join(first.split()), _HELP_WIDTH, initial_indent=f"  {name:<{width}}  ", subsequent_indent=indent
        )
    return "\n".join([*lines, "", f"{program} COMMAND --help explains a command and its options."])


def print_completion(shell: str, commands: Mapping[str, Command], *, program: str) -> None:
    """Print a script that completes commands and flags in a shell.

    Args:
        shell: bash or zsh.
        commands: by name.
        program: its name.
    """
    _describe_fields()
    with contextlib.suppress(SystemExit):
        tyro.extras.subcommand_cli_from_dict(
            {name: _deferred(command) for name, command in commands.items()},
            prog=program,
            args=["--tyro-print-completion", shell],
        )


def value_of(flag: str, arguments: list[str]) -> str | None:
    """Find the value of a flag, written `--flag value` or `--flag=value`; `None` if it is not given."""
    for place, argument in enumerate(arguments):
        if argument == flag and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith(f"{flag}="):
            return argument.removeprefix(f"{flag}=")
    return None


def _deferred(command: Command) -> Callable[..., Callable[[], int]]:
    """Give tyro a function with the same flags and help that only records its arguments."""

    @functools.wraps(command)
    def remember(*positional: Any, **named: Any) -> Callable[[], int]:
        return functools.partial(command, *positional, **named)

    return remember


def _flags(command: Command) -> dict[str, Any]:
    """List the flags of a command with their types; a configuration gives one flag per field."""
    flags: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(command).items():
        if name == "return":
            continue
        if dataclasses.is_dataclass(hint):
            sections = configuration.SECTIONS if hint is RunConfig else {name: hint}
            for section, names in configuration.field_flags().items():
                if section in sections:
                    hints = typing.get_type_hints(sections[section])
                    flags |= {f"--{section}.{flag}": hints[field] for flag, field in names.items()}
        elif inspect.signature(command).parameters[name].kind is inspect.Parameter.KEYWORD_ONLY:
            flags[f"--{name.replace('_', '-')}"] = hint
    return flags


def _with_switches(arguments: list[str], command: Command) -> list[str]:
    """Accept switches with a value too: `--run.compile=true`, and, if the name has a dot, `--run.compile false`.

    Raises:
        ValueError: a switch has a value other than true or false.
    """
    flags = _flags(command)
    written: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        flag, equals, value = argument.partition("=")
        flag = flag.replace("_", "-")
        kind = flags.get(flag)
        if kind == bool | None and (equals or rest):
            # tyro parses these as None, True or False.
            value = value if equals else rest.pop(0)
            written += [flag, {"true": "True", "false": "False"}.get(value, value)]
            continue
        if kind is not bool or not (equals or ("." in flag and rest and rest[0].lower() in ("true", "false"))):
            written.append(argument)
            continue
        value = value if equals else rest.pop(0)
        if value.lower() not in ("true", "false"):
            raise ValueError(f"{flag.lstrip('-')} is {value!r}; accepted: true, false")
        section, dot, name = flag.lstrip("-").rpartition(".")
        written.append(flag if value.lower() == "true" else f"--{section}{dot}no-{name}")
    return written


def _describe_fields() -> None:
    """Give tyro the docstring under each field as one paragraph; by default, it keeps the line breaks of the source."""
    for section in configuration.SECTIONS.values():
        (described,) = ast.parse(inspect.getsource(section)).body
        assert isinstance(described, ast.ClassDef)
        fields = {field.name: field for field in dataclasses.fields(section)}
        for statement, below in itertools.pairwise(described.body):
            match statement, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    fields[name].metadata = MappingProxyType({"help": " ".join(text.split())})


def _one_line(event: tyro_errors.ParseErrorEvent, arguments: list[str], program: str, commands: Mapping[str, Command]) -> str:
    """Write in one line what tyro rejects, and what is accepted."""
    name = arguments[0]
    help_command = f"{program} {name} --help" if name in commands else f"{program} --help"
    match event:
        case tyro_errors.UnrecognizedArgs(tokens=[token, *_]):
            flag = token.partition("=")[0]
            if not flag.startswith("-"):
                return f"{program} {name} takes no value {token!r}; {help_command} shows what it takes"
            near = _nearest_flag(flag, list(_flags(commands[name]))) if name in commands else ""
            return f"unknown option {flag}{near or f'; {help_command} lists them'}"
        case tyro_errors.InvalidChoice(argument=argument, value=value, choices=choices):
            return f"{_name(argument)} is {value!r}; accepted: {', '.join(choices)}"
        case tyro_errors.InstantiationFailure(argument=argument) if argument is not None:
            return f"{_name(argument)} is {_written(argument, arguments)}; accepted: {_accepted(argument)}"
        case tyro_errors.BadValue(argument=argument):
            return f"{argument.display_name()} needs a value; accepted: {_accepted(argument)}"
        case tyro_errors.MissingArgs(missing_arguments=missing):
            wanted = ", ".join(str(found.arg.field.extern_name).upper() for found in missing)
            return f"{program} {name} needs {wanted}; {help_command} shows how"
        case tyro_errors.InstantiationFailure(message=message):
            return " ".join(message.split())
        case _:
            return f"cannot read the command line {' '.join(arguments)!r}; {help_command} shows how"


def _nearest_flag(flag: str, known: list[str]) -> str:
    """Return "; did you mean …?" with the flags of that name in any section (`--lr`: `--optim.lr`), or the nearest flag."""
    name = flag.lstrip("-").replace("_", "-")
    same = [other for other in known if other.rpartition(".")[2] == name]
    if same:
        return f"; did you mean {' or '.join(same)}?"
    near = nearest(flag, known)
    return near if "did you mean" in near else ""


def _name(argument: tyro_arguments.ArgumentDefinition) -> str:
    return argument.display_name().lstrip("-")


def _written(argument: tyro_arguments.ArgumentDefinition, arguments: list[str]) -> str:
    """Find the last value that the command line gives a flag."""
    own = {flag.replace("_", "-") for flag in argument.lowered.name_or_flags}
    found: list[str] = []
    for place, word in enumerate(arguments):
        flag, equals, value = word.partition("=")
        if flag.replace("_", "-") in own:
            after = itertools.takewhile(lambda other: not re.match(r"--?[a-z]", other), arguments[place + 1 :])
            most = (
                argument.lowered.nargs
                if isinstance(argument.lowered.nargs, int)
                else 1
                if argument.lowered.nargs is None
                else None
            )
            found = [value] if equals else list(after)[:most]
    return ", ".join(map(repr, found)) or "not what it takes"


def _accepted(argument: tyro_arguments.ArgumentDefinition) -> str:
    kinds = str(argument.lowered.metavar).translate(_BRACES).split("|")
    kinds = [kind for kind in kinds if kind != "None"] or kinds  # nobody types it: without the flag, it is None
    return " or ".join(_KINDS.get(kind, kind) for kind in kinds)
