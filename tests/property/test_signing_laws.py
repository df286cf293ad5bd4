"""Whatever byte of a signed message is changed, it is refused; and each message counts once, in whatever order they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minicdn.core.replay import Replays, Verdict
from minicdn.core.signing import Credentials, Keys, Question, is_answer, is_signed, sign, sign_answer

KEYS = Keys.of("correct-horse-battery")
words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
targets = words.map(lambda text: b"/" + text.encode())


@given(words, words, targets, st.binary(max_size=200), st.integers(0, 10**14), st.integers(0, 10**14), st.data())
def test_any_changed_byte_is_refused(
    audience: str, method: str, target: bytes, body: bytes, at_ms: int, number: int, data: st.DataObject
) -> None:
    made = sign(KEYS, Question(audience, method, target, body), at_ms, b"0123456789abcdef", number)
    parts = [audience.encode(), method.encode(), target, body, made.to_field()]
    which = data.draw(st.sampled_from([index for index, part in enumerate(parts) if part]))
    changed = bytearray(parts[which])
    place = data.draw(st.integers(0, len(changed) - 1))
    changed[place] = data.draw(st.integers(33, 126).filter(lambda value: value != changed[place]))
    found = Credentials.parse(bytes(changed) if which == 4 else made.to_field())
    if found is None or (found == made and which == 4):  # no field of ours; or hex and the scheme's name in another case
        assert which == 4
        return
    parts[which] = bytes(changed)
    assert not is_signed(KEYS, Question(parts[0].decode(), parts[1].decode(), parts[2], parts[3]), found)


@given(st.binary(max_size=100), st.integers(100, 599), st.data())
def test_any_changed_byte_of_an_answer_is_refused(body: bytes, status: int, data: st.DataObject) -> None:
    mac = sign_answer(KEYS, b"0" * 64, status, body)
    assert is_answer(KEYS, b"0" * 64, status, body, mac)
    other = data.draw(st.binary(max_size=100).filter(lambda found: found != body))
    assert not is_answer(KEYS, b"0" * 64, status, other, mac)
    assert not is_answer(KEYS, b"0" * 64, status + 1, body, mac)
    assert not is_answer(Keys.of("another-token-altogether"), b"0" * 64, status, body, mac)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 50)), min_size=1, max_size=100), st.integers(1, 12))
def test_a_message_that_was_taken_is_never_taken_again(messages: list[tuple[int, int]], senders_max: int) -> None:
    """A message has one time, whenever it comes."""
    found, taken, now = Replays(0.0, 300.0, senders_max), set(), 1000.0
    at = {message: now + place * 0.01 for place, message in enumerate(dict.fromkeys(messages))}
    for message in messages:
        now = max(now, at[message]) + 0.001
        if found.take(b"%d" % message[0], message[1], at[message], now) is Verdict.NEW:
            assert message not in taken
            taken.add(message)
