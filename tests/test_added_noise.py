"""Noise in which training examples are drowned, beside augmentation of other kinds, denoisers and generated data."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from trainability.doctor import Evidence, audit_data, diagnose
from trainability.doctor.evidence import Evaluation

PLACES = 48


def drawn(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Waves of one of three speeds, and their class."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (n,), generator=g)
    phase = 6 * torch.rand(n, 2, 1, generator=g)
    waves = 0.3 * torch.sin((y[:, None, None] + 1) * torch.arange(float(PLACES)) / 5 + phase)
    return waves + 0.02 * torch.randn(n, 2, PLACES, generator=g), y


class Waves(Dataset):
    """With a change of the input, the target, or both, each time that an example is read."""

    def __init__(self, n: int, seed: int, change: Callable[[Tensor, Tensor], tuple[Any, Any]] | None = None) -> None:
        self.x, self.y = drawn(n, seed)
        self.change = change

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        return self.change(self.x[i], self.y[i]) if self.change is not None else (self.x[i], self.y[i])


def noise(size: float) -> Callable[[Tensor, Tensor], tuple[Any, Any]]:
    return lambda x, y: (x + size * torch.randn_like(x), y)


def severities(train: Any, held_out: Any, **fields: Any) -> list[tuple[str, str]]:
    found = diagnose(Evidence(data=audit_data(train, held_out, redraw=True), **fields)).findings
    return [(f.code, f.severity) for f in found if f.code.startswith(("split_shift", "shuffled_labels"))]


def of_change(change: Callable[[Tensor, Tensor], tuple[Any, Any]] | None, other: Any = None) -> list[tuple[str, str]]:
    return severities(
        DataLoader(Waves(200, 0, change), batch_size=20, shuffle=True), DataLoader(Waves(100, 1, other), batch_size=50)
    )


@pytest.mark.parametrize(("size", "found"), [(0.05, []), (0.2, []), (0.7, ["hint"]), (3.0, ["warning"]), (12.0, ["warning"])])
def test_noise_that_is_larger_than_the_examples(size, found):
    state = torch.get_rng_state()
    assert of_change(noise(size)) == [("split_shift.noise", severity) for severity in found]
    assert torch.equal(state, torch.get_rng_state())


def test_noise_that_the_loader_adds_as_it_joins_examples():
    def joined(items: list[Any]) -> tuple[Tensor, Tensor]:
        x = torch.stack([x for x, _ in items])
        return x + 3 * torch.randn_like(x), torch.stack([y for _, y in items])

    train = DataLoader(Waves(200, 0), batch_size=20, collate_fn=joined)
    assert severities(train, DataLoader(Waves(100, 1), batch_size=50)) == [("split_shift.noise", "warning")]


def test_the_numbers_are_named():
    audit = audit_data(DataLoader(Waves(200, 0, noise(12.0))), DataLoader(Waves(100, 1)), redraw=True)
    (found,) = [f for f in diagnose(Evidence(data=audit)).findings if f.code == "split_shift.noise"]
    assert "from 12 to about 0.021" in found.remedy


def test_silent_where_validation_is_predicted_all_the_same():
    seen = Evaluation(step=100, split="validation", num_examples=100, counted_error=0.1, largest_label_fraction=0.4)
    train = DataLoader(Waves(200, 0, noise(12.0)), batch_size=20)
    found = severities(train, DataLoader(Waves(100, 1), batch_size=50), evaluations=(seen,))
    assert [code for code, _ in found] == ["split_shift"]


def mixed(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    share = torch.rand(())
    return share * x + (1 - share) * 20 * torch.randn_like(x), share * torch.eye(3)[y]


def masked(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return x * (torch.rand_like(x) < 0.05) * 20, y


@pytest.mark.parametrize(
    ("change", "other"),
    [
        (noise(12.0), noise(12.0)),  # validation is noised, too
        (lambda x, y: (x + 3 * torch.randn_like(x), x), lambda x, y: (x, x)),  # a denoiser
        (lambda x, y: (x + 3 * torch.randn_like(x), x + torch.randn_like(x)), lambda x, y: (x, x)),  # two views
        (mixed, lambda x, y: (x, torch.eye(3)[y])),
        (masked, None),
        (lambda x, y: (x * 10 ** (3 * torch.rand(()) - 1), y), None),  # a gain
        (lambda x, y: (x * 10 ** (3 * torch.rand(2, 1) - 1), y), None),  # of each channel
        (lambda x, y: (x + 5 * torch.randn(2, 1), y), None),  # an offset
        (
            lambda x, y: (x + 5 * torch.sin(torch.arange(float(PLACES)) / 9 + 6 * torch.rand(())), y),
            None,
        ),  # a wandering baseline
        (lambda x, y: (x.roll(int(torch.randint(PLACES, ())), 1), y), None),
        (lambda x, y: (5 * torch.randn(2, PLACES), torch.randint(3, ())), None),  # no example has an identity
    ],
)
def test_other_things_that_are_drawn(change, other):
    assert not [code for code, _ in of_change(change, other) if code == "split_shift.noise"]


def test_a_one_among_zeros_is_seen_through_noise():
    class Letters(Dataset):
        def __init__(self, size: float) -> None:
            self.size = size

        def __len__(self) -> int:
            return 400

        def __getitem__(self, i: int) -> tuple[Tensor, int]:
            return torch.eye(400)[i] + self.size * torch.randn(400), i % 4

    train, held_out = DataLoader(Letters(0.2), batch_size=40), DataLoader(Letters(0.0), batch_size=40)
    assert ("split_shift.noise", "warning") not in severities(train, held_out)
    assert not [code for code, _ in severities(train, held_out) if code == "split_shift.noise"]


def test_data_that_are_not_read_by_index_or_keep_their_noise():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([(x + 5 * torch.randn_like(x), y) for x, y in zip(*drawn(200, 0), strict=True)])

    x, y = drawn(200, 0)
    kept = DataLoader(TensorDataset(x + 5 * torch.randn_like(x), y), batch_size=20)
    held_out = DataLoader(Waves(100, 1), batch_size=50)
    for train in (DataLoader(Stream(), batch_size=20), kept, [(x + 5 * torch.randn_like(x), y)]):
        assert not [code for code, _ in severities(train, held_out) if code == "split_shift.noise"]
