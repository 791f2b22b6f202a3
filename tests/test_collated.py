"""A `collate_fn` that leaves each example's parts side by side, and one that does not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.collated import separated

RNG = torch.Generator().manual_seed(0)
ROWS = torch.randint(1, 9, (64, 6), generator=RNG)
CLASSES = torch.randint(4, (64,), generator=RNG)
WORDS = [(row[: 2 + k % 5].tolist(), int(label)) for k, (row, label) in enumerate(zip(ROWS, CLASSES, strict=True))]

Collated = dict[str, Tensor]


def stacked(examples: list[Any]) -> Collated:
    return {"words": torch.stack([x for x, _ in examples]), "label": torch.stack([y for _, y in examples])}


def by_sum(examples: list[Any], *, labels: bool) -> Collated:
    batch = stacked(examples)
    order = batch["words"].sum(dim=1).argsort()
    return {"words": batch["words"][order], "label": batch["label"][order] if labels else batch["label"]}


def padded(examples: list[Any], *, labels: bool) -> Collated:
    longest = sorted(examples, key=lambda example: -len(example[0]))
    words = nn.utils.rnn.pad_sequence([torch.tensor(x) for x, _ in longest], batch_first=True)
    return {"words": words, "label": torch.tensor([y for _, y in (longest if labels else examples)])}


def mixed(examples: list[Any]) -> Collated:
    """Labels of a mixture: an example's own, and another's."""
    batch = stacked(examples)
    return batch | {"other": batch["label"].roll(7)}


def noisy(examples: list[Any]) -> Collated:
    batch = by_sum(examples, labels=False)
    return batch | {"words": batch["words"] + torch.rand(batch["words"].shape)}


def half(examples: list[Any]) -> Collated:
    """Texts of which one half is another example's, beside whether it is."""
    batch = stacked(examples)
    cut = len(examples) // 2
    moved = torch.cat([batch["label"][:cut], batch["label"][cut:].roll(1)])
    return {"words": batch["words"], "label": moved, "is_own": (torch.arange(len(moved)) < cut).long()}


@pytest.mark.parametrize(
    ("data", "collate", "told"),
    [
        ("stacked", stacked, False),
        ("stacked", lambda e: by_sum(e, labels=True), False),
        ("stacked", lambda e: by_sum(e, labels=False), True),
        ("words", lambda e: padded(e, labels=True), False),
        ("words", lambda e: padded(e, labels=False), True),
        ("stacked", mixed, False),
        ("stacked", noisy, False),
        ("stacked", half, False),
    ],
)
def test_rows_of_other_examples_are_found_by_their_values(data: str, collate: Callable[[Any], Collated], told: bool) -> None:
    dataset: Any = TensorDataset(ROWS, CLASSES) if data == "stacked" else WORDS
    loader = DataLoader(dataset, 32, shuffle=True, collate_fn=collate, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    found = separated(loader)
    assert torch.equal(before, torch.get_rng_state())
    assert (found is not None) == told
    if found is not None:
        assert (found.given, found.target) == ("['words']", "['label']")
        assert found.made != found.held


def test_names_of_one_set_beside_each_other_are_not_taken_for_each_other() -> None:
    names = torch.arange(64)
    edges = TensorDataset(names, names.roll(9))
    assert (
        separated(DataLoader(edges, 64, collate_fn=lambda e: tuple(torch.stack(part) for part in zip(*e, strict=True)))) is None
    )


def test_no_other_loader_is_asked() -> None:
    assert separated(DataLoader(TensorDataset(ROWS, CLASSES), 32)) is None
    assert separated([(ROWS, CLASSES)]) is None
    assert separated(DataLoader(TensorDataset(ROWS, CLASSES), 8, collate_fn=lambda e: by_sum(e, labels=False))) is None


@pytest.mark.parametrize("labels", [True, False])
def test_a_loader_that_sorts_one_part_alone_is_the_cause(labels: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(24, 4))
    loader = DataLoader(TensorDataset(ROWS, CLASSES), 32, collate_fn=lambda e: by_sum(e, labels=labels))
    step = lambda m, b: F.cross_entropy(m(b["words"]), b["label"])  # noqa: E731
    facts = facts_of(model, next(iter(loader)), training_step=step, batches=loader)
    assert not facts.notes
    assert ("shuffled_labels.collated" in [f.code for f in diagnose(Evidence(facts=facts)).findings]) == (not labels)
