"""A variational autoencoder of sentences reads all of each and asks for the next token: no leak. Without its code it is one."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.facts import look

WORDS, STEPS = 12, 9
TOKENS = torch.randint(WORDS, (64, STEPS + 1), generator=torch.Generator().manual_seed(0))


class Sentences(nn.Module):
    """An encoder and a causal decoder, as of Bowman et al., 2016; or the encoder's answers to each place beside the words."""

    def __init__(self, *, leaks: bool) -> None:
        super().__init__()
        self.words, self.head, self.leaks = nn.Embedding(WORDS, 8), nn.Linear(8, WORDS), leaks
        self.reads, self.writes = nn.GRU(8, 8, batch_first=True), nn.GRU(8, 8, batch_first=True)
        self.mean, self.spread = nn.Linear(8, 4), nn.Linear(8, 4)
        self.back = nn.Linear(4, 8)

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        words = self.words(tokens)
        if self.leaks:
            return self.head(self.writes(words + self.reads(words.flip(1))[0].flip(1))[0]), words
        last = self.reads(words)[1][0]
        mean, spread = self.mean(last), self.spread(last)
        code = mean + torch.randn_like(mean) * (spread / 2).exp()
        return self.head(self.writes(words, self.back(code)[None])[0]), mean, spread


def cost(model: nn.Module, tokens: Tensor) -> Tensor:
    logits, mean, *_ = model(tokens[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()) + 0.01 * mean.square().mean()


@pytest.mark.parametrize("leaks", [False, True])
def test_an_encoder_that_reads_the_whole_sentence_for_a_code_is_no_leak(leaks: bool) -> None:
    torch.manual_seed(0)
    facts = look(Sentences(leaks=leaks), TOKENS, cost)
    assert ("sees_future" in {f.rule for f in diagnose(Evidence(facts=facts)).findings}) is leaks


@pytest.mark.parametrize("leaks", [False, True])
def test_so_in_a_watched_loop(leaks: bool) -> None:
    torch.manual_seed(0)
    model = Sentences(leaks=leaks)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with Monitor(model, optimizer, every=5) as monitor:
        for _ in range(12):
            loss = cost(model, TOKENS)
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert ("sees_future" in {f.rule for f in monitor.diagnose().findings}) is leaks
