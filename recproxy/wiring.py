"""From the configuration to the settings of SIP and media; reads the passwords and keys that it names."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from recproxy import config as settings
from recproxy.certificates import read_tls
from recproxy.config import Config
from recproxy.config.settings import TrunkName
from recproxy.errors import ConfigError
from recproxy.media import MediaPlace, TrunkMedia
from recproxy.policy import Policy
from recproxy.secretfile import secret_lines
from recproxy.sip.authentication import users_of
from recproxy.sip.callbacks import CallBacks
from recproxy.sip.carrying import HeaderRules
from recproxy.sip.endpoint import DigestUsers, Listen, SipSettings, Tls
from recproxy.sip.limits import Limits
from recproxy.sip.numbering import NumberRule, Party
from recproxy.sip.registration import Credentials
from recproxy.sip.targets import Target
from recproxy.sip.trunks import Trunk
from rtp import Latch, PortPool

__all__ = ["emergency_callbacks", "media_places", "media_trunks", "sip_settings"]

_SECURE: Final[Mapping[settings.TrunkMedia, bool | None]] = {
    settings.TrunkMedia.AS_OFFERED: None,
    settings.TrunkMedia.RTP: False,
    settings.TrunkMedia.SRTP: True,
}
_PARTIES: Final = {
    settings.NumberParty.CALLER: frozenset({Party.CALLER}),
    settings.NumberParty.CALLEE: frozenset({Party.CALLEE}),
    settings.NumberParty.BOTH: frozenset(Party),
}
_LATCHES: Final = {
    settings.Latch.EXACT: Latch.EXACT,
    settings.Latch.ADDRESS: Latch.ADDRESS,
    settings.Latch.ANY: Latch.ANY,
}


def sip_settings(config: Config) -> SipSettings:
    """What the SIP endpoint needs to know.

    Raises:
        ConfigError: A password, certificate or key file cannot be read, is open to others, or holds
            something else.
    """
    return SipSettings(
        listen=tuple(
            Listen(
                place.transport.value,
                place.address,
                place.port,
                place.advertise or "",
                _tls(f"sip.listen[{at}].tls", place.tls),
            )
            for at, place in enumerate(config.sip.listen)
        ),
        trunks=tuple(
            Trunk(
                name=name,
                peers=tuple(str(network) for network in trunk.peers),
                targets=tuple(_target(target) for target in trunk.targets),
                direction=trunk.direction,
                forward_to=trunk.forward_to,
                keepalive_s=trunk.keepalive.total_seconds() if trunk.keepalive is not None else None,
                limits=Limits(trunk.max_calls, trunk.max_rate, trunk.max_burst),
                credentials=_credentials(name, trunk.register),
                received=_rules(trunk.numbers.received),
                sent=_rules(trunk.numbers.sent),
                users=_users(trunk.authenticate),
                deny=trunk.deny,
                headers=HeaderRules(trunk.trusted, trunk.headers.carry, trunk.headers.hide),
                siprec=trunk.siprec,
                notice_header=trunk.notice_header,
                tells_recording=trunk.recording_id,
                names_purpose=trunk.names_purpose,
            )
            for name, trunk in config.trunks.items()
        ),
        nameservers=tuple(config.sip.nameservers),
        max_calls=config.sip.max_calls,
        user_agent=config.sip.user_agent,
        max_connections=config.sip.max_connections,
    )


def _users(asked: settings.AuthenticateConfig | None) -> DigestUsers | None:
    """Read who may call from a trunk, and with which password."""
    if asked is None:
        return None
    path = asked.users_file
    try:
        if path.stat().st_mode & 0o037:  # systemd's credentials are of mode 0440
            raise ConfigError(f"authenticate.users_file: {path}: others may read it; chmod 600 {path}")
        with path.open(encoding="utf-8") as lines:
            users = users_of(lines)
    except OSError as err:
        raise ConfigError(f"authenticate.users_file: {path}: {err.strerror}") from err
    except ValueError as err:
        raise ConfigError(f"authenticate.users_file: {path}: {err}") from err
    return DigestUsers(asked.realm, users)


def _credentials(name: str, register: settings.RegisterConfig | None) -> Credentials | None:
    if register is None:
        return None
    server = register.registrar
    return Credentials(
        Target(server.host, server.port, server.transport.value),
        register.user,
        secret_lines(f"trunks.{name}.register.password_file", register.password_file)[0],
        round(register.expires.total_seconds()),
    )


def _rules(rules: tuple[settings.NumberRule, ...]) -> tuple[NumberRule, ...]:
    return tuple(NumberRule(rule.prefix, rule.replace, rule.digits, _PARTIES[rule.party]) for rule in rules)


def _target(target: settings.TargetConfig) -> Target:
    uri = target.uri
    return Target(uri.host, uri.port, uri.transport.value, target.priority, target.weight)


def _tls(where: str, tls: settings.TlsConfig | None) -> Tls | None:
    if tls is None:
        return None
    texts = read_tls(where, tls)
    return Tls(texts.certificate, texts.key, texts.ca, tls.verify, tls.verify_client)


def media_places(config: Config) -> dict[int, MediaPlace]:
    """Port pairs and announced address by IP version."""
    media = config.media
    return {
        version: MediaPlace(
            PortPool(bound, media.ports.first, media.ports.last), media.announced(version) or bound
        )
        for version in (4, 6)
        if (bound := media.bound(version)) is not None
    }


def _place(places: Mapping[int, MediaPlace], trunk: settings.TrunkConfig) -> MediaPlace:
    place = places[trunk.ip_version]
    return replace(place, advertise=trunk.media_advertise) if trunk.media_advertise else place


def media_trunks(config: Config, places: Mapping[int, MediaPlace]) -> dict[str, TrunkMedia]:
    """How media goes from and to each trunk."""
    return {
        name: TrunkMedia(
            _place(places, trunk),
            _place(places, _next(config, trunk)),
            _LATCHES[trunk.latch],
            _LATCHES[_next(config, trunk).latch],
            _SECURE[_next(config, trunk).media],
        )
        for name, trunk in config.trunks.items()
    }


def emergency_callbacks(policy: Callable[[], Policy]) -> CallBacks:
    """Who has just called an emergency service, by the window of the policy in force."""

    def window_s() -> float | None:
        exempt = policy().file.exempt
        window = exempt.emergency.callback_window if exempt is not None else None
        return window.total_seconds() if window is not None else None

    def canonical(number: str) -> str:
        return policy().numbering.canonical(number)

    return CallBacks(secrets.token_bytes(32), window_s, canonical)


def _next(config: Config, trunk: settings.TrunkConfig) -> settings.TrunkConfig:
    return trunk if trunk.siprec else config.trunks[TrunkName(trunk.forward_to)]
