"""Tables in which one word is looked up, optimizers of frozen weights."""

import pytest
import torch
from torch import Tensor, nn

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.optimizer_settings import optimizer_settings


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


def test_frozen_weights_are_none_that_an_optimizer_trains() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    settings = optimizer_settings(torch.optim.SGD(model[0].parameters(), lr=0.1), model)
    assert (settings.managed, settings.unmanaged) == (0, ("1.weight", "1.bias"))
