"""The job description: the task text that filters and teachers judge by."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from processing.errors import InputError
from processing.plain_value import read_json


class JobDescription(BaseModel):
    """What the model to be trained has to do.

    Attributes:
        task_description: The task in words.
        classes_description: Class name to what belongs in it; for classification.
        tools: Tool definitions in OpenAI form with unique names; for tool tasks.
        input_description: What inputs look like; for question answering.
        llm_as_a_judge_instructions: What the judge should look at.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    task_description: str = Field(min_length=1)
    classes_description: dict[str, str] | None = None
    tools: list[dict[str, Any]] | None = None
    input_description: str | None = None
    llm_as_a_judge_instructions: str | None = None

    def as_text(self) -> str:
        """The whole description as prompts show it; the same value always gives the same text."""
        parts = [self.task_description.strip()]
        if self.input_description:
            parts.append(f"Input: {self.input_description.strip()}")
        if self.classes_description:
            classes = "\n".join(f"- {name}: {text}" for name, text in self.classes_description.items())
            parts.append(f"Answer with exactly one of these classes:\n{classes}")
        if self.tools:
            parts.append(f"Tools: {json.dumps(self.tools, ensure_ascii=False, sort_keys=True)}")
        return "\n\n".join(parts)


def load(path: Path, *, task: str) -> JobDescription:
    """Read `job_description.json` and check it against the task.

    Raises:
        InputError: The file cannot be read, has unknown or wrong fields, or lacks what the task needs.
    """
    return parse(read_json(path), task=task, source=path.name)


def parse(raw: object, *, task: str, source: str) -> JobDescription:
    """Check a job description that is already a value.

    Raises:
        InputError: See `load`.
    """
    if not isinstance(raw, Mapping):
        raise InputError(source, 'is not an object; it needs at least {"task_description": "…"}.')
    known = set(JobDescription.model_fields)
    unknown = sorted(str(name) for name in raw if name not in known)
    if unknown:
        raise InputError(source, f"has unknown fields {', '.join(unknown)}; known are {', '.join(sorted(known))}.")
    try:
        description = JobDescription.model_validate(dict(raw))
    except ValidationError as exc:
        problems = (f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
        raise InputError(source, f"{'; '.join(problems)}.") from exc
    if not description.task_description.strip():
        raise InputError(source, "task_description is blank; say what the model has to do.")
    if task == "classification" and not description.classes_description:
        raise InputError(source, "classes_description is missing; classification needs {class: what belongs in it}.")
    if description.tools is not None:
        _check_tools(description.tools, source)
    return description


def _check_tools(tools: list[dict[str, Any]], source: str) -> None:
    if not tools:
        raise InputError(source, "tools is an empty list; give at least one tool or leave the field out.")
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        function = tool.get("function", tool)
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or not name:
            raise InputError(source, f"tools.{index} has no name; a tool is {{'type': 'function', 'function': {{…}}}}.")
        if name in seen:
            raise InputError(source, f'tools has two tools named "{name}"; names have to be unique.')
        seen.add(name)
        parameters = function.get("parameters", {})
        if not isinstance(parameters, dict) or not jsonschema_rs.meta.is_valid(parameters):
            raise InputError(source, f'tools.{index} ("{name}"): parameters is not a JSON Schema.')
