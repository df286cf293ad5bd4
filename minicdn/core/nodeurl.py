"""The URL of a node: one spelling for each, so that two peers behind one URL are seen to be two."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

URL_LENGTH_MAX = 512


def parse_node_url(text: str) -> str:
    """The URL of a node in its one spelling: scheme and host in lower case, the port unless it is the scheme's, no slash at the end.

    ValueError with a reason where it is not an absolute http(s) URL of a host alone.
    """
    if len(text) > URL_LENGTH_MAX or not text.isascii() or any(char <= " " or char == "\x7f" for char in text):
        raise ValueError("a node's URL is short, ASCII, and has no spaces")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is not a URL such as http://host:11001")
    if parts.username is not None or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{text!r} has more than scheme, host and port")
    if parts.port == 0:
        raise ValueError(f"{text!r} names port 0")
    return node_url(parts.scheme, parts.hostname, parts.port)


def node_url(scheme: str, host: str, port: int | None) -> str:
    """The one spelling, of its parts. host: in lower case, an IPv6 address without its brackets."""
    named = f"[{host}]" if ":" in host else host
    is_usual = port is None or port == {"http": 80, "https": 443}.get(scheme)
    return f"{scheme}://{named}" if is_usual else f"{scheme}://{named}:{port}"


def url_from_address(address: str, port: int, scheme: str = "http") -> str:
    """The URL of a node by the address it was seen from (an IPv6 address goes into brackets, an IPv4 one inside IPv6 comes out).

    ValueError where that address means something on one machine only.
    """
    found = ip_address(address)
    found = getattr(found, "ipv4_mapped", None) or found
    if getattr(found, "scope_id", None):
        raise ValueError(f"{address} is a link-local address, which others can't use")
    return parse_node_url(f"{scheme}://[{found}]:{port}" if found.version == 6 else f"{scheme}://{found}:{port}")


def is_loopback_url(url: str) -> bool:
    """Whether only programs on the same machine can reach this URL."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
