"""Batches of any structure."""

import collections
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch

from trainability.doctor.batches import batch_size, first_examples, first_tensor, joined, tensors, to_device


class Pair(NamedTuple):
    image: torch.Tensor
    label: torch.Tensor


@dataclass(frozen=True)
class Item:
    image: torch.Tensor
    name: str


class Encoding(collections.UserDict):
    """Like the mapping that tokenizers of Transformers return."""


X, Y = torch.arange(12.0).reshape(6, 2), torch.arange(6)
BATCHES: dict[str, Any] = {
    "tensor": X,
    "pair": (X, Y),
    "list": [X, Y],
    "triple": (X, X, Y),
    "named": Pair(X, Y),
    "dict": {"input_ids": X, "labels": Y},
    "encoding": Encoding({"input_ids": X, "labels": Y}),
    "dataclass": Item(X, "six"),
    "nested": ({"a": X, "b": [Y, Y]}, (Y,)),
    "named files": (X, Y, list("abcdef")),
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_the_first_examples_of_any_batch(batch: Any) -> None:
    cut = first_examples(batch, 4)
    assert type(cut) is type(batch)
    assert batch_size(cut) == 4
    assert batch_size(batch) == 6
    for (path, before), (same, after) in zip(tensors(batch), tensors(cut), strict=True):
        assert path == same
        assert torch.equal(before[:4], after)


def test_file_names_are_cut_with_their_images() -> None:
    assert first_examples(BATCHES["named files"], 2)[2] == ["a", "b"]


def test_a_batch_whose_tensors_differ_in_length_is_not_cut() -> None:
    flattened = (X, torch.arange(60))
    assert batch_size(flattened) is None
    assert first_examples(flattened, 2) is flattened
    assert batch_size((X, torch.tensor(1.0))) is None


def test_the_first_tensor() -> None:
    assert first_tensor({"name": "x", "images": [None, X]}) is X
    assert first_tensor("text") is None


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_to_device_keeps_the_structure(batch: Any) -> None:
    moved = to_device(batch, "meta")
    assert type(moved) is type(batch)
    assert [path for path, _ in tensors(moved)] == [path for path, _ in tensors(batch)]
    assert all(tensor.is_meta for _, tensor in tensors(moved))


def test_an_object_of_its_own_kind_moves_by_itself() -> None:
    class Graph:
        device = "cpu"

        def to(self, device: str) -> "Graph":
            twin = Graph()
            twin.device = device
            return twin

    assert to_device([Graph()], "meta")[0].device == "meta"


@pytest.mark.parametrize("name", ["tensor", "pair", "triple", "named", "dict", "encoding", "nested"])
def test_batches_that_fit_are_joined(name: str) -> None:
    batch = BATCHES[name]
    twice = joined([batch, first_examples(batch, 2)])
    assert type(twice) is type(batch)
    for (path, one), (same, two) in zip(tensors(batch), tensors(twice), strict=True):
        assert path == same
        assert torch.equal(torch.cat([one, one[:2]]), two)


def test_batches_that_do_not_fit_are_not_joined() -> None:
    assert joined([(X, Y), (X[:, :1], Y)]) is None
    assert joined([(X, Y), (X, Y, Y)]) is None
    assert joined([(X, torch.arange(60))] * 2) is None
    assert joined([BATCHES["named files"]] * 2) is None
    assert joined([(X, Y)]) == (X, Y)
