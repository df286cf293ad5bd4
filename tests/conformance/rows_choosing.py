"""Choosing, validating, updating: which stored answer fits, how it is confirmed, and what makes it stale (RFC 9110 §13, RFC 9111 §3.2, §4)."""

# ruff: noqa: E501 — a turn of the dialogue is read in one line
from __future__ import annotations

from tests.conformance.kit_rows import Down, Row, ask, later, on, row, sees, up

MINUTE = "Cache-Control: max-age=60"
CHANGED = "Sun, 06 Nov 1994 08:49:37 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"


def _same(id: str, name: str, stored: str | None, asked: str | None, *, clause: str = "RFC 9111 §4.1", claim: str = "normalised") -> Row:
    """Two requests whose selecting fields mean the same meet one stored answer. None: the field is not sent."""
    return row(
        id, claim, clause,
        ask(*_line(name, stored), up=up(MINUTE, f"Vary: {name}", body="one")),
        ask(*_line(name, asked), sees=sees(body="one")),
    )  # fmt: skip


def _different(id: str, name: str, stored: str | None, asked: str | None, *, claim: str = "all kept") -> Row:
    return row(
        id, claim, "RFC 9111 §4.1",
        ask(*_line(name, stored), up=up(MINUTE, f"Vary: {name}", body="one")),
        ask(*_line(name, asked), up=up(MINUTE, f"Vary: {name}", body="two")),
        ask(*_line(name, stored), sees=sees(body="one")),
        ask(*_line(name, asked), sees=sees(body="two")),
    )  # fmt: skip


def _line(name: str, value: str | None) -> tuple[str, ...]:
    return () if value is None else (f"{name}: {value}",)


VARY = on(
    "vary",
    _different("other-value-other-variant", "X-A", "1", "2"),
    _different("case-of-an-unknown-field-counts", "X-A", "a", "A"),
    _different("order-of-an-unknown-field-counts", "X-A", "1, 2", "2, 1"),
    row(
        "five-variants-side-by-side", "all kept", "RFC 9111 §4.1",
        *(ask(f"X-A: {n}", up=up(MINUTE, "Vary: X-A", body=f"variant {n}")) for n in range(5)),
        *(ask(f"X-A: {n}", sees=sees(body=f"variant {n}")) for n in range(5)),
    ),
    row(
        "two-selecting-fields", "all kept", "RFC 9111 §4.1",
        ask("X-A: 1", "X-B: 1", up=up(MINUTE, "Vary: X-A, X-B", body="11")),
        ask("X-A: 1", "X-B: 2", up=up(MINUTE, "Vary: X-A, X-B", body="12")),
        ask("X-A: 2", "X-B: 1", up=up(MINUTE, "Vary: X-A", "Vary: X-B", body="21")),
        ask("X-A: 1", "X-B: 1", sees=sees(body="11")),
        ask("X-A: 1", "X-B: 2", sees=sees(body="12")),
        ask("X-B: 1", "X-A: 2", sees=sees(body="21")),
    ),
    row(
        "field-that-is-not-named-does-not-count", "all kept", "RFC 9111 §4.1",
        ask("X-A: 1", "X-B: 1", up=up(MINUTE, "Vary: X-A", body="one")),
        ask("X-A: 1", "X-B: 2", sees=sees(body="one")),
    ),
    row(
        "encodings-side-by-side", "all kept", "RFC 9110 §12.5.5",
        ask("Accept-Encoding: gzip", up=up(MINUTE, "Vary: Accept-Encoding", "Content-Encoding: gzip", body="zipped")),
        ask("Accept-Encoding: br", up=up(MINUTE, "Vary: Accept-Encoding", "Content-Encoding: br", body="brotli")),
        ask(up=up(MINUTE, "Vary: Accept-Encoding", body="plain")),
        ask("Accept-Encoding: br", sees=sees("Content-Encoding: br", body="brotli")),
        ask("Accept-Encoding: gzip", sees=sees("Content-Encoding: gzip", body="zipped")),
        ask(sees=sees("-Content-Encoding", body="plain")),
    ),
    row(
        "variant-has-its-own-freshness", "all kept", "RFC 9111 §4.1",
        ask("X-A: 1", up=up("Cache-Control: max-age=10", "Vary: X-A", body="short")),
        ask("X-A: 2", up=up(MINUTE, "Vary: X-A", body="long")),
        later(30),
        ask("X-A: 2", sees=sees("Age: 30", body="long")),
        ask("X-A: 1", up=up(MINUTE, "Vary: X-A", body="new")),
    ),
    row(
        "selecting-field-by-any-case-of-its-name", "all kept", "RFC 9110 §5.1",
        ask("x-a: 1", up=up(MINUTE, "Vary: X-a", body="one")),
        ask("X-A: 1", sees=sees(body="one")),
        ask("X-A: 2", up=up(MINUTE, body="two")),
    ),
    _different("absent-is-not-present", "X-A", None, "1", claim="absent"),
    _different("present-is-not-absent", "X-A", "1", None, claim="absent"),
    _different("absent-is-not-empty", "X-A", None, "", claim="absent"),
    _same("absent-both-times", "X-A", None, None, claim="absent"),
    _same("blanks-around-commas", "X-A", "a, b", "a ,\tb"),
    row(
        "two-lines-are-one-list", "normalised", "RFC 9111 §4.1",
        ask("X-A: 1, 2", up=up(MINUTE, "Vary: X-A", body="one")),
        ask("X-A: 1", "X-A: 2", sees=sees(body="one")),
    ),
    _same("case-of-a-coding", "Accept-Encoding", "gzip, br", "GZIP, BR", clause="RFC 9110 §12.5.3"),
    _same("order-of-codings", "Accept-Encoding", "gzip, br", "br, gzip", clause="RFC 9110 §12.5.3"),
    _same("weight-of-one", "Accept-Language", "en", "en;q=1.0", clause="RFC 9110 §12.4.2"),
    _same("blanks-around-a-weight", "Accept-Language", "en;q=0.5, de", "en ; q=0.5,de", clause="RFC 9110 §12.5.4"),
    _same("case-of-a-language", "Accept-Language", "en-gb", "EN-GB", clause="RFC 9110 §12.5.4"),
    _different("other-weight", "Accept-Language", "en;q=0.5, de", "en;q=0.9, de"),
    row(
        "favourite-language", "normalised", "RFC 9110 §12.5.4",
        ask("Accept-Language: de, en;q=0.5", up=up(MINUTE, "Vary: Accept-Language", "Content-Language: de", body="hallo")),
        ask("Accept-Language: de, fr;q=0.2", sees=sees(body="hallo")),
        ask("Accept-Language: de;q=0.2, fr", up=up(MINUTE, "Vary: Accept-Language", "Content-Language: fr", body="bonjour")),
    ),
    row(
        "vary-star", "star", "RFC 9111 §4.1",
        ask(up=up(MINUTE, "Vary: *", body="one")),
        ask(up=up(MINUTE, body="two")),
    ),
    row(
        "vary-star-in-a-list", "star", "RFC 9111 §4.1",
        ask("X-A: 1", up=up(MINUTE, "Vary: X-A, *", 'ETag: "a"', body="one")),
        ask("X-A: 1", up=up(MINUTE, "Vary: X-A", body="two")),
    ),
    row(
        "vary-empty", "star", "RFC 9110 §12.5.5",
        ask("X-A: 1", up=up(MINUTE, "Vary:", body="one")),
        ask("X-A: 2", sees=sees(body="one")),
    ),
    row(
        "latest-of-two-that-match", "most recent", "RFC 9111 §4.1",
        ask("X-A: 1", up=up(MINUTE, "Vary: X-A", "Date: <now-20>", body="older")),
        ask("X-A: 2", up=up(MINUTE, "Date: <now>", body="newer")),
        ask("X-A: 1", sees=sees(body="newer")),
    ),
    row(
        "answer-that-drops-vary", "most recent", "RFC 9111 §4.1",
        ask("X-A: 1", up=up("Cache-Control: max-age=10", "Vary: X-A", body="one")),
        later(10),
        ask("X-A: 1", up=up(MINUTE, body="for all")),
        ask("X-A: 2", sees=sees(body="for all")),
    ),
)  # fmt: skip

