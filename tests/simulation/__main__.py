"""python -m tests.simulation --seed N: that seed, exactly, with all it saw. --from A --to B: a range; only what is wrong is shown.
--anomalies: each call on a disk that fails, each await that is cancelled, in one small life; --point KIND:N: that one, with its answers."""

from __future__ import annotations

import argparse
import os
import sys
import time


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--to", dest="behind", type=int, default=0)
    parser.add_argument("--seeds", help="some, with commas between them")
    parser.add_argument("--minutes", type=float, help="begin no other seed after so many")
    parser.add_argument("--anomalies", nargs="*", help="of these kinds, or of all")
    parser.add_argument("--points", type=int, help="only so many of each kind, which --chance decides")
    parser.add_argument("--chance", default="0")
    parser.add_argument("--point", help="KIND:N")
    parser.add_argument("--verbose", action="store_true", help="all answers, not only wrong ones")
    chosen = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of what happens
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    from tests.simulation.anomaly import KINDS
    from tests.simulation.running import run_anomalies, run_point, run_seeds, show_seed

    if chosen.point is not None:
        return run_point(chosen.point)
    if chosen.anomalies is not None:
        return run_anomalies(chosen.anomalies or KINDS, chosen.points, chosen.chance)
    if chosen.seed is not None:
        return show_seed(chosen.seed, is_verbose=chosen.verbose)
    until = time.monotonic() + chosen.minutes * 60 if chosen.minutes else None
    seeds = map(int, chosen.seeds.split(",")) if chosen.seeds else range(chosen.first, chosen.behind or sys.maxsize)
    return run_seeds(seeds, until)


if __name__ == "__main__":
    sys.exit(main())
