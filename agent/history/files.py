"""Opening files whose compression and encoding nobody stated; knows no lines, columns or rows."""

from __future__ import annotations

import codecs
import gzip
import zlib
from pathlib import Path
from typing import IO, cast

GZIP = b"\x1f\x8b"
SAMPLE = 1 << 16
TORN = (EOFError, gzip.BadGzipFile, zlib.error)
"""What reading damaged gzip data raises."""


def opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if compressed(path) else path.open("rb")


def compressed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == GZIP


def read_sample(file: IO[bytes], size: int = SAMPLE) -> bytes:
    """The beginning of a file; nothing when its compression is damaged there already."""
    try:
        return file.read(size)
    except TORN:
        return b""


def utf16(sample: bytes) -> str | None:
    """The name of the UTF-16 encoding that a text begins in, told by its mark or by where its zero bytes are."""
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    half = len(sample) // 2
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if half >= 4 and odd > half * 0.7 and even < half * 0.1:
        return "utf-16-le"
    return "utf-16-be" if half >= 4 and even > half * 0.7 and odd < half * 0.1 else None


def decoded(line: bytes) -> str:
    """Text from UTF-8, or else from Windows-1252, or else from Latin-1, which takes anything."""
    for encoding in ("utf-8", "cp1252"):
        try:
            return line.decode(encoding)
        except UnicodeDecodeError:
            continue
    return line.decode("latin-1")


def first_lines(path: Path, count: int) -> list[str]:
    """The first `count` lines that are not blank, decoded, from the first 64 KB."""
    with opened(path) as file:
        sample = read_sample(file)
    encoding = utf16(sample)
    text = sample.decode(encoding, "replace") if encoding else decoded(sample.removeprefix(codecs.BOM_UTF8))
    return [line for line in text.splitlines() if line.strip()][:count]
