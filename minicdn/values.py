"""What people write on a command line, as numbers and URLs, and back.

Every parser takes the text as it was typed and raises ValueError with a reason that completes "…: " in an error line, with
an example of what would have been right. Nothing here knows options, files or the network.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from minicdn.core.nodeurl import parse_node_url as parse_canonical_node_url
from minicdn.core.signing import TOKEN_LENGTH_MIN

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt])(i?)(b?)|(\d+)\s*b?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kKmMgGtT]?)(i?)(B|bit)?(?:/s)?|([kKmMgGtT]?)bps)")
_RATE_MIN = 1000
_SIZE_MAX = 1 << 60
_SECONDS_MAX = 366 * 86400.0
_COUNT_MAX = 1_000_000_000


def parse_size(text: str) -> int:
    """Bytes. `256MiB`, `256Mi` and `256M` count in 1024s, `256MB` in 1000s; no unit means bytes."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a size; write for example 256MiB, 4MB or 1.5G")
    number, letter, binary, byte, plain = match.groups()
    base = 1000 if byte and not binary else 1024
    size = float(plain) if plain else float(number) * base ** _POWERS[letter.lower()]
    if size > _SIZE_MAX:
        raise ValueError(f"{text!r} is more than this program can count")
    return int(size)


def parse_rate(text: str) -> int:
    """Bytes a second; 0 and `none`: no cap. `10MB/s` and `80Mbit/s` count in 1000s, `1MiB/s` and `1M` in 1024s; no unit means bytes."""
    if text.strip().lower() == "none":
        return 0
    match = _RATE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a rate; write for example 10MB/s, 80Mbit/s or none (Mb could be either)")
    number, letter, binary, unit, bits_letter = match.groups()
    is_bits = unit == "bit" or bits_letter is not None
    letter = (letter or bits_letter or "").lower()
    base = 1000 if (unit or is_bits) and not binary else 1024
    rate = float(number) * base ** _POWERS.get(letter, 0) / (8 if is_bits else 1)
    if rate > _SIZE_MAX:
        raise ValueError(f"{text!r} is more than this program can count")
    if 0 < rate < _RATE_MIN:
        raise ValueError(f"{text!r} is less than 1 KB in a second; write for example 10MB/s")
    return int(rate)


def parse_duration(text: str) -> float:
    """Seconds. `15s`, `5m`, `1h`, `7d`, `250ms`; a bare number is seconds."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a duration; write for example 15s, 5m, 1h or 0.5")
    seconds = float(match[1]) * _SECONDS[(match[2] or "s").lower()]
    if seconds > _SECONDS_MAX:
        raise ValueError(f"{text!r} is longer than a year")
    return seconds


def parse_names(text: str) -> tuple[str, ...]:
    """Names separated by commas; nothing is no name."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    bad = next((name for name in names if re.search(r"[\s&=?#]", name)), None)
    if bad is not None:
        raise ValueError(f"{bad!r} is not the name of a query parameter; write for example signature,expires")
    return names


def parse_lifetimes(text: str) -> tuple[tuple[str, float], ...]:
    """Pairs PATTERN=TIME separated by commas."""
    pairs = []
    for item in filter(None, (item.strip() for item in text.split(","))):
        pattern, equals, duration = item.rpartition("=")
        if not equals or not pattern.startswith(("/", "*")):
            raise ValueError(f"{item!r} is not a pattern and a time; write for example /pool/*=7d,*.html=60s")
        pairs.append((pattern, parse_duration(duration)))
    return tuple(pairs)


def parse_count(text: str) -> int:
    if not re.fullmatch(r"\d{1,10}", text.strip()) or int(text) > _COUNT_MAX:
        raise ValueError(f"{text!r} is not a whole number; write for example 64")
    return int(text)


def parse_port(text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text.strip()) or int(text) > 65535:
        raise ValueError(f"{text!r} is not a port; give a number from 0 (any free one) to 65535")
    return int(text)


def parse_switch(text: str) -> bool:
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"{text!r} is neither on nor off; write on or off")


