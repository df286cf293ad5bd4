"""docs/security.md claims nothing that no test holds, and the tests that it names are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/security.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"(tests/[\w/]+\.py)::(\w+)", PAGE)))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_each_test_that_is_named_is_there(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


HEADINGS = [
    "## Without the token nobody can",
    "## No request can",
    "## Somebody who wants a node to be busy can't",
    "## A peer that turned bad can't",
]


@pytest.mark.parametrize("heading", HEADINGS)
def test_each_claim_names_its_test(heading: str) -> None:
    section = PAGE.split(heading)[1].split("\n## ")[0]
    claims = re.findall(r"^\* .*(?:\n  .*)*", section, re.MULTILINE)
    assert claims
    for claim in claims:
        assert "::test_" in claim, claim


def test_each_test_among_processes_holds_a_claim() -> None:
    tree = ast.parse((ROOT / "tests/cluster/test_security.py").read_text("utf-8"))
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
    assert tests <= {name for _, name in NAMED}
