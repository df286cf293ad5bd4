"""From flag, environment and file to Settings: the first that speaks wins, in that order, and the default speaks last.

The file is `minicdn.toml` in the current folder, or the one that --config or MINICDN_CONFIG names:

    memory = "1GiB"            # for both roles
    [manager]
    upstream = "https://files.example.com"
    [peer]
    manager = "http://192.168.1.5:11000"

The whole file is checked at every start, the other role's section included: a misspelt key is found on the day it is written.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from minicdn.errors import UsageError
from minicdn.options import BOTH, FOLDER, OPTIONS, SECRET, SWITCH, Option, options_of
from minicdn.settings import Settings
from minicdn.values import parse_duration, parse_fingerprint, parse_token

DEFAULT_FILE = "minicdn.toml"
CONFIG_ENV = "MINICDN_CONFIG"
_FILE_BYTES_MAX = 1 << 20
_TOKEN_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True)
class Resolved:
    settings: Settings
    given: frozenset[str]
    """Names of the options that somebody gave; the rest are defaults."""


def resolve(role: str, flags: Mapping[str, str | None], environ: Mapping[str, str], file: Mapping[str, object]) -> Resolved:
    """`flags`: option name to text or None. `file`: what read_file returned, or {}."""
    values: dict[str, object] = {"role": role}
    given = set()
    for option in options_of(role):
        found = _look_up(option, role, flags, environ, file)
        values[option.setting] = option.default(role) if found is None else found
        if found is not None:
            given.add(option.name)
    settings = _with_token(Settings(**values))  # type: ignore[arg-type]
    _check_together(settings)
    return Resolved(settings, frozenset(given))


def _look_up(option: Option, role: str, flags: Mapping[str, str | None], environ: Mapping[str, str], file: Mapping[str, object]) -> object:
    text = flags.get(option.name)
    if text is not None:
        return _parse(option, text, f"--{option.name}")
    if environ.get(option.env):  # an empty variable is the shell's way to unset one
        return _parse(option, environ[option.env], option.env)
    section = file.get(role)
    if isinstance(section, Mapping) and option.name in section:
        return section[option.name]
    return file.get(option.name) if option.roles == BOTH else None


def _with_token(settings: Settings) -> Settings:
    """With what the token's file says."""
    if settings.token_file is None:
        return settings
    if settings.token is not None:
        raise UsageError("--token and --token-file are both given; leave one of them out")
    return replace(settings, token=_read_token(settings.token_file))


def token_of(file: str | None, environ: Mapping[str, str]) -> str | None:
    """For a command that is no node: the flag's file, else the environment's, else its token, else none."""
    file = file or environ.get("MINICDN_TOKEN_FILE")
    if file:
        return _read_token(file)
    token = environ.get("MINICDN_TOKEN")
    try:
        return parse_token(token) if token else None
    except ValueError as error:
        raise UsageError(f"MINICDN_TOKEN: {error}") from None


def pin_of(text: str | None) -> str | None:
    """For a command that is no node: what --fingerprint says, in its one spelling."""
    try:
        return None if text is None else parse_fingerprint(text)
    except ValueError as error:
        raise UsageError(f"--fingerprint: {error}") from None


def timeout_of(text: str | None) -> float | None:
    """For a command that is no node: what --timeout says, in seconds; None: no bound."""
    try:
        seconds = None if text is None else parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from None
    if seconds == 0:
        raise UsageError("--timeout: leave it out for no bound")
    return seconds


def _read_token(name: str) -> str:
    try:
        with Path(name).expanduser().open("rb") as file:
            return parse_token(file.readline(_TOKEN_BYTES_MAX).decode())
    except OSError as error:
        raise UsageError(f"--token-file {name}: can't be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise UsageError(f"--token-file {name}: its first line is no text") from None
    except ValueError as error:
        raise UsageError(f"--token-file {name}: {error}") from None


def _parse(option: Option, text: str, where: str) -> object:
    try:
        value = option.kind.parse(text)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None
    if option.is_positive and not value:
        raise UsageError(f"{where}: must be more than 0")
    return Path(text).expanduser() if option.kind is FOLDER else value


def find_file(flag: str | None, environ: Mapping[str, str], folder: Path) -> Path | None:
    """The file to read: named ones must exist, the one in the current folder may be missing."""
    name = flag or environ.get(CONFIG_ENV)
    if name:
        return Path(name).expanduser()
    path = folder / DEFAULT_FILE
    return path if path.is_file() else None


def read_file(path: Path) -> dict[str, object]:
    """Checked values by option name; the sections `manager` and `peer` as dictionaries of the same."""
    try:
        with path.open("rb") as file:
            text = file.read(_FILE_BYTES_MAX)
        table = tomllib.loads(text.decode())
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror or error}); give another file with --config") from None
    except ValueError as error:  # TOML's error and UTF-8's
        raise UsageError(f"{path}: is not a TOML file: {_one_line(error)}") from None
    return _check_table(table, path, None)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _check_table(table: Mapping[str, object], path: Path, role: str | None) -> dict[str, object]:
    checked: dict[str, object] = {}
    for key, value in table.items():
        if role is None and key in BOTH and isinstance(value, Mapping):
            checked[key] = _check_table(value, path, key)
            continue
        option = _option_of(key, path, role)
        checked[option.name] = _check_value(option, value, f"{path}: {f'[{role}] ' if role else ''}{key}")
    return checked


def _option_of(key: str, path: Path, role: str | None) -> Option:
    name = key.replace("_", "-")
    option = next((option for option in OPTIONS if option.name == name), None)
    if option is None:
        raise UsageError(f"{path}: unknown key {key!r}; the keys are the long options' names, without the dashes in front")
    if role is None and option.roles != BOTH:
        raise UsageError(f"{path}: {key!r} belongs under [{option.roles[0]}]")
    if role is not None and role not in option.roles:
        raise UsageError(f"{path}: {key!r} is not an option of [{role}]; it belongs under [{option.roles[0]}]")
    return option


def _check_value(option: Option, value: object, where: str) -> object:
    # bool is an int to Python, and not to the person who wrote `port = true`.
    is_right = isinstance(value, option.kind.toml_types) and (option.kind is SWITCH or not isinstance(value, bool))
    if not is_right:
        shown = "it" if option.kind is SECRET else repr(value)
        raise UsageError(f"{where}: {shown} has the wrong type; write for example {option.kind.toml_example}")
    if option.kind is SWITCH:
        return value
    return _parse(option, str(value), where)


def _check_together(settings: Settings) -> None:
    """What each option allows alone and no node can live with together."""
    if settings.role == "manager" and settings.upstream is None:
        raise UsageError("the manager needs the site to serve: add --upstream URL, for example --upstream https://files.example.com")
    if settings.role == "peer" and settings.manager is None:
        raise UsageError("a peer needs its manager: add --manager URL, as the manager's start printed it")
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together; minicdn cert makes both")
    if settings.fingerprint is not None and not (settings.manager or "").startswith("https://"):
        raise UsageError("--fingerprint is for a manager that speaks TLS: write --manager https://…")
    if settings.role == "manager" and settings.small_bytes > settings.memory_bytes:
        raise UsageError("--small is more than --memory: a small file must fit; lower --small or raise --memory")
    if settings.window_seconds <= settings.renew_seconds:
        raise UsageError("--window must be longer than --renew, or every peer is out between two reports")
    if settings.peer_read_seconds <= settings.upstream_read_seconds:
        raise UsageError("--peer-timeout must be longer than --upstream-timeout, or owners are given up while they wait for the upstream")
