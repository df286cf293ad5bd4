"""What answers have in common is made once: each is the same as if it had been made for itself alone."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from minicdn.core import headers
from minicdn.core.conditional import CONDITIONALS
from minicdn.core.freshness import storable
from minicdn.core.message import Head, Request
from minicdn.core.stored import Stored
from minicdn.node.delivery import deliver, lines_behind, status_member
from minicdn.node.found import Found
from minicdn.store.body import Body
from minicdn.store.entry import Entry
from minicdn.store.memory import MemoryStorage
from minicdn.web.protocol import response_head, whole_head
from tests.property.plain_answers import _status_member, plain_head, plainly_delivered
from tests.property.test_rulings import asks, heads, policies
from tests.unit.core.making import NOW

asked_line = st.sampled_from(
    (
        (b"range", b"bytes=1-2"),
        (b"range", b"bytes=0-0,3-4"),
        (b"range", b"bytes=99-"),
        (b"if-none-match", b'"a"'),
        (b"if-range", b'"a"'),
        (b"want-repr-digest", b"sha-256=1"),
        (b"want-repr-digest", b"sha-256=0"),
    )
)
founds = st.builds(
    dict,
    source=st.sampled_from(("memory", "disk", "peer", "upstream")),
    forward=st.sampled_from((None, "uri-miss", "stale")),
    forward_status=st.sampled_from((None, 200, 304)),
    is_collapsed=st.booleans(),
    is_stale=st.booleans(),
    detail=st.sampled_from(("", "fresh", 'a "reason" for it', "long" * 200)),
    member=st.sampled_from((None, b"minicdn-1; fwd=uri-miss; ttl=7", b"x" * 600)),
    span=st.sampled_from((None, None, None, (1, 3))),
)


def _body(content: bytes, length: int | None, is_whole: bool, has_storage: bool) -> Body:
    body = Body(MemoryStorage(len(content)) if has_storage else None, length)
    body.write(0, content)
    if is_whole:
        body.finish()
    return body


bodies = st.builds(
    lambda content, *flags: (content, *flags), st.binary(min_size=4, max_size=9), st.booleans(), st.booleans(), st.booleans()
)


@given(asks, st.lists(asked_line, max_size=2), heads, policies, founds, bodies, st.floats(-3, 500), st.sampled_from(("GET", "HEAD")))
def test_an_answer_is_what_it_would_be_alone(request, more, head, policy, found, body, after, method):
    content, is_announced, is_whole, has_storage = body
    head = Head(head.status, tuple(headers.end_to_end(head.fields)))
    stored = storable(request, head, NOW, NOW, policy)
    entry = Entry("/a", head, None, _body(content, len(content) if is_announced else None, is_whole, has_storage))
    if isinstance(stored, Stored):
        entry.head, entry.stored = stored.head, stored
    request = Request(method, request.target, request.key, (*request.fields, *more))
    answer = Found(entry, **found)
    more_asked = request.names & {b"range", b"want-repr-digest", *CONDITIONALS}
    plain = plainly_delivered(request, answer, NOW + after, name="minicdn-n", boundary="b")
    for _ in range(2):
        given_ = deliver(request, answer, NOW + after, name="minicdn-n", boundary="b")
        assert given_ == plain
        assert status_member(answer, NOW + after, "minicdn-n") == _status_member(answer, NOW + after, "minicdn-n")
        assert response_head(given_.status, given_.fields) == plain_head(plain.status, plain.fields)
        more = lines_behind(answer, NOW + after, "minicdn-n")
        if more is not None and not more_asked and method == "GET":
            length = entry.body.length if head.status not in (204, 304) else None
            for keeps_alive in (True, False):
                whole = whole_head(head.status, entry.head.fields, more, length, keeps_alive=keeps_alive)
                assert whole == plain_head(plain.status, plain.fields, keeps_alive=keeps_alive)


octets = st.binary(max_size=6) | st.sampled_from((b"Connection", b"transfer-ENCODING", b"a\r\nb", b"\0", b"Con\nnection", b"X"))


@given(st.integers(100, 999), st.lists(st.tuples(octets, octets), max_size=5), st.booleans(), st.booleans())
def test_a_head_is_written_line_by_line(status, fields, is_chunked, keeps_alive):
    named = {"is_chunked": is_chunked, "keeps_alive": keeps_alive}
    assert response_head(status, fields, **named) == plain_head(status, fields, **named)
    assert response_head(status, tuple(fields), **named) == plain_head(status, fields, **named)


@given(st.lists(st.tuples(octets | st.just(b"content-LENGTH"), octets), max_size=5), st.none() | st.integers(0, 9), st.booleans())
def test_the_head_of_a_whole_is_written_line_by_line(fields, length, keeps_alive):
    more = ((b"Age", b"0"), (b"Cache-Status", b"x\r\ny"))
    sized = [*headers.without(fields, {b"content-length"}), *more, *([] if length is None else [(b"Content-Length", b"%d" % length)])]
    plain = plain_head(200, sized, keeps_alive=keeps_alive)
    assert whole_head(200, fields, more, length, keeps_alive=keeps_alive) == plain


def test_the_strategies_reach_a_digest():
    """The test above compares nothing of digests unless one is made."""
    head = Head(200, ((b"Cache-Control", b"max-age=9"),))
    entry = Entry("/a", head, None, _body(b"abc", 3, True, True))
    request = Request("GET", b"/a", "/a", ((b"want-repr-digest", b"sha-256=1"),))
    fields = deliver(request, Found(entry, "memory"), NOW, name="n", boundary="b").fields
    assert headers.has(fields, b"repr-digest") and len(sha256(b"abc").digest()) == 32


connection_line = st.tuples(
    st.sampled_from((b"Connection", b"connection", b"Close", b"Keep-Alive", b"TE", b"ETag", b"X")),
    st.sampled_from((b"keep-alive", b"close", b"x, close", b"etag", b"Keep-Alive", b"KEEP-ALIVE", b"")),
)


@given(st.lists(connection_line, max_size=6))
def test_what_may_travel_on(fields):
    connection = headers.combined(fields, b"connection")
    nominated = {option.strip(b" \t").lower() for option in (connection or b"").split(b",")}
    assert headers.end_to_end(fields) == headers.without(fields, headers.HOP_BY_HOP | nominated)
    assert headers.end_to_end(tuple(fields)) == headers.end_to_end(fields)
