"""How an error is named where its text must not stand."""

import sqlite3


def error_name(error: BaseException) -> str:
    """Give its class, and SQLite's code if it has one; never its text, which may quote a trace."""
    cause = error if isinstance(error, sqlite3.Error) else error.__cause__
    code = getattr(cause, "sqlite_errorname", None) if isinstance(cause, sqlite3.Error) else None
    return type(error).__name__ if code is None else f"{type(error).__name__}: {code}"
