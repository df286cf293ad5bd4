"""The message: what passes, what ends here, what is added, and by which name a thing is known (RFC 9110 §7.6, RFC 9112, RFC 9211, RFC 9530)."""

# ruff: noqa: E501 — a turn of the dialogue is read in one line
from __future__ import annotations

from tests.conformance.kit_rows import Row, Up, ask, later, on, row, sees, up

MINUTE = "Cache-Control: max-age=60"
TEN = "0123456789"


def _ends_here(name: str, value: str = "x") -> Row:
    """A response field about one connection: not passed, not stored."""
    return row(
        f"response-{name.lower()}", "hop-by-hop response", "RFC 9110 §7.6.1",
        ask(up=up(MINUTE, f"{name}: {value}", "X-A: 1", body="one"), sees=sees(f"-{name}", "X-A: 1", body="one")),
        ask(sees=sees(f"-{name}", "X-A: 1", body="one")),
    )  # fmt: skip


FIELDS = on(
    "fields",
    row(
        "request-fields-pass", "untouched", "RFC 9110 §7.6",
        ask("X-A: 1", "x-b:  two words ", "Accept: text/html;q=0.5, */*", "Cookie: a=b", "User-Agent: someone/1",
            up=up(body="one", asked=("X-A: 1", "X-B: two words", "Accept: text/html;q=0.5, */*", "Cookie: a=b", "User-Agent: someone/1",
                                     "Host: <upstream>"))),
    ),
    row(
        "repeated-request-fields-pass", "untouched", "RFC 9110 §5.3",
        ask("X-A: 1", "X-B: 1", "X-A: 2", up=up(body="one", asked=("X-A: 1, 2",))),
    ),
    row(
        "response-fields-pass-in-order", "untouched", "RFC 9110 §5.3",
        ask(up=up(MINUTE, "X-b: 1", "X-A: 2", "X-b: 3", "Server: origin/1", body="one"),
            sees=sees("X-b: 1, 3", "Server: origin/1", body="one", order=("X-b", "X-A", "X-b", "Server"))),
        ask(sees=sees("X-b: 1, 3", "Server: origin/1", body="one", order=("X-b", "X-A", "X-b", "Server"))),
    ),
    row(
        "octets-beyond-ascii-pass", "untouched", "RFC 9110 §5.5",
        ask("X-A: caf\xe9", up=up(MINUTE, "X-B: na\xefve", body="one", asked=("X-A: caf\xe9",)), sees=sees("X-B: na\xefve")),
        ask(sees=sees("X-B: na\xefve", body="one")),
    ),
    row(
        "empty-value-passes", "untouched", "RFC 9110 §5.5",
        ask("X-A:", up=up(MINUTE, "X-B:", body="one", asked=("X-A:",)), sees=sees("X-B:")),
        ask(sees=sees("X-B:", body="one")),
    ),
    row(
        "date-is-the-upstreams", "untouched", "RFC 9110 §6.6.1",
        ask(up=up(MINUTE, "Date: <now-5>", body="one"), sees=sees("Date: <now-5>")),
        later(10),
        ask(sees=sees("Date: <t0-5>", body="one")),
    ),
    row(
        "date-is-added", "untouched", "RFC 9110 §6.6.1",
        ask(up=up(MINUTE, "-Date", body="one"), sees=sees("Date: <now>")),
        later(10),
        ask(sees=sees("Date: <t0>", body="one")),
    ),
    row(
        "body-octets-pass", "untouched", "RFC 9110 §6.4",
        ask(up=up(MINUTE, "Content-Encoding: gzip", body=bytes(range(256)) * 4), sees=sees("Content-Encoding: gzip", body=bytes(range(256)) * 4)),
        ask(sees=sees("Content-Encoding: gzip", body=bytes(range(256)) * 4)),
    ),
    row(
        "large-body-from-disk", "untouched", "RFC 9110 §6.4",
        ask(up=up(MINUTE, body=bytes(range(256)) * 2000)),
        ask(sees=sees("Content-Length: 512000", body=bytes(range(256)) * 2000)),
    ),
    row(
        "hop-by-hop-fields-of-a-request", "hop-by-hop request", "RFC 9110 §7.6.1",
        ask("Connection: x-hop, keep-alive, X-Other", "X-Hop: 1", "x-other: 2", "Keep-Alive: 5", "TE: trailers", "Trailer: X",
            "Proxy-Authorization: Basic eDp5", "Proxy-Connection: keep-alive", "Upgrade: h2c", "X-Stays: 1",
            up=up(body="one", asked=("-X-Hop", "-X-Other", "-Keep-Alive", "-TE", "-Trailer", "-Proxy-Authorization", "-Proxy-Connection",
                                     "-Upgrade", "X-Stays: 1"))),
    ),
    row(
        "hop-by-hop-fields-of-an-upload", "hop-by-hop request", "RFC 9110 §7.6.1",
        ask("Connection: x-hop", "X-Hop: 1", "Keep-Alive: 5", "X-Stays: 1", method="POST", body="x",
            up=up(asked=("-X-Hop", "-Keep-Alive", "X-Stays: 1"))),
    ),
    row(
        "words-for-this-cache-stay-here", "hop-by-hop request", "RFC 9110 §7.6.1",
        ask("X-Minicdn-Data: secret", "X-Minicdn-Type: text", up=up(asked=("-X-Minicdn-Data", "-X-Minicdn-Type"))),
        ask("X-Minicdn-Data: secret", method="POST", body="x", up=up(asked=("-X-Minicdn-Data",))),
    ),
    _ends_here("Keep-Alive", "timeout=5"),
    _ends_here("Proxy-Authenticate", "Basic"),
    _ends_here("Proxy-Authentication-Info"),
    _ends_here("Proxy-Connection", "keep-alive"),
    _ends_here("Trailer", "X-A"),
    _ends_here("Upgrade", "h2c"),
    _ends_here("TE", "trailers"),
    row(
        "fields-that-connection-names", "hop-by-hop response", "RFC 9110 §7.6.1",
        ask(up=up(MINUTE, "Connection: X-A, x-b", "X-A: 1", "X-B: 2", "X-C: 3", body="one"), sees=sees("-X-A", "-X-B", "X-C: 3")),
        ask(sees=sees("-X-A", "-X-B", "-Connection", "X-C: 3", body="one")),
    ),
    row(
        "chunked-coding-ends-here", "hop-by-hop response", "RFC 9112 §6.1",
        ask(up=up(MINUTE, body=TEN, framing="chunked")),
        ask(sees=sees("-Transfer-Encoding", "Content-Length: 10", body=TEN)),
    ),
    row(
        "trailers-are-not-fields", "hop-by-hop response", "RFC 9110 §6.5.1",
        ask(up=Up(raw=b"HTTP/1.1 200 OK\r\nDate: <now>\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n"
                      b"3;x=y\r\none\r\n0\r\nCache-Control: no-store\r\nX-A: 1\r\n\r\n"), sees=sees("-X-A", body="one")),
        ask(sees=sees("-X-A", MINUTE, body="one")),
    ),
    row(
        "via-both-ways", "via", "RFC 9110 §7.6.3",
        ask("Via: 1.0 before", up=up(MINUTE, "Via: 1.1 behind", body="one", asked=("Via ~ ^1.0 before, 1.1 minicdn-",)),
            sees=sees("Via ~ ^1.1 behind, .*1.1 <name>$")),
        ask(sees=sees("Via ~ ^1.1 behind, .*1.1 <name>$")),
    ),
    row(
        "via-of-an-upload", "via", "RFC 9110 §7.6.3",
        ask(method="POST", body="x", up=up(asked=("Via ~ 1.1 minicdn-",)), sees=sees("Via ~ 1.1 <name>")),
    ),
    row(
        "via-names-every-node-on-the-way", "via", "RFC 9110 §7.6.3",
        ask(up=up(MINUTE, body="one", asked=("Via: 1.1 <name>, 1.1 <owner>",)), sees=sees("Via: 1.1 <owner>, 1.1 <name>")),
        only=("far",),
    ),
    row("loop-by-own-name", "loop", "RFC 5842 §7.2", ask("Via: 1.1 other, 1.1 <name>", sees=sees(status=508))),
    row("loop-by-own-name-in-another-case", "loop", "RFC 5842 §7.2", ask("Via: 1.1 MiniCDN-alone", sees=sees(status=508)), only=("alone",)),
    row("loop-of-an-upload", "loop", "RFC 5842 §7.2", ask("Via: 1.1 <name>", method="POST", body="x", sees=sees(status=508))),
    row(
        "loop-by-the-owners-name", "loop", "RFC 5842 §7.2",
        ask("Via: 1.1 <owner>", sees=sees(status=508)),
    ),
    row("somebody-elses-name-is-no-loop", "loop", "RFC 5842 §7.2", ask("Via: 1.1 minicdn-nobody", up=up(body="one"))),
)  # fmt: skip

