"""apt-get through minicdn, from a repository made here. All of apt's folders are the test's own: the system is not touched."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.kit.clients import need, run_well
from tests.kit.cluster import Cluster
from tests.kit.files import bytes_of, sha256_of
from tests.kit.nginx import Nginx

NAME = "minicdn-test-package"


def make_package(folder: Path, version: str, payload: bytes) -> Path:
    tree = folder / f"tree-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/share").mkdir(parents=True)
    control = f"Package: {NAME}\nVersion: {version}\nArchitecture: all\nMaintainer: Nobody <nobody@localhost>\nDescription: for a test\n"
    (tree / "DEBIAN/control").write_text(control)
    (tree / "usr/share" / NAME).write_bytes(payload)
    package = folder / f"{NAME}_{version}_all.deb"
    run_well("dpkg-deb", "--root-owner-group", "--build", tree, package)
    return package


def publish(nginx: Nginx, work: Path, package: Path, *, hours_ago: int) -> None:
    """A small repository: pool, package index, release file. Its age lets a cache guess that it stays as it is for a while."""
    root = nginx.root / "debian"
    index = root / "dists/stable/main/binary-all"
    index.mkdir(parents=True, exist_ok=True)
    (root / "pool").mkdir(exist_ok=True)
    (root / "pool" / package.name).write_bytes(package.read_bytes())
    (index / "Packages").write_text(run_well("apt-ftparchive", "packages", "pool", cwd=root))
    options = ["-o", "APT::FTPArchive::Release::Suite=stable", "-o", "APT::FTPArchive::Release::Components=main"]
    options += ["-o", "APT::FTPArchive::Release::Architectures=all"]
    (work / "Release").write_text(run_well("apt-ftparchive", *options, "release", root / "dists/stable"))
    (root / "dists/stable/Release").write_bytes((work / "Release").read_bytes())
    at = time.time() - hours_ago * 3600
    for path in root.rglob("*"):
        os.utime(path, (at, at))


def apt(work: Path, *words: str | Path) -> list[str | Path]:
    """apt-get with state, cache, sources and configuration in the work folder, and no proxy in between."""
    for folder in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d", "etc/sources.list.d"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    (work / "status").touch()
    own = {
        "Dir::State": work / "state",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "Dir::Etc": work / "etc",
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Log": work,
        "Acquire::http::Proxy": "false",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "Debug::NoLocking": "true",
    }
    return ["apt-get", *(word for name, value in own.items() for word in ("-o", f"{name}={value}")), *words]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    need("apt-get", "apt-ftparchive", "dpkg-deb")
    return tmp_path


def test_apt_updates_downloads_and_sees_a_new_version(nginx: Nginx, cluster: Cluster, work: Path) -> None:
    first = make_package(work, "1.0", bytes_of("deb", 6_000_000))
    publish(nginx, work, first, hours_ago=20)
    (work / "sources.list").write_text(f"deb [trusted=yes arch=all] {cluster.url}/debian stable main\n")
    run_well(*apt(work, "update"))
    run_well(*apt(work, "download", NAME), cwd=work / "cache")
    assert sha256_of(work / "cache" / first.name) == sha256_of(first)
    assert nginx.bytes_sent(f"/debian/pool/{first.name}") <= 1.02 * first.stat().st_size

    second = make_package(work, "2.0", bytes_of("deb2", 50_000))
    publish(nginx, work, second, hours_ago=10)
    updated = run_well(*apt(work, "update"))
    downloaded = run_well(*apt(work, "download", NAME), cwd=work / "cache")
    assert (work / "cache" / second.name).exists(), f"{updated}\n{downloaded}\n" + "\n".join(map(str, nginx.settled_log()))
    assert sha256_of(work / "cache" / second.name) == sha256_of(second)
