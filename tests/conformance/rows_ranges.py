"""Ranges: which octets, from what is whole, from what is partly there, and from what is only on its way (RFC 9110 §14, RFC 9111 §3.3, §3.4)."""

# ruff: noqa: E501 — a turn of the dialogue is read in one line
from __future__ import annotations

import re

from tests.conformance.kit_rows import Row, Up, ask, later, on, row, sees, up

MINUTE = "Cache-Control: max-age=60"
TEN = "0123456789"
LONG = "0123456789" * 20_000
"""More than what lives in memory: on disk."""
CHANGED = "Sun, 06 Nov 1994 08:49:37 GMT"
STRONG = (MINUTE, 'ETag: "a"')


def _part(
    id: str, claim: str, spec: str, start: int, end: int, *, body: str = TEN, clause: str = "RFC 9110 §14.1.2", framing: str = "length"
) -> Row:
    """A range [start, end) of what is stored whole."""
    return row(
        id, claim, clause,
        ask(up=up(*STRONG, "Content-Type: text/x", body=body, framing=framing)),
        later(3),
        ask(f"Range: {spec}",
            sees=sees(f"Content-Range: bytes {start}-{end - 1}/{len(body)}", f"Content-Length: {end - start}", 'ETag: "a"', "Age: 3",
                      "Content-Type: text/x", "Date: <t0>", status=206, body=body[start:end])),
    )  # fmt: skip


def _whole(id: str, claim: str, *lines: str, clause: str = "RFC 9110 §14.2", stored: tuple[str, ...] = STRONG, body: str = TEN) -> Row:
    """A Range that does not count: the whole is the answer."""
    return row(
        id, claim, clause,
        ask(up=up(*stored, body=body)),
        ask(*lines, sees=sees("-Content-Range", f"Content-Length: {len(body)}", body=body)),
    )  # fmt: skip


def _unsatisfiable(id: str, spec: str, *, body: str = TEN) -> Row:
    return row(
        id, "416", "RFC 9110 §15.5.17",
        ask(up=up(*STRONG, body=body)),
        ask(f"Range: {spec}", sees=sees(f"Content-Range: bytes */{len(body)}", status=416)),
        ask(sees=sees(body=body)),
    )  # fmt: skip


def _parts(id: str, spec: str, *spans: tuple[int, int], body: str = TEN) -> Row:
    """Several ranges: each part's text in its order, behind its own Content-Range."""
    pattern = ".*".join(
        rf"--{{0}}\r\nContent-Type: text/x\r\nContent-Range: bytes {start}-{end - 1}/{len(body)}\r\n\r\n{re.escape(body[start:end])}\r\n"
        for start, end in spans
    )
    return row(
        id, "multiple", "RFC 9110 §14.6",
        ask(up=up(*STRONG, "Content-Type: text/x", body=body)),
        ask(f"Range: {spec}",
            sees=sees("Content-Type ~ ^multipart/byteranges; ?boundary=.+", "-Content-Range", "Content-Length", status=206,
                      pattern=pattern.replace("{0}", "[^\\r]+") + ".*--[^\\r]+--\\r\\n$")),
    )  # fmt: skip


def _if_range(id: str, stored: tuple[str, ...], condition: str, *, counts: bool) -> Row:
    return row(
        id, "if-range", "RFC 9110 §13.1.5",
        ask(up=up(MINUTE, *stored, body=TEN)),
        ask("Range: bytes=2-4", f"If-Range: {condition}",
            sees=sees("Content-Range: bytes 2-4/10", status=206, body="234") if counts else sees("-Content-Range", body=TEN)),
    )  # fmt: skip


