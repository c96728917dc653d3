"""SRTP and SRTCP written down from the RFCs, to hold the engine against: no libsrtp2 here.

RFC 3711 (AES_CM, HMAC-SHA1), RFC 7714 (AES-GCM). One object is one direction of one master key;
it seals with an index that the caller chooses and opens without any replay check.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rtp.endpoints import SrtpKey, SrtpSuite

_RTP_HEADER: Final = 12
_RTCP_HEADER: Final = 8
_ENCRYPTED: Final = 1 << 31
_GCM: Final = (SrtpSuite.AEAD_AES_128_GCM, SrtpSuite.AEAD_AES_256_GCM)


class NotAuthentic(Exception):  # noqa: N818 - a finding
    """The tag does not fit."""


def counter_mode(key: bytes, counter: bytes, data: bytes) -> bytes:
    """AES in counter mode (RFC 3711 section 4.1.1)."""
    return Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(data)


def derive(key: bytes, salt: bytes, label: int, length: int) -> bytes:
    """Key derivation of RFC 3711 section 4.3 with a derivation rate of 0."""
    x = int.from_bytes(salt.ljust(14, b"\0"), "big") ^ (label << 48)
    return counter_mode(key, x.to_bytes(14, "big") + b"\0\0", bytes(length))


class SrtpModel:
    """One direction."""

    def __init__(self, key: SrtpKey) -> None:
        self.gcm = key.suite in _GCM
        salt_bytes = 12 if self.gcm else 14
        master, salt = key.key[:-salt_bytes], key.key[-salt_bytes:]
        size = len(master)
        self.rtp_key, self.rtp_auth, self.rtp_salt = (
            derive(master, salt, label, length) for label, length in ((0, size), (1, 20), (2, salt_bytes))
        )
        self.rtcp_key, self.rtcp_auth, self.rtcp_salt = (
            derive(master, salt, label, length) for label, length in ((3, size), (4, 20), (5, salt_bytes))
        )
        self.tag = 4 if key.suite is SrtpSuite.AES_CM_128_HMAC_SHA1_32 else 10

    def seal(self, packet: bytes, rollover: int = 0) -> bytes:
        """Protect an RTP packet without CSRC and extension."""
        head, payload = packet[:_RTP_HEADER], packet[_RTP_HEADER:]
        if self.gcm:
            return head + AESGCM(self.rtp_key).encrypt(self._rtp_nonce(head, rollover), payload, head)
        sealed = head + counter_mode(self.rtp_key, self._rtp_counter(head, rollover), payload)
        return sealed + self._mac(self.rtp_auth, sealed + rollover.to_bytes(4, "big"), self.tag)

    def open(self, packet: bytes, rollover: int = 0) -> bytes:
        """Unprotect an SRTP packet without CSRC and extension."""
        head = packet[:_RTP_HEADER]
        if self.gcm:
            nonce = self._rtp_nonce(head, rollover)
            return head + AESGCM(self.rtp_key).decrypt(nonce, packet[_RTP_HEADER:], head)
        sealed, tag = packet[: -self.tag], packet[-self.tag :]
        if tag != self._mac(self.rtp_auth, sealed + rollover.to_bytes(4, "big"), self.tag):
            raise NotAuthentic
        return head + counter_mode(self.rtp_key, self._rtp_counter(head, rollover), sealed[_RTP_HEADER:])

    def seal_rtcp(self, packet: bytes, index: int) -> bytes:
        """Protect an RTCP packet."""
        head, rest = packet[:_RTCP_HEADER], packet[_RTCP_HEADER:]
        trailer = (_ENCRYPTED | index).to_bytes(4, "big")
        if self.gcm:
            nonce = self._rtcp_nonce(head, index)
            return head + AESGCM(self.rtcp_key).encrypt(nonce, rest, head + trailer) + trailer
        sealed = head + counter_mode(self.rtcp_key, self._rtcp_counter(head, index), rest) + trailer
        return sealed + self._mac(self.rtcp_auth, sealed, 10)

    def open_rtcp(self, packet: bytes) -> bytes:
        """Unprotect an SRTCP packet."""
        head = packet[:_RTCP_HEADER]
        if self.gcm:
            trailer = packet[-4:]
            nonce = self._rtcp_nonce(head, int.from_bytes(trailer, "big") & ~_ENCRYPTED)
            return head + AESGCM(self.rtcp_key).decrypt(nonce, packet[_RTCP_HEADER:-4], head + trailer)
        sealed, tag = packet[:-10], packet[-10:]
        if tag != self._mac(self.rtcp_auth, sealed, 10):
            raise NotAuthentic
        index = int.from_bytes(sealed[-4:], "big") & ~_ENCRYPTED
        return head + counter_mode(self.rtcp_key, self._rtcp_counter(head, index), sealed[_RTCP_HEADER:-4])

    @staticmethod
    def _mac(key: bytes, data: bytes, length: int) -> bytes:
        return hmac.new(key, data, hashlib.sha1).digest()[:length]

    def _rtp_counter(self, head: bytes, rollover: int) -> bytes:
        index = rollover << 16 | int.from_bytes(head[2:4], "big")
        return self._counter(self.rtp_salt, head[8:12], index)

    def _rtcp_counter(self, head: bytes, index: int) -> bytes:
        return self._counter(self.rtcp_salt, head[4:8], index)

    @staticmethod
    def _counter(salt: bytes, ssrc: bytes, index: int) -> bytes:
        mixed = int.from_bytes(salt, "big") << 16 ^ int.from_bytes(ssrc, "big") << 64 ^ index << 16
        return mixed.to_bytes(16, "big")

    def _rtp_nonce(self, head: bytes, rollover: int) -> bytes:
        plain = b"\0\0" + head[8:12] + rollover.to_bytes(4, "big") + head[2:4]
        return bytes(a ^ b for a, b in zip(plain, self.rtp_salt, strict=True))

    def _rtcp_nonce(self, head: bytes, index: int) -> bytes:
        plain = b"\0\0" + head[4:8] + b"\0\0" + index.to_bytes(4, "big")
        return bytes(a ^ b for a, b in zip(plain, self.rtcp_salt, strict=True))
