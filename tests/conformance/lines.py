"""What the conformance rows have to cover: the lines of the list of HTTP behaviours by section, and each line's claims in a word or two.

test_coverage.py holds that every claim has a row and that no row speaks of a claim that is not here.
"""

from __future__ import annotations

STORING = "storing and freshness"
CHOOSING = "choosing, validating, updating"
RANGES = "ranges"
MESSAGE = "the message"

LINES: dict[str, tuple[str, tuple[str, ...]]] = {
    "lifetime": (STORING, ("order", "heuristic", "heuristic needs", "targeted order", "targeted unreadable")),
    "directives": (
        STORING,
        ("case", "quotes", "several lines", "unknown", "spacing", "repeated", "unreadable", "huge", "negative", "fraction"),
    ),
    "expires": (STORING, ("three forms", "anything else", "zero", "by date")),
    "age": (STORING, ("upstream's", "first valid", "unreadable", "delay", "resident", "always sent")),
    "not stored": (
        STORING,
        ("no-store", "private", "authorization", "method", "incomplete length", "incomplete chunks", "must-understand"),
    ),
    "qualified": (STORING, ("no-cache fields", "private fields", "no-cache", "set-cookie", "statuses")),
    "stale": (STORING, ("while-revalidate", "if-error statuses", "if-error closed", "if-error refused", "grace", "never")),
    "wishes": (STORING, ("max-age", "max-stale", "min-fresh", "no-cache", "no-store", "only-if-cached", "pragma", "switch")),
    "errors": (STORING, ("negative", "connection errors")),
    "vary": (CHOOSING, ("all kept", "absent", "normalised", "star", "most recent")),
    "conditional": (CHOOSING, ("if-none-match", "weak", "list", "star", "wins", "if-modified-since", "304 fields")),
    "revalidation": (CHOOSING, ("validators", "one at a time", "304 updates", "200 replaces", "5xx grace", "304 misfit")),
    "head": (CHOOSING, ("updates", "invalidates", "equals get")),
    "unsafe": (CHOOSING, ("passes", "streams", "invalidates", "locations", "every node")),
    "range forms": (RANGES, ("single", "suffix", "open", "multiple", "416", "if-range", "too many")),
    "partial": (RANGES, ("from whole", "from partial", "stored", "combined", "completed")),
    "range miss": (RANGES, ("early", "no range upstream")),
    "fields": (MESSAGE, ("untouched", "hop-by-hop request", "hop-by-hop response", "via", "loop")),
    "cache-status": (MESSAGE, ("hit", "forward", "ttl", "stored", "collapsed", "hops", "x-cache", "content-length")),
    "interim": (MESSAGE, ("not the end", "not stored", "passed on", "100-continue")),
    "truth": (MESSAGE, ("repr-digest", "truncated")),
    "redirects": (MESSAGE, ("passed on", "cached", "followed")),
    "keys": (MESSAGE, ("method-less", "path", "query", "ignored", "no-vary-search")),
    "purge": (MESSAGE, ("method", "prefix", "message", "soft", "tags", "groups", "every node")),
    "bad input": (MESSAGE, ("large heads", "request line", "framing", "other hosts", "connect", "own paths")),
}
"""Line → (section, claims)."""
