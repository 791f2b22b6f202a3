"""What an output depends on: later tokens in every shape of output, other examples, and chance."""

import random

import pytest
import torch
from small_programs import batches, digits
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor.measure.influence import evaluation_noise, leakage, sees_later


class Reader(nn.Module):
    """Twelve symbols, 24 places; masked or not, and its output in one of the shapes that losses take."""

    def __init__(self, masked: bool, shape: str, time_first: bool = False) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(12, 32), nn.Linear(32, 12)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=not time_first, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.masked, self.shape, self.time_first = masked, shape, time_first

    def forward(self, words: Tensor) -> Tensor:
        length = len(words) if self.time_first else words.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length) if self.masked else None
        output = self.head(self.encoder(self.embedding(words), mask=mask))
        return {"last": lambda: output, "second": lambda: output.transpose(1, 2), "flat": lambda: output.flatten(0, 1)}[
            self.shape
        ]()


def texts(time_first: bool = False) -> Tensor:
    words = torch.randint(12, (16, 25), generator=torch.Generator().manual_seed(0))
    return words.T.contiguous() if time_first else words


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(
    ("shape", "time_first"), [("last", False), ("second", False), ("flat", False), ("last", True), ("flat", True)]
)
def test_later_tokens_are_seen_or_not(masked, shape, time_first):
    torch.manual_seed(0)
    words = texts(time_first)
    inputs = words[:-1] if time_first else words[:, :-1]
    change = sees_later(Reader(masked, shape, time_first), (inputs,), 0, time=0 if time_first else 1)
    assert change is not None
    assert (change > 1e-2) != masked
    assert masked == (change < 1e-4)


def test_a_reader_without_a_mask_is_named_where_classes_come_second():
    torch.manual_seed(0)
    words = texts()
    for masked in (True, False):
        model = Reader(masked, "second")
        found = check(model, batches(words[:, :-1], words[:, 1:]), F.cross_entropy).findings
        assert ("sees_future" in [f.rule for f in found]) != masked


