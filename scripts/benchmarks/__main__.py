"""`scripts/bench NAME …`: one measurement by its name.

To add one, write a module here with a docstring whose first line says what is measured, `add_options(parser)` and
`run(options) -> int` (an exit code), and name it in MEASUREMENTS. What can't be measured here (no root, a program missing) is a
`CannotMeasure`: one line, exit code 2.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from types import ModuleType

from scripts.benchmarks.refusal import CannotMeasure

MEASUREMENTS = ("swarm", "simulate", "hits", "miss", "hop", "disk", "connections", "memory", "workers", "start")
"""Names of modules in this folder, each a measurement."""


def main(words: list[str]) -> int:
    options = parser().parse_args(words)
    try:
        return options.run(options)
    except CannotMeasure as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("scripts/bench: stopped", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="scripts/bench", description="Measurements of minicdn.")
    names = top.add_subparsers(metavar="NAME", required=True)
    for name in MEASUREMENTS:
        module = importlib.import_module(f"scripts.benchmarks.{name}")
        layout = argparse.RawDescriptionHelpFormatter
        own = names.add_parser(name, help=_first_line(module), description=module.__doc__, formatter_class=layout)
        module.add_options(own)
        own.set_defaults(run=module.run)
    return top


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").partition("\n")[0].rstrip(".")


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    # However it is told to stop, what it has built is taken down: the signal becomes an exception, and `with` does the rest.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    sys.exit(main(sys.argv[1:]))
