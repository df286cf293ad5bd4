"""Asking another peer for a key. Whatever goes wrong on the way is a PeerError; what the peer says is its answer, and final."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import lru_cache

from minicdn.core.headers import first
from minicdn.core.message import Fields, Inform
from minicdn.core.pieces import Pieces
from minicdn.errors import ClientError, PeerBusy, PeerError
from minicdn.wire.codec import CONTENT_TYPE, decode, encode
from minicdn.wire.fetch import FetchAnswer, FetchRequest, Questions
from minicdn.wire.http import Base, Begun, Exchange, ExchangeError, HttpDoor, NoneFree, host_field, parse_base
from minicdn.wire.pieces import PIECES_TARGET, PieceRequest, PieceStream
from minicdn.wire.pieces import PieceAnswer as PiecesAnswer
from minicdn.wire.signing import Signed, Signer

FETCH_TARGET = b"/_rpc/get"
LOOK_TARGET = b"/_health"
LOOK_BYTES_MAX = 64 * 1024
HEAD_LENGTH_FIELD = b"x-minicdn-head"
"""How many bytes of the answer are the map; the body's follow."""
HEAD_BYTES_MAX = 1024 * 1024
PEERS_MAX, LENGTHS_MAX = 4096, 256
PIECES_BLOCK_BYTES = 256 * 1024
"""Whoever gets a piece from its owner has nobody waiting but a client, most of the time."""
REASON_BYTES_MAX = 512
REFUSALS = (401, 403)
"""Statuses whose answer says why, in a line."""


@dataclass(slots=True)
class PeerAnswer:
    """The owner's word and the bytes that follow it. Close it, always."""

    answer: FetchAnswer
    _exchange: Exchange
    _early: bytes
    _chunks: AsyncIterator[bytes] | None = None
    """None: all of it came at once, and `_early` is the body."""

    def take_whole(self) -> bytes | None:
        """All of the body, where it came at once. Then there is nothing left to read."""
        if self._chunks is not None or len(self._early) != self.answer.length:
            return None
        early, self._early = self._early, b""
        return early

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes as they arrive. Raises PeerError where they end early."""
        try:
            if self._early:
                early, self._early = self._early, b""
                yield early
            if self._chunks is not None:
                async for chunk in self._chunks:
                    yield chunk
        except ExchangeError as error:
            raise PeerError(f"the peer broke off: {error}") from error

    def gather(self, batch_bytes: int, *, is_sure: bool) -> None:
        """The rest in blocks of about so many bytes."""
        self._exchange.gather(batch_bytes, is_sure=is_sure)

    def end(self) -> None:
        """In close()'s place, after take_whole()."""
        self._exchange.end()

    async def close(self) -> None:
        if self._chunks is not None:
            await self._chunks.aclose()  # type: ignore[attr-defined]
        await self._exchange.close()


@dataclass(slots=True)
class BegunFetch:
    """A question under way (PeerClient.begin). exchange: what HttpDoor.begin() gave."""

    exchange: Begun
    signed: Signed | None


