"""pip through minicdn: from an index made here, and from the one that this machine is configured for."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
import zipfile
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit
from urllib.request import urlopen

import pytest

from tests.kit.clients import need, run, run_well
from tests.kit.cluster import Cluster
from tests.kit.files import sha256_of
from tests.kit.nginx import Nginx
from tests.kit.program import environment
from tests.kit.stage import Stage

PACKAGE = "wheel"
"""A real package that is small, pure, and in every index."""


def make_wheel(folder: Path, name: str, version: str, requires: str = "", payload: bytes = b"") -> Path:
    """A wheel that pip accepts: one module, metadata, and a record with the digests."""
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{name}.py": b"answer = 42\n# " + base64.b64encode(payload) + b"\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for path, data in files.items()
    )
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}.items():
            archive.writestr(path, data)
    return wheel


def pip(*words: str | Path) -> list[str | Path]:
    """pip without this machine's configuration, so that nothing comes from elsewhere."""
    return [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", *words]


def test_pip_downloads_from_a_simple_index(nginx: Nginx, cluster: Cluster, tmp_path: Path) -> None:
    packages = nginx.root / "packages"
    wheels = {
        "cdn_first": make_wheel(packages, "cdn_first", "1.2.3", requires="cdn-second>=2"),
        "cdn_second": make_wheel(packages, "cdn_second", "2.0", payload=hashlib.sha512(b"x").digest() * 100_000),
    }
    for name, wheel in wheels.items():
        link = f'<a href="../../packages/{wheel.name}#sha256={sha256_of(wheel)}">{wheel.name}</a>'
        nginx.put(f"simple/{name.replace('_', '-')}/index.html", f"<!DOCTYPE html><html><body>{link}</body></html>".encode())
    for door in (cluster.url, *(peer.url for peer in cluster.peers)):
        target = tmp_path / str(len(list(tmp_path.iterdir())))
        words = ["download", "--no-cache-dir", "--index-url", f"{door}/simple/", "--trusted-host", "127.0.0.1", "-d", target, "cdn-first"]
        run_well(*pip(*words), env=environment({"PIP_CONFIG_FILE": "/dev/null"}))
        assert {path.name: sha256_of(path) for path in target.iterdir()} == {wheel.name: sha256_of(wheel) for wheel in wheels.values()}
    for wheel in wheels.values():
        sent = nginx.bytes_sent(f"/packages/{wheel.name}")
        assert sent <= 1.02 * wheel.stat().st_size, "the wheel came from upstream once"


def configured_index() -> str:
    """The index that pip uses on this machine: configuration and environment first, then what pip itself was built with."""
    ran = run(sys.executable, "-m", "pip", "config", "get", "global.index-url")
    if ran.code == 0 and ran.output.strip():
        return ran.output.strip().splitlines()[-1].rstrip("/")
    import os

    if found := os.environ.get("PIP_INDEX_URL"):
        return found.rstrip("/")
    from pip._internal.models.index import PyPI

    return PyPI.simple_url.rstrip("/")


class Links(HTMLParser):
    """The files of a simple page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "a" and href:
            self.found.append(unescape(href))


def reach(url: str) -> bytes:
    """The page as the index gives it, or a skip that says why not."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.username:
        pytest.skip(f"the configured index is no plain web address ({parts.scheme})")
    try:
        with urlopen(url, timeout=10) as answer:
            return answer.read()
    except OSError as error:
        pytest.skip(f"the configured package index can't be reached: {error}")


@pytest.mark.timeout(180)
def test_a_real_package_from_the_configured_index(stage: Stage, tmp_path: Path) -> None:
    """The page comes through a cluster in front of the index; the file through one in front of the host that the page names."""
    need("curl")
    index = configured_index()
    reach(f"{index}/{PACKAGE}/")
    parts = urlsplit(index)
    cluster = stage.cluster(f"{parts.scheme}://{parts.netloc}", peers=1)
    page = tmp_path / "page"
    run_well("curl", "-sSfL", "-o", page, f"{cluster.url}{parts.path}/{PACKAGE}/")
    links = Links()
    links.feed(page.read_text("utf-8"))
    chosen = next(link for link in reversed(links.found) if ".whl#sha256=" in link)
    url, fragment = urldefrag(urljoin(f"{index}/{PACKAGE}/", chosen))
    where = urlsplit(url)
    if where.netloc != parts.netloc:
        cluster = stage.cluster(f"{where.scheme}://{where.netloc}", peers=1)
    for node in (cluster.manager, cluster.peers[0]):
        ran = run("curl", "-sSfL", "-o", tmp_path / "file", node.url + where.path)
        assert ran.code == 0, ran.output
        assert sha256_of(tmp_path / "file") == fragment.removeprefix("sha256=")
    assert zipfile.is_zipfile(tmp_path / "file")
    # How often it came is the index's choice: what says neither how long it is fresh nor which version it is can't be kept.
    assert cluster.peers[0].stats()["upstream_received_bytes"] >= (tmp_path / "file").stat().st_size


@pytest.mark.timeout(180)
def test_pip_itself_through_the_configured_index(stage: Stage, tmp_path: Path) -> None:
    """pip resolves and downloads with minicdn as its index; files that the page links elsewhere come from there."""
    index = configured_index()
    reach(f"{index}/{PACKAGE}/")
    parts = urlsplit(index)
    cluster = stage.cluster(f"{parts.scheme}://{parts.netloc}", peers=1)
    words = ["--index-url", cluster.url + parts.path, "--trusted-host", "127.0.0.1", "--no-deps", "--no-cache-dir", "-d", tmp_path, PACKAGE]
    output = run_well(*pip("download", *words))
    assert re.search(r"(Saved|Successfully downloaded)", output)
    assert [path for path in tmp_path.iterdir() if path.suffix == ".whl"]
    assert cluster.peers[0].stats()["upstream_requests_count"] >= 1
