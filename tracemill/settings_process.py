"""Reads and checks the settings of a running server again: `python -m tracemill.settings_process`.

It takes the server's `Serving` as a line of JSON and prints one: `settings` and `unchanged`, or `error`.
"""

import json
import sys
from pathlib import Path

from proxy.errors import ProxyError
from proxy.settings import ServeSettings
from proxy.settings_check import check_together, keep_what_is_fixed
from proxy.settings_json import from_json, to_json
from proxy.settings_source import load_settings
from tracemill.serving import Serving


def renewed(serving: Serving) -> dict[str, object]:
    """Gather the settings again, and put those of the running server in where they cannot change."""
    try:
        gathered = load_settings(serving.given, None if serving.config is None else Path(serving.config))
        settings, unchanged = keep_what_is_fixed(gathered, from_json(ServeSettings, serving.settings))
        # What cannot change has to go with what does.
        check_together(settings)
    except ProxyError as error:
        return {"error": str(error)}
    return {"settings": to_json(settings, in_the_clear=True), "unchanged": unchanged}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(renewed(Serving(**json.load(sys.stdin)))))
