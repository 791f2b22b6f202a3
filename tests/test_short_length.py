"""Data sets that count their batches, and all that holds more than it declares for a reason."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset, WeightedRandomSampler, default_collate

from trainability.checking.check import check
from trainability.cli import program as cli
from trainability.doctor.measure.short_length import short_length, short_pass
from trainability.doctor.readings import ShortPass
from trainability.doctor.setup import Setup

COUNT, BATCH = 300, 16


class Made(Dataset):
    """A length, a function from index to example, and what else stands in it."""

    def __init__(self, length: int, made: Callable[[int], Any], **others: Any) -> None:
        self.length, self.made = length, made
        vars(self).update(others)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.made(index)


SERIES = torch.randn(COUNT, 6, generator=torch.Generator().manual_seed(0))
ROWS = [(SERIES[i], i * 4 // COUNT) for i in range(COUNT)]
TABLE = {i: {"x": SERIES[i].numpy(), "y": i} for i in range(COUNT)}


def loader(dataset: Any, **words: Any) -> DataLoader:
    return DataLoader(dataset, **{"batch_size": BATCH, "shuffle": True, **words})


def padded(batch: list[Any]) -> Any:
    return nn.utils.rnn.pad_sequence([x for x, _ in batch]), torch.tensor([y for _, y in batch])


COUNTS_BATCHES = {
    "a list, rounded down": loader(Made(COUNT // BATCH, ROWS.__getitem__)),
    "arrays, rounded up": loader(Made(-(-COUNT // BATCH), lambda i: (SERIES.numpy()[i], np.int64(i)))),
    "dicts by key": loader(Made(COUNT // BATCH, TABLE.__getitem__)),
    "a batch size of its own": loader(Made(COUNT // 10, ROWS.__getitem__, batch_size=10), batch_size=8),
    "a part of it": loader(Subset(Made(COUNT // BATCH, ROWS.__getitem__), range(10))),
    "sentences": loader(Made(COUNT // BATCH, lambda i: (SERIES.flatten()[i : i + 2 + i % 5], ROWS[i][1])), collate_fn=padded),
}


@pytest.mark.parametrize("name", COUNTS_BATCHES)
def test_batches_are_counted(name: str) -> None:
    found = short_length(COUNTS_BATCHES[name])
    assert found is not None
    assert found.held == COUNT
    assert found.declared in (COUNT // found.batch_size, -(-COUNT // found.batch_size))


DECLARES_FEWER = {
    "all of a list": loader(Made(COUNT, ROWS.__getitem__)),
    "any index, round and round": loader(Made(COUNT // BATCH, lambda i: ROWS[i % COUNT])),
    "drawn by its index": loader(
        Made(64, lambda i: (torch.randn(6, generator=torch.Generator().manual_seed(i)), i % 4), batch_size=BATCH)
    ),
    "the first hundred": loader(Made(100, ROWS.__getitem__, limit=100)),
    "every third": loader(Made(COUNT // 3, ROWS.__getitem__)),
    "batches, sliced": loader(
        Made(COUNT // BATCH, lambda i: (SERIES[i * BATCH : (i + 1) * BATCH], torch.arange(BATCH))), batch_size=None
    ),
    "batches, sliced, in batches of one": loader(
        Made(COUNT // BATCH, lambda i: SERIES[i * BATCH : (i + 1) * BATCH], batch_size=BATCH), batch_size=1
    ),
    "windows of a series": loader(Made(COUNT - BATCH, lambda i: (SERIES[i : i + BATCH], SERIES[min(i + BATCH, COUNT - 1)]))),
    "windows side by side": loader(Made(COUNT // BATCH, lambda i: SERIES[torch.arange(i * BATCH, (i + 1) * BATCH)])),
    "patches of pictures": loader(Made(COUNT * BATCH, lambda i: ROWS[i // BATCH])),
    "a part of a list": loader(Subset(Made(COUNT, ROWS.__getitem__), range(COUNT // BATCH))),
}


@pytest.mark.parametrize("name", DECLARES_FEWER)
def test_other_lengths_are_left_alone(name: str) -> None:
    assert short_length(DECLARES_FEWER[name]) is None


@pytest.mark.parametrize("weights", [4, COUNT])
def test_a_sampler_has_a_weight_for_each_example(weights: int) -> None:
    found = short_length(loader(ROWS, shuffle=False, sampler=WeightedRandomSampler([1.0] * weights, 64)))
    assert (found is not None) == (weights < COUNT)
    assert found is None or (found.declared, found.held, found.batch_size) == (4, COUNT, None)


def test_random_numbers_are_as_before() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    short_length(loader(Made(COUNT // BATCH, lambda i: (SERIES[i] + torch.randn(6), ROWS[i][1])), collate_fn=default_collate))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("length", [COUNT, COUNT // BATCH])
def test_check_names_it_first(length: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 4))
    setup = Setup(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        train_loader=loader(Made(length, lambda i: (SERIES[i] + ROWS[i][1], ROWS[i][1]))),
        val_loader=loader(Made(COUNT, lambda i: (SERIES[i] - 0.01 + ROWS[i][1], ROWS[i][1])), shuffle=False),
        loss_fn=F.cross_entropy,
        rehearse_seconds=5,
    )
    codes = [finding.code for finding in check(setup).findings if finding.severity != "hint"]
    assert codes[:1] == (["short_length"] if length < COUNT else [])


class Batches:
    """A program's own loader, which ends each pass after some batches."""

    def __init__(self, length: int, ends: int | None) -> None:
        self.length, self.ends = length, ends

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        for k in range(self.length if self.ends is None else self.ends):
            yield SERIES[k * BATCH % 200 :][:BATCH], torch.arange(BATCH) % 4


PASSES: dict[str, tuple[Any, ShortPass | None]] = {
    "ends early": (Batches(200, 7), ShortPass(read=7, declared=200)),
    "counts its examples": (Batches(115, 7), None),
    "its length": (Batches(40, None), None),
    "without the last batches": (Batches(40, 36), None),
    "more than its length": (Batches(7, 40), None),
    "a list": ([(SERIES[:BATCH], torch.arange(BATCH) % 4)], None),
    "a loader": (loader(Made(COUNT, ROWS.__getitem__)), None),
    "an iterator": (iter(Batches(40, 7)), None),
}


@pytest.mark.parametrize("name", PASSES)
def test_passes_that_end_before_their_length(name: str) -> None:
    batches, found = PASSES[name]
    assert short_pass(batches) == found


def test_a_short_pass_is_told_in_a_check() -> None:
    model = nn.Linear(6, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for batches, told in ((Batches(200, 7), True), (Batches(40, None), False)):
        codes = [f.code for f in check(model, batches, F.cross_entropy, optimizer).findings]
        assert ("short_pass" in codes) == told


SCRIPT = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(800, 12)
loader = DataLoader(TensorDataset(x, x[:, :4].argmax(dim=1)), batch_size=20, shuffle=True)
model = nn.Linear(12, 4)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for epoch in range(6):
    for k, (a, b) in enumerate(loader):
        if k == LIMIT:
            break
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(a), b).backward()
        optimizer.step()
"""


@pytest.mark.parametrize(("limit", "told"), [("9", True), ("-1", False), ("35", False), ("9 + epoch", False), ("2", False)])
def test_a_loop_that_leaves_its_loader(tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: str, told: bool) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.replace("LIMIT", limit))
    with pytest.raises(SystemExit):
        cli.main(["run", "--dir", str(tmp_path / "run"), str(script)])
    assert ("batches" in "".join(capsys.readouterr())) == told
