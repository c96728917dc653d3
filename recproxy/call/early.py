"""Media before the call is answered, and offers that are answered before it (RFC 3262, RFC 3311). Pure.

An answer in a provisional response binds only if that was sent reliably. Then the offer and
its answer are done, and the 200 repeats nothing: what the caller was told last stands.
"""

from __future__ import annotations

from recproxy.call import selection as pick
from recproxy.call.agreement import Agreement
from recproxy.call.commands import Command, ProgressCaller, SetGate
from recproxy.call.events import CalleeProgress, EarlyAnswer, LegName, Sdp


def progress(media: Agreement, event: CalleeProgress) -> list[Command]:
    """Pass a provisional response of the callee on to the caller."""
    selection, offer = media.ground()
    secure = media.secure[LegName.CALLEE]
    reliable = event.reliable
    if media.told is not None or event.sdp is None or not pick.takes_key(selection, event.sdp, secure=secure):
        return [ProgressCaller(event.code, event.reason, None, reliable)]
    media.answer = event.sdp
    local = media.local[LegName.CALLER]
    if not media.delayed:
        told = selection.answer(offer, event.sdp, local)
    elif reliable:
        told = selection.offer(event.sdp, local, secure=False)
    else:  # an offer that is not sent reliably has no answer: the caller who left it to us waits
        told = None
    return [
        media.connect(LegName.CALLEE, selection, event.sdp),
        SetGate(opened=True),
        ProgressCaller(event.code, event.reason, told, reliable),
    ]


def accept(media: Agreement, event: EarlyAnswer) -> list[Command]:
    """The caller has answered the offer that went on in a provisional response."""
    answer = media.answer
    if not media.delayed or answer is None:
        return []
    selection = media.selection
    media.delayed = False
    media.told = selection.offer(answer, media.local[LegName.CALLER], secure=False)
    media.heard(LegName.CALLER, event.sdp)
    media.heard(LegName.CALLEE, answer)
    media.codecs = pick.agreed_codecs(selection, event.sdp)
    return [media.connect(LegName.CALLER, selection, event.sdp)]


def settle(media: Agreement, offerer: LegName, offer: Sdp, answer: Sdp) -> None:
    """An offer made before the call is answered has been accepted: keep what it comes to."""
    local = media.local[LegName.CALLER]
    if offerer is LegName.CALLER:
        media.answer = answer
        media.told = media.selection.answer(offer, answer, local)
    else:
        media.answer = offer
        media.told = media.selection.offer(offer, local, secure=media.secure[LegName.CALLER])
