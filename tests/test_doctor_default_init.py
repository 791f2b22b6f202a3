"""PyTorch's default initialisation in deep MLPs: the verdict says what was found and how far the band speaks for it."""

import math

import pytest
import torch
from default_init import DEPTHS, OPTIMIZERS, mlp
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.probe import probe
from trainability.doctor.theory.band import (
    BIASED_BUDGET_LOW,
    BUDGET_HIGH,
    BUDGET_LOW,
    DEFAULT_ADAM_TRAINED,
    DEFAULT_SGD_STUCK,
    DEFAULT_SGD_TRAINED,
    PILOT_DEPTH,
)


def diagnosed(depth: int, optimizer: str):
    torch.manual_seed(0)
    net = mlp(depth)
    images, labels = torch.randn(64, 64), torch.randint(10, (64,))
    return diagnose(Evidence(probe=probe(net, F.cross_entropy, images, labels, optimizer=OPTIMIZERS[optimizer](net))))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_the_verdict_gives_the_budget_the_band_and_what_differs_from_its_nets(depth, optimizer):
    diagnosis = diagnosed(depth, optimizer)
    budget = diagnosis.evidence.probe.log10_gain + math.log10(diagnosis.evidence.probe.input_mean_square)
    adam = optimizer.startswith("Adam")
    assert diagnosis.verdict == "cannot tell"
    assert f"{budget:+.1f}" in diagnosis.reason
    assert f"{BUDGET_LOW:g} to {BUDGET_HIGH:g}" in diagnosis.reason
    assert "biases" in diagnosis.reason
    assert ("Adam" in diagnosis.reason) is adam
    assert (f"{depth} weight layers" in diagnosis.reason) is (depth < PILOT_DEPTH)
    tried = [DEFAULT_ADAM_TRAINED] if adam else [DEFAULT_SGD_TRAINED, DEFAULT_SGD_STUCK]
    assert all(f"{value:g}" in diagnosis.reason for value in tried)
    (finding,) = [f for f in diagnosis.findings if f.rule == "gain_budget_low"]
    assert finding.severity == ("warning" if not adam and budget < BIASED_BUDGET_LOW else "hint")
