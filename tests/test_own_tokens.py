"""Monitor alone: tokens that are asked for themselves, beside sound loops that look like it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor, follow
from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.certain import facts_of

WORDS, LENGTH, ROWS = 12, 8, 6
TOKENS = torch.randint(WORDS, (ROWS, LENGTH + 1), generator=torch.Generator().manual_seed(0))


class Attention(nn.Module):
    """One layer of attention over words, by one of the ways in which it is written."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.words, self.head = way, nn.Embedding(WORDS, 8), nn.Linear(8, WORDS)
        self.three = nn.Linear(8, 24)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        if way == "buffer":
            self.register_buffer("mask", torch.tril(torch.ones(32, 32)))

    def forward(self, tokens: Tensor) -> Tensor:
        words = self.words(tokens)
        if self.way == "shifted words":
            words = F.pad(words[:, :-1], (0, 0, 1, 0))
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        if self.way in ("module", "shifted words"):
            return self.head(self.layer(words, src_mask=mask))
        if self.way == "whole module":
            return self.head(self.layer(words))
        q, k, v = self.three(words).chunk(3, dim=2)
        if self.way == "flag":
            return self.head(words + F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], is_causal=True)[:, 0])
        scores = q @ k.mT + (mask if self.way == "buffer" else 0)
        return self.head(words + scores.softmax(dim=2) @ v)


class Recurrent(nn.Module):
    def __init__(self, *, both_ways: bool = False, batch_first: bool = True, shifts: bool = False) -> None:
        super().__init__()
        self.words, self.shifts = nn.Embedding(WORDS, 8), shifts
        self.gru = nn.GRU(8, 8, batch_first=batch_first, bidirectional=both_ways)
        self.head = nn.Linear(16 if both_ways else 8, WORDS)

    def forward(self, tokens: Tensor) -> Tensor:
        words = self.words(tokens)
        return self.head(self.gru(F.pad(words[:, :-1], (0, 0, 1, 0)) if self.shifts else words)[0])


