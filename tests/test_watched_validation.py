"""Evaluation passes of scripts that are run: validation that does not mean what training does, beside sound loops like it."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor import Evidence, diagnose
from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.evidence import Sample
from trainability.doctor.facts import Facts
from trainability.doctor.held_out_seen import HeldOutSeen
from trainability.doctor.rules.watched_validation import contradicted
from trainability.loops.script_watch import ScriptWatch

CLASSES, WIDTH = 5, 12
CENTRES = 2 * torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(0))
CODES = ("validation_labels.renamed", "split_shift.meaning")


def examples(count: int, seed: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=rng)
    return CENTRES[labels] + torch.randn(count, WIDTH, generator=rng), labels


def loader(*parts: Tensor, size: int = 20) -> Any:
    return DataLoader(TensorDataset(*parts), batch_size=size, shuffle=True)


def net(*, norm: bool = False) -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, 64), nn.BatchNorm1d(64) if norm else nn.Identity(), nn.ReLU(), nn.Linear(64, CLASSES))


def fit(
    train: Any,
    held_out: Sequence[Any],
    *,
    epochs: int = 3,
    rate: float = 1e-2,
    model: nn.Module | None = None,
    every: int = 1,
    loss_fn: Callable[..., Tensor] = F.cross_entropy,
) -> nn.Module:
    """A loop as people write it."""
    model = net() if model is None else model
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for epoch in range(epochs):
        model.train()
        for x, y, *_ in train:
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()
        if (epoch + 1) % every:
            continue
        model.eval()
        with torch.no_grad():
            for each in held_out:
                sum((model(x).argmax(dim=1) == y).sum().item() for x, y in each)
    return model


def told(loop: Callable[[], object]) -> tuple[list[str], Diagnosis]:
    torch.manual_seed(0)
    watch = ScriptWatch(Path("script.py"), every=50, most_steps=None, place=None)
    watch.begin()
    try:
        loop()
    finally:
        watch.end(None)
    (diagnosis,) = watch.diagnoses.values()
    return [f.code for f in diagnosis.findings if f.severity != "hint"], diagnosis


TRAIN, VALIDATION = examples(1000, 1), examples(300, 2)
RENAMED = torch.tensor([2, 0, 1, 4, 3])[VALIDATION[1]]
SHUFFLED = VALIDATION[1][torch.randperm(300, generator=torch.Generator().manual_seed(3))]
RANDOM = torch.randint(CLASSES, (1000,), generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("norm", [False, True])
def test_classes_of_another_name_are_told(norm: bool) -> None:
    codes, diagnosis = told(lambda: fit(loader(*TRAIN), [loader(VALIDATION[0], RENAMED)], model=net(norm=norm)))
    assert codes == ["validation_labels.renamed"]
    assert "class 0 is 2" in diagnosis.findings[0].seen


def test_validation_that_means_something_else_is_told() -> None:
    codes, diagnosis = told(lambda: fit(loader(*TRAIN), [loader(VALIDATION[0], SHUFFLED)]))
    assert codes == ["validation_labels.shuffled"]  # by what the data show once the loop has ended
    assert diagnosis.findings[0].explains == ("split_shift",)  # by its evaluations
    codes, diagnosis = told(lambda: fit(loader(*TRAIN, torch.arange(1000)), [loader(VALIDATION[0], SHUFFLED)]))
    assert codes == ["split_shift.meaning"]  # of batches that are no pairs only these tell
    assert "300 examples" in diagnosis.findings[0].seen


def memorised() -> None:
    """Labels that nothing tells, learned one by one: validation stays at chance, and that is what was to be expected."""
    train = loader(TRAIN[0][:100], RANDOM[:100])
    fit(train, [loader(VALIDATION[0], SHUFFLED)], epochs=150, rate=3e-2)


def pairs_of_views(outputs: Tensor, _: Tensor) -> Tensor:
    """Of an embedding that is as wide as there are classes: which other one is its own, not which class."""
    return F.cross_entropy(5 * outputs @ outputs.detach().T, torch.arange(len(outputs)))


class Features(nn.Module):
    """Classes while it trains, and as many features in evaluation, as where people are found again by their likeness."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, CLASSES))
        self.head = nn.Linear(CLASSES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x)
        return self.head(features) if self.training else features


def attacked() -> None:
    """Evaluation of nothing but examples that an attack has changed."""
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(3):
        model.train()
        for x, y in loader(*TRAIN):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        for x, y in loader(*VALIDATION):
            x.requires_grad_()
            (slope,) = torch.autograd.grad(F.cross_entropy(model(x), y), x)
            with torch.no_grad():
                model(x + 5 * slope.sign()).argmax(dim=1)


