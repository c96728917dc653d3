"""From the text of ``recproxy.yaml`` to its values: scalars, and checks across keys."""

from __future__ import annotations

import ipaddress
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Final

from recproxy.config.cdr import check_cdr
from recproxy.config.document import Document, Key, Parsers, read
from recproxy.config.header_names import HeaderName, header_name
from recproxy.config.http import check_api
from recproxy.config.settings import (
    PORT_MAX,
    PORT_MIN,
    UDP_PORTS_PER_CALL,
    VERSION,
    Config,
    IpAddress,
    Network,
    NodeName,
    NumberPrefix,
    PortRange,
    SipTarget,
    TargetConfig,
    Transport,
    TrunkConfig,
    TrunkName,
)
from recproxy.config.storing import check_storage
from recproxy.syslog import SyslogTarget
from recproxy.syslog import parse_target as parse_syslog_target

__all__ = ["load", "parse", "parse_duration"]

_CREDENTIAL: Final = "${CREDENTIALS_DIRECTORY}/"
_PREFIX: Final = re.compile(r"\+?[0-9]{1,15}\Z")
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}\Z")
_NODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_PORTS: Final = re.compile(r"([0-9]{1,5})-([0-9]{1,5})\Z")
_TARGET: Final = re.compile(
    r"sip:(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::([0-9]{1,5}))?"
    r"(?:;transport=(udp|tcp|tls))?\Z"
)
_DURATION: Final = re.compile(
    r"P(?=[0-9T])(?:(?P<weeks>[0-9]{1,4})W|(?:(?P<days>[0-9]{1,6})D)?"
    r"(?:T(?=[0-9])(?:(?P<hours>[0-9]{1,6})H)?(?:(?P<minutes>[0-9]{1,6})M)?(?:(?P<seconds>[0-9]{1,9})S)?)?)\Z"
)
_KEEPALIVE_MIN: Final = timedelta(seconds=5)
_KEEPALIVE_MAX: Final = timedelta(hours=1)
_EXPIRES_MIN: Final = timedelta(minutes=1)
_EXPIRES_MAX: Final = timedelta(days=1)


