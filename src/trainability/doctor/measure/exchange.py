"""Processes tell each other of sampled steps through the key-value store of their process group, and never wait for each other.

A collective operation hangs where one process does not take part, and is mixed up with the loop's own where the order differs.
The store (a TCP server that every process group has) knows neither: each process writes its steps under keys of its own; the
first rank reads those that are there, compares them, and writes the result for the others.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch.distributed.distributed_c10d import _get_default_store

from trainability.doctor.processes import Comparison, Post, compared
from trainability.doctor.serial import from_plain, to_plain

# Steps that a process keeps for the others. The first rank reads a step when it has taken the next one; processes that nothing
# synchronises run ahead of each other, and have their first steps in common.
_FIRST_TOLD, _LAST_TOLD = 2, 2
_FIRST, _RECENT = 4, 8
_MOST_SECONDS = 2.0
_entered: Counter[str] = Counter()


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a process has written: some of its steps, and whether its monitor has ended."""

    posts: tuple[Post, ...]
    ended: bool

    def text(self) -> bytes:
        """As JSON; numbers that are not finite are written as Python reads them."""
        return json.dumps({"posts": [vars(post) for post in self.posts], "ended": self.ended}).encode()

    @classmethod
    def of(cls, text: bytes) -> Told:
        """Read what `text` gave."""
        value = json.loads(text)
        rows: Iterator[dict[str, Any]] = (
            {key: tuple(item) if isinstance(item, list) else item for key, item in row.items()} for row in value["posts"]
        )
        return cls(posts=tuple(Post(**row) for row in rows), ended=value["ended"])


class Exchange:
    """What the monitors of one model tell each other, one in each process.

    Args:
        rank: of this process.
        ranks: of all, this one included.
        names: of the compared parameters.
        signature: what the monitors have in common. Of several with the same, the first here is compared with the first
            elsewhere.

    Attributes:
        comparisons: what is known so far, in order of step; of many, the first and the last.
    """

    def __init__(self, rank: int, ranks: Sequence[int], names: Sequence[str], signature: str) -> None:
        self.comparisons: tuple[Comparison, ...] = ()
        self._rank, self._ranks, self._names = rank, tuple(ranks), tuple(names)
        self._others = [other for other in self._ranks if other != rank]
        self._store: Any = _get_default_store()
        digest = short(f"{signature} {self._ranks}")
        number = _entered[digest]
        _entered[digest] += 1
        if number >= 2:  # a monitor for every epoch: what the one before the last has told is read by now
            self._prefix = f"trainability/{digest}/{number - 2}"
            for name in (f"{rank}/first", f"{rank}/last", *(["result"] if rank == self._ranks[0] else [])):
                self._store.set(self._key(name), b"")  # not deleted: a reader would wait for it
        self._prefix = f"trainability/{digest}/{number}"
        self._first: list[Post] = []
        self._last: list[Post] = []
        self._told: dict[int, set[int]] = {}
        self._result = b""
        self._write("last", ended=False)

    @property
    def missing(self) -> tuple[int, ...]:
        """Processes that told of no step that this one has told of."""
        known = {rank for comparison in self.comparisons for rank in comparison.ranks}
        return tuple(rank for rank in self._others if rank not in known)

    def tell(self, post: Post) -> None:
        """Write a step for the others, and read what there is of earlier ones."""
        if len(self._first) < _FIRST_TOLD:
            self._first.append(post)
            self._write("first", ended=False)
        self._last = [*self._last[1 - _LAST_TOLD :], post]
        self._write("last", ended=False)
        self.read()

    def read(self) -> None:
        """Compare what others have told, on the first rank; fetch the comparisons, on the others."""
        if self._rank != self._ranks[0]:
            text = self._values(["result"]).get("result", b"")
            if text != self._result:
                self._result = text
                self.comparisons = tuple(from_plain(Comparison, row) for row in json.loads(text))
            return
        posts = [post for told in self._posts("last").values() for post in told.posts]
        if any(self._told.get(own.step, set()) < set(self._others) for own in self._first):
            posts += [post for told in self._posts("first").values() for post in told.posts]
        rows = {row.step: row for row in self.comparisons}
        for own in {own.step: own for own in (*self._first, *self._last)}.values():
            same = {post.rank: post for post in posts if post.step == own.step}
            if set(same) > self._told.get(own.step, set()):
                self._told[own.step] = set(same)
                rows[own.step] = compared([own, *same.values()], self._names)
        found = tuple(rows[step] for step in sorted(rows))
        found = found if len(found) <= _FIRST + _RECENT else (*found[:_FIRST], *found[-_RECENT:])
        if found != self.comparisons:
            self.comparisons = found
            self._store.set(self._key("result"), json.dumps([to_plain(row) for row in found]).encode())

    def stop(self) -> None:
        """Say that this process tells no more."""
        self._write("last", ended=True)

    def end(self) -> None:
        """As `stop`, and wait for what others have to tell of the last step: two seconds at most, and only for those whose
        monitor runs; the others wait for the first rank's answer, a second longer.
        """
        if self._rank == self._ranks[0]:
            self._wait(self._have_all_told, _MOST_SECONDS)
            self.stop()
        else:
            self.stop()
            self._wait(self._is_compared, _MOST_SECONDS + 1)

    def _wait(self, is_complete: Callable[[], bool], seconds: float) -> None:
        until = time.monotonic() + seconds
        self.read()
        while self._last and not is_complete() and time.monotonic() < until:
            time.sleep(0.01)
            self.read()
        self.read()  # what came between the last reading and the answer that all is there

    def _have_all_told(self) -> bool:
        """Whether every process that runs a monitor has ended it, or told of this one's last step."""
        last = self._last[-1].step
        return all(told.ended or any(p.step >= last for p in told.posts) for told in self._posts("last").values())

    def _is_compared(self) -> bool:
        """Whether this process's last step was compared, or will not be, because the first rank has ended."""
        last = self._last[-1].step
        first = self._posts("last").get(self._ranks[0])
        is_over = first is not None and first.ended
        return is_over or any(row.step == last and len(row.ranks) > 1 for row in self.comparisons)

    def _posts(self, which: str) -> dict[int, Told]:
        """What the other processes have written, of those that have."""
        told = self._values([f"{rank}/{which}" for rank in self._others])
        return {int(name.partition("/")[0]): Told.of(text) for name, text in told.items()}

    def _values(self, names: list[str]) -> dict[str, bytes]:
        """The values of those keys that are there and not emptied: two requests if all are there."""
        store, keys = self._store, {name: self._key(name) for name in names}
        if not store.check(list(keys.values())):
            keys = {name: key for name, key in keys.items() if store.check([key])}
        if not keys:
            return {}
        found = store.multi_get(list(keys.values())) if store.has_extended_api() else map(store.get, keys.values())
        return {name: value for name, value in zip(keys, found, strict=True) if value}

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def _write(self, which: str, *, ended: bool) -> None:
        told = Told(posts=tuple(self._first if which == "first" else self._last), ended=ended)
        self._store.set(self._key(f"{self._rank}/{which}"), told.text())


def short(text: str) -> str:
    """A short name for a text, the same in every process."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