SOUND: dict[str, Callable[[], object]] = {
    "features in evaluation": lambda: fit(loader(*TRAIN), [loader(VALIDATION[0], SHUFFLED)], model=Features()),
    "attacked": attacked,
    "labels that stand for several classes": lambda: fit(
        loader(*TRAIN), [loader(*(t[VALIDATION[1] < 4] for t in (VALIDATION[0], VALIDATION[1] // 2)))]
    ),
    "same meaning": lambda: fit(loader(*TRAIN), [loader(*VALIDATION)]),
    "memorised": memorised,
    "training evaluated": lambda: fit(train := loader(*TRAIN), [train]),
    "first asked late": lambda: fit(loader(*TRAIN), [loader(VALIDATION[0], SHUFFLED)], epochs=5, every=5),
    "norms that lag behind": lambda: fit(loader(*TRAIN), [loader(VALIDATION[0], SHUFFLED)], model=net(norm=True)),
    "a set of another kind beside it": lambda: fit(loader(*TRAIN), [loader(VALIDATION[0], SHUFFLED), loader(*VALIDATION)]),
    "few of them": lambda: fit(loader(*TRAIN), [loader(VALIDATION[0][:90], SHUFFLED[:90])]),
    "an embedding": lambda: fit(loader(*TRAIN), [loader(*VALIDATION)], loss_fn=pairs_of_views),
    "not learned yet": lambda: fit(loader(*TRAIN), [loader(VALIDATION[0], SHUFFLED)], rate=1e-4),
    "a shift of two classes": lambda: fit(
        loader(*TRAIN), [loader(VALIDATION[0] + 0.5 * (CENTRES[1] - CENTRES[0]), VALIDATION[1])]
    ),
    "classes to come": lambda: fit(
        loader(*(t[TRAIN[1] < 3] for t in TRAIN)), [loader(*VALIDATION), loader(*(t[VALIDATION[1] > 2] for t in VALIDATION))]
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_of_a_sound_loop_nothing_is_said(name: str) -> None:
    codes, _ = told(SOUND[name])
    assert not set(codes) & set(CODES)


def test_what_fits_later_is_no_finding() -> None:
    """A curriculum: what validation asks for comes last."""
    turned = (TRAIN[0], (TRAIN[1] + 1) % CLASSES)

    def loop() -> None:
        model = fit(loader(*turned), [])
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        del optimizer

    assert not set(told(loop)[0]) & set(CODES)
    early, late = seen(hits=0.1), seen(hits=0.9, loss=0.3, passes=8.0)
    assert of(early, early) == ["split_shift.meaning"]
    assert of(early, late) == []


def test_nothing_stays_behind_and_weights_are_the_same() -> None:
    from torch.utils.data.dataloader import _BaseDataLoaderIter

    before = _BaseDataLoaderIter.__next__
    kept: list[nn.Module] = []
    told(lambda: kept.append(fit(loader(*TRAIN), [loader(VALIDATION[0], SHUFFLED)])))
    assert _BaseDataLoaderIter.__next__ is before
    torch.manual_seed(0)
    alone = fit(loader(*TRAIN), [loader(VALIDATION[0], SHUFFLED)])
    assert all(torch.equal(a, b) for a, b in zip(kept[0].parameters(), alone.parameters(), strict=True))


def seen(**changes: Any) -> HeldOutSeen:
    usual = HeldOutSeen(
        step=100,
        num_examples=400,
        hits=0.2,
        most_frequent=0.2,
        loss=2.0,
        constant_loss=1.6,
        training_loss=0.5,
        passes=2.0,
    )
    return dataclasses.replace(usual, **changes)


def of(*passes: HeldOutSeen, task: str | None = "cross_entropy") -> list[str]:
    samples = (Sample(step=1, layers=(), task_loss=task),)
    return [f.code for f in diagnose(Evidence(facts=Facts(held_out=passes), samples=samples)).findings]


@pytest.mark.parametrize(
    "changes",
    [{"hits": 0.25}, {"loss": 1.5}, {"training_loss": 0.9}, {"passes": 4.0}, {"running": True}],
)
def test_each_part_of_it_is_needed(changes: dict[str, Any]) -> None:
    assert of(seen()) == ["split_shift.meaning"]
    assert of(seen(**changes)) == []
    assert of(seen(), task=None) == []
    assert of(seen(renamed=((0, 1), (1, 0)))) == ["validation_labels.renamed"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, True), ({"loss": 1.5}, False), ({"hits": 0.7}, False), ({"training_loss": 1.0}, False), ({"running": True}, True)],
)
def test_what_the_loop_s_own_evaluation_contradicts(changes: dict[str, Any], expected: bool) -> None:
    samples = (Sample(step=1, layers=(), task_loss="cross_entropy"),)
    evidence = Evidence(samples=samples, facts=Facts(held_out=(seen(**changes),)))
    assert (contradicted(evidence) is not None) == expected
