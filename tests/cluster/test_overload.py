"""More clients than places, and no descriptors left: what they see, what the others see, and that it passes."""

from __future__ import annotations

import os
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from minicdn.settings import Settings
from tests.kit.asking import ask, open_answer
from tests.kit.files import MIB, bytes_of
from tests.kit.origin import held, whole
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

PLACES = 20


@pytest.mark.parametrize("module", ["minicdn", "tests.kit.pure"])
def test_beyond_max_connections_new_work_is_refused_and_what_runs_is_finished(stage: Stage, module: str) -> None:
    origin, body = stage.origin(), bytes_of("wanted", 20_000)
    gate = origin.gate()
    paths = [origin.on(f"/held-{number}", held(gate, whole(body))) for number in range(PLACES)]
    manager = stage.manager(origin.url, max_connections=PLACES, module=module)
    with ThreadPoolExecutor(PLACES) as pool:
        running = [pool.submit(ask, manager.url, path) for path in paths]
        for path in paths:
            origin.wait_asked(path)
        refused = [ask(manager.url, "/late") for _ in range(50)]
        assert {answer.status for answer in refused} == {503} and {answer["Retry-After"] for answer in refused} == {"1"}
        assert manager.is_ready() and manager.stats()["shed_requests_count"] == 50
        gate.open()
        assert all(one.result().body == body for one in running)
    origin.on("/late", whole(b"now"))
    assert eventually(lambda: manager.ask("/late").body == b"now", "a place")
    assert not origin.asked("/late")[1:]


def test_a_peer_that_is_full_of_clients_still_answers_peers(stage: Stage) -> None:
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=2, max_connections=PLACES)
    full, other = cluster.peers
    gate = origin.gate()
    paths = [origin.on(f"/held-{number}", held(gate, whole(b"held"))) for number in range(PLACES + 5)]
    path = origin.on(cluster.key_owned_by(full), whole(b"owned by the full one", [("Cache-Control", "max-age=60")]))
    with ThreadPoolExecutor(len(paths)) as pool:
        running = [pool.submit(ask, full.url, one) for one in paths]  # some more: a connection of the other peer may have a place, too
        eventually(lambda: full.ask("/late").status == 503, "the peer to be full")
        assert other.ask(path).body == b"owned by the full one"
        assert [asked.fields["via"] for asked in origin.asked(path)] and other.stats()["peer_received_bytes"] > 0
        gate.open()
        answers = [one.result() for one in running]
        assert {answer.body for answer in answers if answer.status != 503} == {b"held"}
        assert sum(answer.status == 200 for answer in answers) <= PLACES


@pytest.mark.timeout(120)
def test_no_descriptors_left(stage: Stage) -> None:
    """The limit falls while the node runs: it can't have counted on that. It neither dies nor spins, finishes what it has, and recovers."""
    nginx = stage.nginx()
    path, cold = nginx.put("here.bin", bytes_of("here", 9 * MIB)), nginx.put("cold.bin", bytes_of("cold", 2 * MIB))
    manager = stage.manager(nginx.url)
    assert manager.ask(path).body == bytes_of("here", 9 * MIB)
    # A thread that opens a file in that very moment may take the event loop's reserve: docs/reliability.md, what is not so good.
    eventually(lambda: list(manager.cache_dir.rglob("*.meta")), "what is cached to be recorded")
    with open_answer(manager.url + path, receive_buffer_bytes=4096) as running:
        running.read(1000)
        resource.prlimit(manager.pid, resource.RLIMIT_NOFILE, (len(list(_descriptors(manager.pid))) + 8, 20_000))
        held = [_connect(manager.port) for _ in range(100)]
        before, from_at = _cpu_seconds(manager.pid), time.monotonic()
        time.sleep(1)
        assert _cpu_seconds(manager.pid) - before < 0.5 * (time.monotonic() - from_at), "it spins"
        assert manager.is_running()
        running.rest()
        for one in held:
            one.close()
    assert eventually(lambda: manager.ask(path).status == 200, "an answer with the descriptors that are free again")
    assert eventually(lambda: manager.ask(cold).body == bytes_of("cold", 2 * MIB), "a miss")
    assert "Traceback" not in manager.output


def test_uploads_that_do_not_end_leave_the_upstream_to_others(stage: Stage) -> None:
    origin = stage.origin()
    path = origin.on("/wanted", whole(b"wanted"))
    manager = stage.manager(origin.url)
    head = b"POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\nh"
    uploads = [_connect(manager.port) for _ in range(2 * Settings().upstream_connections_max)]
    for upload in uploads:
        upload.sendall(head)
    eventually(lambda: manager.stats()["passes_count"] == len(uploads), "all uploads to have begun")
    assert manager.ask(path).body == b"wanted"
    for upload in uploads:
        upload.close()
    assert manager.ask("/upload", method="POST", body=b"whole").status == 404, "their turns are free again"


def test_an_owner_that_can_open_no_connection_costs_the_others_nothing(stage: Stage) -> None:
    origin = stage.origin()
    cluster = stage.cluster(origin.url, peers=2)
    poor, other = cluster.peers
    gate = origin.gate()
    paths = (cluster.key_owned_by(poor, name + "-{}.bin") for name in ("/warm", "/busy", "/cold"))
    kept = [("Cache-Control", "max-age=60")]
    assert other.ask(origin.on(next(paths), whole(b"warm", kept))).status == 200
    busy = origin.on(next(paths), held(gate, whole(b"held", kept)))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(poor.ask, busy)
        origin.wait_asked(busy)
        before = resource.prlimit(poor.pid, resource.RLIMIT_NOFILE, (len(list(_descriptors(poor.pid))), 20_000))
        path = origin.on(next(paths), whole(b"cold", kept))
        answer = other.ask(path)
        assert (answer.status, answer.body) == (200, b"cold")
        assert len(origin.asked(path)) == 1
        resource.prlimit(poor.pid, resource.RLIMIT_NOFILE, before)
        gate.open()
        assert waiting.result().body == b"held"
    assert poor.ask(path).body == b"cold"


def _descriptors(pid: int) -> list[str]:
    return os.listdir(f"/proc/{pid}/fd")


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def _cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
