"""The law of a call: coupled tables, and nothing else.

A call that passes through has five; one that is forked to us has a table of its own for
the announcement, and shares those of the caller's leg, the choice and the recording.

Each machine is an enum of states and a table ``state -> {symbol: next state}``.
A symbol a row does not list is illegal in that state: the machine refuses it
and changes nothing. What couples them is in ``machine.py`` and ``permission.py``.

Terms: *leg* is one side of our B2BUA, its dialog plus its media; the caller's
dialog has us as UAS, the callee's has us as UAC (RFC 3261 section 6).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, TypeAlias, TypeVar

from recproxy.errors import IllegalEvent


class CallerLeg(Enum):
    """Our UAS dialog with the caller."""

    INVITED = auto()  # INVITE received, no final response sent
    ANSWERED = auto()  # 200 sent, ACK not yet received
    CONFIRMED = auto()  # ACK received
    ENDING = auto()  # final failure or BYE sent, dialog not yet gone
    ENDED = auto()


class CalleeLeg(Enum):
    """Our UAC dialog with the callee."""

    IDLE = auto()  # no INVITE sent, or none yet to whom the call goes on to
    CALLING = auto()  # INVITE sent, no provisional response
    PROCEEDING = auto()  # 18x received
    CONFIRMED = auto()  # 200 received and acknowledged
    DIVERTING = auto()  # BYE sent, and the call goes on to somebody else once the dialog is gone
    ENDING = auto()  # CANCEL or BYE sent, dialog not yet gone
    ENDED = auto()


class Notice(Enum):
    """The duty and fact of telling the parties."""

    NOT_REQUIRED = auto()  # no purpose applies: nothing will be recorded
    WAITING = auto()  # a purpose applies once staff ask for it
    DUE = auto()  # a purpose applies, nobody was told yet
    PLAYING = auto()  # the prompt is on the wire
    COMPLETED = auto()  # heard to its last frame by everybody who must hear it
    FAILED = auto()  # could not be played to its end; nothing will be recorded
    DECLINED = auto()  # a party said no before its end; nothing will be recorded


class ForkTold(Enum):
    """What is known of an announcement that a recording client plays (SIPREC), not recproxy."""

    DUE = auto()  # not heard to its end, as far as we are told
    COMPLETED = auto()  # its client says so, or the policy declares it
    FAILED = auto()  # nothing that the policy takes for evidence; nothing will be recorded
    DECLINED = auto()  # a party said no; nothing will be recorded


class Choice(Enum):
    """What the outside party says to being recorded."""

    NOT_OFFERED = auto()
    OPEN = auto()  # offered; opt-out: silence is yes, opt-in: silence is no
    GIVEN = auto()  # yes
    REFUSED = auto()  # no, or no yes in time: for the rest of the call


class Recording(Enum):
    """What is recorded of a call: one recording, or several in sequence, each for other purposes."""

    OFF = auto()  # none yet, or none until staff ask for the next
    OPENING = auto()  # asked of the recorder; audio waits in memory
    ON = auto()
    PAUSED = auto()  # a party is on hold: silence of the right length
    SEALED = auto()  # closed for good
    ABORTED = auto()  # the recorder failed; what it holds is kept for salvage
    DISCARDED = auto()  # a party said no: its key is destroyed


class PauseCause(Enum):
    """Why nothing is recorded for a while; it goes on when no cause is left."""

    HOLD = "hold"  # a party is on hold
    KEYS = "keys"  # staff asked for it by key or INFO
    OPERATOR = "operator"  # asked for through the control interface
    PARTY = "party"  # somebody joined who has not heard the announcement
    NOTICE = "notice"  # a purpose that staff asked for meanwhile is being announced
    PREFERENCE = "preference"  # a record-aware telephone asked for it (RFC 7866)


class Symbol(Enum):
    """What the tables react to."""

    CALLER_ANSWERED = auto()
    CALLER_CONFIRMED = auto()
    CALLER_ENDING = auto()
    CALLER_ENDED = auto()
    CALLEE_INVITED = auto()
    CALLEE_PROCEEDING = auto()
    CALLEE_CONFIRMED = auto()
    CALLEE_DIVERTED = auto()
    CALLEE_ENDING = auto()
    CALLEE_ENDED = auto()
    NOTICE_ASKED = auto()
    NOTICE_STARTED = auto()
    NOTICE_COMPLETED = auto()
    NOTICE_REPEATED = auto()
    NOTICE_FAILED = auto()
    NOTICE_DECLINED = auto()
    NOTICE_ASSERTED = auto()
    NOTICE_KEPT = auto()
    NOTICE_SET_ASIDE = auto()
    CHOICE_OFFERED = auto()
    CHOICE_ACCEPTED = auto()
    CHOICE_REFUSED = auto()
    CHOICE_LAPSED = auto()
    RECORDING_REQUESTED = auto()
    RECORDING_OPENED = auto()
    RECORDING_PAUSED = auto()
    RECORDING_RESUMED = auto()
    RECORDING_CLOSED = auto()
    RECORDING_PARTED = auto()
    RECORDING_FAILED = auto()
    RECORDING_DISCARDED = auto()


_S = Symbol

CallerTable: TypeAlias = dict[CallerLeg, dict[Symbol, CallerLeg]]
CalleeTable: TypeAlias = dict[CalleeLeg, dict[Symbol, CalleeLeg]]
NoticeTable: TypeAlias = dict[Notice, dict[Symbol, Notice]]
ChoiceTable: TypeAlias = dict[Choice, dict[Symbol, Choice]]
ForkToldTable: TypeAlias = dict[ForkTold, dict[Symbol, ForkTold]]
RecordingTable: TypeAlias = dict[Recording, dict[Symbol, Recording]]

CALLER: Final[CallerTable] = {
    CallerLeg.INVITED: {
        _S.CALLER_ANSWERED: CallerLeg.ANSWERED,
        _S.CALLER_ENDING: CallerLeg.ENDING,
        _S.CALLER_ENDED: CallerLeg.ENDED,
    },
    CallerLeg.ANSWERED: {
        _S.CALLER_CONFIRMED: CallerLeg.CONFIRMED,
        _S.CALLER_ENDING: CallerLeg.ENDING,
        _S.CALLER_ENDED: CallerLeg.ENDED,
    },
    CallerLeg.CONFIRMED: {
        _S.CALLER_ENDING: CallerLeg.ENDING,
        _S.CALLER_ENDED: CallerLeg.ENDED,
    },
    CallerLeg.ENDING: {_S.CALLER_ENDED: CallerLeg.ENDED},
    CallerLeg.ENDED: {},
}

CALLEE: Final[CalleeTable] = {
    CalleeLeg.IDLE: {
        _S.CALLEE_INVITED: CalleeLeg.CALLING,
        _S.CALLEE_ENDED: CalleeLeg.ENDED,
    },
    CalleeLeg.CALLING: {
        _S.CALLEE_PROCEEDING: CalleeLeg.PROCEEDING,
        _S.CALLEE_CONFIRMED: CalleeLeg.CONFIRMED,
        _S.CALLEE_ENDING: CalleeLeg.ENDING,
        _S.CALLEE_ENDED: CalleeLeg.ENDED,
    },
    CalleeLeg.PROCEEDING: {
        _S.CALLEE_PROCEEDING: CalleeLeg.PROCEEDING,
        _S.CALLEE_CONFIRMED: CalleeLeg.CONFIRMED,
        _S.CALLEE_ENDING: CalleeLeg.ENDING,
        _S.CALLEE_ENDED: CalleeLeg.ENDED,
    },
    CalleeLeg.CONFIRMED: {
        _S.CALLEE_DIVERTED: CalleeLeg.DIVERTING,
        _S.CALLEE_ENDING: CalleeLeg.ENDING,
        _S.CALLEE_ENDED: CalleeLeg.ENDED,
    },
    CalleeLeg.DIVERTING: {
        _S.CALLEE_ENDING: CalleeLeg.ENDING,
        _S.CALLEE_ENDED: CalleeLeg.IDLE,
    },
    CalleeLeg.ENDING: {_S.CALLEE_ENDED: CalleeLeg.ENDED},
    CalleeLeg.ENDED: {},
}

NOTICE: Final[NoticeTable] = {
    Notice.NOT_REQUIRED: {},
    Notice.WAITING: {
        _S.NOTICE_ASKED: Notice.DUE,
        _S.NOTICE_FAILED: Notice.FAILED,
        _S.NOTICE_DECLINED: Notice.DECLINED,
    },
    Notice.DUE: {
        _S.NOTICE_STARTED: Notice.PLAYING,
        _S.NOTICE_KEPT: Notice.COMPLETED,
        _S.NOTICE_SET_ASIDE: Notice.WAITING,
        _S.NOTICE_FAILED: Notice.FAILED,
        _S.NOTICE_DECLINED: Notice.DECLINED,
    },
    Notice.PLAYING: {
        _S.NOTICE_COMPLETED: Notice.COMPLETED,
        _S.NOTICE_REPEATED: Notice.DUE,
        _S.NOTICE_KEPT: Notice.COMPLETED,  # of a further purpose; what was told before stands
        _S.NOTICE_SET_ASIDE: Notice.WAITING,
        _S.NOTICE_FAILED: Notice.FAILED,
        _S.NOTICE_DECLINED: Notice.DECLINED,
    },
    Notice.COMPLETED: {
        _S.NOTICE_REPEATED: Notice.DUE,  # somebody joined, or staff ask for more; what is recorded is paused
        _S.NOTICE_SET_ASIDE: Notice.WAITING,  # nothing is left but what staff may ask for
    },
    Notice.FAILED: {},
    Notice.DECLINED: {},
}

FORK_TOLD: Final[ForkToldTable] = {
    ForkTold.DUE: {
        _S.NOTICE_ASSERTED: ForkTold.COMPLETED,
        _S.NOTICE_FAILED: ForkTold.FAILED,
        _S.NOTICE_DECLINED: ForkTold.DECLINED,
    },
    ForkTold.COMPLETED: {_S.NOTICE_DECLINED: ForkTold.DECLINED},
    ForkTold.FAILED: {},
    ForkTold.DECLINED: {},
}

CHOICE: Final[ChoiceTable] = {
    Choice.NOT_OFFERED: {
        _S.CHOICE_OFFERED: Choice.OPEN,
        _S.CHOICE_REFUSED: Choice.REFUSED,
    },
    Choice.OPEN: {
        _S.CHOICE_ACCEPTED: Choice.GIVEN,
        _S.CHOICE_REFUSED: Choice.REFUSED,
        _S.CHOICE_LAPSED: Choice.NOT_OFFERED,  # staff ended the purpose, or it could not be announced
    },
    Choice.GIVEN: {
        _S.CHOICE_OFFERED: Choice.OPEN,  # to somebody who joined
        _S.CHOICE_REFUSED: Choice.REFUSED,
        _S.CHOICE_LAPSED: Choice.NOT_OFFERED,
    },
    Choice.REFUSED: {},
}

RECORDING: Final[RecordingTable] = {
    Recording.OFF: {_S.RECORDING_REQUESTED: Recording.OPENING},
    Recording.OPENING: {
        _S.RECORDING_OPENED: Recording.ON,
        _S.RECORDING_PARTED: Recording.OFF,
        _S.RECORDING_CLOSED: Recording.SEALED,
        _S.RECORDING_FAILED: Recording.ABORTED,
        _S.RECORDING_DISCARDED: Recording.DISCARDED,
    },
    Recording.ON: {
        _S.RECORDING_PAUSED: Recording.PAUSED,
        _S.RECORDING_PARTED: Recording.OFF,  # closed or destroyed, and another may follow
        _S.RECORDING_CLOSED: Recording.SEALED,
        _S.RECORDING_FAILED: Recording.ABORTED,
        _S.RECORDING_DISCARDED: Recording.DISCARDED,
    },
    Recording.PAUSED: {
        _S.RECORDING_RESUMED: Recording.ON,
        _S.RECORDING_PARTED: Recording.OFF,
        _S.RECORDING_CLOSED: Recording.SEALED,
        _S.RECORDING_FAILED: Recording.ABORTED,
        _S.RECORDING_DISCARDED: Recording.DISCARDED,
    },
    Recording.SEALED: {},
    Recording.ABORTED: {},
    Recording.DISCARDED: {},
}

_State = TypeVar("_State", bound=Enum)


def advance(table: Mapping[_State, Mapping[Symbol, _State]], state: _State, symbol: Symbol) -> _State:
    """Next state of one table.

    Raises:
        IllegalEvent: The row of ``state`` does not list ``symbol``.
    """
    following = table[state].get(symbol)
    if following is None:
        raise IllegalEvent(f"{symbol.name} is illegal in {type(state).__name__}.{state.name}")
    return following
