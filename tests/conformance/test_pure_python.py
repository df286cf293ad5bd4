"""The same rows without httptools and uvloop: h11 and asyncio's own loop stand in (pure.py says what they lack)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.kit.program import environment

HERE = Path(__file__).parent
FILES = [str(HERE / name) for name in ("test_rows.py", "test_bad_input.py")]


def test_a_node_in_pure_python_answers_alike() -> None:
    command = [sys.executable, "-P", "-m", "tests.conformance.pure", "-q", "-p", "no:cacheprovider", "-k", "not behind", *FILES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, cwd=HERE.parents[1], env=environment(), check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    found = re.search(r"(\d+) passed", done.stdout)
    assert found is not None and int(found[1]) > 600, done.stdout[-500:]
