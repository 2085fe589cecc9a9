"""Reading the JSON of a stream's events, leniently: the text beside one bad number is worth keeping."""

import json
import math

from proxy.assembly.sse import Event
from store import json_text
from store.json_text import JsonValue


class EventJson:
    """Reads one stream's events; `is_exact` tells whether every one of them could be taken as it was."""

    def __init__(self) -> None:
        self.is_exact = True
        self._decoder = json.JSONDecoder(parse_constant=self._refuse_number, parse_float=self._read_float)

    def read(self, event: Event, data: bytes) -> JsonValue:
        """Parse the data of an event, without white space round it; None for what is no JSON.

        A number that JSON or a double cannot hold (`NaN` in logprobs is the usual one) becomes null.
        """
        value = json_text.exact_value(data)
        if value is not json_text.INEXACT:
            return self._refuse(event) if _is_too_deep(data, value) else value
        try:
            text = data.decode("utf-8")
            value, end = self._decoder.raw_decode(text)
        except (ValueError, RecursionError):
            return self._refuse(event)
        return self._refuse(event) if end != len(text) or _is_too_deep(data, value) else value

    def _refuse(self, event: Event) -> None:
        # The torn last event of a stream that was cut is no fault of its own.
        self.is_exact &= not event.is_terminated

    def _read_float(self, text: str) -> float | None:
        value = float(text)
        if math.isfinite(value):
            return value
        self._refuse_number(text)
        return None

    def _refuse_number(self, _: str) -> None:
        self.is_exact = False


def _is_too_deep(text: bytes, value: JsonValue) -> bool:
    return text.count(b"[") + text.count(b"{") > json_text.MAX_DEPTH and json_text.is_too_deep(value)


def is_too_deep(text: bytes) -> bool:
    """Whether a JSON text is nested too deep; counting brackets first spares nearly every text the look inside."""
    return text.count(b"[") + text.count(b"{") > json_text.MAX_DEPTH and json_text.is_too_deep(json_text.loads(text))
