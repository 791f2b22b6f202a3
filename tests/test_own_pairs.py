"""Pairs that a loss pushes apart though they belong together by what no distance of raw inputs tells, beside sound losses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from rule_examples import fact
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor import diagnose
from trainability.doctor.measure.pulls import pulls
from trainability.doctor.pair_facts import Pulls
from trainability.doctor.rules.pair_signs import BELONG, DO_NOT, EDITED, FURTHER_APART

PAIRS, SIDE, KINDS = 400, 16, 8
Data = tuple[Tensor, Tensor, Tensor]


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def weaves(kinds: Tensor, generator: torch.Generator) -> Tensor:
    """Images of a wave, of which the kind sets the two frequencies, with another phase and another light in each."""
    down, across = 1 + kinds // 4, 1 + kinds % 4
    y, x = torch.meshgrid(torch.arange(SIDE) / SIDE, torch.arange(SIDE) / SIDE, indexing="ij")
    phase, light, tilt = (torch.randn(len(kinds), 1, 1, generator=generator) for _ in range(3))
    angle = 6.2832 * (down[:, None, None] * y + across[:, None, None] * x + phase)
    noise = torch.randn(len(kinds), SIDE, SIDE, generator=generator)
    return (angle.sin() + light + tilt * x + 0.5 * noise)[:, None]


def kinds_of_pairs(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    one = torch.randint(KINDS, (PAIRS,), generator=generator)
    same = torch.rand(PAIRS, generator=generator) < 0.5
    other = torch.where(same, one, (one + torch.randint(1, KINDS, (PAIRS,), generator=generator)) % KINDS)
    return one, other, same


def phases() -> Data:
    """Pairs of one weave, and of two."""
    generator = rng()
    one, other, same = kinds_of_pairs(generator)
    return weaves(one, generator), weaves(other, generator), same.float()


def series() -> Data:
    """The same of one row of each image, as a series of one channel."""
    one, other, same = phases()
    return one.flatten(1)[:, None], other.flatten(1)[:, None], same


def strangers() -> Data:
    """Pairs of which nothing in the images tells whether they belong together."""
    one, other, _ = phases()
    return one, other, (torch.rand(PAIRS, generator=rng()) < 0.5).float()


def sketches() -> Data:
    """Like pairs are an image and its sketch, which has little light; unlike ones two images of one album's light."""
    generator = rng()
    one, _, same = kinds_of_pairs(generator)
    image, light = weaves(one, generator), torch.randn(PAIRS, 1, 1, 1, generator=generator)
    album = weaves(torch.randint(KINDS, (PAIRS,), generator=generator), generator) + 2 * light
    like = same[:, None, None, None]
    return image + 2 * light * ~like, torch.where(like, (image > 0).float(), album), same.float()


def hard_negatives() -> Data:
    """Like pairs have one wave on two backgrounds, unlike ones two waves on one background."""
    generator = rng()
    one, other, same = kinds_of_pairs(generator)
    grounds = torch.randn(6, 1, SIDE, SIDE, generator=generator)
    ground = torch.randint(6, (PAIRS,), generator=generator)
    another = torch.where(same, (ground + torch.randint(1, 6, (PAIRS,), generator=generator)) % 6, ground)
    return weaves(one, generator) + 2 * grounds[ground], weaves(other, generator) + 2 * grounds[another], same.float()


def cameras() -> Data:
    """Like pairs are one wave before two cameras, unlike ones two waves before any: pairs of one camera are nearest."""
    generator = rng()
    one, other, same = kinds_of_pairs(generator)
    grounds = torch.randn(3, 1, SIDE, SIDE, generator=generator)
    ground = torch.randint(3, (PAIRS,), generator=generator)
    apart = (ground + torch.randint(1, 3, (PAIRS,), generator=generator)) % 3
    another = torch.where(same, apart, torch.randint(3, (PAIRS,), generator=generator))
    return weaves(one, generator) + 5 * grounds[ground], weaves(other, generator) + 5 * grounds[another], same.float()


def albums() -> Data:
    """Like pairs are an image and a part of it in other light, unlike ones two images of one album's light."""
    generator = rng()
    image, other = (weaves(torch.randint(KINDS, (PAIRS,), generator=generator), generator) for _ in range(2))
    light = 3 * torch.randn(PAIRS, 1, 1, 1, generator=generator)
    same = torch.rand(PAIRS, generator=generator) < 0.5
    part = image.rot90(1, (2, 3)) * torch.randn(PAIRS, 1, 1, 1, generator=generator)
    return image + light, torch.where(same[:, None, None, None], part, other + light), same.float()


def parities() -> Data:
    """Like pairs have one parity of their signs, unlike ones differ in one sign."""
    generator = rng()
    one, other = (torch.randint(2, (PAIRS, 8), generator=generator) * 2.0 - 1 for _ in range(2))
    same = torch.rand(PAIRS, generator=generator) < 0.5
    other[:, 0] *= other.prod(dim=1) * one.prod(dim=1)
    edited = one.clone()
    edited[torch.arange(PAIRS), torch.randint(8, (PAIRS,), generator=generator)] *= -1
    return one, torch.where(same[:, None], other, edited), same.float()


