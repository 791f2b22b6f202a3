"""Losses that ask for what was shown and never for what was hidden, beside sound losses of a part of the input."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor.measure.certain import facts_of

N, WIDTH, T, MASK = 24, 16, 12, 20
RNG = torch.Generator().manual_seed(0)
VALUES = torch.randn(N, WIDTH, generator=RNG)
MISSING = (torch.rand(N, WIDTH, generator=RNG) < 0.3).float()


class Rebuilder(nn.Module):
    """Told what is given, and which of it; or everything, by way of fewer numbers."""

    def __init__(self, inner: int = 40) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(2 * WIDTH, inner), nn.GELU(), nn.Linear(inner, WIDTH))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.net(torch.cat([x * mask, mask], dim=1))


def kept() -> Tensor:
    return (torch.rand(N, WIDTH) > 0.4).float()


def part(which: str, distance: Any = F.mse_loss) -> Any:
    def step(model: Any, batch: Any) -> Tensor:
        x, mask = batch[0], kept()
        given = x + 0.1 * torch.randn_like(x) if which == "shown, noisy" else x
        where = {"hidden": 1 - mask, "all": torch.ones_like(mask)}.get(which, mask)
        return (distance(model(given, mask), x, reduction="none") * where).sum() / where.sum()

    return step


def not_known(model: Any, batch: Any) -> Tensor:
    """What is missing in the data is no target."""
    x, missing = batch
    error = (model(x, 1 - missing) - x) ** 2
    return (error * (1 - missing)).sum() / (1 - missing).sum()


def cropped(model: Any, batch: Any) -> Tensor:
    begin = int(torch.randint(WIDTH // 2, (1,)))
    x = batch[0][:, begin : begin + WIDTH // 2]
    return F.mse_loss(model(x), x)


def columns(model: Any, batch: Any) -> Tensor:
    """An answer for a place goes by others alone, so that it is right to ask for what is shown."""
    mask = kept()
    return ((model(batch[0], mask) - batch[0]) ** 2 * mask).mean()


class Others(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return (x * mask) @ self.weight.tril(-1)


@pytest.mark.parametrize(
    ("model", "step", "wrong"),
    [
        (Rebuilder(), part("shown"), True),
        (Rebuilder(), part("shown", F.l1_loss), True),
        (Rebuilder(), part("hidden"), False),
        (Rebuilder(), part("all"), False),
        (Rebuilder(), part("shown, noisy"), False),
        (Rebuilder(inner=8), part("shown"), False),
        (Rebuilder(), not_known, False),
        (nn.Linear(WIDTH // 2, WIDTH // 2), cropped, False),
        (Others(), columns, False),
    ],
)
def test_values_that_are_shown_are_no_question(model: nn.Module, step: Any, wrong: bool) -> None:
    assert (facts_of(model, (VALUES, MISSING), training_step=step).asks_shown == "values") == wrong


class Joined(nn.Module):
    """Of values beside their mask in one tensor."""

    def __init__(self, inner: int = 40) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(2 * WIDTH, inner), nn.GELU(), nn.Linear(inner, WIDTH))

    def forward(self, both: Tensor) -> Tensor:
        return self.net(both.flatten(1)).reshape(len(both), -1, *both.shape[2:])


def joined(which: str, *, mask_first: bool = False, noise: float = 0.0) -> Any:
    def step(model: Any, batch: Any) -> Tensor:
        x = batch[0]
        mask = kept().reshape(x.shape)
        shown = (x + noise * torch.randn_like(x)) * mask
        found = model(torch.cat([mask, shown] if mask_first else [shown, mask], dim=1))
        where = mask if which == "shown" else 1 - mask
        return ((found - x) ** 2 * where).sum() / where.sum()

    return step


IMAGES = VALUES.reshape(N, 1, 4, 4)


@pytest.mark.parametrize(
    ("model", "step", "wrong"),
    [
        (Joined(), joined("shown"), True),
        (Joined(), joined("shown", mask_first=True), True),
        (Joined(), joined("hidden"), False),
        (Joined(), joined("hidden", mask_first=True), False),
        (Joined(), joined("shown", noise=0.1), False),
        (Joined(inner=8), joined("shown"), False),
    ],
)
@pytest.mark.parametrize("values", [VALUES, IMAGES])
def test_values_beside_their_mask_are_shown(model: nn.Module, step: Any, wrong: bool, values: Tensor) -> None:
    assert (facts_of(model, (values, MISSING), training_step=step).asks_shown == "values") == wrong


@pytest.mark.parametrize(
    ("kind", "wrong"), [("shown", True), ("hidden", False), ("missing", False), ("length", False), ("noisy", False)]
)
def test_monitor_holds_what_is_given_against_what_is_asked(kind: str, wrong: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, 40), nn.GELU(), nn.Linear(40, WIDTH))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(2):
            mask = (torch.arange(WIDTH) < torch.randint(4, WIDTH, (N, 1))).float() if kind == "length" else kept()
            target = VALUES * mask if kind == "missing" else VALUES
            given = VALUES * mask + (0.1 * torch.randn(N, WIDTH) if kind == "noisy" else 0.0)
            where = 1 - mask if kind == "hidden" else mask
            optimizer.zero_grad()
            loss = (((model(given) - target) ** 2) * where).sum() / where.sum()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert ("masked_targets.shown" in [f.code for f in monitor.diagnose().findings]) == wrong


def patches_of(images: Tensor) -> Tensor:
    return images.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).flatten(1, 3)  # (n, 16, 4)


class Patches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.into, self.mix, self.out = nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, images: Tensor, hidden: Tensor) -> Tensor:
        made = self.into(patches_of(images) * (1 - hidden)[..., None])
        return self.out(torch.tanh(made + self.mix(made.mean(dim=1, keepdim=True))))


@pytest.mark.parametrize("inverted", [True, False])
def test_patches_may_have_another_layout(inverted: bool) -> None:
    def step(model: Any, batch: Any) -> Tensor:
        hidden = (torch.rand(8, 16) < 0.5).float()
        where = 1 - hidden if inverted else hidden
        return (((model(batch[0], hidden) - patches_of(batch[0])) ** 2).mean(dim=2) * where).sum() / where.sum()

    images = torch.randn(8, 1, 8, 8, generator=RNG)
    assert (facts_of(Patches(), (images,), training_step=step).asks_shown == "values") == inverted


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.mix, self.out = nn.Embedding(MASK + 1, 16), nn.Linear(16, 16), nn.Linear(16, MASK + 1)

    def forward(self, ids: Tensor) -> Tensor:
        made = self.words(ids)
        return self.out(torch.tanh(made + self.mix(made.mean(dim=1, keepdim=True))))


class Hides(Words):
    """It is given the tokens, and hides those that are asked for."""

    def __init__(self, draws: bool) -> None:
        super().__init__()
        self.draws, self.hidden = draws, torch.zeros(N, T, dtype=torch.bool)

    def forward(self, ids: Tensor) -> Tensor:
        if self.draws:
            self.hidden = torch.rand(ids.shape) < 0.3
        return super().forward(ids.masked_fill(self.hidden, MASK))


@pytest.mark.parametrize("draws", [False, True])
def test_tokens_that_the_model_hides_by_itself(draws: bool) -> None:
    model = Hides(draws)
    model.hidden = torch.rand(N, T, generator=RNG) < 0.3
    ids = torch.randint(1, MASK, (N, T), generator=RNG)

    def step(model: Any, batch: Any) -> Tensor:
        logits = model(batch[0])
        return F.cross_entropy(logits[model.hidden], batch[0][model.hidden])

    assert facts_of(model, (ids,), training_step=step).asks_shown is None


def masked(kind: str) -> tuple[Tensor, Tensor]:
    ids = torch.randint(1, MASK, (N, T), generator=RNG)
    if kind == "autoencoder":
        ids = ids.masked_fill(torch.arange(T) >= torch.randint(4, T, (N, 1), generator=RNG), 0)
        return ids, ids.masked_fill(ids == 0, -100)
    labels = ids.clone() if kind in ("cloned", "turned") else ids
    where = torch.rand(N, T, generator=RNG) < 0.3
    if kind == "unmasked":
        return ids, ids.masked_fill(~where, -100)
    if kind == "prompt":  # of several words, which are given and not asked for
        return ids, ids.masked_fill(torch.arange(T) < 4, -100)
    some = torch.rand(N, T, generator=RNG)
    ids[where & (some < 0.8)] = MASK
    ids[where & (some > 0.9)] = 3
    if kind == "turned":
        return ids, labels.masked_fill(where, -100)
    return ids, labels.masked_fill(~where, -100)


WORDS = {"in place": "words", "turned": "others", "cloned": None, "autoencoder": None, "prompt": None, "unmasked": "some"}


@pytest.mark.parametrize(("kind", "wrong"), WORDS.items())
def test_labels_of_the_places_that_are_shown_are_told(kind: str, wrong: str | None) -> None:
    def loss_fn(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)

    model, (ids, labels) = Words(), masked(kind)
    assert facts_of(model, (ids, labels), loss_fn=loss_fn).asks_shown == wrong
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(2):
            optimizer.zero_grad()
            loss = loss_fn(model(ids), labels)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert ("masked_targets.shown" in [f.code for f in monitor.diagnose().findings]) == (wrong not in (None, "some"))
