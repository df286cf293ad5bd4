"""The express lane by itself: until when an answer holds, what ends it before, and what it may cost. (What it says is compared with the
normal way in tests/property/test_express_equals_normal.py.)"""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("httptools")

from minicdn.core.freshness import expire
from minicdn.core.purging import Purge
from minicdn.core.roster import Member, PeerList
from minicdn.settings import MIB
from minicdn.web import express as module
from minicdn.web.express import Express, _Lane
from minicdn.web.plain import parse_plain
from tests.unit.web.lanes import HOST, START_AT, Side, Upstream, Watch, get, upstream

Story = Callable[[Side, Upstream, Watch], Awaitable[None]]


def play(story: Story, **settings: Any) -> None:
    async def run() -> None:
        watch = Watch()
        async with asyncio.timeout(30), AsyncExitStack() as stack:
            origin = await stack.enter_async_context(upstream(watch))
            side = Side(watch, origin.port, **settings)
            await side.role.start()
            stack.push_async_callback(side.role.stop)
            await story(side, origin, watch)

    asyncio.run(run())


def age_of(octets: bytes) -> int:
    found = re.search(rb"\r\nAge: (\d+)\r\n", octets)
    assert found, octets
    return int(found[1])


# Until when


@pytest.mark.parametrize("target", ["/plain", "/old"])
def test_age_is_exact_and_nothing_is_served_past_its_lifetime(target: str) -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        await side.warm(target)
        (entry,) = side.node.shelf.find(target)
        stored = entry.stored
        assert stored is not None
        until, taken_count = stored.fresh_until, side.served_count
        for _ in range(400):
            watch.at += 0.25
            answer = await side.get(target)
            if watch.at >= until:
                break
            assert age_of(answer) == int(stored.initial_age_seconds + watch.at - stored.response_at)
            taken_count += 1
            assert side.served_count == taken_count
        assert watch.at == until and origin.asked_count == 2

    play(story)


def test_a_lifetime_may_end_within_a_second() -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        await side.warm("/plain")
        (entry,) = side.node.shelf.find("/plain")
        assert entry.stored is not None
        side.node.shelf.restate(entry, replace(entry.stored, fresh_until=watch.at + 0.4))
        for seconds, is_lane in ((0.0, True), (0.39, True), (0.02, False)):
            watch.at += seconds
            assert await side.is_served_by_lane("/plain") is is_lane

    play(story)


def test_a_watch_that_was_set_back() -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        await side.get("/plain")
        watch.at += 5
        await side.warm("/plain")
        assert age_of(await side.get("/plain")) == 5
        watch.at -= 3
        assert age_of(await side.get("/plain")) == 2

    play(story)


# What ends it


async def is_fetched_again(side: Side, origin: Upstream, body: bytes) -> bool:
    before = origin.asked_count
    answer = await side.get("/plain")
    return answer.endswith(b"\r\n\r\n" + body) and origin.asked_count == before + 1


@pytest.mark.parametrize("is_soft", [False, True])
def test_a_purge(is_soft: bool) -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        for what in ({"paths": frozenset(("/plain",))}, {"prefixes": ("/pl",)}, {"prefixes": ("/",)}):
            purge = Purge(**what, is_soft=is_soft)  # type: ignore[arg-type]
            await side.warm("/plain")
            body = b"new %d" % origin.asked_count
            origin.bodies[b"/plain"] = body
            sweep = side.node.purger.begin(purge)
            answer = await side.get("/plain")  # before the sweep has had its turn
            assert b"fwd=" in answer, answer
            await sweep.wait()
            if not is_soft:
                assert answer.endswith(body)

    play(story)


def test_expiry_by_hand() -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        await side.warm("/plain")
        (entry,) = side.node.shelf.find("/plain")
        assert entry.stored is not None
        side.node.shelf.restate(entry, expire(entry.stored, watch.at))
        before = origin.asked_count
        assert not await side.is_served_by_lane("/plain")
        assert origin.asked_count == before + 1

    play(story)


def test_removal() -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        await side.warm("/plain")
        origin.bodies[b"/plain"] = b"new"
        (entry,) = side.node.shelf.find("/plain")
        side.node.shelf.remove(entry)
        assert await is_fetched_again(side, origin, b"new")
        assert (await side.get("/plain")).endswith(b"new")

    play(story)


def test_replacement() -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        await side.warm("/apart")
        origin.bodies[b"/apart"] = b"new"
        assert (await side.get("/apart", "Cache-Control: no-cache")).endswith(b"new")
        assert (await side.get("/apart")).endswith(b"new")

    play(story)