class WithLoss(nn.Module):
    """Computes the loss by itself, of flat logits, which it returns as well."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(tokens).flatten(0, 1)
        return logits, F.cross_entropy(logits, targets.flatten())


class Rebuilds(nn.Module):
    """An autoencoder: what it writes begins from what it has read."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(WORDS, 8), nn.Linear(8, WORDS)
        self.reads, self.writes = nn.GRU(8, 8, batch_first=True), nn.GRU(8, 8, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        words = self.words(tokens)
        state = self.reads(words)[1]
        return self.head(self.writes(F.pad(words[:, :-1], (0, 0, 1, 0)), state)[0])


def watched(model: nn.Module, targets: Tensor, given: Tensor | None = None, *, steps: int = 1) -> Evidence:
    given = TOKENS[:, :-1] if given is None else given
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with Monitor(model, optimizer, asks_step=False) as monitor:
        for _ in range(steps):
            optimizer.zero_grad()
            if isinstance(model, WithLoss):
                loss = model(given, targets)[1]
            else:
                loss = F.cross_entropy(model(given).flatten(0, 1), targets.flatten())
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert not any("stopped" in line for line in monitor.evidence().problems)
    return monitor.evidence()


def told(evidence: Evidence) -> str | None:
    return next((f.severity for f in diagnose(evidence).findings if f.code == "sees_future.unshifted"), None)


CAUSAL: dict[str, Callable[[], nn.Module]] = {
    **{way: lambda way=way: Attention(way) for way in ("module", "flag", "buffer")},
    "recurrent": Recurrent,
    "loss inside": lambda: WithLoss(Attention("buffer")),
}


@pytest.mark.parametrize("name", CAUSAL)
def test_a_token_that_is_asked_for_itself_is_told_and_the_next_is_not(name: str) -> None:
    torch.manual_seed(0)
    assert told(watched(CAUSAL[name](), TOKENS[:, :-1].clone())) == "warning"
    assert told(watched(CAUSAL[name](), TOKENS[:, 1:].clone())) is None


def test_steps_may_come_first() -> None:
    torch.manual_seed(0)
    given = TOKENS[:, :-1].T.contiguous()
    assert told(watched(Recurrent(batch_first=False), given.clone(), given)) == "warning"


@pytest.mark.parametrize(
    "model",
    [lambda: Attention("whole module"), lambda: Attention("inline"), lambda: Recurrent(both_ways=True), Rebuilds],
)
def test_where_the_model_may_rebuild_its_input_it_is_a_hint(model: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    assert told(watched(model(), TOKENS[:, :-1].clone())) == "hint"


@pytest.mark.parametrize("model", [lambda: Attention("shifted words"), lambda: Recurrent(shifts=True)])
def test_a_model_that_shifts_its_words_is_rightly_asked_for_the_token(model: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    assert told(watched(model(), TOKENS[:, :-1].clone())) is None


class FromLastState(nn.Module):
    """Rebuilds a sentence from the last state of a recurrent layer, all words at once."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.gru, self.head = nn.Embedding(WORDS, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(8, LENGTH * WORDS)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.gru(self.words(tokens))[1][-1]).view(-1, LENGTH, WORDS)


def test_a_recurrent_encoder_is_not_a_causal_model() -> None:
    assert told(watched(FromLastState(), TOKENS[:, :-1])) == "hint"


@pytest.mark.parametrize("shifted", [True, False])
def test_next_tokens_that_are_mostly_those_before_are_told_from_the_same(shifted: bool) -> None:
    """Sentences of one word, of which one in forty places is another."""
    rng = torch.Generator().manual_seed(1)
    tokens = torch.randint(WORDS, (64, 1), generator=rng).expand(64, LENGTH + 1).clone()
    tokens[::4, 5:] = (tokens[::4, :1] + 1) % WORDS
    given, targets = tokens[:, :-1].contiguous(), tokens[:, 1:] if shifted else tokens[:, :-1]
    found = told(watched(Attention("module"), targets, given))
    facts = facts_of(
        Attention("module"), (given, targets), loss_fn=lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten())
    )
    assert (found, facts.unshifted) == ((None, False) if shifted else ("warning", True))


def test_words_that_are_masked_and_asked_for_are_not_the_input() -> None:
    torch.manual_seed(0)
    places = torch.rand(ROWS, LENGTH) < 0.3
    given = TOKENS[:, :-1].masked_fill(places, 0)
    targets = TOKENS[:, :-1].masked_fill(~places | (TOKENS[:, :-1] == 0), -100)
    assert told(watched(Attention("whole module"), targets, given)) is None


def test_a_loss_that_falls_is_no_success_then() -> None:
    torch.manual_seed(0)
    evidence = watched(Recurrent(), TOKENS[:, :-1].clone(), steps=200)
    assert diagnose(evidence).verdict == "cannot tell"
    assert diagnose(replace(evidence, facts=None)).verdict != "cannot tell"


def test_a_loop_without_a_line_tells_it_too_and_no_mode_is_left_behind() -> None:
    watch = follow()
    torch.manual_seed(0)
    model = Recurrent()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):  # a later sampled step is read inside its backward pass
        optimizer.zero_grad()
        loss = F.cross_entropy(model(TOKENS[:, :-1]).flatten(0, 1), TOKENS[:, :-1].flatten())
        loss.backward()
        optimizer.step()
    assert torch._C._len_torch_function_stack() == 0
    watch.end(None)
    (diagnosis,) = watch.diagnoses.values()
    assert told(diagnosis.evidence) == "error"  # as check says it: the step that was recorded is asked as well


class Translates(nn.Module):
    """Reads one sentence and says another: by recurrent layers or a Transformer, with one table of words or two.

    Args:
        shifts: the decoder shifts what it is fed by itself.
    """

    def __init__(self, way: str, *, shifts: bool = False) -> None:
        super().__init__()
        self.way, self.shifts = way, shifts
        self.words = nn.Embedding(WORDS, 8)
        self.other_words = self.words if way == "one table" else nn.Embedding(WORDS, 8)
        self.reads, self.says = (nn.GRU(8, 8, batch_first=way != "steps first") for _ in range(2))
        self.transformer = nn.Transformer(8, 2, 1, 1, 16, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, WORDS)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        words, said = self.words(source), self.other_words(target)
        if self.shifts:
            said = F.pad(said[:, :-1], (0, 0, 1, 0))
        if self.way == "transformer":
            mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
            return self.head(self.transformer(words, said, tgt_mask=mask))
        return self.head(self.says(said, self.reads(words)[1])[0])


def translated(model: nn.Module, source: Tensor, fed: Tensor, asked: Tensor) -> str | None:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with Monitor(model, optimizer) as monitor:
        loss = F.cross_entropy(model(source, fed).flatten(0, 1), asked.flatten())
        loss.backward()
        monitor.after_backward(loss)
        optimizer.step()
    return told(monitor.evidence())


SOURCE = torch.randint(WORDS, (ROWS, LENGTH), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("way", ["two tables", "one table", "transformer", "steps first"])
def test_a_decoder_that_is_fed_what_it_is_asked_for(way: str) -> None:
    torch.manual_seed(0)
    source, answers, model = SOURCE, TOKENS[:, 1:], Translates(way)
    before = torch.cat([torch.zeros_like(answers[:, :1]), answers[:, :-1]], dim=1)
    if way == "steps first":
        source, answers, before = (t.T.contiguous() for t in (source, answers, before))
    assert translated(model, source, answers, answers.clone()) == "warning"
    assert translated(model, source, before, answers) is None
    assert translated(model, answers, before, answers.clone()) is None  # an autoencoder: it has read what it says


@pytest.mark.parametrize("way", ["two tables", "one table", "transformer"])
def test_a_decoder_that_shifts_what_it_is_fed(way: str) -> None:
    torch.manual_seed(0)
    answers = TOKENS[:, 1:].contiguous()
    assert translated(Translates(way, shifts=True), SOURCE, answers, answers.clone()) is None
    assert translated(Translates(way, shifts=True), answers, answers, answers.clone()) is None


class TellsTags(nn.Module):
    """Words and marks beside them, both looked up, are read both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.marks = nn.Embedding(WORDS, 8), nn.Embedding(WORDS, 8)
        self.gru, self.head = nn.GRU(8, 8, batch_first=True, bidirectional=True), nn.Linear(16, WORDS)

    def forward(self, words: Tensor, marks: Tensor) -> Tensor:
        return self.head(self.gru(self.words(words) + self.marks(marks))[0])


def test_a_model_that_reads_all_of_what_it_rebuilds() -> None:
    torch.manual_seed(0)
    assert translated(TellsTags(), SOURCE, TOKENS[:, 1:].contiguous(), TOKENS[:, 1:]) is None