class PeerClient:
    """signer: signs what is asked, and tells whether an answer is one to it; None: there is no token. knows: which URLs may be asked at
    all, as some come from other peers; None: any."""

    def __init__(self, door: HttpDoor, signer: Signer | None = None, knows: Callable[[str], bool] | None = None) -> None:
        self._door = door
        self._signer = signer
        self._knows = knows
        self._questions = Questions()
        self._peers: dict[str, _Peer] = {}

    async def fetch(self, url: str, request: FetchRequest, on_interim: Inform | None = None) -> PeerAnswer:
        """Ask the peer at `url`. on_interim: told of the upstream's 1xx answers, as the peer passes them on. Raises PeerError where it
        can't be reached or makes no sense."""
        exchange, signed = await self._send(url, FETCH_TARGET, self._questions.encode(request), on_interim)
        return await self._answer(url, exchange, signed)

    def begin(self, url: str, request: FetchRequest, came: Callable[[], None], on_interim: Inform | None) -> BegunFetch | None:
        """Ask as HttpDoor.begin() asks; None, with nothing done, where fetch() has to do it. Once `came` was called: all() where has_all,
        else go_on()."""
        if self._knows is not None and not self._knows(url):
            return None
        message, peer = self._questions.encode(request), self._peer(url)
        fields, signed = self._fields(url, peer, FETCH_TARGET, message)
        begun = self._door.begin("POST", peer.base, FETCH_TARGET, fields, message, came, on_interim=on_interim)
        return None if begun is None else BegunFetch(begun, signed)

    def all(self, url: str, begun: BegunFetch) -> PeerAnswer:
        """What begin() has brought, where it has all. Raises PeerError."""
        exchange = Exchange(*begun.exchange.all())
        return _whole_answer(url, exchange, begun.signed, exchange.take_whole() or b"")

    async def go_on(self, url: str, begun: BegunFetch) -> PeerAnswer:
        """As fetch(), from there."""
        try:
            exchange = await self._door.go_on(begun.exchange)
        except ExchangeError as error:
            raise PeerError(f"{url}: {error}") from error
        return await self._answer(url, exchange, begun.signed)

    async def _answer(self, url: str, exchange: Exchange, signed: Signed | None) -> PeerAnswer:
        whole = exchange.take_whole()
        if whole is not None:
            return _whole_answer(url, exchange, signed, whole)
        try:
            head, chunks, early = await _read_head(url, exchange, signed)
            return PeerAnswer(FetchAnswer.from_wire(decode(head, as_tuples=True)), exchange, early, chunks)
        except ClientError as error:
            await exchange.close()
            raise PeerError(f"{url}: its answer can't be read: {error}") from error
        except BaseException:
            await exchange.close()
            raise

    async def ask_pieces(self, url: str, request: PieceRequest) -> PieceStream:
        """Ask the peer at `url` for pieces. Raises PeerError where it can't be reached or makes no sense."""
        exchange, signed = await self._send(url, PIECES_TARGET, encode(request.to_wire()))
        try:
            head, chunks, early = await _read_head(url, exchange, signed)
            answer = PiecesAnswer.from_wire(decode(head), request)
            exchange.gather(PIECES_BLOCK_BYTES)
            return PieceStream(answer, Pieces(request.length, request.size), exchange, chunks, early)
        except ClientError as error:
            await exchange.close()
            raise PeerError(f"{url}: its answer can't be read: {error}") from error
        except BaseException:
            await exchange.close()
            raise

    async def look(self, url: str) -> bool:
        """Whether anything answers at that URL. What, is for questions to tell."""
        if self._knows is not None and not self._knows(url):
            return False
        base = self._peer(url).base
        try:
            exchange = await self._door.send("GET", base, LOOK_TARGET, [(b"Host", host_field(base))])
            try:
                await exchange.read(LOOK_BYTES_MAX)
            finally:
                await exchange.close()
        except NoneFree:
            return True  # nothing is known against it
        except ExchangeError:
            return False
        return True

    async def _send(self, url: str, target: bytes, message: bytes, on_interim: Inform | None = None) -> tuple[Exchange, Signed | None]:
        if self._knows is not None and not self._knows(url):
            raise PeerError(f"{url} is not in the list of peers")
        peer = self._peer(url)
        fields, signed = self._fields(url, peer, target, message)
        try:
            return await self._door.send("POST", peer.base, target, fields, message, on_interim=on_interim), signed
        except NoneFree as error:
            raise PeerBusy(f"{url}: {error}") from error
        except ExchangeError as error:
            raise PeerError(f"{url}: {error}") from error

    def _fields(self, url: str, peer: _Peer, target: bytes, message: bytes) -> tuple[Fields, Signed | None]:
        """Of the question that carries this message, and what signs it."""
        fields: Fields = peer.host, _TYPE, _length(len(message))
        if self._signer is None:
            return fields, None
        signed = self._signer.sign(url, "POST", target, message)
        return [*fields, (b"Authorization", signed.field)], signed

    def _peer(self, url: str) -> _Peer:
        peer = self._peers.get(url)
        if peer is None:
            if len(self._peers) >= PEERS_MAX:
                self._peers.clear()
            peer = self._peers[url] = _Peer(parse_base(url))
        return peer


