"""A peer's question for a small body that is here, whole and fresh, answered as soon as its bytes arrive.

Decided is as by the normal way (rpc.py): the same look at the shelf, the same words in the answer. What could need more than that (a part,
a copy to be confirmed, a purge that the asker has heard of, a file that may come in pieces, a capped uplink) is left to it. So is a
question that has to be proven: where there is a token, no peer comes this way.
"""

from __future__ import annotations

from typing import Any

from minicdn.core.journal import Mark
from minicdn.core.message import Request
from minicdn.core.via import has_passed
from minicdn.errors import ClientError
from minicdn.node.node import Node
from minicdn.web.protocol import response_head
from minicdn.web.rpc import answer_fields, describe
from minicdn.wire.codec import decode, encode
from minicdn.wire.fetch import FetchRequest

RPC_LINE = b"POST /_rpc/get HTTP/1.1\r\n"
HEADS_MAX = 4096
HEAD_BYTES_MAX = 512
"""Of a head that is remembered. A peer's has a host's name in it, and nothing else of any length."""
_FIELDS = frozenset((b"host", b"content-type", b"content-length"))


class PeerLane:
    """Of one node that has no token."""

    def __init__(self, node: Node, name: str) -> None:
        self._node = node
        self._name = name
        self._lengths: dict[bytes, int] = {}

    def serve(self, transport: Any, data: bytes) -> bool:
        """Answers the question in `data`; False, with nothing done, where it is not for this lane."""
        end = data.find(b"\r\n\r\n") + 4
        head = data[:end]
        length = self._lengths.get(head, -1)
        if length < 0:
            length = self._learn(head)
        node = self._node
        if len(data) != end + length or node.limits.has_up:
            return False
        try:
            fetch = FetchRequest.from_wire(decode(data[end:]))
        except ClientError:
            return False
        if not _is_plain(fetch) or not self._lies_in_memory(fetch.key) or has_passed(fetch.fields, self._name):
            return False
        request = Request("GET", fetch.key.encode("ascii"), fetch.key, fetch.fields)
        found = node.cache.find_fresh(request, mark=Mark.parse(fetch.mark), is_forwarded=True)
        if found is None:
            return False
        message = encode(describe(node, self._name, fetch, request, found).to_wire())
        body = found.entry.body.read_whole() or b""
        head = response_head(200, answer_fields(len(message), len(body)))
        transport.write(b"".join((head, message, body)))
        node.limits.note_up(len(body))
        node.counters.add("peer_sent_bytes", len(body))
        return True

    def _lies_in_memory(self, key: str) -> bool:
        """All that may be the answer, and small enough that nobody would have it in pieces."""
        entries, small_bytes = self._node.cache.stored_for(key), self._node.settings.small_bytes
        return bool(entries) and all(
            entry.body.is_whole and entry.body.medium == "memory" and (entry.body.length or 0) <= small_bytes for entry in entries
        )

    def _learn(self, head: bytes) -> int:
        """The length that a head of nothing but the usual says; −1 of any other. Those of one peer differ in the length alone."""
        if len(head) > HEAD_BYTES_MAX:
            return -1
        lines = [line.partition(b": ") for line in head[len(RPC_LINE) : -4].lower().split(b"\r\n")]
        said = {name: value for name, _, value in lines}
        length = said.get(b"content-length", b"")
        if said.keys() != _FIELDS or len(lines) != len(said) or not length.isdigit():
            return -1
        if len(self._lengths) >= HEADS_MAX:
            self._lengths.clear()
        self._lengths[head] = int(length)
        return int(length)


def _is_plain(fetch: FetchRequest) -> bool:
    is_part = fetch.range is not None or fetch.validator is not None
    return fetch.method == "GET" and not is_part and fetch.held is None and fetch.target is None and not fetch.wants_fresh