TAGGED = (MINUTE, 'ETag: "a"', f"Last-Modified: {CHANGED}")
DATED = (MINUTE, f"Last-Modified: {CHANGED}")


def _conditional(id: str, claim: str, clause: str, stored: tuple[str, ...], *lines: str, is_304: bool) -> Row:
    """A condition asked of what is fresh and stored; the upstream hears nothing of it."""
    return row(
        id, claim, clause,
        ask(up=up(*stored, body="one")),
        ask(*lines, sees=sees(status=304, body="") if is_304 else sees(body="one")),
        ask(*lines, method="HEAD", sees=sees(status=304 if is_304 else 200)),
    )  # fmt: skip


INM = "RFC 9110 §13.1.2"
IMS = "RFC 9110 §13.1.3"

CONDITIONAL = on(
    "conditional",
    _conditional("tag-that-fits", "if-none-match", INM, TAGGED, 'If-None-Match: "a"', is_304=True),
    _conditional("tag-that-does-not-fit", "if-none-match", INM, TAGGED, 'If-None-Match: "b"', is_304=False),
    _conditional("tag-where-none-is-stored", "if-none-match", INM, DATED, 'If-None-Match: "a"', is_304=False),
    _conditional("case-of-a-tag-counts", "if-none-match", INM, TAGGED, 'If-None-Match: "A"', is_304=False),
    _conditional("weak-tag-for-a-strong-one", "weak", INM, TAGGED, 'If-None-Match: W/"a"', is_304=True),
    _conditional("strong-tag-for-a-weak-one", "weak", INM, (MINUTE, 'ETag: W/"a"'), 'If-None-Match: "a"', is_304=True),
    _conditional("weak-tag-for-a-weak-one", "weak", INM, (MINUTE, 'ETag: W/"a"'), 'If-None-Match: W/"a"', is_304=True),
    _conditional("tag-in-a-list", "list", INM, TAGGED, 'If-None-Match: "x", W/"y" , "a"', is_304=True),
    _conditional("tag-on-a-second-line", "list", INM, TAGGED, 'If-None-Match: "x"', 'If-None-Match: "a"', is_304=True),
    _conditional("list-without-the-tag", "list", INM, TAGGED, 'If-None-Match: "x", "y", W/"b"', is_304=False),
    _conditional("comma-in-a-tag", "list", INM, (MINUTE, 'ETag: "a,b"'), 'If-None-Match: "x", "a,b"', is_304=True),
    _conditional("half-of-a-tag-with-a-comma", "list", INM, (MINUTE, 'ETag: "a,b"'), 'If-None-Match: "a", "b"', is_304=False),
    _conditional("any-tag", "star", INM, TAGGED, "If-None-Match: *", is_304=True),
    _conditional("any-tag-where-none-is-stored", "star", INM, (MINUTE,), "If-None-Match: *", is_304=True),
    _conditional("tag-fits-and-date-does-not", "wins", "RFC 9110 §13.2.2", TAGGED,
                 'If-None-Match: "a"', f"If-Modified-Since: {EARLIER}", is_304=True),
    _conditional("tag-does-not-fit-and-date-does", "wins", "RFC 9110 §13.2.2", TAGGED,
                 'If-None-Match: "b"', f"If-Modified-Since: {LATER}", is_304=False),
    _conditional("since-the-very-second", "if-modified-since", IMS, DATED, f"If-Modified-Since: {CHANGED}", is_304=True),
    _conditional("since-later", "if-modified-since", IMS, DATED, f"If-Modified-Since: {LATER}", is_304=True),
    _conditional("since-earlier", "if-modified-since", IMS, DATED, f"If-Modified-Since: {EARLIER}", is_304=False),
    _conditional("since-rfc850", "if-modified-since", IMS, DATED, "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT", is_304=True),
    _conditional("since-asctime", "if-modified-since", IMS, DATED, "If-Modified-Since: Sun Nov  6 08:49:37 1994", is_304=True),
    _conditional("since-no-date", "if-modified-since", IMS, DATED, "If-Modified-Since: yesterday", is_304=False),
    row(
        "since-against-date-where-nothing-else", "if-modified-since", "RFC 9111 §4.3.2",
        ask(up=up(MINUTE, body="one")),
        ask("If-Modified-Since: <t0>", sees=sees(status=304)),
        ask("If-Modified-Since: <t0-1>", sees=sees(body="one")),
    ),
    row(
        "fields-of-a-304", "304 fields", "RFC 9110 §15.4.5",
        ask(up=up(*TAGGED, "Expires: <now+60>", "Vary: X-A", "Content-Location: /c/x", "Content-Type: text/plain",
                  "Content-Language: en", "X-Own: 1", body="one")),
        later(5),
        ask('If-None-Match: "a"',
            sees=sees('ETag: "a"', "Date: <t0>", MINUTE, "Expires: <t0+60>", "Vary: X-A", "Content-Location: /c/x", "Age: 5",
                      "-Content-Type", "-Content-Language", "-Content-Length", "-Transfer-Encoding", status=304, body="")),
    ),
    row(
        "last-modified-on-a-304-without-a-tag", "304 fields", "RFC 9110 §15.4.5",
        ask(up=up(*DATED, body="one")),
        ask(f"If-Modified-Since: {CHANGED}", sees=sees(f"Last-Modified: {CHANGED}", status=304)),
    ),
    row(
        "condition-on-a-miss-asks-for-the-whole", "if-none-match", "RFC 9111 §4.3.2",
        ask('If-None-Match: "a"', up=up(*TAGGED, body="one", asked=("-If-None-Match",)), sees=sees(status=304, body="")),
        ask(sees=sees(body="one")),
    ),
    row(
        "condition-on-a-miss-that-fails", "if-none-match", "RFC 9111 §4.3.2",
        ask('If-None-Match: "b"', up=up(*TAGGED, body="one"), sees=sees(body="one")),
    ),
    row(
        "since-on-a-miss", "if-modified-since", "RFC 9111 §4.3.2",
        ask(f"If-Modified-Since: {CHANGED}", up=up(*DATED, body="one", asked=("-If-Modified-Since",)), sees=sees(status=304)),
        ask(sees=sees(body="one")),
    ),
    row(
        "condition-on-a-stored-error", "if-none-match", "RFC 9110 §13.2.1",
        ask(up=up(MINUTE, 'ETag: "a"', status=404, body="no")),
        ask('If-None-Match: "a"', sees=sees(status=404, body="no")),
    ),
    row(
        "client-condition-on-what-is-stale", "if-none-match", "RFC 9111 §4.3.2",
        ask(up=up(*TAGGED, body="one")),
        later(60),
        ask('If-None-Match: "z"', up=up(*TAGGED, status=304, asked=('If-None-Match: "a"',)), sees=sees("Age: 0", body="one")),
        later(60),
        ask('If-None-Match: "a"', up=up(*TAGGED, status=304), sees=sees(status=304)),
    ),
    row(
        "if-match-that-holds", "if-none-match", "RFC 9110 §13.1.1",
        ask(up=up(*TAGGED, body="one")),
        ask('If-Match: "a"', sees=sees(body="one")),
    ),
    row(
        "if-match-that-fails-is-asked-upstream", "if-none-match", "RFC 9111 §4.3.2",
        ask(up=up(*TAGGED, body="one")),
        ask('If-Match: "b"', up=up(MINUTE, 'ETag: "b"', body="two"), sees=sees(body="two")),
        ask('If-Match: "a"', up=up(MINUTE, 'ETag: "b"', status=304), sees=sees(status=412)),
    ),
)  # fmt: skip

