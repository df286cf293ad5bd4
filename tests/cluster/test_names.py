"""Awkward names, byte for byte; and targets that try to leave."""

from __future__ import annotations

import random
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.kit.asking import ask
from tests.kit.clients import need, run_well
from tests.kit.cluster import Cluster
from tests.kit.files import bytes_of
from tests.kit.nginx import Nginx
from tests.kit.origin import lengthless
from tests.kit.stage import Stage

LONG = "/".join(f"{n:03}" + "long-name" * 21 for n in range(10))[:2000]
"""2,000 characters in segments that file systems can hold."""

NAMES = [
    "with space.bin",
    " leading and trailing .bin ",
    "100%.bin",
    "%2e%2e%2fliteral",
    "what?.bin",
    "a=1&b=2.bin",
    "a+b.bin",
    "hash#mark",
    "semi;colon,comma:colon@at",
    "quote'\"`.bin",
    "back\\slash.bin",
    "tilde~(paren)[bracket]{brace}|pipe^<>",
    "new\nline\ttab",
    "été-日本語-😀.bin",
    "a..b",
    "..double",
    "trailing.",
    "CON",
    "deep/er/and deeper/file",
    LONG,
]


def encoded(name: str) -> bytes:
    return b"/" + quote(name, safe="/").encode()


def everything_encoded(name: str) -> bytes:
    """Each character percent-encoded but the slash, in lower-case hex: another spelling of the same name."""
    return b"/" + b"".join(bytes([byte]) if byte == 0x2F else b"%%%02x" % byte for byte in name.encode())


def content(name: str) -> bytes:
    return bytes_of(name, 4_000 + len(name))


@pytest.fixture(scope="module")
def nginx(shared_stage: Stage) -> Nginx:
    nginx = shared_stage.nginx()
    for name in NAMES:
        nginx.put(name, content(name))
    (nginx.folder / "secret.txt").write_text("the secret beside the root")
    return nginx


@pytest.fixture(scope="module")
def cluster(shared_stage: Stage, nginx: Nginx) -> Cluster:
    # Everything above 1 KiB goes to disk: the names meet the cache folder too.
    return shared_stage.cluster(nginx.url, peers=3, small="1KiB")


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_awkward_names_are_served_byte_for_byte(cluster: Cluster, name: str) -> None:
    targets = [encoded(name)]
    if len(name) < 1000:
        targets.append(everything_encoded(name))
    for target in targets * 2:
        location = ask(cluster.url, target)["Location"].encode("latin-1")
        assert location.split(b"/", 3)[3] == target[1:], "the redirect repeats the target to the byte"
        for node in [*cluster.peers]:
            answer = node.ask(target)
            assert (answer.status, answer.body) == (200, content(name)), (node.name, target)


@pytest.mark.parametrize(
    "target", ["/été-日本語-😀.bin".encode(), b"/a+b.bin", b"/a..b", b"/a%2E%2Eb", b"/a%2e%2eb", b"/a=1&b=2.bin?q=\xc3\xa9"]
)
def test_raw_targets(cluster: Cluster, target: bytes) -> None:
    for node in cluster.peers:
        assert node.ask(target).status == 200
    location = ask(cluster.url, target)["Location"].encode("latin-1")
    assert location.split(b"/", 3)[3] == target[1:]


def test_a_whole_folder_with_wget(cluster: Cluster, tmp_path: Path) -> None:
    """A real client, which encodes names in its own way."""
    need("wget")
    peer = random.Random(1).choice(cluster.peers)
    for name in NAMES:
        run_well("wget", "-q", "-O", tmp_path / "got", peer.url + encoded(name).decode())
        assert (tmp_path / "got").read_bytes() == content(name), name


TRAVERSALS = [
    b"/../secret.txt",
    b"/../../../../../../etc/passwd",
    b"/%2e%2e/secret.txt",
    b"/%2E%2E%2Fsecret.txt",
    b"/..%2fsecret.txt",
    b"/..%5csecret.txt",
    b"/..\\secret.txt",
    b"/deep/../../secret.txt",
    b"/deep/%2e%2e/%2e%2e/secret.txt",
    b"/.%2e/secret.txt",
    b"/....//....//secret.txt",
    b"/%252e%252e/secret.txt",
    b"/a%00b",
    b"/%00",
    b"//../secret.txt",
    b"/./../secret.txt",
    b"/deep/er/../../../secret.txt?x=1",
    b"/_/../../secret.txt",
]


@pytest.mark.parametrize("target", TRAVERSALS, ids=[target.decode() for target in TRAVERSALS])
def test_traversal_attempts_get_nothing(cluster: Cluster, target: bytes) -> None:
    for node in cluster.peers:
        answer = node.ask(target)
        assert answer.status in (400, 404), (answer.status, answer.body[:200])
        assert b"secret beside" not in answer.body
        assert b"root:" not in answer.body
    assert ask(cluster.url, target).status in (302, 400, 404)


def files_outside(folder: Path, cache_dirs: set[Path]) -> set[Path]:
    return {path for path in folder.rglob("*") if not any(path.is_relative_to(cache) for cache in cache_dirs)}


def test_nothing_is_written_outside_the_cache_folder(stage: Stage) -> None:
    """An upstream that has an answer for every target, so that each of them is stored on disk."""
    origin = stage.origin()
    answer = lengthless(bytes_of("anything", 10_000), [("Cache-Control", "max-age=3600")], chunked=True)
    origin.scripts = Anything(answer)
    cluster = stage.cluster(origin.url, peers=1, small="1KiB")
    caches = {node.cache_dir for node in cluster.processes}
    before = files_outside(cluster.folder, caches)
    for target in [*TRAVERSALS, *map(encoded, NAMES), b"/" + b"x" * 2000, b"/" + b"y/" * 1000]:
        assert cluster.peers[0].ask(target).status in (200, 400, 404), target
    assert len(origin.asked()) > len(NAMES)
    assert files_outside(cluster.folder, caches) - before <= {cluster.folder / "log.jsonl"}


class Anything(dict):
    """A table of scripts in which each path has the same one."""

    def __init__(self, script) -> None:
        self.script = script

    def get(self, *_):
        return self.script


@pytest.mark.parametrize(
    "target",
    [
        b"/a%2Fb",
        b"/x/%2F/y?p=%2f%2F",
        b"/p?a=1&b=",
        b"/p?",
        b"/p??",
        b"/p?a=%20+%2B",
        b"//double//slash/",
        b"/a;v=1",
        b"/%E2%82%AC?%E2%82%AC",
    ],
)
def test_the_origin_is_asked_for_what_the_client_meant(stage: Stage, target: bytes) -> None:
    """Reserved characters keep their encoding or its absence; the query is kept to the byte."""
    origin = stage.origin()
    origin.scripts = Anything(lengthless(b"x", chunked=True))
    manager = stage.manager(origin.url)
    assert manager.ask(target).status == 200
    [asked] = origin.asked()
    path, _, query = target.partition(b"?")
    asked_path, _, asked_query = asked.target.partition(b"?")
    assert asked_path.lower() == path.lower()
    assert asked_query == query
