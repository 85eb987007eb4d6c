"""Tells whether an image file is complete to its last byte, judged by its own header.

Where a broken copy or a full disk has cut a file short, some readers make up the rest, and others
fail with errors about something else.
"""

from __future__ import annotations

import bz2
import math
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nnunet_attention.errors import CommandError

# Zeros compress a thousandfold: even then this much still fits into memory once unpacked.
_PACKED_BYTES_AT_ONCE = 2**16
_LONGEST_TEXT_HEADER = 2**20
_GZIP = b"\x1f\x8b"
_PNG = b"\x89PNG\r\n\x1a\n"

# Bits of a voxel by the formats' own names.
_NIFTI_BITS = {
    **{1: 1, 2: 8, 256: 8, 4: 16, 512: 16, 128: 24, 8: 32, 16: 32, 768: 32, 2304: 32, 32: 64},
    **{64: 64, 1024: 64, 1280: 64, 1536: 128, 1792: 128, 2048: 256},
}
_GIPL_BITS = {1: 1, 7: 8, 8: 8, 15: 16, 16: 16, 31: 32, 32: 32, 64: 32, 65: 64}
_NRRD_TYPES = {
    8: "signed char, int8, int8_t, uchar, unsigned char, uint8, uint8_t",
    16: "short, short int, signed short, signed short int, int16, int16_t, ushort, unsigned short, "
    "unsigned short int, uint16, uint16_t",
    32: "int, signed int, int32, int32_t, uint, unsigned int, uint32, uint32_t, float",
    64: "longlong, long long, long long int, signed long long, signed long long int, int64, "
    "int64_t, ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t, double",
}
_NRRD_BITS = {name: bits for bits, names in _NRRD_TYPES.items() for name in names.split(", ")}
_META_TYPES = {
    8: "CHAR, UCHAR",
    16: "SHORT, USHORT",
    32: "INT, UINT, LONG, ULONG, FLOAT",
    64: "LONG_LONG, ULONG_LONG, DOUBLE",
}
_META_BITS = {
    f"MET_{name}{kind}": bits
    for bits, names in _META_TYPES.items()
    for name in names.split(", ")
    for kind in ("", "_ARRAY")
}
# TIFF: bytes of a value by its type, and the tags that say where the pixels are, and how many.
_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TIFF_BYTES |= {16: 8, 17: 8, 18: 8}
_TIFF_PLACES, _TIFF_COUNTS = (273, 324), (279, 325)


class _NotWholeError(Exception):
    """Says what is missing or damaged."""


class _NoImageError(Exception):
    """Says why a file is not of its format at all."""


def check_whole(path: Path) -> None:
    """Check that an image file holds all that its header promises.

    Compressed streams are unpacked to their ends, which verifies their checksums too. Files with
    endings that nnU-Net does not know pass.

    Raises:
        CommandError: if there is no such file, or part of it is missing or damaged.
    """
    if not path.is_file():
        raise CommandError(f"{path}: there is no such file")
    name = path.name.lower()
    check = next((check for ending, check in _CHECKS.items() if name.endswith(ending)), None)
    if check is None:
        return
    try:
        with path.open("rb") as file:
            if not _size(file):
                raise _NotWholeError("it is empty")
            check(file, path)
    except _NotWholeError as error:
        raise CommandError(
            f"{path} is incomplete or damaged: {error}; copy it again from its source, or make it "
            "again"
        ) from error
    except (_NoImageError, OSError, ValueError, struct.error) as error:
        raise CommandError(f"{path} cannot be read as an image: {error}") from error


