"""Who is listed, how they are known, and what a peer is told that can't be reached."""

from __future__ import annotations

from tests.kit.asking import ask
from tests.kit.clients import run
from tests.kit.ports import free_port
from tests.kit.program import command_line, environment, members_of
from tests.kit.stage import Stage
from tests.kit.waiting import always, eventually


def test_all_nodes_follow_the_list_by_epoch(stage: Stage) -> None:
    cluster = stage.cluster(stage.nginx().url, peers=2, renew="1s", window="3s")
    epochs = {node.json("/_peers")["epoch"] for node in cluster.processes}
    assert len(epochs) == 1
    always(lambda: cluster.manager.json("/_peers")["epoch"] in epochs, "the epoch of a quiet cluster", for_seconds=3)
    newcomer = cluster.start_peer("newcomer")
    cluster.wait_agreed()
    assert newcomer in cluster.owners_of("/x")
    again = {node.json("/_peers")["epoch"] for node in cluster.processes}
    assert len(again) == 1
    assert again != epochs


def test_a_peer_on_all_addresses_is_known_by_the_one_it_is_seen_from(stage: Stage) -> None:
    nginx = stage.nginx()
    nginx.put("a.txt", b"a")
    cluster = stage.cluster(nginx.url, peers=1, host="0.0.0.0")
    [member] = members_of(cluster.manager)
    assert member["url"] == f"http://127.0.0.1:{cluster.peers[0].port}"
    assert ask(ask(cluster.url, "/a.txt")["Location"]).body == b"a"


def test_an_advertised_address_is_used_as_it_is(stage: Stage) -> None:
    manager = stage.manager(stage.nginx().url)
    port = free_port()
    stage.start("peer", manager=manager.url, port=port, advertise=f"http://localhost:{port}").wait_ready()
    eventually(lambda: [m["url"] for m in members_of(manager)] == [f"http://localhost:{port}"], "the advertised address in the list")
    assert ask(manager.url, "/x")["Location"] == f"http://localhost:{port}/x"


def test_a_peer_that_cant_be_reached_is_told_so_and_not_listed(stage: Stage) -> None:
    nginx = stage.nginx()
    nginx.put("a.txt", b"a")
    manager = stage.manager(nginx.url)
    nowhere = f"http://127.0.0.1:{free_port()}"
    peer = stage.start("peer", manager=manager.url, advertise=nowhere)
    eventually(lambda: nowhere in peer.output.replace(" ", " ") and "reach" in peer.output, "the peer to be told", show=peer.show)
    assert "Traceback" not in peer.output
    always(lambda: members_of(manager) == [], "an unreachable peer is not listed", for_seconds=2)
    answer = ask(manager.url, "/a.txt")
    assert (answer.status, answer.body) == (200, b"a")


def test_another_program_at_the_advertised_address_is_not_taken_for_a_peer(stage: Stage) -> None:
    nginx = stage.nginx()
    nginx.put("_health", b"fine")
    manager = stage.manager(nginx.url)
    peer = stage.start("peer", manager=manager.url, advertise=nginx.url)
    eventually(lambda: nginx.url in peer.output.replace(f"advertise {nginx.url}", ""), "the peer to be told", show=peer.show)
    assert members_of(manager) == []


def test_a_peer_waits_for_a_manager_that_comes_later(stage: Stage) -> None:
    nginx = stage.nginx()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    peer = stage.start("peer", manager=url)
    eventually(lambda: "wait" in peer.output.lower() and url in peer.output, "a line that says what it waits for", show=peer.show)
    assert peer.is_running()
    manager = stage.manager(nginx.url, port=port)
    eventually(lambda: [m["url"] for m in members_of(manager)] == [peer.url], "the peer in the list", show=stage.show)
    peer.wait_ready()


def test_a_manager_that_is_none_is_told_plainly(stage: Stage) -> None:
    """A peer pointed at a web server says so, and neither crashes nor serves."""
    nginx = stage.nginx()
    peer = stage.start("peer", manager=nginx.url)
    eventually(lambda: "manager" in peer.output.replace("  manager  ", ""), "a word about the manager", show=peer.show)
    assert "Traceback" not in peer.output


def test_a_peer_learns_upstream_and_settings_from_the_manager(stage: Stage) -> None:
    origin = stage.origin()
    from tests.cluster.doors import KEPT
    from tests.kit.origin import whole

    body = b"x" * 3000
    path = origin.on("/3000.bin", whole(body, [KEPT]))
    cluster = stage.cluster(origin.url, peers=1, small="2KiB")
    [peer] = cluster.peers
    assert peer.ask(path).body == body
    assert peer.memory_in_use() == 0, "the manager's --small holds at the peer"
    assert peer.disk_in_use() >= 3000


def test_five_peers_come_and_go_at_once(stage: Stage) -> None:
    nginx = stage.nginx()
    nginx.put("a.txt", b"a")
    cluster = stage.cluster(nginx.url, peers=3)
    first = list(cluster.peers)
    for peer in first[:2]:
        peer.interrupt()
    late = [cluster.start_peer(f"late{n}") for n in range(2)]
    cluster.wait_agreed([first[2], *late])
    for peer in first[:2]:
        assert peer.wait() == 0
    for _ in range(20):
        answer = ask(cluster.url, "/a.txt")
        assert ask(answer["Location"]).body == b"a"


def test_the_printed_line_makes_a_peer(stage: Stage) -> None:
    manager = stage.manager(stage.nginx().url)
    [line] = [line.strip() for line in manager.stdout.splitlines() if "peer --manager" in line]
    words = line[line.index("peer --manager") :].split()
    peer = stage.start("peer", manager=words[2])
    eventually(lambda: [m["url"] for m in members_of(manager)] == [peer.url], "the peer in the list", show=stage.show)


def test_two_managers_word_for_word(stage: Stage) -> None:
    """Nothing is shared by accident: two clusters on one machine don't see each other."""
    nginx = stage.nginx()
    one, two = stage.cluster(nginx.url, peers=1), stage.cluster(nginx.url, peers=1)
    assert {m["url"] for m in members_of(one.manager)} == {one.peers[0].url}
    assert {m["url"] for m in members_of(two.manager)} == {two.peers[0].url}


def test_help_names_every_role(stage: Stage) -> None:
    for role in ("manager", "peer"):
        ran = run(*command_line(role), "--help", env=environment(), cwd=stage.folder)
        assert ran.code == 0
        assert "--port" in ran.output