FAR_UNCHANGED = {"far": "the owner takes a weak tag or a date for the same octets, and tells the copy that nothing has changed"}

REVALIDATION = on(
    "revalidation",
    row(
        "asked-with-both-validators", "validators", "RFC 9111 §4.3.1",
        ask(up=up(*TAGGED, body="one")),
        later(60),
        ask(up=up(*TAGGED, status=304, asked=('If-None-Match: "a"', f"If-Modified-Since: {CHANGED}")), sees=sees("Age: 0", body="one")),
    ),
    row(
        "asked-with-a-weak-tag", "validators", "RFC 9111 §4.3.1",
        ask(up=up(MINUTE, 'ETag: W/"a"', body="one")),
        later(60),
        ask(up=up(MINUTE, 'ETag: W/"a"', status=304, asked=('If-None-Match: W/"a"', "-If-Modified-Since")), sees=sees(body="one")),
    ),
    row(
        "asked-with-the-date-alone", "validators", "RFC 9111 §4.3.1",
        ask(up=up(*DATED, body="one")),
        later(60),
        ask(up=up(*DATED, status=304, asked=(f"If-Modified-Since: {CHANGED}", "-If-None-Match")), sees=sees(body="one")),
    ),
    row(
        "odd-validators-go-back-as-they-came", "validators", "RFC 9111 §4.3.1",
        ask(up=up(MINUTE, "ETag: bare", "Last-Modified: Sunday, 06-Nov-94 08:49:37 GMT", body="one")),
        later(60),
        ask(up=up(MINUTE, status=304, asked=("If-None-Match: bare", "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT")),
            sees=sees(body="one")),
    ),
    row(
        "no-validators-no-condition", "validators", "RFC 9111 §4.3.1",
        ask(up=up(MINUTE, body="one")),
        later(60),
        ask(up=up(MINUTE, body="two", asked=("-If-None-Match", "-If-Modified-Since"))),
    ),
    row(
        "clients-condition-is-not-passed-on", "validators", "RFC 9111 §4.3.1",
        ask(up=up(*TAGGED, body="one")),
        later(60),
        ask('If-None-Match: "mine"', "If-Modified-Since: <now>",
            up=up(*TAGGED, status=304, asked=('If-None-Match: "a"', f"If-Modified-Since: {CHANGED}")), sees=sees(body="one")),
    ),
    row(
        "one-revalidation-for-five-clients", "one at a time", "RFC 9111 §4",
        ask(up=up(*TAGGED, body="one")),
        later(60),
        ask(many=5, up=up(*TAGGED, status=304, hold="head"), sees=sees("Age: 0", body="one")),
    ),
    row(
        "one-fill-for-five-clients", "one at a time", "RFC 9111 §4",
        ask(many=5, up=up(MINUTE, body="one", hold="head"), sees=sees(body="one")),
    ),
    row(
        "one-replacement-for-five-clients", "one at a time", "RFC 9111 §4",
        ask(up=up(*TAGGED, body="one")),
        later(60),
        ask(many=5, up=up(MINUTE, 'ETag: "b"', body="two", hold="head"), sees=sees(body="two")),
    ),
    row(
        "clients-that-come-in-mid-body-read-along", "one at a time", "RFC 9111 §4",
        ask(many=5, up=up(MINUTE, body="0123456789" * 1000, hold="head"), sees=sees(body="0123456789" * 1000)),
    ),
    row(
        "copy-is-as-old-as-the-owners", "one at a time", "RFC 9111 §4.2.3",
        ask(at="other", up=up(MINUTE, "Age: 5", body="one")),
        later(30),
        ask(sees=sees("Age: 35", body="one")),
        later(24),
        ask(sees=sees("Age: 59", body="one")),
        later(1),
        ask(up=up(MINUTE, body="two"), sees=sees("Age: 0", body="two")),
        only=("owner", "far"),
    ),
    row(
        "one-revalidation-for-both-nodes", "one at a time", "RFC 9111 §4.3",
        ask(up=up(*TAGGED, body="one")),
        ask(at="other", sees=sees(body="one")),
        later(60),
        ask(up=up(*TAGGED, "X-A: 2", status=304), sees=sees("X-A: 2", "Age: 0", body="one")),
        later(10),
        ask(at="other", sees=sees("X-A: 2", "Age: 10", body="one")),
        later(50),
        ask(at="other", up=up(MINUTE, 'ETag: "b"', body="two"), sees=sees(body="two")),
        ask(sees=sees(body="two")),
        only=("owner", "far"),
    ),
    row(
        "one-fill-for-clients-at-both-nodes", "one at a time", "RFC 9111 §4",
        ask(at="both", many=6, up=up(MINUTE, body="one", hold="head"), sees=sees(body="one")),
        only=("owner", "far"),
    ),
    row(
        "one-revalidation-for-clients-at-both-nodes", "one at a time", "RFC 9111 §4.3",
        ask(up=up(*TAGGED, body="one")),
        ask(at="other", sees=sees(body="one")),
        later(60),
        ask(at="both", many=6, up=up(*TAGGED, status=304, hold="head"), sees=sees("Age: 0", body="one")),
        only=("owner", "far"),
    ),
    row(
        "one-refresh-behind-stale-answers-at-both-nodes", "one at a time", "RFC 5861 §3",
        ask(up=up("Cache-Control: max-age=60, stale-while-revalidate=60", body="one")),
        ask(at="other", sees=sees(body="one")),
        later(70),
        ask(at="both", many=6, up=up(MINUTE, body="two", hold="head"), joins=0, sees=sees("Age: 70", body="one")),
        only=("owner", "far"),
    ),
    row(
        "private-answers-are-not-shared-among-those-who-wait", "one at a time", "RFC 9111 §5.2.2.7",
        ask(many=2, up=(up("Cache-Control: private", body="mine", hold="head"), up("Cache-Control: private", body="mine")),
            sees=sees(body="mine")),
    ),
    row(
        "variants-are-filled-apart", "one at a time", "RFC 9111 §4.1",
        ask("X-V: 1", up=up(MINUTE, "Vary: X-V", body="one")),
        ask("X-V: 2", up=up(MINUTE, "Vary: X-V", body="two")),
        ask("X-V: 1", sees=sees(body="one")),
    ),
    row(
        "304-gives-new-freshness", "304 updates", "RFC 9111 §4.3.4",
        ask(up=up(*TAGGED, body="one")),
        later(60),
        ask(up=up("Cache-Control: max-age=100", 'ETag: "a"', status=304), sees=sees("Cache-Control: max-age=100", "Age: 0", body="one")),
        later(99),
        ask(sees=sees("Age: 99", body="one")),
        later(1),
        ask(up=up(body="two")),
    ),
    row(
        "304-updates-fields", "304 updates", "RFC 9111 §3.2",
        ask(up=up(*TAGGED, "X-A: 1", "X-B: 1", "X-C: 1", "X-C: 2", "Content-Type: text/plain", body="one")),
        later(60),
        ask(up=up(*TAGGED, "X-A: 2", "X-C: 3", "X-D: 4", "Content-Type: text/html", status=304),
            sees=sees("X-A: 2", "X-B: 1", "X-C: 3", "X-D: 4", "Content-Type: text/html", "Date: <now>", body="one")),
        ask(sees=sees("X-A: 2", "X-B: 1", "X-C: 3", "X-D: 4", "Content-Type: text/html", body="one")),
    ),
    row(
        "304-leaves-fields-of-the-octets", "304 updates", "RFC 9111 §3.2",
        ask(up=up(*TAGGED, "Content-Encoding: gzip", "Content-Length: 3", body="one")),
        later(60),
        ask(up=up(*TAGGED, "Content-Encoding: br", "Content-Length: 99", "Content-Range: bytes 0-1/9", status=304),
            sees=sees("Content-Encoding: gzip", "Content-Length: 3", "-Content-Range", body="one")),
        ask(sees=sees("Content-Encoding: gzip", "Content-Length: 3", body="one")),
    ),
    row(
        "304-brings-no-hop-by-hop-fields", "304 updates", "RFC 9111 §3.1",
        ask(up=up(*TAGGED, body="one")),
        later(60),
        ask(up=up(*TAGGED, "Connection: x-hop", "X-Hop: 1", "Keep-Alive: timeout=1", status=304),
            sees=sees("-X-Hop", "-Keep-Alive", body="one")),
    ),
    row(
        "304-with-a-weak-tag-of-the-same", "304 updates", "RFC 9111 §4.3.4",
        ask(up=up(*TAGGED, body="one")),
        later(60),
        ask(up=up(MINUTE, 'ETag: W/"a"', status=304), sees=sees("Age: 0", body="one")),
        ask(sees=sees(body="one")),
    ),
    row(
        "304-without-a-validator", "304 updates", "RFC 9111 §4.3.4",
        ask(up=up(*TAGGED, body="one")),
        later(60),
        ask(up=up(MINUTE, "X-A: 2", status=304), sees=sees("X-A: 2", 'ETag: "a"', "Age: 0", body="one")),
    ),
    row(
        "304-of-one-variant-leaves-the-other", "304 updates", "RFC 9111 §4.3.4",
        ask("X-V: 1", up=up(MINUTE, "Vary: X-V", 'ETag: "1"', "X-A: 1", body="one")),
        ask("X-V: 2", up=up("Cache-Control: max-age=600", "Vary: X-V", 'ETag: "2"', "X-A: 1", body="two")),
        later(60),
        ask("X-V: 1", up=up(MINUTE, "Vary: X-V", 'ETag: "1"', "X-A: 9", status=304), sees=sees("X-A: 9", body="one")),
        ask("X-V: 2", sees=sees("X-A: 1", "Age: 60", body="two")),
    ),
    row(
        "304-that-says-no-store", "304 updates", "RFC 9111 §5.2.2.5",
        ask(up=up(*TAGGED, body="one")),
        later(60),
        ask(up=up("Cache-Control: no-store", 'ETag: "a"', status=304), sees=sees(body="one")),
        ask(up=up(MINUTE, 'ETag: "b"', body="two"), sees=sees(body="two")),
    ),
    row(
        "200-replaces", "200 replaces", "RFC 9111 §4.3.3",
        ask(up=up(*TAGGED, "X-A: 1", body="one")),
        later(60),
        ask(up=up(MINUTE, 'ETag: "b"', body="two"), sees=sees('ETag: "b"', "-X-A", "-Last-Modified", body="two")),
        ask(sees=sees('ETag: "b"', "-X-A", body="two")),
    ),
    row(
        "200-with-the-same-date-replaces", "200 replaces", "RFC 9111 §4.3.3",
        ask(up=up(*DATED, body="one")),
        later(60),
        ask(up=up(*DATED, body="two"), sees=sees(body="two")),
        ask(sees=sees(body="two")),
    ),
    row(
        "200-with-the-same-weak-tag-replaces", "200 replaces", "RFC 9111 §4.3.3",
        ask(up=up(MINUTE, 'ETag: W/"a"', body="one")),
        later(60),
        ask(up=up(MINUTE, 'ETag: W/"a"', body="two"), sees=sees(body="two")),
        ask(sees=sees(body="two")),
    ),
    row(
        "404-replaces", "200 replaces", "RFC 9111 §4.3.3",
        ask(up=up(*TAGGED, body="one")),
        later(60),
        ask(up=up(MINUTE, status=404, body="gone")),
        ask(sees=sees(status=404, body="gone")),
    ),
    row(
        "5xx-falls-to-grace", "5xx grace", "RFC 9111 §4.3.3",
        ask(up=up(*TAGGED, body="one")),
        later(60),
        ask(up=up(status=500, body="broken"), sees=sees("Age: 60", body="one")),
        later(1),
        Down(),
        ask(sees=sees("Age: 61", body="one")),
        Down(False),
        ask(up=up(*TAGGED, status=304), sees=sees("Age: 0", body="one")),
    ),
    row(
        "5xx-does-not-replace", "5xx grace", "RFC 9111 §4.3.3",
        ask(up=up(*TAGGED, body="one")),
        later(60),
        ask(up=up(MINUTE, status=503, body="broken"), sees=sees(body="one")),
        ask(up=up(*TAGGED, status=304, asked=('If-None-Match: "a"',)), sees=sees(body="one")),
    ),
    row(
        "304-of-another-version-where-stale-is-forbidden", "304 misfit", "RFC 9111 §4.2.4",
        ask(up=up(f"{MINUTE}, must-revalidate", 'ETag: "a"', "X-A: 1", body="one")),
        later(60),
        ask(up=(up(MINUTE, 'ETag: "b"', "X-A: 2", status=304), up(MINUTE, 'ETag: "b"', body="two", asked=("-If-None-Match",))),
            sees=sees('ETag: "b"', body="two")),
    ),
    row(
        "304-of-another-version-updates-nothing", "304 misfit", "RFC 9111 §4.3.4",
        ask(up=up(MINUTE, 'ETag: "a"', "X-A: 1", body="one")),
        later(60),
        ask(up=up(MINUTE, 'ETag: "b"', "X-A: 2", status=304), sees=sees("X-A: 1", body="one")),
        ask(up=up(MINUTE, 'ETag: "b"', body="two"), sees=sees(body="two")),
    ),
    row(
        "304-to-an-unconditional-request", "304 misfit", "RFC 9110 §15.4.5",
        ask(up=up('ETag: "a"', status=304), sees=sees(status=502)),
        ask(up=up(MINUTE, body="one")),
    ),
)  # fmt: skip

