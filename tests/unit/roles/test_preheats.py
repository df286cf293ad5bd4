"""How the manager has nodes load what a preheat is for: whom it asks again, whom it gives up, and whom it tells to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from minicdn.core.preheat import Copies, Order, Preheat
from minicdn.core.roster import owners
from minicdn.errors import PeerError, PeerRefused
from minicdn.roles.preheating import GONE_SECONDS, Preheats
from minicdn.wire.preheats import DONE, LoadAnswer, LoadCall
from tests.unit.roles.making import Desk


class FakeCaller:
    """Peers that answer as `answer` says; while `gate` is closed, they hold every load."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, LoadCall]] = []
        self.answer: Callable[[str, str], LoadAnswer] = lambda url, target: LoadAnswer(DONE, 1, 1)
        self.gate = asyncio.Event()

    async def call(self, url: str, target: bytes, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        call = LoadCall.from_wire(message)
        self.calls.append((url, call))
        if not call.is_over:
            await self.gate.wait()
        return self.answer(url, call.target).to_wire()

    async def close(self) -> None:
        pass


class Scene:
    """A manager with three peers, and what it says to them."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.caller = desk, FakeCaller()
        manager = desk.manager
        self.preheats = manager.preheats = Preheats(manager.node, manager.roster, self.caller, manager._hold, manager.url)  # type: ignore[arg-type]

    def owner(self, target: str) -> str:
        return owners(target, self.desk.manager.roster.peer_list().members)[0].url

    def begin(self, *targets: str, copies: str = "1") -> Preheat:
        return self.preheats.begin(Order(targets, Copies.parse(copies)))

    async def over(self, preheat: Preheat) -> dict[str, Any]:
        return (await self.preheats.wait(preheat.id, 5)).as_json(0.0)

    @property
    def ended(self) -> list[tuple[str, str]]:
        return [(url, call.target) for url, call in self.caller.calls if call.is_over]


def scene_test(test: Callable[[Scene], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    async def play(folder: Path) -> None:
        async with Desk(folder) as desk:
            scene = Scene(desk)
            for number in range(3):
                await desk.join(f"peer{number}", port=11001 + number)
            async with asyncio.timeout(20):
                await test(scene)

    def run(tmp_path: Path) -> None:
        asyncio.run(play(tmp_path))

    run.__name__ = test.__name__
    return run


@scene_test
async def test_a_node_that_knows_no_preheats_is_not_asked_for_a_minute(scene: Scene) -> None:
    old = scene.owner("/a")

    def answer(url: str, target: str) -> LoadAnswer:
        if url == old:
            raise PeerRefused(f"{url} answered 404", 404)
        return LoadAnswer(DONE, 1, 1)

    scene.caller.answer = answer
    scene.caller.gate.set()
    found = await scene.over(scene.begin("/a"))
    assert (found["state"], found["done_count"]) == ("done", 1)
    assert {node["url"]: node["state"] for node in found["nodes"]}[old] == "gone"


@scene_test
async def test_a_file_that_a_node_refuses_does_not_cost_the_node(scene: Scene) -> None:
    def answer(url: str, target: str) -> LoadAnswer:
        if target == "/a":
            raise PeerRefused(f"{url} answered 400", 400)
        return LoadAnswer(DONE, 1, 1)

    scene.caller.answer = answer
    scene.caller.gate.set()
    found = await scene.over(scene.begin("/a", "/b", "/c", "/d", "/e"))
    assert (found["done_count"], found["failed_count"]) == (4, 1)
    assert found["failures"] == [{"url": "/a", "node": scene.owner("/a"), "reason": f"{scene.owner('/a')} answered 400"}]


@scene_test
async def test_what_another_preheat_waits_for_is_not_given_up(scene: Scene) -> None:
    first, second = scene.begin("/a", "/b"), scene.begin("/a")
    await scene.desk.settle()
    scene.preheats.cancel(first.id)
    await scene.desk.settle()
    assert scene.ended == [(scene.owner("/b"), "/b")]
    scene.preheats.cancel(second.id)
    await scene.desk.settle()
    assert scene.ended[1:] == [(scene.owner("/a"), "/a")]


@scene_test
async def test_peers_that_are_restarted_one_after_another(scene: Scene) -> None:
    preheat = scene.begin(*(f"/{number}" for number in range(30)))
    for number in range(3):
        await scene.desk.manager.handle_leave(f"peer{number}")
        await scene.desk.join(f"peer{number} again", port=11001 + number)
    await scene.desk.settle()
    scene.caller.gate.set()
    found = await scene.over(preheat)
    assert (found["state"], found["done_count"], found["failures"]) == ("done", 30, [])


@scene_test
async def test_a_node_that_is_listed_but_never_answers_is_given_up_after_a_while(scene: Scene) -> None:
    silent = scene.owner("/a")

    def answer(url: str, target: str) -> LoadAnswer:
        if url == silent:
            scene.desk.clock.now += GONE_SECONDS
            raise PeerError(f"{url} did not answer within 7 s")
        return LoadAnswer(DONE, 1, 1)

    scene.caller.answer = answer
    scene.caller.gate.set()
    found = await scene.over(scene.begin("/a"))
    assert (found["state"], found["done_count"]) == ("done", 1)
    assert [call.target for url, call in scene.caller.calls if url == silent] == ["/a", "/a"]


@scene_test
async def test_a_long_order_leaves_others_their_turn(scene: Scene) -> None:
    preheat = scene.begin(*(f"/{number}" for number in range(3000)))
    assert preheat.has_to_deal
    await scene.desk.settle()
    scene.caller.gate.set()
    assert (await scene.over(preheat))["done_count"] == 3000


@scene_test
async def test_one_that_is_cancelled_while_it_is_dealt_is_over(scene: Scene) -> None:
    preheat = scene.begin(*(f"/{number}" for number in range(3000)))
    scene.preheats.cancel(preheat.id)
    found = await scene.over(preheat)
    assert (found["state"], found["waiting_count"] + found["loading_count"]) == ("cancelled", 3000)
    assert "loading" not in {node["state"] for node in found["nodes"]}