def load(path: Path) -> Config:
    """Read and check ``recproxy.yaml``.

    Raises:
        ConfigError: It cannot be read or is wrong; every problem is named.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    return parse(read(path), str(path), path.absolute().parent, Path(credentials) if credentials else None)


def parse(text: str, name: str, directory: Path = Path("/"), credentials: Path | None = None) -> Config:
    """Check the text of ``recproxy.yaml``; reads nothing else.

    Args:
        text: Of the file.
        name: Of the file, for messages.
        directory: What relative paths in it start from.
        credentials: What ``${CREDENTIALS_DIRECTORY}/`` at the start of a path stands for, the
            directory of LoadCredential= (systemd.exec(5)); without it such a path names no file.

    Returns:
        The configuration.

    Raises:
        ConfigError: It is wrong; every problem is named with its line.
    """
    document = Document.parse(text, name)
    document.check_version(VERSION)
    config = document.build(Config, _parsers(directory, credentials))
    _check_sip(config, document)
    _check_trunks(config, document)
    _check_media(config, document)
    _check_trunk_media(config, document)
    check_storage(config, document)
    _check_retention(config, document)
    check_api(config.api, document)
    check_cdr(config.cdr, config.storage.directory, document)
    document.finish()
    return config


def parse_duration(text: str) -> timedelta:
    """Read an ISO 8601 duration of weeks, days, hours, minutes and seconds.

    Raises:
        ValueError: It is something else. Months and years have no fixed length, so
            they are not taken.
    """
    found = _DURATION.match(text)
    if found is None:
        if re.match(r"P.*[0-9][YM]", text.partition("T")[0]):
            raise ValueError("counts months or years, whose length varies; write days, P365D")
        raise ValueError("is not an ISO 8601 duration such as P90D or PT10M")
    return timedelta(**{unit: int(number) for unit, number in found.groupdict().items() if number})


# Scalars.


def _parsers(directory: Path, credentials: Path | None) -> Parsers:
    def path(text: str) -> Path:
        if credentials is not None and text.startswith(_CREDENTIAL):
            return credentials / text.removeprefix(_CREDENTIAL)
        return directory / text

    return {
        Path: path,
        timedelta: parse_duration,
        IpAddress: _address,
        Network: _network,
        PortRange: _port_range,
        SipTarget: _target,
        TargetConfig: _target_config,
        NodeName: _node,
        TrunkName: _trunk_name,
        SyslogTarget: parse_syslog_target,
        HeaderName: header_name,
        NumberPrefix: _number_prefix,
    }


def _address(text: str) -> IpAddress:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as err:
        raise ValueError("is not a numeric IPv4 or IPv6 address") from err
    if address.is_multicast or "%" in text:
        raise ValueError("is not a unicast address without zone")
    return IpAddress(str(address))


def _network(text: str) -> Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as err:
        raise ValueError("is not an address or a network such as 192.0.2.10 or 192.0.2.0/24") from err
    if network.prefixlen == 0:
        raise ValueError("takes calls from everybody; name the networks of your peers")
    return network


def _port_range(text: str) -> PortRange:
    found = _PORTS.match(text)
    first, last = (int(found[1]), int(found[2])) if found else (0, 0)
    if not PORT_MIN <= first < last <= PORT_MAX:
        raise ValueError(f"is not a range of ports such as 20000-29999, from {PORT_MIN} to {PORT_MAX}")
    return PortRange(first, last)


def _target(text: str) -> SipTarget:
    found = _TARGET.match(text)
    host = _target_host(found[1]) if found else None
    port = int(found[2]) if found and found[2] else None
    if found is None or host is None or (port is not None and not 1 <= port <= PORT_MAX):
        raise ValueError("is not a target such as sip:192.0.2.10:5060;transport=udp (or tcp, tls)")
    if port is None and not _is_name(host):
        port = 5060  # an address: there is nothing to look up
    return SipTarget(host, port, Transport(found[3] or "udp"))


def _is_name(host: str) -> bool:
    return not host.startswith("[") and any(char.isalpha() for char in host)


def _target_host(text: str) -> str | None:
    """A host in its canonical spelling; None for what only looks like an address."""
    if _is_name(text):
        return text.lower()
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    return f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004


def _target_config(text: str) -> TargetConfig:
    return TargetConfig(uri=_target(text))


def _node(text: str) -> NodeName:
    if not _NODE.match(text):
        raise ValueError("is not a name of up to 63 letters, digits, dots, underscores and hyphens")
    return NodeName(text)


def _trunk_name(text: str) -> TrunkName:
    if not _NAME.match(text):
        raise ValueError("is not lower-case letters, digits, underscores and hyphens")
    return TrunkName(text)


def _number_prefix(text: str) -> NumberPrefix:
    if not _PREFIX.match(text):
        raise ValueError("is not the beginning of a number: 1 to 15 digits, perhaps behind a plus")
    return NumberPrefix(text)


# What only shows when the parts are put together.


def _check_sip(config: Config, document: Document) -> None:
    if not config.sip.listen:
        document.note(("sip", "listen"), "empty; give at least one socket")
    for at, listen in enumerate(config.sip.listen):
        key = ("sip", "listen", at)
        if config.sip.listen.index(listen) != at:
            document.note(key, "the same socket a second time; take it out")
        if ipaddress.ip_address(listen.address).is_unspecified and listen.advertise is None:
            document.note(key, f"{listen.address} cannot be told to a peer; set its advertise")
        if listen.advertise is not None and _version(listen.advertise) != _version(listen.address):
            document.note(
                (*key, "advertise"), f"{listen.advertise} is not of the IP version of {listen.address}"
            )
        if (listen.transport is Transport.TLS) is not (listen.tls is not None):
            wrong = "needs a certificate and its key" if listen.tls is None else "is for transport tls only"
            document.note((*key, "tls"), wrong)


def _check_trunks(config: Config, document: Document) -> None:
    if not config.trunks:
        document.note(("trunks",), "empty; give at least one trunk")
    for name, trunk in config.trunks.items():
        _check_route(config, name, trunk, document)
    _check_peers(config, document)


def _check_route(config: Config, name: TrunkName, trunk: TrunkConfig, document: Document) -> None:
    key = ("trunks", name)
    if trunk.max_calls is not None and trunk.max_calls > config.sip.max_calls:
        document.note((*key, "max_calls"), f"{trunk.max_calls} is more than sip.max_calls allows in all")
    if trunk.siprec:
        _check_fork(trunk, key, document)
        return
    _check_next(config, name, trunk, document)
    if not trunk.targets:
        document.note((*key, "targets"), "empty; name where calls to this trunk go")
    for at, target in enumerate(trunk.targets):
        _check_target(config, target.uri, (*key, "targets", at), document)
        if any(target.uri == other.uri for other in trunk.targets[:at]):
            document.note((*key, "targets", at), f"{target} a second time; take it out")
    if trunk.keepalive is not None and not _KEEPALIVE_MIN <= trunk.keepalive <= _KEEPALIVE_MAX:
        document.note((*key, "keepalive"), "not from PT5S to PT1H")
    if trunk.register is not None:
        _check_target(config, trunk.register.registrar, (*key, "register", "registrar"), document)
        if not _EXPIRES_MIN <= trunk.register.expires <= _EXPIRES_MAX:
            document.note((*key, "register", "expires"), "not from PT1M to P1D")


def _check_next(config: Config, name: TrunkName, trunk: TrunkConfig, document: Document) -> None:
    key = ("trunks", name, "forward_to")
    if trunk.forward_to not in config.trunks:
        known = ", ".join(other for other in config.trunks if other != name) or "none"
        document.note(key, f"no trunk is called {trunk.forward_to!r}; others here: {known}")
    elif trunk.forward_to == name:
        document.note(key, "calls would go back to where they came from; name another trunk")
    elif config.trunks[TrunkName(trunk.forward_to)].siprec:
        document.note(key, f"{trunk.forward_to} sends forks and takes no calls; name another trunk")


def _check_fork(trunk: TrunkConfig, key: Key, document: Document) -> None:
    """A recording client's forks end here: nothing that leads on has a meaning."""
    for name, given in (
        ("targets", trunk.targets),
        ("forward_to", trunk.forward_to),
        ("keepalive", trunk.keepalive),
        ("register", trunk.register),
    ):
        if given:
            document.note((*key, name), "has no meaning with siprec: its calls end here; take it out")
    if trunk.notice_header.endswith("*"):
        document.note(
            (*key, "notice_header"), f"{trunk.notice_header} is the beginning of many; name one header"
        )


