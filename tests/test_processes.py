"""Processes of one training: faults named, sound runs left alone, and nobody waits for anybody."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

import data_parallel_programs as programs
import pytest
import torch
import torch.distributed as dist
from data_parallel_programs import FAULTS, SOUND, run_two

from trainability.doctor import Evidence, Monitor, diagnose
from trainability.doctor.evidence import StepRecord
from trainability.doctor.measure import exchange
from trainability.doctor.measure.exchange import Exchange
from trainability.doctor.measure.processes import _numbers_of
from trainability.doctor.processes import Comparison, Post, Processes, compared


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    for done in run_two(Path(programs.__file__), folder):
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def answers(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_data_parallel_run_is_named_first_in_every_process(name: str, answers: list[dict[str, Any]]) -> None:
    for answer in (each[name] for each in answers):
        assert "error" not in answer, answer["error"]
        assert answer["codes"][0][0] == FAULTS[name][1]
        assert [code for code, severity, _ in answer["codes"] if severity != "hint"][1:] == []
        assert answer["failed"] == []
        assert answer["lost"] is None


@pytest.mark.slow
def test_a_parameter_that_the_wrapper_waits_for_is_named_before_it_stops(answers: list[dict[str, Any]]) -> None:
    for answer in (each["parameter without gradient"] for each in answers):
        assert answer["codes"][0][2] == ["spare.weight", "spare.bias"]
        assert answer["stopped"]  # by the wrapper, in the step after
        assert len(answer["said"]) == 1
        assert "spare.weight" in answer["said"][0]


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUND)
def test_a_sound_run_is_bitwise_the_same_with_monitors_and_nothing_is_said(name: str, answers: list[dict[str, Any]]) -> None:
    for answer in (each[name] for each in answers):
        assert "error" not in answer, answer["error"]
        assert answer["same"]
        assert [code for code, severity, _ in answer.get("codes", []) if severity != "hint"] == []
        assert not any(code.startswith(("unsynchronised", "same_batches")) for code, _, _ in answer.get("codes", []))
        assert answer.get("said", []) == answer.get("failed", []) == []
        assert answer.get("lost") is None
    alone = {"ddp_group": [], "one_watches": [], "other_steps_watched": []}
    steps = {**alone, "ddp_uneven": [1], "ddp_epochs": [1, 3, 5]}
    assert answers[0][name]["steps"] == steps.get(name, [1, 3])
    assert answers[0][name]["missing"] == ([1] if name in ("one_watches", "other_steps_watched") else [])


@pytest.mark.slow
def test_a_group_that_is_gone_ends_the_comparison_and_nothing_else(folder: Path) -> None:
    after = json.loads((folder / "1-after.json").read_text())
    assert after == {"steps": 6, "samples": 6, "lost": "the process group was destroyed", "codes": []}


def post(rank: int, step: int = 1, **fields: Any) -> Post:
    usual = {"before": (1.0, 2.0), "after": (0.9, 1.9), "squares": (1.0, 4.0), "gradient_norm": 1.0, "inputs": float(rank)}
    return Post(rank=rank, step=step, layout="two", **{**usual, **fields})


def test_comparisons_are_distances_over_norms() -> None:
    row = compared([post(1, before=(1.0, 2.3), after=(0.9, 1.9)), post(0), post(2)], ["a", "b"])
    assert row.ranks == (0, 1, 2)
    assert row.weights_distance == pytest.approx(0.3 / math.sqrt(5))
    assert row.update_distance == pytest.approx(0.3 / math.hypot(0.1, 0.4))
    assert row.differing == ("b",)
    assert compared([post(0), post(1, before=(math.nan, 2.0))], ["a", "b"]).weights_distance is None
    assert compared([post(0, inputs=7.0), post(1, inputs=7.0), post(2)], ["a", "b"]).same_inputs == ((0, 1),)


def test_the_number_of_a_tensor_estimates_how_far_two_are_apart() -> None:
    torch.manual_seed(0)
    tensors = [torch.randn(40, 50) for _ in range(64)]
    moved = [x + 1e-3 * torch.randn_like(x) for x in tensors]
    one, other = _numbers_of(tensors), _numbers_of(moved)
    assert torch.equal(one, _numbers_of([x.clone() for x in tensors]))
    estimate = torch.linalg.vector_norm(one[:, 0] - other[:, 0]) / one[:, 1].sum().sqrt()
    assert float(estimate) == pytest.approx(1e-3, rel=0.3)  # 64 squares of normal numbers: a standard error of 9 %
    assert float(one[:, 1].sum()) == pytest.approx(64 * 1024, rel=0.05)


@pytest.fixture(params=["hash", "file"])
def exchanges(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Exchange]:
    """Three processes of one group, in this process, over a store that can answer for several keys at once or not."""
    store = dist.HashStore() if request.param == "hash" else dist.FileStore(str(tmp_path / "store"), 3)
    monkeypatch.setattr(exchange, "_get_default_store", lambda: store)
    made = []
    for rank in range(3):
        monkeypatch.setattr(exchange, "_entered", exchange.Counter())  # each process counts its own monitors
        made.append(Exchange(rank, (0, 1, 2), ("a", "b"), "model"))
    return made


def test_steps_are_compared_whoever_comes_first(exchanges: list[Exchange]) -> None:
    for step in range(1, 40):
        for rank in (step % 3, (step + 1) % 3, (step + 2) % 3):
            exchanges[rank].tell(post(rank, step))
    for each in exchanges:
        each.read()
        assert each.missing == ()
        steps = [row.step for row in each.comparisons]
        assert steps == sorted(steps)
        assert steps[:4] == [1, 2, 3, 4]
        assert len(steps) == 12
        assert all(row.ranks == (0, 1, 2) for row in each.comparisons)


def test_processes_that_run_apart_have_their_first_steps_in_common(exchanges: list[Exchange]) -> None:
    for rank in (2, 1, 0):
        for step in range(1, 30):
            exchanges[rank].tell(post(rank, step))
    exchanges[1].read()
    assert [row.step for row in exchanges[1].comparisons][:2] == [1, 2]


def test_nobody_waits_for_a_process_that_has_ended_or_never_began(exchanges: list[Exchange]) -> None:
    first, second, third = exchanges
    first.tell(post(0, 1))
    second.tell(post(1, 1))
    third.stop()
    first.tell(post(0, 2))
    second.stop()
    begun = time.monotonic()
    first.end()
    second.end()
    assert time.monotonic() - begun < exchange._MOST_SECONDS
    assert [(row.step, row.ranks) for row in second.comparisons] == [(1, (0, 1))]
    assert first.missing == (2,)


def test_what_is_told_as_the_first_process_looks_for_the_last_time_is_compared(
    exchanges: list[Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = exchanges
    first.tell(post(0, 1))
    have_all_told = first._have_all_told

    def late() -> bool:
        for rank, each in ((1, second), (2, third)):
            each.tell(post(rank, 1))
        return have_all_told()

    monkeypatch.setattr(first, "_have_all_told", late)
    for each in exchanges:
        each.end()
        assert [(row.step, row.ranks) for row in each.comparisons] == [(1, (0, 1, 2))]


def test_a_process_that_is_stuck_is_waited_for_some_seconds_only(
    exchanges: list[Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "_MOST_SECONDS", 0.05)
    exchanges[0].tell(post(0, 1))
    exchanges[0].end()
    assert exchanges[0].comparisons == ()


def test_what_earlier_monitors_told_is_emptied(exchanges: list[Exchange], monkeypatch: pytest.MonkeyPatch) -> None:
    store = exchanges[0]._store
    exchanges[0].tell(post(0, 1))
    kept = store.get("trainability/" + exchanges[0]._prefix.split("/")[1] + "/0/0/last")
    assert b"gradient_norm" in kept
    again = [Exchange(0, (0, 1, 2), ("a", "b"), "model") for _ in range(3)]  # the counter is that of the last process made
    assert [each._prefix.rpartition("/")[2] for each in again] == ["1", "2", "3"]
    assert store.get(exchanges[0]._key("0/last")) == b""
    exchanges[1].tell(post(1, 1))
    exchanges[0].read()
    assert exchanges[0].comparisons[0].ranks == (0, 1)


def test_one_process_alone_has_nothing_to_compare() -> None:
    model = torch.nn.Linear(2, 2)
    with Monitor(model, every=1) as monitor:
        loss = model(torch.ones(1, 2)).sum()
        loss.backward()
        monitor.after_backward(loss)
    assert monitor.evidence().processes is None


def test_comparisons_are_joined_and_kept_in_files() -> None:
    rows = tuple(Comparison(step=step, ranks=(0, 1), losses=(1.0, 2.0), same_inputs=((0, 1),)) for step in (1, 3, 5))
    earlier = Evidence(processes=Processes(ranks=(0, 1), wrapper="fully_shard", comparisons=rows[:2]))
    later = Evidence(processes=Processes(ranks=(0, 1), wrapper="DistributedDataParallel", comparisons=rows[1:]))
    joined = earlier.merge(later)
    assert joined.processes == dataclasses.replace(later.processes, comparisons=rows)
    assert Evidence.from_dict(json.loads(json.dumps(joined.to_dict()))) == joined
    assert earlier.merge(Evidence()).processes == earlier.processes


def test_what_was_not_compared_is_named() -> None:
    apart = Processes(ranks=(0, 1, 2), wrapper="DistributedDataParallel", missing=(2,), lost="Broken pipe")
    lines = diagnose(Evidence(steps=(StepRecord(step=1, loss=1.0),), processes=apart)).not_checked
    assert any("processes 2" in line for line in lines)
    assert any("Broken pipe" in line for line in lines)
