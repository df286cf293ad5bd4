from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from minicdn.core.message import Request
from minicdn.core.roster import Member, PeerList
from minicdn.errors import UpstreamError
from minicdn.node.node import Node
from minicdn.settings import Settings
from tests.unit.node.fakes import FakeClock

OWNER = Member("anna", "http://127.0.0.1:9")
ME = Member("me", "http://127.0.0.1:1", 0.0, 0.0)


def node_of(**settings) -> Node:
    found = Settings(role="peer", disk_bytes=0, **{"may_ask_upstream": False, **settings})
    return Node(found, node_id="me", upstream="http://127.0.0.1:9", clock=FakeClock())


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ((), "no peer in the list may"),
        ((ME,), "no peer in the list may"),
        ((OWNER, ME), "this node may not ask"),
    ],
    ids=["no-list", "nobody-may", "the-owner-is-away"],
)
def test_a_node_that_may_not_ask_says_why_it_has_no_answer(members: tuple[Member, ...], reason: str) -> None:
    async def run() -> None:
        node = node_of()
        await node.start()
        node.set_peers(PeerList("life.1", members))
        with pytest.raises(UpstreamError, match=reason):
            await node.cache.find(Request("GET", b"/a", "/a", ()))
        with pytest.raises(UpstreamError, match=reason):
            await node.upstream.send("POST", "/a", ())
        node.set_upstream("http://127.0.0.1:10")
        with pytest.raises(UpstreamError, match=reason):
            await node.cache.find(Request("GET", b"/a", "/a", ()), is_forwarded=True)
        assert node.counters.get("upstream_requests_count") == 0
        await node.stop()

    asyncio.run(run())


def test_settings_of_the_manager_do_not_lift_the_ban() -> None:
    async def run() -> None:
        node = node_of()
        node.adopt(replace(node.settings, upstream="http://elsewhere:1", follows_redirects=True))
        with pytest.raises(UpstreamError, match="--no-back-to-source"):
            await node.upstream.send("GET", "/a", ())
        assert not await node.take_lease("/a")

    asyncio.run(run())


def test_explain_says_that_nobody_may_be_asked() -> None:
    node = node_of()
    node.set_peers(PeerList("life.1", (ME,)))
    assert node.explain("GET", "/a", ())["plan"]["asks"].startswith("nobody")
    node.set_peers(PeerList("life.2", (ME, OWNER)))
    assert node.explain("GET", "/a", ())["plan"]["asks"] == OWNER.url


def test_a_node_says_of_its_uplink_what_it_measured_or_its_cap() -> None:
    node = node_of()
    assert node.uplink_rate() == 0
    now = node.clock.monotonic()
    for step in range(40):
        node.uplink.sent(node.uplink.sending(now + step * 0.1), 100_000, now + step * 0.1 + 0.1)
    assert node.uplink_rate() == pytest.approx(1e6, rel=0.01)
    for cap in (5_000, 500_000):
        node.adopt(replace(node.settings, up_bytes_per_second=cap))
        assert node.uplink_rate() == cap
    node.adopt(replace(node.settings, up_bytes_per_second=5_000_000))
    assert node.uplink_rate() == pytest.approx(1e6, rel=0.01)
    assert node_of(up_bytes_per_second=300).uplink_rate() == 300, "the operator's word, until more is known"