FORMS = on(
    "range forms",
    _part("first-octet", "single", "bytes=0-0", 0, 1),
    _part("in-the-middle", "single", "bytes=3-6", 3, 7),
    _part("last-octet", "single", "bytes=9-9", 9, 10),
    _part("end-beyond-the-end", "single", "bytes=5-99", 5, 10),
    _part("all-of-it-is-a-part-too", "single", "bytes=0-9", 0, 10),
    _part("unit-in-any-case", "single", "Bytes=3-6", 3, 7),
    _part("from-disk", "single", "bytes=99999-150000", 99_999, 150_001, body=LONG),
    _part("of-a-body-that-came-chunked", "single", "bytes=3-6", 3, 7, framing="chunked"),
    _part("of-a-body-that-ended-with-the-connection", "single", "bytes=3-6", 3, 7, framing="close"),
    _part("suffix", "suffix", "bytes=-3", 7, 10),
    _part("suffix-longer-than-the-whole", "suffix", "bytes=-99", 0, 10),
    _part("suffix-from-disk", "suffix", "bytes=-70000", 130_000, 200_000, body=LONG),
    _part("open", "open", "bytes=4-", 4, 10),
    _part("open-from-the-start", "open", "bytes=0-", 0, 10),
    _part("open-from-disk", "open", "bytes=70000-", 70_000, 200_000, body=LONG),
    _part("one-of-two-exists", "single", "bytes=3-6, 20-30", 3, 7),
    _parts("two-parts", "bytes=0-1, 5-7", (0, 2), (5, 8)),
    _parts("parts-in-the-order-asked", "bytes=7-8,0-1", (7, 9), (0, 2)),
    _parts("parts-of-all-forms", "bytes=0-1, 4-5, -2", (0, 2), (4, 6), (8, 10)),
    _parts("parts-from-disk", "bytes=0-99, 150000-150099", (0, 100), (150_000, 150_100), body=LONG),
    _unsatisfiable("beyond-the-end", "bytes=10-"),
    _unsatisfiable("all-of-them-beyond", "bytes=10-11, 20-"),
    _unsatisfiable("suffix-of-nothing", "bytes=-0"),
    _unsatisfiable("first-octet-of-nothing", "bytes=0-0", body=""),
    _if_range("if-range-strong-tag", ('ETag: "a"',), '"a"', counts=True),
    _if_range("if-range-other-tag", ('ETag: "a"',), '"b"', counts=False),
    _if_range("if-range-weak-tag", ('ETag: W/"a"',), 'W/"a"', counts=False),
    _if_range("if-range-weak-for-strong", ('ETag: "a"',), 'W/"a"', counts=False),
    _if_range("if-range-date", (f"Last-Modified: {CHANGED}",), CHANGED, counts=True),
    _if_range("if-range-other-date", (f"Last-Modified: {CHANGED}",), "Sun, 06 Nov 1994 08:49:38 GMT", counts=False),
    _if_range("if-range-date-of-this-second", ("Last-Modified: <t0>",), "<t0>", counts=False),
    _if_range("if-range-date-without-last-modified", ('ETag: "a"',), CHANGED, counts=False),
    _whole("unknown-unit", "single", "Range: lines=1-2"),
    _whole("end-before-start", "single", "Range: bytes=6-3"),
    _whole("no-numbers", "single", "Range: bytes=-"),
    _whole("letters", "single", "Range: bytes=a-b"),
    _whole("negative-start", "single", "Range: bytes=-3-5"),
    _whole("no-equals-sign", "single", "Range: bytes 3-6"),
    _whole("overlapping", "too many", "Range: bytes=0-4, 3-6", clause="RFC 9110 §17.15"),
    _whole("the-same-twice", "too many", "Range: bytes=0-4, 0-4", clause="RFC 9110 §17.15"),
    _whole("seventeen-ranges", "too many", "Range: bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(17)), clause="RFC 9110 §17.15",
           body=TEN * 10),
    row(
        "range-of-head-does-not-count", "single", "RFC 9110 §14.2",
        ask(up=up(*STRONG, body=TEN)),
        ask("Range: bytes=3-6", method="HEAD", sees=sees("Content-Length: 10", "-Content-Range")),
    ),
    row(
        "condition-before-range", "if-range", "RFC 9110 §13.2.2",
        ask(up=up(*STRONG, body=TEN)),
        ask("Range: bytes=3-6", 'If-None-Match: "a"', sees=sees(status=304, body="")),
        ask("Range: bytes=3-6", 'If-None-Match: "b"', sees=sees(status=206, body="3456")),
    ),
    row(
        "range-of-a-stored-error", "single", "RFC 9110 §14.2",
        ask(up=up(MINUTE, status=404, body=TEN)),
        ask("Range: bytes=3-6", sees=sees("-Content-Range", status=404, body=TEN)),
    ),
    row(
        "range-of-what-is-stale-and-confirmed", "single", "RFC 9110 §14.2",
        ask(up=up(*STRONG, body=TEN)),
        later(60),
        ask("Range: bytes=3-6", up=up(*STRONG, status=304, asked=('If-None-Match: "a"', "-Range")), sees=sees("Age: 0", status=206, body="3456")),
    ),
    row(
        "range-of-what-is-replaced", "if-range", "RFC 9110 §13.1.5",
        ask(up=up(*STRONG, body=TEN)),
        later(60),
        ask("Range: bytes=3-6", 'If-Range: "a"', up=up(MINUTE, 'ETag: "b"', body="abcdefghij"), sees=sees("-Content-Range", body="abcdefghij")),
    ),
    row(
        "accept-ranges-passes", "single", "RFC 9110 §14.3",
        ask(up=up(*STRONG, "Accept-Ranges: bytes", body=TEN)),
        ask(sees=sees("Accept-Ranges: bytes", body=TEN)),
    ),
)  # fmt: skip


