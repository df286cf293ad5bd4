"""The words: one meaning each, and the ones that are not used. And that nothing of the machine it was made on is in the tree."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "minicdn").rglob("*.py"))

NOT_USED = {
    "master": "manager",
    "slave": "peer",
    "worker": "node, or peer",
    "backend": "upstream, or origin",
    "blob": "body, or piece",
    "job": "fill",
    "whitelist": "allowed",
    "blacklist": "set aside",
}
"""Word: what is said instead."""
MEANT = {"worker": {"workers.py", "supervisor.py", "settings.py"}}
"""Where one is the thing itself: a process of several behind one port (docs/adr/0009-workers.md), which is a node, too."""


def names_of(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that the file gives: modules, classes, functions, arguments, variables, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def words_in(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def found_in(text: str) -> set[str]:
    return {word for word in re.findall(r"[a-z]+", text.lower()) if word.removesuffix("s") in NOT_USED}


@pytest.mark.parametrize("path", FILES, ids=[path.relative_to(ROOT).as_posix() for path in FILES])
def test_names_use_the_words_of_the_house(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    for name, line in [*names_of(tree), (path.stem, 1)]:
        for word in words_in(name):
            plain = word.removesuffix("s")
            is_fine = plain not in NOT_USED or path.name in MEANT.get(plain, ())
            assert is_fine, f"{path.name}:{line} {name}: say {NOT_USED[plain]}"


UNITS = ("_per_second", "_seconds", "_bytes", "_count", "_max", "_at")


@pytest.mark.parametrize("path", [ROOT / "minicdn/settings.py"], ids=["settings"])
def test_settings_carry_their_units(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    settings = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    without_unit = {"port", "log_files_kept"}
    for node in settings.body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) in ("int", "float"):
            name = ast.unparse(node.target)
            assert name.endswith(UNITS) or name in without_unit, f"{name}: in which unit?"


def tracked_files() -> list[Path]:
    ran = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if ran.returncode:
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in ran.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


MACHINE = re.compile(r"/home/[a-z]\w*/|/Users/[A-Za-z]\w*/|/(?:work|root)/[a-z]|C:\\\\Users\\\\")
REGISTRY = re.compile(r"pyp[i]\.org|pythonh[o]sted|registry\.npmj[s]|deb\.debi[a]n\.org|docker\.i[o]\b|ghcr\.i[o]\b")


def test_no_machine_path_and_no_registry_host_is_in_the_tree() -> None:
    for path in tracked_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        for pattern in (MACHINE, REGISTRY):
            found = pattern.search(text)
            where = path.relative_to(ROOT)
            assert not found, f"{where}: {found[0] if found else ''}"