class Teacher(nn.Module):
    """Chooses by Python's own generator, as where a decoder is sometimes given its own words."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(8))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([random.choice(list(self.layers))(x) for _ in range(4)]).sum(dim=0)


def test_a_model_that_draws_by_python_is_asked_with_the_same_draws():
    torch.manual_seed(0)
    before = random.getstate()
    assert leakage(Teacher(), (torch.randn(8, 4),)) == 0.0
    assert evaluation_noise(Teacher(), (torch.randn(8, 4),))["noise_source"] == "random"
    assert random.getstate() == before


def test_the_first_token_that_is_exchanged_is_one_that_differs():
    """A mark between a beginning and what follows is the same everywhere: to exchange it changes nothing."""
    torch.manual_seed(0)
    words = texts()
    words[:, 12] = 3
    model = Reader(True, "last")
    assert sees_later(model, (words,), 0) == 0.0
    assert (sees_later(model, (words,), 0, reach=1) or 0.0) > 0
    assert sees_later(model, (torch.full_like(words, 3),), 0) is None


def test_only_answers_that_are_asked_for_count():
    """A prefix that sees all of itself, and is asked for nothing."""

    class Prefix(Reader):
        def forward(self, words: Tensor) -> Tensor:
            allowed = torch.ones(words.shape[1], words.shape[1]).tril().bool()
            allowed[:, :15] = True
            return self.head(self.encoder(self.embedding(words), mask=~allowed))

    torch.manual_seed(0)
    words, asked = texts(), torch.arange(25).expand(16, -1) >= 14
    assert (sees_later(Prefix(True, "last"), (words,), 0) or 0.0) > 1e-3
    assert (sees_later(Prefix(True, "last"), (words,), 0, asked=asked) or 0.0) < 1e-4
    assert (sees_later(Reader(False, "last"), (words,), 0, asked=asked) or 0.0) > 1e-2


class Answers(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.body, self.head, self.how = nn.Linear(64, 32), nn.Linear(32, 10), how
        self.module, self.calls = nn.Dropout(0.5), 0

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x).relu()
        self.calls += 1
        if self.how == "function":
            hidden = F.dropout(hidden, 0.5)
        elif self.how == "function, told":
            hidden = F.dropout(hidden, 0.5, training=self.training)
        elif self.how == "module":
            hidden = self.module(hidden)
        elif self.how == "noise":
            hidden = hidden + 0.1 * torch.randn_like(hidden)
        elif self.how == "noise in training":
            hidden = hidden + 0.1 * torch.randn_like(hidden) * self.training
        elif self.how == "counts":
            hidden = hidden * (1 + 0.1 * self.calls)
        elif self.how == "attention":
            rows = hidden.view(-1, 1, 4, 8)
            hidden = F.scaled_dot_product_attention(rows, rows, rows, dropout_p=0.3).reshape(-1, 32)
        return self.head(hidden)


SOURCES = {
    "function": ("dropout", "warning"),
    "attention": ("dropout", "warning"),
    "noise": ("random", "hint"),
    "counts": ("state", "hint"),
    "function, told": None,
    "module": None,
    "noise in training": None,
    "none": None,
}


@pytest.mark.parametrize("how", SOURCES)
def test_answers_in_eval_mode_that_change_by_themselves(how):
    torch.manual_seed(0)
    x, y = digits()
    state = torch.get_rng_state()
    model = Answers(how)
    model_state = model.training
    found = [f for f in check(model, batches(x.flatten(1), y)).findings if f.rule == "random_evaluation"]
    expected = SOURCES[how]
    assert [(f.code, f.severity) for f in found] == ([(f"random_evaluation.{expected[0]}", expected[1])] if expected else [])
    assert model.training == model_state
    assert model.calls == 0
    assert len(state) == len(torch.get_rng_state())


def test_the_change_is_measured_against_the_size_of_the_output():
    class Adds(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1e-3 * torch.randint(2, x.shape).float()

    torch.manual_seed(0)
    change = evaluation_noise(Adds(), (torch.ones(8, 64),))["evaluation_noise"]
    assert change == pytest.approx(1e-3, rel=1e-2)


class Samples(nn.Module):
    """An encoder whose code is drawn in one of several ways, in eval mode, too."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.mean, self.log_variance, self.decoder = nn.Linear(6, 3), nn.Linear(6, 3), nn.Linear(3, 6)
        self.width = nn.Parameter(torch.ones(3))
        self.how = how

    def code(self, mean: Tensor, scale: Tensor) -> Tensor:
        match self.how:
            case "reparametrised":
                return mean + torch.randn_like(scale) * scale
            case "in place":
                return torch.randn(scale.shape).to(mean.device).mul_(scale).add_(mean)
            case "cooler":
                return mean + torch.randn_like(scale) * scale * 0.5
            case "addcmul":
                return torch.addcmul(mean, torch.randn_like(scale), scale)
            case "distribution":
                return torch.distributions.Normal(mean, scale).rsample()
            case "sampled distribution":
                return torch.distributions.Normal(mean, scale).sample()
            case "a constant scale":
                return mean + 0.1 * torch.randn_like(mean)
            case "a parameter as scale":
                return mean + self.width * torch.randn_like(mean)
            case "multiplied":
                return mean * torch.randn_like(mean)
            case "uniform":
                return mean + scale * torch.rand_like(mean)
            case _:  # a sample, and dropout by hand
                return (mean + torch.randn_like(scale) * scale) * torch.bernoulli(torch.full_like(mean, 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.code(self.mean(x), (0.5 * self.log_variance(x)).exp()))


@pytest.mark.parametrize(
    ("how", "source"),
    [
        ("reparametrised", "sample"),
        ("in place", "sample"),
        ("cooler", "sample"),
        ("addcmul", "sample"),
        ("distribution", "sample"),
        ("sampled distribution", "sample"),
        ("a constant scale", "random"),
        ("a parameter as scale", "random"),
        ("multiplied", "random"),
        ("uniform", "random"),
        ("a sample, and dropout by hand", "random"),
    ],
)
def test_a_sample_that_the_model_describes_is_told_from_other_noise(how: str, source: str) -> None:
    torch.manual_seed(0)
    assert evaluation_noise(Samples(how), (torch.randn(8, 6),))["noise_source"] == source


class ByName(nn.Module):
    """Takes its batch by name and returns a dict, as the models of Transformers do."""

    def __init__(self, mixes: bool, drops: bool) -> None:
        super().__init__()
        self.head, self.mixes, self.drops = nn.Linear(64, 10), mixes, drops

    def forward(self, pixel_values: Tensor | None = None, labels: Tensor | None = None) -> dict[str, Tensor]:
        assert pixel_values is not None
        hidden = pixel_values.softmax(0) * len(pixel_values) if self.mixes else pixel_values
        output = self.head(F.dropout(hidden, 0.2) if self.drops else hidden)
        return {"logits": output} if labels is None else {"loss": F.cross_entropy(output, labels), "logits": output}


@pytest.mark.parametrize(("mixes", "drops"), [(False, False), (True, False), (False, True)])
def test_a_model_that_takes_its_batch_by_name_is_asked_too(mixes, drops):
    torch.manual_seed(0)
    x, y = digits()
    batch = [{"pixel_values": a, "labels": b} for a, b in zip(x.flatten(1).split(64), y.split(64), strict=True)]
    diagnosis = check(ByName(mixes, drops), batch, training_step=lambda model, items: model(**items)["loss"])
    assert diagnosis.evidence.facts is not None
    assert diagnosis.evidence.facts.notes == ()
    found = [f.code for f in diagnosis.findings if f.severity != "hint"]
    assert found == (["batch_leakage"] if mixes else ["random_evaluation.dropout"] if drops else [])