TWICE = "where If-Range brings the whole of a new version, it is thrown away and asked for once more"


def _fragment(start: int, end: int, *lines: str, asked: tuple[str, ...] = (), body: str = TEN) -> Up:
    """The upstream's 206 with [start, end)."""
    return up(*(lines or STRONG), f"Content-Range: bytes {start}-{end - 1}/{len(body)}", status=206, body=body[start:end], asked=asked)


PARTIAL = on(
    "partial",
    row(
        "several-ranges-of-one-whole", "from whole", "RFC 9111 §3.3",
        ask(up=up(*STRONG, body=LONG)),
        *(
            ask(f"Range: bytes={start}-{start + 999}", sees=sees(f"Content-Range: bytes {start}-{start + 999}/200000", status=206,
                                                                   body=LONG[start : start + 1000]))
            for start in (0, 1, 65_535, 65_536, 199_000)
        ),
    ),
    row(
        "206-is-stored", "stored", "RFC 9111 §3.3",
        ask("Range: bytes=2-4", up=_fragment(2, 5, asked=("Range: bytes=2-4",)), sees=sees("Content-Range: bytes 2-4/10", status=206, body="234")),
        ask("Range: bytes=2-4", sees=sees("Content-Range: bytes 2-4/10", status=206, body="234")),
    ),
    row(
        "part-of-a-stored-part", "from partial", "RFC 9111 §3.3",
        ask("Range: bytes=2-6", up=_fragment(2, 7), sees=sees(status=206, body="23456")),
        ask("Range: bytes=3-4", sees=sees("Content-Range: bytes 3-4/10", status=206, body="34")),
    ),
    row(
        "suffix-of-a-stored-part", "from partial", "RFC 9111 §3.3",
        ask("Range: bytes=5-9", up=_fragment(5, 10), sees=sees(status=206, body="56789")),
        ask("Range: bytes=-2", sees=sees("Content-Range: bytes 8-9/10", status=206, body="89")),
    ),
    row(
        "416-from-a-stored-part", "from partial", "RFC 9110 §15.5.17",
        ask("Range: bytes=5-9", up=_fragment(5, 10), sees=sees(status=206, body="56789")),
        ask("Range: bytes=10-", sees=sees("Content-Range: bytes */10", status=416)),
    ),
    row(
        "head-from-a-stored-part", "from partial", "RFC 9110 §9.3.2",
        ask("Range: bytes=5-9", up=_fragment(5, 10), sees=sees(status=206, body="56789")),
        ask(method="HEAD", sees=sees('ETag: "a"', "Content-Length: 10", "-Content-Range")),
    ),
    row(
        "two-parts-make-one", "combined", "RFC 9111 §3.4",
        ask("Range: bytes=0-4", up=_fragment(0, 5), sees=sees(status=206, body="01234")),
        ask("Range: bytes=5-9", up=_fragment(5, 10), sees=sees(status=206, body="56789")),
        ask("Range: bytes=3-6", sees=sees(status=206, body="3456")),
        ask(sees=sees("Content-Length: 10", "-Content-Range", body=TEN)),
    ),
    row(
        "parts-by-a-strong-date", "combined", "RFC 9110 §8.8.2.2",
        ask("Range: bytes=0-4", up=_fragment(0, 5, MINUTE, f"Last-Modified: {CHANGED}"), sees=sees(status=206, body="01234")),
        ask("Range: bytes=5-9", up=_fragment(5, 10, MINUTE, f"Last-Modified: {CHANGED}"), sees=sees(status=206, body="56789")),
        ask(sees=sees(body=TEN)),
    ),
    row(
        "parts-of-different-versions", "combined", "RFC 9111 §3.4",
        ask("Range: bytes=0-4", up=_fragment(0, 5), sees=sees(status=206, body="01234")),
        ask("Range: bytes=5-9",
            up=up(MINUTE, 'ETag: "b"', body="abcdefghij", asked=("Range: bytes=5-", 'If-Range: "a"')),
            sees=sees('ETag: "b"', "Content-Range: bytes 5-9/10", status=206, body="fghij")),
        ask(sees=sees('ETag: "b"', body="abcdefghij")),
    ),
    row(
        "parts-with-a-weak-tag", "combined", "RFC 9111 §3.4",
        ask("Range: bytes=0-4", up=_fragment(0, 5, MINUTE, 'ETag: W/"a"'), sees=sees(status=206, body="01234")),
        ask("Range: bytes=5-9", up=_fragment(5, 10, MINUTE, 'ETag: W/"a"'), sees=sees(status=206, body="56789")),
        ask(up=up(MINUTE, 'ETag: W/"a"', body="abcdefghij"), sees=sees(body="abcdefghij")),
    ),
    row(
        "whole-completes-what-is-missing", "completed", "RFC 9111 §3.4",
        ask("Range: bytes=0-4", up=_fragment(0, 5), sees=sees(status=206, body="01234")),
        ask(up=_fragment(5, 10, asked=("Range: bytes=5-", 'If-Range: "a"')), sees=sees("Content-Length: 10", "-Content-Range", body=TEN)),
        ask(sees=sees(body=TEN)),
    ),
    row(
        "whole-begins-before-the-part", "completed", "RFC 9111 §3.4",
        ask("Range: bytes=4-9", up=_fragment(4, 10), sees=sees(status=206, body="456789")),
        ask(up=_fragment(0, 4, asked=("Range: bytes=0-3", 'If-Range: "a"')), sees=sees(body=TEN)),
    ),
    row(
        "whole-has-changed-meanwhile", "completed", "RFC 9110 §13.1.5",
        ask("Range: bytes=0-4", up=_fragment(0, 5), sees=sees(status=206, body="01234")),
        ask(up=up(MINUTE, 'ETag: "b"', body="abcdefghij", asked=('If-Range: "a"',)), sees=sees('ETag: "b"', body="abcdefghij")),
    ),
    row(
        "part-of-a-whole-is-confirmed-and-completed", "completed", "RFC 9111 §3.4",
        ask("Range: bytes=2-4", up=up(*STRONG, body=TEN), sees=sees(status=206, body="234")),
        later(60),
        ask(up=up(*STRONG, status=304, asked=('If-None-Match: "a"',)), sees=sees("Content-Length: 10", "Age: 0", body=TEN)),
    ),
    row(
        "part-is-confirmed", "from partial", "RFC 9111 §3.4",
        ask("Range: bytes=2-4", up=_fragment(2, 5), sees=sees(status=206, body="234")),
        later(60),
        ask("Range: bytes=3-4", up=up(*STRONG, status=304, asked=('If-None-Match: "a"',)), sees=sees("Age: 0", status=206, body="34")),
    ),
    row(
        "a-206-is-no-answer-to-the-whole", "stored", "RFC 9111 §3.3",
        ask("Range: bytes=2-4", up=up(MINUTE, "Content-Range: bytes 2-4/10", status=206, body="234"), sees=sees(status=206, body="234")),
        ask(up=up(*STRONG, body=TEN)),
    ),
    row(
        "206-nobody-asked-for", "stored", "RFC 9110 §15.3.7",
        ask(up=_fragment(2, 5), sees=sees(status=502)),
    ),
)  # fmt: skip

