"""`scripts/chaos`: the storm, or one fault, or all of them, with the figures."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.scenes import SCENES
from tests.chaos.storm import storm
from tests.kit.stage import Stage


def main() -> int:
    what = "Real processes and real faults, under load. Exit code 1: something was wrong."
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=what)
    parser.add_argument("--minutes", type=float, default=5.0, help="of kill -9 at random moments (default 5)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peers", type=int, default=4)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--scene", choices=[*SCENES, "all"], help="this fault in place of the kills")
    parser.add_argument("--seconds", type=float, help="of the fault (default: its own)")
    options = parser.parse_args()
    names = [] if options.scene is None else list(SCENES) if options.scene == "all" else [options.scene]
    return int(not all([_scene(name, options.seconds) for name in names] if names else [_storm(options)]))


def _storm(options: argparse.Namespace) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="minicdn-chaos-"))
    with closing(Stage(folder)) as stage:
        outcome = storm(
            folder / "storm", stage.nginx(), seconds=options.minutes * 60, peers=options.peers, clients=options.clients, seed=options.seed
        )
    shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(outcome.lines()))
    return outcome.is_good


def _scene(name: str, seconds: float | None) -> bool:
    play, usual_seconds = SCENES[name]
    folder = Path(tempfile.mkdtemp(prefix="minicdn-chaos-"))
    with closing(Stage(folder)) as stage:
        try:
            report = play(stage, seconds or usual_seconds)
        except pytest.skip.Exception as skipped:
            print(f"== {name}: not here: {skipped}")
            return True
    shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(report.lines()), flush=True)
    return not report.wrong


if __name__ == "__main__":
    sys.exit(main())