def test_another_variant_ends_it() -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        await side.warm("/plain")
        (entry,) = side.node.shelf.find("/plain")
        assert entry.stored is not None
        other = replace(entry, stored=replace(entry.stored, selecting=((b"accept", b"x"),)))
        side.node.shelf.begin(other)
        assert not await side.is_served_by_lane("/plain")
        side.node.shelf.withdraw(other)

    play(story)


def test_new_settings_about_keys() -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        await side.warm("/plain?a=1")
        side.node.adopt(replace(side.node.settings, ignored_query=("a",)))
        watch.at += 1
        assert not await side.is_served_by_lane("/plain?a=1")

    play(story)


@pytest.mark.parametrize("how", ["peers", "drain", "sweep"])
def test_the_lane_is_closed(how: str) -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        await side.warm("/plain")
        if how == "peers":
            side.node.set_peers(PeerList("x.1", (Member("a", "http://127.0.0.1:9"),)))
        elif how == "drain":
            await side.role.begin_drain()
        else:
            side.node.purger.begin(Purge(prefixes=("/elsewhere/",)))
        assert not await side.is_served_by_lane("/plain")

    play(story)


NEVER = ["/vary", "/no-cache", "/withheld", "/no-store", "/gone", "/nothing", "/%70lain", "//", "/plain?" + "x" * 1020]


@pytest.mark.parametrize("target", NEVER)
def test_what_never_takes_the_lane(target: str) -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        for _ in range(4):
            await side.get(target)
        assert side.served_count == 0

    play(story)


def test_what_lies_on_disk_never_takes_the_lane(tmp_path: Any) -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        for _ in range(4):
            await side.get("/apart")
        assert side.served_count == 0 and side.counters()["hits_count"] == 3

    play(story, small_bytes=1000, cache_dir=tmp_path)


# What it counts and logs


def test_it_counts_and_logs_each_request() -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        await side.warm("/plain")
        before = side.counters()
        side.lines.clear()
        watch.at += 1.5
        await side.get("/plain", "User-Agent: one", "User-Agent: two")
        changed = {name: value - before[name] for name, value in side.counters().items() if value != before[name]}
        assert changed == {"requests_count": 1, "hits_count": 1, "bytes_memory": 5}
        (line,) = side.lines
        assert (line.key, line.remote_addr, line.user_agent, line.success) == ("/plain", "10.0.0.5:50123", "one", True)
        assert (line.method, line.status, line.bytes, line.source) == ("GET", 200, 5, "memory")
        assert (line.header_data, line.timestamp) == (None, int(START_AT + 1.5))

    play(story)


def test_the_end_of_a_lifetime_is_counted_once() -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        await side.warm("/stale")
        before = side.counters()
        watch.at += 3
        await side.get("/stale")
        changed = {name: value - before[name] for name, value in side.counters().items() if value != before[name]}
        assert changed["stale_count"] == changed["requests_count"] == changed["upstream_requests_count"] == 1
        assert "hits_count" not in changed

    play(story)


# What it may cost


def test_targets_and_heads_have_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LANES_MAX", 8)
    monkeypatch.setattr(module, "BLOCKS_MAX", 8)

    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        for number in range(40):
            for _ in range(3):
                await side.get(f"/plain?{number}", f"User-Agent: {number}")
            assert len(side.express._lanes) <= 8 and len(side.express._blocks) <= 8
        assert side.served_count > 20
        assert await side.get("/plain?39", "User-Agent: " + "x" * 5000)
        assert max(len(block) for block in side.express._blocks) < 5000

    play(story)


def test_bodies_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LANES_BYTES_MAX", 100_000)

    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        for number in range(20):
            for _ in range(3):
                await side.get(f"/apart?{number}")
            held = [lane for lane in side.express._lanes.values() if lane is not None]
            assert sum(lane.length for lane in held) == side.express._built_bytes <= 100_000
        assert len(held) == 5
        assert await side.is_served_by_lane("/apart?0"), "it is built again when asked for"

    play(story)


def test_a_body_that_was_evicted_is_let_go_of() -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        await side.warm("/apart")
        (entry,) = side.node.shelf.find("/apart")
        side.node.shelf.remove(entry)
        watch.at += 1
        await side.warm("/plain")
        lanes = [referrer for referrer in gc.get_referrers(entry) if isinstance(referrer, _Lane)]
        assert not lanes and side.express._built_bytes == 5

    play(story, memory_bytes=4 * MIB)


# What is plain


