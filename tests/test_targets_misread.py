"""Targets that are not what a loss takes them for: boxes that are no corners, probabilities outside [0, 1], maps resized."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.measure.box_corners import boxes_crossed
from trainability.doctor.measure.label_maps import smeared_edges
from trainability.doctor.measure.log_likelihoods import share_outside
from trainability.doctor.measure.one_way_pairs import one_way_pairs

IMAGES = torch.zeros(4, 3, 48, 48)


# ---------------------------------------------------------------------------------------------------- boxes


def places_and_sizes(n: int = 64) -> Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.cat([torch.rand(n, 2, generator=g) * 0.7, 0.1 + torch.rand(n, 2, generator=g) * 0.2], dim=1)


def to_corners(boxes: Tensor) -> Tensor:
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)


def iou_loss(output: Tensor, target: Tensor) -> Tensor:
    def area(b: Tensor) -> Tensor:
        return (b[:, 2] - b[:, 0]).clamp(min=0) * (b[:, 3] - b[:, 1]).clamp(min=0)

    inner = torch.minimum(output[:, 2:], target[:, 2:]) - torch.maximum(output[:, :2], target[:, :2])
    inner = inner.clamp(min=0).prod(dim=1)
    return 1 - (inner / (area(output) + area(target) - inner + 1e-6)).mean()


def iou_of_sizes(output: Tensor, target: Tensor) -> Tensor:
    """Of corners that the loss itself makes of places and sizes."""
    return iou_loss(to_corners(output), to_corners(target))


def sizes_at_once(output: Tensor, target: Tensor) -> Tensor:
    """As of the two ends of a line, whose difference is a direction."""
    return F.l1_loss(output[:, 2:] - output[:, :2], target[:, 2:] - target[:, :2]) + F.l1_loss(output, target)


def crossed(loss: Callable[[Tensor, Tensor], Tensor], boxes: Tensor) -> float | None:
    torch.manual_seed(0)
    model = nn.Linear(6, 4)
    return boxes_crossed(model, (torch.randn(len(boxes), 6), boxes), lambda m, b: loss(m(b[0]), b[1]))


def iou_by_product(output: Tensor, target: Tensor) -> Tensor:
    inner = torch.minimum(output[:, 2:], target[:, 2:]) - torch.maximum(output[:, :2], target[:, :2])
    inner = inner.clamp(min=0).prod(dim=1)
    areas = [(b[:, 2:] - b[:, :2]).clamp(min=0).prod(dim=1) for b in (output, target)]
    return 1 - (inner / (areas[0] + areas[1] - inner + 1e-6)).mean()


@pytest.mark.parametrize("loss", [iou_loss, iou_by_product])
def test_places_and_sizes_that_a_loss_takes_for_corners_are_counted(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    boxes = places_and_sizes()
    share = float((boxes[:, 2:] < boxes[:, :2]).any(dim=1).float().mean())
    assert share > 0.5
    assert crossed(loss, boxes) == pytest.approx(share)
    assert crossed(loss, to_corners(boxes)) == 0.0


@pytest.mark.parametrize("loss", [iou_of_sizes, F.l1_loss, sizes_at_once])
def test_a_loss_of_places_and_sizes_is_not_asked_for_corners(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert crossed(loss, places_and_sizes()) is None


def test_rows_of_zeros_are_no_boxes() -> None:
    boxes = to_corners(places_and_sizes())
    boxes[::2] = 0
    assert crossed(iou_loss, boxes) is None  # not all of what is subtracted are boxes
    assert crossed(iou_loss, to_corners(places_and_sizes(7))) is None


# ---------------------------------------------------------------------------------------------------- probabilities


def by_hand(output: Tensor, target: Tensor) -> Tensor:
    p = torch.sigmoid(output)
    return -(target * torch.log(p + 1e-7) + (1 - target) * torch.log(1 - p + 1e-7)).mean()


def by_hand_clamped(output: Tensor, target: Tensor) -> Tensor:
    p = torch.sigmoid(output).view(-1)
    return -(p.clamp(1e-6, 1).log() * target.view(-1) + (1 - p).clamp(min=1e-6).log() * (1 - target.view(-1))).sum()


def with_weights(output: Tensor, target: Tensor) -> Tensor:
    return 0.3 * by_hand(output, target) + output.square().mean()


def opponents(output: Tensor, target: Tensor) -> Tensor:
    """Logarithms of two results, of which neither is 1 minus the other."""
    return -(torch.log(torch.sigmoid(output)) * target + torch.log(1 - torch.sigmoid(2 * output)) * (1 - target)).mean()


def of_rare_ones(output: Tensor, target: Tensor) -> Tensor:
    p = torch.sigmoid(output)
    return -(5.0 * target * torch.log(p) + (1 - target) * torch.log(1 - p)).mean()


def of_counts(output: Tensor, target: Tensor) -> Tensor:
    p, counts = torch.sigmoid(output), (8 * target).round()
    return -(counts * torch.log(p) + (8 - counts) * torch.log(1 - p)).mean()


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (by_hand, True),
        (by_hand_clamped, True),
        (with_weights, True),
        (opponents, False),
        (of_rare_ones, False),
        (of_counts, False),
        (F.mse_loss, False),
        (lambda o, t: -(t * torch.log(torch.softmax(o, dim=1))).mean(), False),
    ],
)
def test_the_targets_of_a_binary_cross_entropy_by_hand(loss: Callable[[Tensor, Tensor], Tensor], found: bool) -> None:
    torch.manual_seed(0)
    output, target = torch.randn(16, 5, requires_grad=True), torch.rand(16, 5)
    assert share_outside(loss(output, target)) == (0.0 if found else None)
    target[:8] -= 1
    assert share_outside(loss(output, target)) == (0.5 if found else None)


# ---------------------------------------------------------------------------------------------------- maps of classes


def areas(n: int = 24, *, classes: int = 5, kind: str = "named") -> Tensor:
    """Maps of rectangles of named classes; of layers from top to bottom; or of levels around a place."""
    g = torch.Generator().manual_seed(1)
    maps = torch.zeros(n, 48, 48, dtype=torch.long)
    rows, columns = torch.meshgrid(torch.arange(48), torch.arange(48), indexing="ij")
    for each in maps:
        if kind == "named":
            for _ in range(6):
                (y, x), (h, w) = (
                    torch.randint(0, 36, (2,), generator=g).tolist(),
                    torch.randint(7, 15, (2,), generator=g).tolist(),
                )
                each[y : y + h, x : x + w] = int(torch.randint(1, classes, (1,), generator=g))
            continue
        y, x = torch.randint(12, 36, (2,), generator=g).tolist()
        slope = 0.1 * float(torch.randn(1, generator=g))
        far = rows + slope * columns if kind == "layers" else ((rows - y) ** 2 + (columns - x) ** 2).sqrt()
        limits = (15, 16.5, 25, 26, 35) if kind == "layers" else (4, 6, 12, 13.5)
        each += sum((far > limit).long() for limit in limits)
    return maps


def resized(maps: Tensor, mode: str, size: int = 30) -> Tensor:
    how = {} if mode == "nearest" else {"align_corners": False}
    return F.interpolate(maps[:, None].float(), size=(size, size), mode=mode, **how)[:, 0].round().long()


def found_in(maps: Tensor) -> bool:
    return smeared_edges((IMAGES, maps), []) is not None


@pytest.mark.parametrize("size", [24, 30, 80])
def test_maps_of_classes_that_were_interpolated_are_found(size: int) -> None:
    assert found_in(resized(areas(), "bilinear", size))
    assert found_in(resized(areas(), "bilinear", size)[:, None])
    assert not found_in(resized(areas(), "nearest", size))


@pytest.mark.parametrize("kind", ["layers", "levels"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_maps_in_the_order_of_their_numbers_are_not(kind: str, mode: str) -> None:
    assert not found_in(resized(areas(kind=kind), mode))


def test_a_border_that_is_drawn_is_one_class() -> None:
    maps = areas()
    bordered = torch.where(
        maps == 0, 0, torch.where(F.max_pool2d((maps[:, None] == 0).float(), 3, 1, 1)[:, 0] > 0, 1, maps + 1)
    )
    assert len(bordered.unique()) == 6
    assert not found_in(bordered)


def test_an_image_in_few_grey_levels_is_its_own_target() -> None:
    maps = resized(areas(), "bilinear")
    assert found_in(maps)
    assert smeared_edges((maps[:, None].float() / 5, maps), []) is None


def test_other_tensors_are_no_maps_of_classes() -> None:
    maps = resized(areas(), "bilinear")
    assert smeared_edges((maps, IMAGES), []) is None  # the input
    assert not found_in(maps.float())
    assert not found_in((maps > 2).long())
    assert not found_in(resized(255 * areas(), "bilinear"))  # shades


# ---------------------------------------------------------------------------------------------------- pairs


class Compared(nn.Module):
    """Two inputs through one network, compared in one way or another."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.body, self.out = kind, nn.Sequential(nn.Linear(6, 8), nn.Tanh()), nn.Linear(8, 1)
        self.odd = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
        for layer in (self.odd[0], self.odd[2]):
            nn.init.zeros_(layer.bias)
        self.both = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, one: Tensor, other: Tensor | None = None) -> Tensor:
        one, other = one.chunk(2, dim=1) if other is None else (one, other)
        if self.kind == "odd at first":
            return self.odd(one - other)
        a, b = self.body(one), self.body(other)
        if self.kind == "joined":
            return self.both(torch.cat([a, b], dim=1))
        return self.out((a - b).abs() if self.kind == "distance" else a - b)


