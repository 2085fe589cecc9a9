"""The page of the command line."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from docs.reference.table import table
from tracemill.cli import load_all

VALUE_NAMES = {str: "TEXT", int: "N", float: "N", Path: "PATH"}
HEAD = """# The command line

Made by `make docs` from the commands themselves. Every command tells the same with `--help`.

A message says what happened, with which input, and how to mend it; it goes to standard error, results to standard
output. With `--json` a result is JSON, and nothing else stands on standard output. Files that are made are for their
owner alone.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | bad input: a file, a database, an id or a configuration; or output that cannot be written |
| 2 | wrong usage: an option or a value that the command does not take |
| 3 | an upstream or a teacher failed |
| 4 | done in part: some examples failed, the rest is there |
| 130 | interrupted by Ctrl-C; the same command given again goes on, or begins anew |

"""


def cli_page() -> str:
    """Return the page of all commands with their options."""
    root = load_all()
    parts = [f"## tracemill\n\n{_paragraphs(root.help or '')}\n\n{_options(root)}"]
    return HEAD + "\n".join([*parts, *_command_parts(root, "tracemill")])


def _command_parts(group: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - typer keeps the type of a command to itself
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _command_parts(command, f"{path} {name}")
        else:
            arguments = "".join(f" {p.name.upper()}" for p in command.params if p.param_type_name == "argument")
            yield f"## {path} {name}{arguments}\n\n{_paragraphs(command.help)}\n\n{_options(command)}"


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _options(command: Any) -> str:  # noqa: ANN401
    return table(("option", "default", "meaning"), map(_option, command.params))


def _option(parameter: Any) -> tuple[str, ...]:  # noqa: ANN401
    is_argument = parameter.param_type_name == "argument"
    names = parameter.name.upper() if is_argument else ", ".join(parameter.opts)
    # A setting of `serve` has its default elsewhere, so its help says it.
    meaning, _, told_default = (parameter.help or "").removesuffix("]").partition(" [default: ")
    default = f"`{told_default}`" if told_default else _option_default(parameter)
    environment = f" Environment: `{parameter.envvar}`." if parameter.envvar else ""
    return f"`{names}{_option_value(parameter)}`", default, meaning + environment


def _option_value(parameter: Any) -> str:  # noqa: ANN401
    if parameter.param_type_name == "argument" or parameter.is_flag:
        return ""
    if isinstance(parameter.default, Enum):
        return f" {'/'.join(type(parameter.default))}"
    annotation = parameter.type_descriptor.annotation
    for choice in (annotation, *get_args(annotation)):
        if isinstance(choice, type) and issubclass(choice, Enum):
            return f" {'/'.join(member.value for member in choice)}"
    for choice in (annotation, *get_args(annotation)):
        if get_origin(choice) is Literal:
            return f" {'/'.join(get_args(choice))}"
    kind = next((kind for kind in get_args(annotation) if kind in VALUE_NAMES), annotation)
    return f" {VALUE_NAMES[kind]}"


def _option_default(parameter: Any) -> str:  # noqa: ANN401
    if parameter.required:
        return "required"
    return "" if parameter.default is None or isinstance(parameter.default, bool) else f"`{parameter.default}`"