def parse_text(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; give a value or leave it out")
    return text


def parse_base_url(text: str) -> str:
    """An absolute http(s) URL that paths are appended to; returned without a trailing slash."""
    url = text.strip()
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise ValueError(f"{url!r} has a blank, a control character or a backslash in it; percent-encode it")
    if not url.isascii():
        raise ValueError(f"{url!r} has letters that a URL can't hold; percent-encode the path, write the host in punycode")
    if "://" not in url:
        raise ValueError(f"{url!r} has no scheme; write for example http://{url or 'files.example.com'}")
    return _check_parts(url).rstrip("/")


def _check_parts(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{_without_credentials(url)!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{parts.scheme}:// is not spoken here; the URL begins with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError(f"{_without_credentials(url)!r} holds a name or password; leave them out")
    if not parts.hostname or port == 0:
        raise ValueError(
            f"{url!r} names no {'port that can be reached' if parts.hostname else 'host'}; write for example http://files.example.com:8080"
        )
    if "?" in url or "#" in url:
        raise ValueError(f"{url!r} has a query or a fragment; give the address up to the path")
    return url


def _without_credentials(url: str) -> str:
    """A password must not reach a terminal's scrollback or a log by way of an error message."""
    return re.sub(r"//[^/]*@", "//...@", url)


def parse_node_url(text: str) -> str:
    """A manager's or a peer's address: a base URL without a path, since both speak at their root."""
    url = parse_base_url(text)
    if urlsplit(url).path:
        raise ValueError(f"{url!r} has a path; a manager or peer is named by its address alone, for example http://192.168.1.5:11000")
    return parse_canonical_node_url(url)


def format_size(size_bytes: int) -> str:
    """The shortest exact writing that parse_size reads back: 268435456 is `256MiB`."""
    for letter, power in (("T", 4), ("G", 3), ("M", 2), ("K", 1)):
        unit = 1024**power
        if size_bytes and size_bytes % unit == 0:
            return f"{size_bytes // unit}{letter}iB"
    return str(size_bytes)


def format_rate(rate: int) -> str:
    """The shortest exact writing that parse_rate reads back: 10000000 is `10MB/s`, 0 is `none`."""
    if not rate:
        return "none"
    for letter, power in (("T", 4), ("G", 3), ("M", 2), ("K", 1)):
        for base, word in ((1000, "B/s"), (1024, "iB/s")):
            if rate % base**power == 0:
                return f"{rate // base**power}{letter}{word}"
    return f"{rate}B/s"


def format_duration(seconds: float) -> str:
    """The largest unit that divides it: 604800 is `7d`, 0.5 is `0.5s`."""
    for letter in ("d", "h", "m"):
        unit = _SECONDS[letter]
        if seconds and seconds % unit == 0 and (letter != "m" or seconds > 60):
            return f"{int(seconds // unit)}{letter}"
    return f"{seconds:g}s"


def parse_token(text: str) -> str:
    """What goes wrong is said without the token."""
    token = text.strip()
    if len(token) < TOKEN_LENGTH_MIN:
        raise ValueError(
            f"a token of {len(token)} characters can be guessed; take {TOKEN_LENGTH_MIN} or more, such as those of: openssl rand -hex 20"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("a token is letters, digits and signs of ASCII, without spaces")
    return token


def parse_fingerprint(text: str) -> str:
    """`sha256:` and 64 hex digits, with colons between them or without; the prefix may be left out."""
    digits = text.strip().lower().removeprefix("sha256:").replace(":", "")
    if not re.fullmatch("[0-9a-f]{64}", digits):
        raise ValueError(f"{text!r} is not a fingerprint; write for example sha256:{'ab12' * 2}… with 64 digits, as the manager printed it")
    return f"sha256:{digits}"