HEAD = on(
    "head",
    *(
        row(
            f"head-equals-get-{name}", "equals get", "RFC 9110 §9.3.2",
            ask(up=up(MINUTE, 'ETag: "a"', "Content-Type: text/plain", "X-A: 1", "X-A: 2", body="0123456789", framing=framing)),
            later(7),
            ask(method="HEAD", sees=sees(MINUTE, 'ETag: "a"', "Content-Type: text/plain", "X-A: 1, 2", "Content-Length: 10", "Age: 7",
                                         "Date: <t0>", "-Transfer-Encoding")),
            ask(sees=sees(MINUTE, 'ETag: "a"', "Content-Type: text/plain", "X-A: 1, 2", "Content-Length: 10", "Age: 7", "Date: <t0>",
                          "-Transfer-Encoding", body="0123456789")),
        )
        for name, framing in (("length", "length"), ("chunked", "chunked"), ("close", "close"))
    ),
    row(
        "head-on-a-miss", "equals get", "RFC 9110 §9.3.2",
        ask(method="HEAD", up=up(MINUTE, 'ETag: "a"', body="0123456789", method="HEAD"), sees=sees('ETag: "a"', "Content-Length: 10")),
    ),
    row(
        "head-on-a-miss-of-unknown-length", "equals get", "RFC 9110 §8.6",
        ask(method="HEAD", up=up(MINUTE, 'ETag: "a"', framing="none"), sees=sees('ETag: "a"', "-Content-Length")),
    ),
    row(
        "head-of-an-error", "equals get", "RFC 9110 §9.3.2",
        ask(method="HEAD", up=up(status=404, body="no"), sees=sees(status=404)),
    ),
    row(
        "head-of-what-is-confirmed", "equals get", "RFC 9110 §9.3.2",
        ask(up=up("Cache-Control: no-cache", 'ETag: "a"', body="0123456789", framing="chunked")),
        ask(method="HEAD", up=up("Cache-Control: no-cache", 'ETag: "a"', status=304), sees=sees("Content-Length: 10")),
    ),
    row(
        "head-updates-what-agrees", "updates", "RFC 9111 §4.3.5",
        ask(up=up(*TAGGED, "X-A: 1", body="one")),
        later(60),
        ask(method="HEAD", up=up("Cache-Control: max-age=100", 'ETag: "a"', "X-A: 2", body="one")),
        later(99),
        ask(sees=sees("X-A: 2", "Age: 99", body="one")),
    ),
    row(
        "head-with-another-tag", "invalidates", "RFC 9111 §4.3.5",
        ask(up=up(MINUTE, 'ETag: "a"', body="one")),
        ask("Cache-Control: no-cache", method="HEAD", up=up(MINUTE, 'ETag: "b"', body="two")),
        ask(up=up(MINUTE, 'ETag: "b"', body="two")),
        ask(sees=sees(body="two")),
    ),
    row(
        "head-with-another-length", "invalidates", "RFC 9111 §4.3.5",
        ask(up=up(MINUTE, body="one")),
        ask("Cache-Control: no-cache", method="HEAD", up=up(MINUTE, body="twelve")),
        ask(up=up(MINUTE, body="twelve")),
    ),
    row(
        "head-with-another-date", "invalidates", "RFC 9111 §4.3.5",
        ask(up=up(*DATED, body="one")),
        ask("Cache-Control: no-cache", method="HEAD", up=up(MINUTE, f"Last-Modified: {LATER}", body="one")),
        ask(up=up(MINUTE, f"Last-Modified: {LATER}", body="two")),
    ),
    row(
        "head-that-fails-leaves-what-is-stored", "invalidates", "RFC 9111 §4.3.5",
        ask(up=up(MINUTE, 'ETag: "a"', body="one")),
        ask("Cache-Control: no-cache", method="HEAD", up=up(status=503), sees=sees('ETag: "a"')),
        ask(sees=sees(body="one")),
    ),
)  # fmt: skip


