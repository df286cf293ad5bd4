"""A peer's question for a small body that is here, whole and fresh, answered as soon as its bytes arrive.

Decided is as by the normal way (rpc.py): the same look at the shelf, the same words in the answer. What could need more than that (a part,
a copy to be confirmed, a purge that the asker has heard of, a file that may come in pieces, a capped uplink) is left to it. So is a
question that has to be proven: where there is a token, no peer comes this way.
"""

from __future__ import annotations

from typing import Any

from minicdn.core.headers import has
from minicdn.core.journal import Mark
from minicdn.core.message import Fields, Request
from minicdn.core.names import ALIKE_LINES_MAX
from minicdn.core.via import has_passed
from minicdn.errors import ClientError
from minicdn.node.found import Found
from minicdn.node.node import Node
from minicdn.web.protocol import response_head
from minicdn.web.rpc import answer_fields, describe, describe_hit
from minicdn.wire.codec import Encoder, decode
from minicdn.wire.fetch import ALIKE_BYTES_MAX, ALIKE_MAX, FetchRequest, says_each_once, split_question

RPC_LINE = b"POST /_rpc/get HTTP/1.1\r\n"
HEADS_MAX = 4096
HEAD_BYTES_MAX = 512
"""Of a head that is remembered. A peer's has a host's name in it, and nothing else of any length."""
_FIELDS = frozenset((b"host", b"content-type", b"content-length"))


Asked = tuple[Fields, Mark | None]
"""What a question says besides its key: the client's fields, and up to where the asker knows of purges."""


class PeerLane:
    """Of one node that has no token."""

    def __init__(self, node: Node, name: str) -> None:
        self._node = node
        self._name = name
        self._lengths: dict[bytes, int] = {}
        self._alike: dict[bytes, Asked] = {}
        self._encode = Encoder().encode
        self._head = response_head(200, answer_fields(7, 0)).replace(b": 7", b": %d")  # both of its numbers

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
        question = data[end:]
        key, rest = split_question(question)
        asked = self._alike.get(rest) if key else None
        if asked is None:
            key, asked = self._read(question, rest)
        if asked is None or not self._lies_in_memory(key):
            return False
        request = Request("GET", key.encode("ascii"), key, asked[0])
        found = node.cache.find_fresh(request, mark=asked[1], is_forwarded=True)
        if found is None:
            return False
        message = self._encode(self._told(request, found))
        body = found.entry.body.read_whole() or b""
        transport.write(b"".join((self._head % (len(message), len(message) + len(body)), message, body)))
        node.limits.note_up(len(body))
        node.counters.add("peer_sent_bytes", len(body))
        return True

    def _told(self, request: Request, found: Found) -> dict[str, Any]:
        if found.is_stale or found.entry.stored is None:
            return describe(self._node, self._name, FetchRequest("GET", request.key, request.fields), request, found).to_wire()
        return describe_hit(self._node, self._name, found)

    def _lies_in_memory(self, key: str) -> bool:
        """All that may be the answer, and small enough that nobody would have it in pieces."""
        entries, small_bytes = self._node.cache.stored_for(key), self._node.settings.small_bytes
        for entry in entries:
            body = entry.body
            if not body.is_whole or body.medium != "memory" or (body.length or 0) > small_bytes:
                return False
        return bool(entries)

    def _read(self, question: bytes, rest: bytes) -> tuple[str, Asked | None]:
        """Its key, and None where it is not for this lane. rest: all but its key, by which the next one like it is known; empty where it
        can't be taken apart."""
        try:
            found = decode(question, as_tuples=True)
            fetch = FetchRequest.from_wire(found)
        except ClientError:
            return "", None
        if not _is_plain(fetch) or has_passed(fetch.fields, self._name):
            return "", None
        asked = fetch.fields, Mark.parse(fetch.mark)
        if rest and len(rest) <= ALIKE_BYTES_MAX and len(asked[0]) <= ALIKE_LINES_MAX and says_each_once(question, found):
            if len(self._alike) >= ALIKE_MAX:
                self._alike.clear()
            self._alike[rest] = asked
        return fetch.key, asked

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
    is_part = fetch.range is not None or fetch.validator is not None or has(fetch.fields, b"range")
    return fetch.method == "GET" and not is_part and fetch.held is None and fetch.target is None and not fetch.wants_fresh
