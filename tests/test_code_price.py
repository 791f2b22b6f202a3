"""What a drawn code costs beside what it saves, of losses with the mistake and of sound ones that look like them."""

from collections.abc import Callable

import pytest
import torch
from small_programs import digits
from test_collapsed_codes import Sampling
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts
from trainability.doctor.measure.code_price import code_price
from trainability.doctor.rules.catalogue import RULES
from trainability.doctor.rules.summed_terms import summed_terms, weight_of_divergence

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # of output, divergence by number, and inputs

MISTAKEN: dict[str, Loss] = {
    "squares": lambda out, kl, x: F.mse_loss(out, x) + kl.sum(1).mean(),
    "by hand": lambda out, kl, x: ((out - x) ** 2).mean() + kl.sum() / len(x),
    "binary": lambda out, kl, x: F.binary_cross_entropy(out, x) + kl.sum(1).mean(),
    "by example": lambda out, kl, x: (F.mse_loss(out, x, reduction="none").mean(1) + kl.sum(1)).mean(),
}
SOUND: dict[str, Loss] = {
    "sums": lambda out, kl, x: (F.mse_loss(out, x, reduction="sum") + kl.sum()) / len(x),
    "a small weight": lambda out, kl, x: F.mse_loss(out, x) + 1e-3 * kl.sum(1).mean(),
    "a small variance": lambda out, kl, x: F.mse_loss(out, x) / (2 * 0.03**2) + kl.sum(1).mean(),
    "the best variance": lambda out, kl, x: 32 * F.mse_loss(out, x).log() + kl.sum(1).mean(),
    "free bits": lambda out, kl, x: F.mse_loss(out, x) + kl.mean(0).clamp(min=0.5).sum(),
    "a capacity": lambda out, kl, x: F.mse_loss(out, x) + (kl.sum(1).mean() - 10).abs(),
    "the start of a warm-up": lambda out, kl, x: F.mse_loss(out, x) + 0 * kl.sum(1).mean(),
    "a large weight beside sums": lambda out, kl, x: F.mse_loss(out, x, reduction="sum") / len(x) + 100 * kl.sum(1).mean(),
}


def price(loss: Loss, model: nn.Module | None = None) -> tuple[float, int, float] | None:
    torch.manual_seed(0)
    x = (digits()[0].flatten(1)[:64] + 1).clamp(0, 3) / 3

    def forward(model: nn.Module, batch: tuple[Tensor]) -> Tensor:
        output, mean, log_variance = model(batch[0])
        return loss(output, -0.5 * (1 + log_variance - mean.square() - log_variance.exp()), batch[0])

    return code_price(model or Sampling(), (x,), forward)


@pytest.mark.parametrize("name", MISTAKEN)
def test_a_divergence_beside_a_mean_weighs_as_often_as_an_example_has_numbers(name: str) -> None:
    found = price(MISTAKEN[name])
    assert found is not None
    assert found[0] == pytest.approx(64, rel=1e-3)
    assert found[1] == 64
    assert found[2] < 0.1


def test_a_mean_over_a_variance_weighs_more_than_a_mean() -> None:
    found = price(lambda out, kl, x: ((out - x) ** 2 / (2 * 0.25**2)).mean() + kl.sum(1).mean())
    assert found is not None
    assert found[0] == pytest.approx(8, rel=1e-3)
    assert found[2] < 0.5


@pytest.mark.parametrize("name", SOUND)
def test_sound_prices_are_not_told(name: str) -> None:
    assert price(SOUND[name]) is None


class Told(Sampling):
    """A decoder that is told the example, or a part of it, besides the code."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output, mean, log_variance = super().forward(x)
        return output * 0.5 + 0.5 * x.mean(1, keepdim=True), mean, log_variance


def test_a_condition_may_tell_what_the_code_does_not() -> None:
    assert price(MISTAKEN["squares"], Told()) is None


def test_two_means_weigh_as_often_as_numbers_come_on_one_of_the_code() -> None:
    found = price(lambda out, kl, x: F.mse_loss(out, x) + kl.mean())
    assert found is not None
    assert found[0] == pytest.approx(8, rel=1e-3)  # 64 numbers and 8 of the code: below what the rule asks for


@pytest.mark.parametrize(("saved", "words"), [(0.06, "reduction='sum'"), (0.025, "barely pays"), (0.01, "is too little")])
def test_a_sum_is_advised_where_it_pays(saved: float, words: str) -> None:
    """Of 64 numbers, a sum gives the weight 1/64; a code that saves 0.06 then saves 3.8 times what it costs."""
    price = (64.0, 64, saved)
    (found,) = summed_terms(Evidence(facts=Facts(code_price=price)))
    assert words in found.remedy
    weight = weight_of_divergence(price)
    assert weight == pytest.approx(1 / 64 if "sum'" in words else saved / 4)
    assert f"{weight:.2g}" in found.remedy
    assert all(m.threshold is not None and m.value != m.threshold for m in found.measurements)


def test_the_page_has_a_fix_for_each_code() -> None:
    fix = RULES["sum_for_mean"].sections["Fix"]
    assert "`beside_mean`" in fix
    assert "reduction='sum'" in fix
