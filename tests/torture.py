"""The messages that RFC 4475 and RFC 5118 describe, made by code, and what recproxy answers to each.

Each case is numbered by the section that describes it. Hosts are those of the test,
so that answers come back; what makes the case one is as the RFC has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sdp_bodies
from loopback import Addresses

PORT = 5070
SILENCE = 0
MARK = "X-Torture"  # goes on to the callee as it is
BUSY = 486  # what the callee answers to every call that reaches it
NUMBER = "+31301234567"
UTF8_REASON = "= 2**3 * 5**2 но сто девяносто девять - простое"
_LONG = 200

Field = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """One message.

    Attributes:
        section: Where it is described; with the RFC's number if that is not 4475.
        what: Its title, shortened.
        data: The datagram.
        mark: What a message that answers it has in its Via or Call-ID, and the callee sees as ``MARK``.
        answers: Final answers that are right; ``SILENCE`` if none may come, ``BUSY`` if the callee gets it.
        user: User part of the URI that the callee then sees.
    """

    section: str
    what: str
    data: bytes
    mark: str
    answers: tuple[int, ...]
    user: str = ""


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the messages of one sender."""

    source: str
    here: Addresses
    mark: str

    @property
    def offer(self) -> bytes:
        return sdp_bodies.audio(self.source, 6000)

    @property
    def via(self) -> str:
        return f"SIP/2.0/UDP {self.source}:{PORT};branch=z9hG4bK{self.mark}"

    def fields(self, method: str) -> list[Field]:
        return [
            ("Via", self.via),
            ("Max-Forwards", "70"),
            ("From", f"<sip:caller@{self.source}>;tag={self.mark}"),
            ("To", f"<sip:{NUMBER}@{self.here.daemon}>"),
            ("Call-ID", f"{self.mark}@{self.source}"),
            ("CSeq", f"1 {method}"),
            ("Contact", f"<sip:caller@{self.source}:{PORT}>"),
            (MARK, self.mark),
        ]

    def __call__(
        self,
        method: str = "INVITE",
        *,
        start: str = "",
        uri: str = "",
        change: dict[str, str] | None = None,
        more: tuple[Field, ...] = (),
        without: tuple[str, ...] = (),
        body: bytes | None = None,
        kind: str = "application/sdp",
        length: str | None = None,
    ) -> bytes:
        """One message: ``change`` replaces fields, ``more`` adds to them, ``without`` leaves them out."""
        content = self.offer if body is None and method == "INVITE" else body or b""
        changed = change or {}
        lines = [start or f"{method} {uri or f'sip:{NUMBER}@{self.here.daemon}'} SIP/2.0"]
        for name, value in [*self.fields(method), *more]:
            if name not in without:
                lines.append(f"{name}: {changed.get(name, value)}")
        if content:
            lines.append(f"Content-Type: {kind}")
        lines.append(f"Content-Length: {len(content) if length is None else length}")
        return "\r\n".join([*lines, "", ""]).encode() + content


Made = tuple[str, str, bytes, tuple[int, ...], str]


