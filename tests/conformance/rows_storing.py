"""Storing and freshness: how long an answer is good, who says so, and who forbids keeping it (RFC 9111 §3, §4.2; RFC 5861, 8246, 9213)."""

from __future__ import annotations

from tests.conformance.kit_rows import ALONE, OWNER, Down, Row, Up, ask, goes, lasts, later, on, row, sees, stays, up

DAY = 24 * 3600
YEAR = 365 * DAY

LIFETIME = on(
    "lifetime",
    row(
        "s-maxage-before-max-age", "order", "RFC 9111 §4.2.1",
        ask(up=up("Cache-Control: s-maxage=60, max-age=1", body="one")),
        later(59),
        ask(sees=sees("Age: 59", body="one")),
        later(1),
        ask(up=up("Cache-Control: max-age=1", body="two")),
    ),
    lasts("short-s-maxage-before-long-max-age", "order", "RFC 9111 §5.2.2.10", "Cache-Control: max-age=600, s-maxage=60", seconds=60),
    lasts("max-age-before-expires", "order", "RFC 9111 §5.3", "Cache-Control: max-age=60", "Expires: <now+600>", seconds=60),
    lasts("long-max-age-before-past-expires", "order", "RFC 9111 §5.3", "Cache-Control: max-age=60", "Expires: <now-600>", seconds=60),
    lasts("s-maxage-before-expires", "order", "RFC 9111 §4.2.1", "Cache-Control: s-maxage=60", "Expires: <now+600>", seconds=60),
    lasts("expires-without-max-age", "order", "RFC 9111 §4.2.1", "Expires: <now+60>", seconds=60),
    lasts("expires-before-guess", "order", "RFC 9111 §4.2.2", "Expires: <now+60>", "Last-Modified: <now-100000>", seconds=60),
    goes("max-age-0", "order", "RFC 9111 §4.2", "Cache-Control: max-age=0", 'ETag: "a"'),
    goes("s-maxage-0-despite-max-age", "order", "RFC 9111 §4.2.1", "Cache-Control: s-maxage=0, max-age=600"),
    lasts("guess-a-tenth", "heuristic", "RFC 9111 §4.2.2", "Last-Modified: <now-1000>", seconds=100),
    *(
        stays(f"guess-for-{status}", "heuristic", "RFC 9110 §15.1", "Last-Modified: <now-10000>", status=status, seconds=999)
        for status in (203, 300, 301, 308)
    ),
    *(
        goes(f"no-guess-for-{status}", "heuristic needs", "RFC 9111 §4.2.2", "Last-Modified: <now-10000>", status=status)
        for status in (201, 202, 302, 303, 307, 403, 418, 599)
    ),
    row(
        "guess-for-any-status-marked-public", "heuristic needs", "RFC 9111 §4.2.2",
        ask(up=up("Cache-Control: public", "Last-Modified: <now-10000>", status=403)),
        later(90),
        ask(sees=sees(status=403)),
    ),
    goes("no-guess-without-last-modified", "heuristic needs", "RFC 9111 §4.2.2", 'ETag: "a"'),
    goes("no-guess-from-a-future-change", "heuristic needs", "RFC 9111 §4.2.2", "Last-Modified: <now+1000>"),
    goes("guess-switched-off", "heuristic needs", "RFC 9111 §4.2.2", "Last-Modified: <now-10000>", policy={"heuristic": False}),
    lasts("operators-ttl", "heuristic", "RFC 9111 §4.2.2", seconds=300, policy={"default_ttls": (("/c/*", 300.0),)}),
    lasts("cdn-field-before-cache-control", "targeted order", "RFC 9213 §2.2",
          "Cache-Control: max-age=600", "CDN-Cache-Control: max-age=60", seconds=60),
    lasts("own-field-before-cdn-field", "targeted order", "RFC 9213 §2.2",
          "Cache-Control: max-age=900", "CDN-Cache-Control: max-age=600", "MiniCDN-CDN-Cache-Control: max-age=60", seconds=60),
    lasts("targeted-field-before-expires", "targeted order", "RFC 9213 §2.2",
          "Expires: <now+900>", "CDN-Cache-Control: max-age=60", seconds=60),
    stays("targeted-field-overrules-no-store", "targeted order", "RFC 9213 §2.2",
          "Cache-Control: no-store", "CDN-Cache-Control: max-age=60", seconds=59),
    goes("targeted-no-store", "targeted order", "RFC 9213 §2.2", "Cache-Control: max-age=60", "CDN-Cache-Control: no-store"),
    goes("targeted-private", "targeted order", "RFC 9213 §2.2", "Cache-Control: max-age=60", "CDN-Cache-Control: private"),
    row(
        "targeted-no-cache", "targeted order", "RFC 9213 §2.2",
        ask(up=up("Cache-Control: max-age=60", "CDN-Cache-Control: no-cache", 'ETag: "a"', body="one")),
        ask(up=up('ETag: "a"', status=304, asked=('If-None-Match: "a"',)), sees=sees(body="one")),
    ),
    stays("targeted-unknown-members", "targeted order", "RFC 9213 §2.1",
          "Cache-Control: no-store", 'CDN-Cache-Control: new;x=1, other="y", max-age=60', seconds=59),
    lasts("targeted-last-of-two-members", "targeted order", "RFC 9651 §4.2.2",
          "CDN-Cache-Control: max-age=600, max-age=60", seconds=60),
    row(
        "targeted-field-reaches-the-client", "targeted order", "RFC 9213 §2.2",
        ask(up=up("Cache-Control: max-age=1", "CDN-Cache-Control: max-age=60", body="one")),
        later(30),
        ask(sees=sees("Cache-Control: max-age=1", "CDN-Cache-Control: max-age=60", "Age: 30", body="one")),
    ),
    lasts("targeted-with-bad-syntax", "targeted unreadable", "RFC 9213 §2.1",
          "Cache-Control: max-age=60", "CDN-Cache-Control: max-age=600, =no", seconds=60),
    lasts("targeted-with-a-negative-number", "targeted unreadable", "RFC 9213 §2.1",
          "Cache-Control: max-age=60", "CDN-Cache-Control: max-age=-1", seconds=60),
    lasts("targeted-with-a-quoted-number", "targeted unreadable", "RFC 9213 §2.1",
          "Cache-Control: max-age=60", 'CDN-Cache-Control: max-age="600"', seconds=60),
    lasts("targeted-empty", "targeted unreadable", "RFC 9213 §2.1", "Cache-Control: max-age=60", "CDN-Cache-Control:", seconds=60),
    lasts("own-field-unreadable-then-the-next", "targeted unreadable", "RFC 9213 §2.2",
          "Cache-Control: max-age=600", "CDN-Cache-Control: max-age=60", "MiniCDN-CDN-Cache-Control: ?!", seconds=60),
)  # fmt: skip

