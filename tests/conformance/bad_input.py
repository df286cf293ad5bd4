"""What is no HTTP, or two kinds of HTTP at once: octets that the content door must refuse, and how.

Each attack's content, or what follows it, holds a request for SMUGGLED, which nobody may ever answer or pass on.
"""

# ruff: noqa: E501 — a turn of the dialogue is read in one line
from __future__ import annotations

from dataclasses import dataclass

SMUGGLED = b"/c/smuggled.1"
INNER = b"GET " + SMUGGLED + b" HTTP/1.1\r\nHost: h\r\n\r\n"


@dataclass(frozen=True)
class Bad:
    """octets: the whole of what the client sends, with %PATH% for the row's own path and %HOST% for the node. statuses: any of these; after
    it the connection is closed, unless `stays_open`. may_close: closing without a word will do, too. xfail, xfail_behind: why it cannot be
    so yet, alone and behind a good request."""

    id: str
    claim: str
    clause: str
    octets: bytes
    statuses: tuple[int, ...] = (400,)
    stays_open: bool = False
    may_close: bool = False
    xfail: str = ""
    xfail_behind: str = ""


def _head(*lines: bytes, start: bytes = b"GET %PATH% HTTP/1.1", host: bool = True) -> bytes:
    return b"\r\n".join((start, *((b"Host: %HOST%",) if host else ()), *lines)) + b"\r\n\r\n"


def _post(*lines: bytes) -> bytes:
    return _head(*lines, start=b"POST %PATH% HTTP/1.1")


FRAMING = "RFC 9112 §6.3"
LENGTH = b"Content-Length: %d" % (len(INNER) + 5)