def _valid(w: _Writer) -> Iterator[Made]:
    """Section 3.1.1: nothing is wrong with these."""
    daemon, source = w.here.daemon, w.source
    tortuous = "\r\n".join(
        [
            f"INVITE sip:{NUMBER}@{daemon};unknownparam SIP/2.0",
            "TO :",
            f" sip:{NUMBER}@{daemon}",
            f'from   : "J Rosenberg \\\\\\""       <sip:caller@{source}>',
            "  ;",
            f"  tag = {w.mark}",
            "MaX-fOrWaRdS: 0068",
            f"Call-ID: {w.mark}@{source}",
            "cseq: 0009",
            "  INVITE",
            f"Via  : SIP  /   2.0\r\n /UDP\r\n    {source}:{PORT};branch=390skdjuw",
            "s :",
            "NewFangledHeader:   newfangled value\r\n continued newfangled value",
            "UnknownHeaderWithUnusualValue: ;;,,;;,;",
            f"{MARK}: {w.mark}",
            "Content-Type: application/sdp",
            f"l:   {len(w.offer)}",
            "v:  SIP  / 2.0  / TCP     spindle.example.com   ;",
            "  branch  =   z9hG4bK9ikj8  ,",
            " SIP  /    2.0   / UDP  192.0.2.55   ; branch=",
            " z9hG4bK30239",
            f'm:"Quoted string \\"\\"" <sip:caller@{source}:{PORT}> ; newparam =',
            "      newvalue ;",
            "  secondparam ; q = 0.33",
            "",
            "",
        ]
    ).encode()
    yield "3.1.1.1", "a short tortuous INVITE", tortuous + w.offer, (BUSY,), NUMBER
    odd = "!interesting-Method0123456789_*+`.%indeed'~"
    crazy = "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    quoted = '"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f"'
    yield (
        "3.1.1.2",
        "a wide range of valid characters",
        w(odd, uri=f"{crazy}@{daemon}", change={"To": f"{quoted} <{crazy}@{daemon}>"}),
        (405, SILENCE),
        "",
    )
    escaped = f"sip:sips%3Auser%40example.com@{daemon}"
    yield "3.1.1.3", "escapes", w(uri=escaped), (BUSY,), "sips%3Auser%40example.com"
    yield (
        "3.1.1.4",
        "escaped NULs",
        w("REGISTER", change={"To": f"<sip:null-%00-null@{daemon}>", "Contact": f"<sip:%00@{source}>"}),
        (405,),
        "",
    )
    yield "3.1.1.5", "% that escapes nothing", w("RE%47IST%45R"), (405,), ""
    no_space = {"From": f"caller<sip:caller@{source}>;tag={w.mark}"}
    yield "3.1.1.6", "no space before <", w("OPTIONS", change=no_space), (200,), ""
    long = {
        "To": f'"{"I have a user name of extreme " * 6}proportion" <sip:{NUMBER}@{daemon};'
        f"unknownparam1={'very' * 30}longvalue>;{'shortname' * 10}=shortvalue",
        "From": f"<sip:{'amazinglylongcallername' * 5}@{source}>;tag={'12' * _LONG}982424;"
        f"unknownheaderparam{'name' * 20}={'value' * 20}",
        "Call-ID": f"{w.mark}-{'longvalue' * 20}@{source}",
    }
    vias = tuple(
        ("Via", f"SIP/2.0/TCP sip{at}.example.com;branch=z9hG4bK{'branch' * 10}{at}") for at in range(20)
    )
    unknown = ("Unknown-" + "Long" * 20 + "-Name", "unknown-" + "long" * 20 + "-value; unknown-parameter = x")
    yield "3.1.1.7", "long values", w(change=long, more=(*vias, unknown)), (BUSY,), NUMBER
    yield "3.1.1.8", "a second request behind the first", w("REGISTER") + w(), (405,), ""
    semicolons = f"sip:user;par=u%40example.net@{daemon}"
    yield "3.1.1.9", "semicolons in the user part", w("OPTIONS", uri=semicolons), (200,), ""
    transports = tuple(
        ("Via", f"SIP/2.0/{name} t{at}.example.com;branch=z9hG4bKkdjuw{at}")
        for at, name in enumerate(("SCTP", "TLS", "UNKNOWN", "TCP"))
    )
    yield "3.1.1.10", "transports that nobody knows", w("OPTIONS", more=transports), (200,), ""
    line = b"--7a9cbec02ceef655"
    parts = line + b"\r\nContent-Type: text/plain\r\n\r\nHello\r\n" + line + b"\r\n"
    parts += b"Content-Type: application/octet-stream\r\n\r\n" + bytes(range(256)) + b"\r\n" + line + b"--"
    mixed = "multipart/mixed;boundary=7a9cbec02ceef655"
    yield "3.1.1.11", "many parts", w("MESSAGE", body=parts, kind=mixed), (405,), ""
    for section, what, reason in (
        ("3.1.1.12", "an unusual reason phrase", UTF8_REASON),
        ("3.1.1.13", "no reason phrase", ""),
    ):
        yield section, what, w("INVITE", start=f"SIP/2.0 200 {reason}"), (SILENCE,), ""


