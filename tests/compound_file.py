"""Compound files (MS-CFB, version 3) made for tests: streams in, bytes out."""

import itertools
import struct

SECTOR = 512
MINI_SECTOR = 64
MINI_LIMIT = 4096
_END, _FREE, _FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
_NONE = 0xFFFFFFFF
_STORAGE, _STREAM, _ROOT = 1, 2, 5


def compound_file(streams: dict[str, bytes]) -> bytes:
    """A compound file of streams by their path, such as "BodyText/Section0"."""
    mini = b""
    mini_fat: list[int] = []
    sectors: list[bytes] = []
    fat: list[int] = []
    starts: dict[str, int] = {}
    for path, data in streams.items():
        if len(data) >= MINI_LIMIT:
            starts[path] = _append(sectors, fat, data)
        else:
            count = -(-len(data) // MINI_SECTOR)
            starts[path] = len(mini_fat) if count else _END
            mini_fat += _chain(len(mini_fat), count)
            mini += data.ljust(count * MINI_SECTOR, b"\0")
    mini_start = _append(sectors, fat, mini)
    table = struct.pack(f"<{len(mini_fat)}I", *mini_fat)
    mini_fat_start = _append(sectors, fat, table, fill=b"\xff")
    directory = _directory(streams, starts, mini_start, len(mini))
    directory_start = _append(sectors, fat, directory)
    fat_start, fat_count = len(sectors), 1
    while fat_count * SECTOR // 4 < len(fat) + fat_count:
        fat_count += 1
    fat += [_FAT] * fat_count
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(fat_count * SECTOR, b"\xff")
    fat_places = [*range(fat_start, fat_start + fat_count)] + [_FREE] * (109 - fat_count)
    header = struct.pack(
        "<8s16x5H6x9I109I",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        *(0x3E, 3, 0xFFFE, 9, 6, 0, fat_count, directory_start, 0, MINI_LIMIT),
        *(mini_fat_start, -(-len(mini_fat) * 4 // SECTOR), _END, 0),
        *fat_places,
    )
    return header + b"".join(sectors) + table


def _chain(start: int, count: int) -> list[int]:
    return [*range(start + 1, start + count), _END] if count else []


def _append(sectors: list[bytes], fat: list[int], data: bytes, fill: bytes = b"\0") -> int:
    count = -(-len(data) // SECTOR)
    start = len(sectors) if count else _END
    fat += _chain(len(sectors), count)
    padded = data.ljust(count * SECTOR, fill)
    sectors += [padded[place : place + SECTOR] for place in range(0, len(padded), SECTOR)]
    return start


def _directory(
    streams: dict[str, bytes], starts: dict[str, int], mini_start: int, mini_size: int
) -> bytes:
    storages = sorted({path.rpartition("/")[0] for path in streams} - {""})
    paths = [*storages, *streams]
    numbers = {path: number for number, path in enumerate(paths, start=1)}
    # The members of a storage as a tree that only goes right.
    right, first = {}, {}
    for storage in ("", *storages):
        members = [path for path in paths if path.rpartition("/")[0] == storage]
        members.sort(key=lambda path: (len(path), path.upper()))
        first[storage] = numbers[members[0]]
        right.update({a: numbers[b] for a, b in itertools.pairwise(members)})
    entries = [_entry("Root Entry", _ROOT, _NONE, first[""], mini_start, mini_size)]
    for path in paths:
        name, after = path.rpartition("/")[2], right.get(path, _NONE)
        if path in storages:
            entries.append(_entry(name, _STORAGE, after, first[path], 0, 0))
        else:
            entries.append(_entry(name, _STREAM, after, _NONE, starts[path], len(streams[path])))
    return b"".join(entries)


def _entry(name: str, kind: int, right: int, child: int, start: int, size: int) -> bytes:
    encoded = name.encode("utf-16-le")
    return struct.pack(
        "<64sHBBIII36xIQ", encoded, len(encoded) + 2, kind, 1, _NONE, right, child, start, size
    )