def _nifti(file: BinaryIO, path: Path) -> None:
    header, size = _start_and_size(file, 540)
    order = next((order for order in "<>" if header[:4] in _nifti_marks(order)), None)
    if order is None:
        raise _NoImageError("it does not start like a NIfTI file")
    if len(header) < struct.unpack(f"{order}i", header[:4])[0]:
        raise _NotWholeError(f"its header ends after {len(header)} bytes")
    if struct.unpack(f"{order}i", header[:4])[0] == 348:
        magic, lengths = header[344:347], struct.unpack(f"{order}8h", header[40:56])
        number_type, bits = struct.unpack(f"{order}2h", header[70:74])
        (start,) = struct.unpack(f"{order}f", header[108:112])
    else:
        magic, lengths = header[4:7], struct.unpack(f"{order}8q", header[16:80])
        number_type, bits = struct.unpack(f"{order}2h", header[12:16])
        (start,) = struct.unpack(f"{order}q", header[168:176])
    if magic not in (b"n+1", b"n+2"):
        raise _NoImageError("it is a NIfTI header whose voxels are in another file")
    if not 1 <= lengths[0] <= 7 or not math.isfinite(start):
        raise _NoImageError(
            f"its header declares {lengths[0]} axes, with voxels from byte {start} on"
        )
    shape = [max(1, length) for length in lengths[1 : 1 + lengths[0]]]
    _compare(shape, _NIFTI_BITS.get(number_type, bits), size - int(start))


def _nifti_marks(order: str) -> tuple[bytes, bytes]:
    return struct.pack(f"{order}i", 348), struct.pack(f"{order}i", 540)


def _nrrd(file: BinaryIO, path: Path) -> None:
    if file.read(4) != b"NRRD":
        raise _NoImageError("it does not start like an NRRD file")
    file.readline()
    fields = {}
    for line in _header_lines(file):
        if not line:
            break
        name, colon, value = line.partition(":")
        if colon and not value.startswith("=") and not line.startswith("#"):
            fields[name.strip().lower()] = value.strip()
    else:
        raise _NotWholeError("its header does not end")
    shape = [int(length) for length in fields.get("sizes", "").split()]
    bits = _NRRD_BITS.get(fields.get("type", "").lower())
    if not shape or bits is None:
        raise _NoImageError("its header has no sizes or no known type")
    elsewhere = fields.get("data file", fields.get("datafile"))
    lines_to_skip = int(fields.get("line skip", fields.get("lineskip", 0)))
    bytes_to_skip = int(fields.get("byte skip", fields.get("byteskip", 0)))
    encoding = fields.get("encoding", "raw").lower()
    with _data(file, path, elsewhere) as data:
        if data is None:
            return
        for _ in range(lines_to_skip):
            data.readline()
        _compare_encoded(data, shape, bits, encoding, max(0, bytes_to_skip))


def _meta_image(file: BinaryIO, path: Path) -> None:
    fields: dict[str, str] = {}
    for line in _header_lines(file):
        name, equals, value = line.partition("=")
        if not equals and not fields:
            raise _NoImageError("it does not start like a MetaImage file")
        fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":
            break
    else:
        raise _NotWholeError("its header does not end")
    shape = [int(length) for length in fields.get("DimSize", "").split()]
    bits = _META_BITS.get(fields.get("ElementType", ""))
    if not shape or bits is None:
        raise _NoImageError("its header has no DimSize or no known ElementType")
    shape.append(int(fields.get("ElementNumberOfChannels", 1)))
    elsewhere = fields["ElementDataFile"]
    if fields.get("CompressedData", "").lower().startswith("t"):
        encoding = "gzip"
    elif fields.get("BinaryData", "True").lower().startswith("t"):
        encoding = "raw"
    else:
        encoding = "text"
    with _data(file, path, None if elsewhere in ("LOCAL", "local", "Local") else elsewhere) as data:
        if data is not None:
            start = max(0, int(fields.get("HeaderSize", 0))) if data is not file else 0
            data.seek(start, os.SEEK_CUR)
            _compare_encoded(data, shape, bits, encoding, 0)