def _invalid(w: _Writer) -> Iterator[Made]:
    """Section 3.1.2: these break the syntax; 400 or silence, unless the RFC lets one be lenient."""
    daemon, source = w.here.daemon, w.source
    refused = (400, SILENCE)
    separators = {"Via": w.via.replace(";", ";;,;,", 1), "Contact": f'"Joe" <sip:joe@{source}>;;;;'}
    yield "3.1.2.1", "separators too many", w(change=separators), refused, ""
    yield "3.1.2.2", "Content-Length past the end", w(length="9999"), refused, ""
    yield "3.1.2.3", "a negative Content-Length", w(length="-999"), refused, ""
    scalars = {
        "CSeq": "36893488147419103232 REGISTER",
        "Max-Forwards": "300",
        "Contact": f"<sip:caller@{source}>;expires=280297596632815",
    }
    expires = (("Expires", "1" + "0" * 100),)
    yield "3.1.2.4", "numbers too large", w("REGISTER", change=scalars, more=expires), refused, ""
    yield (
        "3.1.2.5",
        "numbers too large in a response",
        w(
            start="SIP/2.0 503 Service Unavailable",
            change={"CSeq": "9292394834772304023312 OPTIONS"},
            more=(("Retry-After", "949302838503028349304023988"), ("Warning", "1812 overture")),
        ),
        (SILENCE,),
        "",
    )
    open_quote = {"To": f'"Mr. J. User <sip:{NUMBER}@{daemon}>'}
    yield "3.1.2.6", "a quote that does not end", w(change=open_quote), refused, ""
    yield "3.1.2.7", "<> around the URI", w(uri=f"<sip:{NUMBER}@{daemon}>"), refused, ""
    yield "3.1.2.8", "spaces in the URI", w(uri=f"sip:{NUMBER}@{daemon}; lr"), refused, ""
    spaced = f"INVITE  sip:{NUMBER}@{daemon}  SIP/2.0"
    yield "3.1.2.9", "spaces in the request line", w(start=spaced), (*refused, BUSY), NUMBER
    trailing = f"OPTIONS sip:{NUMBER}@{daemon} SIP/2.0  "
    yield "3.1.2.10", "spaces behind the request line", w("OPTIONS", start=trailing), (*refused, 200), ""
    escaped = f"sip:{NUMBER}@{daemon}?Route=%3Csip:{w.here.foreign};lr%3E"
    yield "3.1.2.11", "headers in the URI", w(uri=escaped), (*refused, BUSY), NUMBER
    date = (("Date", "Fri, 01 Jan 2010 16:00:00 EST"),)
    yield "3.1.2.12", "a date of another zone", w(more=date), (*refused, BUSY), NUMBER
    bare = {"Contact": f"sip:caller@{source}?Route=%3Csip:sip.example.com%3E"}
    yield "3.1.2.13", "no <> around a URI with headers", w("REGISTER", change=bare), (*refused, 405), ""
    loose = {"To": f'"Watson, Thomas" < sip:{NUMBER}@{daemon} >'}
    yield "3.1.2.14", "spaces around a URI", w("OPTIONS", change=loose), (*refused, 200), ""
    no_token = {"From": f"Bell, Alexander <sip:caller@{source}>;tag={w.mark}"}
    yield "3.1.2.15", "a comma in a name without quotes", w("OPTIONS", change=no_token), (*refused, 200), ""
    seven = f"OPTIONS sip:{NUMBER}@{daemon} SIP/7.0"
    yield "3.1.2.16", "another version", w("OPTIONS", start=seven), (505, SILENCE), ""
    yield "3.1.2.17", "CSeq of another method", w("OPTIONS", change={"CSeq": "8 INVITE"}), refused, ""
    unknown = w("NEWMETHOD", change={"CSeq": "8 INVITE"})
    yield "3.1.2.18", "an unknown method, CSeq of another", unknown, (*refused, 405, 501), ""
    yield "3.1.2.19", "a status too large", w(start="SIP/2.0 4294967301 better not"), (SILENCE,), ""


def _later(w: _Writer) -> Iterator[Made]:
    """Sections 3.2 to 3.4: the syntax holds, transaction or application have something to say."""
    daemon, source = w.here.daemon, w.source
    cookie = {"Via": f"SIP/2.0/UDP {source}:{PORT};branch=z9hG4bK"}
    yield "3.2.1", "a branch that is only the cookie", w("OPTIONS", change=cookie), (200, 400), ""
    needed = ("From", "To", "Call-ID")
    yield "3.3.1", "required fields missing", w(without=needed), (400, SILENCE), ""
    scheme = "nobodyKnowsThisScheme:totallyopaquecontent"
    yield "3.3.2", "a scheme that nobody knows", w(uri=scheme), (416, 400, 404, SILENCE), ""
    beep = "soap.beep://192.0.2.103:3002"
    yield "3.3.3", "a scheme out of place", w(uri=beep), (416, 400, 404, SILENCE), ""
    schemes = {"To": "isbn:2983792873", "Contact": f"<name:caller@{source}>"}
    yield "3.3.4", "unknown schemes in fields", w("REGISTER", change=schemes), (405, 400, SILENCE), ""
    extensions = (
        ("Require", "nothingSupportsThis, nothingSupportsThisEither"),
        ("Proxy-Require", "noProxiesSupportThis, norDoAnyProxiesSupportThis"),
    )
    yield "3.3.5", "extensions that nobody has, in an INVITE", w(more=extensions), (420,), ""
    yield "3.3.5", "and in OPTIONS", w("OPTIONS", more=extensions), (420,), ""
    strange = w(body=b"<audio>\r\n <pcmu port='443'/>\r\n</audio>", kind="application/unknownformat")
    yield "3.3.6", "a body of an unknown kind", strange, (415,), ""
    scheme_auth = (("Authorization", "NoOneKnowsThisScheme opaque-data=here"),)
    yield "3.3.7", "an unknown scheme of authorization", w("REGISTER", more=scheme_auth), (405, SILENCE), ""
    twice = (
        ("CSeq", "5 INVITE"),
        ("Call-ID", f"{w.mark}-other@{source}"),
        ("From", f"<sip:other@{source}>;tag=1"),
        ("To", f"<sip:other@{daemon}>"),
        ("Max-Forwards", "5"),
    )
    yield "3.3.8", "fields twice that are there once", w(more=twice), (400, SILENCE), ""
    lengths = w("OPTIONS", more=(("Content-Length", "13"),), body=b"There's no way", kind="text/plain")
    yield "3.3.9", "two lengths", lengths, (400, SILENCE), ""
    broadcast = {"Via": "SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23"}
    yield "3.3.10", "an answer to everybody", w(start="SIP/2.0 200 OK", change=broadcast), (SILENCE,), ""
    yield "3.3.11", "no hop left, in an INVITE", w(change={"Max-Forwards": "0"}), (483,), ""
    yield "3.3.11", "and in OPTIONS", w("OPTIONS", change={"Max-Forwards": "0"}), (200, 483), ""
    for section, what, contact in (
        ("3.3.12", "a parameter of Contact", f"sip:+19725552222@{source};unknownparam"),
        ("3.3.13", "a parameter of its URI", f"<sip:+19725552222@{source};unknownparam>"),
        ("3.3.14", "a header in its URI", f"<sip:user@{source}?Route=%3Csip:sip.example.com%3E>"),
    ):
        yield section, what, w("REGISTER", change={"Contact": contact}), (405,), ""
    accept = (("Accept", "text/nobodyKnowsThis"),)
    yield "3.3.15", "only unknown kinds are accepted", w(more=accept), (406, BUSY), NUMBER
    old = {
        "Via": f"SIP/2.0/UDP {source}:{PORT}",
        "From": f"<sip:caller@{source};user=phone>",
    }
    yield "3.4.1", "as in RFC 2543", w(change=old, without=("Max-Forwards",)), (BUSY,), NUMBER


