"""Teachers of whom nobody is asked: what they said stands in the call table, or it is missing."""

from collections.abc import Collection, Mapping
from uuid import UUID

from processing.answer import Fault
from processing.budget import Budget
from processing.config import Config
from processing.endpoint import Endpoint
from processing.model_client import ModelClient
from processing.teachers import Teachers
from store import json_text
from store.call import Call
from store.recorded.message import Json
from store.work import WorkStore


class CallTable(WorkStore):
    """The call table, to be read alone."""

    async def add_call_sources(self, key: bytes, trace_ids: Collection[UUID]) -> None:
        """Note nothing: who asked first has done so."""


class KnownAnswers(Teachers):
    """Gives the answers that are known. One that is missing is no answer, as when the upstream kept failing.

    So what was made while a model failed comes out the same, and whoever compares can tell that answers are missing.

    Args:
        client: Never used.
        calls: The call table.
        config: Where the models were asked.
        missing: Takes the purpose and model of each answer that is not there.
    """

    def __init__(self, client: ModelClient, calls: CallTable, config: Config, missing: list[tuple[str, str]]) -> None:
        super().__init__(client, calls, config, {}, budget=Budget(max_calls=0))
        self._missing = missing

    def require_answers(self) -> None:
        """Go on: that none is there is told by those who compare."""

    async def _buy(self, where: Endpoint, key: bytes, purpose: str, body: Mapping[str, Json]) -> Call:
        self._missing.append((purpose, where.name))
        return Call(
            key=key,
            purpose=purpose,
            model=where.name,
            base_url=where.shown_url,
            request=json_text.dumps(body),
            reply=None,
            usage=None,
            cost=None,
            attempts=0,
            error=Fault.FAILING,
        )
