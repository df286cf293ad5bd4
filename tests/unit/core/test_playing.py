from __future__ import annotations

import pytest

from minicdn.core.headers import first
from minicdn.core.playing import guess, inline, play_fields


@pytest.mark.parametrize(
    ("upstreams", "shown"),
    [
        (b"", b"inline"),
        (b"attachment", b"inline"),
        (b'attachment; filename="a b.mp4"', b'inline; filename="a b.mp4"'),
        (b"Attachment ;filename*=UTF-8''%e2%82%ac.mp4", b"inline;filename*=UTF-8''%e2%82%ac.mp4"),
    ],
)
def test_what_was_to_be_saved_is_shown_under_its_name(upstreams: bytes, shown: bytes) -> None:
    assert inline(upstreams) == shown


@pytest.mark.parametrize(
    ("path", "media"),
    [
        (b"/a/film.MP4", b"video/mp4"), (b"/song.mp3?x=a.png", b"audio/mpeg"), (b"/a.b/film.webm", b"video/webm"),
        (b"/read.me.txt", b"text/plain; charset=utf-8"),
        (b"/a.mp4/film", None), (b"/film", None), (b"/", None), (b"/page.html", None), (b"/drawing.svg", None),
    ],
)  # fmt: skip
def test_a_type_by_the_extension_unless_it_could_run(path: bytes, media: bytes | None) -> None:
    assert guess(path) == media


def typed(media: bytes | None, path: bytes = b"/film.mp4", status: int = 200) -> bytes | None:
    return first(play_fields(status, [(b"Content-Type", media)] if media is not None else [], path), b"content-type")


def test_a_type_is_guessed_only_where_there_is_none() -> None:
    assert typed(None) == typed(b"application/octet-stream") == typed(b"Binary/Octet-Stream; x=1") == b"video/mp4"
    assert typed(b"video/x-own") == b"video/x-own"
    assert typed(b"multipart/byteranges; boundary=x", status=206) == b"multipart/byteranges; boundary=x"
    assert typed(b"application/octet-stream", b"/disk.iso") == b"application/octet-stream"


def test_what_can_run_is_put_into_a_sandbox() -> None:
    assert first(play_fields(200, [(b"content-type", b"text/html; charset=utf-8")], b"/a"), b"content-security-policy") == b"sandbox"
    assert first(play_fields(200, [(b"content-type", b"video/mp4")], b"/a"), b"content-security-policy") is None


def test_errors_stay_as_they_are_and_redirects_stay_here() -> None:
    fields = [(b"Content-Disposition", b"attachment"), (b"Location", b"/new/film.mp4")]
    assert play_fields(404, fields, b"/film.mp4") == fields
    assert first(play_fields(302, fields, b"/film.mp4"), b"location") == b"/_play/new/film.mp4"
    for elsewhere in (b"https://other.example/a", b"//other.example/a", b"film.mp4"):
        assert first(play_fields(302, [(b"location", elsewhere)], b"/"), b"location") == elsewhere


def test_a_confirmation_says_nothing_of_the_type() -> None:
    assert first(play_fields(304, [(b"etag", b'"a"')], b"/film.mp4"), b"content-type") is None
    assert first(play_fields(304, [(b"etag", b'"a"')], b"/film.mp4"), b"content-disposition") == b"inline"