def _gipl(file: BinaryIO, path: Path) -> None:
    header = file.read(256)
    if len(header) < 256:
        raise _NotWholeError(f"its header ends after {len(header)} bytes")
    *shape, number_type = struct.unpack(">5H", header[:10])
    if number_type not in _GIPL_BITS:
        raise _NoImageError("it does not start like a GIPL file")
    _compare([max(1, length) for length in shape], _GIPL_BITS[number_type], _size(file) - 256)


def _png(file: BinaryIO, path: Path) -> None:
    if file.read(len(_PNG)) != _PNG:
        raise _NoImageError("it does not start like a PNG file")
    kind = b""
    while kind != b"IEND":
        start = file.read(8)
        if len(start) < 8:
            raise _NotWholeError("it ends before its last chunk, IEND")
        length, kind = struct.unpack(">I4s", start)
        content, checksum = file.read(length), file.read(4)
        if len(checksum) < 4:
            raise _NotWholeError(f"it ends within a chunk of {length} bytes")
        if struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))) != checksum:
            raise _NotWholeError(f"the checksum of its chunk {kind.decode('latin-1')} is wrong")


def _bmp(file: BinaryIO, path: Path) -> None:
    header = file.read(54)
    if header[:2] != b"BM":
        raise _NoImageError("it does not start like a BMP file")
    if len(header) < 54:
        raise _NotWholeError(f"its header ends after {len(header)} bytes")
    if struct.unpack("<I", header[14:18])[0] < 40:
        # An old header: only its entry for the file's size can be compared.
        _compare_bytes(struct.unpack("<I", header[2:6])[0], _size(file))
        return
    (start, _, width, height, _, bits, compression, packed) = struct.unpack(
        "<IIiiHHII", header[10:38]
    )
    # Rows are padded to a multiple of four bytes, unless they are compressed.
    row = (width * bits + 31) // 32 * 4
    _compare_bytes(packed if compression in (1, 2) else row * abs(height), _size(file) - start)


def _tiff(file: BinaryIO, path: Path) -> None:
    start, size = file.read(16), _size(file)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None or start[2:4] not in (struct.pack(f"{order}H", kind) for kind in (42, 43)):
        raise _NoImageError("it does not start like a TIFF file")
    big = start[2:4] == struct.pack(f"{order}H", 43)
    # The layouts in a table of tags: its length, an entry, and an offset in the file.
    layouts = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    length, entry, place = (struct.Struct(f"{order}{layout}") for layout in layouts)
    following = place.unpack_from(start, 8 if big else 4)[0]
    seen = set()
    while following and following not in seen:
        seen.add(following)
        table = _part(file, following, length.size, size)
        entries = length.unpack(table)[0]
        table = _part(file, following + length.size, entries * entry.size + place.size, size)
        pixels = {}
        for number in range(entries):
            tag, kind, count, value = entry.unpack_from(table, number * entry.size)
            if tag not in (*_TIFF_PLACES, *_TIFF_COUNTS):
                continue
            width = _TIFF_BYTES.get(kind, 1)
            if count * width > place.size:
                value = _part(file, place.unpack(value)[0], count * width, size)
            layout = {2: "H", 4: "I", 8: "Q"}.get(width, "B")
            pixels[tag] = struct.unpack_from(f"{order}{count}{layout}", value)
        for places, counts in zip(_TIFF_PLACES, _TIFF_COUNTS, strict=True):
            for begin, count in zip(pixels.get(places, ()), pixels.get(counts, ()), strict=False):
                _compare_bytes(begin + count, size)
        following = place.unpack_from(table, entries * entry.size)[0]
    if not seen:
        raise _NotWholeError("it has no table of its pages")


def _part(file: BinaryIO, start: int, length: int, size: int) -> bytes:
    _compare_bytes(start + length, size)
    file.seek(start)
    return file.read(length)


