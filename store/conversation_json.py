"""Conversations as JSON: what `tracemill conversations` and the admin side give."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any
from uuid import UUID

from store import json_text
from store.conversation_summary import ConversationPage, ConversationSummary, Member, WholeConversation
from store.json_text import JsonValue
from store.trace import JsonText


def page_json(page: ConversationPage) -> JsonText:
    """Give a page of summaries; each has every field of `ConversationSummary`, times in ISO 8601."""
    return json_text.dumps(
        {
            "data": [_object(each) for each in page.conversations],
            "next_cursor": page.next_cursor,
            "is_settled": page.is_settled,
        }
    )


def conversation_json(conversation: WholeConversation) -> JsonText:
    """Give the fields of the summary, then `members` with every field of `Member`."""
    return json_text.dumps(
        {
            **_object(conversation.summary),
            "members": [_object(each) for each in conversation.members],
            "next_cursor": conversation.next_cursor,
            "is_settled": conversation.is_settled,
        }
    )


def _object(value: ConversationSummary | Member) -> dict[str, JsonValue]:
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _plain(value: Any) -> JsonValue:  # noqa: ANN401 - a field of either
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return list(value)
    return value
