"""The first byte leaves before the last arrives; slow clients, leaving clients, and upstreams that break off."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

import pytest

from tests.cluster.doors import KEPT, Door
from tests.kit.asking import Answer, ask, open_answer
from tests.kit.clients import CURL_PARTIAL_FILE, CurlDownload, download, need
from tests.kit.files import MIB, big_file, bytes_of
from tests.kit.origin import Asked, Gate, Line, Script, broken_off, gated, lengthless, whole
from tests.kit.rss import forget_peak, peak_rss_bytes, rss_bytes
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

SMALL, LARGE = 100_000, 3 * MIB
"""Below and above the houses' --small."""
sizes = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])


def drip(body: bytes, at: int, gate: Gate, kind: str, *, ends_well: bool = True) -> Script:
    """The body up to `at`, then, when the gate opens, the rest or the break. kind: `length`, `chunked`, or `reset`."""

    def script(_: Asked, line: Line) -> None:
        if kind == "chunked":
            line.head(200, [KEPT, ("Transfer-Encoding", "chunked")])
            line.chunk(body[:at])
        else:
            line.head(200, [KEPT], length=len(body))
            line.send(body[:at])
        gate.wait()
        if not ends_well:
            line.cut(reset=kind == "reset")
        elif kind == "chunked":
            line.chunk(body[at:])
            line.chunk(b"")
        else:
            line.send(body[at:])

    return script


@sizes
@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_first_byte_before_last(door: Door, size: int, kind: str) -> None:
    body, gate = bytes_of("first", size), door.origin.gate()
    path = door.on(drip(body, 10_000, gate, kind))
    with door.open(path) as first, door.open(path) as second:
        assert first.read(10_000) == body[:10_000]
        assert second.read(10_000) == body[:10_000], "one who joins gets what is there"
        gate.open()
        assert first.rest() == second.rest() == body[10_000:]
    assert door.ask(path).body == body
    assert door.asked(path) == 1


@sizes
def test_a_range_that_is_there_is_served_before_the_end(door: Door, size: int) -> None:
    body, gate = bytes_of("part", size), door.origin.gate()
    path = door.on(drip(body, 50_000, gate, "length"))
    with door.open(path) as first:
        assert first.read(50_000) == body[:50_000]
        part = door.ask(path, fields=[("Range", "bytes=100-199")])
        assert (part.status, part.body) == (206, body[100:200])
        gate.open()
        assert first.rest() == body[50_000:]


@sizes
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "until-close"])
def test_a_file_without_a_length(door: Door, size: int, chunked: bool) -> None:
    body = bytes_of("nolength", size)
    path = door.on(lengthless(body, [KEPT], chunked=chunked))
    assert door.ask(path).body == body
    again = door.ask(path)
    assert (again.body, again["Content-Length"]) == (body, str(size))
    part = door.ask(path, fields=[("Range", "bytes=-100")])
    assert (part.status, part.body) == (206, body[-100:])
    assert door.asked(path) == 1


@sizes
@pytest.mark.parametrize("kind", ["length", "chunked", "reset"])
def test_an_upstream_that_breaks_off(door: Door, size: int, kind: str) -> None:
    body, gate = bytes_of("broken", size), door.origin.gate()
    path = door.on(drip(body, 20_000, gate, kind, ends_well=False))
    with door.open(path) as first, door.open(path) as second:
        assert first.read(20_000) == second.read(20_000) == body[:20_000]
        gate.open()
        for answer in (first, second):
            with pytest.raises((HTTPException, OSError)):
                answer.rest()
    broken = door.asked(path)
    door.on(whole(body, [KEPT]))
    answer = door.ask(path)
    assert (answer.status, answer.body) == (200, body)
    assert door.asked(path) == broken + 1
    assert door.ask(path).body == body
    assert door.asked(path) == broken + 1


@sizes
def test_curl_sees_the_break(door: Door, size: int) -> None:
    need("curl")
    body, gate = bytes_of("curl", size), door.origin.gate()
    path = door.on(drip(body, 20_000, gate, "length", ends_well=False))
    running = CurlDownload(door.node(path).url + path)
    running.read_until(10_000)
    gate.open()
    assert running.finish().code == CURL_PARTIAL_FILE
    door.on(whole(body, [KEPT]))
    assert download(door.node(path).url + path).code == 0


def test_a_break_before_the_head_is_a_502(door: Door) -> None:
    def script(_: Asked, line: Line) -> None:
        line.cut()

    path = door.on(script)
    answer = door.ask(path)
    assert (answer.status, answer.is_whole) == (502, True)
    door.on(whole(b"well again", [KEPT]))
    eventually(lambda: door.ask(path).body == b"well again", "the file after the break")


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"\0" * 100,
    ],
    ids=["other-protocol", "no-status", "two-lengths", "zeros"],
)
def test_an_upstream_that_speaks_nonsense_is_a_502(door: Door, garbage: bytes) -> None:
    def script(_: Asked, line: Line) -> None:
        line.send(garbage)
        line.cut()

    path = door.on(script, str(len(garbage)))
    answer = door.ask(path)
    assert answer.status == 502
    assert b"Traceback" not in answer.body


