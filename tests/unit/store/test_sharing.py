"""Heads say what they said, in fewer objects; who comes first pays for what is shared."""

from __future__ import annotations

import pytest

from minicdn.core.message import Head
from minicdn.store import sharing
from minicdn.store.sharing import POINTER_BYTES, SharedLines, line_cost


def _head(number: int) -> Head:
    lines = ((b"Server", b"nginx"), (b"ETag", b'"%d"' % number), (b"Cache-Control", b"max-age=60"))
    return Head(200, tuple((bytes(bytearray(name)), bytes(bytearray(value))) for name, value in lines))


def test_what_heads_have_in_common_is_kept_once() -> None:
    lines = SharedLines()
    (first, first_cost), (second, second_cost) = lines.share(_head(1)), lines.share(_head(2))
    assert (first, second) == (_head(1), _head(2))
    assert [one is other for one, other in zip(first.fields, second.fields, strict=True)] == [True, False, True]
    assert first.fields[1][0] is second.fields[1][0]
    assert first_cost == 3 * POINTER_BYTES + sum(map(line_cost, first.fields))
    assert second_cost == 3 * POINTER_BYTES + line_cost(second.fields[1])


def test_names_that_differ_in_case_stay_so() -> None:
    lines = SharedLines()
    lines.share(Head(200, ((b"Server", b"x"),)))
    assert lines.share(Head(200, ((b"server", b"x"),)))[0].fields == ((b"server", b"x"),)


def test_it_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "LINES_MAX", 8)
    lines = SharedLines()
    for number in range(100):
        head = Head(200, ((b"X-%d" % number, b"%d" % number),))
        assert lines.share(head)[0] == head
        assert len(lines._lines) <= 8
