"""Tasks on processes and on a Dask cluster: each result once, also where a worker is killed on the way."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from trainability.executors import executor_of, results
from trainability.extras import MissingExtra

HAS_DASK = importlib.util.find_spec("distributed") is not None
needs_dask = pytest.mark.skipif(not HAS_DASK, reason="distributed is not installed (the extra cluster)")


def begun(task: tuple[Path, int, float]) -> tuple[int, int]:
    """Write down that the task began, wait, and return its number squared, and the process."""
    folder, number, seconds = task
    with (folder / f"{number}.txt").open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    return number * number, os.getpid()


def threads(task: int) -> int:
    import torch

    return torch.get_num_threads()


def fails(task: int) -> int:
    raise KeyError(f"task {task}")


def tasks(folder: Path, count: int, seconds: float = 0.0) -> dict[str, tuple[Path, int, float]]:
    return {f"task {number}": (folder, number, seconds) for number in range(count)}


def test_every_result_comes_once_from_processes_of_one_thread(tmp_path: Path) -> None:
    with executor_of(2) as pool:
        found = list(results(pool, begun, tasks(tmp_path, 5)))
        assert set(results(pool, threads, {"a": 1, "b": 2})) == {("a", 1), ("b", 1)}
    assert sorted((name, square) for name, (square, _) in found) == [(f"task {n}", n * n) for n in range(5)]
    assert all(pid != os.getpid() for _, (_, pid) in found)


def test_any_executor_will_do(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = dict(results(pool, begun, tasks(tmp_path, 4)))
    assert [found[f"task {n}"][0] for n in range(4)] == [0, 1, 4, 9]


def test_what_a_task_raises_is_raised_and_ends_the_others(tmp_path: Path) -> None:
    futures: list[Future] = []

    class Counting(Executor):
        def submit(self, fn, /, *args, **kwargs) -> Future:
            future: Future = Future()
            if not futures:
                future.set_exception(KeyError("task 0"))
            futures.append(future)
            return future

    with pytest.raises(KeyError, match="task 0"):
        list(results(Counting(), fails, {"0": 0, "1": 1}))
    assert futures[1].cancelled()


def kill_first(folder: Path) -> None:
    with executor_of(1) as pool:
        for _, (_, pid) in results(pool, begun, tasks(folder, 3, 0.2)):
            os.kill(pid, signal.SIGKILL)


def interrupt_after_first(folder: Path) -> Iterator[int]:
    with executor_of(1) as pool:
        for _, (_, pid) in results(pool, begun, tasks(folder, 2) | {"long": (folder, 9, 60.0)}):
            yield pid
            raise KeyboardInterrupt


def test_a_killed_process_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ChildProcessError, match="the same command continues"):
        kill_first(tmp_path)


def test_an_interrupt_leaves_no_process_behind(tmp_path: Path) -> None:
    running = interrupt_after_first(tmp_path)
    pid = next(running)
    with pytest.raises(KeyboardInterrupt):
        next(running)
    assert ended(pid)


ORPHANED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from test_executors import begun
from trainability.executors import executor_of, results
from pathlib import Path
if __name__ == "__main__":
    with executor_of(1) as pool:
        for name, (square, pid) in results(pool, begun, {"0": (Path(sys.argv[2]), 0, 0.0), "1": (Path(sys.argv[2]), 1, 60.0)}):
            print(pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "orphaned.py"
    script.write_text(ORPHANED)
    command = [sys.executable, str(script), str(Path(__file__).parent), str(tmp_path)]
    killed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert killed.returncode == -signal.SIGKILL
    assert ended(int(killed.stdout))


def ended(pid: int) -> bool:
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("processes", "cluster", "said"), [(0, None, "--processes is 0"), (2, "tcp://127.0.0.1:1", "one of them")]
)
def test_unusable_flags_are_one_line(processes: int, cluster: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said), executor_of(processes, cluster):
        pass


@pytest.mark.skipif(HAS_DASK, reason="distributed is installed")
def test_without_the_extra_its_command_is_named() -> None:
    with pytest.raises(MissingExtra, match=r"trainability\[cluster\]"), executor_of(None, "tcp://127.0.0.1:8786"):
        pass


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """A scheduler and two workers, each a process of its own."""
    place = tmp_path / "scheduler.json"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "DASK_DISTRIBUTED__WORKER__DAEMON": "False",
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
    }
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    processes = [subprocess.Popen([*command, "--scheduler-file", str(place)], **quiet)]
    try:
        wait_for(place.is_file)
        address = json.loads(place.read_text())["address"]
        worker = [
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            address,
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
        ]
        folder = ["--local-directory", str(tmp_path / "workers")]
        processes += [subprocess.Popen([*worker, *folder], **quiet) for _ in range(2)]
        yield address, processes[1:]
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@needs_dask
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_loses_a_worker_loses_no_result(cluster: tuple[str, list[subprocess.Popen]], tmp_path: Path) -> None:
    address, workers = cluster
    folder = tmp_path / "begun"
    folder.mkdir()
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    found: list[tuple[str, tuple[int, int]]] = []
    with executor_of(None, address) as pool:
        for name, result in results(pool, begun, tasks(folder, 12, 0.3)):
            found.append((name, result))
            if len(found) == 2:
                workers[0].kill()
    assert sorted(name for name, _ in found) == sorted(tasks(folder, 12))  # none lost, none twice
    assert all(square == int(name.split()[1]) ** 2 for name, (square, _) in found)
    assert workers[0].wait() != 0
    started = [len((folder / f"{number}.txt").read_text().splitlines()) for number in range(12)]
    assert max(started) <= 2


@needs_dask
@pytest.mark.filterwarnings("ignore")
def test_an_address_where_nobody_answers_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler"), executor_of(None, "tcp://127.0.0.1:9"):
        pass
