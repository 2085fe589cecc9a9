"""The one shape of every error that is ours: OpenAI's, so that clients and their SDKs read it."""

import orjson


def error_body(message: str, *, code: str, kind: str = "tracemill_error", param: str | None = None) -> bytes:
    """Return the JSON body of an error of ours.

    Args:
        message: What happened, with which input, how to mend it; holds no key and no content of a call.
        code: Stable code for programs.
        kind: The `type` field.
        param: The parameter at fault, None when there is none.
    """
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})