STATUS = on(
    "cache-status",
    row(
        "hit", "hit", "RFC 9211 §2.1",
        ask(up=up(MINUTE, body="one")),
        ask(sees=sees("Cache-Status ~ <name>; hit", body="one")),
    ),
    row(
        "hit-of-a-304-and-a-206", "hit", "RFC 9211 §2.1",
        ask(up=up(MINUTE, 'ETag: "a"', body="one")),
        ask('If-None-Match: "a"', sees=sees("Cache-Status ~ <name>; hit", status=304)),
        ask("Range: bytes=0-1", sees=sees("Cache-Status ~ <name>; hit", status=206)),
    ),
    row(
        "uri-miss", "forward", "RFC 9211 §2.2",
        ask(up=up(MINUTE, body="one"), sees=sees("Cache-Status ~ <name>; fwd=uri-miss")),
    ),
    row(
        "vary-miss", "forward", "RFC 9211 §2.2",
        ask("X-A: 1", up=up(MINUTE, "Vary: X-A", body="one")),
        ask("X-A: 2", up=up(MINUTE, "Vary: X-A", body="two"), sees=sees("Cache-Status ~ <name>; fwd=vary-miss")),
    ),
    row(
        "stale-then-confirmed", "forward", "RFC 9211 §2.2",
        ask(up=up(MINUTE, 'ETag: "a"', body="one")),
        later(60),
        ask(up=up(MINUTE, 'ETag: "a"', status=304), sees=sees("Cache-Status ~ <name>; fwd=stale; fwd-status=304", body="one")),
    ),
    row(
        "stale-then-replaced", "forward", "RFC 9211 §2.3",
        ask(up=up(MINUTE, 'ETag: "a"', body="one")),
        later(60),
        ask(up=up(MINUTE, 'ETag: "b"', body="two"), sees=sees("Cache-Status ~ <name>; fwd=stale; fwd-status=200", body="two")),
    ),
    row(
        "clients-own-wish", "forward", "RFC 9211 §2.2",
        ask(up=up(MINUTE, 'ETag: "a"', body="one")),
        ask("Cache-Control: no-cache", up=up(MINUTE, 'ETag: "b"', body="two"), sees=sees("Cache-Status ~ <name>; fwd=request")),
    ),
    row(
        "method", "forward", "RFC 9211 §2.2",
        ask(method="POST", body="x", up=up(), sees=sees("Cache-Status ~ <name>; fwd=method")),
    ),
    row(
        "stale-by-error", "forward", "RFC 9211 §2.2",
        ask(up=up(MINUTE, body="one")),
        later(70),
        ask(up=up(status=503), sees=sees("Cache-Status ~ <name>; fwd=stale; fwd-status=503; ttl=-10", body="one")),
    ),
    row(
        "ttl-counts-down", "ttl", "RFC 9211 §2.4",
        ask(up=up(MINUTE, body="one"), sees=sees("Cache-Status ~ ttl=60")),
        later(20),
        ask(sees=sees("Cache-Status ~ ttl=40", body="one")),
    ),
    row(
        "ttl-below-nought", "ttl", "RFC 9211 §2.4",
        ask(up=up("Cache-Control: max-age=60, stale-while-revalidate=60", body="one")),
        later(70),
        ask("Cache-Control: max-stale", sees=sees("Cache-Status ~ hit; ttl=-10", body="one")),
    ),
    row(
        "stored", "stored", "RFC 9211 §2.5",
        ask(up=up(MINUTE, body="one"), sees=sees("Cache-Status ~ <name>; fwd=uri-miss.*; stored")),
        ask(target="@?2", up=up("Cache-Control: no-store", body="one"), sees=sees("Cache-Status ~ ^(?!.*stored)")),
    ),
    row(
        "why-it-was-not-stored", "stored", "RFC 9211 §2.8",
        ask(up=up("Cache-Control: private", body="one"), sees=sees("Cache-Status ~ detail=.*private")),
    ),
    row(
        "collapsed", "collapsed", "RFC 9211 §2.6",
        ask(many=2, up=up(MINUTE, body="one", hold="head"), sees=sees("Cache-Status ~ fwd=uri-miss", body="one")),
    ),
    row(
        "member-behind-the-upstreams", "hops", "RFC 9211 §2",
        ask(up=up(MINUTE, "Cache-Status: before; hit", body="one"), sees=sees("Cache-Status ~ ^before; hit, .*<name>; fwd")),
        ask(sees=sees("Cache-Status ~ ^before; hit, .*<name>; hit", body="one")),
    ),
    row(
        "member-of-each-node", "hops", "RFC 9211 §2",
        ask(up=up(MINUTE, body="one"), sees=sees("Cache-Status ~ ^<owner>; fwd=uri-miss.*, <name>; fwd=uri-miss")),
        only=("far",),
    ),
    row(
        "x-cache", "x-cache", "none: for those who grep",
        ask(up=up("Cache-Control: max-age=60", body="one"), sees=sees("X-Cache ~ ^MISS")),
        ask(sees=sees("X-Cache ~ ^HIT", body="one")),
        later(70),
        ask("Cache-Control: max-stale", sees=sees("X-Cache ~ ^STALE", body="one")),
    ),
    row(
        "length-of-what-came-without", "content-length", "RFC 9110 §8.6",
        ask(up=up(MINUTE, body=TEN, framing="chunked")),
        ask(sees=sees("Content-Length: 10", "-Transfer-Encoding", body=TEN)),
        ask(target="@?2", up=up(MINUTE, body=TEN, framing="close")),
        ask(target="@?2", sees=sees("Content-Length: 10", "-Transfer-Encoding", body=TEN)),
    ),
    row(
        "length-of-nothing", "content-length", "RFC 9110 §8.6",
        ask(up=up(MINUTE, body=""), sees=sees("Content-Length: 0", body="")),
        ask(sees=sees("Content-Length: 0", body="")),
    ),
    row(
        "to-an-old-client", "content-length", "RFC 9112 §6.1",
        ask("Connection: close", version="1.0", up=up(MINUTE, body=TEN, framing="chunked"), sees=sees("-Transfer-Encoding", body=TEN)),
        ask("Connection: close", version="1.0", sees=sees("Content-Length: 10", "-Transfer-Encoding", body=TEN)),
    ),
)  # fmt: skip

