"""Streams of an HWP 5 document locked for distribution in, what was encrypted in them out.

The lock keeps people from printing and copying; the key to read is in each stream. By "HWP document
format, distribution documents", revision 1.2, Hancom.
"""

import struct
from collections.abc import Iterator
from itertools import islice

_KEY_RECORD_TAG = 28
_KEY_RECORD_BYTES = 256
_HEADER_BYTES = 4
_BLOCK_BYTES = 16


def unlock(stream: bytes) -> bytes:
    """What is encrypted in a stream: another stream, packed like all of the document.

    Raises:
        ValueError: If it does not begin with the record that holds the key.
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    start = _HEADER_BYTES + _KEY_RECORD_BYTES
    if len(stream) < start or struct.unpack_from("<I", stream)[0] & 0x3FF != _KEY_RECORD_TAG:
        raise ValueError("the record of the key is missing")
    encrypted = stream[start : start + (len(stream) - start) // _BLOCK_BYTES * _BLOCK_BYTES]
    # Not a choice: the format has no other way.
    cipher = Cipher(algorithms.AES(_key(stream[_HEADER_BYTES:start])), modes.ECB())  # noqa: S305
    decryptor = cipher.decryptor()
    return decryptor.update(encrypted) + decryptor.finalize()


def _key(data: bytes) -> bytes:
    """The key lies among other bytes, all of them under random ones made from the first four."""
    (seed,) = struct.unpack_from("<I", data)
    offset = 4 + (seed & 0xF)
    mask = bytes(islice(_runs(seed), offset + _BLOCK_BYTES))
    covered = zip(data[offset:], mask[offset:], strict=False)
    return bytes(byte ^ cover for byte, cover in covered)


def _runs(seed: int) -> Iterator[int]:
    """Random bytes, each up to sixteen times in a row."""
    numbers = random_numbers(seed)
    while True:
        byte = next(numbers) & 0xFF
        yield from [byte] * ((next(numbers) & 0xF) + 1)


def random_numbers(seed: int) -> Iterator[int]:
    """The numbers of rand() in Microsoft's C library."""
    while True:
        seed = (seed * 214013 + 2531011) & 0xFFFFFFFF
        yield seed >> 16 & 0x7FFF
