"""Erasing, and how far it is."""

import json
from collections.abc import Sequence

from proxy.admin.shapes.erasure import Erasure, ErasureAccepted
from tracemill.client.call import API, Asked, Call, as_shape, part


def erase_trace(id: str) -> Call[ErasureAccepted]:  # noqa: A002
    """Have one trace erased, with all that was made of it; docs/retention.md tells what goes and what stays.

    Args:
        id: As for `trace`; the call may be in flight still.
    """
    return Call(Asked("erase_trace", "DELETE", f"{API}/traces/{part(id)}"), as_shape(ErasureAccepted))


def erase_session(session: str) -> Call[ErasureAccepted]:
    """Have all traces of a session erased whose calls began until now.

    Args:
        session: As the client named it; one with a slash takes `erase`.
    """
    return Call(Asked("erase_session", "DELETE", f"{API}/sessions/{part(session)}"), as_shape(ErasureAccepted))


def erase_user(user: str) -> Call[ErasureAccepted]:
    """Have all traces of a user erased whose calls began until now.

    Args:
        user: As the client named it; one with a slash takes `erase`.
    """
    return Call(Asked("erase_user", "DELETE", f"{API}/users/{part(user)}"), as_shape(ErasureAccepted))


def erase(
    *,
    traces: Sequence[str] | None = None,
    session: str | None = None,
    user: str | None = None,
    conversation: str | None = None,
    where: str | None = None,
) -> Call[ErasureAccepted]:
    """Have traces erased, with all that was made of them; exactly one of the arguments says which.

    Args:
        traces: Trace ids.
        session: All of a session, as the client named it.
        user: All of a user, as the client named it.
        conversation: All of a conversation, by its id.
        where: All that an expression selects, as in docs/filter.md.

    Returns:
        What takes the erasure; `erasure` tells how far it is.
    """
    selected = {
        "traces": None if traces is None else list(traces),
        "session": session,
        "user": user,
        "conversation": conversation,
        "where": where,
    }
    body = json.dumps({name: value for name, value in selected.items() if value is not None}).encode()
    return Call(Asked("erase", "POST", f"{API}/erasures", body=body), as_shape(ErasureAccepted))


def erasure(id: str) -> Call[Erasure]:  # noqa: A002
    """Tell how far an erasure is.

    Args:
        id: `change_id` of what took it.
    """
    return Call(Asked("get_erasure", "GET", f"{API}/erasures/{part(id)}"), as_shape(Erasure))
