"""Cosines as logits: what they are multiplied by, and along which dimension they were normalised."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.certain import facts_of

G = torch.Generator().manual_seed(0)
N = 32
ONE = torch.randn(N, 12, generator=G)
TWO = ONE + 0.3 * torch.randn(N, 12, generator=G)
CLASSES = torch.arange(N) % 8
OWN = torch.arange(N)
PROTOTYPES = torch.randn(8, 16, generator=G)

Step = Callable[[nn.Module], Tensor]


class Embedder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 16))
        self.scale = nn.Parameter(torch.tensor(0.07))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=1)


def both(m: nn.Module) -> tuple[Tensor, Tensor]:
    return unit(m(ONE)), unit(m(TWO))


def clip(m: nn.Module, factor: float) -> Tensor:
    a, b = both(m)
    logits = a @ b.t() * factor
    return (F.cross_entropy(logits, OWN) + F.cross_entropy(logits.t(), OWN)) / 2


def two_views(m: nn.Module, factor: float) -> Tensor:
    z = torch.cat(both(m))
    logits = (torch.mm(z, z.t()) * factor).masked_fill(torch.eye(2 * N, dtype=torch.bool), -1e9)
    return F.cross_entropy(logits, (torch.arange(2 * N) + N) % (2 * N))


def queue(m: nn.Module, factor: float) -> Tensor:
    a, b = both(m)
    negatives = a @ unit(torch.randn(64, 16, generator=torch.Generator().manual_seed(1))).t()
    logits = torch.cat([torch.matmul(a, b.t()), negatives], dim=1)
    return F.cross_entropy(factor * logits, OWN)


def prototypes(m: nn.Module, factor: float) -> Tensor:
    return F.cross_entropy(factor * F.linear(unit(m(ONE)), unit(PROTOTYPES)), CLASSES)


def pairwise(m: nn.Module, factor: float) -> Tensor:
    a, b = m(ONE), m(TWO)
    return F.cross_entropy(F.cosine_similarity(a[:, None], b[None], dim=2) * factor, OWN)


def learned(m: nn.Module) -> Tensor:
    a, b = both(m)
    return F.cross_entropy(a @ b.t() * m.scale, OWN)  # type: ignore[operator]


def margin(m: nn.Module) -> Tensor:
    cosines = F.linear(unit(m(ONE)), unit(PROTOTYPES))
    return F.cross_entropy(16 * (cosines - 0.2 * F.one_hot(CLASSES, 8)), CLASSES)


def redundancy(m: nn.Module) -> Tensor:
    a, b = (z / z.norm(dim=0) for z in (m(ONE), m(TWO)))
    return ((a.t() @ b - torch.eye(16)) ** 2).sum()


def features_apart(m: nn.Module) -> Tensor:
    a, b = (F.normalize(z, dim=0) for z in (m(ONE), m(TWO)))
    return F.cross_entropy(a.t() @ b / 0.5, torch.arange(16))


def across(m: nn.Module) -> Tensor:
    a, b = (F.normalize(z, dim=0) for z in (m(ONE), m(TWO)))
    return F.cross_entropy(a @ b.t() / 0.07, OWN)


FORMS = {form.__name__: form for form in (clip, two_views, queue, prototypes, pairwise)}
SOUND: dict[str, Step] = {
    "a learned scale": learned,
    "a margin": margin,
    "features that are made independent": redundancy,
    "features that are told apart": features_apart,
    "no temperature": lambda m: clip(m, 1.0),
    "products that are no cosines": lambda m: F.cross_entropy(0.07 * (m(ONE) @ m(TWO).t()), OWN),
    "a classifier": lambda m: F.cross_entropy(0.1 * F.linear(m(ONE), PROTOTYPES), CLASSES),
}


def facts(step: Step) -> Facts:
    found = facts_of(Embedder(), (ONE, TWO), training_step=lambda model, batch: step(model))
    assert found.notes == ()
    return found


def told(found: Facts) -> list[str]:
    codes = [f.code for f in diagnose(Evidence(facts=found)).findings]
    return [code for code in codes if code in ("capped_loss.temperature", "batch_leakage.normalised")]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("factor", "is_told"), [(0.07, True), (0.2, True), (1 / 0.07, False), (2.0, False)])
def test_what_cosines_are_multiplied_by(form: str, factor: float, is_told: bool) -> None:
    found = facts(lambda m: FORMS[form](m, factor))
    logits = {"two_views": 2 * N - 1, "queue": N + 64, "prototypes": 8}.get(form, N)
    assert found.cosine_scale == (pytest.approx(factor), logits)
    assert told(found) == (["capped_loss.temperature"] if is_told else [])


def test_embeddings_that_are_normalised_over_the_batch() -> None:
    assert told(facts(across)) == ["batch_leakage.normalised"]


@pytest.mark.parametrize("name", SOUND)
def test_sound_products(name: str) -> None:
    assert told(facts(SOUND[name])) == []