def _ipv6(w: _Writer) -> Iterator[Made]:
    """RFC 5118, section 4: addresses of IPv6 in every place."""
    refused = (400, SILENCE)
    daemon, source = w.here.daemon, w.source
    yield "5118 4.1", "a URI with a reference", w(uri=f"sip:{NUMBER}@[2001:db8::10]"), (BUSY,), NUMBER
    yield "5118 4.2", "brackets missing", w(uri=f"sip:{NUMBER}@2001:db8::10"), refused, ""
    yield "5118 4.3", "a port that is none", w(uri=f"sip:{NUMBER}@[2001:db8::10:5070]"), (BUSY,), NUMBER
    yield "5118 4.4", "a port", w("OPTIONS", uri="sip:[2001:db8::10]:5070"), (200,), ""
    for what, received in (("with", "[2001:db8::9:255]"), ("without", "2001:db8::9:255")):
        via = {"Via": f"{w.via};received={received}"}
        yield "5118 4.5", f"received {what} brackets", w("OPTIONS", change=via), (200, *refused), ""
    six = w.offer.replace(f"IN IP4 {source}".encode(), b"IN IP6 2001:db8::20")
    yield "5118 4.6", "IPv6 in the SDP", w(body=six), (488,), ""
    mixed = (
        ("Via", f"SIP/2.0/UDP {source}:{PORT};branch=z9hG4bK-{w.mark}"),
        ("Via", "SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111"),
    )
    yield "5118 4.7", "both versions in the fields", w("OPTIONS", more=mixed), (200,), ""
    sections = w.offer + b"m=video 6002 RTP/AVP 31\r\nc=IN IP6 2001:db8::9:255\r\na=rtpmap:31 H261/90000\r\n"
    yield "5118 4.8", "both versions in the SDP", w(body=sections), (BUSY, 488), NUMBER
    mapped = w.offer.replace(f"IN IP4 {source}".encode(), f"IN IP6 ::ffff:{source}".encode())
    yield "5118 4.9", "IPv4 written as IPv6", w(body=mapped), (488,), ""
    colons = {"Contact": f"<sip:caller@[2001:db8:::{source}]>", "To": f"<sip:{NUMBER}@{daemon}>"}
    yield "5118 4.10", "three colons", w("OPTIONS", change=colons), (200, *refused), ""


_PARTS: tuple[Callable[[_Writer], Iterator[Made]], ...] = (_valid, _invalid, _later, _ipv6)


def cases(source: str, here: Addresses) -> Iterator[Case]:
    """All of them, as ``source`` would send them; each has a Call-ID of its own."""
    for at, part in enumerate(_PARTS):
        count = sum(1 for _ in part(_Writer(source, here, "x")))
        for number in range(count):
            mark = f"torture-{at}-{number:02}-"
            section, what, data, answers, user = list(part(_Writer(source, here, mark)))[number]
            yield Case(section, what, data, mark, answers, user)
