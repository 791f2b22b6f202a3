"""Attention weights that are normalised over another dimension than the keys, in several ways to write attention."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.measure.attention_axes import weights_astray

B, H, Q, K, W = 3, 2, 5, 7, 4


def tensors(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    q, k, v = (torch.randn(*shape[:-2], n, W, requires_grad=True) for n in (shape[-2], shape[-1], shape[-1]))
    return q, k, v


def by_matmul(dim: int) -> Tensor:
    q, k, v = tensors(B, H, Q, K)
    scores = q @ k.transpose(-2, -1) / math.sqrt(W)
    scores = scores.masked_fill(torch.zeros(Q, K, dtype=torch.bool), -1e9)
    return F.dropout(scores.softmax(dim), 0.1) @ v


def by_bmm(dim: int) -> Tensor:
    q, k, v = tensors(B, Q, K)
    return torch.bmm(torch.bmm(q, k.permute(0, 2, 1)).softmax(dim), v)


def by_einsum(dim: int) -> Tensor:
    q, k, v = tensors(B, H, Q, K)
    return torch.einsum("bhqk,bhkd->bhqd", torch.einsum("bhqd,bhkd->bhqk", q, k).softmax(dim), v)


def of_one(dim: int) -> Tensor:
    q, k, v = tensors(Q, K)
    return (q @ k.T).softmax(dim) @ v


def values_first(is_turned: bool) -> Tensor:
    """Attention over the places of an image: values (channels, places) times weights (places, places)."""
    x = torch.randn(B, W, K, requires_grad=True)
    weights = torch.bmm((x * 2).transpose(1, 2), x * 3).softmax(-1)
    return torch.bmm(x, weights.transpose(1, 2) if is_turned else weights)


def assignment(form: str) -> Tensor:
    """Nodes shared out to clusters, whose features are the sums of what they get; scores are products, too."""
    nodes, edges = torch.randn(B, K, W, requires_grad=True), torch.randn(B, K, K, requires_grad=True)
    shares = torch.bmm(edges, nodes[:, :, :2] * 2).softmax(-1)
    return shares.transpose(1, 2) @ nodes if form == "transposed" else nodes.transpose(1, 2) @ shares


def slots(is_divided: bool) -> Tensor:
    """Slots compete for inputs, and each takes the mean of what it got."""
    q, k, v = tensors(B, Q, K)
    weights = (q @ k.transpose(1, 2)).softmax(1)
    return weights / weights.sum(-1, keepdim=True) @ v


def both_ways(_: bool) -> Tensor:
    scores = torch.bmm(*(t if i == 0 else t.transpose(1, 2) for i, t in enumerate(tensors(B, Q, K)[:2])))
    return (scores.softmax(1) * scores.softmax(2)) @ tensors(B, Q, K)[2]


def layer(_: bool) -> Tensor:
    x = torch.randn(B, Q, W, requires_grad=True)
    return nn.MultiheadAttention(W, 2, batch_first=True)(x * 2, x, x)[0]


@pytest.mark.parametrize(
    ("answer", "words", "found"),
    [
        (by_matmul, -1, None),
        (by_matmul, -2, ((B, H, Q, K), 2, 3)),
        (by_matmul, 1, ((B, H, Q, K), 1, 3)),
        (by_bmm, -1, None),
        (by_bmm, 1, ((B, Q, K), 1, 2)),
        (by_bmm, 0, ((B, Q, K), 0, 2)),
        (by_einsum, -1, None),
        (by_einsum, -2, ((B, H, Q, K), 2, 3)),
        (of_one, 1, None),
        (of_one, 0, ((Q, K), 0, 1)),
        (values_first, True, None),
        (values_first, False, ((B, K, K), 2, 1)),
        (assignment, "transposed", None),
        (assignment, "behind", None),
        (slots, True, None),
        (both_ways, True, None),
        (layer, True, None),
    ],
)
def test_the_dimension_of_the_softmax_is_compared_with_the_sum(answer, words, found) -> None:
    loss = answer(words).square().mean()
    loss.backward()
    assert weights_astray(loss.grad_fn) == found
