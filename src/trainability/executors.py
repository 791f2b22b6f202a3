"""Where independent tasks run: processes of this machine, or a Dask cluster; both are `concurrent.futures.Executor`s.

Tasks have names, and a result counts once per name however often the task was begun: a cluster begins a task anew whose worker
died. Imports nothing of this package but `extras`, and no torch before a task runs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from typing import TypeVar

from trainability.extras import require

Task = TypeVar("Task")
Result = TypeVar("Result")
_CONNECT_SECONDS = 10
# Tasks share torch's random state and its number of threads, so that a process runs one at a time, whatever runs its threads.
_ONE_AT_A_TIME = threading.Lock()


def check_flags(processes: int | None, cluster: str | None) -> None:
    """Check what a command was given, before it does anything.

    Raises:
        ValueError: both are given, or `processes` is below 1.
        MissingExtra: `cluster` needs the extra of its name.
    """
    if cluster is not None and processes is not None:
        raise ValueError("--processes is of this machine and --cluster of others; give one of them")
    if processes is not None and processes < 1:
        raise ValueError(f"--processes is {processes}; expected 1 or more")
    if cluster is not None:
        require("cluster")


@contextlib.contextmanager
def executor_of(processes: int | None = None, cluster: str | None = None) -> Iterator[Executor]:
    """Open the executor that a command's flags name; after an exception or Ctrl-C, no process of this machine is left.

    Args:
        processes: of this machine; `None` takes one per core.
        cluster: address of a Dask scheduler, tcp://HOST:PORT. Its workers need this package and torch, and see the files that
            the tasks read and write under the same paths.

    Raises:
        ValueError: as `check_flags`, or nobody answers at the address.
        MissingExtra: `cluster` needs the extra of its name.
    """
    check_flags(processes, cluster)
    if cluster is not None:
        with _on_cluster(cluster) as executor:
            yield executor
        return
    others = set(multiprocessing.active_children())
    # Spawned: a process that has used threads or a GPU cannot be forked safely.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes or len(os.sched_getaffinity(0)), mp_context=context, initializer=_belong_to_parent)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown()


def optional_executor(processes: int | None, cluster: str | None) -> AbstractContextManager[Executor | None]:
    """Open what a command's flags name, as `executor_of`; `None` where they name nothing, and all runs in this process."""
    return contextlib.nullcontext() if processes is None and cluster is None else executor_of(processes, cluster)


@contextlib.contextmanager
def _on_cluster(address: str) -> Iterator[Executor]:
    from distributed import Client  # pyright: ignore[reportMissingImports]  # of an extra

    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:  # a timeout is an OSError
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"--cluster {address}: no Dask scheduler answers there ({first})") from None
    with client:
        yield client.get_executor(pure=False)


def _belong_to_parent() -> None:
    """Prepare a process: it ends with its parent, however that ends, and leaves Ctrl-C to it."""
    # Ctrl-C reaches every process of a terminal; the parent alone answers it, and ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def results(
    executor: Executor, function: Callable[[Task], Result], tasks: Mapping[str, Task]
) -> Generator[tuple[str, Result], None, None]:
    """Run a function on every task, each on one thread, and yield the results as they come.

    Args:
        executor: any. `function` and tasks travel to its processes, so they have to be picklable; threads run one at a time.
        function: of a task; what it raises ends the iteration.
        tasks: by name.

    Yields:
        Name and result, each name once, in the order in which they end.

    Raises:
        ChildProcessError: a process of this machine was killed.
    """
    futures = {executor.submit(_alone, function, task): name for name, task in tasks.items()}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise ChildProcessError("a process that ran a task was killed (memory?); the same command continues") from None
    finally:
        for future in futures:
            future.cancel()


def _alone(function: Callable[[Task], Result], task: Task) -> Result:
    """Run a task on one thread, so that its figures do not depend on how many run side by side."""
    import torch

    with _ONE_AT_A_TIME:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return function(task)
        finally:
            torch.set_num_threads(threads)
