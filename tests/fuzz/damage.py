"""Damages any file in one way or another, by the numbers of a seeded generator."""

import random
from collections.abc import Callable
from typing import NamedTuple

from fuzz.example import Example


class Damaged(NamedTuple):
    """What a file holds now, and in words what was done to it."""

    content: bytes
    how: str


class Damage:
    """Damages one file for one input; the same seed gives the same damage.

    Args:
        example: with the marker that hostile files try to write.
        chance: the generator.
    """

    def __init__(self, example: Example, chance: random.Random):
        self.example = example
        self.chance = chance

    def damaged(self, content: bytes, kind: str, name: str) -> Damaged:
        """A damaged version of a file: every fourth without regard to its format.

        Args:
            content: of the file.
            kind: see `Target`.
            name: of the file.
        """
        if self.chance.random() < 0.25:
            return self._bytes(content)
        return self._by_format(content, kind, name)

    def _by_format(self, content: bytes, kind: str, name: str) -> Damaged:
        raise NotImplementedError

    def _pick(self, ways: dict[str, Callable]) -> Damaged:
        """One of several ways, which return bytes or what was done besides."""
        name = self.chance.choice(list(ways))
        done = ways[name]()
        return done if isinstance(done, Damaged) else Damaged(done, name)

    def _bytes(self, content: bytes) -> Damaged:
        chance, size = self.chance, len(content)
        begin, end = sorted(chance.randrange(size + 1) for _ in range(2))
        return self._pick(
            {
                "empty": lambda: b"",
                "truncated": lambda: content[: chance.randrange(size)],
                "last byte lost": lambda: content[:-1],
                "bits turned over": lambda: self._flipped(content, size),
                "start turned over": lambda: self._flipped(content, min(size, 400)),
                "zeros in part": lambda: content[:begin] + bytes(end - begin) + content[end:],
                "all zeros": lambda: bytes(size),
                "a part lost": lambda: content[:begin] + content[end:],
                "a part twice": lambda: content[:end] + content[begin:],
                "noise put in": lambda: content[:begin] + chance.randbytes(99) + content[begin:],
                "noise": lambda: chance.randbytes(size),
                "noise at the end": lambda: content + chance.randbytes(99),
                "another format": lambda: chance.choice(
                    (b"{}", b"<html>404</html>", b"version https://git-lfs.github.com/spec/v1\n")
                ),
            }
        )

    def _flipped(self, content: bytes, below: int) -> bytes:
        changed = bytearray(content)
        for _ in range(self.chance.choice((1, 3, 20))):
            changed[self.chance.randrange(below)] ^= 1 << self.chance.randrange(8)
        return bytes(changed)
