"""The entropy of a policy in its loss: taken off, as it is meant, or added; and entropies of what is no policy."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, Normal
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import check

X = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))


def policy(sign: float, kind: str = "discrete") -> Any:
    def training_step(model: nn.Module, batch: Any) -> Tensor:
        out = model(batch[0])
        chosen = Categorical(logits=out) if kind == "discrete" else Independent(Normal(out, F.softplus(out) + 0.1), 1)
        action = chosen.sample()
        reward = (action == batch[0].argmax(dim=1)).float() if kind == "discrete" else -(action - batch[0]).square().sum(dim=1)
        advantage = reward - reward.mean()
        return -(chosen.log_prob(action) * advantage).mean() + sign * 0.05 * chosen.entropy().mean()

    return training_step


def alike(model: nn.Module, batch: Any) -> Tensor:
    """Clusters: each example is sure, and all together are spread. Nothing is drawn."""
    out = model(batch[0])
    return Categorical(logits=out).entropy().mean() - Categorical(probs=out.softmax(dim=1).mean(dim=0)).entropy()


def read(model: nn.Module, batch: Any) -> Tensor:
    """The entropy is computed and not used."""
    chosen = Categorical(logits=model(batch[0]))
    action = chosen.sample()
    chosen.entropy()
    return -(chosen.log_prob(action) * (action == batch[0].argmax(dim=1)).float()).mean()


@pytest.mark.parametrize(
    ("step", "found"),
    [
        (policy(1.0), True),
        (policy(-1.0), False),
        (policy(0.0), False),
        (policy(1.0, "normal"), True),
        (policy(-1.0, "normal"), False),
        (alike, False),
        (read, False),
    ],
)
def test_the_sign_of_an_entropy(step: Any, found: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 4))
    loader = DataLoader(TensorDataset(X), 32)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    said = check(model, loader, training_step=step, optimizer=optimizer, rehearse_seconds=0.0)
    assert ("wrong_sign.entropy" in [f.code for f in said.findings]) == found
