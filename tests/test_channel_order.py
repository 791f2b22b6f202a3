"""Validation whose channels come in another order, beside renamed classes and sound splits."""

from collections.abc import Callable

import pytest
import torch
from small_programs import batches
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.audits import audit_data


def coloured(n: int, seed: int, *, by: str = "colour") -> tuple[Tensor, Tensor]:
    """Pictures (n, 3, 8, 8) whose colour, or whose bright half, is their class."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (n,), generator=rng)
    x = 0.5 * torch.randn(n, 3, 8, 8, generator=rng)
    if by == "colour":
        hues = torch.tensor([[1.0, 0.0, 0.2], [0.0, 0.3, 1.0], [0.6, 0.9, 0.0], [0.1, 0.5, 0.4]])
        return x + hues[y][:, :, None, None], y
    rows = torch.arange(8) // 2
    return x + 1.0 * (rows[None] == y[:, None])[:, None, :, None], y


def codes(train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor]) -> list[str]:
    findings = diagnose(Evidence(data=audit_data(batches(*train), batches(*validation)))).findings
    return [f.code for f in findings if f.code.startswith(("split_shift", "validation_labels"))]


@pytest.mark.parametrize(
    ("order", "wanted"),
    [([2, 1, 0], ["split_shift.channels"]), ([1, 2, 0], ["split_shift.channels"]), ([0, 1, 2], [])],
)
def test_colours_in_another_order(order: list[int], wanted: list[str]) -> None:
    x, y = coloured(300, 2)
    assert codes(coloured(500, 1), (x[:, order], y)) == wanted


def test_renamed_classes_are_no_other_order() -> None:
    x, y = coloured(300, 2)
    assert codes(coloured(500, 1), (x, torch.tensor([1, 2, 3, 0])[y])) == ["validation_labels.renamed"]


def test_classes_that_colour_does_not_tell() -> None:
    x, y = coloured(300, 2, by="place")
    assert codes(coloured(500, 1, by="place"), (x[:, [2, 1, 0]], y)) == []


def test_grey_pictures_in_three_channels() -> None:
    (x, y), (other, named) = coloured(500, 1, by="place"), coloured(300, 2, by="place")
    assert codes((x[:, :1].expand(-1, 3, -1, -1), y), (other[:, :1].expand(-1, 3, -1, -1), named)) == []


@pytest.mark.parametrize(
    ("shown", "code"),
    [(lambda x: x[:, [2, 1, 0]], "split_shift.channels"), (lambda x: x + 1.5, "split_shift"), (lambda x: x, None)],
    ids=["reversed", "brighter", "alike"],
)
def test_the_colours_of_pictures_with_numbers_as_targets(shown: Callable[[Tensor], Tensor], code: str | None) -> None:
    hue = torch.tensor([1.5, 0.2, -1.0])[None, :, None, None]
    (x, _), (other, _) = coloured(500, 1, by="place"), coloured(300, 2, by="place")
    found = codes((x + hue, x.mean((1, 2, 3))), (shown(other + hue), other.mean((1, 2, 3))))
    assert found == ([code] if code else [])


@pytest.mark.parametrize(
    ("order", "is_shifted", "wanted"),
    [([2, 1, 0], True, "split_shift.channels"), ([0, 1, 2], True, "split_shift"), ([0, 1, 2], False, None)],
)
def test_another_order_that_was_normalised_channel_by_channel(order: list[int], is_shifted: bool, wanted: str | None) -> None:
    cast = torch.tensor([0.2, 1.0, 2.2])[None, :, None, None]
    (x, y), (other, named) = coloured(500, 1), coloured(300, 2)
    x, other = x + cast, other + cast
    mean, std = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    other = (other[:, order] - mean) / std
    other = other + 0.8 if is_shifted and order == [0, 1, 2] else other
    assert codes(((x - mean) / std, y), (other, named)) == ([wanted] if wanted else [])


@pytest.mark.parametrize(
    ("order", "scale", "found"),
    [((0, 1, 2), 1.0, False), ((0, 2, 1), 1.0, True), ((1, 0, 2), 1.0, True), ((0, 1, 2), 1.5, False)],
)
def test_points_whose_axes_are_exchanged(order: tuple[int, ...], scale: float, found: bool) -> None:
    """Upright bodies; a validation of larger ones is shifted, and in no other order."""
    rng = torch.Generator().manual_seed(0)

    def bodies(count: int) -> Tensor:
        shape = torch.tensor([0.5, 1.2, 0.7]) * (0.8 + 0.4 * torch.rand(count, 1, 3, generator=rng))
        return shape * torch.randn(count, 40, 3, generator=rng)

    train, held_out = bodies(400), scale * bodies(120)[:, :, list(order)]
    loaders = [DataLoader(TensorDataset(x, torch.zeros(len(x)).long()), 40) for x in (train, held_out)]
    codes = [f.code for f in diagnose(Evidence(data=audit_data(*loaders))).findings]
    assert ("split_shift.axes" in codes) == found
