"""What is read from the kernel, and the command itself."""

from __future__ import annotations

import os
import sys
import time

import pytest

from scripts.benchmarks import loopback, refusal, upstream
from scripts.benchmarks.__main__ import MEASUREMENTS, main, parser
from scripts.benchmarks.namespaces import left_behind, parse_device_table, run_prefix
from scripts.benchmarks.swarm import chosen_scenarios

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")

TABLE = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
p-peer1: 1234567    999    0    0    0     0          0         0   765432     888    0    0    0     0       0          0
"""


def test_device_counters() -> None:
    assert parse_device_table(TABLE) == {"lo": (0, 0), "p-peer1": (1234567, 765432)}


def test_only_what_a_dead_run_left_is_swept(tmp_path) -> None:
    for name in (f"{run_prefix()}-origin", "mcb4194304999-peer1", "mcb-x", "other"):
        (tmp_path / name).mkdir()
    assert [path.name for path in left_behind(tmp_path)] == ["mcb4194304999-peer1"]


@linux_only
def test_a_process_is_timed_and_ends_with_its_children(tmp_path) -> None:
    from scripts.benchmarks.processes import Crew, wait_some

    with Crew(tmp_path, os.environ) as crew:
        quick, endless = crew.start("quick", ["sh", "-c", "cat >/dev/null; exit 3"], is_told=True), crew.start("endless", ["sleep", "600"])
        assert wait_some([quick, endless], 0.05) == []
        quick.tell("go")
        assert wait_some([quick, endless], 10) == [quick]
        assert quick.ended_at is not None and quick.ended_at <= time.monotonic()
        assert quick.cpu_seconds() < 5
    assert not endless.is_running()


def test_the_origin_s_file_is_what_its_digest_says_and_its_log_is_summed(tmp_path) -> None:
    import hashlib

    file = upstream.make_file(tmp_path / "www", 2_500_000)
    assert hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256
    (tmp_path / "access.log").write_text('{"uri":"/a","sent":10,"body":7}\n{"uri":"/b","sent":5,"body":5}\n')
    assert upstream.summed(upstream.read_log(tmp_path)) == upstream.Sent(2, 15, 12)


def test_a_name_that_the_serving_peer_owns() -> None:
    urls = ["http://127.0.0.1:5001", "http://127.0.0.1:5002"]
    assert loopback.name_owned_by(urls[0], urls) != loopback.name_owned_by(urls[1], urls)


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_every_measurement_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "usage: scripts/bench" in capsys.readouterr().out


def test_without_root_it_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(refusal.os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.setattr("scripts.benchmarks.swarm.found_program", lambda name: name)
    assert main(["swarm"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "namespaces" in said


def test_scenarios_as_they_are_asked_for() -> None:
    def chosen(*words: str) -> list[str]:
        return [scenario.name for scenario in chosen_scenarios(parser().parse_args(["swarm", *words]))]

    assert chosen() == ["N=8, 64 MiB"]
    assert chosen("--slow", "4:20mbit", "--size", "16MiB") == ["N=8, 16 MiB, 4 uplinks 20mbit"]
    assert chosen("--peers", "4", "--kill", "2@0.4") == ["N=4, 64 MiB, 2 killed at 0.4"]
    assert len(chosen("--all")) == 5
    assert len(chosen("--all", "--by-n")) == 7, "N = 1, 8 and 16 are in both"
