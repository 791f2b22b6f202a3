"""A setup without a loss: classes are taken for cross-entropy, and amounts are refused."""

import pytest
import torch
from torch import Tensor, nn

import trainability

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
CLASSES = (X[:, 0] > 0).long()


@pytest.mark.parametrize(
    ("labels", "is_taken"),
    [
        (CLASSES, True),
        (nn.functional.one_hot(CLASSES, 2).float(), True),
        (X[:, :1], False),
        (X[:, 0], False),
        (X[:, :2], False),
        (CLASSES.float(), False),
    ],
)
def test_labels_that_are_no_classes_need_a_loss(labels: Tensor, is_taken: bool) -> None:
    torch.manual_seed(0)
    model = nn.Linear(6, 2)
    batches = list(zip(X.split(16), labels.split(16), strict=True))
    words = {"optimizer": torch.optim.SGD(model.parameters(), 0.1), "rehearse_seconds": 1}
    if is_taken:
        assert trainability.check(model, batches, **words).findings is not None
    else:
        with pytest.raises(ValueError, match="loss_fn"):
            trainability.check(model, batches, **words)