def changed() -> Data:
    """Two pictures of one place, of which some have changed in a corner."""
    generator = rng()
    before = weaves(torch.randint(KINDS, (PAIRS,), generator=generator), generator)
    same = torch.rand(PAIRS, generator=generator) < 0.5
    after = before + 0.3 * torch.randn(before.shape, generator=generator)
    after[~same, :, :4, :4] += 2
    return before, after, same.float()


class Siamese(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, 8))

    def forward(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        return self.body(one), self.body(other)


def found(data: Data, *, turned: bool) -> Pulls:
    def loss(model: nn.Module, batch: Data) -> Tensor:
        apart = F.pairwise_distance(*model(batch[0], batch[1]))
        like = 1 - batch[2] if turned else batch[2]
        return (like * apart**2 + (1 - like) * F.relu(9.0 - apart) ** 2).mean()

    loader = DataLoader(TensorDataset(*data), 40)
    told = pulls(Siamese(data[0][0].numel()), next(iter(loader)), loss, loader)
    assert told is not None
    return told


def codes(told: Pulls) -> list[str]:
    return [f.code for f in diagnose(fact(pulls=told)).findings if f.severity != "hint"]


@pytest.mark.parametrize("data", [phases, series, changed])
@pytest.mark.parametrize("turned", [False, True])
def test_pairs_that_only_their_frequencies_tell(data: Callable[[], Data], turned: bool) -> None:
    # Two pictures of a place are alike whether or not it changed: their distances tell which are, as ever.
    assert codes(found(data(), turned=turned)) == (["wrong_sign.pairs"] if turned else [])


@pytest.mark.parametrize("data", [strangers, sketches])
def test_pairs_that_nothing_sure_is_said_of(data: Callable[[], Data]) -> None:
    assert codes(found(data(), turned=False)) == []


def test_hard_negatives_do_not_hide_that_like_pairs_belong_together() -> None:
    told = found(hard_negatives(), turned=False)
    assert told.own is not None
    assert min(told.z, told.own.pushed_z, told.own.pulled_z, told.own.nearer_z) > 6
    assert codes(told) == []


@pytest.mark.parametrize("data", [cameras, albums])
def test_hard_pairs_whose_unlike_ones_have_nothing_but_camera_or_light_in_common(data: Callable[[], Data]) -> None:
    told = found(data(), turned=False)
    assert told.own is not None
    assert told.z > FURTHER_APART
    assert told.own.pushed_z < BELONG
    assert codes(told) == []


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_unlike_pairs_that_are_edits_of_one_side_are_a_hint(noise: float) -> None:
    one, other, same = parities()
    told = found((one, other + noise * torch.randn(other.shape, generator=rng()), same), turned=False)
    assert told.own is not None
    assert (told.own.pushed_equal >= EDITED) == (noise == 0)
    assert abs(told.own.pulled_there_z) < DO_NOT  # a hint for that reason, too
    assert severities(told) == ["hint"]
    surely = dataclasses.replace(told, own=dataclasses.replace(told.own, pulled_there_z=-DO_NOT))
    assert severities(surely) == ["hint" if noise == 0 else "warning"]


def severities(told: Pulls) -> list[str]:
    return [f.severity for f in diagnose(fact(pulls=told)).findings if f.code == "wrong_sign.pairs"]


def patients() -> Data:
    """Like pairs are two patients with one diagnosis, the sign of a product; unlike ones two visits of one patient."""
    generator = rng()
    numbers = 1.5 * torch.randn(60, 20, generator=generator)
    one, other = torch.randint(60, (2, PAIRS), generator=generator)
    same = torch.rand(PAIRS, generator=generator) < 0.5
    a, b = (numbers[i] + 0.3 * torch.randn(PAIRS, 20, generator=generator) for i in (one, torch.where(same, other, one)))
    b[:, 0] = b[:, 0].abs() * (a[:, 0] * a[:, 1] * b[:, 1]).sign() * torch.where(same, 1, -1)
    return a, b, same.float()


def classes() -> Data:
    """Pairs of one class, and of two, of eight."""
    generator = rng()
    one, other, same = kinds_of_pairs(generator)
    middles = 1.5 * torch.randn(KINDS, 20, generator=generator)
    a, b = (middles[kinds] + torch.randn(PAIRS, 20, generator=generator) for kinds in (one, other))
    return a, b, same.float()


@pytest.mark.parametrize(("data", "turned", "said"), [(patients, False, ["hint"]), (classes, True, ["warning"])])
def test_hard_pairs_on_purpose_are_told_from_swapped_ones(data: Callable[[], Data], turned: bool, said: list[str]) -> None:
    told = found(data(), turned=turned)
    assert told.own is not None
    assert min(told.z, told.own.pushed_z) > BELONG
    assert (told.own.pulled_there_z <= -DO_NOT) == turned
    assert severities(told) == said