# The first ending that fits counts.
_CHECKS: dict[str, Callable[[BinaryIO, Path], None]] = {
    ".nii.gz": _nifti,
    ".nii": _nifti,
    ".nrrd": _nrrd,
    ".mha": _meta_image,
    ".mhd": _meta_image,
    ".gipl": _gipl,
    ".png": _png,
    ".bmp": _bmp,
    ".tif": _tiff,
    ".tiff": _tiff,
}


@contextmanager
def _data(file: BinaryIO, path: Path, elsewhere: str | None) -> Iterator[BinaryIO | None]:
    """Give the file that holds the voxels; None if there are several of them."""
    if elsewhere is None:
        yield file
    elif elsewhere.split()[:1] == ["LIST"] or "%" in elsewhere:
        yield None
    else:
        other = path.parent / elsewhere
        if not other.is_file():
            raise _NotWholeError(f"{other}, which holds its voxels, is missing")
        with other.open("rb") as opened:
            yield opened


def _header_lines(file: BinaryIO) -> Iterator[str]:
    """Yield the lines of a text header, up to the greatest length that one can have."""
    length = 0
    while length < _LONGEST_TEXT_HEADER:
        line = file.readline(_LONGEST_TEXT_HEADER)
        if not line:
            return
        length += len(line)
        yield line.decode("latin-1").strip()


def _start_and_size(file: BinaryIO, length: int) -> tuple[bytes, int]:
    """Return the first bytes of a file and the number of all, both after unpacking any gzip."""
    packed = file.read(len(_GZIP)) == _GZIP
    file.seek(0)
    if not packed:
        return file.read(length), _size(file)
    start, size = b"", 0
    for part in _unpacked(file, _inflater):
        start += part[: max(0, length - len(start))]
        size += len(part)
    return start, size


def _compare_encoded(
    data: BinaryIO, shape: Sequence[int], bits: int, encoding: str, skipped: int
) -> None:
    """Compare the rest of a file with the shape that a header states."""
    if encoding == "raw":
        _compare(shape, bits, _size(data) - data.tell() - skipped)
    elif encoding in ("gzip", "gz"):
        _compare(shape, bits, sum(map(len, _unpacked(data, _inflater))) - skipped)
    elif encoding in ("bzip2", "bz2"):
        _compare(shape, bits, sum(map(len, _unpacked(data, bz2.BZ2Decompressor))) - skipped)
    elif encoding in ("text", "txt", "ascii"):
        wanted, got = math.prod(shape), len(data.read().split())
        if got < wanted:
            raise _NotWholeError(f"its header promises {wanted} numbers, but there are {got}")


def _compare(shape: Sequence[int], bits: int, got: int) -> None:
    _compare_bytes((math.prod(shape) * bits + 7) // 8, got, f" for shape {tuple(shape)}")


def _compare_bytes(wanted: int, got: int, what: str = "") -> None:
    if got < wanted:
        raise _NotWholeError(
            f"its header promises {wanted} bytes{what}, but there are {max(0, got)}"
        )


def _inflater():
    return zlib.decompressobj(wbits=47)  # gzip as well as zlib


def _unpacked(file: BinaryIO, unpacker_class: Callable) -> Iterator[bytes]:
    """Unpack all streams that follow each other, and ignore whatever else comes after them."""
    packed, size = file.read(_PACKED_BYTES_AT_ONCE), 0
    start = packed[:2]
    while packed[:2] == start:
        unpacker = unpacker_class()
        while not unpacker.eof:
            if not packed:
                raise _NotWholeError(f"its compressed voxels end after {size} bytes")
            try:
                part = unpacker.decompress(packed)
            except (OSError, zlib.error) as error:
                raise _NotWholeError(
                    f"its compressed voxels are damaged after {size} bytes: {error}"
                ) from error
            size += len(part)
            yield part
            packed = b"" if unpacker.eof else file.read(_PACKED_BYTES_AT_ONCE)
        packed = unpacker.unused_data + file.read(_PACKED_BYTES_AT_ONCE)


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