DIRECTIVES = on(
    "directives",
    stays("upper-case-name", "case", "RFC 9111 §5.2", "Cache-Control: MAX-AGE=60", seconds=59),
    goes("mixed-case-no-store", "case", "RFC 9111 §5.2", "Cache-Control: max-age=60, No-StoRe"),
    stays("upper-case-field-name", "case", "RFC 9110 §5.1", "CACHE-CONTROL: max-age=60", seconds=59),
    lasts("quoted-max-age", "quotes", "RFC 9111 §5.2", 'Cache-Control: max-age="60"', seconds=60),
    stays("comma-in-quotes-separates-nothing", "quotes", "RFC 9110 §5.6.1", 'Cache-Control: max-age=60, x="a, no-store, b"', seconds=59),
    stays("escaped-quote-in-quotes", "quotes", "RFC 9110 §5.6.4", 'Cache-Control: x="a\\", no-store", max-age=60', seconds=59),
    goes("two-lines-combine", "several lines", "RFC 9110 §5.2", "Cache-Control: max-age=60", "Cache-Control: no-store"),
    lasts("two-lines-each-half", "several lines", "RFC 9110 §5.2", "Cache-Control: public", "Cache-Control: max-age=60", seconds=60),
    stays("unknown-directives", "unknown", "RFC 9111 §5.2.3", 'Cache-Control: a, b=c, d="e", max-age=60, f=', seconds=59),
    goes("unknown-directive-that-begins-alike", "unknown", "RFC 9111 §5.2.3", "Cache-Control: max-age-of-us=60"),
    stays("no-blanks-after-commas", "spacing", "RFC 9110 §5.6.1", "Cache-Control: public,max-age=60,x", seconds=59),
    stays("many-blanks-and-empty-members", "spacing", "RFC 9110 §5.6.1", "Cache-Control:  ,, \t public ,\t, max-age=60  ,", seconds=59),
    goes("blank-before-the-number", "spacing", "RFC 9111 §5.2", "Cache-Control: max-age= 60"),
    goes("blank-before-the-equals-sign", "spacing", "RFC 9111 §5.2", "Cache-Control: max-age =60"),
    goes("two-numbers-that-differ", "repeated", "RFC 9111 §4.2.1", "Cache-Control: max-age=60, max-age=600"),
    goes("two-numbers-that-differ-on-two-lines", "repeated", "RFC 9111 §4.2.1", "Cache-Control: max-age=60", "Cache-Control: max-age=1"),
    lasts("the-same-number-twice", "repeated", "RFC 9111 §4.2.1", "Cache-Control: max-age=60, max-age=60", seconds=60),
    goes("letters-for-a-number", "unreadable", "RFC 9111 §4.2.1", "Cache-Control: max-age=abc", "Expires: <now+600>"),
    goes("number-with-a-tail", "unreadable", "RFC 9111 §4.2.1", "Cache-Control: max-age=60s"),
    goes("no-number", "unreadable", "RFC 9111 §4.2.1", "Cache-Control: max-age"),
    goes("empty-number", "unreadable", "RFC 9111 §4.2.1", "Cache-Control: max-age="),
    goes("single-quotes", "unreadable", "RFC 9111 §5.2", "Cache-Control: max-age='60'"),
    stays("ten-digits", "huge", "RFC 9111 §1.2.2", "Cache-Control: max-age=9999999999", seconds=30 * DAY),
    stays("a-hundred-digits", "huge", "RFC 9111 §1.2.2", f"Cache-Control: max-age={'9' * 100}", seconds=30 * DAY),
    stays("two-to-the-31", "huge", "RFC 9111 §1.2.2", "Cache-Control: max-age=2147483648", seconds=30 * DAY),
    stays("two-to-the-63", "huge", "RFC 9111 §1.2.2", "Cache-Control: s-maxage=9223372036854775808", seconds=30 * DAY),
    lasts("leading-noughts", "huge", "RFC 9111 §1.2.2", f"Cache-Control: max-age={'0' * 40}60", seconds=60),
    goes("negative-number", "negative", "RFC 9111 §1.2.2", "Cache-Control: max-age=-1"),
    goes("negative-s-maxage", "negative", "RFC 9111 §1.2.2", "Cache-Control: s-maxage=-60, max-age=600"),
    goes("fraction", "fraction", "RFC 9111 §1.2.2", "Cache-Control: max-age=60.5"),
    goes("exponent", "fraction", "RFC 9111 §1.2.2", "Cache-Control: max-age=6e1"),
)

