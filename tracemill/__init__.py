"""What Tracemill offers to Python programs; each name is loaded when it is first asked for."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.admin.shapes.change import Change, ChangePage
    from proxy.admin.shapes.conversation import Conversation, ConversationPage, ConversationSummary, Member
    from proxy.admin.shapes.erasure import Erasure, ErasureAccepted
    from proxy.admin.shapes.feedback import Feedback, FeedbackLater, FeedbackList
    from proxy.admin.shapes.imports import ImportReport
    from proxy.admin.shapes.raw import RawCall
    from proxy.admin.shapes.stats import Stats
    from proxy.admin.shapes.trace import Reply, Trace, TracePage, TraceSummary
    from tracemill.client.async_client import AsyncClient
    from tracemill.client.client import Client
    from tracemill.client.errors import (
        AnswerError,
        ConflictError,
        ForbiddenError,
        InvalidRequestError,
        JobError,
        NotFoundError,
        RefusedError,
        ServerError,
        TokenError,
        TooManyFailuresError,
        TracemillError,
        UnreachableError,
    )

__all__ = [
    "AnswerError",
    "AsyncClient",
    "Change",
    "ChangePage",
    "Client",
    "ConflictError",
    "Conversation",
    "ConversationPage",
    "ConversationSummary",
    "Erasure",
    "ErasureAccepted",
    "Feedback",
    "FeedbackLater",
    "FeedbackList",
    "ForbiddenError",
    "ImportReport",
    "InvalidRequestError",
    "JobError",
    "Member",
    "NotFoundError",
    "RawCall",
    "RefusedError",
    "Reply",
    "ServerError",
    "Stats",
    "TokenError",
    "TooManyFailuresError",
    "Trace",
    "TracePage",
    "TraceSummary",
    "TracemillError",
    "UnreachableError",
]

_PLACES = {
    "proxy.admin.shapes.change": ("Change", "ChangePage"),
    "proxy.admin.shapes.conversation": ("Conversation", "ConversationPage", "ConversationSummary", "Member"),
    "proxy.admin.shapes.erasure": ("Erasure", "ErasureAccepted"),
    "proxy.admin.shapes.feedback": ("Feedback", "FeedbackLater", "FeedbackList"),
    "proxy.admin.shapes.imports": ("ImportReport",),
    "proxy.admin.shapes.raw": ("RawCall",),
    "proxy.admin.shapes.stats": ("Stats",),
    "proxy.admin.shapes.trace": ("Reply", "Trace", "TracePage", "TraceSummary"),
    "tracemill.client.async_client": ("AsyncClient",),
    "tracemill.client.client": ("Client",),
}
_ERRORS = "tracemill.client.errors"


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'tracemill' has no attribute {name!r}")
    place = next((module for module, names in _PLACES.items() if name in names), _ERRORS)
    return getattr(import_module(place), name)


def __dir__() -> list[str]:
    return [*__all__]