INTERIM = on(
    "interim",
    *(
        row(
            f"interim-{status}", "not the end", "RFC 9110 §15.2",
            ask(up=up(MINUTE, body="one", interim=((status, ("Link: </a>; rel=preload",)),)), sees=sees("-Link", body="one")),
            ask(sees=sees("-Link", body="one", interim=())),
        )
        for status in (100, 102, 103, 199)
    ),
    *(
        row(
            f"interim-{status}-goes-on", "passed on", "RFC 9110 §15.2",
            ask(
                up=up(MINUTE, body="one", interim=((status, ("Link: </a>; rel=preload", "Connection: x-hop", "X-Hop: 1")),)),
                sees=sees("-Link", body="one", interim=(status,), informed=("Link: </a>; rel=preload", "-X-Hop", "Via ~ minicdn-")),
            ),
            ask(sees=sees("-Link", body="one", interim=())),
        )
        for status in (102, 103, 199)
    ),
    row(
        "interim-100-is-for-us", "passed on", "RFC 9110 §15.2",
        ask(up=up(MINUTE, body="one", interim=((100, ()),)), sees=sees(body="one", interim=())),
    ),
    row(
        "interim-goes-on-before-an-error", "passed on", "RFC 9110 §15.2",
        ask(up=up(status=404, interim=((103, ("X-A: 1",)),)), sees=sees("-X-A", status=404, interim=(103,), informed=("X-A: 1",))),
    ),
    row(
        "no-interim-for-an-old-client", "passed on", "RFC 9110 §15.2",
        ask(version="1.0", up=up(MINUTE, body="one", interim=((103, ()),)), sees=sees(body="one", interim=())),
    ),
    row(
        "interim-before-an-upload-answer-goes-on", "passed on", "RFC 9110 §15.2",
        ask(method="POST", body="x", up=up(body="done", interim=((102, ()), (103, ("X-A: 1",)))),
            sees=sees(body="done", interim=(102, 103), informed=("X-A: 1",))),
    ),
    row(
        "interim-of-a-validation-goes-on", "passed on", "RFC 9110 §15.2",
        ask(up=up(MINUTE, 'ETag: "a"', body="one")),
        later(60),
        ask(up=up(MINUTE, 'ETag: "a"', status=304, interim=((103, ("X-A: 1",)),)), sees=sees("-X-A", body="one", interim=(103,))),
    ),
    row(
        "three-interim-answers", "not the end", "RFC 9110 §15.2",
        ask(up=up(MINUTE, body="one", interim=((103, ("X-A: 1",)), (103, ("X-A: 2",)), (102, ()))), sees=sees("-X-A", body="one")),
    ),
    row(
        "interim-lifetime-is-none", "not stored", "RFC 9111 §3",
        ask(up=up("Cache-Control: no-store", body="one", interim=((103, ("Cache-Control: max-age=600",)),))),
        ask(up=up(MINUTE, body="two")),
    ),
    row(
        "interim-before-a-304", "not the end", "RFC 9110 §15.2",
        ask(up=up(MINUTE, 'ETag: "a"', body="one")),
        later(60),
        ask(up=up(MINUTE, 'ETag: "a"', status=304, interim=((103, ()),)), sees=sees("Age: 0", body="one")),
    ),
    row(
        "interim-before-an-upload-answer", "not the end", "RFC 9110 §15.2",
        ask(method="POST", body="x", up=up(body="done", interim=((102, ()), (103, ())))),
    ),
    row(
        "upload-that-expects-100", "100-continue", "RFC 9110 §10.1.1",
        ask("Expect: 100-continue", method="PUT", body="x" * 1000, up=up(status=201, content=b"x" * 1000),
            sees=sees(status=201, interim=(100,))),
    ),
    row(
        "get-that-expects-100", "100-continue", "RFC 9110 §10.1.1",
        ask("Expect: 100-continue", up=up(MINUTE, body="one", asked=("-Expect",)), sees=sees(body="one")),
        ask("Expect: 100-continue", sees=sees(body="one")),
    ),
    row(
        "switching-protocols-is-no-answer", "not the end", "RFC 9110 §15.2.2",
        ask(up=Up(raw=b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), sees=sees(status=502)),
    ),
)  # fmt: skip

