"""What peers say to each other most of the time is made and read by a shorter way. It is the same as by the plain one, and as strict."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicdn.core.message import Head
from minicdn.core.stored import from_facts, to_facts
from minicdn.errors import ClientError
from minicdn.wire import fetch
from minicdn.wire.codec import Encoder, decode, encode
from minicdn.wire.fetch import ALIKE_MAX, FetchAnswer, FetchRequest, Questions, says_each_once, split_question
from minicdn.wire.reading import read
from tests.unit.store.making import make_stored

LINES = st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=6)), max_size=4)
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=5), st.binary(max_size=5),
    st.lists(st.integers(-9, 9), max_size=3), st.just([[b"a"]]), st.just([[b"a", "b"]]), st.just([{b"a": 1, b"b": 2}]), st.just(["ab"]),
    st.just([b"ab"]), st.builds(lambda: "x" * 5000),
    st.builds(lambda: b"x" * 5000), st.builds(lambda: [[b"a", b"b"]] * 1025), st.just({"a": 1}),
)  # fmt: skip
ENCODER, QUESTIONS = Encoder(), Questions()


def outcome(work: Any, *arguments: Any, **more: Any) -> Any:
    """What comes of it, in words: so that True is not 1, and not-a-number is itself."""
    try:
        return repr(work(*arguments, **more))
    except (ClientError, ValueError) as error:
        return type(error), getattr(error, "status", 0)


# Questions

KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=300).map("/".__add__) | st.text(max_size=5)
questions = st.builds(
    FetchRequest,
    st.sampled_from(["GET"] * 5 + ["HEAD"]),
    KEYS,
    LINES,
    held=st.sampled_from([None] * 5 + [b'"e"']),
    range=st.sampled_from([None] * 5 + [b"bytes=0-1"]),
    validator=st.sampled_from([None] * 5 + [b'"e"']),
    target=st.sampled_from([None] * 5 + ["/a?b"]),
    wants_fresh=st.sampled_from([False] * 5 + [True]),
    mark=st.sampled_from(["", "life.5"]),
    asker=st.sampled_from([None, "", "http://10.0.0.1:1"]),
)


@settings(deadline=None)
@given(questions)
def test_a_question_is_made_of_the_same_octets(asked: FetchRequest) -> None:
    assert QUESTIONS.encode(asked) == ENCODER.encode(asked.to_wire()) == encode(asked.to_wire())


@settings(deadline=None)
@given(questions)
def test_the_rest_of_a_question_says_all_but_its_key(asked: FetchRequest) -> None:
    message = encode(asked.to_wire())
    key, rest = split_question(message)
    if not key:
        is_usual = asked.method == "GET" and asked.key.isascii() and asked.key[:1] == "/" and asked.key[:2] != "/_"
        assert not is_usual or len(asked.key) > 255
        return
    assert key == asked.key
    other = FetchRequest.from_wire(decode(rest[:1] + encode({"method": "GET", "key": "/other"})[1:] + rest[1:]))
    assert (other.fields, other.mark, other.asker) == (tuple(asked.fields), asked.mark, asked.asker)


@settings(max_examples=400, deadline=None)
@given(questions.map(lambda asked: encode(asked.to_wire())), st.binary(max_size=8), st.integers(0, 60), st.integers(0, 4))
def test_a_question_that_can_be_split_says_that_key(message: bytes, octets: bytes, at: int, cut: int) -> None:
    """Whatever is wrong with it: unless a name stands twice, or it is refused, its key is the one."""
    message = message[:at] + octets + message[at + cut :]
    key, rest = split_question(message)
    if not key:
        return
    try:
        found = decode(message)
        asked = FetchRequest.from_wire(found)
    except ClientError:
        return
    assert not says_each_once(message, found) or asked.key == key
    assert rest[0] == message[0] and message.endswith(rest[1:])


def test_a_name_that_stands_twice_is_seen() -> None:
    plain = encode({"method": "GET", "key": "/a", "fields": []})
    twice = b"\x84" + plain[1:] + b"\xa3key\xa2/b"
    assert FetchRequest.from_wire(decode(twice)).key == "/b" and split_question(twice)[0] == "/a"
    assert says_each_once(plain, decode(plain)) and not says_each_once(twice, decode(twice))


@pytest.mark.parametrize("key", ["", "a", "/_a", "/_", "/\x80", "/é"])
def test_a_key_that_nobody_may_ask_for_is_not_taken_out(key: str) -> None:
    assert split_question(encode({"method": "GET", "key": key, "fields": []})) == ("", b"")


def test_what_is_remembered_of_questions_is_bounded() -> None:
    asking = Questions()
    for number in range(ALIKE_MAX * 2 + 5):
        asking.encode(FetchRequest("GET", "/a", ((b"n", b"%d" % number),)))
        assert len(asking._alike) <= ALIKE_MAX
    asking = Questions()
    asking.encode(FetchRequest("GET", "/a", ((b"n", b"x" * 5000),)))
    asking.encode(FetchRequest("GET", "/a", ((b"n", b""),) * 100))
    assert not asking._alike


def test_who_failed_to_encode_says_nothing_of_it_later() -> None:
    encoder = Encoder()
    with pytest.raises((TypeError, OverflowError)):
        encoder.encode({"a": "b" * 100, "c": object()})
    assert encoder.encode({"a": 1}) == encode({"a": 1})


# Answers

LINE = (b"etag", b'"1"')
ANSWER = FetchAnswer("found", 200, (LINE, LINE), ((), 1.0), 3.5, 500, source="memory", detail="hit", member=b"m; hit").to_wire()


def by_table(found: Any) -> FetchAnswer:
    return FetchAnswer(**read(found, fetch._ANSWER, ("kind",)))


def test_the_usual_answer_takes_the_short_way() -> None:
    assert fetch._usual_answer(decode(encode(ANSWER), as_tuples=True)) == by_table(decode(encode(ANSWER)) | {"stored": ((), 1.0)})


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_an_answer_is_read_as_by_the_table(data: Any) -> None:
    found = dict(ANSWER)
    for name in data.draw(st.lists(st.sampled_from(sorted(found)), max_size=2)):
        found[name] = data.draw(ODD | LINES)
    if data.draw(st.booleans()):
        names = data.draw(st.permutations(list(found)))[: data.draw(st.integers(7, 10))]
        found = {name: found[name] for name in names} | data.draw(st.sampled_from([{}, {"new": 1}, {"end": 5}, {"hint": None}]))
    read_back = decode(encode(found), as_tuples=True)
    assert outcome(FetchAnswer.from_wire, read_back) == outcome(by_table, read_back)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=12), st.integers(0, 300), st.integers(0, 12))
def test_an_answer_with_other_octets_in_it_is_refused_likewise(octets: bytes, at: int, cut: int) -> None:
    message = encode(ANSWER)
    message = message[:at] + octets + message[at + cut :]
    assert outcome(lambda: sorted(decode(message))) == outcome(lambda: sorted(decode(message, as_tuples=True)))
    try:
        found = decode(message, as_tuples=True)
    except ClientError:
        return
    assert outcome(FetchAnswer.from_wire, found) == outcome(by_table, found)


@settings(deadline=None)
@given(st.binary(max_size=60) | ODD.map(lambda value: encode({"a": value})))
def test_lists_are_bounded_and_refused_alike_as_tuples(octets: bytes) -> None:
    assert outcome(lambda: as_lists(decode(octets))) == outcome(lambda: as_lists(decode(octets, as_tuples=True)))


def as_lists(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [as_lists(item) for item in value]
    return {name: as_lists(item) for name, item in value.items()} if isinstance(value, dict) else value


def test_a_deal_is_read_from_lists_and_tuples() -> None:
    answer = FetchAnswer("found", 200, deal=(("http://10.0.0.1:1", 1.0),), hint="http://10.0.0.1:1")
    for as_tuples in (False, True):
        assert FetchAnswer.from_wire(decode(encode(answer.to_wire()), as_tuples=as_tuples)) == answer


# Facts

FACTS = to_facts(make_stored((b"ETag", b'"1"'), (b"Cache-Control", b"max-age=60")))


def as_tuples(value: Any) -> Any:
    return tuple(map(as_tuples, value)) if isinstance(value, list | tuple) else value


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_facts_are_read_alike_from_lists_and_from_tuples(data: Any) -> None:
    """Lists are never plain, so each of them is looked at."""
    facts = list(FACTS)
    for place in data.draw(st.lists(st.integers(0, len(facts) - 1), max_size=2)):
        facts[place] = data.draw(ODD | st.sampled_from([1e18, 1.1e18, -2e18, [["a"]], ["t"], [b"w"], [[b"a", None]]]))
    facts += data.draw(st.sampled_from([[], [], [1], [None, "new"]]))
    facts = facts[: data.draw(st.sampled_from([99, 99, 99, 10]))]
    age = data.draw(st.sampled_from([0.0, 3.5, -1.0, 1e15]))
    head = Head(200, ())
    assert outcome(from_facts, as_tuples(facts), head, age, 1000.0) == outcome(from_facts, facts, head, age, 1000.0)
