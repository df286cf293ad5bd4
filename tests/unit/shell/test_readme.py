"""The README is tested: what can be typed, asked or counted stands in it, and nothing that is gone does."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from minicdn import errors
from minicdn.cli import UNEXPECTED_EXIT_CODE, cli
from minicdn.console import DEBUG_ENV
from minicdn.core.counters import COUNTERS, GAUGES
from minicdn.core.metrics import OTHERS
from minicdn.options import BOTH, OPTIONS

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text("utf-8")
ROWS = [line for line in README.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_each_option_has_its_row(option) -> None:
    [row] = [row for row in ROWS if row.startswith((f"| `--{option.name} ", f"| `--{option.name}`"))]
    assert f"`{option.env}`" in row
    assert ("both" if option.roles == BOTH else option.roles[0]) in row
    assert row.endswith(f"| {option.help} |")
    for role in option.roles:
        if option.name != "cache-dir":
            assert option.default_text(role) in row


def test_no_row_for_an_option_that_is_gone() -> None:
    named = {match[1] for row in ROWS if (match := re.match(r"\| `--([a-z-]+)", row))}
    assert named == {option.name for option in OPTIONS}


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_each_flag_and_command_is_named(command: str) -> None:
    assert f"minicdn {command}" in README
    for parameter in cli.commands[command].params:
        for flag in [*parameter.opts, *parameter.secondary_opts]:
            assert not flag.startswith("-") or f"`{flag}" in README, flag


MEANINGS = {**COUNTERS, **GAUGES, **OTHERS}


@pytest.mark.parametrize("name", sorted(MEANINGS))
def test_each_counter_gauge_and_metric_has_its_row(name: str) -> None:
    assert f"| `{name}` | {MEANINGS[name]} |" in ROWS


def test_no_row_for_a_number_that_is_gone() -> None:
    named = {match[1] for row in ROWS if (match := re.match(r"\| `([a-z0-9_]+)` \|", row))}
    assert named == set(MEANINGS)


def test_each_number_of_stats_is_named(tmp_path: Path) -> None:
    from minicdn.roles.peer import Peer
    from minicdn.settings import Settings

    peer = Peer(Settings(role="peer", manager="http://manager:11000", cache_dir=tmp_path))
    peer.connections_count = lambda: 0
    for name in peer.stats():
        assert f"`{name}`" in README, name


def test_each_exit_code_has_its_row() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.OperatorError)]
    codes = {0, errors.COLD_EXIT_CODE, UNEXPECTED_EXIT_CODE, *(kind.exit_code for kind in kinds)}
    table = README.split("## Exit codes")[1].split("##")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == codes


def test_each_endpoint_is_named() -> None:
    from minicdn.roles.manager import Manager
    from minicdn.settings import Settings
    from minicdn.web.control import control_app

    app = control_app(Manager(Settings(upstream="http://up.example")))
    for route in app.routes:
        if not route.path.startswith("/_rpc/"):
            method = "GET" if "GET" in route.methods else "POST"
            assert f"`{method} {route.path}`" in README
    assert "/_rpc/" in README


def test_each_request_header_of_ours_and_each_variable_is_named() -> None:
    source = "".join((ROOT / "minicdn" / "web" / name).read_text("utf-8") for name in ("content.py", "purge.py"))
    for name in set(re.findall(r'b"x-minicdn-[a-z-]+\w"', source)):
        assert f"`{name[2:-1].title()}" in README, name
    for name in ("MINICDN_CONFIG", DEBUG_ENV):
        assert name in README


def test_the_two_commands_are_there() -> None:
    assert "./scripts/minicdn manager --upstream" in README
    assert "./scripts/test" in README
