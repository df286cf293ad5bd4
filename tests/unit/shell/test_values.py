from __future__ import annotations

import pytest

from minicdn.values import (
    format_duration,
    format_rate,
    format_size,
    parse_base_url,
    parse_count,
    parse_duration,
    parse_node_url,
    parse_port,
    parse_rate,
    parse_size,
    parse_switch,
)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("256MiB", 256 << 20), ("256M", 256 << 20), ("256mi", 256 << 20), ("4MB", 4_000_000), ("1.5G", 3 << 29), ("1048576", 1 << 20),
        ("0", 0), ("12 KiB", 12 << 10), ("7B", 7), ("2TiB", 2 << 40), (" 1k ", 1024),
    ],
)  # fmt: skip
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.5", "1.5B", "1e6", "4 bananas", "1GiBi", "0x10", "9" * 400, "99999999TiB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError):
        parse_size(text)


@pytest.mark.parametrize("size_bytes", [0, 1, 1023, 1024, 1 << 20, 3 << 29, 20 << 30, 1_000_000])
def test_a_size_written_is_a_size_read(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes)) == size_bytes


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10MB/s", 10_000_000), ("80Mbit/s", 10_000_000), ("80Mbps", 10_000_000), ("1MiB/s", 1 << 20), ("1M", 1 << 20),
        ("8Mibit/s", 1 << 20),
        ("1048576", 1 << 20), ("5000B/s", 5000), ("8000bps", 1000), ("1.5 GB/s", 1_500_000_000), ("100kB", 100_000), ("0", 0), ("None", 0),
    ],
)  # fmt: skip
def test_rates(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "-1", "10Mb/s", "10mb", "10MB/m", "1e6", "999", "10", "1bps", "9" * 400])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match=r"10MB/s|more than"):
        parse_rate(text)


@pytest.mark.parametrize("rate", [0, 1000, 1024, 12_345, 10_000_000, 1 << 20, 125_000_000, 10**12])
def test_a_rate_written_is_a_rate_read(rate: int) -> None:
    assert parse_rate(format_rate(rate)) == rate


@pytest.mark.parametrize(
    ("text", "seconds"), [("15s", 15), ("5m", 300), ("1h", 3600), ("0.5", 0.5), ("7d", 604800), ("250ms", 0.25), ("0", 0), ("2 H", 7200)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-5s", "5x", "inf", "nan", "1h30m", "400d", "1e9"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0, 59.0, 60.0, 90.0, 300.0, 3600.0, 604800.0])
def test_a_duration_written_is_a_duration_read(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "-1", "65536", "http", "1.0", "¹", "000011000"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(ValueError):
        parse_port(text)


def test_ports_and_counts() -> None:
    assert parse_port("0") == 0
    assert parse_port("65535") == 65535
    assert parse_count("64") == 64
    for text in ("", "-1", "6.4", "9999999999", "many"):
        with pytest.raises(ValueError):
            parse_count(text)


def test_switches() -> None:
    assert [parse_switch(text) for text in ("on", "Yes", "1", "TRUE")] == [True] * 4
    assert [parse_switch(text) for text in ("off", "no", "0", "False")] == [False] * 4
    with pytest.raises(ValueError):
        parse_switch("maybe")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://files.example.com", "http://files.example.com"),
        ("https://files.example.com/", "https://files.example.com"),
        ("http://10.0.0.5:8080/pub/", "http://10.0.0.5:8080/pub"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://example.com/a%20b", "http://example.com/a%20b"),
    ],
)
def test_upstream_urls(text: str, url: str) -> None:
    assert parse_base_url(text) == url


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("files.example.com", "http://files.example.com"),
        ("localhost:8080", "no scheme"),
        ("ftp://files.example.com", "http:// or https://"),
        ("http://", "no host"),
        ("http:///pub", "no host"),
        ("http://host:99999", "not a URL"),
        ("http://host:0", "port"),
        ("http://host:abc", "not a URL"),
        ("http://[::1", "not a URL"),
        ("http://host/?a=1", "query"),
        ("http://host/#top", "fragment"),
        ("http://host/?", "query"),
        ("http://ho st/", "percent-encode"),
        ("http://host\\path", "backslash"),
        ("http://höst/", "punycode"),
        ("", "no scheme"),
    ],
)
def test_what_is_no_upstream_says_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match="(?s).*" + advice.replace("?", r"\?")):
        parse_base_url(text)


@pytest.mark.parametrize("text", ["http://me:secret@host/", "http://me:secret@host:99999", "http://me:secret@"])
def test_a_password_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_base_url(text)
    assert "secret" not in str(caught.value)


def test_a_node_is_named_without_a_path() -> None:
    assert parse_node_url("http://Manager:11000/") == "http://manager:11000"
    with pytest.raises(ValueError, match="path"):
        parse_node_url("http://manager:11000/pub")
