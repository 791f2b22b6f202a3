"""Names in notes: each word is tagged as nothing, or as a person, a place or a firm, by what stands before it."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.forum.causes import UNPAIRED
from programs.program import Data, Loop, Program, but, fault

LONGEST, TAGS = 30, 4


@functools.cache
def notes(train: bool, share: float = 0.12) -> Data:
    """Words (n, 30) from 1 to 79, zeros behind the last, and their tags, -100 behind the last.

    Words from 40 may be names; which kind is told by the word before: 1 and 2 a person, 3 and 4 a place, 5 and 6 a firm. A
    tenth of the words in front mislead.
    """
    rng = torch.Generator().manual_seed((9400 if train else 9401) + int(1000 * share))
    n = 900 if train else 300
    words = torch.randint(7, 80, (n, LONGEST), generator=rng)
    tags = torch.zeros(n, LONGEST, dtype=torch.long)
    for at in range(0, LONGEST - 1, 2):
        named = torch.rand(n, generator=rng) < 2 * share
        kind = torch.randint(1, TAGS, (n,), generator=rng)
        told = torch.where(torch.rand(n, generator=rng) < 0.1, torch.randint(1, TAGS, (n,), generator=rng), kind)
        front = 2 * told - torch.randint(2, (n,), generator=rng)
        words[:, at] = torch.where(named, front, words[:, at])
        words[:, at + 1] = torch.where(named, torch.randint(40, 80, (n,), generator=rng), words[:, at + 1])
        tags[:, at + 1] = torch.where(named, kind, tags[:, at + 1])
    gone = torch.arange(LONGEST) >= torch.randint(5, 12, (n, 1), generator=rng)
    return words.masked_fill(gone, 0), tags.masked_fill(gone, -100)


class Tagger(nn.Module):
    """A GRU in both directions and a linear layer at each word, (n, 4, t)."""

    def __init__(self, *, heeds: bool = True) -> None:
        super().__init__()
        self.words, self.heeds = nn.Embedding(80, 16), heeds
        self.gru, self.out = nn.GRU(16, 24, batch_first=True, bidirectional=True), nn.Linear(48, TAGS)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 30) to (n, 4, 30)."""
        return self.out(self.gru(self.words(x))[0]).transpose(1, 2)


def tagged(model: Any, data: Data) -> float:
    """Mean share of right tags over the tags, at words: 0 for always the same."""
    answers, target = model(data[0]).argmax(dim=1), data[1]
    each = [float((answers[target == tag] == tag).float().mean()) for tag in range(TAGS)]
    return (sum(each) / TAGS - 1 / TAGS) / (1 - 1 / TAGS)


def focal(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy that counts little where the answer is sure."""
    each = F.cross_entropy(output, target, reduction="none")
    return ((1 - torch.exp(-each)) ** 2 * each).sum() / (target >= 0).sum()


def weighted(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy in which names count twenty times."""
    return F.cross_entropy(output, target, torch.tensor([0.05, 1.0, 1.0, 1.0]))


def padded(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy in which padding is tag 0."""
    return F.cross_entropy(output, target.clamp_min(0))


def by_words(model: Any, batch: Any) -> Tensor:
    """The loss of a model in two parts."""
    return F.cross_entropy(model["tagger"](model["words"](batch[0])), batch[1])


class Rest(nn.Module):
    """A tagger without its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(16, 24, batch_first=True, bidirectional=True), nn.Linear(48, TAGS)

    def forward(self, h: Tensor) -> Tensor:
        """(n, 30, 16) to (n, 4, 30)."""
        return self.out(self.gru(h)[0]).transpose(1, 2)


def two_parts() -> dict[str, nn.Module]:
    """A sparse embedding and the rest."""
    return {"words": nn.Embedding(80, 16, sparse=True), "tagger": Rest()}


def both(model: dict[str, nn.Module]) -> dict[str, Any]:
    """What each of two optimizers is made of."""
    return {name: list(part.parameters()) for name, part in model.items()}


def two_optimizers(parts: dict[str, Any], lr: float) -> dict[str, Any]:
    """SparseAdam for the embedding, Adam for the rest."""
    return {"words": torch.optim.SparseAdam(parts["words"], lr), "tagger": torch.optim.Adam(parts["tagger"], lr)}


def turns(model: dict[str, nn.Module], optimizer: dict[str, Any], batch: Any, loop: Loop) -> Tensor:
    """Both step."""
    for each in optimizer.values():
        each.zero_grad()
    loss = loop.loss_of(model, batch)
    loss.backward()
    for name in model:
        loop.seen(loss, name)
    for each in optimizer.values():
        each.step()
    return loss


def tagged_by_two(model: Any, data: Data) -> float:
    """The same score for a model in two parts."""
    return tagged(lambda x: model["tagger"](model["words"](x)), data)


def _padding_by_the_end(train: bool) -> Data:
    """The words are moved to the end of their row, the tags are not."""
    x, y = notes(train)
    shift = (x == 0).sum(dim=1, keepdim=True)
    return x.gather(1, (torch.arange(LONGEST) - shift) % LONGEST), y


NOTES = Program(
    model=Tagger,
    train=lambda: notes(True),
    held_out=lambda: notes(False),
    score=tagged,
    loss=F.cross_entropy,
    options={"lr": 5e-3},
    steps=150,
)
RARE = but(
    NOTES,
    train=lambda: notes(True, 0.02),
    held_out=lambda: notes(False, 0.02),
    loss=weighted,
    optimizer=torch.optim.SGD,
    options={"lr": 0.5},
    steps=250,
)
IN_PARTS = but(
    NOTES,
    model=two_parts,
    loss=None,
    training_step=by_words,
    trained=both,
    optimizer=two_optimizers,
    body=turns,
    score=tagged_by_two,
)

SOUND = {
    "names in notes": NOTES,
    "names in notes by focal loss": but(NOTES, loss=focal),
    "rare names, weighted": RARE,
    "names by two optimizers": IN_PARTS,
}

FAULTS = {
    "padding counts as no name": fault(
        NOTES, "padding is tag 0 in the loss", "class_imbalance masked_targets constant_as_good", loss=padded
    ),
    "rare names, unweighted": fault(
        RARE,
        "one word in fifty is a name, and the classes are not weighted",
        "class_imbalance constant_as_good",
        loss=F.cross_entropy,
    ),
    "words padded in front, tags behind": fault(
        NOTES,
        "pad_sequences pads words in front and tags behind",
        UNPAIRED,
        train=lambda: _padding_by_the_end(True),
    ),
}
