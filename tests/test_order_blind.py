"""Tables of positions that tell no place from another, beside models that see positions, will see them, or have none."""

import pytest
import torch
from torch import Tensor, nn

from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.facts import look
from trainability.doctor.measure.order_blind import order_blind

T, WIDTH = 10, 16
RNG = torch.Generator().manual_seed(0)
WORDS, FEATURES = torch.randint(0, 30, (8, T), generator=RNG), torch.randn(8, T, WIDTH, generator=RNG)


class Reader(nn.Module):
    """Attention over words or features, with positions added in some way."""

    def __init__(self, how: str, *, gate: float = 1.0, each: bool = False, learned: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how, self.each = how, each
        self.words = nn.Embedding(30, WIDTH)
        table = torch.zeros(1, 32, WIDTH) if learned else torch.randn(1, 32, WIDTH)
        if learned:
            self.pos = nn.Parameter(table)
        elif how != "no table":
            self.register_buffer("pe", table)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.gate = nn.Parameter(torch.full((WIDTH,), gate))
        self.out = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        made = self.words(x) if not x.is_floating_point() else x
        length = made.shape[1]
        if self.how == "one row":
            made = made + self.pe[:, length]
        elif self.how == "by example":
            made = made + self.pe[0, : len(made), None]
        elif self.how == "each":
            made = made + (self.pos if hasattr(self, "pos") else self.pe)[:, :length]
        made = made + self.gate * self.attention(made, made, made)[0]
        return self.out(made if self.each else made.mean(dim=1))


class ByHand(nn.Module):
    """Attention of a softmax and two products, in a module whose name does not say it."""

    def __init__(self, *, added: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.pe, self.added = nn.Embedding(30, WIDTH), nn.Parameter(torch.randn(T, WIDTH)), added
        self.query, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        made = self.words(x) + (self.pe if self.added else 0.0)
        share = torch.softmax(self.query(made) @ made.transpose(1, 2), dim=-1)
        return self.out((share @ made).mean(dim=1))


CASES = {
    "written by hand, never added": (ByHand(added=False), WORDS, True),
    "written by hand": (ByHand(added=True), WORDS, False),
    "one row for all places": (Reader("one row"), WORDS, True),
    "one row, answers for each place": (Reader("one row", each=True), WORDS, True),
    "rows by example": (Reader("by example"), FEATURES, True),
    "never added": (Reader("not at all"), WORDS, True),
    "never added, three places": (Reader("not at all"), WORDS[:, :3], True),
    "two places": (Reader("not at all"), WORDS[:, :2], False),
    "a row for each place": (Reader("each"), WORDS, False),
    "a row for each place, three places": (Reader("each"), WORDS[:, :3], False),
    "a row for each place, answers for each": (Reader("each", each=True), FEATURES, False),
    "a gate that starts at zero": (Reader("each", gate=0.0), WORDS, False),
    "a gate that starts near zero": (Reader("each", gate=1e-6), WORDS, False),
    "a learned table of zeros": (Reader("each", learned=True), WORDS, False),
    "a set, without a table": (Reader("no table"), FEATURES, False),
}


@pytest.mark.parametrize("name", CASES)
def test_a_table_of_positions_that_answers_do_not_go_by(name: str) -> None:
    model, given, wrong = CASES[name]
    before = [p.detach().clone() for p in model.parameters()]
    found = order_blind(model, (given,))
    assert found == ("pe" if wrong else None)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("added", [True, False])
def test_a_table_that_nothing_calls_is_a_warning(added: bool) -> None:
    labels = torch.randint(0, 3, (8,), generator=torch.Generator().manual_seed(0))
    facts = look(ByHand(added=added), (WORDS, labels), lambda model, b: nn.functional.cross_entropy(model(b[0]), b[1]))
    found = {f.code: f.severity for f in diagnose(Evidence(facts=facts)).findings if f.rule == "unreached_parameter"}
    assert found == ({} if added else {"unreached_parameter.dropped": "warning"})
