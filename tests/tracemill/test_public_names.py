"""What `import tracemill` offers is what it says, and costs nothing until it is used."""

import subprocess
import sys

import pytest

import tracemill
from tracemill.client import errors

PUBLIC = [
    *("AnswerError", "AsyncClient", "Change", "ChangePage", "Client", "ConflictError"),
    *("Conversation", "ConversationPage", "ConversationSummary", "Erasure", "ErasureAccepted"),
    *("Feedback", "FeedbackLater", "FeedbackList", "ForbiddenError", "ImportReport", "InvalidRequestError"),
    *("JobError", "Member", "NotFoundError", "RawCall", "RefusedError", "Reply", "ServerError", "Stats"),
    *("TokenError", "TooManyFailuresError", "Trace", "TracePage", "TraceSummary", "TracemillError", "UnreachableError"),
]


def test_the_public_names_are_these_and_each_is_there() -> None:
    assert tracemill.__all__ == PUBLIC
    assert dir(tracemill) == PUBLIC
    for name in PUBLIC:
        assert getattr(tracemill, name).__name__ == name


def test_every_error_of_the_client_is_public() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert {kind.__name__ for kind in kinds} <= set(PUBLIC)
    assert all(issubclass(kind, tracemill.TracemillError) for kind in kinds)


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        tracemill.nothing_of_the_kind  # noqa: B018 # the look-up is what is tested


def test_importing_the_package_loads_nothing_that_is_not_used() -> None:
    code = "import sys, tracemill; print([name for name in ('httpx2', 'pydantic', 'starlette') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_client_needs_no_web_framework() -> None:
    code = "import sys; from tracemill import Client, AsyncClient; print('starlette' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
