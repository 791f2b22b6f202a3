"""Two hosts, each a network namespace of its own with one process, that torchrun's rendezvous brings together."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from conftest import config_of, flags_of

from trainability.training import checkpoint
from trainability.training.record import read_run

# As docs/many-gpus.md has it: what torchrun starts again goes on from the run's last checkpoint.
SCRIPT = """#!/bin/sh
if ls {run}/checkpoints/step-* > /dev/null 2>&1; then
  exec {python} -m trainability train --resume {run}
fi
exec {python} -m trainability train {flags} --run.dir {run}
"""
PORT = 29477


@dataclass(frozen=True)
class Host:
    """A network namespace, its interface and its address on the wire between the two."""

    namespace: str
    interface: str
    address: str

    def torchrun(self, folder: Path, script: Path, other: str) -> subprocess.Popen[bytes]:
        """Start torchrun here, in a process group of its own."""
        flags = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint={other}:{PORT}"]
        # A namespace has no name of its own, by which torchrun finds out that the endpoint is here.
        flags += [f"--rdzv-conf=is_host={int(other == self.address)}", "--rdzv-id=two"]
        flags += [f"--local-addr={self.address}", "--max-restarts=3", "--no-python"]
        command = ["ip", "netns", "exec", self.namespace, sys.executable, "-m", "torch.distributed.run", *flags, str(script)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": self.interface}
        # Else who takes the place of a lost host waits for an address that the other one wrote before it was lost (torch 2.13).
        environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        with (folder / f"{self.namespace}.log").open("ab") as log:
            return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    mark = f"{os.getpid() % 10_000}"
    pair = tuple(Host(f"tb{mark}{name}", f"tb{mark}{name}", f"10.213.7.{n}") for n, name in enumerate("ab", start=1))
    try:
        for host in pair:
            _ip("netns", "add", host.namespace)
        _ip("link", "add", pair[0].interface, "type", "veth", "peer", "name", pair[1].interface)
        for host in pair:
            _ip("link", "set", host.interface, "netns", host.namespace)
            _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", host.interface)
            for name in ("lo", host.interface):
                _ip("-n", host.namespace, "link", "set", name, "up")
    except (OSError, subprocess.CalledProcessError) as error:
        _remove(pair)
        pytest.skip(f"network namespaces cannot be made here: {getattr(error, 'stderr', None) or error}")
    yield pair[0], pair[1]
    _remove(pair)


def _remove(pair: tuple[Host, ...]) -> None:
    for host in pair:
        subprocess.run(["ip", "netns", "del", host.namespace], capture_output=True)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """What is left when a host loses power: torchrun and its worker, which leads a session of its own."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "sharded"])
def test_a_host_that_is_killed_and_rejoins(command, tmp_path: Path, hosts: tuple[Host, Host], parallel: str) -> None:
    config = config_of(optim__lr=1e-3, run__checkpoint_every_steps=5, run__log_every_steps=1, run__parallel=parallel)
    whole = command("train", *flags_of(config), "--run.dir", "whole", processes=2, OMP_NUM_THREADS="1")
    assert whole.returncode == 0, whole.stderr
    script = tmp_path / "start.sh"
    script.write_text(SCRIPT.format(run="two", python=sys.executable, flags=" ".join(flags_of(config))))
    script.chmod(0o755)
    first, second = hosts
    stays, goes = (host.torchrun(tmp_path, script, first.address) for host in hosts)
    running = [stays, goes]
    try:
        steps = tmp_path / "two" / "steps.jsonl"
        while _lines(steps) < 8:
            assert stays.poll() is None, (tmp_path / f"{first.namespace}.log").read_text()[-3000:]
            time.sleep(0.005)
        _kill(goes)
        running.append(second.torchrun(tmp_path, script, first.address))
        assert [process.wait(timeout=300) for process in (stays, running[-1])] == [0, 0]
    finally:
        for process in running:
            _kill(process)
    killed, uninterrupted = (read_run(tmp_path / name) for name in ("two", "whole"))
    assert killed.environment["world_size"] == 2
    assert [row["loss"] for row in killed.steps] == [row["loss"] for row in uninterrupted.steps]
    one, other = (checkpoint.load_weights(run.folder / "checkpoints", {}) for run in (killed, uninterrupted))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def _one_or_two(folder: Path, script: Path, port: int, *, holds_rendezvous: bool) -> subprocess.Popen[bytes]:
    """Start torchrun with one process, for one host or two, both of them here."""
    flags = ["--nnodes=1:2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=left"]
    # By default a host waits 30 seconds for others.
    flags += [f"--rdzv-conf=is_host={int(holds_rendezvous)},last_call_timeout=10", "--local-addr=127.0.0.1"]
    command = [sys.executable, "-m", "torch.distributed.run", *flags, "--max-restarts=3", "--no-python", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    with (folder / f"host-{int(holds_rendezvous)}.log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)


def _world_size(run: Path) -> int:
    try:
        return json.loads((run / "environment.json").read_text())["world_size"]
    except (OSError, ValueError):
        return 0


@pytest.mark.slow
def test_of_one_to_two_hosts_the_one_that_is_left_goes_on_alone(command, tmp_path: Path) -> None:
    # A rate at which rounding is not magnified, so that "equal to rounding" can be asked of every step.
    config = config_of(optim__lr=1e-4, optim__epochs=2, run__checkpoint_every_steps=5, run__log_every_steps=1)
    alone = command("train", *flags_of(config), "--run.dir", "alone", OMP_NUM_THREADS="1")
    assert alone.returncode == 0, alone.stderr
    script, run = tmp_path / "start.sh", tmp_path / "left"
    script.write_text(SCRIPT.format(run="left", python=sys.executable, flags=" ".join(flags_of(config))))
    script.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stays, goes = (_one_or_two(tmp_path, script, port, holds_rendezvous=held) for held in (True, False))
    try:
        while _world_size(run) < 2 or _lines(run / "steps.jsonl") < 8:
            assert stays.poll() is None, (tmp_path / "host-1.log").read_text()[-3000:]
            time.sleep(0.005)
        _kill(goes)
        assert stays.wait(timeout=300) == 0, (tmp_path / "host-1.log").read_text()[-3000:]
    finally:
        for process in (stays, goes):
            _kill(process)
    left, whole = read_run(run), read_run(tmp_path / "alone")
    assert left.environment["world_size"] == 1
    assert [row["step"] for row in left.steps] == [row["step"] for row in whole.steps]
    assert [row["loss"] for row in left.steps] == pytest.approx([row["loss"] for row in whole.steps], rel=1e-4)
    assert [row["val_num_examples"] for row in left.evaluations] == [row["val_num_examples"] for row in whole.evaluations]
