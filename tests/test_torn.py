"""Images that were read with channels first though they are last in memory."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.audits import audit_data
from trainability.doctor.measure.torn import nine_in_ten, regrouped_over_own


def images(colours: int = 3, *, noise: float = 0.1, alike: float = 0.0) -> Tensor:
    """Smooth pictures with noise; `alike` is the share of a picture that its colours have in common."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.randn(64, colours, 6, 6, generator=rng) * (1 - alike) + alike * torch.randn(64, 1, 6, 6, generator=rng)
    fine = F.interpolate(coarse, size=(18, 18), mode="bilinear")
    return fine + noise * torch.randn(fine.shape, generator=rng)


def torn(x: Tensor) -> Tensor:
    """As stored with channels last, and viewed as if they were first."""
    return x.permute(0, 2, 3, 1).reshape(x.shape)


@pytest.mark.parametrize(("colours", "alike"), [(3, 0.0), (3, 0.9), (3, 1.0), (4, 0.5), (2, 0.5)])
def test_torn_images_are_named_and_whole_ones_are_not(colours: int, alike: float) -> None:
    whole, labels = images(colours, alike=alike), torch.arange(64) % 4
    for x, codes in ((whole, []), (torn(whole), ["channels_last.view"])):
        found = diagnose(Evidence(data=audit_data([(x, labels)]))).findings
        assert [f.code for f in found if f.code.startswith("channels_last")] == codes


def test_noise_is_as_rough_either_way() -> None:
    ratios = regrouped_over_own(torch.randn(256, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert ratios is not None
    assert float(ratios.median()) == pytest.approx(1.0, abs=0.02)
    assert nine_in_ten([ratios]) > 1.0


@pytest.mark.parametrize("shape", [(64, 1, 18, 18), (64, 5, 18, 18), (64, 3, 5, 18), (64, 3, 18)])
def test_other_shapes_are_not_asked(shape: tuple[int, ...]) -> None:
    assert regrouped_over_own(torch.randn(shape)) is None


def test_few_images_and_blank_ones_tell_nothing() -> None:
    assert nine_in_ten([]) is None
    assert nine_in_ten([torch.full((63,), 0.5)]) is None
    assert nine_in_ten([torch.full((63,), 0.5), torch.full((1,), 0.5)]) == 0.5
    assert len(regrouped_over_own(torch.ones(64, 3, 8, 8))) == 0
