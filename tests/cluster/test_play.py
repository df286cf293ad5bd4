"""/_play: the same bytes and the same copy, for a browser; and a browser that plays and seeks."""

from __future__ import annotations

import io
import json
import math
import shutil
import struct
import wave
from urllib.parse import unquote

import pytest

from tests.kit.asking import ask, ask_following
from tests.kit.files import bytes_of
from tests.kit.nginx import Nginx
from tests.kit.origin import validating
from tests.kit.process import Process
from tests.kit.program import Minicdn
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--disable-sync", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--mute-audio", "--remote-debugging-port=0",
)  # fmt: skip
SECONDS = 60
SEEK_SECONDS = 40


@pytest.fixture(params=["manager alone", "owner", "not the owner"])
def node(request: pytest.FixtureRequest, stage: Stage) -> tuple[Minicdn, str, list[str]]:
    """A node, the path of a file, and what the origin was asked for it."""
    origin, asked = stage.origin(), []
    body = bytes_of("film", 300_000)
    script = validating(body, '"film"', [("Content-Disposition", 'attachment; filename="f.mp4"'), ("Cache-Control", "max-age=600")])

    def noted(one, line) -> None:
        asked.append(one.method)
        script(one, line)

    if request.param == "manager alone":
        return stage.manager(origin.url), origin.on("/a/film.mp4", noted), asked
    cluster = stage.cluster(origin.url, peers=2)
    path = cluster.key_owned_by(cluster.peers[0], "/a/{}.mp4")
    return cluster.peers[request.param != "owner"], origin.on(path, noted), asked


def test_the_same_bytes_ranges_and_validators_from_one_copy(node) -> None:
    played, path, asked = node
    saved, shown = played.ask(path), played.ask("/_play" + path)
    assert saved["Content-Disposition"] == 'attachment; filename="f.mp4"'
    assert shown["Content-Disposition"] == 'inline; filename="f.mp4"'
    assert (shown["Content-Type"], saved.get("Content-Type")) == ("video/mp4", None)
    assert shown.body == saved.body
    assert (shown["ETag"], shown["Content-Length"]) == (saved["ETag"], str(len(saved.body)))
    part = played.ask("/_play" + path, fields=[("Range", "bytes=1000-1999")])
    assert (part.status, part.body, part["Content-Type"]) == (206, saved.body[1000:2000], "video/mp4")
    assert part["Content-Range"] == f"bytes 1000-1999/{len(saved.body)}"
    head = played.ask("/_play" + path, method="HEAD")
    assert (head.status, head.body, head["Content-Length"], head["Content-Type"]) == (200, b"", str(len(saved.body)), "video/mp4")
    assert played.ask("/_play" + path, fields=[("If-None-Match", '"film"')]).status == 304
    assert asked == ["GET"]


def test_what_is_played_first_is_the_copy_that_is_saved_then(node) -> None:
    played, path, asked = node
    shown, saved = played.ask("/_play" + path), played.ask(path)
    assert shown.body == saved.body
    assert saved["Content-Disposition"] == 'attachment; filename="f.mp4"'
    assert asked == ["GET"]


def test_what_can_not_be_played(node) -> None:
    played, path, _ = node
    assert played.ask("/_play" + path + "-none").status == 404
    assert played.ask("/_play/_health").status == 404
    assert played.ask("/_play/_play" + path).status == 404
    assert played.ask("/_play").status == 404
    refused = played.ask("/_play" + path, method="POST", body=b"x")
    assert (refused.status, refused["Allow"]) == (405, "GET, HEAD")


def test_a_manager_with_peers_sends_to_a_peers_play(stage: Stage) -> None:
    origin = stage.origin()
    path = origin.on("/a/film.mp4", validating(b"film", '"film"'))
    cluster = stage.cluster(origin.url, peers=2)
    sent = cluster.manager.ask(f"/_play{path}?x=%41")
    assert sent.status == 302
    assert sent["Location"] in [f"{peer.url}/_play{path}?x=%41" for peer in cluster.peers]
    assert ask_following(f"{cluster.url}/_play{path}").body == b"film"
    assert ask(cluster.url, "/_play/_health").status == 404


def sound() -> bytes:
    """A minute of a tone that rises."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(44_100)
        samples = (int(9000 * math.sin(at * (0.02 + at * 1e-8))) for at in range(44_100 * SECONDS))
        writer.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return file.getvalue()


PAGE = """<!doctype html><title>player</title><audio id=player preload=metadata src="SOURCE"></audio><script>
const player = document.getElementById("player");
const tell = (said) => fetch("/said?" + encodeURIComponent(JSON.stringify(said)));
player.onloadedmetadata = () => { player.currentTime = SEEK; };
player.onseeked = () => tell({duration: player.duration, at: player.currentTime, isThere: player.readyState >= 2});
player.onerror = () => tell({error: player.error.message});
</script>"""


@pytest.mark.parametrize("peers", [0, 2], ids=["manager-alone", "through-a-redirect"])
def test_a_browser_plays_and_seeks(stage: Stage, peers: int) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser is installed here ({', '.join(BROWSERS)})")
    nginx = stage.nginx()
    cluster = stage.cluster(nginx.url, peers=peers, small="64KiB")
    nginx.put("sound.wav", sound())
    page = PAGE.replace("SOURCE", f"{cluster.url}/_play/sound.wav").replace("SEEK", str(SEEK_SECONDS))
    nginx.put("page.html", page.encode())
    command = [browser, *OPTIONS, f"--user-data-dir={stage.folder / 'browser'}", f"{cluster.url}/page.html"]
    browsing = Process("browser", command, stage.folder)
    stage.callback(browsing.kill)
    said = eventually(lambda: said_to(nginx), "the page to tell", deadline_seconds=60, show=browsing.show)
    assert said == {"duration": SECONDS, "at": SEEK_SECONDS, "isThere": True}
    eventually(lambda: b"/sound.wav" in cluster.manager.ask("/_log?limit=100").body, "the log to tell")
    logged = [json.loads(line)["data"] for line in cluster.manager.ask("/_log?limit=100").body.splitlines()]
    statuses = {line["status"] for line in logged if line["key"] == "/sound.wav"}
    assert 206 in statuses
    assert statuses <= {0, 206, 302, 304}  # 0: one that the browser gave up


def said_to(nginx: Nginx) -> dict | None:
    """What the page has told, by way of a request."""
    told = [row.target for row in nginx.log() if row.target.startswith("/said?")]
    return json.loads(unquote(told[0].partition("?")[2])) if told else None
