"""HTTP, the everyday part, at each of the three doors: what a client sees, and what the origin was asked."""

from __future__ import annotations

import gzip
import socket

import pytest

from tests.cluster.doors import KEPT, Door
from tests.kit.files import bytes_of
from tests.kit.origin import Asked, Line, status, validating, whole
from tests.kit.waiting import eventually

SMALL, LARGE = 5_000, 1_500_000
"""Below and above the houses' --small."""
sizes = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])


@pytest.mark.parametrize("size", [0, 1, SMALL, 256 * 1024, 256 * 1024 + 1, LARGE])
def test_second_request_is_a_hit(door: Door, size: int) -> None:
    body = bytes_of("hit", size)
    path = door.on(whole(body, [KEPT]), f"{size}.bin")
    first, second = door.ask(path), door.ask(path)
    assert first.status == second.status == 200
    assert first.body == second.body == body
    assert second["Content-Length"] == str(size)
    assert door.asked(path) == 1
    assert "fwd=" in first["Cache-Status"]
    assert "hit" in second["Cache-Status"]
    assert "fwd=" not in second["Cache-Status"].split(",")[-1]
    assert second["Age"].isdigit()


def test_end_to_end_fields_pass_and_hop_by_hop_fields_stay(door: Door) -> None:
    fields = [
        KEPT,
        ("Content-Type", "application/x-thing; v=1"),
        ("ETag", '"e1"'),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2; Path=/"),
        ("X-Thing", "some, value"),
        ("X-Empty", ""),
        ("Content-Disposition", 'attachment; filename="n.bin"'),
        ("Connection", "X-Hop"),
        ("X-Hop", "for one hop"),
        ("Keep-Alive", "timeout=99"),
    ]
    path = door.on(whole(b"body", fields))
    for answer in (door.ask(path), door.ask(path)):
        assert answer["Content-Type"] == "application/x-thing; v=1"
        assert answer["ETag"] == '"e1"'
        assert [value for name, value in answer.fields if name.lower() == "set-cookie"] == ["a=1", "b=2; Path=/"]
        assert answer["X-Thing"] == "some, value"
        assert answer["X-Empty"] == ""
        assert answer["Content-Disposition"] == 'attachment; filename="n.bin"'
        assert answer["Cache-Control"] == "max-age=3600"
        assert answer.get("X-Hop") is None
        assert answer.get("Keep-Alive") != "timeout=99"
        assert "minicdn" in answer["Via"].lower() or "1.1 " in answer["Via"]


def test_the_origin_sees_its_own_host_and_the_clients_fields(door: Door) -> None:
    path = door.on(whole(b"body", [("Cache-Control", "no-store")]))
    door.ask(path, fields=[("X-Ask", "this"), ("User-Agent", "tester/1"), ("Connection", "X-Hop"), ("X-Hop", "no")])
    [asked] = door.origin.asked(path)
    assert asked.fields["host"] == door.origin.url.removeprefix("http://")
    assert asked.fields["x-ask"] == "this"
    assert "x-hop" not in asked.fields
    assert "1.1 " in asked.fields["via"]


@sizes
def test_head_has_the_head_of_get(door: Door, size: int) -> None:
    body = bytes_of("head", size)
    path = door.on(whole(body, [KEPT, ("ETag", '"h"')]))
    cold = door.ask(path, method="HEAD")
    assert (cold.status, cold.body, cold["Content-Length"]) == (200, b"", str(size))
    got = door.ask(path)
    assert got.body == body
    warm = door.ask(path, method="HEAD")
    assert (warm.status, warm.body) == (200, b"")
    for name in ("Content-Length", "ETag", "Cache-Control"):
        assert warm[name] == got[name]


