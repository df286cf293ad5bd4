"""The one place where it is decided who may do what (docs/adr/0008-who-may-do-what.md). Content never comes here.

open to all     /_health  /_peers  /_stats  /_metrics  /_targets
nodes           /_rpc/…: signed by a holder of the token; open to all where there is none
people          PURGE  /_purge  /_preheat  /_log  /_explain and what else is under /_: signed, or `Authorization: Bearer TOKEN`; without a
                token, from this machine only
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from minicdn.core.headers import first
from minicdn.core.replay import Replays, Verdict
from minicdn.core.signing import ANSWER_FIELD, ANYBODY, MANAGER, SCHEME, SKEW_SECONDS, Credentials, Keys, Question, is_signed, sign_answer
from minicdn.errors import ClientError
from minicdn.node.limits import is_loopback
from minicdn.web.protocol import target_of
from minicdn.web.status import text_fields
from minicdn.web.watching import Receive, Scope, Send, read_message

OPEN = (b"/_health", b"/_peers", b"/_stats", b"/_metrics", b"/_targets")
RPC = b"/_rpc/"
BODY_BYTES_MAX = 1024 * 1024
SAY_AGAIN_SECONDS = 60.0
TOKENLESS = "without a token this is answered to the node's own machine only; give the nodes one with --token-file"
Door = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """Of one node. role: its url(), its clock and its say(). listens_since: wall seconds; nothing that was said before is for this node."""

    def __init__(self, role: Any, token: str | None, listens_since: float | None = None) -> None:
        self._role = role
        self._keys = Keys.of(token) if token is not None else None
        self._is_manager = role.name == "manager"
        # Each of two peers may differ from the manager by SKEW_SECONDS, one to either side.
        self._skew_seconds = SKEW_SECONDS if self._is_manager else 2 * SKEW_SECONDS
        self._replays = Replays(role.clock.wall() if listens_since is None else listens_since, self._skew_seconds)
        self._said_at = -SAY_AGAIN_SECONDS

    async def pass_on(self, scope: Scope, receive: Receive, send: Send, door: Door) -> None:
        """To the door, if the client may."""
        path = scope["raw_path"]
        if path in OPEN or (self._keys is None and (path.startswith(RPC) or is_loopback(scope.get("client")))):
            await door(scope, receive, send)
            return
        try:
            if self._keys is None:
                raise ClientError(403, TOKENLESS)
            value = first(scope["headers"], b"authorization")
            if value is not None and value[:7].lower() == b"bearer " and not path.startswith(RPC):
                self._check_bearer(self._keys, value[7:].strip())
            else:
                body = await read_message(scope, receive, BODY_BYTES_MAX)
                mac = self._check_signed(self._keys, scope, value, body)
                receive, send = _again(body, receive), _signing(send, self._keys, mac)
        except ClientError as error:
            self._note(scope, error)
            await _refuse(send, error, is_rpc=path.startswith(RPC))
            return
        await door(scope, receive, send)

    def _check_bearer(self, keys: Keys, given: bytes) -> None:
        if not keys.is_token(given):
            raise ClientError(401, "that is not this node's token")

    def _check_signed(self, keys: Keys, scope: Scope, value: bytes | None, body: bytes) -> bytes:
        """The question's MAC, which the answer refers to. Raises ClientError(401, 425)."""
        if value is None:
            raise ClientError(401, "this is for those who hold the cluster's token (--token-file)")
        found = Credentials.parse(value)
        if found is None:
            raise ClientError(401, "the Authorization field is neither a signature nor 'Bearer TOKEN'")
        method, target = scope["method"], target_of(scope)
        if not any(is_signed(keys, Question(name, method, target, body), found) for name in self._names(scope)):
            raise ClientError(401, "signed with another token, or for another node")
        self._check_time(found)
        return found.mac

    def _check_time(self, found: Credentials) -> None:
        now, at = self._role.clock.wall(), found.at_ms / 1000
        if abs(now - at) > self._skew_seconds:
            side = "behind" if at < now else "ahead of"
            raise ClientError(
                401, f"the sender's clock is {abs(now - at):.0f} s {side} this node's; they may differ by {SKEW_SECONDS:.0f} s"
            )
        verdict = self._replays.take(found.sender, found.number, at, now)
        if verdict is Verdict.TOO_OLD:
            raise ClientError(425, f"{verdict.value}; sign it again")  # RFC 8470 §5.2: it may be a replay
        if verdict is not Verdict.NEW:
            raise ClientError(401, f"this message does not count: {verdict.value}")

    def _names(self, scope: Scope) -> list[str]:
        """Whom a message that is meant for this node may be for. A peer that does not know yet how the list calls it believes the Host
        field."""
        names = [ANYBODY] if scope["method"] == "GET" else []
        if self._is_manager:
            return [*names, MANAGER]
        url = self._role.url()
        if url is not None:
            return [*names, url]
        host = (first(scope["headers"], b"host") or b"").decode("latin-1")
        return [*names, f"http://{host}", f"https://{host}"]

    def _note(self, scope: Scope, error: ClientError) -> None:
        """Counted, and said now and then: one who guesses should be seen, and should not fill the log."""
        self._role.node.counters.add("refusals_count")
        now = self._role.clock.monotonic()
        if now - self._said_at >= SAY_AGAIN_SECONDS:
            self._said_at = now
            client = (scope.get("client") or ("?", 0))[0]
            self._role.say(f"refused {scope['method']} {scope['path'][:80]!r} of {client}: {error.reason}")


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, as one piece, and then what comes after it."""
    left = [body]

    async def receive_again() -> dict[str, Any]:
        return {"type": "http.request", "body": left.pop(), "more_body": False} if left else await receive()

    return receive_again


def _signing(send: Send, keys: Keys, question_mac: bytes) -> Send:
    """Signs the first bytes after the head: all of a short answer, or the map before what a peer is sent."""
    held: dict[str, Any] | None = None

    async def send_signed(message: dict[str, Any]) -> None:
        nonlocal held
        if message["type"] == "http.response.start":
            held = message
            return
        if held is not None:
            start, held = held, None
            mac = sign_answer(keys, question_mac, start["status"], message.get("body", b""))
            await send({**start, "headers": [*start["headers"], (ANSWER_FIELD, mac)]})
        await send(message)

    return send_signed


async def _refuse(send: Send, error: ClientError, *, is_rpc: bool) -> None:
    text = (error.reason + "\n").encode()
    fields = text_fields(error.status, len(text))
    if error.status == 401:
        fields.append((b"www-authenticate", SCHEME.strip() if is_rpc else b'Bearer realm="minicdn"'))
    await send({"type": "http.response.start", "status": error.status, "headers": fields})
    await send({"type": "http.response.body", "body": text, "more_body": False})
