from __future__ import annotations

import pytest

from minicdn.hiding import take_token

TOKEN = "correct-horse-battery"


@pytest.mark.parametrize(
    ("words", "left", "token"),
    [
        (["python", "-m", "minicdn", "peer", "--token", TOKEN, "--port", "1"], ["python", "-m", "minicdn", "peer", "--port", "1"], TOKEN),
        (["minicdn", "peer", f"--token={TOKEN}"], ["minicdn", "peer"], TOKEN),
        (["minicdn", "peer", "--token", "first", "--token", "last"], ["minicdn", "peer"], "last"),
        (["minicdn", "peer", "--token-file", "FILE"], ["minicdn", "peer", "--token-file", "FILE"], None),
        (["minicdn", "peer", "--token"], ["minicdn", "peer", "--token"], None),
        (["minicdn", "get", "--", "--token", "file"], ["minicdn", "get", "--", "--token", "file"], None),
    ],
)
def test_the_token_leaves_the_command_line(words: list[str], left: list[str], token: str | None) -> None:
    assert take_token(words) == (left, token)