@sizes
@pytest.mark.parametrize("is_cold", [True, False], ids=["cold", "warm"])
def test_ranges(door: Door, size: int, is_cold: bool) -> None:
    body = bytes_of("range", size)
    for number, (asked, start, end) in enumerate(
        [
            ("bytes=0-0", 0, 1),
            ("bytes=0-99", 0, 100),
            ("bytes=1000-2999", 1000, 3000),
            (f"bytes={size - 10}-", size - 10, size),
            ("bytes=-500", size - 500, size),
            (f"bytes=-{size + 5}", 0, size),
            (f"bytes=100-{size + 100}", 100, size),
        ]
    ):
        path = door.on(whole(body, [KEPT, ("ETag", '"r"')]), f"{number}.bin")
        if not is_cold:
            door.ask(path)
        answer = door.ask(path, fields=[("Range", asked)])
        assert answer.status == 206, asked
        assert answer.body == body[start:end], asked
        assert answer["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
        assert answer["Content-Length"] == str(end - start)
        assert door.ask(path).body == body
        assert door.asked(path) == 1


@sizes
def test_a_range_behind_the_end_is_416(door: Door, size: int) -> None:
    body = bytes_of("behind", size)
    path = door.on(whole(body, [KEPT]))
    door.ask(path)
    answer = door.ask(path, fields=[("Range", f"bytes={size}-")])
    assert answer.status == 416
    assert answer["Content-Range"] == f"bytes */{size}"
    assert door.ask(path).body == body


@pytest.mark.parametrize("value", ["bytes=9-3", "bytes=a-b", "lines=1-2", "bytes"])
def test_an_unreadable_range_gives_the_whole(door: Door, value: str) -> None:
    body = bytes_of("unreadable", SMALL)
    path = door.on(whole(body, [KEPT]), f"{value.encode().hex()}.bin")
    door.ask(path)
    answer = door.ask(path, fields=[("Range", value)])
    assert (answer.status, answer.body) == (200, body)


def test_if_range_gives_the_part_only_of_the_same_version(door: Door) -> None:
    body = bytes_of("if-range", SMALL)
    path = door.on(whole(body, [KEPT, ("ETag", '"v1"')]))
    door.ask(path)
    same = door.ask(path, fields=[("Range", "bytes=10-19"), ("If-Range", '"v1"')])
    assert (same.status, same.body) == (206, body[10:20])
    other = door.ask(path, fields=[("Range", "bytes=10-19"), ("If-Range", '"v0"')])
    assert (other.status, other.body) == (200, body)


@sizes
def test_conditional_requests_are_answered_from_the_cache(door: Door, size: int) -> None:
    body, day = bytes_of("conditional", size), "Sun, 06 Nov 1994 08:49:37 GMT"
    path = door.on(whole(body, [KEPT, ("ETag", '"c1"'), ("Last-Modified", day)]))
    door.ask(path)
    for field in [
        ("If-None-Match", '"c1"'),
        ("If-None-Match", 'W/"c1"'),
        ("If-None-Match", '"x", "c1"'),
        ("If-None-Match", "*"),
        ("If-Modified-Since", day),
        ("If-Modified-Since", "Mon, 07 Nov 1994 08:49:37 GMT"),
    ]:
        answer = door.ask(path, fields=[field])
        assert (answer.status, answer.body) == (304, b""), field
        assert answer["ETag"] == '"c1"'
    for fields in [
        [("If-None-Match", '"c2"')],
        [("If-Modified-Since", "Sat, 05 Nov 1994 08:49:37 GMT")],
        [("If-None-Match", '"c2"'), ("If-Modified-Since", day)],
    ]:
        answer = door.ask(path, fields=fields)
        assert (answer.status, answer.body) == (200, body), fields
    assert door.asked(path) == 1


@sizes
@pytest.mark.parametrize("directive", ["no-store", "private", "private, max-age=60"])
def test_what_must_not_be_shared_is_not_kept(door: Door, directive: str, size: int) -> None:
    bodies = [bytes_of("one", size), bytes_of("two", size)]
    served = iter(bodies)

    def script(asked: Asked, line: Line) -> None:
        whole(next(served), [("Cache-Control", directive)])(asked, line)

    path = door.on(script, f"{size}-{len(directive)}")
    assert [door.ask(path).body, door.ask(path).body] == bodies
    assert door.asked(path) == 2


@sizes
def test_no_cache_is_kept_and_validated_each_time(door: Door, size: int) -> None:
    body = bytes_of("no-cache", size)
    path = door.on(validating(body, '"n1"', [("Cache-Control", "no-cache")]))
    for _ in range(3):
        answer = door.ask(path)
        assert (answer.status, answer.body) == (200, body)
    asked = door.origin.asked(path)
    assert [one.fields.get("if-none-match") for one in asked] == [None, '"n1"', '"n1"']


def wait_stale(door: Door, path: str) -> None:
    """Ask until the origin is asked again."""
    before = door.asked(path)

    def is_asked_again() -> bool:
        door.ask(path)
        return door.asked(path) > before

    eventually(is_asked_again, f"{path} to get stale", deadline_seconds=20)


@sizes
def test_what_is_stale_is_revalidated(door: Door, size: int) -> None:
    body = bytes_of("stale", size)
    path = door.on(validating(body, '"s1"', [("Cache-Control", "max-age=1")]))
    assert door.ask(path).body == body
    wait_stale(door, path)
    assert door.origin.asked(path)[1].fields["if-none-match"] == '"s1"'
    assert door.ask(path).body == body


def test_last_modified_revalidates_too(door: Door) -> None:
    day = "Sun, 06 Nov 1994 08:49:37 GMT"
    fields = [("Last-Modified", day), ("Cache-Control", "max-age=1")]

    def script(asked: Asked, line: Line) -> None:
        if asked.fields.get("if-modified-since") == day:
            line.head(304, fields)
        else:
            whole(b"dated", fields)(asked, line)

    path = door.on(script)
    assert door.ask(path).body == b"dated"
    wait_stale(door, path)
    assert door.origin.asked(path)[1].fields["if-modified-since"] == day
    assert door.ask(path).body == b"dated"


@sizes
def test_changed_content_replaces_the_old(door: Door, size: int) -> None:
    old, new = bytes_of("old", size), bytes_of("new", size + 77)
    path = door.on(validating(old, '"old"', [("Cache-Control", "max-age=1")]))
    assert door.ask(path).body == old
    door.on(validating(new, '"new"', [KEPT]))
    wait_stale(door, path)
    eventually(lambda: door.ask(path).body == new, "the new content")
    answer = door.ask(path)
    assert (answer.body, answer["ETag"], answer["Content-Length"]) == (new, '"new"', str(size + 77))


@sizes
@pytest.mark.parametrize("directive", ["no-cache", "max-age=0"])
def test_a_client_can_ask_for_a_fresh_look(door: Door, size: int, directive: str) -> None:
    """What the client forces is asked of the upstream, whoever the owner is; and everybody has it afterwards."""
    old, new = bytes_of("old", size), bytes_of("new", size + 5)
    path = door.on(validating(old, '"old"', [KEPT]), f"{directive}-{size}")
    assert door.ask(path).body == old
    door.on(validating(new, '"new"', [KEPT]), f"{directive}-{size}")
    assert door.ask(path).body == old
    assert door.ask(path, fields=[("Cache-Control", directive)]).body == new
    assert door.ask(path).body == new


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("size", [0, 3, 3_000_000])
def test_other_methods_pass_through_with_their_bodies(door: Door, method: str, size: int) -> None:
    body = bytes_of("sent", size)

    def script(asked: Asked, line: Line) -> None:
        whole(asked.method.encode() + b" took " + asked.body[-100:], [("X-Took", str(len(asked.body)))], status=201)(asked, line)

    path = door.on(script, f"{method}-{size}?a=1&b=".split("?")[0])
    answer = door.ask(path + "?a=1&b=", method=method, body=body, fields=[("Content-Type", "application/x-sent")])
    assert answer.status == 201
    assert answer["X-Took"] == str(size)
    assert answer.body == method.encode() + b" took " + body[-100:]
    [asked] = door.origin.asked(path)
    assert (asked.method, asked.target, asked.body) == (method, (path + "?a=1&b=").encode(), body)
    assert asked.fields["content-type"] == "application/x-sent"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/elsewhere/file?x=%20", "http://127.0.0.1:9/far", "../up"])
def test_upstream_redirects_are_passed_on(door: Door, code: int, location: str) -> None:
    path = door.on(status(code, b"moved", [("Location", location)]), f"{code}-{len(location)}")
    answer = door.ask(path)
    assert (answer.status, answer["Location"], answer.body) == (code, location, b"moved")
    assert not door.origin.asked("/elsewhere/file")


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 418, 451, 500, 501, 503])
def test_upstream_errors_are_answers(door: Door, code: int) -> None:
    path = door.on(status(code, b"the origin's own words", [("X-Why", "because")]), str(code))
    answer = door.ask(path)
    assert (answer.status, answer["X-Why"], answer.body) == (code, "because", b"the origin's own words")


