"""Values that are not frozen by force are the same values."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from minicdn.core.value import frozen_class, value_class


def _made(decorator: Callable[[type], type]) -> type:
    class Pair:
        first: int
        second: Any = ()

    return decorator(Pair)


LOOSE, FIRM = _made(value_class), _made(frozen_class)


@pytest.mark.parametrize("kind", [LOOSE, FIRM], ids=["as it is shipped", "frozen"])
def test_values_are_compared_and_hashed_by_their_fields(kind: type) -> None:
    assert kind(1) == kind(1, ()) != kind(1, (2,))
    assert hash(kind(1)) == hash(kind(1, ())) and len({kind(1), kind(1), kind(2)}) == 2
    assert repr(kind(1, (2,))).endswith("Pair(first=1, second=(2,))")
    assert dataclasses.replace(kind(1), second=(3,)) == kind(1, (3,))
    assert not hasattr(kind(1), "__dict__")
    with pytest.raises(TypeError):
        hash(kind(1, [2]))


def test_both_hash_alike() -> None:
    assert hash(LOOSE(1, (2,))) == hash(FIRM(1, (2,)))


def test_the_frozen_ones_refuse_to_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        FIRM(1).first = 2


@pytest.mark.parametrize(("setting", "refuses"), [("", False), ("1", True)])
def test_the_environment_of_a_test_run_says_which(setting: str, refuses: bool) -> None:
    text = "import tests, minicdn.core.message as message; message.Head(200).status = 1"
    ran = subprocess.run([sys.executable, "-c", text], env={**os.environ, "MINICDN_FROZEN": setting}, capture_output=True, text=True)
    assert ("FrozenInstanceError" in ran.stderr) is refuses, ran.stderr
    assert (ran.returncode != 0) is refuses
