"""Sealing of secrets at rest: AES-256-GCM under a key derived from the master key.

A sealed secret is ``version (1 byte) | key id (4 bytes) | nonce (12 bytes) | ciphertext and tag``. What it belongs to
is authenticated with it, so that a secret copied into another account's row cannot be opened there.
"""

from __future__ import annotations

import hmac
import os
import struct
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from mailcache.errors import SealBroken

_VERSION = 1
_HEAD = struct.Struct(">BI")
_NONCE_BYTES = 12
SALT_BYTES = 16
# About 50 ms and 16 MB, once per process and key: the master key may be a passphrase.
_SCRYPT_COST = 2**14


@dataclass(frozen=True, slots=True)
class DerivedKey:
    """A sealing key, with the value by which its master key is recognised later."""

    secret: bytes = field(repr=False)
    check_value: bytes = field(repr=False)


def new_salt() -> bytes:
    """Return a fresh salt for ``derive_key``."""
    return os.urandom(SALT_BYTES)


def derive_key(master_key: str, salt: bytes) -> DerivedKey:
    """Derive a sealing key from the master key and a stored salt."""
    derived = Scrypt(salt=salt, length=64, n=_SCRYPT_COST, r=8, p=1).derive(master_key.encode())
    return DerivedKey(secret=derived[:32], check_value=derived[32:])


def same_check_value(one: bytes, other: bytes) -> bool:
    """Compare two check values in constant time."""
    return hmac.compare_digest(one, other)


def seal(plaintext: str, *, key: DerivedKey, key_id: int, belongs_to: bytes) -> bytes:
    """Seal a secret; ``belongs_to`` must be given again to open it."""
    head = _HEAD.pack(_VERSION, key_id)
    nonce = os.urandom(_NONCE_BYTES)
    return head + nonce + AESGCM(key.secret).encrypt(nonce, plaintext.encode(), head + belongs_to)


def key_id_of(sealed: bytes) -> int:
    """Return the id of the key that a secret was sealed with; raises ``SealBroken``."""
    if len(sealed) < _HEAD.size + _NONCE_BYTES:
        raise SealBroken("a sealed secret is cut short")
    version, key_id = _HEAD.unpack_from(sealed)
    if version != _VERSION:
        raise SealBroken(f"a secret is sealed in the unknown format {version}")
    return int(key_id)


def open_sealed(sealed: bytes, *, key: DerivedKey, belongs_to: bytes) -> str:
    """Open a sealed secret; raises ``SealBroken`` when key, owner or bytes are not those of the sealing."""
    head, rest = sealed[: _HEAD.size], sealed[_HEAD.size :]
    try:
        plaintext = AESGCM(key.secret).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], head + belongs_to)
    except InvalidTag:
        raise SealBroken("a sealed secret does not open: wrong master key, or the row was altered") from None
    return plaintext.decode()
