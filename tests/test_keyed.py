"""Random numbers that are functions: uniform, independent, and the same whatever is asked beside them."""

import pytest
import torch

from trainability import keyed

NUM = 20_000


def test_fold_tells_all_its_arguments_apart() -> None:
    seeds = {keyed.fold(a, b) for a in range(50) for b in range(50)}
    assert len(seeds) == 2500
    assert keyed.fold(1, 2) != keyed.fold(2, 1)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_mix_is_one_to_one() -> None:
    values = torch.arange(-100_000, 100_000, dtype=torch.int32)
    assert len(keyed.mix(values).unique()) == len(values)


def test_keys_differ_between_positions_epochs_and_seeds() -> None:
    positions = torch.arange(NUM)
    keys = torch.cat([keyed.example_keys(seed, epoch, positions) for seed in (0, 1) for epoch in (0, 1)])
    # 80,000 draws of 2^32: 0.7 collisions are expected.
    assert len(keys.unique()) >= len(keys) - 10


@pytest.mark.parametrize("high", [2, 5, 33, 225])
def test_integers_are_uniform(high: int) -> None:
    keys = keyed.stream(keyed.example_keys(1, 2, torch.arange(NUM)), 16)
    counts = torch.bincount(keyed.integers(keys, high), minlength=high)
    assert len(counts) == high
    expected = NUM / high
    chi2 = ((counts - expected) ** 2 / expected).sum().item()
    # Mean high - 1, standard deviation sqrt(2 (high - 1)): five of them.
    assert abs(chi2 - (high - 1)) < 5 * (2 * (high - 1)) ** 0.5 + 5


def test_streams_are_independent() -> None:
    keys = keyed.example_keys(0, 0, torch.arange(NUM))
    a, b = (keyed.integers(keyed.stream(keys, number), 1000).double() for number in (16, 17))
    assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1].item()) < 5 / NUM**0.5


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropped_share_per_unit_and_per_example(probability: float) -> None:
    keys = keyed.stream(keyed.example_keys(0, 5, torch.arange(2000)), 0)
    mask = keyed.dropped(keys, keyed.unit_codes(1000, "cpu"), probability).double()
    spread = (probability * (1 - probability)) ** 0.5
    assert mask.mean().item() == pytest.approx(probability, abs=5 * spread / (2000 * 1000) ** 0.5)
    assert (mask.mean(0) - probability).abs().max().item() < 5 * spread / 2000**0.5
    assert (mask.mean(1) - probability).abs().max().item() < 5 * spread / 1000**0.5


def test_masks_of_examples_and_of_units_are_uncorrelated() -> None:
    keys = keyed.example_keys(0, 5, torch.arange(400))
    mask = keyed.dropped(keys, keyed.unit_codes(4096, "cpu"), 0.5).double()
    between_examples = torch.corrcoef(mask) - torch.eye(400)
    assert between_examples.abs().max().item() < 6 / 4096**0.5
    between_units = torch.corrcoef(mask.T[:400]) - torch.eye(400)
    assert between_units.abs().max().item() < 6 / 400**0.5
