from __future__ import annotations

import json

import pytest

from minicdn.core.logline import LogLine, dropped_json, encode_line, parse_header_data

LINE = LogLine(
    key="/a.iso",
    remote_addr="10.0.0.9:50123",
    user_agent="curl/8",
    success=True,
    header_data=None,
    method="GET",
    status=200,
    bytes=1000,
    source="disk",
    duration_seconds=0.25,
    timestamp=1436945573,
)


def test_the_line_has_the_published_form_and_more_inside_data() -> None:
    line = LINE._replace(header_data={"build": 7}).to_json("http://10.0.0.5:11001")
    extras = {name: line["data"].pop(name) for name in ("method", "status", "bytes", "source", "duration_seconds")}
    assert line == {
        "data": {
            "action": "LOG",
            "header_data": {"build": 7},
            "key": "/a.iso",
            "remote_addr": "10.0.0.9:50123",
            "success": True,
            "user_agent": "curl/8",
        },
        "peer": "http://10.0.0.5:11001",
        "timestamp": 1436945573,
    }
    assert extras == {"method": "GET", "status": 200, "bytes": 1000, "source": "disk", "duration_seconds": 0.25}


def test_a_dropped_line_says_how_many() -> None:
    assert dropped_json(12, "http://a", 5) == {"data": {"action": "DROPPED", "count": 12}, "peer": "http://a", "timestamp": 5}


@pytest.mark.parametrize(
    ("data", "type_", "note"),
    [
        (None, b"json", None),
        (b"build 7", None, "build 7"),
        (b'{"build": 7}', None, '{"build": 7}'),
        (b'{"build": 7}', b"json", {"build": 7}),
        (b'{"build": 7}', b" JSON ", {"build": 7}),
        (b'{"build": 7}', b"xml", '{"build": 7}'),
        (b"null", b"json", None),
        (b"", b"json", ""),
        (b"{broken", b"json", "{broken"),
        (b"NaN", b"json", "NaN"),
        (b"1e999", b"json", "1e999"),
        (b"9" * 5000, b"json", "9" * 5000),
        (b"[" * 50000, b"json", "[" * 50000),
        (b"[" * 40 + b"]" * 40, b"json", "[" * 40 + "]" * 40),
        ("ä".encode(), None, "ä"),
        (b"\xe4", None, "ä"),
    ],
)
def test_the_note_is_json_when_announced_and_valid_and_text_otherwise(data: bytes | None, type_: bytes | None, note: object) -> None:
    assert parse_header_data(data, type_) == note


@pytest.mark.parametrize("note", ["two\nlines\u2028", '"\ud800"', "\x00", {"ä": [1.5, None, True]}, 10**40])
def test_any_note_makes_one_line_of_valid_utf8(note: object) -> None:
    data = encode_line(LINE._replace(header_data=note).to_json("http://a"))
    assert data.endswith(b"\n")
    assert data.count(b"\n") == 1
    assert json.loads(data.decode("utf-8"))["data"]["header_data"] == note
