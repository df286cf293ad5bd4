from __future__ import annotations

from dataclasses import replace

import pytest

from minicdn.core.signing import ANYBODY, MANAGER, Credentials, Keys, Question, is_answer, is_signed, sign, sign_answer

KEYS = Keys.of("correct-horse-battery")
ASKED = Question(MANAGER, "POST", b"/_rpc/join", b"body")
SIGNED = sign(KEYS, ASKED, 1_700_000_000_000, b"0123456789abcdef", 7)


def test_what_was_signed_is_known_again_from_its_field() -> None:
    found = Credentials.parse(SIGNED.to_field())
    assert found == SIGNED and is_signed(KEYS, ASKED, found)


@pytest.mark.parametrize(
    "changed",
    [
        replace(ASKED, audience="http://10.0.0.5:11001"),
        replace(ASKED, audience=ANYBODY),
        replace(ASKED, method="PUT"),
        replace(ASKED, target=b"/_rpc/leave"),
        replace(ASKED, body=b"bodY"),
        replace(ASKED, body=b""),
    ],
)
def test_another_question_is_not_signed(changed: Question) -> None:
    assert not is_signed(KEYS, changed, SIGNED)


@pytest.mark.parametrize("change", [{"at_ms": SIGNED.at_ms + 1}, {"sender": b"0" * 16}, {"number": 8}, {"mac": b"0" * 64}])
def test_time_sender_and_number_can_not_be_changed(change: dict) -> None:
    assert not is_signed(KEYS, ASKED, replace(SIGNED, **change))


def test_another_token_signs_otherwise_and_the_token_is_in_no_field() -> None:
    other = Keys.of("correct-horse-batterz")
    assert not is_signed(other, ASKED, SIGNED)
    assert b"correct-horse" not in SIGNED.to_field() and "correct" not in repr(KEYS)


@pytest.mark.parametrize(
    "field", [b"", b"Bearer x", b"Minicdn 1.2.3", b"Minicdn 2.1.0123456789abcdef.7." + b"0" * 64, SIGNED.to_field() + b"0"]
)
def test_other_fields_are_none_of_ours(field: bytes) -> None:
    assert Credentials.parse(field) is None


def test_an_answer_belongs_to_one_question_one_status_and_its_bytes() -> None:
    mac = sign_answer(KEYS, SIGNED.mac, 200, b"answer")
    assert is_answer(KEYS, SIGNED.mac, 200, b"answer", mac)
    other = sign(KEYS, ASKED, SIGNED.at_ms, SIGNED.sender, 8)
    assert not is_answer(KEYS, other.mac, 200, b"answer", mac)
    assert not is_answer(KEYS, SIGNED.mac, 404, b"answer", mac)
    assert not is_answer(KEYS, SIGNED.mac, 200, b"answeR", mac)
    assert not is_answer(KEYS, SIGNED.mac, 200, b"answer", None)
    assert not is_answer(Keys.of("another-token-altogether"), SIGNED.mac, 200, b"answer", mac)


def test_an_answers_mac_is_no_questions_mac() -> None:
    """Keys of their own: what a node can be made to say signs nothing that it did not ask."""
    assert KEYS.questions != KEYS.answers != KEYS.bearer


def test_the_token_itself_is_known_and_no_other() -> None:
    assert KEYS.is_token(b"correct-horse-battery")
    for other in (b"", b"correct-horse-batter", b"correct-horse-battery ", b"Correct-horse-battery", b"\xff"):
        assert not KEYS.is_token(other)


def test_comparisons_take_the_same_time_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is secret is compared but by hmac.compare_digest."""
    import hmac

    compared: list[int] = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: compared.append(len(one)) or real(one, other))
    is_signed(KEYS, ASKED, SIGNED)
    is_answer(KEYS, SIGNED.mac, 200, b"", b"0" * 64)
    KEYS.is_token(b"x")
    assert compared == [64, 64, 32]