DIGEST = "sha-256=:hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII=:"
"""Of 0123456789, as RFC 9530 writes it."""

TRUTH = on(
    "truth",
    row(
        "digest-of-the-upstream-passes", "repr-digest", "RFC 9530 §3",
        ask(up=up(MINUTE, f"Repr-Digest: {DIGEST}", body=TEN), sees=sees(f"Repr-Digest: {DIGEST}", body=TEN)),
        ask(sees=sees(f"Repr-Digest: {DIGEST}", body=TEN)),
        ask("Range: bytes=2-4", sees=sees(f"Repr-Digest: {DIGEST}", status=206, body="234")),
    ),
    row(
        "digest-of-a-part-is-its-own", "repr-digest", "RFC 9530 §2",
        ask(up=up(MINUTE, "Content-Digest: sha-256=:hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII=:", body=TEN)),
        ask("Range: bytes=2-4", sees=sees("-Content-Digest", status=206, body="234")),
    ),
    row(
        "digest-that-we-know", "repr-digest", "RFC 9530 §3",
        ask(up=up(MINUTE, body=TEN)),
        ask("Want-Repr-Digest: sha-256=10", sees=sees("Repr-Digest ~ sha-256=:.{44}:", body=TEN)),
    ),
    row(
        "digest-that-does-not-fit", "repr-digest", "RFC 9530 §6.1",
        ask(up=up(MINUTE, "Repr-Digest: sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:", body=TEN)),
        ask(up=up(MINUTE, body=TEN)),
    ),
    *(
        row(
            f"truncated-{name}", "truncated", "RFC 9112 §8",
            ask(up=up(MINUTE, body="0123456789" * count, cut=5 * count, **framing), sees=sees(cut=True)),
            ask(method="HEAD", up=up(MINUTE, body="0123456789" * count)),
        )
        for name, count, framing in (
            ("small", 1, {}),
            ("large", 20_000, {}),
            ("chunked", 1, {"framing": "chunked"}),
            ("large-chunked", 20_000, {"framing": "chunked"}),
        )
    ),
    row(
        "truncated-for-all-who-wait", "truncated", "RFC 9112 §8",
        ask(many=3, up=up(MINUTE, body=TEN * 1000, cut=5000, hold="head"), sees=sees(cut=True)),
    ),
    row(
        "truncated-to-an-old-client", "truncated", "RFC 9112 §8",
        ask("Connection: close", version="1.0", up=up(MINUTE, body=TEN, cut=5, framing="chunked"), sees=sees(cut=True)),
    ),
    row(
        "body-longer-than-said", "truncated", "RFC 9112 §6.3",
        ask(up=Up(raw=b"HTTP/1.1 200 OK\r\nDate: <now>\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\none and more"), sees=sees(body="one")),
        ask(sees=sees("Content-Length: 3", body="one")),
    ),
    row(
        "two-lengths-of-the-upstream", "truncated", "RFC 9112 §6.3",
        ask(up=Up(raw=b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nonetwo"),
            sees=sees(status=502)),
        ask(up=up(MINUTE, body="one")),
    ),
    row(
        "length-and-chunks-of-the-upstream", "truncated", "RFC 9112 §6.3",
        ask(up=Up(raw=b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
                      b"3\r\none\r\n0\r\n\r\n"), sees=sees(status=(200, 502), pattern="^(one|.*\\n)$")),
    ),
)  # fmt: skip


REDIRECTS = on(
    "redirects",
    *(
        row(
            f"redirect-{status}", "passed on", "RFC 9110 §15.4",
            ask(up=up("Location: https://elsewhere.example/x?y#z", status=status), sees=sees("Location: https://elsewhere.example/x?y#z", status=status)),
            ask(up=up("Location: /again", status=status), sees=sees("Location: /again", status=status)),
        )
        for status in (302, 303, 307)
    ),
    *(
        row(
            f"lasting-redirect-{status}", "cached", "RFC 9110 §15.4",
            ask(up=up(MINUTE, "Location: /x", status=status)),
            later(59),
            ask(sees=sees("Location: /x", "Age: 59", status=status)),
            later(1),
            ask(up=up(body="one")),
        )
        for status in (301, 302, 303, 307, 308)
    ),
    row(
        "redirect-followed-inside", "followed", "RFC 9110 §15.4",
        ask(up=(up("Location: <path>/there", status=302), up(MINUTE, body="one", target="@/there")), sees=sees("-Location", body="one")),
        policy={"follows_redirects": True},
    ),
)  # fmt: skip


def _meet(id: str, one: str, other: str, *, clause: str = "RFC 3986 §6.2.2", claim: str = "path", **more: object) -> Row:
    """Two spellings of one key."""
    return row(
        id, claim, clause,
        ask(target=one, up=up(MINUTE, body="one")),
        ask(target=other, sees=sees(body="one")),
        **more,
    )  # fmt: skip


def _part_ways(id: str, one: str, other: str, *, clause: str = "RFC 3986 §6.2", claim: str = "path", **more: object) -> Row:
    """Two spellings that are two keys."""
    return row(
        id, claim, clause,
        ask(target=one, up=up(MINUTE, body="one")),
        ask(target=other, up=up(MINUTE, body="two")),
        ask(target=one, sees=sees(body="one")),
        ask(target=other, sees=sees(body="two")),
        **more,
    )  # fmt: skip


KEYS = on(
    "keys",
    row(
        "get-answers-head", "method-less", "RFC 9111 §4",
        ask(up=up(MINUTE, body=TEN)),
        ask(method="HEAD", sees=sees("Content-Length: 10")),
    ),
    _meet("percent-case", "@/%c3%a9", "@/%C3%A9"),
    _meet("needless-percent", "@/%61%7E", "@/a~"),
    _meet("dot-segment", "@/a/./b", "@/a/b", clause="RFC 3986 §5.2.4"),
    _meet("dot-dot-segment", "@/a/../b", "@/b", clause="RFC 3986 §5.2.4"),
    _meet("encoded-dot-segment", "@/a/%2e%2e/b", "@/b", clause="RFC 3986 §6.2.2.2"),
    _meet("absolute-form-of-this-node", "@/x", "http://<node><path>/x", clause="RFC 9112 §3.2.2"),
    _part_ways("encoded-slash", "@/a%2Fb", "@/a/b"),
    _part_ways("double-slash", "@//a", "@/a"),
    _part_ways("slash-at-the-end", "@/a", "@/a/"),
    _part_ways("case-of-a-path", "@/a", "@/A"),
    _part_ways("plus-is-no-blank", "@/a+b", "@/a%20b"),
    _part_ways("another-query", "@?a=1", "@?a=2", claim="query"),
    _part_ways("no-query-is-not-empty-query", "@", "@?", claim="query"),
    _part_ways("order-of-a-query", "@?a=1&b=2", "@?b=2&a=1", claim="query"),
    _part_ways("percent-in-a-query", "@?a=%7e", "@?a=~", claim="query"),
    row(
        "upstream-is-asked-by-the-key", "path", "RFC 3986 §6.2.2",
        ask(target="@/a/../%7eb/%c3?x=%7e", up=up(body="one", target="@/~b/%C3?x=%7e")),
    ),
    row("path-above-the-root", "path", "RFC 3986 §5.2.4", ask(target="/../x", sees=sees(status=400))),
    row("path-above-the-root-encoded", "path", "RFC 3986 §5.2.4", ask(target="/%2e%2e/x", sees=sees(status=400))),
    row("percent-without-digits", "path", "RFC 3986 §2.1", ask(target="/c/%zz", sees=sees(status=400))),
    row("encoded-nul", "path", "RFC 3986 §2.1", ask(target="/c/%00", sees=sees(status=400))),
    row("target-too-long", "path", "RFC 9110 §4.1", ask(target="/c/" + "x" * 9000, sees=sees(status=414))),
    row(
        "key-of-eight-thousand-octets", "path", "RFC 9110 §4.1",
        ask(target="@/" + "x" * 7900, up=up(MINUTE, body="one")),
        ask(target="@/" + "x" * 7900, sees=sees(body="one")),
    ),
    row(
        "ignored-parameter", "ignored", "RFC 9111 §2",
        ask(target="@?a=1&sig=2&b=3", up=up(MINUTE, body="one", target="@?a=1&sig=2&b=3")),
        ask(target="@?a=1&sig=4&b=3", sees=sees(body="one")),
        ask(target="@?a=2&sig=4&b=3", up=up(MINUTE, body="two")),
        ask(target="@?a=1&b=3", sees=sees(body="one")),
        policy={"ignored_query": ("sig",)},
    ),
    _part_ways("parameter-that-begins-like-an-ignored-one", "@?sig=2", "@?signs=2", claim="ignored", policy={"ignored_query": ("sig",)}),
)  # fmt: skip

NO_VARY_SEARCH = on(
    "keys",
    *(
        row(
            f"no-vary-search-{name}", "no-vary-search", "draft-ietf-httpbis-no-vary-search §5",
            ask(target=f"@?{stored}", up=up(MINUTE, f"No-Vary-Search: {rule}", body="one")),
            ask(target=f"@?{same}", sees=sees(body="one")),
            ask(target=f"@?{other}", up=up(MINUTE, f"No-Vary-Search: {rule}", body="two")),
        )
        for name, rule, stored, same, other in (
            ("one-parameter", 'params=("b")', "a=1&b=2", "a=1&b=3", "a=2&b=2"),
            ("all-but-one", 'params, except=("a")', "a=1&b=2", "c=4&a=1", "a=2"),
            ("order", "key-order", "a=1&b=2", "b=2&a=1", "a=2&b=1"),
        )
    ),
    row(
        "no-vary-search-that-does-not-parse", "no-vary-search", "draft-ietf-httpbis-no-vary-search §5",
        ask(target="@?a=1", up=up(MINUTE, "No-Vary-Search: params=(", body="one")),
        ask(target="@?a=2", up=up(MINUTE, body="two")),
    ),
)  # fmt: skip

TAG_FIELDS = (("Surrogate-Key", "x y"), ("Cache-Tag", "x, y"), ("xkey", "x y"), ("Cache-Groups", '"x", "y"'))
JSON = "Content-Type: application/json"

PURGES = on(
    "purge",
    row(
        "purge-by-method", "method", "none: custom",
        ask(up=up(MINUTE, 'ETag: "a"', body="one")),
        ask(method="PURGE", sees=sees(status=200)),
        ask(up=up(MINUTE, 'ETag: "b"', body="two")),
    ),
    row(
        "purge-asks-nobody", "method", "none: custom",
        ask(method="PURGE", sees=sees(status=200)),
        ask(up=up(MINUTE, body="one")),
    ),
    row(
        "purge-says-how-many", "method", "none: custom",
        ask("X-V: 1", up=up(MINUTE, "Vary: X-V", body="one")),
        ask("X-V: 2", up=up(MINUTE, "Vary: X-V", body="two")),
        ask(method="PURGE", sees=sees(status=200, pattern="[1-9]")),
    ),
    row(
        "purge-is-soft", "soft", "none: custom",
        ask(up=up(MINUTE, 'ETag: "a"', body="one")),
        ask(method="PURGE", sees=sees(status=200)),
        ask(up=up(MINUTE, 'ETag: "a"', status=304, asked=('If-None-Match: "a"',)), sees=sees("Age: 0", body="one")),
        ask(sees=sees(body="one")),
    ),
    row(
        "purged-stands-in-when-the-upstream-fails", "soft", "none: custom",
        ask(up=up(MINUTE, 'ETag: "a"', body="one")),
        ask(method="PURGE", sees=sees(status=200)),
        ask(up=up(status=503), sees=sees(body="one")),
    ),
    row(
        "purge-of-a-prefix", "prefix", "none: custom",
        ask(target="@/a", up=up(MINUTE, body="a")),
        ask(target="@/b", up=up(MINUTE, body="b")),
        ask(method="PURGE", target="@/a*", sees=sees(status=200)),
        ask(target="@/b", sees=sees(body="b")),
        ask(target="@/a", up=up(MINUTE, body="a again")),
    ),
    *(
        row(
            f"purge-by-{field.lower()}", "tags" if field != "Cache-Groups" else "groups", "RFC 9875 §2",
            ask(up=up(MINUTE, f"{field}: {value.replace('x', '<path>x')}", body="one")),
            ask(target="@/other", up=up(MINUTE, f"{field}: other" if field != "Cache-Groups" else 'Cache-Groups: "other"', body="other")),
            ask(JSON, method="POST", target="/_purge", body='{"tags": ["<path>x"]}', sees=sees(status=200)),
            ask(target="@/other", sees=sees(body="other")),
            ask(up=up(MINUTE, body="two")),
        )
        for field, value in TAG_FIELDS
    ),
    row(
        "purge-by-message", "message", "none: custom",
        ask(target="@/a", up=up(MINUTE, body="a")),
        ask(target="@/b/c", up=up(MINUTE, body="c")),
        ask(target="@/d", up=up(MINUTE, body="d")),
        ask(JSON, method="POST", target="/_purge", body='{"paths": ["<path>/a"], "prefixes": ["<path>/b"]}', sees=sees(status=200)),
        ask(target="@/a", up=up(MINUTE, body="a again")),
        ask(target="@/b/c", up=up(MINUTE, body="c again")),
        ask(target="@/d", sees=sees(body="d")),
    ),
    row(
        "hard-purge", "soft", "none: custom",
        ask(up=up(MINUTE, 'ETag: "a"', body="one")),
        ask(JSON, method="POST", target="/_purge", body='{"paths": ["<path>"], "soft": false}', sees=sees(status=200)),
        ask(up=up(status=503, asked=("-If-None-Match",)), sees=sees(status=503)),
    ),
    row(
        "group-invalidated-by-a-post", "groups", "RFC 9875 §3",
        ask(target="@/member", up=up(MINUTE, 'Cache-Groups: "<path>"', body="one")),
        ask(method="POST", body="x", up=up('Cache-Group-Invalidation: "<path>"')),
        ask(target="@/member", up=up(MINUTE, body="two")),
    ),
    row(
        "group-is-not-invalidated-by-a-get", "groups", "RFC 9875 §3",
        ask(target="@/member", up=up(MINUTE, 'Cache-Groups: "<path>"', body="one")),
        ask(up=up('Cache-Group-Invalidation: "<path>"')),
        ask(target="@/member", sees=sees(body="one")),
    ),
    row(
        "purge-reaches-the-other-node", "every node", "none: custom",
        ask(up=up(MINUTE, 'ETag: "a"', body="one")),
        ask(at="other", sees=sees(body="one")),
        ask(method="PURGE", sees=sees(status=200)),
        ask(at="other", up=up(MINUTE, 'ETag: "b"', body="two")),
        ask(sees=sees(body="two")),
        only=("owner", "far"),
    ),
)  # fmt: skip

ROWS = [*FIELDS, *STATUS, *INTERIM, *TRUTH, *REDIRECTS, *KEYS, *NO_VARY_SEARCH, *PURGES]
