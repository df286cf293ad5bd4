from __future__ import annotations

from pathlib import Path

import pytest

from minicdn.config import find_file, read_file, resolve
from minicdn.errors import UsageError
from minicdn.options import MANAGER, OPTIONS, PEER, options_of
from minicdn.settings import MIB, Settings

UP = {"upstream": "http://up.example"}
MAN = {"manager": "http://manager:11000"}
TOKEN = "correct-horse-battery"


def written(folder: Path, text: str) -> Path:
    path = folder / "minicdn.toml"
    path.write_text(text)
    return path


def test_flag_before_environment_before_file_before_default(tmp_path: Path) -> None:
    file = read_file(written(tmp_path, '[manager]\nmemory = "3MiB"\nsmall = "1KiB"'))
    environ = {"MINICDN_MEMORY": "2MiB"}
    assert resolve("manager", {**UP, "memory": "1MiB", "small": "1KiB"}, environ, file).settings.memory_bytes == MIB
    assert resolve("manager", UP, environ, file).settings.memory_bytes == 2 * MIB
    assert resolve("manager", UP, {}, file).settings.memory_bytes == 3 * MIB
    assert resolve("manager", UP, {}, {}).settings.memory_bytes == Settings().memory_bytes


def test_an_empty_variable_is_no_variable() -> None:
    assert resolve("manager", UP, {"MINICDN_PORT": ""}, {}).settings.port == 11000


def test_a_section_goes_before_the_shared_part_and_leaves_the_other_role_alone(tmp_path: Path) -> None:
    file = read_file(written(tmp_path, 'disk = "1GiB"\nport = 9000\n[peer]\ndisk = "2GiB"'))
    assert resolve("peer", MAN, {}, file).settings.disk_bytes == 2 << 30
    assert resolve("manager", UP, {}, file).settings.disk_bytes == 1 << 30
    assert resolve("peer", MAN, {}, file).settings.port == 9000


def test_the_defaults_are_those_of_settings() -> None:
    assert resolve("manager", UP, {}, {}).settings == Settings(role="manager", upstream="http://up.example")
    assert resolve("peer", MAN, {}, {}).settings == Settings(role="peer", manager="http://manager:11000", port=11001)


def test_given_says_what_was_given_anywhere(tmp_path: Path) -> None:
    file = read_file(written(tmp_path, "[peer]\ndrain = 5"))
    assert resolve("peer", MAN, {"MINICDN_PORT": "0"}, file).given == {"manager", "port", "drain"}
    assert "port" not in resolve("peer", MAN, {}, {}).given


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_can_be_given_in_all_three_places(option, tmp_path: Path) -> None:
    role = option.roles[0]
    text, toml = {
        "RULES": ("/a/*=77s", '"/a/*=77s"'), "NAMES": ("one,two", '"one,two"'),
        "URL": ("http://one.example", '"http://one.example"'), "PORT": ("77", "77"), "SIZE": ("77MiB", '"77MiB"'),
        "RATE": ("77MB/s", '"77MB/s"'),
        "TIME": ("77s", "77"), "N": ("77", "77"), "on|off": ("off", "false"),
        "TOKEN": (TOKEN, f'"{TOKEN}"'), "SHA256": ("sha256:" + "ab" * 32, '"' + "AB:" * 31 + 'AB"'),
    }.get(option.kind.metavar, ("name", '"name"'))  # fmt: skip
    if option.name == "token-file":
        (tmp_path / "token").write_text(TOKEN + "\n")
        text, toml = str(tmp_path / "token"), f'"{tmp_path / "token"}"'
    others = {"window": "100h", "peer-timeout": "100h"}
    others |= {"tls-cert": {"tls-key": "key"}, "tls-key": {"tls-cert": "cert"}}.get(option.name, {})
    needed = {**(UP if role == "manager" else MAN), **others}
    needed.pop(option.name, None)
    if option.name == "fingerprint":
        needed["manager"] = "https://manager:11000"
    if option.name in ("renew", "upstream-timeout"):
        text, toml = "1s", "1"
    if option.default(role) is False:
        text, toml = "on", "true"
    file = read_file(written(tmp_path, f"[{role}]\n{option.name} = {toml}"))
    needed = {name: value for name, value in needed.items() if role in next(o.roles for o in OPTIONS if o.name == name)}
    by_flag = getattr(resolve(role, {**needed, option.name: text}, {}, {}).settings, option.setting)
    by_environment = getattr(resolve(role, needed, {option.env: text}, {}).settings, option.setting)
    by_file = getattr(resolve(role, needed, {}, file).settings, option.setting)
    assert by_flag == by_environment == by_file != option.default(role)


