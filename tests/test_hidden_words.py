"""Attention whose padding mask is upside down, beside the same with the mask as it should be."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.hidden_words import hides_words

LENGTH, WIDTH, WORDS = 9, 8, 40
RNG = torch.Generator().manual_seed(0)
SIZES = torch.tensor([4, 9, 6, 3, 8, 5, 7, 9, 4, 6, 5, 3])
PLACES = torch.arange(LENGTH)
BEHIND = SIZES[:, None] <= PLACES
IDS = torch.randint(2, WORDS, (12, LENGTH), generator=RNG).masked_fill(BEHIND, 0)
IDS[:, 0] = 1  # a mark of the beginning
FRONT = IDS.flip(1)
CLASSES = torch.arange(12) % 3
Mask = Callable[[Tensor], Tensor]


def boolean(hide: Tensor) -> Tensor:
    return hide


def numbers(hide: Tensor) -> Tensor:
    return torch.zeros(hide.shape).masked_fill(hide, -torch.inf)


class Reader(nn.Module):
    """Words and places, one layer of attention of some kind, and an answer from the first place or from the mean."""

    def __init__(self, attend: Callable[["Reader", Tensor, Tensor], Tensor], mask: Mask, *, inverted: bool, mean: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Parameter(torch.randn(LENGTH, WIDTH))
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0.1, batch_first=True)
        self.across = nn.TransformerDecoderLayer(WIDTH, 2, 16, dropout=0.1, batch_first=True)
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.head = nn.Linear(WIDTH, 3)
        self.attend, self.mask, self.inverted, self.mean = attend, mask, inverted, mean

    def forward(self, ids: Tensor) -> Tensor:
        hide = (ids != 0) if self.inverted else (ids == 0)
        made = self.attend(self, self.words(ids) + self.places, hide)
        return self.head(made.mean(dim=1) if self.mean else made[:, 0])


def encoder(model: Reader, x: Tensor, hide: Tensor) -> Tensor:
    return model.layer(x, src_key_padding_mask=model.mask(hide))


def cross(model: Reader, x: Tensor, hide: Tensor) -> Tensor:
    return model.across(model.places[None, :4].expand(len(x), -1, -1), x, memory_key_padding_mask=model.mask(hide))


def by_hand(model: Reader, x: Tensor, hide: Tensor) -> Tensor:
    scores = model.q(x) @ model.k(x).mT / WIDTH**0.5
    return x + scores.masked_fill(hide[:, None], -1e9).softmax(dim=-1) @ model.v(x)


def of_heads(model: Reader, x: Tensor, hide: Tensor) -> Tensor:
    q, k, v = (layer(x).unflatten(2, (2, 4)).transpose(1, 2) for layer in (model.q, model.k, model.v))
    keep = ~hide[:, None, None] if model.mask is boolean else model.mask(hide)[:, None, None]
    return x + F.scaled_dot_product_attention(q, k, v, attn_mask=keep).transpose(1, 2).flatten(2)


def pooled(model: Reader, x: Tensor, hide: Tensor) -> Tensor:
    share = model.q(x)[..., 0].masked_fill(hide, -1e9).softmax(dim=1)
    return (share[..., None] * model.v(x)).sum(dim=1, keepdim=True)


KINDS = [(encoder, boolean), (encoder, numbers), (cross, boolean), (cross, numbers), (by_hand, boolean), (of_heads, boolean)]
KINDS += [(of_heads, numbers), (pooled, boolean)]


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("inverted", [True, False])
@pytest.mark.parametrize(("attend", "mask"), KINDS)
@pytest.mark.parametrize("ids", [IDS, FRONT], ids=["behind", "in front"])
def test_a_mask_that_is_upside_down_is_told(attend: Any, mask: Mask, inverted: bool, mean: bool, ids: Tensor) -> None:
    model = Reader(attend, mask, inverted=inverted, mean=mean)
    facts = facts_of(model, (ids, CLASSES), loss_fn=F.cross_entropy)
    assert (facts.unread_words == "hidden") == inverted


@pytest.mark.parametrize("inverted", [True, False])
@pytest.mark.parametrize(
    ("attend", "mean"), [(encoder, False), (encoder, True), (cross, True), (by_hand, False), (of_heads, False), (pooled, True)]
)
def test_monitor_reads_it_off_the_call_or_the_gradient(attend: Any, inverted: bool, mean: bool) -> None:
    model = Reader(attend, boolean, inverted=inverted, mean=mean)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(3):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(IDS), CLASSES)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert ("ignored_end.padding" in [f.code for f in monitor.diagnose().findings]) == inverted


def test_what_tells_no_padding_is_left_alone() -> None:
    kept = FRONT != 0
    assert hides_words(kept, [FRONT])
    assert hides_words(~BEHIND, [SIZES])
    assert not hides_words(BEHIND, [SIZES])
    assert not hides_words(~kept, [kept.long(), kept.long().cumsum(1), (~kept).sum(1)])  # marks, places, where words begin
    assert not hides_words(~BEHIND, [torch.randint(1, 9, (12,), generator=RNG), CLASSES])
    features = torch.randn(12, LENGTH, 3, generator=RNG).masked_fill(BEHIND[..., None], 0.0)
    assert hides_words(~BEHIND, [features])
    assert not hides_words(BEHIND, [features])
    assert not hides_words(~BEHIND[:3], [IDS[:3]])
    assert hides_words(F.pad(~BEHIND, (1, 0)), [IDS])
    assert not hides_words(F.pad(BEHIND, (1, 0)), [IDS])


@pytest.mark.parametrize("inverted", [True, False])
def test_shares_that_no_softmax_makes_are_told_by_exchange(inverted: bool) -> None:
    def written_out(model: Reader, x: Tensor, hide: Tensor) -> Tensor:
        share = model.q(x)[..., :1].exp() * (~hide)[..., None]
        return x[:, :1] + (share * x).sum(dim=1, keepdim=True) / share.sum(dim=1, keepdim=True)

    rows = [k for k in range(12) if SIZES[k] < LENGTH]
    model = Reader(written_out, boolean, inverted=inverted, mean=False)
    facts = facts_of(model, (IDS[rows], CLASSES[rows]), loss_fn=F.cross_entropy)
    assert facts.unread_words == ("all" if inverted else None)


@pytest.mark.parametrize("opens", [0.0, 1.0])
def test_a_gate_that_is_closed_at_the_start_hides_nothing(opens: float) -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head, self.gate = (
                nn.Embedding(WORDS, WIDTH),
                nn.Linear(WIDTH, 3),
                nn.Parameter(torch.tensor(opens)),
            )

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.gate * self.words(ids).mean(dim=1) + (ids == 0).float().mean(dim=1, keepdim=True))

    assert facts_of(Gated(), (IDS, CLASSES), loss_fn=F.cross_entropy).unread_words is None
