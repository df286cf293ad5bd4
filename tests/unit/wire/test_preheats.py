"""What a manager and a node say to each other about a load."""

from __future__ import annotations

from typing import Any

import pytest

from minicdn.errors import ClientError
from minicdn.wire.codec import decode, encode
from minicdn.wire.preheats import DONE, HOLD_SECONDS_MAX, LoadAnswer, LoadCall

CALL = LoadCall("/a?b", ((b"accept-encoding", b"gzip"),), 2.0)


@pytest.mark.parametrize("said", [CALL, LoadCall("/a", is_over=True), LoadAnswer(DONE, 5, 5), LoadAnswer("failed", reason="why")])
def test_there_and_back(said: Any) -> None:
    assert type(said).from_wire(decode(encode(said.to_wire()))) == said


@pytest.mark.parametrize(
    "change",
    [
        {"target": None},
        {"target": "/\u00e9"},
        {"target": "/" + "x" * 9000},
        {"fields": [["accept", "x"]]},
        {"fields": [[b"accept"]]},
        {"fields": [[b"range", b"bytes=0-1"]]},
        {"fields": [[b"a", b"b"]] * 17},
        {"hold": -1.0},
        {"hold": HOLD_SECONDS_MAX + 1},
        {"hold": float("nan")},
        {"over": 1},
    ],
)
def test_a_call_that_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(ClientError):
        LoadCall.from_wire({**CALL.to_wire(), **change})


@pytest.mark.parametrize("change", [{"state": "there"}, {"have": -1}, {"length": "5"}, {"reason": "x" * 301}])
def test_an_answer_that_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(ClientError):
        LoadAnswer.from_wire({**LoadAnswer(DONE, 5, 5).to_wire(), **change})


def test_a_reason_is_cut_to_what_is_read() -> None:
    long = LoadAnswer("failed", reason="x" * 1000)
    assert len(LoadAnswer.from_wire(long.to_wire()).reason) == 300
