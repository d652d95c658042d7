"""Dirty text: what files of the world hold, and what a command that maps lines to lines must make of it."""

from __future__ import annotations

import random

FRAGMENTS = [
    b"\n",
    b"\n\n",
    b"\r\n",
    b"\r",
    b" ",
    b"  \t ",
    b"a man sees the old dog",
    b"\0",
    b"a\0b",
    b"\xef\xbb\xbf",  # byte-order mark
    b"\xff\xfea\0\n\0",  # UTF-16
    b"\xff",
    b"\x80",
    b"\xc3",  # the first byte of two
    b"\xc0\xaf",  # an overlong slash
    b"\xed\xa0\x80",  # half of a surrogate pair
    b"\xf4\x90\x80\x80",  # beyond Unicode
    b"\xfe\xff",
    "\u2028".encode(),
    "\u2029".encode(),
    "\u0085".encode(),
    b"\x0b\x0c\x1c\x1d\x1e\x1f",
    b"\x1b[2J\x07\x08\x7f",
    "שלום עולם \u202eabc\u202c".encode(),
    "العربية".encode(),
    "e\u0301\u0301\u0301 \u0301".encode(),
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢".encode(),
    "👩‍👩‍👧‍👦 🇩🇪 😀".encode(),
    "中文，没有空格。".encode(),
    "\ufeff\u200b\u200d\u00ad".encode(),
    "\ufffe\uffff\U0010ffff".encode(),
    "\ue581\ue5810\u2581 ▁x".encode(),  # what tokenizers write themselves
    b"<s> </s> <unk> <pad> <0x0A> |||",
    b'{"a": 1}\t"\\',
    b"${oc.env:HOME} $(touch x) `touch x` %s {}",
    "\u2047⁇".encode(),
]


def _valid(fragment: bytes) -> bool:
    return fragment.decode(errors="ignore").encode() == fragment


VALID = list(filter(_valid, FRAGMENTS))
"""Those that are UTF-8."""


def dirty(draw: random.Random, most: int = 40) -> bytes:
    """Some fragments and some bytes, in any order; every other time all of it is UTF-8."""
    if draw.random() < 0.5:
        return b"".join(draw.choices(VALID, k=draw.randint(0, most)))
    parts = [
        draw.choice(FRAGMENTS) if draw.random() < 0.9 else draw.randbytes(draw.randint(1, 6))
        for _ in range(draw.randint(0, most))
    ]
    return b"".join(parts)


def lines_of(content: bytes) -> list[bytes]:
    """The lines of a file: each ends at LF, the last one perhaps at the end; a mark at the beginning is no text."""
    found = content.split(b"\n")
    found[0] = found[0].removeprefix(b"\xef\xbb\xbf")
    return found[:-1] if content.endswith(b"\n") or not content else found


def first_invalid(content: bytes) -> int | None:
    """The number, from 1, of the first line that is not UTF-8."""
    for number, line in enumerate(lines_of(content), 1):
        try:
            line.decode()
        except UnicodeDecodeError:
            return number
    return None