MISS = on(
    "range miss",
    row(
        "range-is-answered-before-the-whole-is-there", "early", "RFC 9110 §14.2",
        ask("Range: bytes=2-4", up=up(*STRONG, body=LONG, hold=1000), sees=sees("Content-Range: bytes 2-4/200000", status=206, body="234")),
        ask(sees=sees(body=LONG)),
    ),
    row(
        "small-range-is-answered-before-the-whole-is-there", "early", "RFC 9110 §14.2",
        ask("Range: bytes=2-4", up=up(*STRONG, body=TEN, hold=5), sees=sees(status=206, body="234")),
        ask(sees=sees(body=TEN)),
    ),
    row(
        "range-of-unknown-length", "no range upstream", "RFC 9110 §14.2",
        ask("Range: bytes=2-4", up=up(*STRONG, body=TEN, framing="chunked"), sees=sees(status=(200, 206), pattern="^(234|0123456789)$")),
        ask("Range: bytes=2-4", sees=sees("Content-Range: bytes 2-4/10", status=206, body="234")),
    ),
    row(
        "upstream-without-ranges", "no range upstream", "RFC 9110 §14.2",
        ask("Range: bytes=2-4", up=up(*STRONG, "Accept-Ranges: none", body=TEN), sees=sees("Content-Range: bytes 2-4/10", status=206, body="234")),
        ask("Range: bytes=5-", sees=sees(status=206, body="56789")),
        ask(sees=sees(body=TEN)),
    ),
    row(
        "unsatisfiable-on-a-miss", "no range upstream", "RFC 9110 §15.5.17",
        ask("Range: bytes=10-", up=up(*STRONG, body=TEN), sees=sees("Content-Range: bytes */10", status=416)),
        ask(sees=sees(body=TEN)),
    ),
    row(
        "if-range-on-a-miss", "no range upstream", "RFC 9110 §13.1.5",
        ask("Range: bytes=2-4", 'If-Range: "b"', up=up(*STRONG, body=TEN), sees=sees("-Content-Range", body=TEN)),
        ask("Range: bytes=2-4", 'If-Range: "a"', sees=sees(status=206, body="234")),
    ),
    row(
        "range-of-an-error-on-a-miss", "no range upstream", "RFC 9110 §14.2",
        ask("Range: bytes=2-4", up=up(status=404, body="nothing here"), sees=sees(status=404, body="nothing here")),
    ),
    row(
        "range-of-what-is-not-stored", "no range upstream", "RFC 9110 §14.2",
        ask("Range: bytes=2-4", up=up("Cache-Control: no-store", body=TEN), sees=sees("Content-Range: bytes 2-4/10", status=206, body="234")),
    ),
    row(
        "several-ranges-on-a-miss", "early", "RFC 9110 §14.6",
        ask("Range: bytes=0-1, 5-6", up=up(*STRONG, body=TEN), sees=sees("Content-Type ~ ^multipart/byteranges", status=206)),
        ask(sees=sees(body=TEN)),
    ),
)  # fmt: skip

ROWS = [*FORMS, *PARTIAL, *MISS]
