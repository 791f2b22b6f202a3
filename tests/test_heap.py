"""What a step frees on a CPU is there for the next one: counted in pages that the system clears, in processes of their own."""

import os
import subprocess
import sys

import pytest

PAGES = """
import resource, statistics, torch
from trainability.config import RunSettings
from trainability.training import engine

def step():
    made = [torch.ones(1 << 20) for _ in range(4)]

with engine.start(RunSettings(device="cpu")):
    for _ in range(3):
        step()
    taken = []
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        step()
        taken.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    print(round(statistics.median(taken)))  # the system may map pages anew at any step
"""
WRITTEN = 4 * (4 << 20) // 4096
"""Pages that a step writes."""


def pages(**environment: str) -> int:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run(
        [sys.executable, "-c", PAGES], capture_output=True, text=True, check=True, env={**kept, **environment}
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the heap of glibc")
def test_a_step_takes_no_new_memory_unless_the_user_says_so() -> None:
    assert pages() < WRITTEN / 100
    assert pages(MALLOC_TRIM_THRESHOLD_="100000", MALLOC_MMAP_THRESHOLD_="100000") > WRITTEN / 2
