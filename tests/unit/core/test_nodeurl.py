from __future__ import annotations

import pytest

from minicdn.core.nodeurl import is_loopback_url, parse_node_url, url_from_address


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://10.0.0.5:11001", "http://10.0.0.5:11001"),
        ("HTTP://Laptop.Example:11001/", "http://laptop.example:11001"),
        ("http://a:80", "http://a"),
        ("https://a:443/", "https://a"),
        ("https://a:80", "https://a:80"),
        ("http://[2001:DB8::1]:11001", "http://[2001:db8::1]:11001"),
    ],
)
def test_each_url_has_one_spelling(text: str, url: str) -> None:
    assert parse_node_url(text) == url
    assert parse_node_url(url) == url


@pytest.mark.parametrize(
    "text",
    [
        "", "laptop", "laptop:11001", "ftp://a", "http://", "http://a/path", "http://a?x", "http://a#x", "http://u:p@a", "http://a:0",
        "http://a:99999", "http://a b", "http://a\r\nx: y", "http://ä", "http://" + "a" * 600, "http://[::1", "http://a:port",
    ],
)  # fmt: skip
def test_what_is_no_url_of_a_node_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError):
        parse_node_url(text)


def test_an_address_becomes_a_url() -> None:
    assert url_from_address("10.0.0.5", 11001) == "http://10.0.0.5:11001"
    assert url_from_address("2001:db8::1", 11001) == "http://[2001:db8::1]:11001"
    assert url_from_address("::ffff:10.0.0.5", 11001) == "http://10.0.0.5:11001"


@pytest.mark.parametrize("address", ["", "laptop", "fe80::1%eth0"])
def test_an_address_that_others_cannot_use_is_none(address: str) -> None:
    with pytest.raises(ValueError):
        url_from_address(address, 11001)


def test_loopback() -> None:
    assert is_loopback_url("http://127.0.1.1:11001")
    assert is_loopback_url("http://[::1]:11001")
    assert is_loopback_url("http://localhost")
    assert not is_loopback_url("http://10.0.0.5:11001")
    assert not is_loopback_url("http://laptop.example")
