"""One sequence into another: an encoder and a decoder with attention, each with an optimizer of its own."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import CLIPPED, OUTSIDE, STALE
from programs.program import Data, Loop, Program, but, fault

SYMBOLS, LENGTH, WIDTH = 11, 6, 32  # symbol 0 starts an answer


@functools.cache
def phrases(train: bool) -> Data:
    """Six symbols from 1 to 10, and the same backwards with each symbol replaced by another."""
    rng = torch.Generator().manual_seed(160 if train else 161)
    source = torch.randint(1, SYMBOLS, (1500 if train else 300, LENGTH), generator=rng)
    other = torch.cat([torch.zeros(1, dtype=torch.long), torch.tensor([4, 7, 1, 9, 10, 2, 6, 3, 8, 5])])
    return source, other[source.flip(1)]


class Encoder(nn.Module):
    """A GRU in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.gru = nn.Embedding(SYMBOLS, 16), nn.GRU(16, WIDTH // 2, batch_first=True, bidirectional=True)

    def forward(self, source: Tensor) -> Tensor:
        """Symbols (n, 6) to states (n, 6, 32)."""
        return self.gru(self.table(source))[0]


class Writer(nn.Module):
    """A GRU that attends to the encoder's states, with what it wrote before as its input."""

    def __init__(self, *, over: int = 2, reads: bool = True) -> None:
        super().__init__()
        self.table, self.gru = nn.Embedding(SYMBOLS, 16), nn.GRU(16, WIDTH, batch_first=True)
        self.places, self.query, self.head = nn.Embedding(LENGTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(2 * WIDTH, SYMBOLS)
        self.over, self.reads = over, reads

    def forward(self, states: Tensor, written: Tensor) -> Tensor:
        """States (n, 6, 32) and symbols (n, t) to logits (n, t, 11)."""
        h = self.gru(self.table(written))[0]
        scores = self.query(h) @ (states + self.places(torch.arange(LENGTH))).mT / WIDTH**0.5
        found = scores.softmax(dim=self.over) @ states
        return self.head(torch.cat([h, found if self.reads else torch.zeros_like(found)], dim=2))


class Whole(nn.Module):
    """A transformer with encoder and decoder."""

    def __init__(self, *, causal: bool = True) -> None:
        super().__init__()
        self.table, self.places = nn.Embedding(SYMBOLS, WIDTH), nn.Parameter(0.3 * torch.randn(LENGTH, WIDTH))
        self.body = nn.Transformer(WIDTH, 4, 1, 1, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.head, self.causal = nn.Linear(WIDTH, SYMBOLS), causal

    def forward(self, source: Tensor, written: Tensor) -> Tensor:
        """Symbols (n, 6) and (n, t) to logits (n, t, 11)."""
        mask = nn.Transformer.generate_square_subsequent_mask(written.shape[1]) if self.causal else None
        h = self.table(written) + self.places[: written.shape[1]]
        return self.head(self.body(self.table(source) + self.places, h, tgt_mask=mask))


def started(target: Tensor) -> Tensor:
    """Targets shifted by one behind symbol 0: what the decoder is given."""
    return torch.cat([torch.zeros_like(target[:, :1]), target[:, :-1]], dim=1)


def turns(*, cut: bool = False, shifted: bool = True, clears: bool = True, both: bool = True, limit: float | None = None):
    """The body of a loop with two optimizers, sound unless asked otherwise."""

    def body(model: dict[str, nn.Module], optimizer: dict[str, Any], batch: list[Tensor], loop: Loop) -> Tensor:
        source, target = batch
        if clears:
            for each in optimizer.values():
                each.zero_grad()
        states = model["encoder"](source)
        logits = model["writer"](states.detach() if cut else states, started(target) if shifted else target)
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten())
        loss.backward()
        for name in model:
            loop.seen(loss, name)
        if limit is not None:
            nn.utils.clip_grad_norm_([p for m in model.values() for p in m.parameters()], limit)
        optimizer["writer"].step()
        if both:
            optimizer["encoder"].step()
        return loss

    return body


def _written(model: Any, source: Tensor) -> Tensor:
    """What is written symbol by symbol, the likeliest each time."""
    states = model["encoder"](source) if isinstance(model, dict) else source
    writer = model["writer"] if isinstance(model, dict) else model
    written = torch.zeros(len(source), 1, dtype=torch.long)
    for _ in range(LENGTH):
        written = torch.cat([written, writer(states, written)[:, -1].argmax(dim=1, keepdim=True)], dim=1)
    return written[:, 1:]


def rightness(model: Any, data: Data) -> float:
    """Share of right symbols where the model writes by itself, from chance."""
    right = float((_written(model, data[0]) == data[1]).float().mean())
    return (right - 0.1) / 0.9


def parts(model: dict[str, nn.Module]) -> dict[str, list]:
    """The parameters of each part for its own optimizer."""
    return {name: list(part.parameters()) for name, part in model.items()}


def _writer_twice(model: dict[str, nn.Module]) -> dict[str, list]:
    return {name: list(model["writer"].parameters()) for name in model}


def adams(groups: dict[str, list], lr: float) -> dict[str, torch.optim.Optimizer]:
    """AdamW for each part; the encoder's rate is half of the writer's."""
    return {name: torch.optim.AdamW(group, lr=lr * (0.5 if name == "encoder" else 1.0)) for name, group in groups.items()}


def sgds(groups: dict[str, list], lr: float) -> dict[str, torch.optim.Optimizer]:
    """SGD with momentum for each part."""
    return {name: torch.optim.SGD(group, lr=lr, momentum=0.9) for name, group in groups.items()}


def taught(*, shifted: bool = True, rolls: bool = False):
    """Cross-entropy of the transformer under teacher forcing."""

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        source, target = batch
        logits = model(source.roll(1, dims=0) if rolls else source, started(target) if shifted else target)
        return F.cross_entropy(logits.mT, target)

    return step


def narrow() -> dict[str, nn.Module]:
    """An encoder whose table at random tells its ten symbols badly apart."""
    encoder = Encoder()
    nn.init.normal_(encoder.table.weight, 0.0, 0.02)
    return {"encoder": encoder, "writer": Writer()}


ATTENDS = Program(
    model=lambda: {"encoder": Encoder(), "writer": Writer()},
    train=lambda: phrases(True),
    held_out=lambda: phrases(False),
    score=rightness,
    body=turns(),
    trained=parts,
    optimizer=adams,
    options={"lr": 0.02},
    steps=350,
)
NARROW = but(ATTENDS, model=narrow)
WHOLE = Program(
    model=Whole,
    train=lambda: phrases(True),
    held_out=lambda: phrases(False),
    score=rightness,
    training_step=taught(),
    options={"lr": 4e-3},
    steps=400,
)
SLOW = but(ATTENDS, optimizer=sgds, options={"lr": 0.4}, body=turns(limit=1.0), steps=700)

SOUND = {
    "translation": ATTENDS,
    "translation clipped": but(ATTENDS, body=turns(limit=1.0)),
    "translation from a small table": NARROW,
    "translation by transformer": WHOLE,
    "translation under sgd": SLOW,
}

FAULTS = {
    "writer holds both optimizers": fault(
        NARROW,
        "the encoder's optimizer is given the writer's parameters",
        f"{OUTSIDE} foreign_optimizer",
        trained=_writer_twice,
    ),
    "states detached for the writer": fault(
        NARROW,
        "the encoder's states are detached",
        "unreached_parameter zero_gradient unmoved_parameter.without_gradient untrained_parameter.no_gradient flat_loss",
        body=turns(cut=True),
    ),
    "encoder's optimizer never steps": fault(
        NARROW,
        "optimizer['encoder'].step() is missing",
        "never_steps untrained_parameter unmoved_parameter.with_gradient",
        body=turns(both=False),
    ),
    "writer is given the target itself": fault(
        ATTENDS, "teacher forcing without the shift", "sees_future", body=turns(shifted=False)
    ),
    "attention over the batch": fault(
        ATTENDS,
        "softmax(dim=0) over the scores",
        "batch_leakage",
        model=lambda: {"encoder": Encoder(), "writer": Writer(over=0)},
    ),
    "what attention finds is dropped": fault(
        ATTENDS,
        "zeros_like in the place of the context",
        "unreached_parameter constant_input untrained_parameter.zero_input",
        model=lambda: {"encoder": Encoder(), "writer": Writer(reads=False)},
    ),
    "phrases beside other answers": fault(
        WHOLE, "sources are rolled by one example", "shuffled_labels", training_step=taught(rolls=True)
    ),
    "two optimizers without zero_grad": fault(SLOW, "no zero_grad of either", STALE, body=turns(clears=False, limit=1.0)),
    "translation clipped at 1e-6": fault(SLOW, "max_norm=1e-6 over both parts", CLIPPED, body=turns(limit=1e-6)),
    "writer sees what it is to write": fault(
        WHOLE, "tgt_mask is not given", "sees_future", model=lambda: Whole(causal=False), training_step=taught()
    ),
}