@pytest.mark.parametrize(("block", "user_agent"), [
    (f"Host: {HOST}\r\n\r\n", ""),
    ("Host: h\r\nUser-Agent: x y\r\n\r\n", "x y"),
    ("host:[::1]:80\r\nUSER-AGENT:\t caf\xe9 \t\r\nConnection: Keep-Alive\r\n\r\n", "caf�"),
    ("Host: h\r\nUser-Agent:\r\nUser-Agent: two\r\n\r\n", ""),
    ("\r\n", None),
    ("\r\n\r\n", None),
    ("Host: h\r\n", None),
    ("Host: h\r\n\r\nx", None),
    ("Host: h\r\n\r\n\r\n\r\n", None),
    ("Host: h\r\n\r\nHost: h\r\n\r\n", None),
    ("Host: h\r\nHost: h\r\n\r\n", None),
    ("Host: a b\r\n\r\n", None),
    ("Host:\r\n\r\n", None),
    ("User-Agent: x\r\n\r\n", None),
    ("Host : h\r\n\r\n", None),
    ("Host: h\r\n folded\r\n\r\n", None),
    ("Host: h\nUser-Agent: x\r\n\r\n", None),
    ("Host: h\rX\r\n\r\n", None),
    ("Host: h\r\nCookie: \0\r\n\r\n", None),
    ("Host: h\r\n: x\r\n\r\n", None),
    ("Host: h\r\nConnection: close\r\n\r\n", None),
    ("Host: h\r\nConnection: keep-alive, x\r\n\r\n", None),
    *((f"Host: h\r\n{name}: x\r\n\r\n", None) for name in (
        "If-Range", "If-Match", "If-Modified-Since", "If-Unmodified-Since", "Cache-Control", "Pragma",
        "Authorization", "Content-Length", "Transfer-Encoding", "Expect", "Upgrade", "TE", "Trailer", "Via", "X-Minicdn-Data",
        "X-Minicdn-Type", "Proxy-Authorization", "Want-Digest", "Want-Repr-Digest", "Digest", "X-Unknown",
    )),
])  # fmt: skip
def test_plain(block: str, user_agent: str | None) -> None:
    found = parse_plain(block.encode("latin-1"))
    assert found is None if user_agent is None else found is not None and found[:2] == (user_agent, ())


def test_what_is_asked_for_is_told_apart() -> None:
    block = b'Host: h\r\nRANGE: bytes=0-1 \r\nUser-Agent: x\r\nIf-None-Match:"a"\r\nrange:\r\n\r\n'
    asked = ((b"range", b"bytes=0-1"), (b"if-none-match", b'"a"'), (b"range", b""))
    assert parse_plain(block) == ("x", asked, ((b"host", b"h"), asked[0], (b"user-agent", b"x"), *asked[1:]))


@pytest.mark.parametrize(("method", "field", "status"), [
    ("HEAD", "", 200), ("GET", 'If-None-Match: "e"', 304), ("GET", 'If-None-Match: "other"', 200), ("GET", "Range: bytes=1-2", 206),
    ("GET", "Range: bytes=0-", 206), ("GET", "Range: nonsense", 200), ("HEAD", 'If-None-Match: "e"', 304),
])  # fmt: skip
def test_what_else_takes_the_lane(method: str, field: str, status: int) -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        await side.warm("/plain")
        lines = "".join(f"{line}\r\n" for line in (f"{method} /plain HTTP/1.1", f"Host: {HOST}", field) if line) + "\r\n"
        side.lines.clear()
        for _ in range(2):
            before = side.served_count
            wire = await side.send(lines.encode())
            assert wire.octets.startswith(b"HTTP/1.1 %d " % status)
            assert side.served_count == before + 1
        assert [(line.method, line.status) for line in side.lines] == [(method, status)] * 2

    play(story)


@pytest.mark.parametrize("field", ["Range: bytes=0-1,3-4", "Range: bytes=99-", "If-Match: *", 'If-Range: "e"'])
def test_what_does_not(field: str) -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        await side.warm("/plain")
        before = side.served_count
        await side.get("/plain", field)
        assert side.served_count == before

    play(story)


def test_other_answers_have_a_bound_and_end_with_the_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OTHERS_MAX", 4)

    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        await side.warm("/apart")
        for number in range(20):
            await side.get("/apart", f"Range: bytes={number}-{number + 5}")
            assert len(side.express._lanes[b"/apart"].others) <= 4
        watch.at += 1
        assert age_of(await side.get("/apart", "Range: bytes=19-24")) == 1

    play(story)


def test_a_node_that_serves_nothing_yet() -> None:
    async def story(side: Side, origin: Upstream, watch: Watch) -> None:
        lane = Express(side.node, "minicdn-n", lambda: True)
        for data in (b"", b"GET ", get("/plain"), b"GET /plain", b" HTTP/1.1\r\n", bytes(9000)):
            assert not lane.serve(None, None, data)

    play(story)