EXPIRES = on(
    "expires",
    lasts("expires-fixed", "three forms", "RFC 9110 §5.6.7", "Expires: <now+60>", seconds=60),
    lasts("expires-rfc850", "three forms", "RFC 9110 §5.6.7", "Expires: <850:now+60>", seconds=60),
    lasts("expires-asctime", "three forms", "RFC 9110 §5.6.7", "Expires: <asctime:now+60>", seconds=60),
    goes("expires-rfc850-past", "three forms", "RFC 9110 §5.6.7", "Expires: <850:now-60>"),
    goes("expires-words", "anything else", "RFC 9111 §5.3", "Expires: never"),
    goes("expires-minus-one", "anything else", "RFC 9111 §5.3", "Expires: -1"),
    goes("expires-empty", "anything else", "RFC 9111 §5.3", "Expires:"),
    goes("expires-iso", "anything else", "RFC 9111 §5.3", "Expires: 2099-12-31T23:59:59Z"),
    goes("expires-other-zone", "anything else", "RFC 9110 §5.6.7", "Expires: Thu, 31 Dec 2099 23:59:59 EST"),
    goes("expires-no-such-day", "anything else", "RFC 9111 §5.3", "Expires: Mon, 31 Feb 2099 10:00:00 GMT"),
    goes("expires-no-blank-after-comma", "anything else", "RFC 9111 §5.3", "Expires: Thu,31 Dec 2099 23:59:59 GMT"),
    goes("expires-two-lines-that-differ", "anything else", "RFC 9111 §4.2.1", "Expires: <now+60>", "Expires: <now+600>"),
    goes("expires-unreadable-rules-out-a-guess", "anything else", "RFC 9111 §5.3", "Expires: 12", "Last-Modified: <now-10000>"),
    goes("expires-zero", "zero", "RFC 9111 §5.3", "Expires: 0"),
    goes("expires-zero-rules-out-a-guess", "zero", "RFC 9111 §5.3", "Expires: 0", "Last-Modified: <now-10000>"),
    goes("expires-now", "by date", "RFC 9111 §4.2.1", "Expires: <now>"),
    lasts("expires-with-a-fast-upstream-clock", "by date", "RFC 9111 §4.2.1", "Date: <now+1000>", "Expires: <now+1060>", seconds=60),
    goes("expires-with-a-slow-upstream-clock", "by date", "RFC 9111 §4.2.1", "Date: <now-1000>", "Expires: <now-940>"),
    goes("expires-before-date", "by date", "RFC 9111 §4.2.1", "Date: <now+1000>", "Expires: <now+60>"),
    lasts("expires-without-a-date", "by date", "RFC 9110 §6.6.1", "-Date", "Expires: <now+60>", seconds=60),
    lasts("expires-with-an-unreadable-date", "by date", "RFC 9110 §6.6.1", "Date: today", "Expires: <now+60>", seconds=60),
)

AGE = on(
    "age",
    row(
        "age-of-the-upstream-counts", "upstream's", "RFC 9111 §4.2.3",
        ask(up=up("Cache-Control: max-age=60", "Age: 30", body="one"), sees=sees("Age: 30")),
        later(29),
        ask(sees=sees("Age: 59", body="one")),
        later(1),
        ask(up=up(body="two")),
    ),
    goes("age-beyond-the-lifetime", "upstream's", "RFC 9111 §4.2.3", "Cache-Control: max-age=60", "Age: 60"),
    row(
        "age-from-an-old-date", "upstream's", "RFC 9111 §4.2.3",
        ask(up=up("Cache-Control: max-age=60", "Date: <now-30>", body="one")),
        later(29),
        ask(sees=sees("Age: 59", "Date: <t0-30>", body="one")),
        later(1),
        ask(up=up(body="two")),
    ),
    row(
        "larger-of-age-and-date", "upstream's", "RFC 9111 §4.2.3",
        ask(up=up("Cache-Control: max-age=60", "Date: <now-10>", "Age: 40", body="one")),
        later(19),
        ask(sees=sees("Age: 59", body="one")),
        later(1),
        ask(up=up(body="two")),
    ),
    row(
        "date-ahead-makes-nothing-younger", "upstream's", "RFC 9111 §4.2.3",
        ask(up=up("Cache-Control: max-age=60", "Date: <now+500>", body="one"), sees=sees("Age: 0")),
        later(10),
        ask(sees=sees("Age: 10", body="one")),
    ),
    row(
        "age-list-is-read-by-its-first", "first valid", "RFC 9111 §5.1",
        ask(up=up("Cache-Control: max-age=60", "Age: 10, 50", body="one")),
        later(20),
        ask(sees=sees("Age: 30", body="one")),
    ),
    row(
        "age-lines-are-read-by-the-first", "first valid", "RFC 9111 §5.1",
        ask(up=up("Cache-Control: max-age=60", "Age: 10", "Age: 50", body="one")),
        later(20),
        ask(sees=sees("Age: 30", body="one")),
    ),
    *(
        row(
            f"age-{name}-ignored", "unreadable", "RFC 9111 §5.1",
            ask(up=up("Cache-Control: max-age=60", f"Age: {value}", body="one")),
            later(20),
            ask(sees=sees("Age: 20", body="one")),
        )
        for name, value in (("negative", "-40"), ("word", "old"), ("fraction", "40.5"), ("empty", ""), ("suffixed", "40s"))
    ),
    goes("age-huge", "upstream's", "RFC 9111 §1.2.2", "Cache-Control: max-age=60", "Age: 99999999999"),
    row(
        "the-answers-delay-counts", "delay", "RFC 9111 §4.2.3",
        ask(up=up("Cache-Control: max-age=60", "-Date", body="one", takes=20)),
        later(39),
        ask(sees=sees("Age: 59", body="one")),
        later(1),
        ask(up=up(body="two")),
    ),
    row(
        "delay-and-age-add-up", "delay", "RFC 9111 §4.2.3",
        ask(up=up("Cache-Control: max-age=60", "Age: 20", body="one", takes=20)),
        later(19),
        ask(sees=sees("Age: 59", body="one")),
        later(1),
        ask(up=up(body="two")),
    ),
    row(
        "resident-time-counts", "resident", "RFC 9111 §4.2.3",
        ask(up=up("Cache-Control: max-age=1000", body="one")),
        *(step for age in (1, 2, 3) for step in (later(100), ask(sees=sees(f"Age: {age}00", body="one")))),
    ),
    row(
        "age-at-once", "always sent", "RFC 9111 §5.1",
        ask(up=up("Cache-Control: max-age=60", body="one")),
        ask(sees=sees("Age: 0", body="one")),
        ask(method="HEAD", sees=sees("Age: 0")),
    ),
    row(
        "age-of-a-304-and-a-206", "always sent", "RFC 9111 §5.1",
        ask(up=up("Cache-Control: max-age=60", 'ETag: "a"', body="one")),
        later(7),
        ask('If-None-Match: "a"', sees=sees("Age: 7", status=304)),
        ask("Range: bytes=0-1", sees=sees("Age: 7", status=206)),
    ),
    row(
        "age-of-what-is-not-stored", "always sent", "RFC 9111 §5.1",
        ask(up=up("Cache-Control: no-store", "Age: 5", body="one"), sees=sees("Age: 5", body="one")),
    ),
)  # fmt: skip