def _changes(
    id: str, method: str, status: int = 200, *, is_stale: bool = True, claim: str = "invalidates", at: str = "client", **more: object
) -> Row:
    """An unsafe request that went well (or not), between two GETs."""
    return row(
        id, claim, "RFC 9111 §4.4",
        ask(up=up(MINUTE, 'ETag: "a"', body="one")),
        ask(method=method, body="x", at=at, up=up(status=status)),
        ask(up=up(MINUTE, 'ETag: "b"', body="two")) if is_stale else ask(sees=sees(body="one")),
        **more,
    )  # fmt: skip


UNSAFE = on(
    "unsafe",
    *(
        row(
            f"{method.lower()}-passes", "passes", "RFC 9110 §9.3",
            ask("X-A: 1", "Content-Type: text/plain", method=method, body="what I say",
                up=up("X-B: 2", "Location: /made", status=status, body="heard", content=b"what I say",
                      asked=("X-A: 1", "Content-Type: text/plain", "Host: <upstream>")),
                sees=sees("X-B: 2", "Location: /made", status=status, body="heard")),
        )
        for method, status in (("POST", 201), ("PUT", 200), ("DELETE", 202), ("PATCH", 200), ("MKCOL", 201), ("OPTIONS", 200))
    ),
    row(
        "delete-without-a-body", "passes", "RFC 9110 §9.3.5",
        ask(method="DELETE", up=up(status=204, content=b"", asked=("-Content-Length", "-Transfer-Encoding"))),
    ),
    row(
        "condition-of-an-unsafe-request-passes", "passes", "RFC 9110 §13.1.1",
        ask('If-Match: "a"', method="PUT", body="x", up=up(status=412, asked=('If-Match: "a"',))),
    ),
    row(
        "post-without-a-body-says-so", "passes", "RFC 9110 §8.6",
        ask("Content-Length: 0", method="POST", up=up(status=200, content=b"", asked=("Content-Length: 0",))),
    ),
    row(
        "range-of-an-unsafe-request-passes", "passes", "RFC 9110 §14.2",
        ask("Content-Range: bytes 0-1/2", method="PUT", body="ab", up=up(status=200, asked=("Content-Range: bytes 0-1/2",))),
    ),
    row(
        "chunked-upload", "streams", "RFC 9112 §7.1",
        ask(method="PUT", body="x" * 200_000, is_chunked=True, up=up(status=201, content=b"x" * 200_000)),
    ),
    row(
        "long-upload", "streams", "RFC 9110 §8.6",
        ask(method="PUT", body="x" * 2_000_000, up=up(status=201, content=b"x" * 2_000_000, asked=("Content-Length: 2000000",))),
    ),
    row(
        "long-answer", "streams", "RFC 9110 §9.3.3",
        ask(method="POST", body="x", up=up(body="y" * 2_000_000)),
    ),
    row(
        "answer-of-unknown-length", "streams", "RFC 9112 §7.1",
        ask(method="POST", body="x", up=up(body="y" * 100_000, framing="chunked")),
        ask(method="POST", body="x", up=up(body="y" * 100_000, framing="close")),
    ),
    row(
        "answer-that-breaks-off", "streams", "RFC 9112 §8",
        ask(method="POST", body="x", up=up(body="y" * 1000, cut=500), sees=sees(cut=True)),
    ),
    row(
        "unsafe-and-refused", "passes", "RFC 9110 §15.6.3",
        Down(),
        ask(method="POST", body="x", sees=sees(status=502)),
    ),
    row(
        "unsafe-is-not-sent-twice", "passes", "RFC 9110 §9.2.2",
        ask(method="POST", body="x", up=up(hangup=True), sees=sees(status=502)),
    ),
    *(_changes(f"{method.lower()}-invalidates", method) for method in ("POST", "PUT", "DELETE", "PATCH", "MKCOL")),
    *(_changes(f"post-{status}-invalidates", "POST", status) for status in (201, 204, 301, 303)),
    *(_changes(f"post-{status}-leaves-it", "POST", status, is_stale=False) for status in (400, 404, 409, 500, 503)),
    _changes("options-leaves-it", "OPTIONS", is_stale=False),
    _changes("through-the-other-node", "POST", claim="every node", at="other",
             only=("owner", "far")),
    row(
        "invalidated-keeps-its-octets", "invalidates", "RFC 9111 §4.4",
        ask(up=up(MINUTE, 'ETag: "a"', body="one")),
        ask(method="POST", body="x", up=up()),
        ask(up=up(MINUTE, 'ETag: "a"', status=304, asked=('If-None-Match: "a"',)), sees=sees("Age: 0", body="one")),
        ask(sees=sees(body="one")),
    ),
    row(
        "all-variants-go", "invalidates", "RFC 9111 §4.4",
        ask("X-V: 1", up=up(MINUTE, "Vary: X-V", body="one")),
        ask("X-V: 2", up=up(MINUTE, "Vary: X-V", body="two")),
        ask(method="POST", body="x", up=up()),
        ask("X-V: 1", up=up(MINUTE, "Vary: X-V", body="one again")),
        ask("X-V: 2", up=up(MINUTE, "Vary: X-V", body="two again")),
    ),
    *(
        row(
            f"{field.lower()}-{name}", "locations", "RFC 9111 §4.4",
            ask(target="@/named", up=up(MINUTE, 'ETag: "a"', body="one")),
            ask(method="POST", body="x", up=up(f"{field}: {value}", status=201)),
            ask(target="@/named", up=up(MINUTE, 'ETag: "b"', body="two")),
        )
        for field in ("Location", "Content-Location")
        for name, value in (
            ("path", "<path>/named"),
            ("of-this-node", "http://<node><path>/named"),
            ("of-the-upstream", "http://<upstream><path>/named"),
        )
    ),
    *(
        row(
            f"{field.lower()}-of-another-host", "locations", "RFC 9111 §4.4",
            ask(target="@/named", up=up(MINUTE, 'ETag: "a"', body="one")),
            ask(method="POST", body="x", up=up(f"{field}: http://elsewhere.example<path>/named", status=201)),
            ask(target="@/named", sees=sees(body="one")),
        )
        for field in ("Location", "Content-Location")
    ),
    row(
        "location-of-a-failure", "locations", "RFC 9111 §4.4",
        ask(target="@/named", up=up(MINUTE, 'ETag: "a"', body="one")),
        ask(method="POST", body="x", up=up("Location: <path>/named", status=409)),
        ask(target="@/named", sees=sees(body="one")),
    ),
    row(
        "every-copy-after-a-post", "every node", "RFC 9111 §4.4",
        ask(up=up(MINUTE, 'ETag: "a"', body="one")),
        ask(at="other", sees=sees(body="one")),
        ask(method="POST", body="x", up=up()),
        ask(at="other", up=up(MINUTE, 'ETag: "b"', body="two")),
        ask(sees=sees(body="two")),
        only=("owner", "far"),
    ),
)  # fmt: skip

ROWS = [*VARY, *CONDITIONAL, *REVALIDATION, *HEAD, *UNSAFE]
