"""The first lines that run. A start takes the signals over before it imports anything large: a Ctrl-C may come at any time."""

from __future__ import annotations

import gc
import sys
from typing import NoReturn

from minicdn.closing import Closing
from minicdn.errors import COLD_EXIT_CODE
from minicdn.hiding import hide_token

STARTS = ("manager", "peer")


def main() -> NoReturn:
    is_start = bool(sys.argv[1:2]) and sys.argv[1] in STARTS
    if is_start:
        hide_token()
    closing = Closing()
    if is_start:
        closing.listen()
        gc.disable()  # what is imported stays, and looking through it again and again is a tenth of a start (loops.settle_collector)
    try:
        from minicdn.cli import main as run

        run(closing)
    except KeyboardInterrupt:
        sys.exit(COLD_EXIT_CODE)


if __name__ == "__main__":
    main()
