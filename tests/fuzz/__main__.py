"""`scripts/fuzz`: so many wrong requests, messages or records, and what became of the node."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from tests.fuzz.heads import Fuzzing, Ran
from tests.fuzz.messages import fuzz_index, fuzz_messages
from tests.fuzz.rpc import RpcFuzzing
from tests.kit.files import MIB, bytes_of
from tests.kit.stage import Stage

KINDS = ("http", "rpc", "messages", "index")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description="Bad input at random. Exit code 1: something was wrong.")
    parser.add_argument("--requests", type=int, default=100_000, metavar="N")
    parser.add_argument("--seconds", type=float, default=200.0, help="at most, of each kind (default 200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=KINDS, help="one alone (default all)")
    options = parser.parse_args()
    is_good = True
    for kind in (options.kind,) if options.kind else KINDS:
        folder = Path(tempfile.mkdtemp(prefix="minicdn-fuzz-"))
        with closing(Stage(folder)) as stage:
            ran = fuzz(kind, stage, options.seed, options.requests, options.seconds)
        shutil.rmtree(folder, ignore_errors=True)
        print(f"{kind}, seed {options.seed}: {ran.line()}", *ran.wrong[:5], sep="\n  ", flush=True)
        is_good = is_good and not ran.wrong
    return int(not is_good)


def fuzz(kind: str, stage: Stage, seed: int, count: int, seconds_max: float) -> Ran:
    if kind == "messages":
        return fuzz_messages(seed, count, seconds_max)
    if kind == "index":
        return fuzz_index(stage.folder, seed, count, seconds_max)
    nginx, good = stage.nginx(), bytes_of("good", 1000)
    nginx.put("good.bin", good)
    nginx.put("large.bin", bytes_of("large", 6 * MIB))
    node = stage.manager(nginx.url, host="0.0.0.0", memory="8MiB", disk="64MiB")
    return (Fuzzing if kind == "http" else RpcFuzzing)(node, good).run(seed, count, seconds_max)


if __name__ == "__main__":
    sys.exit(main())
