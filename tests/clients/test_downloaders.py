"""curl, wget and aria2c through a manager and three peers, with an nginx behind them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kit.clients import need, run, run_well
from tests.kit.cluster import Cluster
from tests.kit.files import MIB, big_file, bytes_of, sha256_of
from tests.kit.nginx import Nginx

sizes = pytest.mark.parametrize("size", [20_000, 12 * MIB], ids=["small", "large"])


def place(nginx: Nginx, name: str, size: int) -> str:
    """A file under that name at the upstream; its sha256."""
    return big_file(nginx.root / name, size, seed=name)


def first_part(source: Path, target: Path, size: int) -> None:
    target.write_bytes(source.read_bytes()[:size])


@sizes
def test_curl_follows_the_redirect(nginx: Nginx, cluster: Cluster, tmp_path: Path, size: int) -> None:
    need("curl")
    digest = place(nginx, f"curl-{size}.bin", size)
    for number in range(3):
        run_well("curl", "-sSfL", "-o", tmp_path / str(number), f"{cluster.url}/curl-{size}.bin")
        assert sha256_of(tmp_path / str(number)) == digest


@sizes
def test_curl_resumes(nginx: Nginx, cluster: Cluster, tmp_path: Path, size: int) -> None:
    need("curl")
    digest = place(nginx, f"resume-{size}.bin", size)
    got = tmp_path / "got"
    first_part(nginx.root / f"resume-{size}.bin", got, size // 3)
    output = run_well("curl", "-SfL", "-C", "-", "-o", got, f"{cluster.url}/resume-{size}.bin")
    assert sha256_of(got) == digest, output


@sizes
def test_curl_takes_a_range(nginx: Nginx, cluster: Cluster, tmp_path: Path, size: int) -> None:
    need("curl")
    place(nginx, f"range-{size}.bin", size)
    content = (nginx.root / f"range-{size}.bin").read_bytes()
    for asked, expected in [("100-199", content[100:200]), ("-50", content[-50:]), (f"{size - 9}-", content[-9:])]:
        run_well("curl", "-sSfL", "-r", asked, "-o", tmp_path / "got", f"{cluster.url}/range-{size}.bin")
        assert (tmp_path / "got").read_bytes() == expected


def test_curl_speaks_http_1_0_and_compresses_and_asks_if_modified(nginx: Nginx, cluster: Cluster, tmp_path: Path) -> None:
    need("curl")
    digest = place(nginx, "old.bin", 300_000)
    for options in (["-0"], ["--compressed"], ["--http1.1"], ["--http2"]):
        run_well("curl", "-sSfL", *options, "-R", "-o", tmp_path / "got", f"{cluster.url}/old.bin")
        assert sha256_of(tmp_path / "got") == digest, options
    output = run_well("curl", "-sSfL", "-z", tmp_path / "got", "-o", tmp_path / "not-again", "-w", "%{http_code}", f"{cluster.url}/old.bin")
    assert output == "304"


def test_curl_sees_missing_files_as_404(nginx: Nginx, cluster: Cluster) -> None:
    need("curl")
    assert run("curl", "-sSfL", f"{cluster.url}/nowhere.bin").code == 22


@sizes
def test_wget(nginx: Nginx, cluster: Cluster, tmp_path: Path, size: int) -> None:
    need("wget")
    digest = place(nginx, f"wget-{size}.bin", size)
    run_well("wget", "-nv", f"{cluster.url}/wget-{size}.bin", cwd=tmp_path)
    assert sha256_of(tmp_path / f"wget-{size}.bin") == digest


@sizes
def test_wget_continues(nginx: Nginx, cluster: Cluster, tmp_path: Path, size: int) -> None:
    need("wget")
    name = f"continued-{size}.bin"
    digest = place(nginx, name, size)
    first_part(nginx.root / name, tmp_path / name, size // 2)
    output = run_well("wget", "-c", f"{cluster.url}/{name}", cwd=tmp_path)
    assert sha256_of(tmp_path / name) == digest
    assert re.search(r"\b206\b", output)


def test_wget_mirrors_a_folder(nginx: Nginx, cluster: Cluster, tmp_path: Path) -> None:
    """Index pages, sub-folders and names with spaces: all pages and files come through redirects to any peer."""
    need("wget")
    names = ["mirror/a.bin", "mirror/b c.bin", "mirror/sub/d.bin", "mirror/sub/é.bin"]
    for name in names:
        nginx.put(name, bytes_of(name, 5000))
    # The redirects lead to other ports of one host, which wget takes for other hosts unless it may span them.
    run_well("wget", "-nv", "-r", "-np", "-l", "3", "-nH", "-e", "robots=off", f"{cluster.url}/mirror/", cwd=tmp_path)
    assert all((tmp_path / name).read_bytes() == bytes_of(name, 5000) for name in names)


@sizes
def test_aria2c_with_four_connections(nginx: Nginx, cluster: Cluster, tmp_path: Path, size: int) -> None:
    need("aria2c")
    name = f"aria-{size}.bin"
    digest = place(nginx, name, size)
    words = ["aria2c", "-x4", "-s4", "-k1M", "--no-conf", "--console-log-level=warn", f"--checksum=sha-256={digest}", "-d", tmp_path]
    run_well(*words, f"{cluster.url}/{name}")
    assert sha256_of(tmp_path / name) == digest
    assert nginx.bytes_sent(f"/{name}") <= 1.05 * size


def test_aria2c_from_all_peers_at_once(nginx: Nginx, cluster: Cluster, tmp_path: Path) -> None:
    need("aria2c")
    size = 20 * MIB
    digest = place(nginx, "swarm.bin", size)
    urls = [f"{peer.url}/swarm.bin" for peer in cluster.peers]
    words = ["aria2c", "-x4", "-s12", "-k1M", "--no-conf", f"--checksum=sha-256={digest}", "-d", tmp_path, "-o", "got"]
    run_well(*words, *urls)
    assert sha256_of(tmp_path / "got") == digest
    assert nginx.bytes_sent("/swarm.bin") <= 1.05 * size  # an owner leaves its first answer unread
