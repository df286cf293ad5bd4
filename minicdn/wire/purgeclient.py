"""One node tells another of a purge. Whatever keeps an answer from coming is a PeerError: the other one learns of it when it renews."""

from __future__ import annotations

import httpx

from minicdn.errors import ClientError
from minicdn.wire.calling import Caller, not_a_node
from minicdn.wire.purges import PurgeAnswer, PurgeCall
from minicdn.wire.signing import Signer
from minicdn.wire.tls import PinOf

TELL_SECONDS = 2.0
TARGET = b"/_rpc/purge"


class PurgeClient:
    """From one node to others; signer, pin_of, transport: as Caller's."""

    def __init__(
        self, *, signer: Signer | None = None, pin_of: PinOf | None = None, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._caller = Caller(read_seconds=TELL_SECONDS, signer=signer, pin_of=pin_of, transport=transport)

    async def tell(self, url: str, call: PurgeCall, seconds: float = TELL_SECONDS) -> PurgeAnswer:
        """Raises PeerError where no node answers there within the time."""
        found = await self._caller.call(url, TARGET, call.to_wire(), seconds)
        try:
            return PurgeAnswer.from_wire(found)
        except ClientError as error:
            raise not_a_node(url, error) from None

    async def close(self) -> None:
        await self._caller.close()
