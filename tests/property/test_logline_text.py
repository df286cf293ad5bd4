"""The quick way to a log line's text, and the one that says it in full."""

from __future__ import annotations

import json
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicdn.core.logline import ALIKE_CHARACTERS_MAX, SOURCES, LogLine, _around, encode_line

TEXTS = st.text(st.characters(), max_size=20) | st.sampled_from(["\ud800", '"\\/\x00\x1f\x7f\u2028', "caf\xe9 \U0001f600", "</script>"])
NOTES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
COUNTS = st.integers(0, 1 << 70)
LINES = st.builds(
    LogLine, TEXTS, TEXTS, TEXTS, st.booleans(), NOTES, TEXTS, COUNTS, COUNTS, st.sampled_from(SOURCES),
    st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 9), COUNTS,
)  # fmt: skip


@given(line=LINES, url=TEXTS)
def test_the_text_is_that_of_the_json_object(line: LogLine, url: str) -> None:
    text = line.to_text(url)
    said = json.loads(text)
    assert said == line.to_json(url) == json.loads(encode_line(line.to_json(url)))
    assert [*said["data"]] == [*line.to_json(url)["data"]] and text.count(b"\n") == 1


def test_equal_numbers_are_written_as_they_are() -> None:
    """What is remembered of the line before must not stand for another that only compares equal."""
    line = LogLine("/equal", "10.0.0.9:5", "curl", True, None, "GET", 200, 5, "memory", 0.0, 1436945573)
    for seconds in (0.0, 0, -0.0):
        again = line._replace(duration_seconds=seconds)
        assert again.to_text("http://10.0.0.1:11000") == encode_line(again.to_json("http://10.0.0.1:11000"))


@given(seconds=st.floats(0, 1e7) | st.floats(0, 1e-3))
def test_a_duration_is_good_to_the_microsecond(seconds: float) -> None:
    line = LogLine("/a", "10.0.0.9:5", "curl", True, None, "GET", 200, 5, "peer", seconds, 1436945573)
    assert abs(json.loads(line.to_text(""))["data"]["duration_seconds"] - seconds) <= 5.1e-7


@pytest.mark.parametrize("more", [{"user_agent": "x" * ALIKE_CHARACTERS_MAX}, {"method": "X" * ALIKE_CHARACTERS_MAX}])
def test_what_a_client_says_at_length_is_not_remembered(more: dict[str, object]) -> None:
    """A client's field may have 64 KiB: a thousand lines that all differ were half a gigabyte."""
    line = LogLine("/a", "10.0.0.9:5", "curl", True, None, "GET", 200, 5, "memory", 0.1, 1436945573)._replace(**more)  # type: ignore[arg-type]
    _around.cache_clear()
    for size in range(3):
        again = line._replace(bytes=size)
        assert json.loads(again.to_text("http://10.0.0.1:11000")) == again.to_json("http://10.0.0.1:11000")
    assert not _around.cache_info().currsize


@pytest.mark.parametrize("more", [{"duration_seconds": nan}, {"duration_seconds": inf}, {"header_data": nan}, {"header_data": {1, 2}}])
def test_what_json_has_no_word_for(more: dict[str, object]) -> None:
    line = LogLine("/a", "10.0.0.9:5", "curl", True, None, "GET", 200, 5, "memory", 0.1, 1436945573)._replace(**more)  # type: ignore[arg-type]
    for way in (line.to_text, lambda url: encode_line(line.to_json(url))):
        with pytest.raises((ValueError, TypeError)):
            way("http://10.0.0.1:11000")