@sizes
def test_the_leader_leaves_and_the_others_finish(door: Door, size: int) -> None:
    body, gate = bytes_of("leader", size), door.origin.gate()
    path = door.on(drip(body, 20_000, gate, "length"))
    with door.open(path) as leader:
        assert leader.read(10_000) == body[:10_000]
        followers = [door.open(path) for _ in range(3)]
        assert all(one.read(10_000) == body[:10_000] for one in followers)
    gate.open()
    for one in followers:
        with one:
            assert one.rest() == body[10_000:]
    assert door.asked(path) == 1


@sizes
def test_when_all_have_left_the_next_gets_it_right(door: Door, size: int) -> None:
    body, gate = bytes_of("all-left", size), door.origin.gate()
    path = door.on(drip(body, 20_000, gate, "length"))
    for _ in range(3):
        with door.open(path) as answer:
            answer.read(10_000)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(door.ask, path)
        gate.open()
        assert late.result().body == body
    assert door.ask(path).body == body
    assert door.asked(path) <= 2


def test_a_client_at_another_peer_leaves_and_the_rest_finish(stage: Stage) -> None:
    origin, body = stage.origin(), bytes_of("across", 6 * MIB)
    gate = origin.gate()
    path = origin.on("/across.bin", gated([body[:MIB], body[MIB:]], [gate], [KEPT]))
    cluster = stage.cluster(origin.url, peers=3)
    owner, second, third = cluster.owners_of(path)
    with open_answer(second.url, path) as leader:
        leader.read(1000)
        others = [open_answer(peer.url, path) for peer in (second, third, owner)]
        assert all(one.read(1000) == body[:1000] for one in others)
    gate.open()
    for one in others:
        with one:
            assert one.rest() == body[1000:]
    assert len(origin.asked(path)) == 1


@pytest.mark.parametrize("peers", [0, 2])
@pytest.mark.timeout(180)
def test_slow_clients_cost_bounded_memory_and_slow_nobody(stage: Stage, peers: int) -> None:
    """Twenty clients take a byte each of a 64 MiB file and then none; others get the whole meanwhile."""
    need("curl")
    nginx = stage.nginx()
    size = 64 * MIB
    digest = big_file(nginx.root / "big.bin", size)
    cluster = stage.cluster(nginx.url, peers=peers, memory="16MiB")
    nodes = cluster.peers or [cluster.manager]
    for node in nodes:
        node.ask("/warm-up")
    before = {node.name: rss_bytes(node.pid) for node in nodes}
    for node in nodes:
        forget_peak(node.pid)
    slow = []
    try:
        for number in range(20):
            slow.append(open_answer(nodes[number % len(nodes)].url, "/big.bin", receive_buffer_bytes=4096))
            assert len(slow[-1].read(1)) == 1
        for node in nodes:
            got = download(node.url + "/big.bin")
            assert (got.code, got.sha256) == (0, digest)
            grown = peak_rss_bytes(node.pid) - before[node.name]
            assert grown <= 64 * MIB, f"{node.name} grew by {grown / MIB:.0f} MiB"
    finally:
        for one in slow:
            one.close()
    assert size <= nginx.bytes_sent("/big.bin") <= 1.02 * size


def test_a_slow_client_gets_all_of_it_in_the_end(stage: Stage) -> None:
    origin, body = stage.origin(), bytes_of("slow", 12 * MIB)
    path = origin.on("/slow.bin", whole(body, [KEPT]))
    manager = stage.manager(origin.url)
    with open_answer(manager.url, path, receive_buffer_bytes=4096) as slow:
        start = slow.read(1)
        assert ask(manager.url, path).body == body
        assert start + slow.rest() == body


def test_a_silent_upstream_is_given_up_with_a_504(stage: Stage) -> None:
    origin = stage.origin()
    gate = origin.gate()
    body = bytes_of("silent", 5 * MIB)

    def mute(_: Asked, line: Line) -> None:
        gate.wait()
        line.cut()

    silent = origin.on("/silent", mute)
    stuck = origin.on("/stuck", gated([body[:MIB], body[MIB:]], [gate], [KEPT]))
    cluster = stage.cluster(origin.url, peers=2, upstream_timeout="1s", peer_timeout="3s")
    for peer in cluster.peers:
        answer = peer.ask(silent)
        assert answer.status == 504
        assert answer.body.strip()
    for peer in cluster.peers:
        broken: Answer = peer.ask(stuck)
        assert not broken.is_whole
    gate.open()
    assert cluster.peers[0].ask(stuck).body == body


def test_broken_files_leave_the_disk(stage: Stage) -> None:
    from tests.kit.files import folder_bytes

    origin, body = stage.origin(), bytes_of("gone", 8 * MIB)
    path = origin.on("/gone.bin", broken_off(body, 7 * MIB, [KEPT]))
    manager = stage.manager(origin.url)
    for _ in range(3):
        assert not manager.ask(path).is_whole
    eventually(lambda: folder_bytes(manager.cache_dir) < 2 * MIB, "the broken copies to leave the disk")
    assert manager.disk_in_use() == 0
