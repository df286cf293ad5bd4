"""Whatever octets come as a message or lie as a record: refused in one way, or read."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from minicdn.core.freshness import from_wire
from minicdn.errors import ClientError
from minicdn.store.index import read_record
from minicdn.wire.codec import decode, encode
from tests.fuzz.messages import readers

READERS = readers()
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(READERS), st.binary(max_size=400), st.integers(0, 400))
def test_octets_in_the_middle_of_a_message(kind, octets, at) -> None:
    message, read = kind
    with contextlib.suppress(ClientError):
        read(decode(message[:at] + octets + message[at:]))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(READERS), st.data())
def test_any_plain_value_in_any_field(kind, data) -> None:
    message, read = kind
    found = decode(message)
    found[data.draw(st.sampled_from(sorted(found)))] = data.draw(PLAIN)
    with contextlib.suppress(ClientError):
        read(decode(encode(found)))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | PLAIN.map(lambda plain: encode({"version": 1, "key": "/a", "length": 5, "stored": plain})))
def test_any_record_on_disk(octets) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.meta"
        path.write_bytes(octets)
        record = read_record(path)
        if record is not None:
            with contextlib.suppress(ValueError):
                from_wire(record.stored)