def pairs(labels: str, n: int = 128) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    one, is_same = torch.randn(n, 6, generator=g), torch.arange(n) % 2 == 0
    other = torch.where(is_same[:, None], one + 0.3 * torch.randn(n, 6, generator=g), torch.randn(n, 6, generator=g))
    if labels == "greater by far":
        return one, other, (one.sum(dim=1) > other.sum(dim=1) + 2).float()
    return one, other, (is_same if labels == "same" else one[:, 0] > other[:, 0]).float()


@pytest.mark.parametrize(
    ("kind", "labels", "found"),
    [
        ("signed", "same", True),
        ("signed", "greater", False),
        ("signed", "greater by far", False),
        ("odd at first", "same", False),
        ("distance", "same", False),
        ("joined", "same", False),
    ],
)
@pytest.mark.parametrize("joined", [True, False])
def test_a_comparison_with_a_sign_cannot_say_whether_two_are_the_same(
    kind: str, labels: str, found: bool, joined: bool
) -> None:
    torch.manual_seed(0)
    one, other, target = pairs(labels)
    inputs = (torch.cat([one, other], dim=1),) if joined else (one, other)
    assert (one_way_pairs(Compared(kind), inputs, target) is not None) is found
    assert one_way_pairs(Compared(kind), inputs, torch.rand(len(one))) is None
