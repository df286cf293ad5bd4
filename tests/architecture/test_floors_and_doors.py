"""The rooms of the house: who may import whom, which room holds which dependency, and that nothing is shared between nodes.

Read from the source itself, so that a slip shows in the commit that makes it.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "minicdn"

FLOORS = {
    "core": 0,
    "store": 1,
    "wire": 1,
    "node": 2,
    "roles": 3,
    "get": 3,
    "bench": 3,
    "doctor": 3,
    "web": 4,
}
"""Height of each room; a room imports from rooms below it and from itself."""

ONLY_ON = {"get": {"core", "wire"}, "bench": {"core", "wire"}, "doctor": {"core", "wire", "store"}}
"""Rooms that stand on fewer than all that is below them: a client keeps nothing and is no node."""

GROUND = {"errors", "settings", "__init__"}
"""Modules on top of which everything stands: any room may import them."""
TOP = 5
"""Every other module of the package's own folder belongs to the command line, above all rooms."""
KIT_THAT_SHIPS = "testing"

DOORS = {
    "httpx": {"wire"},
    "aiohttp": {"wire"},
    "starlette": {"web"},
    "uvicorn": {"top", "web/protocol.py", "web/httptools_protocol.py", "web/h11_protocol.py"},
    "certifi": {"wire"},
    "httptools": {"web/httptools_protocol.py", "wire/connection.py"},
    "h11": {"web/protocol.py", "web/h11_protocol.py"},
    "uvloop": {"top"},
    "click": {"top"},
    "platformdirs": {"top"},
    "msgpack": {"wire/codec.py", "store"},
    "cachetools": {"store", "node", "core"},
    "cryptography": {"certificates.py"},
}
"""The only places where a dependency may be imported: a room, a file, or `top` for the command line's modules."""

NOT_IN_CORE = {
    "asyncio", "threading", "multiprocessing", "concurrent", "subprocess", "time", "random", "secrets", "os", "io", "pathlib", "shutil",
    "tempfile", "socket", "ssl", "select", "selectors", "logging", "signal", "anyio", "uuid",
}  # fmt: skip
"""Clock, chance, files, sockets, threads: the pure floor gets them as arguments or not at all."""


@cache
def parsed(path: Path) -> ast.Module:
    """Once, for all the rules."""
    return ast.parse(path.read_text("utf-8"), str(path))


@dataclass(frozen=True)
class Module:
    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(PACKAGE).as_posix()

    @property
    def room(self) -> str:
        """A room's name, `ground`, or `top`."""
        parts = self.path.relative_to(PACKAGE).parts
        if len(parts) > 1:
            return parts[0]
        return "ground" if self.path.stem in GROUND else "top"

    @property
    def tree(self) -> ast.Module:
        return parsed(self.path)

    def imports(self, *, with_types_only: bool = False) -> Iterator[tuple[str, int, str | None]]:
        """(module, line, imported name or None). What is imported for type checkers alone is left out: it does not run."""
        skipped = set()
        for node in ast.walk(self.tree):
            if not with_types_only and isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                skipped |= {id(child) for child in ast.walk(node)}
            if id(node) in skipped:
                continue
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno, None) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name}:{node.lineno}: relative import; rooms are named in full"
                yield from ((node.module or "", node.lineno, alias.name) for alias in node.names)


MODULES = [Module(path) for path in sorted(PACKAGE.rglob("*.py"))]
modules = pytest.mark.parametrize("module", MODULES, ids=[module.name for module in MODULES])


def height(room: str) -> int:
    return -1 if room == "ground" else TOP if room == "top" else FLOORS[room]


def room_of(imported: str, name: str | None) -> str:
    """The room of `minicdn.x.y`, or of `from minicdn import x`."""
    parts = imported.split(".")
    second = parts[1] if len(parts) > 1 else (name or "__init__")
    if second in FLOORS or second == KIT_THAT_SHIPS:
        return second
    return "ground" if second in GROUND or not (PACKAGE / f"{second}.py").exists() else "top"


@modules
def test_every_module_stands_in_a_known_room(module: Module) -> None:
    assert module.room in {*FLOORS, "ground", "top", KIT_THAT_SHIPS}


@modules
def test_imports_go_down_only(module: Module) -> None:
    if module.room == KIT_THAT_SHIPS:
        return
    for imported, line, name in module.imports():
        if imported.split(".")[0] != "minicdn":
            continue
        room = room_of(imported, name)
        assert room != KIT_THAT_SHIPS, f"{module.name}:{line} imports the kit for tests"
        if room == module.room:
            continue
        assert height(room) < height(module.room), f"{module.name}:{line} imports {imported}, which is not below it"
        only = ONLY_ON.get(module.room)
        assert only is None or room in {*only, "ground"}, f"{module.name}:{line} imports {imported}; it stands on {sorted(only)} alone"


def test_the_rule_would_notice_an_upward_import() -> None:
    assert height(room_of("minicdn.web.status", None)) > height("core")
    assert height(room_of("minicdn", "cli")) == TOP
    assert height("store") == height("wire"), "neither is below the other: they never meet"


@modules
def test_one_door_for_each_dependency(module: Module) -> None:
    for imported, line, _ in module.imports():
        package = imported.split(".")[0]
        if package == "uvicorn" and module.room == "web":
            assert imported.startswith("uvicorn.protocols"), f"{module.name}:{line}: the protocols only"
        allowed = DOORS.get(package)
        if allowed is not None and module.room != KIT_THAT_SHIPS:
            assert {module.room, module.name} & allowed, f"{module.name}:{line} imports {package}; its door is {sorted(allowed)}"


