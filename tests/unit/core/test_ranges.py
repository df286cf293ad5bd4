from __future__ import annotations

import pytest

from minicdn.core.ranges import (
    POSITION_MAX,
    UNSATISFIABLE,
    Suffix,
    closing,
    content_range,
    multipart_length,
    multipart_type,
    parse_content_range,
    parse_range,
    parse_single_range,
    part_head,
    unsatisfied_range,
)


@pytest.mark.parametrize(
    ("value", "ranges"),
    [
        (b"bytes=0-0", [(0, 1)]),
        (b"bytes=0-9", [(0, 10)]),
        (b"bytes=0-99", [(0, 10)]),
        (b"bytes=5-", [(5, 10)]),
        (b"bytes=9-", [(9, 10)]),
        (b"bytes=-1", [(9, 10)]),
        (b"bytes=-10", [(0, 10)]),
        (b"bytes=-11", [(0, 10)]),
        (b"bytes=-0099", [(0, 10)]),
        (b"BYTES=0-1", [(0, 2)]),
        (b" bytes= 0-1 ,\t3-4 ", [(0, 2), (3, 5)]),
        (b"bytes=,0-1,,", [(0, 2)]),
        (b"bytes=8-9,0-1", [(8, 10), (0, 2)]),
        (b"bytes=0-1,2-3", [(0, 2), (2, 4)]),
        (b"bytes=0-1,20-30", [(0, 2)]),
        (b"bytes=0-" + b"9" * 10_000, [(0, 10)]),
        # Well formed, but nothing of it exists.
        (b"bytes=10-", UNSATISFIABLE),
        (b"bytes=10-20", UNSATISFIABLE),
        (b"bytes=-0", UNSATISFIABLE),
        (b"bytes=" + b"9" * 10_000 + b"-", UNSATISFIABLE),
        (b"bytes=10-,11-12,-0", UNSATISFIABLE),
        # Ignored: the whole is sent.
        (b"", None),
        (b"bytes", None),
        (b"bytes=", None),
        (b"bytes=,", None),
        (b"bytes=-", None),
        (b"bytes=5-4", None),
        (b"bytes=0-1,5-4", None),
        (b"bytes=a-b", None),
        (b"bytes=1", None),
        (b"bytes=1-2-3", None),
        (b"bytes=--1", None),
        (b"bytes=+1-2", None),
        (b"bytes=1 -2", None),
        (b"bytes =1-2", None),
        (b"bytes:1-2", None),
        (b"items=0-1", None),
        (b"bytes=\xb2-\xb3", None),
        (b"bytes=0-5,5-6", None),
        (b"bytes=0-,-1", None),
        (b"bytes=0-1,0-1", None),
        (b"bytes=" + b",".join(b"%d-%d" % (i, i) for i in range(17)), None),
        (b"bytes=" + b"," * 100 + b"0-1", None),
    ],
)
def test_ranges_of_ten_bytes(value, ranges):
    assert parse_range(value, 10) == ranges


def test_sixteen_ranges_are_not_too_many():
    value = b"bytes=" + b",".join(b"%d-%d" % (2 * i, 2 * i) for i in range(16))
    assert len(parse_range(value, 100)) == 16


@pytest.mark.parametrize(("value", "ranges"), [(b"bytes=0-", UNSATISFIABLE), (b"bytes=-0", UNSATISFIABLE), (b"bytes=-5", None)])
def test_ranges_of_nothing(value, ranges):
    assert parse_range(value, 0) == ranges


@pytest.mark.parametrize(
    ("value", "single"),
    [
        (b"bytes=3-5", (3, 6)),
        (b"bytes=3-", (3, None)),
        (b"bytes=-3", Suffix(3)),
        (b"bytes=" + b"9" * 99 + b"-", (POSITION_MAX, None)),
        (b"bytes=0-1,3-4", None),
        (b"bytes=4-3", None),
        (b"seconds=1-2", None),
    ],
)
def test_one_range_before_the_length_is_known(value, single):
    assert parse_single_range(value) == single


def test_content_range_is_written():
    assert content_range(0, 10, 100) == b"bytes 0-9/100"
    assert content_range(5, 6, None) == b"bytes 5-5/*"
    assert unsatisfied_range(0) == b"bytes */0"


@pytest.mark.parametrize(("start", "end", "length"), [(0, 0, 10), (-1, 2, 10), (5, 4, 10), (0, 11, 10)])
def test_no_content_range_outside_the_body(start, end, length):
    with pytest.raises(ValueError):
        content_range(start, end, length)


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (b"bytes 0-9/100", (0, 10, 100)),
        (b"Bytes 0-9/*", (0, 10, None)),
        (b"bytes 0-0/1", (0, 1, 1)),
        (b"bytes 5-4/10", None),
        (b"bytes 0-10/10", None),
        (b"bytes */10", None),
        (b"bytes=0-9/100", None),
        (b"bytes 0-9", None),
        (b"bytes 0-9/100/5", None),
        (b"items 0-9/100", None),
        (b"bytes 0-" + b"9" * 5000 + b"/*", None),
    ],
)
def test_content_range_is_read(value, parts):
    assert parse_content_range(value) == parts


@pytest.mark.parametrize("content_type", [b"text/plain", None])
def test_a_multipart_answer_is_as_long_as_said(content_type):
    ranges = [(0, 2), (5, 10)]
    body = b"0123456789"
    parts = [part_head(b"edge", content_type, start, end, 10) + body[start:end] for start, end in ranges]
    whole = b"".join(parts) + closing(b"edge")
    assert len(whole) == multipart_length(b"edge", content_type, ranges, 10)
    assert whole.count(b"\r\n--edge") == 3 and whole.endswith(b"\r\n--edge--\r\n")
    assert b"Content-Range: bytes 5-9/10\r\n\r\n56789\r\n--" in whole
    assert multipart_type(b"edge") == b"multipart/byteranges; boundary=edge"
