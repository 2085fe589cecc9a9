"""The `Host` header as a defence against DNS rebinding.

A web page may make its own name resolve to 127.0.0.1 and then talk to our port as if it were its own
origin. It cannot change the name that the browser sends in `Host`, so a name that is not known to be ours is refused.
"""

import ipaddress
import re
from collections.abc import Iterable

_NAME_AND_PORT = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,253})(?::([0-9]{1,5}))?")


def is_own_host(values: Iterable[bytes], *, own_names: Iterable[str] = ()) -> bool:
    """Tell whether a request's `Host` names this machine: an IP literal, `localhost`, or one of our names.

    Args:
        values: The values of all `Host` fields; anything but exactly one is refused.
        own_names: Names the admin side was told to listen on, without a port.
    """
    given = list(values)
    match = _NAME_AND_PORT.fullmatch(given[0]) if len(given) == 1 else None
    if match is None or int(match[2] or 0) > 65_535:
        return False
    name = match[1].decode("ascii").lower()
    if name in {"localhost", *(own.lower() for own in own_names)}:
        return True
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return name.startswith("[") is (address.version == 6)