def _check_target(config: Config, target: SipTarget, key: Key, document: Document) -> None:
    spoken = {listen.transport for listen in config.sip.listen}
    if spoken and target.transport not in spoken:
        document.note(key, f"nothing listens on {target.transport.value}; add it to sip.listen")
    own = {(listen.address, listen.port, listen.transport) for listen in config.sip.listen}
    if (target.host.strip("[]"), target.port, target.transport) in own:
        document.note(key, f"{target} is our own socket: recproxy would call itself")


def _check_peers(config: Config, document: Document) -> None:
    taken: list[tuple[TrunkName, Network]] = []
    for name, trunk in config.trunks.items():
        if not trunk.peers:
            document.note(("trunks", name, "peers"), "empty; name the networks of the peers")
        for at, network in enumerate(trunk.peers):
            for other, seen in taken:
                if other != name and network.overlaps(seen):
                    document.note(
                        ("trunks", name, "peers", at), f"{network} overlaps {seen} of trunk {other}"
                    )
            taken.append((name, network))


def _check_media(config: Config, document: Document) -> None:
    media, calls = config.media, config.sip.max_calls
    if media.ports.pairs * 2 < calls * UDP_PORTS_PER_CALL:
        document.note(
            ("media", "ports"),
            f"{media.ports} holds {media.ports.pairs * 2 // UDP_PORTS_PER_CALL} calls, "
            f"sip.max_calls is {calls}; give {calls * UDP_PORTS_PER_CALL} ports or allow fewer calls",
        )
    for name, addresses in (("address", media.address), ("advertise", media.advertise)):
        if len({_version(address) for address in addresses}) < len(addresses):
            document.note(("media", name), "names two addresses of one IP version; one is used")
    if not media.address:
        document.note(("media", "address"), "empty; give an address of this machine")
    for address in media.address:
        announced = media.announced(_version(address))
        if announced is not None and ipaddress.ip_address(announced).is_unspecified:
            document.note(("media", "address"), f"{announced} cannot be put into SDP; set media.advertise")
    for at, listen in enumerate(config.sip.listen):
        if listen.transport is Transport.UDP and listen.port in media.ports:
            document.note(
                ("sip", "listen", at, "port"), f"{listen.port} is one of media.ports; choose another"
            )


def _check_trunk_media(config: Config, document: Document) -> None:
    for name, trunk in config.trunks.items():
        if config.media.address and config.media.bound(trunk.ip_version) is None:
            document.note(
                ("media", "address"),
                f"no IPv{trunk.ip_version} address, which the peers of trunk {name} need; add one",
            )
        advertise = trunk.media_advertise
        if advertise is not None and _version(advertise) != trunk.ip_version:
            document.note(
                ("trunks", name, "media_advertise"),
                f"{advertise} is not of the trunk's IP version {trunk.ip_version}",
            )


def _version(address: IpAddress) -> int:
    return ipaddress.ip_address(address).version


def _check_retention(config: Config, document: Document) -> None:
    retention = config.retention
    if not timedelta(seconds=1) <= retention.interval <= timedelta(hours=1):
        document.note(("retention", "interval"), "not from PT1S to PT1H")
    if retention.max_clock_step < timedelta(seconds=1):
        document.note(
            ("retention", "max_clock_step"), "less than PT1S, which ordinary clock correction needs"
        )
