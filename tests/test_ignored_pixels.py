"""A class of pixels that the loss ignores, beside pixels that nobody labelled."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of


@pytest.mark.parametrize(
    ("ignored", "outputs", "found"),
    [(0, 3, "hint"), (2, 3, "hint"), (-100, 3, None), (255, 3, None), (3, 3, None)],
)
def test_a_background_that_is_ignored(ignored: int, outputs: int, found: str | None) -> None:
    torch.manual_seed(0)
    masks = torch.randint(3, (16, 6, 6))
    if ignored in (-100, 255):
        masks[:, 0] = ignored
    model = nn.Conv2d(1, outputs, 3, padding=1)
    loss = lambda o, y: F.cross_entropy(o, y, ignore_index=ignored)  # noqa: E731
    facts = facts_of(model, (torch.randn(16, 1, 6, 6), masks), loss_fn=loss)
    said = {f.code: f.severity for f in diagnose(Evidence(facts=facts)).findings}
    assert said.get("masked_targets.class") == found
    assert "class_imbalance.ignored" not in said
