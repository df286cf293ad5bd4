from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicdn.core.logline import LogLine
from minicdn.core.roster import Member, PeerList
from minicdn.errors import ClientError
from minicdn.wire.codec import MESSAGE_BYTES_MAX, TEXT_MAX, decode, encode
from minicdn.wire.messages import LOG_BATCH_MAX, Join, JoinAnswer, LeaseAnswer, LeaseCall, LogBatch, Renew, RenewAnswer, SharedSettings

SHARED = SharedSettings("v1", "https://files.example.com", 4 << 20, 60.0, 10.0, True, False, True, 5.0, 15.0)
PEERS = PeerList("life.3", (Member("anna", "http://10.0.0.1:11001"), Member("bob", "http://[::1]:1", 0.0, 0.5)))
LINE = LogLine("/a", "10.0.0.9:5", "curl", True, {"n": 10**30}, "GET", 200, 5, "memory", 0.1, 1436945573)

MESSAGES = [
    Join("anna", 11001, None, "0.1.0"),
    Join("anna", 11001, "https://laptop.example", "0.1.0"),
    Join("anna", 11001, None, "0.1.0", uplink=12.5e6, may_ask_upstream=False),
    JoinAnswer("joined", "", "http://10.0.0.1:11001", PEERS, SHARED, 2.5),
    JoinAnswer("unreachable", "no answer within 3 s", "http://10.0.0.1:11001"),
    Renew("anna", "life.3", "v1", 5.0),
    Renew("anna", "life.3", "v1", 5.0, uplink=12.5e6),
    LeaseCall("anna", "/a"),
    LeaseCall("anna", "/a", is_over=True),
    LeaseAnswer(True, ("http://10.0.0.1:11001",), 300.0),
    LeaseAnswer(False),
    RenewAnswer("ok"),
    RenewAnswer("ok", False, "no answer", PEERS, SHARED),
    RenewAnswer("unknown"),
    LogBatch("anna", "http://10.0.0.1:11001", 7, 3, (LINE, LINE._replace(header_data=None), LINE._replace(header_data="text"))),
]


@pytest.mark.parametrize("message", MESSAGES, ids=[type(message).__name__ for message in MESSAGES])
def test_each_message_comes_through_the_wire_unchanged(message) -> None:
    assert type(message).from_wire(decode(encode(message.to_wire()))) == message


@pytest.mark.parametrize("message", MESSAGES, ids=[type(message).__name__ for message in MESSAGES])
def test_fields_of_a_newer_version_are_left_alone(message) -> None:
    assert type(message).from_wire({**message.to_wire(), "colour": "blue"}) == message


@pytest.mark.parametrize("message", MESSAGES, ids=[type(message).__name__ for message in MESSAGES])
def test_a_missing_field_is_refused_or_has_a_meaning_but_never_breaks(message) -> None:
    for name in message.to_wire():
        with contextlib.suppress(ClientError):
            type(message).from_wire({key: value for key, value in message.to_wire().items() if key != name})


FEW = st.lists(st.integers(), max_size=3)
ODD = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5), FEW)


@given(st.sampled_from(MESSAGES), st.data())
def test_no_odd_value_raises_anything_but_a_clients_mistake(message, data) -> None:
    found = dict(message.to_wire())
    name = data.draw(st.sampled_from(sorted(found)))
    found[name] = data.draw(st.one_of(ODD, st.lists(st.dictionaries(st.text(max_size=3), ODD, max_size=2), max_size=2)))
    with contextlib.suppress(ClientError):
        type(message).from_wire(found)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "a b"}, {"id": ""}, {"id": "a" * 65}, {"id": "ä"}, {"port": 0}, {"port": 65536}, {"port": "80"}, {"port": True},
        {"advertise": "laptop"}, {"advertise": "http://a/path"},
    ],
)  # fmt: skip
def test_a_join_with_a_wrong_field_is_refused(wrong: dict) -> None:
    with pytest.raises(ClientError):
        Join.from_wire({**Join("anna", 1, None, "0").to_wire(), **wrong})


def test_a_join_is_not_taken_for_granted_without_what_a_peer_needs() -> None:
    for lacking in ("url", "peers", "settings"):
        found = JoinAnswer("joined", "", "http://a", PEERS, SHARED).to_wire()
        with pytest.raises(ClientError):
            JoinAnswer.from_wire({**found, lacking: None})


def test_who_says_nothing_of_its_uplink_and_of_shares_is_understood() -> None:
    join = Join("anna", 11001, None, "0.1.0").to_wire()
    for name in ("uplink", "may_ask_upstream"):
        del join[name]
    assert Join.from_wire(join) == Join("anna", 11001, None, "0.1.0")
    renew = Renew("anna", "life.3", "v1", 5.0).to_wire()
    del renew["uplink"]
    assert Renew.from_wire(renew).uplink == 0
    found = RenewAnswer("ok", peers=PEERS).to_wire()
    found["peers"]["members"] = [member[:3] for member in found["peers"]["members"]]
    assert [member.share for member in RenewAnswer.from_wire(found).peers.members] == [1, 0]


def test_a_batch_is_bounded_in_lines_and_its_sources_are_known() -> None:
    batch = LogBatch("anna", "http://a", 1, 0, (LINE,))
    line = batch.to_wire()["lines"][0]
    with pytest.raises(ClientError):
        LogBatch.from_wire({**batch.to_wire(), "lines": [line] * (LOG_BATCH_MAX + 1)})
    with pytest.raises(ClientError):
        LogBatch.from_wire({**batch.to_wire(), "lines": [{**line, "source": "elsewhere"}]})


def test_a_note_that_claims_to_be_json_stays_text() -> None:
    found = LogBatch("anna", "http://a", 1, 0, (LINE,)).to_wire()
    found["lines"][0]["header_data"] = "[NaN]"
    assert LogBatch.from_wire(found).lines[0].header_data == "[NaN]"


def test_a_full_list_fits_into_a_message() -> None:
    members = tuple(Member(f"{number:016x}", f"http://192.168.{number >> 8}.{number & 255}:11001") for number in range(4096))
    assert len(encode(RenewAnswer("ok", peers=PeerList("life.1", members)).to_wire())) < MESSAGE_BYTES_MAX


@pytest.mark.parametrize("line", [LINE, LINE._replace(header_data=None), LINE._replace(key="/" + "k" * 70_000, user_agent="u" * 70_000)])
def test_a_line_says_all_of_its_values_by_their_names(line: LogLine) -> None:
    found = LogBatch("anna", "http://a", 1, 0, (line,)).to_wire()["lines"][0]
    assert tuple(found) == LogLine._fields
    kept = {name: value[:TEXT_MAX] if isinstance(value, str) else value for name, value in line._asdict().items()}
    assert found == kept | {"header_data": None if line.header_data is None else '{"n": 1000000000000000000000000000000}'}
