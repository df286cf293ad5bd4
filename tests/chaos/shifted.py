"""minicdn on a machine whose clock jumps by as many seconds as the file SHIFT_FILE says, whenever that changes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from minicdn.__main__ import main
from minicdn.node.clock import Clock

LOOK_SECONDS = 0.05


class Shift:
    def __init__(self, file: Path) -> None:
        self._file, self._looked_at, self._seconds = file, 0.0, 0.0

    def seconds(self) -> float:
        now = time.monotonic()
        if now - self._looked_at > LOOK_SECONDS:
            self._looked_at = now
            self._seconds = float(self._file.read_text() or 0) if self._file.exists() else 0.0
        return self._seconds


shift = Shift(Path(os.environ["SHIFT_FILE"]))
Clock.wall = lambda self: time.time() + shift.seconds()  # type: ignore[method-assign]
main()