class _Peer:
    """What is the same in each question to a peer."""

    __slots__ = ("base", "host")

    def __init__(self, base: Base) -> None:
        self.base = base
        self.host = b"Host", host_field(base)


_TYPE = b"Content-Type", CONTENT_TYPE.encode()


@lru_cache(LENGTHS_MAX)
def _length(length: int) -> tuple[bytes, bytes]:
    """Questions are as long as their keys, so there are few, and the same for all peers."""
    return b"Content-Length", b"%d" % length


async def _read_head(url: str, exchange: Exchange, signed: Signed | None) -> tuple[bytes, AsyncIterator[bytes], bytes]:
    """The map that an answer begins with, what follows it, and what of that has come already. Raises PeerError."""
    wanted, collected, chunks = _head_length(exchange), bytearray(), exchange.chunks()
    if not wanted:
        raise PeerError(f"{url} answered {exchange.status} where a peer's answer should be{await _reason(exchange)}")
    try:
        while len(collected) < wanted:
            collected += await anext(chunks)
    except (ExchangeError, StopAsyncIteration) as error:
        raise PeerError(f"{url}: its answer can't be read: {error}") from error
    return _checked(url, exchange, signed, bytes(collected[:wanted])), chunks, bytes(collected[wanted:])


def _whole_answer(url: str, exchange: Exchange, signed: Signed | None, whole: bytes) -> PeerAnswer:
    """Of an answer that came all at once. Raises PeerError."""
    try:
        head, early = _split(url, exchange, signed, whole)
        return PeerAnswer(FetchAnswer.from_wire(decode(head, as_tuples=True)), exchange, early)
    except ClientError as error:
        exchange.end()
        raise PeerError(f"{url}: its answer can't be read: {error}") from error
    except BaseException:
        exchange.end()
        raise


def _split(url: str, exchange: Exchange, signed: Signed | None, whole: bytes) -> tuple[bytes, bytes]:
    """The same of an answer that came all at once: the map, and what follows it."""
    wanted = _head_length(exchange)
    if not wanted:
        reason = _in_a_line(whole[:REASON_BYTES_MAX]) if exchange.status in REFUSALS else ""
        raise PeerError(f"{url} answered {exchange.status} where a peer's answer should be{reason}")
    if len(whole) < wanted:
        raise PeerError(f"{url}: its answer can't be read: it ends early")
    return _checked(url, exchange, signed, whole[:wanted]), whole[wanted:]


def _head_length(exchange: Exchange) -> int:
    """0: that is no peer's answer."""
    if exchange.status != 200:
        return 0
    fields = exchange.fields
    if len(fields) == 3 and fields[1][0] == HEAD_LENGTH_FIELD and fields[0][0] == b"content-type":  # as a peer says them
        announced: bytes | None = fields[1][1]
    else:
        announced = first(fields, HEAD_LENGTH_FIELD)
    if announced is None or len(announced) > len(str(HEAD_BYTES_MAX)) or not announced.isdigit():
        return 0
    length = int(announced)
    return length if length <= HEAD_BYTES_MAX else 0


def _checked(url: str, exchange: Exchange, signed: Signed | None, head: bytes) -> bytes:
    if signed is not None and not signed.is_mine(200, head, exchange.fields):
        raise PeerError(f"{url}: its answer is not signed with this cluster's token")
    return head


async def _reason(exchange: Exchange) -> str:
    """Why a question was refused, where the answer says so in a line."""
    if exchange.status not in REFUSALS:
        return ""
    try:
        return _in_a_line(await exchange.read(REASON_BYTES_MAX))
    except ExchangeError:
        return ""


def _in_a_line(text: bytes) -> str:
    return ": " + "".join(char for char in text.decode("utf-8", "replace").strip() if char.isprintable())
