"""Heads of attention that a view makes where a transpose is due, and those that are made as they should be."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor, check
from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.measure.certain import facts_of

B, T, H, D = 6, 10, 4, 3
C = H * D
X = torch.randn(B, T, C, generator=torch.Generator().manual_seed(0))
Y = torch.randn(B, T, C, generator=torch.Generator().manual_seed(1))

Heads = Callable[[Tensor], Tensor]


def transposed(x: Tensor, heads: int = H) -> Tensor:
    return x.view(len(x), x.shape[1], heads, -1).transpose(1, 2)


def viewed(x: Tensor) -> Tensor:
    return x.reshape(len(x), H, x.shape[1], D)


def in_batch(x: Tensor) -> Tensor:
    return transposed(x).reshape(-1, x.shape[1], D)


def viewed_in_batch(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[1], D)


def back(y: Tensor) -> Tensor:
    return y.transpose(1, 2).flatten(2)


def merged(y: Tensor) -> Tensor:
    return y.reshape(-1, y.shape[-2], C)


def from_batch(y: Tensor) -> Tensor:
    return back(y.unflatten(0, (-1, H)))


def by_hand(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.dropout((q @ k.transpose(-2, -1) / D**0.5).softmax(-1), 0.1) @ v


def masked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.matmul(q * D**-0.5, k.transpose(-2, -1))
    later = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -torch.inf).softmax(-1).matmul(v)


def in_words(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.einsum("bhts,bhsd->bhtd", torch.einsum("bhtd,bhsd->bhts", q, k).softmax(-1), v)


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class Attention(nn.Module):
    """Self-attention; how heads are made and put together, and what attends, are the case's own."""

    def __init__(
        self, split: Heads, merge: Heads, attend: Callable[[Tensor, Tensor, Tensor], Tensor], keys: Heads | None
    ) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.split, self.merge, self.attend, self.keys = split, merge, attend, keys or split

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return x + self.out(self.merge(self.attend(self.split(q), self.keys(k), self.keys(v))))


CASES = {
    "split by a view": ((viewed, merged, by_hand, None), "split"),
    "split by a view, put together as if not": ((viewed, back, masked, None), "split"),
    "split into the batch by a view": ((viewed_in_batch, merged, by_hand, None), "split"),
    "split by a view, fused": ((viewed, merged, causal, None), "split"),
    "split by a view, einsum": ((viewed, back, in_words, None), "split"),
    "queries right, keys and values not": ((transposed, back, causal, viewed), "split"),
    "put together by a view": ((transposed, merged, by_hand, None), "merged"),
    "put together by a view, fused": ((transposed, merged, causal, None), "merged"),
    "put together by a view, masked": ((transposed, merged, masked, None), "merged"),
    "put together out of the batch by a view": ((in_batch, merged, by_hand, None), "merged"),
    "sound": ((transposed, back, by_hand, None), None),
    "sound, fused": ((transposed, back, causal, None), None),
    "sound, einsum": ((transposed, back, in_words, None), None),
    "sound, in the batch": ((in_batch, from_batch, by_hand, None), None),
    "one head": ((lambda x: x, lambda y: y, by_hand, None), None),
    "one head, as a dimension": ((lambda x: x[:, None], lambda y: y[:, 0], by_hand, None), None),
}


def watched(model: nn.Module, x: Tensor, y: Tensor) -> Diagnosis:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Monitor(model, optimizer, every=2) as monitor:
        for _ in range(3):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    return monitor.diagnose()


def kind_of(model: nn.Module, x: Tensor = X, y: Tensor = Y) -> str | None:
    graph = facts_of(model, (x, y), loss_fn=F.mse_loss).graph
    assert graph is not None
    return graph.heads.kind if graph.heads is not None else None


@pytest.mark.parametrize("name", CASES)
def test_heads_that_a_view_makes(name: str) -> None:
    parts, kind = CASES[name]
    torch.manual_seed(0)
    model = Attention(*parts)
    assert kind_of(model) == kind
    assert any(f.code == "misread_heads" for f in watched(model, X, Y).findings) is (kind is not None)


class TokensOfImages(nn.Module):
    """Sound: channels first, as of pixels; the heads are channels, and pixels the places."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Conv1d(C, 3 * C, 1), nn.Conv1d(C, C, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.reshape(len(x), H, D, -1) for t in self.qkv(x.transpose(1, 2)).chunk(3, dim=1))
        y = v @ (q.transpose(-2, -1) @ k).softmax(-1).transpose(-2, -1)
        return self.out(y.reshape(len(x), C, -1)).transpose(1, 2)


class StepsFirst(nn.Module):
    """Sound: (places, batch, heads * width), of which batch and heads are one dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(C, 3 * C), nn.Linear(C, C)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.reshape(T, -1, D).transpose(0, 1) for t in self.qkv(x.transpose(0, 1)).chunk(3, dim=-1))
        return self.out(by_hand(q, k, v).transpose(0, 1).reshape(T, -1, C)).transpose(0, 1)


class Windows(nn.Module):
    """Sound: attention within windows of the places, and no heads."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(C, 3 * C)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.reshape(len(x), 2, T // 2, C) for t in self.qkv(x).chunk(3, dim=-1))
        return by_hand(q, k, v).reshape(x.shape)


class AmongHeads(nn.Module):
    """Sound: the features of one place attend to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(C, 3 * C)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.reshape(*x.shape[:2], H, D) for t in self.qkv(x).chunk(3, dim=-1))
        return by_hand(q, k, v).reshape(x.shape)


class FewKeys(nn.Module):
    """Sound: all heads share one key and value."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.kv = nn.Linear(C, C), nn.Linear(C, 2 * D)

    def forward(self, x: Tensor) -> Tensor:
        k, v = self.kv(x).chunk(2, dim=-1)
        return back(causal(transposed(self.q(x)), k[:, None].expand(-1, H, -1, -1), v[:, None].expand(-1, H, -1, -1)))


SOUND = {
    "pixels": TokensOfImages,
    "steps first": StepsFirst,
    "windows": Windows,
    "among heads": AmongHeads,
    "few keys": FewKeys,
    "PyTorch's own": lambda: nn.TransformerEncoderLayer(C, H, 16, batch_first=True),
}


@pytest.mark.parametrize("name", SOUND)
def test_attention_of_other_kinds(name: str) -> None:
    torch.manual_seed(0)
    model = SOUND[name]()
    assert kind_of(model) is None
    assert not [f for f in watched(model, X, Y).findings if f.code == "misread_heads"]


def test_as_many_heads_as_places_are_left_alone() -> None:
    torch.manual_seed(0)
    assert kind_of(Attention(viewed, merged, by_hand, None), X[:, :H], Y[:, :H]) is None


def test_check_names_the_view_and_the_remedy() -> None:
    torch.manual_seed(0)
    model = Attention(viewed, merged, by_hand, None)
    found = check(model, [(X, Y)] * 4, F.mse_loss, torch.optim.Adam(model.parameters()), rehearse_seconds=None).findings
    (first, *_) = found
    assert (first.code, first.severity) == ("misread_heads", "warning")
    assert "x.view(len(x), x.shape[1], 4, 3).transpose(1, 2)" in (first.remedy or "")
