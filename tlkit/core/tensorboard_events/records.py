"""TFRecord, the format of TensorBoard's event files: records read and written without TensorFlow.

A file is a row of records (length uint64, its checksum, the bytes of one `Event`, their checksum), all little-endian. A
checksum is CRC-32C (Castagnoli), rotated and shifted as TensorFlow masks it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

_POLYNOMIAL, _MASK = 0x82F63B78, 0xA282EAD8
_SHORT = 2048  # bytes up to which one after the other is as fast


def read_records(content: bytes) -> Iterator[bytes]:
    """The contents of the whole records, up to the first whose length is broken; those broken within are left out."""
    start = 0
    while start + 12 <= len(content):
        length, checksum = struct.unpack_from("<QI", content, start)
        end = start + 12 + length + 4
        if checksum != masked(content[start : start + 8]) or end > len(content):
            return
        inside = content[start + 12 : end - 4]
        if struct.unpack_from("<I", content, end - 4)[0] == masked(inside):
            yield inside
        start = end


def as_record(inside: bytes) -> bytes:
    """One record with its length and both checksums."""
    length = struct.pack("<Q", len(inside))
    return length + struct.pack("<I", masked(length)) + inside + struct.pack("<I", masked(inside))


def masked(content: bytes) -> int:
    """The masked CRC-32C, uint32."""
    checksum = crc32c(content)
    return (((checksum >> 15) | (checksum << 17)) + _MASK) & 0xFFFFFFFF


def crc32c(content: bytes) -> int:
    """CRC-32C, uint32: of long contents, many pieces at once, which are then joined."""
    if len(content) <= _SHORT:
        return ~_one_after_the_other(content, 0xFFFFFFFF) & 0xFFFFFFFF
    length = 1 << (len(content).bit_length() // 2)
    count = len(content) // length
    pieces = np.frombuffer(content, np.uint8, count * length).reshape(count, length)
    states = np.zeros(count, np.uint32)
    table = _table()
    for column in np.ascontiguousarray(pieces.T):
        states = table[(states ^ column) & 255] ^ (states >> 8)
    state, beyond = 0xFFFFFFFF, _zeros(length)
    for piece in states.tolist():
        state = piece ^ (
            beyond[0][state & 255]
            ^ beyond[1][state >> 8 & 255]
            ^ beyond[2][state >> 16 & 255]
            ^ beyond[3][state >> 24]
        )
    return ~_one_after_the_other(content[count * length :], state) & 0xFFFFFFFF


def _one_after_the_other(content: bytes, state: int) -> int:
    table = _zeros(1)[0]
    for byte in content:
        state = table[(state ^ byte) & 255] ^ (state >> 8)
    return state


@lru_cache(1)
def _table() -> np.ndarray:
    """uint32 [256]: the state after one byte."""
    states: np.ndarray = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        states = (states >> 1) ^ np.where(states & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    return states


@lru_cache(32)
def _zeros(length: int) -> list[list[int]]:
    """[4][256]: what each byte of a state has become after `length` zero bytes."""
    states: np.ndarray = np.arange(256, dtype=np.uint32)[None] << np.array([[0], [8], [16], [24]], np.uint32)
    for _ in range(length):
        states = _table()[states & 255] ^ (states >> 8)
    return states.tolist()
