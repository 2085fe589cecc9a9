"""What `tracemill serve` becomes once its settings are checked: the parent of the serving processes, and no more.

The command line and what checks settings take more memory than the supervisor itself, and would lie there for as long
as it serves. So the command replaces itself by this program; the process, its terminal and its output stay the same.
Settings that are read again are checked by a process that ends with that.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self

from proxy.errors import SettingsError
from proxy.serve.logs import set_up_logging
from proxy.serve.supervisor import Addresses, Renewal, run_supervisor
from proxy.settings import ServeSettings
from proxy.settings_json import from_json, to_json

JOB_COMMAND = (sys.executable, "-m", "tracemill.job_process")
"""Runs a filed job, and checks one that is to be filed."""


class Serving(NamedTuple):
    """What is to be served, and where its settings come from.

    Attributes:
        settings: In force, as JSON values with secrets in the clear: they travel in memory or in a file without a name.
        given: The flags of the command line.
        config: The file named there.
    """

    settings: dict[str, Any]
    given: dict[str, Any]
    config: str | None

    @classmethod
    def of(cls, settings: ServeSettings, given: Mapping[str, Any], config: Path | None) -> Self:
        """Tell what was checked."""
        told = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
        return cls(to_json(settings, in_the_clear=True), told, None if config is None else str(config))

    def become(self) -> NoReturn:
        """Put the serving program in place of this one."""
        descriptor = _descriptor_of(json.dumps(self._asdict()).encode())
        sys.stdout.flush()
        sys.stderr.flush()
        # The arguments behind the number are read by nobody but people who look at their processes.
        command = [sys.executable, "-m", "tracemill.serving_process", str(descriptor), *sys.argv[1:]]
        os.execv(sys.executable, command)  # noqa: S606 - the interpreter that runs

    async def renew(self, in_force: ServeSettings) -> Renewal:
        """Gather the settings again, in a process of its own.

        Raises:
            SettingsError: They cannot be put in force.
        """
        asked = json.dumps(self._replace(settings=to_json(in_force, in_the_clear=True))._asdict()).encode()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tracemill.settings_process",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            told, _ = await process.communicate(asked)
            answer = json.loads(told)
        except (OSError, ValueError) as error:
            raise SettingsError("the process that reads them again did not get to its end.") from error
        if "error" in answer:
            raise SettingsError(answer["error"])
        return Renewal(from_json(ServeSettings, answer["settings"]), tuple(answer["unchanged"]))


def _descriptor_of(content: bytes) -> int:
    """Keep bytes for the program that takes this one's place."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("tracemill-settings", 0)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
        os.set_inheritable(descriptor, True)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _say_ready(addresses: Addresses) -> None:
    sys.stdout.write(f"tracemill ready: proxy {addresses.proxy}/v1 admin {addresses.admin}\n")
    sys.stdout.flush()


def main(descriptor: int) -> None:
    """Serve to the end what was kept under that descriptor."""
    with os.fdopen(descriptor, "rb") as file:
        serving = Serving(**json.load(file))
    settings = from_json(ServeSettings, serving.settings)
    set_up_logging(settings.log_level, settings.log_format)
    run_supervisor(settings, _say_ready, serving.renew, JOB_COMMAND)