@modules
def test_no_dependency_comes_in_unannounced(module: Module) -> None:
    known = {*DOORS, *sys.stdlib_module_names, "minicdn"}
    for imported, line, _ in module.imports(with_types_only=True):
        assert imported.split(".")[0] in known, f"{module.name}:{line} imports {imported}: give it a door here and a line in pyproject.toml"


def test_every_door_leads_to_something_that_is_installed() -> None:
    """What is imported stands in pyproject.toml; h11 is what uvicorn brings along, and is used only through it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    listed = {re.split(r"[^\w.-]", line)[0].lower() for group in groups for line in group} | {"h11"}
    imported = {name.split(".")[0] for module in MODULES for name, _, _ in module.imports()}
    assert (imported & set(DOORS)) - listed == set()


@modules
def test_core_is_pure(module: Module) -> None:
    if module.room != "core":
        return
    for imported, line, name in module.imports():
        package = imported.split(".")[0]
        # random.Random as the type of an argument `rng` is a door, not a source of chance.
        is_type_of_rng = package == "random" and name == "Random"
        if package == "random" and name is None:
            calls = re.findall(r"\brandom\.(\w+)", module.path.read_text("utf-8"))
            is_type_of_rng = set(calls) <= {"Random"} and not re.search(r"\brandom\.Random\(", module.path.read_text("utf-8"))
        assert package not in NOT_IN_CORE or is_type_of_rng, f"{module.name}:{line} imports {imported}"
    for node in ast.walk(module.tree):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), f"{module.name}:{node.lineno}: core never waits"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "print", "input"), f"{module.name}:{node.lineno} calls {node.func.id}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("datetime", "date"):
            assert node.attr not in ("now", "utcnow", "today"), f"{module.name}:{node.lineno} asks the clock"


CHANGING = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
CHANGING_CALLS = {"list", "dict", "set", "bytearray", "defaultdict", "deque", "OrderedDict", "Counter", "LRUCache", "TTLCache", "count"}
CHANGING_METHODS = {"append", "add", "update", "pop", "clear", "setdefault", "extend", "insert", "remove", "discard", "popitem"}


def top_statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Those that run on import, inside `if` and `try` too."""
    queue: list[ast.stmt] = list(tree.body)
    while queue:
        statement = queue.pop(0)
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            queue += [child for child in ast.walk(statement) if isinstance(child, ast.Assign | ast.AnnAssign)]


@modules
def test_no_state_at_module_level(module: Module) -> None:
    """Two nodes always fit in one process. A table is fine while its name says constant and nobody changes it."""
    tree = module.tree
    tables: dict[str, int] = {}
    for statement in top_statements(tree):
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        value = statement.value
        called = value.func if isinstance(value, ast.Call) else None
        name_called = getattr(called, "id", getattr(called, "attr", None))
        if not (isinstance(value, CHANGING) or name_called in CHANGING_CALLS):
            continue
        for target in targets:
            name = ast.unparse(target)
            is_constant = name.strip("_").isupper() or (name.startswith("__") and name.endswith("__"))
            assert is_constant, f"{module.name}:{statement.lineno}: {name} can change and is shared by all nodes of the process"
            tables[name] = statement.lineno
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Global), f"{module.name}:{node.lineno}: global"
        for name in changed_by(node):
            assert name not in tables, f"{module.name}:{node.lineno} changes the module's {name}"


def changed_by(node: ast.AST) -> Iterator[str]:
    """Names whose value this statement changes in place."""
    called = node.func if isinstance(node, ast.Call) else None
    if isinstance(called, ast.Attribute) and called.attr in CHANGING_METHODS and isinstance(called.value, ast.Name):
        yield called.value.id
    if isinstance(node, ast.Assign | ast.AugAssign | ast.Delete):
        targets = [node.target] if isinstance(node, ast.AugAssign) else node.targets
        yield from (t.value.id for t in targets if isinstance(t, ast.Subscript) and isinstance(t.value, ast.Name))


@modules
def test_caches_of_functions_are_not_shared_state_in_disguise(module: Module) -> None:
    """functools.cache on a module's function lives as long as the process and has no bound."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                text = ast.unparse(decorator)
                assert not re.fullmatch(r"(functools\.)?cache|(functools\.)?lru_cache\(maxsize=None\)", text), (
                    f"{module.name}:{node.lineno}: {text}"
                )


@modules
def test_tasks_are_kept(module: Module) -> None:
    """A task that nobody holds may be collected while it runs, and its error is lost."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            name = ast.unparse(node.value.func)
            is_lost = name.endswith(("create_task", "ensure_future")) and not re.search(r"(group|tasks|tg)\w*\.create_task$", name)
            assert not is_lost, f"{module.name}:{node.lineno}: {name} and nobody keeps the task"


@modules
def test_every_file_opens_with_its_theory(module: Module) -> None:
    if module.path.name in ("__init__.py", "__main__.py"):
        return
    assert ast.get_docstring(module.tree), f"{module.name} has no docstring"


@modules
def test_no_file_becomes_the_hub(module: Module) -> None:
    lines = len(module.path.read_text("utf-8").splitlines())
    assert lines <= 400, f"{module.name} has {lines} lines: which two things is it?"
