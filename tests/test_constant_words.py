"""Tables in which one word is looked up, optimizers of frozen weights."""

import pytest
import torch
from torch import Tensor, nn

from trainability.doctor.audit_results import Relation
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts
from trainability.doctor.measure.columns import lone_word
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.optimizer_settings import optimizer_settings
from trainability.doctor.rules.verdict import diagnose


class Reader(nn.Module):
    """Looks words up and reads them with attention."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        read = self.words(x)
        return self.attention(read, read, read)[0].mean(dim=1)


def _facts(words: Tensor) -> dict:
    model = Reader()
    seen = ForwardPass(model, (words,))
    with seen:
        model(words).sum().backward()
    return seen.facts()


@pytest.mark.parametrize(
    ("rows", "constant"),
    [
        ([[4, 4, 4, 0], [4, 4, 0, 0], [4, 4, 4, 4]], True),  # one word, and padding behind it
        ([[0, 4, 4, 4], [0, 0, 4, 4], [4, 4, 4, 4]], True),
        ([[4, 0, 4, 0], [4, 4, 0, 0], [4, 4, 4, 4]], False),  # two words
        ([[4, 5, 6, 0], [4, 4, 0, 0], [4, 4, 4, 4]], False),
    ],
)
def test_one_word_beside_padding_is_constant(rows: list[list[int]], constant: bool) -> None:
    assert _facts(torch.tensor(rows))["constant_inputs"] == (("words",) if constant else ())


def unknown(share: float, others: int, *, padded: bool = False) -> Tensor:
    """Words of which a share is number 1, and the others so many different ones."""
    rng = torch.Generator().manual_seed(0)
    words = torch.randint(2, 2 + others, (32, 12), generator=rng)
    words[torch.rand(32, 12, generator=rng) < share] = 1
    if padded:
        words[torch.arange(12) >= torch.randint(4, 12, (32, 1), generator=rng)] = 0
    return words


WORDS = {
    "few known": (unknown(0.85, 4), True),
    "few known, padded": (unknown(0.85, 4, padded=True), True),
    "half of them, many others": (unknown(0.6, 80), False),
    "masked in most places": (unknown(0.9, 80), False),
    "padding alone is frequent": (unknown(0.0, 80, padded=True), False),
    "few words, none frequent": (unknown(0.0, 5), False),
}


@pytest.mark.parametrize("name", WORDS)
def test_one_word_for_most_and_few_others(name: str) -> None:
    words, is_lone = WORDS[name]
    found = lone_word("words", words, 100)
    assert (found is not None) == is_lone
    assert found is None or (found.word == 1 and found.num_words <= 5)


@pytest.mark.parametrize(
    ("seen", "severity"),
    [
        ({}, "hint"),
        ({"relation": Relation(num_examples=400, z=0.5)}, "warning"),
        ({"relation": Relation(num_examples=400, z=9.0)}, "hint"),
    ],
)
def test_a_lone_word_is_a_warning_where_it_tells_nothing(seen: dict, severity: str) -> None:
    found = lone_word("words", WORDS["few known"][0], 100)
    findings = diagnose(Evidence(facts=Facts(lone_word=found), **seen)).findings
    assert [(f.code, f.severity) for f in findings] == [("constant_input.unknown", severity)]


def test_frozen_weights_are_none_that_an_optimizer_trains() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    settings = optimizer_settings(torch.optim.SGD(model[0].parameters(), lr=0.1), model)
    assert (settings.managed, settings.unmanaged) == (0, ("1.weight", "1.bias"))
