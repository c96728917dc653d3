"""Key sequences: recognised at their last key, by the party they are bound to, and never shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recproxy.call.keypad import LONGEST_GAP_S, Binding, KeyAction, Keypad, Party, Wish

REFUSE = Wish(KeyAction.REFUSE, ("training",))
PAUSE = Wish(KeyAction.PAUSE)
BINDINGS = (
    Binding(Party.OUTSIDE, "9", REFUSE),
    Binding(Party.STAFF, "*9", REFUSE),
    Binding(Party.STAFF, "*7", PAUSE),
    Binding(Party.STAFF, "*5", Wish(KeyAction.START)),
)


def pressed(party: Party, keys: str, *, gap: float = 0.3) -> list[KeyAction]:
    pad = Keypad(BINDINGS)
    found = [pad.press(party, key, index * gap) for index, key in enumerate(keys)]
    return [wish.action for wish in found if wish is not None]


@pytest.mark.parametrize(
    ("party", "keys", "actions"),
    [
        (Party.OUTSIDE, "9", [KeyAction.REFUSE]),
        (Party.OUTSIDE, "123", []),
        (Party.STAFF, "9", []),
        (Party.STAFF, "*9", [KeyAction.REFUSE]),
        (Party.STAFF, "12*7", [KeyAction.PAUSE]),
        (Party.STAFF, "*7*7", [KeyAction.PAUSE, KeyAction.PAUSE]),
        (Party.STAFF, "**5", [KeyAction.START]),
        (Party.STAFF, "*A9", []),
        (Party.OUTSIDE, "*7", []),
    ],
)
def test_sequences(party: Party, keys: str, actions: list[KeyAction]) -> None:
    assert pressed(party, keys) == actions


def test_a_sequence_does_not_outlast_a_pause() -> None:
    assert pressed(Party.STAFF, "*7", gap=LONGEST_GAP_S) == [KeyAction.PAUSE]
    assert pressed(Party.STAFF, "*7", gap=LONGEST_GAP_S + 0.1) == []


def test_the_longest_sequence_wins() -> None:
    pad = Keypad((Binding(Party.STAFF, "9", PAUSE), Binding(Party.STAFF, "*9", REFUSE)))
    assert pad.press(Party.STAFF, "9", 0.0) is PAUSE
    assert pad.press(Party.STAFF, "*", 1.0) is None
    assert pad.press(Party.STAFF, "9", 2.0) is REFUSE


def test_the_keys_of_one_party_do_not_complete_those_of_the_other() -> None:
    pad = Keypad(BINDINGS)
    pad.press(Party.STAFF, "*", 0.0)
    assert pad.press(Party.OUTSIDE, "7", 0.1) is None


@pytest.mark.parametrize("keys", ["", "A", "12a", "123456789", " 9"])
def test_what_no_telephone_has_is_refused(keys: str) -> None:
    with pytest.raises(ValueError, match="0-9"):
        Binding(Party.STAFF, keys, PAUSE)


@given(keys=st.text(st.sampled_from("0123456789*#AB"), max_size=60))
def test_as_often_as_the_sequence_occurs(keys: str) -> None:
    pad = Keypad((Binding(Party.STAFF, "*7", PAUSE),))
    found = sum(pad.press(Party.STAFF, key, index / 10) is not None for index, key in enumerate(keys))
    assert found == keys.count("*7")


@given(keys=st.text(st.sampled_from("0123456789*#"), min_size=1, max_size=8))
def test_what_was_pressed_is_not_shown(keys: str) -> None:
    pad = Keypad(())
    for index, key in enumerate(keys):
        pad.press(Party.OUTSIDE, key, index / 10)
    assert repr(pad._pressed[Party.OUTSIDE]) == f"_Pressed(at={(len(keys) - 1) / 10!r})"
