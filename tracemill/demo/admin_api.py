"""What the demo asks the running server's admin side."""

import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit


class AdminError(Exception):
    """The admin side did not answer as it should."""


def stats(admin_url: str) -> dict[str, Any]:
    """Give the server's counts of what its store holds.

    Args:
        admin_url: Address of the admin side, without a path.

    Raises:
        AdminError: No answer, or another than 200 with a JSON object.
    """
    address = urlsplit(admin_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=5)
    try:
        connection.request("GET", "/admin/api/stats")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise AdminError(f"{admin_url}/admin/api/stats: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise AdminError(f"{admin_url}/admin/api/stats: status {answer.status}")
    counts: dict[str, Any] = json.loads(body)
    return counts


def wait_until_stored(admin_url: str, traces: int, *, deadline_s: float) -> dict[str, Any]:
    """Ask for the counts until the store holds that many traces.

    Raises:
        AdminError: The deadline passed, or the admin side did not answer.
    """
    give_up = time.monotonic() + deadline_s
    while True:
        counts = stats(admin_url)
        if counts["traces"] >= traces:
            return counts
        if time.monotonic() > give_up:
            raise AdminError(f"{counts['traces']} of {traces} traces were stored within {deadline_s:.0f} s.")
        time.sleep(0.05)
