"""Attention whose masked scores are filled with a number that hides nothing, and masks that hide."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of

G = torch.Generator().manual_seed(0)
N, T, D = 16, 10, 8
X = torch.randn(N, T, D, generator=G)
LENGTHS = torch.arange(N) % 7 + 3
HIDDEN = torch.arange(T) >= LENGTHS[:, None]  # (examples, places)
Y = torch.arange(N) % 3

Attend = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    def __init__(self, attend: Attend) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attend = attend
        self.q, self.k, self.v = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, D)
        self.score, self.out = nn.Linear(D, 1), nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.attend(self, x))


def heads(fill: float, hidden: Tensor = HIDDEN) -> Attend:
    def attend(net: Net, x: Tensor) -> Tensor:
        q, k, v = (layer(x).view(N, T, 2, D // 2).transpose(1, 2) for layer in (net.q, net.k, net.v))
        mask = hidden[:, None, None] if hidden.dim() == 2 and len(hidden) == N else hidden
        scores = (q @ k.transpose(-2, -1) / math.sqrt(D // 2)).masked_fill(mask, fill)
        return (scores.softmax(dim=-1) @ v).transpose(1, 2).reshape(N, T, D).mean(dim=1)

    return attend


def additive(fill: float) -> Attend:
    """Bahdanau's, one query for each example."""

    def attend(net: Net, x: Tensor) -> Tensor:
        scores = net.score(torch.tanh(net.k(x) + net.q(x.mean(dim=1, keepdim=True)))).squeeze(2)
        return torch.bmm(scores.masked_fill(HIDDEN, fill).softmax(dim=1).unsqueeze(1), x).squeeze(1)

    return attend


def chosen(fill: float) -> Attend:
    def attend(net: Net, x: Tensor) -> Tensor:
        scores = torch.where(~HIDDEN[:, None], net.q(x) @ net.k(x).transpose(1, 2), torch.tensor(fill))
        return (F.softmax(scores, dim=2) @ net.v(x)).mean(dim=1)

    return attend


def renormalised(net: Net, x: Tensor) -> Tensor:
    weights = net.score(x).squeeze(2).masked_fill(HIDDEN, 0.0).softmax(dim=1) * ~HIDDEN
    return torch.bmm((weights / weights.sum(dim=1, keepdim=True)).unsqueeze(1), x).squeeze(1)


def masked_twice(net: Net, x: Tensor) -> Tensor:
    weights = (net.q(x) @ net.k(x).transpose(1, 2)).masked_fill(HIDDEN[:, None], 0.0).softmax(dim=2)
    return (weights.masked_fill(HIDDEN[:, None], 0.0) @ net.v(x)).mean(dim=1)


def dropped(net: Net, x: Tensor) -> Tensor:
    return ((net.q(x) @ net.k(x).transpose(1, 2)).softmax(dim=2).masked_fill(HIDDEN[:, None], 0.0) @ net.v(x)).mean(dim=1)


def two_kinds(net: Net, x: Tensor) -> Tensor:
    near, far = net.q(x) @ net.k(x).transpose(1, 2), net.q(x) @ net.v(x).transpose(1, 2)
    return (torch.where(torch.eye(T, dtype=torch.bool), near, far).softmax(dim=2) @ net.v(x)).mean(dim=1)


def by_pytorch(net: Net, x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(net.q(x), net.k(x), net.v(x), attn_mask=~HIDDEN[:, None].expand(N, T, T)).mean(dim=1)


MISTAKES = {
    "heads": heads(1e-9),
    "heads, zero": heads(0.0),
    "causal": heads(-1e-9, torch.ones(T, T).triu(1).bool()),
    "additive": additive(1e-10),
    "where": chosen(0.0),
}
SOUND = {
    "minus infinity": heads(-math.inf),
    "a large number": heads(-1e9),
    "float16's": heads(-1e4),
    "the least number": additive(torch.finfo(torch.float32).min),
    "causal": heads(-math.inf, torch.ones(T, T).triu(1).bool()),
    "where": chosen(-1e9),
    "renormalised": renormalised,
    "masked twice": masked_twice,
    "dropped": dropped,
    "two kinds of scores": two_kinds,
    "PyTorch's": by_pytorch,
}


def told(attend: Attend) -> tuple[float | None, list[str]]:
    facts = facts_of(Net(attend), (X, Y), loss_fn=F.cross_entropy)
    assert facts.notes == ()
    found = facts.readings.soft_mask
    codes = [f.code for f in diagnose(Evidence(facts=facts)).findings]
    return found[1] if found is not None else None, [code for code in codes if code == "misread_heads.mask"]


@pytest.mark.parametrize("name", MISTAKES)
def test_masks_that_hide_nothing(name: str) -> None:
    weight, codes = told(MISTAKES[name])
    assert weight is not None
    assert 0.3 < weight < 3
    assert codes == ["misread_heads.mask"]


@pytest.mark.parametrize("name", SOUND)
def test_masks_that_hide(name: str) -> None:
    assert told(SOUND[name]) == (None, [])
