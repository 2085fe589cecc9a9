"""Whether a call is served at all, and by which upstream: decided before anything is asked of one."""

from typing import NamedTuple

from proxy.calls.keys import ProxyKey
from proxy.calls.model_choice import Chosen, ModelChoice
from proxy.calls.route import Destination
from proxy.calls.routes import ByModel, RouteTable
from proxy.wire.client_call import ClientCall
from proxy.wire.fields import Fields


class Choice(NamedTuple):
    """Where a call goes, and what has to be changed in its body for that.

    Attributes:
        chosen: What the body's model decided; None when nobody had to look.
        proxy_key: Name of the proxy key that let the call in.
    """

    destination: Destination
    chosen: Chosen | None = None
    proxy_key: str | None = None

    def rewrite(self, fields: Fields, body: bytes) -> tuple[Fields, bytes]:
        """Return fields and body as the upstream is to have them; only a model with an alias is replaced.

        Args:
            fields: The request's, as they go to the upstream.
            body: The whole body where a model was looked for, otherwise what has come of it.
        """
        if self.chosen is None or self.chosen.alias is None:
            return fields, body
        rewritten, body = self.chosen.rewrite(fields, body)
        return list(rewritten), body


async def choose(call: ClientCall, table: RouteTable, key: ProxyKey | None, *, max_body_bytes: int) -> Choice:
    """Decide where a call goes; its body is read only where its model has a say.

    Args:
        call: The call; what is read of its body is put back.
        table: The routes.
        key: The proxy key that the call holds.
        max_body_bytes: The most of a body that is held in memory while its model is looked for.

    Raises:
        RouteError: No route serves the call, or its key does not open the one that does.
        ProxyError: The client left, or its body broke a rule, while it was read.
    """
    found = table.match(call.head.target)
    choice = await _choose_by_model(call, found, max_body_bytes) if isinstance(found, ByModel) else Choice(found)
    if key is None:
        return choice
    key.check_route(choice.destination.route)
    return choice._replace(proxy_key=key.name)


async def _choose_by_model(call: ClientCall, found: ByModel, max_body_bytes: int) -> Choice:
    choice = ModelChoice(found, call.head.fields, max_body_bytes=max_body_bytes)
    if choice.wants_body:
        await _read_whole(call, choice)
    chosen = choice.settle()
    return Choice(chosen.destination, chosen)


async def _read_whole(call: ClientCall, choice: ModelChoice) -> None:
    """Read the whole body, for a parser may go by the last of several models; leave it for whoever reads it next."""
    if call.awaits_continue and not call.is_body_whole:
        call.interim(100, b"Continue", [])
    blocks = []
    while block := await call.read():
        choice.feed(block)
        blocks.append(block)
    call.put_back(b"".join(blocks))