def test_every_setting_has_its_option_and_no_option_fills_two() -> None:
    filled = [option.setting for option in OPTIONS]
    assert sorted([*filled, "role"]) == sorted(Settings.__dataclass_fields__)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("memroy = 1", ["memroy", "unknown key"]),
        ("[manger]\nport = 1", ["manger", "unknown key"]),
        ("[manager]\nmanager = 'http://x'", ["'manager'", "[peer]"]),
        ("upstream = 'http://x'", ["'upstream'", "[manager]"]),
        ("manager = 'http://x'", ["'manager'", "[peer]"]),
        ("port = '11000'", ["port", "wrong type"]),
        ("port = true", ["port", "wrong type"]),
        ("[manager]\nheuristic = 'on'", ["[manager] heuristic", "true"]),
        ("[manager]\nheuristic = 1", ["[manager] heuristic", "true"]),
        ("memory = 1.5", ["memory", "256MiB"]),
        ("memory = []", ["memory", "wrong type"]),
        ("disk = '12 bananas'", ["disk", "bananas"]),
        ("drain = -1", ["drain", "-1"]),
        ("memory = 0", ["memory", "more than 0"]),
        ("port = = 1", ["not a TOML file"]),
    ],
)
def test_a_mistake_in_the_file_names_file_and_key(text: str, words: list[str], tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_file(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "minicdn.toml"
    path.write_bytes(b"port = \xff")
    with pytest.raises(UsageError, match="not a TOML file"):
        read_file(path)


def test_the_named_file_must_be_there_and_the_usual_one_may_be_missing(tmp_path: Path) -> None:
    assert find_file(None, {}, tmp_path) is None
    path = written(tmp_path, "")
    assert find_file(None, {}, tmp_path) == path
    other = tmp_path / "other.toml"
    assert find_file(None, {"MINICDN_CONFIG": str(other)}, tmp_path) == other
    assert find_file("flag.toml", {"MINICDN_CONFIG": str(other)}, tmp_path) == Path("flag.toml")
    with pytest.raises(UsageError, match="--config"):
        read_file(other)


def test_underscores_are_dashes(tmp_path: Path) -> None:
    assert read_file(written(tmp_path, "cache_dir = '~/x'"))["cache-dir"] == Path("~/x").expanduser()


@pytest.mark.parametrize(
    ("role", "flags", "word"),
    [
        ("manager", {}, "--upstream"),
        ("peer", {}, "--manager"),
        ("manager", {**UP, "memory": "1MiB"}, "--small"),
        ("manager", {**UP, "window": "2s"}, "--window"),
        ("peer", {**MAN, "upstream-timeout": "80s"}, "--peer-timeout"),
        ("peer", {**MAN, "memory": "lots"}, "--memory: 'lots'"),
        ("manager", {**UP, "renew": "0"}, "--renew: must be more than 0"),
        ("manager", {**UP, "tls-cert": "cert.pem"}, "--tls-key"),
        ("peer", {**MAN, "fingerprint": "ab" * 32}, "https://"),
        ("peer", {**MAN, "fingerprint": "abc"}, "sha256:"),
        ("manager", {**UP, "token": "short"}, "16 or more"),
        ("manager", {**UP, "token-file": "/there/is/none"}, "can't be read"),
        ("manager", {**UP, "token-file": "/dev/null"}, "16 or more"),
        ("manager", {**UP, "token-file": "/dev/null", "token": TOKEN}, "leave one of them out"),
    ],
)
def test_what_cannot_work_is_refused(role: str, flags: dict[str, str | None], word: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(role, flags, {}, {})
    assert word in str(caught.value)


def test_an_environment_mistake_names_the_variable() -> None:
    with pytest.raises(UsageError, match="MINICDN_DISK: 'much'"):
        resolve("manager", UP, {"MINICDN_DISK": "much"}, {})


def test_what_the_cluster_must_agree_on_is_the_managers_alone() -> None:
    from minicdn.wire.messages import SharedSettings

    shared = set(SharedSettings.__dataclass_fields__) - {"version"}
    assert {option.setting for option in OPTIONS if option.roles == MANAGER} >= shared
    assert not shared & {option.setting for option in options_of("peer")}
    assert [option.name for option in OPTIONS if option.roles == PEER] == ["manager", "back-to-source", "fingerprint", "workers"]


def test_the_token_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(TOKEN.encode() + b"\r\n# the day of the crowd\n")
    assert resolve("manager", {**UP, "token-file": str(path)}, {}, {}).settings.token == TOKEN


@pytest.mark.parametrize("token", ["schl\u00fcssel-f\u00fcr-alle-hier", "two words are not one token", "tooshort"])
def test_a_token_that_will_not_do_is_refused_without_being_shown(token: str, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(token)
    for flags in ({"token": token}, {"token-file": str(path)}):
        with pytest.raises(UsageError) as caught:
            resolve("manager", {**UP, **flags}, {}, {})
        assert token not in str(caught.value)


def test_a_token_of_the_wrong_type_is_not_shown_either(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_file(written(tmp_path, "token = 12345678901234567890"))
    assert "12345678901234567890" not in str(caught.value)


def test_settings_that_are_printed_do_not_show_the_token() -> None:
    assert TOKEN not in repr(resolve("manager", {**UP, "token": TOKEN}, {}, {}))
