"""Ways to damage bytes, text and files."""

from __future__ import annotations

import random

EXTREMES = (0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Damage bytes in one to three ways: bits, bytes, numbers, ends, pieces that are lost, doubled, zeroed or moved."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        data = draw.choice(WAYS)(data, draw) if data else draw.randbytes(draw.randint(0, 20))
    return data


def _bit(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]


def _bit_near_an_end(data: bytes, draw: random.Random) -> bytes:
    """Headers and tables of contents lie there."""
    near = min(len(data), 200)
    place = draw.choice((draw.randrange(near), len(data) - 1 - draw.randrange(near)))
    return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]


def _number(data: bytes, draw: random.Random) -> bytes:
    size = draw.choice((1, 2, 4, 8))
    place = draw.choice((draw.randrange(len(data)), draw.randrange(min(len(data), 64))))
    value = draw.choice(EXTREMES) % 256**size
    return data[:place] + value.to_bytes(size, draw.choice(("little", "big"))) + data[place + size :]


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.choice((draw.randrange(len(data)), max(0, len(data) - draw.randint(1, 16)), draw.randint(0, 16)))]


def _lost(data: bytes, draw: random.Random) -> bytes:
    place, length = draw.randrange(len(data)), draw.choice((1, 3, 50, 1000))
    return data[:place] + data[place + length :]


def _doubled(data: bytes, draw: random.Random) -> bytes:
    place, length = draw.randrange(len(data)), draw.choice((1, 7, 100, 2000))
    return data[: place + length] + data[place:]


def _zeroed(data: bytes, draw: random.Random) -> bytes:
    place, length = draw.randrange(len(data)), draw.choice((4, 64, 512, 4096))
    piece = len(data[place : place + length])
    return data[:place] + bytes(piece) + data[place + piece :]


def _noise(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(data))
    return data[:place] + draw.randbytes(draw.choice((1, 4, 64))) + data[place:]


def _moved(data: bytes, draw: random.Random) -> bytes:
    one, other = sorted(draw.randrange(len(data)) for _ in range(2))
    return data[other:] + data[one:other] + data[:one]


WAYS = (_bit, _bit, _bit_near_an_end, _number, _number, _cut, _lost, _doubled, _zeroed, _noise, _moved)

PIECES = (
    *("0", "-1", "1e999", "nan", "-inf", "2", "0.5", "9" * 400, "-" + "9" * 30, "1e-400", "0x10", "1_000", "None", "true"),
    *("", " ", "--", "-", "=", "[", "]" * 50, "{", '"', "'", "\\", "\n", "\x00", "\x1b[31m", "\ud800", "\u202e", "½", "𝟙"),
    *("0,1", "64,,32"),
    *(
        "a" * 5000,
        "../..",
        "/dev/zero",
        "/dev/full",
        "/",
        "~",
        "$HOME",
        "%s",
        "{0}",
        "he",
        "xavier:4",
        "normal=",
        "0,1",
        "64,,32",
    ),
)


def damaged_text(text: str, draw: random.Random) -> str:
    """Damage text: characters, numbers, and pieces that somebody might put there."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        place = draw.randrange(len(text) + 1)
        length = draw.choice((0, 1, 1, 3, 20))
        piece = draw.choice((draw.choice(PIECES), chr(draw.randrange(1, 0x3000)), text[place : place + length] * 2))
        text = text[:place] + piece + text[place + length :]
    return text
