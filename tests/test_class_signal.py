"""Validation's labels against training's: renamed or shuffled ones are named, hard data and another domain are not."""

import pytest
import torch
from small_programs import digits
from torch import Tensor, nn

from trainability.doctor import Evidence, audit_data, diagnose
from trainability.doctor.measure.class_signal import compared_labels, features_of

Split = tuple[Tensor, Tensor]


def of_digits() -> tuple[Split, Split]:
    x, y = digits()
    return (x[:1200], y[:1200]), (x[1200:], y[1200:])


def of_table() -> tuple[Split, Split]:
    generator = torch.Generator().manual_seed(0)
    centres, y = torch.randn(4, 20, generator=generator), torch.arange(1400) % 4
    x = centres[y] + 2 * torch.randn(1400, 20, generator=generator)
    return (x[:1000], y[:1000]), (x[1000:], y[1000:])


def of_texts() -> tuple[Split, Split]:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(1300) % 5
    x = torch.multinomial((torch.rand(5, 300, generator=generator) ** 8)[y], 30, True, generator=generator)
    return (x[:1000], y[:1000]), (x[1000:], y[1000:])


def with_noise(train: Split, share: float) -> Split:
    generator = torch.Generator().manual_seed(0)
    x, y = train
    other = torch.randint(int(y.max()) + 1, (len(y),), generator=generator)
    return x, torch.where(torch.rand(len(y), generator=generator) < share, other, y)


def imbalanced() -> tuple[Split, Split]:
    (x, y), validation = of_digits()
    kept = (y == 0) | (torch.arange(len(y)) % 4 == 0)
    return (x[kept], y[kept]), validation


SETS = {
    "digits": of_digits,
    "a table": of_table,
    "texts": of_texts,
    "noisy labels": lambda: (with_noise(of_digits()[0], 0.4), of_digits()[1]),
    "imbalanced": imbalanced,
    "few": lambda: tuple((x[: 300 if len(x) > 1000 else 110], y[: 300 if len(x) > 1000 else 110]) for x, y in of_digits()),
    "two classes": lambda: tuple((x, y % 2) for x, y in of_digits()),
}
RENAMED = {
    "reversed": lambda y, count: count - 1 - y,
    "from one": lambda y, count: y + 1,
    "turned": lambda y, count: (y + 1) % count,
}
DOMAINS = {
    "upside down": lambda x: x.flip(-2),
    "mirrored": lambda x: x.flip(-1),
    "inverted": lambda x: x.max() - x,
    "noisy": lambda x: x + torch.randn(x.shape, generator=torch.Generator().manual_seed(0)),
    "blurred": lambda x: nn.functional.avg_pool2d(x, 3, 1, 1),
    "turned": lambda x: x.rot90(1, (2, 3)),
}


def features(inputs: Tensor) -> Tensor:
    found = features_of(inputs)
    assert found is not None
    return found


def codes(train: Split, validation: Split) -> list[str]:
    batches = [list(zip(x.split(64), y.split(64), strict=True)) for x, y in (train, validation)]
    found = diagnose(Evidence(data=audit_data(*batches))).findings
    return [finding.code for finding in found if finding.rule == "validation_labels"]


@pytest.mark.parametrize("name", SETS)
def test_labels_that_agree_are_left_alone(name):
    assert codes(*SETS[name]()) == []


@pytest.mark.parametrize("renaming", RENAMED)
@pytest.mark.parametrize("name", ["digits", "a table", "texts", "noisy labels", "two classes"])
def test_renamed_classes_are_named(name, renaming):
    train, (x, y) = SETS[name]()
    assert codes(train, (x, RENAMED[renaming](y, int(y.max()) + 1))) == ["validation_labels.renamed"]


@pytest.mark.parametrize("name", ["digits", "a table", "texts", "noisy labels", "few"])
def test_shuffled_labels_are_named(name):
    train, (x, y) = SETS[name]()
    shuffled = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]
    assert codes(train, (x, shuffled)) == ["validation_labels.shuffled"]


def test_validation_that_is_far_noisier_is_not_called_shuffled():
    """As of a harder set: what it lacks is a signal, not an order."""
    rng = torch.Generator().manual_seed(0)
    centres, labels = torch.randn(6, 20, generator=rng), torch.randint(6, (1600,), generator=rng)
    x, noise = centres[labels], torch.randn(1600, 20, generator=rng)
    train = (x[:1300] + noise[:1300], labels[:1300])
    assert codes(train, (x[1300:] + 12 * noise[1300:], labels[1300:])) == []
    assert codes(train, (x[1300:] + noise[1300:], labels[1300:].roll(7))) == ["validation_labels.shuffled"]


def test_two_classes_exchanged_are_told():
    train, (x, y) = of_digits()
    exchanged = torch.tensor([1, 0, *range(2, 10)])[y]
    compared = compared_labels((features(train[0]), train[1]), (features(x), exchanged))
    assert compared is not None
    assert set(compared.renamed) == {(0, 1), (1, 0)}
    assert codes(train, (x, exchanged)) == ["validation_labels.renamed"]


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("name", ["digits", "noisy labels"])
def test_another_domain_is_no_other_name(name, domain):
    train, (x, y) = SETS[name]()
    assert codes(train, (DOMAINS[domain](x), y)) == []


def test_labels_that_say_nothing_in_training_say_nothing_here():
    (x, y), validation = of_digits()
    assert compared_labels((features(x), y[torch.randperm(len(y))]), (features(validation[0]), validation[1])) is None


def test_features_are_simple():
    assert features(torch.zeros(5, 3, 32, 32)).shape == (5, 48)
    assert features(torch.zeros(5, 20)).shape == (5, 20)
    assert features_of(torch.zeros(5, 3000)) is None
    counts = features(torch.tensor([[1, 1, 257], [2, 3, 4]]))
    assert counts[0, 1] == 3  # 257 falls into the place of 1
    assert counts.sum() == 6


@pytest.mark.parametrize(("count", "held_out", "lines"), [(2048, 256, 0), (33, 33, 3), (300, 150, 1)])
def test_what_is_too_little_is_said(count, held_out, lines):
    x, y = digits()
    x, y = (torch.cat([part, part])[:count] for part in (x, y))
    train, validation = [(x, y)], [(x[:held_out] + 0.1, y[:held_out])]
    notes = audit_data(train, validation).notes
    assert len(notes) == lines
    assert all(str(min(count, held_out)) in note for note in notes)
    assert set(notes) <= set(diagnose(audit_data(train, validation)).not_checked)
