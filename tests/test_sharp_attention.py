"""Attention whose scores are too large at the start, beside ordinary, masked and unscaled attention."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import trainability
from trainability.doctor.measure.certain import facts_of

N, T, WIDTH, HEADS = 64, 12, 64, 4


class Attention(nn.Module):
    def __init__(self, scale: float, mask: str = "", is_layer: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scale, self.mask = scale, mask
        self.words = nn.Embedding(20, WIDTH)
        self.project = nn.Linear(WIDTH, 3 * WIDTH)
        self.layer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True) if is_layer else None
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        words = self.words(x)
        if self.layer is not None:
            return self.head(self.layer(words, words, words)[0].mean(dim=1))
        q, k, v = (t.view(len(x), T, HEADS, -1).transpose(1, 2) for t in self.project(words).chunk(3, dim=2))
        scores = self.scale * (q @ k.transpose(-2, -1))
        if self.mask == "causal":
            scores = scores.masked_fill(torch.ones(T, T).triu(1).bool(), -math.inf)
        elif self.mask == "padding":  # all but two keys
            scores = scores.masked_fill(torch.arange(T) > 1, -math.inf)
        return self.head((scores.softmax(-1) @ v).transpose(1, 2).reshape(len(x), T, WIDTH).mean(dim=1))


def words() -> tuple[Tensor, Tensor]:
    x = torch.randint(0, 20, (N, T), generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 9).long()


ROOT = math.sqrt(WIDTH / HEADS)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (lambda: Attention(ROOT * 4), True),
        (lambda: Attention(ROOT * 4, "causal"), True),
        (lambda: Attention(1 / ROOT), False),
        (lambda: Attention(1.0), False),  # without a scale
        (lambda: Attention(1 / ROOT, "causal"), False),
        (lambda: Attention(1 / ROOT, "padding"), False),
        (lambda: Attention(ROOT * 4, "padding"), False),  # of two keys one may well have most
        (lambda: Attention(1.0, is_layer=True), False),
    ],
)
def test_the_share_of_rows_with_one_key(model, told: bool) -> None:
    x, y = words()
    found = facts_of(model(), (x, y), loss_fn=F.cross_entropy).readings.sharp_attention
    assert (found is not None) is told
    if found is not None:
        assert found[0] == (N, HEADS, T, T)
        assert found[1] >= 0.4


@pytest.mark.parametrize(("scale", "codes"), [(ROOT * 4, ["saturation.attention"]), (1 / ROOT, [])])
def test_check_is_told(scale: float, codes: list[str]) -> None:
    x, y = words()
    loader = [(x[k : k + 16], y[k : k + 16]) for k in range(0, N, 16)]
    model = Attention(scale)
    said = trainability.check(model, loader, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=1e-3))
    assert [found.code for found in said.findings if found.rule == "saturation"] == codes