def _cut(claim: str, id: str, **answer: object) -> Row:
    """An answer that breaks off is not kept, and its successor is."""
    return row(
        id, claim, "RFC 9111 §3.3",
        ask(up=up("Cache-Control: max-age=60", body="0123456789", **answer), sees=sees(cut=True)),
        ask(up=up("Cache-Control: max-age=60", body="0123456789")),
        ask(sees=sees(body="0123456789")),
    )  # fmt: skip


UNDERSTOOD = "Cache-Control: max-age=60, must-understand"

NOT_STORED = on(
    "not stored",
    goes("no-store", "no-store", "RFC 9111 §5.2.2.5", "Cache-Control: no-store"),
    goes("no-store-beside-max-age", "no-store", "RFC 9111 §5.2.2.5", "Cache-Control: max-age=60, no-store", 'ETag: "a"'),
    goes("no-store-with-an-argument", "no-store", "RFC 9111 §5.2.2.5", "Cache-Control: max-age=60, no-store=x"),
    row(
        "no-store-leaves-what-is-stored", "no-store", "RFC 9111 §5.2.2.5",
        ask(up=up("Cache-Control: max-age=10", 'ETag: "a"', body="one")),
        later(10),
        ask(up=up("Cache-Control: no-store", body="two")),
        ask(up=up("Cache-Control: max-age=60", body="three", asked=("-If-Modified-Since",)), sees=sees(body="three")),
    ),
    goes("private", "private", "RFC 9111 §5.2.2.7", "Cache-Control: private, max-age=60"),
    goes("private-beside-public", "private", "RFC 9111 §5.2.2.7", "Cache-Control: public, private, max-age=60"),
    goes("private-despite-s-maxage", "private", "RFC 9111 §5.2.2.7", "Cache-Control: private, s-maxage=60"),
    goes("authorization", "authorization", "RFC 9111 §3.5", "Cache-Control: max-age=60", request=("Authorization: Basic eDp5",)),
    row(
        "authorized-answer-for-nobody-else", "authorization", "RFC 9111 §3.5",
        ask("Authorization: Basic eDp5", up=up("Cache-Control: max-age=60", body="mine", asked=("Authorization: Basic eDp5",))),
        ask(up=up("Cache-Control: max-age=60", body="all", asked=("-Authorization",)), sees=sees(body="all")),
        ask("Authorization: Basic eDp5", sees=sees(body="all")),
    ),
    *(
        stays(f"authorization-with-{word.partition('=')[0]}", "authorization", "RFC 9111 §3.5", f"Cache-Control: max-age=60, {word}",
              seconds=59, request=("Authorization: Basic eDp5",))
        for word in ("public", "s-maxage=60", "must-revalidate")
    ),
    row(
        "answer-to-post", "method", "RFC 9111 §3",
        ask(method="POST", body="x", up=up("Cache-Control: max-age=60", body="posted")),
        ask(up=up("Cache-Control: max-age=60", body="got")),
    ),
    row(
        "answer-to-options", "method", "RFC 9110 §9.3.7",
        ask(method="OPTIONS", up=up("Cache-Control: max-age=60", body="options")),
        ask(method="OPTIONS", up=up("Cache-Control: max-age=60", body="options again")),
        ask(up=up("Cache-Control: max-age=60", body="got")),
        ask(method="OPTIONS", up=up("Cache-Control: max-age=60", body="options once more")),
        ask(sees=sees(body="got")),
    ),
    row(
        "answer-to-an-unknown-method", "method", "RFC 9111 §3",
        ask(method="REPORT", up=up("Cache-Control: max-age=60", body="report")),
        ask(method="REPORT", up=up("Cache-Control: max-age=60", body="report again")),
        ask(up=up("Cache-Control: max-age=60", body="got")),
    ),
    row(
        "answer-to-head-is-no-answer-to-get", "method", "RFC 9110 §9.3.2",
        ask(method="HEAD", up=up("Cache-Control: max-age=60", body="0123456789"), sees=sees("Content-Length: 10")),
        ask(up=up("Cache-Control: max-age=60", body="0123456789")),
    ),
    _cut("incomplete length", "closed-before-content-length", cut=5),
    _cut("incomplete length", "closed-before-the-first-byte", cut=0),
    _cut("incomplete chunks", "closed-between-chunks", framing="chunked", cut=5),
    row(
        "chunk-shorter-than-said", "incomplete chunks", "RFC 9112 §8",
        ask(
            up=Up(raw=b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n8\r\n567"),
            sees=sees(cut=True),
        ),
        ask(up=up("Cache-Control: max-age=60", body="0123456789")),
    ),
    row(
        "chunk-size-that-is-none", "incomplete chunks", "RFC 9112 §7.1",
        ask(
            up=Up(raw=b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\nzz\r\n\r\n"),
            sees=sees(cut=True),
        ),
        ask(up=up("Cache-Control: max-age=60", body="0123456789")),
    ),
    row(
        "ends-with-the-connection", "incomplete length", "RFC 9112 §6.3",
        ask(up=up("Cache-Control: max-age=60", body="0123456789", framing="close")),
        ask(sees=sees("Content-Length: 10", body="0123456789")),
    ),
    stays("must-understand-and-understood", "must-understand", "RFC 9111 §5.2.2.3", UNDERSTOOD, seconds=59),
    stays("must-understand-makes-no-store-mute", "must-understand", "RFC 9111 §5.2.2.3", f"{UNDERSTOOD}, no-store", seconds=59),
    row(
        "must-understand-not-understood", "must-understand", "RFC 9111 §5.2.2.3",
        ask(up=up(UNDERSTOOD, status=299)),
        ask(up=up(UNDERSTOOD, status=299, body="again")),
    ),
    row(
        "no-store-counts-where-not-understood", "must-understand", "RFC 9111 §5.2.2.3",
        ask(up=up(f"{UNDERSTOOD}, no-store", status=299)),
        ask(up=up(UNDERSTOOD, status=299, body="again")),
    ),
)  # fmt: skip

QUALIFIED = on(
    "qualified",
    row(
        "no-cache-field-is-withheld", "no-cache fields", "RFC 9111 §5.2.2.4",
        ask(up=up('Cache-Control: max-age=60, no-cache="x-a, Set-Cookie"', "X-A: 1", "X-B: 2", "Set-Cookie: a=b", body="one"),
            sees=sees("X-A: 1", "Set-Cookie: a=b")),
        ask(sees=sees("-X-A", "-Set-Cookie", "X-B: 2", body="one")),
    ),
    row(
        "no-cache-field-comes-back-with-a-304", "no-cache fields", "RFC 9111 §5.2.2.4",
        ask(up=up('Cache-Control: max-age=60, no-cache="x-a"', "X-A: 1", 'ETag: "a"', body="one")),
        later(60),
        ask(up=up('Cache-Control: max-age=60, no-cache="x-a"', "X-A: 2", 'ETag: "a"', status=304), sees=sees("X-A: 2", body="one")),
        ask(sees=sees("-X-A", body="one")),
    ),
    row(
        "private-field-is-not-kept", "private fields", "RFC 9111 §5.2.2.7",
        ask(up=up('Cache-Control: max-age=60, private="x-a"', "X-A: 1", "X-B: 2", body="one"), sees=sees("X-B: 2", body="one")),
        later(30),
        ask(sees=sees("-X-A", "X-B: 2", "Age: 30", body="one")),
    ),
    row(
        "no-cache-is-asked-about-each-time", "no-cache", "RFC 9111 §5.2.2.4",
        ask(up=up("Cache-Control: no-cache, max-age=60", 'ETag: "a"', body="one")),
        *(ask(up=up('ETag: "a"', status=304, asked=('If-None-Match: "a"',)), sees=sees(body="one")) for _ in range(2)),
        ask(up=up("Cache-Control: max-age=60", 'ETag: "b"', body="two", asked=('If-None-Match: "a"',))),
        ask(sees=sees(body="two")),
    ),
    row(
        "no-cache-without-a-validator", "no-cache", "RFC 9111 §5.2.2.4",
        ask(up=up("Cache-Control: no-cache, max-age=60", body="one")),
        ask(up=up(body="two", asked=("-If-None-Match", "-If-Modified-Since"))),
    ),
    row(
        "pragma-of-a-response-says-nothing", "no-cache", "RFC 9111 §5.4",
        ask(up=up("Cache-Control: max-age=60", "Pragma: no-cache", body="one")),
        ask(sees=sees("Pragma: no-cache", body="one")),
    ),
    row(
        "set-cookie-is-stored", "set-cookie", "RFC 9111 §7.3",
        ask(up=up("Cache-Control: max-age=60", "Set-Cookie: a=b", "Set-Cookie: c=d", body="one"), sees=sees("Set-Cookie: a=b, c=d")),
        ask(sees=sees("Set-Cookie: a=b, c=d", body="one")),
    ),
    *(
        stays(f"{status}-with-a-lifetime", "statuses", "RFC 9111 §3", "Cache-Control: max-age=60", "Location: /elsewhere",
              status=status, seconds=59)
        for status in (200, 201, 203, 299, 301, 302, 303, 307, 308, 399, 400, 403, 404, 405, 410, 451, 499, 500, 501, 502, 503, 504, 599)
    ),
    row(
        "204-with-a-lifetime", "statuses", "RFC 9111 §3",
        ask(up=up("Cache-Control: max-age=60", status=204)),
        later(59),
        ask(sees=sees("Age: 59", "-Content-Length", status=204, body="")),
    ),
)  # fmt: skip

SWR = "Cache-Control: max-age=60, stale-while-revalidate=30"
SIE = "Cache-Control: max-age=60, stale-if-error=30"

FAR_REFRESH = {"far": "the refresh of a copy takes the owner's stale answer; it must wait for what the owner is refreshing"}

STALE = on(
    "stale",
    row(
        "first-after-expiry-is-served-stale", "while-revalidate", "RFC 5861 §3",
        ask(up=up(SWR, body="one")),
        later(60),
        ask(up=up(SWR, body="two"), sees=sees("Age: 60", body="one")),
        ask(sees=sees("Age: 0", body="two")),
    ),
    row(
        "refresh-behind-the-answer-does-not-delay-it", "while-revalidate", "RFC 5861 §3",
        ask(up=up(SWR, body="one")),
        later(70),
        ask(up=up(SWR, body="two", hold="head"), sees=sees(body="one")),
        ask(sees=sees(body="two")),
    ),
    row(
        "refresh-by-304", "while-revalidate", "RFC 5861 §3",
        ask(up=up(SWR, 'ETag: "a"', body="one")),
        later(70),
        ask(up=up(SWR, 'ETag: "a"', status=304, asked=('If-None-Match: "a"',)), sees=sees(body="one")),
        later(59),
        ask(sees=sees("Age: 59", body="one")),
    ),
    row(
        "beyond-stale-while-revalidate", "while-revalidate", "RFC 5861 §3",
        ask(up=up(SWR, body="one")),
        later(91),
        ask(up=up(body="two")),
    ),
    row(
        "failed-refresh-is-tried-again", "while-revalidate", "RFC 5861 §3",
        ask(up=up(SWR, body="one")),
        later(70),
        ask(up=up(status=503), sees=sees(body="one")),
        later(10),
        ask(up=up(SWR, body="two"), sees=sees(body="one")),
        ask(sees=sees(body="two")),
    ),
    row(
        "not-while-the-client-limits-age", "while-revalidate", "RFC 9111 §5.2.1.1",
        ask(up=up(SWR, body="one")),
        later(70),
        ask("Cache-Control: max-age=10", up=up(SWR, body="two")),
    ),
    *(
        row(
            f"stale-if-error-on-{status}", "if-error statuses", "RFC 5861 §4",
            ask(up=up(SIE, body="one")),
            later(89),
            ask(up=up(status=status, body="broken"), sees=sees("Age: 89", body="one")),
            ask(up=up(status=200, body="back")),
        )
        for status in (500, 502, 503, 504)
    ),
    row(
        "beyond-stale-if-error", "if-error statuses", "RFC 5861 §4",
        ask(up=up(SIE, body="one")),
        later(91),
        ask(up=up(status=503, body="broken")),
    ),
    row(
        "stale-if-error-nought", "if-error statuses", "RFC 5861 §4",
        ask(up=up("Cache-Control: max-age=60, stale-if-error=0", body="one")),
        later(61),
        ask(up=up(status=503, body="broken")),
    ),
    *(
        row(
            f"{status}-is-an-answer", "if-error statuses", "RFC 5861 §4",
            ask(up=up(SIE, body="one")),
            later(61),
            ask(up=up(status=status, body="an answer")),
        )
        for status in (403, 404, 410, 501, 599)
    ),
    row(
        "clients-stale-if-error-shortens", "if-error statuses", "RFC 5861 §4",
        ask(up=up(SIE, body="one")),
        later(75),
        ask("Cache-Control: stale-if-error=5", up=up(status=503, body="broken")),
        ask("Cache-Control: stale-if-error=20", up=up(status=503, body="broken"), sees=sees(body="one")),
    ),
    row(
        "upstream-closes-without-an-answer", "if-error closed", "RFC 5861 §4",
        ask(up=up(SIE, body="one")),
        later(70),
        ask(up=(up(hangup=True),), sees=sees(body="one")),
    ),
    row(
        "upstream-closes-in-its-head", "if-error closed", "RFC 5861 §4",
        ask(up=up(SIE, body="one")),
        later(70),
        ask(up=Up(raw=b"HTTP/1.1 200 OK\r\nContent-Le"), sees=sees(body="one")),
    ),
    row(
        "upstream-speaks-no-http", "if-error closed", "RFC 5861 §4",
        ask(up=up(SIE, body="one")),
        later(70),
        ask(up=Up(raw=b"SSH-2.0-OpenSSH_9.9\r\n"), sees=sees(body="one")),
    ),
    row(
        "upstream-refuses", "if-error refused", "RFC 5861 §4",
        ask(up=up(SIE, body="one")),
        later(70),
        Down(),
        ask(sees=sees(body="one")),
        Down(False),
        ask(up=up(body="two")),
    ),
    row(
        "upstream-is-silent", "if-error closed", "RFC 5861 §4",
        ask(up=up(SIE, body="one")),
        later(70),
        ask(up=up(is_silent=True), sees=sees(body="one")),
    ),
    row(
        "nothing-stored-and-refused", "if-error refused", "RFC 9110 §15.6.3",
        Down(),
        ask(sees=sees(status=502)),
    ),
    row(
        "refused-beyond-stale-if-error", "if-error refused", "RFC 5861 §4",
        ask(up=up(SIE, body="one")),
        later(91),
        Down(),
        ask(sees=sees(status=502)),
    ),
    row(
        "grace-of-the-operator", "grace", "RFC 9111 §4.2.4",
        ask(up=up("Cache-Control: max-age=60", body="one")),
        later(60 + 7 * DAY - 1),
        ask(up=up(status=503), sees=sees(body="one")),
        later(2),
        ask(up=up(status=503)),
    ),
    row(
        "grace-switched-off", "grace", "RFC 9111 §4.2.4",
        ask(up=up("Cache-Control: max-age=60", body="one")),
        later(61),
        ask(up=up(status=503)),
        policy={"grace_seconds": 0.0},
    ),
    row(
        "no-grace-for-errors", "grace", "RFC 9111 §4.2.4",
        ask(up=up("Cache-Control: max-age=60", status=404)),
        later(61),
        ask(up=up(status=503)),
    ),
    *(
        row(
            f"never-stale-with-{word.partition('=')[0]}", "never", "RFC 9111 §4.2.4",
            ask(up=up(f"Cache-Control: max-age=60, {word}, stale-while-revalidate=99, stale-if-error=99", 'ETag: "a"', body="one")),
            later(61),
            ask("Cache-Control: max-stale", up=up(status=503, body="broken")),
            Down(),
            ask("Cache-Control: max-stale", sees=sees(status=502)),
        )
        for word in ("must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache")
    ),
    row(
        "must-revalidate-is-fresh-till-then", "never", "RFC 9111 §5.2.2.2",
        ask(up=up("Cache-Control: max-age=60, must-revalidate", body="one")),
        later(59),
        ask(sees=sees(body="one")),
    ),
)  # fmt: skip

PLAIN = ("Cache-Control: max-age=60", 'ETag: "a"')
OTHER = ("Cache-Control: max-age=60", 'ETag: "b"')
SAME = Up(lines=PLAIN, status=304)

WISHES = on(
    "wishes",
    row(
        "request-max-age", "max-age", "RFC 9111 §5.2.1.1",
        ask(up=up(*PLAIN, body="one")),
        later(30),
        ask("Cache-Control: max-age=30", sees=sees(body="one")),
        ask("Cache-Control: max-age=29", up=SAME, sees=sees("Age: 0", body="one")),
    ),
    row(
        "request-max-age-0", "max-age", "RFC 9111 §5.2.1.1",
        ask(up=up(*PLAIN, body="one")),
        later(1),
        ask("Cache-Control: max-age=0", up=up(*OTHER, body="two", asked=('If-None-Match: "a"',))),
        ask(sees=sees(body="two")),
    ),
    row(
        "immutable-is-not-asked-about-on-reload", "max-age", "RFC 8246 §2",
        ask(up=up("Cache-Control: max-age=60, immutable", 'ETag: "a"', body="one")),
        later(30),
        ask("Cache-Control: max-age=0", sees=sees(body="one")),
        ask("Cache-Control: no-cache", up=SAME, sees=sees(body="one")),
    ),
    row(
        "immutable-ends-with-freshness", "max-age", "RFC 8246 §2",
        ask(up=up("Cache-Control: max-age=60, immutable", 'ETag: "a"', body="one")),
        later(60),
        ask(up=up(body="two")),
    ),
    row(
        "max-stale-with-a-limit", "max-stale", "RFC 9111 §5.2.1.2",
        ask(up=up(*PLAIN, body="one")),
        later(70),
        ask("Cache-Control: max-stale=10", sees=sees("Age: 70", body="one")),
        ask("Cache-Control: max-stale=9", up=SAME, sees=sees("Age: 0", body="one")),
    ),
    row(
        "max-stale-without-a-limit", "max-stale", "RFC 9111 §5.2.1.2",
        ask(up=up(*PLAIN, body="one")),
        later(1000),
        ask("Cache-Control: max-stale", sees=sees("Age: 1000", body="one")),
        ask(up=SAME, sees=sees("Age: 0", body="one")),
    ),
    row(
        "min-fresh", "min-fresh", "RFC 9111 §5.2.1.3",
        ask(up=up(*PLAIN, body="one")),
        later(30),
        ask("Cache-Control: min-fresh=30", sees=sees(body="one")),
        ask("Cache-Control: min-fresh=31", up=SAME, sees=sees("Age: 0", body="one")),
    ),
    row(
        "request-no-cache", "no-cache", "RFC 9111 §5.2.1.4",
        ask(up=up(*PLAIN, body="one")),
        ask("Cache-Control: no-cache", up=up(*OTHER, body="two", asked=('If-None-Match: "a"',))),
        ask(sees=sees(body="two")),
    ),
    row(
        "request-no-store", "no-store", "RFC 9111 §5.2.1.5",
        ask("Cache-Control: no-store", up=up(*PLAIN, body="one")),
        ask(up=up(*PLAIN, body="two")),
        ask(sees=sees(body="two")),
    ),
    row(
        "only-if-cached-without", "only-if-cached", "RFC 9111 §5.2.1.7",
        ask("Cache-Control: only-if-cached", sees=sees(status=504)),
    ),
    row(
        "only-if-cached-with", "only-if-cached", "RFC 9111 §5.2.1.7",
        ask(up=up(*PLAIN, body="one")),
        ask("Cache-Control: only-if-cached", sees=sees(body="one")),
        later(61),
        ask("Cache-Control: only-if-cached", sees=sees(status=504)),
        ask("Cache-Control: only-if-cached, max-stale", sees=sees(body="one")),
    ),
    row(
        "only-if-cached-finds-the-owners-copy", "only-if-cached", "RFC 9111 §5.2.1.7",
        ask(at="other", up=up(*PLAIN, body="one")),
        ask("Cache-Control: only-if-cached", sees=sees(body="one")),
    ),
    row(
        "pragma-no-cache", "pragma", "RFC 9111 §5.4",
        ask(up=up(*PLAIN, body="one")),
        ask("Pragma: no-cache", up=up(*OTHER, body="two")),
    ),
    row(
        "pragma-beside-cache-control", "pragma", "RFC 9111 §5.4",
        ask(up=up(*PLAIN, body="one")),
        ask("Pragma: no-cache", "Cache-Control: max-age=60", sees=sees(body="one")),
    ),
    row(
        "pragma-with-something-else", "pragma", "RFC 9111 §5.4",
        ask(up=up(*PLAIN, body="one")),
        ask("Pragma: something", sees=sees(body="one")),
    ),
    *(
        row(
            f"switched-off-{name}", "switch", "RFC 9111 §5.2.1",
            ask(up=up(*PLAIN, body="one")),
            later(30),
            ask(line, sees=sees(body="one")),
            policy={"obey_request_directives": False},
        )
        for name, line in (
            ("no-cache", "Cache-Control: no-cache"),
            ("max-age", "Cache-Control: max-age=0"),
            ("min-fresh", "Cache-Control: min-fresh=50"),
            ("pragma", "Pragma: no-cache"),
        )
    ),
    row(
        "switched-off-no-store", "switch", "RFC 9111 §5.2.1.5",
        ask("Cache-Control: no-store", up=up(*PLAIN, body="one")),
        ask(sees=sees(body="one")),
        policy={"obey_request_directives": False},
    ),
    row(
        "switched-off-leaves-only-if-cached", "switch", "RFC 9111 §5.2.1.7",
        ask("Cache-Control: only-if-cached", sees=sees(status=504)),
        policy={"obey_request_directives": False},
    ),
)  # fmt: skip

ERRORS = on(
    "errors",
    *(
        row(
            f"negative-{status}", "negative", "RFC 9110 §15.1",
            ask(up=up(status=status, body="no")),
            later(9),
            ask(sees=sees("Age: 9", status=status, body="no")),
            later(1),
            ask(up=up(body="yes")),
        )
        for status in (404, 405, 410, 414, 501)
    ),
    *(
        goes(f"{status}-lasts-for-one-request", "negative", "RFC 9110 §15.1", status=status)
        for status in (400, 401, 403, 429, 500, 502, 503, 504)
    ),
    row(
        "negative-switched-off", "negative", "RFC 9110 §15.1",
        ask(up=up(status=404)),
        ask(up=up(status=404, body="again")),
        policy={"negative_seconds": 0.0},
    ),
    goes("negative-obeys-no-store", "negative", "RFC 9111 §5.2.2.5", "Cache-Control: no-store", status=404),
    goes("negative-obeys-max-age", "negative", "RFC 9111 §4.2.1", "Cache-Control: max-age=5", status=404, seconds=5),
    row(
        "error-of-the-connection-is-not-kept", "connection errors", "RFC 9110 §15.6.3",
        Down(),
        ask(sees=sees(status=502)),
        Down(False),
        later(5),
        ask(up=up(body="one")),
    ),
    row(
        "refused-says-when-to-ask-again", "connection errors", "RFC 9110 §10.2.3",
        Down(),
        ask(sees=sees("Retry-After: 1", status=502)),
    ),
    row(
        "after-two-refusals-it-is-left-alone", "connection errors", "RFC 9110 §15.6.3",
        Down(),
        ask(sees=sees(status=502)),
        ask(target="@.b", sees=sees(status=502)),
        Down(False),
        ask(sees=sees("Retry-After: 1", status=502)),
        later(2),
        ask(up=up(body="one")),
        ask(target="@.b", up=up(body="two")),
    ),
    row(
        "left-alone-by-other-methods-too", "connection errors", "RFC 9110 §10.2.3",
        Down(),
        ask(sees=sees(status=502)),
        ask(method="POST", body="x", sees=sees(status=502)),
        Down(False),
        ask(method="POST", body="x", sees=sees("Retry-After: 1", status=502)),
        later(2),
        ask(method="POST", body="x", up=up(body="one")),
        only=(ALONE, OWNER),  # another peer sends them by itself
    ),
    row(
        "stale-while-it-is-left-alone", "connection errors", "RFC 5861 §4",
        ask(up=up("Cache-Control: max-age=60, stale-if-error=600", body="one")),
        later(60),
        Down(),
        ask(sees=sees("Age: 60", body="one")),
        ask(sees=sees("Age: 60", body="one")),
        Down(False),
        ask(sees=sees("Age: 60", "-Retry-After", body="one")),
        later(2),
        ask(up=up(body="two")),
    ),
    row(
        "one-refusal-is-an-accident", "connection errors", "RFC 9110 §15.6.3",
        Down(),
        ask(sees=sees(status=502)),
        Down(False),
        ask(up=up(body="one")),
    ),
    row(
        "what-breaks-off-rests-nobody", "connection errors", "RFC 9110 §15.6.3",
        *(ask(up=up(hangup=True), sees=sees("-Retry-After", status=502)) for _ in range(3)),
        ask(target="@.b", up=up(body="one")),
    ),
    row(
        "silence-is-a-504", "connection errors", "RFC 9110 §15.6.5",
        ask(up=up(is_silent=True), sees=sees(status=504)),
    ),
)  # fmt: skip

ROWS = [*LIFETIME, *DIRECTIVES, *EXPIRES, *AGE, *NOT_STORED, *QUALIFIED, *STALE, *WISHES, *ERRORS]