SMUGGLING = (
    Bad("length-then-chunked", "framing", FRAMING, _post(LENGTH, b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + INNER),
    Bad("chunked-then-length", "framing", FRAMING, _post(b"Transfer-Encoding: chunked", LENGTH) + b"0\r\n\r\n" + INNER),
    Bad("length-nought-and-chunked", "framing", FRAMING, _post(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + INNER),
    Bad("two-codings", "framing", "RFC 9112 §6.1", _post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + b"0\r\n\r\n" + INNER,
        (400, 501)),
    Bad("chunked-twice", "framing", "RFC 9112 §6.1", _post(b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n" + INNER, (400, 501)),
    Bad("chunked-twice-on-two-lines", "framing", "RFC 9112 §6.1",
        _post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + INNER, (400, 501)),
    Bad("chunked-not-last", "framing", FRAMING, _post(b"Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n" + INNER, (400, 501)),
    Bad("unknown-coding", "framing", "RFC 9112 §6.1", _post(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n" + INNER, (400, 501)),
    Bad("coding-beside-length", "framing", "RFC 9112 §6.1", _post(b"Transfer-Encoding: identity", LENGTH) + b"0\r\n\r\n" + INNER, (400, 501)),
    Bad("chunked-with-a-vertical-tab", "framing", "RFC 9112 §6.1", _post(b"Transfer-Encoding: \x0bchunked", LENGTH) + b"0\r\n\r\n" + INNER,
        (400, 501)),
    Bad("chunked-in-quotes", "framing", "RFC 9112 §6.1", _post(b'Transfer-Encoding: "chunked"', LENGTH) + b"0\r\n\r\n" + INNER, (400, 501)),
    Bad("chunked-of-http-1.0", "framing", "RFC 9112 §6.1",
        _head(b"Transfer-Encoding: chunked", LENGTH, start=b"POST %PATH% HTTP/1.0") + b"0\r\n\r\n" + INNER),
    Bad("two-lengths-that-differ", "framing", FRAMING, _post(b"Content-Length: 5", LENGTH) + b"hello" + INNER),
    Bad("two-lengths-alike", "framing", FRAMING, _post(b"Content-Length: 5", b"Content-Length: 5") + b"hello" + INNER),
    Bad("list-of-lengths", "framing", FRAMING, _post(b"Content-Length: 5, 5") + b"hello" + INNER),
    Bad("negative-length", "framing", FRAMING, _post(b"Content-Length: -5") + INNER),
    Bad("length-with-a-plus", "framing", FRAMING, _post(b"Content-Length: +5") + b"hello" + INNER),
    Bad("hexadecimal-length", "framing", FRAMING, _post(b"Content-Length: 0x5") + b"hello" + INNER),
    Bad("length-with-a-blank-inside", "framing", FRAMING, _post(b"Content-Length: 5 6") + b"hello" + INNER),
    Bad("empty-length", "framing", FRAMING, _post(b"Content-Length:") + INNER),
    Bad("length-beyond-all-numbers", "framing", FRAMING, _post(b"Content-Length: " + b"9" * 30) + INNER),
    Bad("folded-line", "framing", "RFC 9112 §5.2", _post(b"X-A: 1", b" Content-Length: 0", LENGTH) + INNER),
    Bad("folded-coding", "framing", "RFC 9112 §5.2", _post(b"Transfer-Encoding:", b" chunked", LENGTH) + b"0\r\n\r\n" + INNER),
    Bad("folded-first-line", "framing", "RFC 9112 §2.2", b"POST %PATH% HTTP/1.1\r\n X-A: 1\r\nHost: %HOST%\r\n\r\n" + INNER),
    Bad("bare-cr-in-a-value", "framing", "RFC 9112 §2.2", _post(b"X-A: 1\rContent-Length: 0", LENGTH) + INNER),
    Bad("bare-cr-ends-a-line", "framing", "RFC 9112 §2.2", b"GET %PATH% HTTP/1.1\rHost: %HOST%\r\r" + INNER),
    Bad("bare-lf-in-the-head", "framing", "RFC 9112 §2.2", b"POST %PATH% HTTP/1.1\nHost: %HOST%\nContent-Length: 0\n\n" + INNER),
    Bad("bare-lf-after-one-field", "framing", "RFC 9112 §2.2", b"POST %PATH% HTTP/1.1\r\nHost: %HOST%\r\nX-A: 1\nContent-Length: 0\r\n\r\n" + INNER),
    Bad("blank-before-the-colon", "framing", "RFC 9112 §5.1", _post(b"Content-Length : 5", LENGTH) + b"hello" + INNER),
    Bad("blank-before-the-colon-of-chunked", "framing", "RFC 9112 §5.1", _post(b"Transfer-Encoding : chunked", LENGTH) + b"0\r\n\r\n" + INNER),
    Bad("blank-in-a-name", "framing", "RFC 9112 §5.1", _post(b"X A: 1") + INNER),
    Bad("line-without-a-colon", "framing", "RFC 9112 §5", _post(b"no colon") + INNER),
    Bad("empty-name", "framing", "RFC 9112 §5", _post(b": 1") + INNER),
    Bad("nul-in-a-name", "framing", "RFC 9110 §5.5", _post(b"X-\0A: 1") + INNER),
    Bad("nul-in-a-value", "framing", "RFC 9110 §5.5", _post(b"X-A: 1\0", LENGTH) + INNER),
)  # fmt: skip

CHUNKED = _post(b"Transfer-Encoding: chunked")
CHUNKS = tuple(
    Bad(f"chunk-{name}", "framing", "RFC 9112 §7.1", CHUNKED + octets + INNER, may_close=True)
    for name, octets in (
        ("size-beyond-all-numbers", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("size-negative", b"-5\r\nhello\r\n0\r\n\r\n"),
        ("size-with-0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
        ("size-empty", b"\r\nhello\r\n0\r\n\r\n"),
        ("size-no-number", b"zz\r\nhello\r\n0\r\n\r\n"),
        ("size-with-a-blank-before", b" 5\r\nhello\r\n0\r\n\r\n"),
        ("size-with-a-bare-lf", b"5\nhello\r\n0\r\n\r\n"),
        ("extension-with-a-bare-lf", b"5;a\nhello\r\n0\r\n\r\n"),
        ("extension-with-a-nul", b"5;a=\0\r\nhello\r\n0\r\n\r\n"),
        ("extension-with-a-bare-cr", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("longer-than-said", b"3\r\nhello\r\n0\r\n\r\n"),
        ("data-without-an-end", b"5\r\nhello0\r\n\r\n"),
    )
)

REQUEST_LINES = (
    Bad("no-version", "request line", "RFC 9112 §3", b"GET %PATH%\r\nHost: %HOST%\r\n\r\n"),
    Bad("other-version", "request line", "RFC 9112 §2.3", _head(start=b"GET %PATH% HTTP/7.1"), (400, 505)),
    Bad("version-in-words", "request line", "RFC 9112 §2.3", _head(start=b"GET %PATH% HTTQ/1.1")),
    Bad("tab-for-a-blank", "request line", "RFC 9112 §3", _head(start=b"GET\t%PATH% HTTP/1.1")),
    Bad("blank-in-the-target", "request line", "RFC 9112 §3", _head(start=b"GET %PATH% x HTTP/1.1")),
    Bad("method-that-is-no-token", "request line", "RFC 9110 §9.1", _head(start=b"G@T %PATH% HTTP/1.1"), (400, 501)),
    Bad("no-method", "request line", "RFC 9112 §3", _head(start=b" %PATH% HTTP/1.1")),
    Bad("nul-in-the-target", "request line", "RFC 9112 §3.2", _head(start=b"GET %PATH%\0 HTTP/1.1")),
    Bad("target-without-a-slash", "request line", "RFC 9112 §3.2", _head(start=b"GET c/x HTTP/1.1"), stays_open=True),
    Bad("fragment-in-the-target", "request line", "RFC 9112 §3.2", _head(start=b"GET %PATH%#x HTTP/1.1"), stays_open=True),
    Bad("tls-greeting", "request line", "RFC 9112 §3", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200))),
    Bad("http-2-greeting", "request line", "RFC 9113 §3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 405, 505), stays_open=True),
    Bad("no-host", "request line", "RFC 9112 §3.2", _head(host=False), stays_open=True),
    Bad("two-hosts", "request line", "RFC 9112 §3.2", _head(b"Host: elsewhere.example"), stays_open=True),
    Bad("two-hosts-alike", "request line", "RFC 9112 §3.2", _head(b"Host: %HOST%"), stays_open=True),
    Bad("host-that-is-none", "request line", "RFC 9112 §3.2", _head(b"Host: a b/c", host=False), stays_open=True),
)  # fmt: skip

LARGE_HEADS = (
    Bad("one-large-field", "large heads", "RFC 6585 §5", _head(b"X-A: " + b"x" * 100_000), (431,)),
    Bad("many-small-fields", "large heads", "RFC 6585 §5", _head(*(b"X-%d: %s" % (n, b"x" * 100) for n in range(1000))), (431,)),
    Bad("head-without-an-end", "large heads", "RFC 6585 §5", b"GET %PATH% HTTP/1.1\r\nHost: %HOST%\r\nX-A: " + b"x" * 200_000, (431,)),
    Bad("name-without-an-end", "large heads", "RFC 6585 §5", b"GET %PATH% HTTP/1.1\r\n" + b"x" * 200_000, (431,)),
    Bad("target-without-an-end", "large heads", "RFC 9110 §15.5.15", b"GET /" + b"x" * 200_000, (414, 431)),
    Bad("trailers-without-an-end", "large heads", "RFC 6585 §5",
        CHUNKED + b"0\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 100) for n in range(2000)), (400, 431), may_close=True),
)  # fmt: skip

TARGETS = (
    Bad("absolute-form-of-another-host", "other hosts", "RFC 9110 §15.5.20", _head(start=b"GET http://elsewhere.example/x HTTP/1.1"), (421,),
        stays_open=True),
    Bad("absolute-form-and-host-of-another", "other hosts", "RFC 9110 §15.5.20",
        _head(b"Host: elsewhere.example", start=b"GET http://elsewhere.example/x HTTP/1.1", host=False), (421,), stays_open=True),
    Bad("absolute-form-with-a-user", "other hosts", "RFC 9110 §4.2.4", _head(start=b"GET http://a@%HOST%/x HTTP/1.1"), (400, 421), stays_open=True),
    Bad("absolute-form-of-another-scheme", "other hosts", "RFC 9112 §3.2.2", _head(start=b"GET ftp://%HOST%/x HTTP/1.1"), (400, 421),
        stays_open=True),
    Bad("post-to-another-host", "other hosts", "RFC 9110 §15.5.20", _head(start=b"POST http://elsewhere.example/x HTTP/1.1"), (421,),
        stays_open=True),
    Bad("connect", "connect", "RFC 9110 §9.3.6", _head(start=b"CONNECT elsewhere.example:443 HTTP/1.1"), (405,), stays_open=True),
    Bad("connect-to-a-path", "connect", "RFC 9110 §9.3.6", _head(start=b"CONNECT /x HTTP/1.1"), (400, 405), stays_open=True),
    Bad("asterisk-of-get", "request line", "RFC 9112 §3.2.4", _head(start=b"GET * HTTP/1.1"), stays_open=True),
    Bad("own-path-unknown", "own paths", "house rule", _head(start=b"GET /_nothing HTTP/1.1"), (404,), stays_open=True),
    Bad("own-path-by-percent", "own paths", "house rule", _head(start=b"GET /%5Fnothing HTTP/1.1"), (404,), stays_open=True),
    Bad("own-path-by-dots", "own paths", "house rule", _head(start=b"GET /a/../_nothing HTTP/1.1"), (404,), stays_open=True),
    Bad("own-path-in-absolute-form", "own paths", "house rule", _head(start=b"GET http://%HOST%/_nothing HTTP/1.1"), (404,), stays_open=True),
    Bad("own-path-of-an-upload", "own paths", "house rule", _head(b"Content-Length: 0", start=b"PUT /_nothing HTTP/1.1"), (404, 405), stays_open=True),
)  # fmt: skip

BAD = (*SMUGGLING, *CHUNKS, *REQUEST_LINES, *LARGE_HEADS, *TARGETS)