@pytest.mark.parametrize("code", [204, 203])
def test_other_good_statuses(door: Door, code: int) -> None:
    def script(_: Asked, line: Line) -> None:
        if code == 204:
            line.head(204, [("X-Kind", "empty")])
        else:
            whole(b"non-authoritative", [("X-Kind", "full")], status=203)(_, line)

    path = door.on(script, str(code))
    answer = door.ask(path)
    assert answer.status == code
    assert answer.body == (b"" if code == 204 else b"non-authoritative")


def test_queries_are_part_of_the_key(door: Door) -> None:
    def script(asked: Asked, line: Line) -> None:
        whole(asked.target, [KEPT])(asked, line)

    path = door.on(script)
    targets = [path, path + "?", path + "?a=1", path + "?a=1&b=", path + "?b=&a=1", path + "?a=%31", path + "?a=1?c"]
    first = [door.ask(target).body for target in targets]
    assert first[2:] == [target.encode() for target in targets][2:]
    assert first[0] == path.encode()
    assert [door.ask(target).body for target in targets] == first


def test_an_encoded_body_passes_untouched_and_vary_keeps_variants_apart(door: Door) -> None:
    packed, plain = gzip.compress(b"words " * 500), b"words " * 500

    def script(asked: Asked, line: Line) -> None:
        vary = ("Vary", "Accept-Encoding")
        if "gzip" in asked.fields.get("accept-encoding", ""):
            whole(packed, [KEPT, vary, ("Content-Encoding", "gzip")])(asked, line)
        else:
            whole(plain, [KEPT, vary])(asked, line)

    path = door.on(script)
    for _ in range(2):
        zipped = door.ask(path, fields=[("Accept-Encoding", "gzip")])
        assert (zipped.body, zipped["Content-Encoding"]) == (packed, "gzip")
        unzipped = door.ask(path, fields=[("Accept-Encoding", "identity")])
        assert (unzipped.body, unzipped.get("Content-Encoding")) == (plain, None)
    assert door.asked(path) == 2


def test_no_control_path_comes_from_upstream(door: Door) -> None:
    for path in ("/_secret", "/_peers/x", "/_", "/_rpc/none"):
        door.origin.on(path, whole(b"from upstream", [KEPT]))
        answer = door.ask(path)
        assert answer.status == 404
        assert answer.body.strip(), "a reason"
        assert b"from upstream" not in answer.body
        assert door.asked(path) == 0


def test_two_requests_on_one_connection_and_a_pipeline(door: Door) -> None:
    body = bytes_of("pipeline", SMALL)
    path = door.on(whole(body, [KEPT]))
    node = door.node(path)
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    last = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as connection:
        connection.sendall(request + request + last)
        data = b""
        while block := connection.recv(65536):
            data += block
    assert data.count(body) == 3
    assert door.asked(path) == 1
