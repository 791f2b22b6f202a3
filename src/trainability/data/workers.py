"""Worker processes for decoding: forked, each gets requests over a pipe, and they end when their parent ends.

They are forked because they then share the parent's lists and memory maps without a copy, and start at once. They do not use
torch, whose threads do not survive a fork.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any


@dataclass(frozen=True)
class Ticket:
    """A pending request: its worker, and its number at that worker."""

    worker: int
    number: int


class Workers:
    """Processes that all run the same function, each on one request after another."""

    def __init__(self, work: Callable[[Any], Any], num_workers: int) -> None:
        """Fork the processes.

        Args:
            work: called in a worker with a request; its result must be small, because it goes through a pipe.
            num_workers: at least 1.
        """
        self.pipes: list[Connection] = []
        self.processes: list[BaseProcess] = []
        context = multiprocessing.get_context("fork")
        for _ in range(num_workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(work, theirs, [*self.pipes, ours]), daemon=True)
            with warnings.catch_warnings():
                # Python 3.12 warns about a fork with threads. The workers' code takes no lock that another thread could hold.
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)
        self.sent = [0] * num_workers
        self.answers: list[dict[int, Any]] = [{} for _ in range(num_workers)]
        self.received = [0] * num_workers
        self.close = weakref.finalize(self, _stop, self.pipes, self.processes)

    def submit(self, request: Any) -> Ticket:
        """Send a request to the worker with the fewest pending ones."""
        worker = min(range(len(self.pipes)), key=lambda number: self.sent[number] - self.received[number])
        try:
            self.pipes[worker].send(request)
        except (BrokenPipeError, ConnectionResetError):
            raise self._died(worker) from None
        self.sent[worker] += 1
        return Ticket(worker, self.sent[worker])

    def result(self, ticket: Ticket) -> Any:
        """Wait for the result of a request; each result can be fetched once.

        Raises:
            Exception: whatever `work` raised.
            RuntimeError: the worker died.
        """
        answers = self.answers[ticket.worker]
        while ticket.number not in answers:
            self._receive(ticket.worker)
        answer = answers.pop(ticket.number)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def discard(self, ticket: Ticket) -> None:
        """Wait for a request to end, and drop its result or error."""
        with contextlib.suppress(Exception):
            self.result(ticket)

    def as_completed(self, requests: Iterable[Any]) -> Iterator[Any]:
        """Keep all workers busy with many requests, and yield the results as they come."""
        waiting: set[Ticket] = set()
        for request in requests:
            if len(waiting) >= 2 * len(self.pipes):
                yield from self._finished(waiting)
            waiting.add(self.submit(request))
        while waiting:
            yield from self._finished(waiting)

    def _finished(self, waiting: set[Ticket]) -> Iterator[Any]:
        """Wait until at least one request is done; yield the finished ones and remove them from the set."""
        while not (done := [ticket for ticket in waiting if ticket.number in self.answers[ticket.worker]]):
            for pipe in wait([self.pipes[worker] for worker in {ticket.worker for ticket in waiting}]):
                self._receive(self.pipes.index(pipe))  # type: ignore[arg-type]
        waiting.difference_update(done)
        for ticket in done:
            yield self.result(ticket)

    def _receive(self, worker: int) -> None:
        try:
            answer = self.pipes[worker].recv()
        except (EOFError, ConnectionResetError):
            raise self._died(worker) from None
        self.received[worker] += 1
        self.answers[worker][self.received[worker]] = answer

    def _died(self, worker: int) -> RuntimeError:
        self.processes[worker].join(1)
        return RuntimeError(
            f"a data worker (process {self.processes[worker].pid}) died with exit code {self.processes[worker].exitcode};"
            " -9 usually means that the machine ran out of memory"
        )


def _stop(pipes: list[Connection], processes: list[BaseProcess]) -> None:
    """Kill the workers at once: every file that they leave is either complete or has a temporary name."""
    for process in processes:
        process.terminate()
    for pipe in pipes:
        pipe.close()
    for process in processes:
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()


def _serve(work: Callable[[Any], Any], pipe: Connection, of_parent: list[Connection]) -> None:
    """Handle requests until the parent closes the pipe or ends."""
    for other in of_parent:
        other.close()  # while a worker also holds this end, the pipe never reports that it is closed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        try:
            request = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer = work(request)
        except Exception as error:
            answer = error
        try:
            pipe.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return


def num_cpus() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
