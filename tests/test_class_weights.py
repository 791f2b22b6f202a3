"""Weights that are to undo an imbalance of classes, and make it worse."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as binary
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, Subset, SubsetRandomSampler, TensorDataset, WeightedRandomSampler

from trainability.doctor import Evidence, diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.audits import audit_data
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.loss_arguments import weighs_by_share, weighs_examples, wrong_argument


def marks(positives: int, count: int = 32) -> Tensor:
    return (torch.arange(count) < positives).float()


def classes(*counts: int) -> Tensor:
    return torch.cat([torch.full((count,), c) for c, count in enumerate(counts)])


@pytest.mark.parametrize(
    ("positives", "weight", "found"),
    [
        (4, 0.1, True),
        (4, 0.5, True),
        (4, 0.6, False),
        (4, 9.0, False),
        (9, 0.1, False),
        (0, 0.1, True),
        (28, 9.0, True),
        (28, 0.1, False),
    ],
)
def test_positives_that_are_rare_weigh_more(positives: int, weight: float, found: bool) -> None:
    given = (torch.zeros(32), marks(positives))
    word = wrong_argument("binary_cross_entropy_with_logits", given, {"pos_weight": torch.tensor(weight)})
    assert (word == ("binary_cross_entropy_with_logits", "rare_lighter")) is found


def test_each_mark_has_a_weight_of_its_own() -> None:
    target = torch.stack([marks(3), marks(5)], dim=1)
    for weight, found in (([0.1, 0.2], True), ([9.0, 5.0], False)):
        word = wrong_argument("binary_cross_entropy_with_logits", (target, target), {"pos_weight": torch.tensor(weight)})
        assert (word is not None) is found


@pytest.mark.parametrize(
    ("counts", "weights", "found"),
    [
        ((60, 12, 8), (0.75, 0.15, 0.1), True),
        ((60, 12, 8), (1.0, 5.0, 7.5), False),
        ((60, 12, 8), (3.0, 5.0, 1.0), False),  # of one pair the rarer weighs more
        ((30, 28, 22), (3.0, 2.0, 1.0), False),  # as chance has it
        ((12, 3, 1), (0.75, 0.2, 0.05), False),  # too few to say
        ((60, 12, 8), (1.0, 1.0, 0.0), False),  # a class is left out
    ],
)
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_rare_classes_weigh_more(name: str, counts: Any, weights: Any, found: bool) -> None:
    labels = classes(*counts)
    word = wrong_argument(name, (torch.zeros(len(labels), 3), labels, torch.tensor(weights)), {})
    assert (word == (name, "rare_lighter")) is found


@pytest.mark.parametrize(
    ("positives", "weight", "found"),
    [
        (20, 0.18, True),  # positives over negatives
        (20, 0.15, True),
        (20, 0.5, False),
        (2, 0.02, True),
        (2, 0.5, False),
        (0, 0.01, True),
        (0, 0.3, False),
        (112, 7.0, True),
        (112, 2.0, False),
        ([20, 4, 40], [0.18, 0.03, 0.45], True),
        ([20, 4, 40], [0.5, 0.5, 0.5], False),
    ],
)
def test_weights_for_marks_that_are_their_shares(positives: Any, weight: Any, found: bool) -> None:
    several = isinstance(positives, list)
    target = torch.stack([marks(p, 128) for p in positives], dim=1) if several else marks(positives, 128)
    given = {"pos_weight": torch.tensor(weight)}
    assert weighs_by_share("binary_cross_entropy_with_logits", (target, target), given) is found


@pytest.mark.parametrize(
    ("counts", "weights", "found"),
    [
        ((60, 12, 8), (0.75, 0.15, 0.1), True),
        ((60, 12, 8), (7.5, 5.0, 1.0), True),  # inverses, of other classes
        ((60, 12, 8), (1.0, 0.4, 0.4), False),
        ((60, 12, 8), (60.0, 1.0, 1.0), False),
        ((56, 8), (0.875, 0.125), True),
        ((56, 8), (1.0, 0.5), False),
    ],
)
def test_weights_for_classes_that_are_their_shares(counts: Any, weights: Any, found: bool) -> None:
    labels = classes(*counts)
    given = (torch.zeros(len(labels), len(counts)), labels, torch.tensor(weights))
    assert weighs_by_share("cross_entropy", given, {}) is found


G = torch.Generator().manual_seed(0)
MARKS = marks(180, 1280)[torch.randperm(1280, generator=G)]
ROWS = torch.randn(1280, 6, generator=G) + MARKS[:, None]
DATA = TensorDataset(ROWS, MARKS)
WHOLE = TensorDataset(torch.cat([ROWS, ROWS[MARKS == 0]]), torch.cat([MARKS, torch.zeros(1100)]))


class Listed(Dataset[Any]):
    def __len__(self) -> int:
        return len(DATA)

    def __getitem__(self, index: int) -> Any:
        return DATA[index]


def of_loader(loader: Any, weight: float) -> list[str]:
    facts = facts_of(
        torch.nn.Linear(6, 1),
        (ROWS[:128], MARKS[:128]),
        loss_fn=lambda o, t: binary(o[:, 0], t, pos_weight=torch.tensor(weight)),
        batches=loader,
    )
    return [f.severity for f in diagnose(Evidence(facts=facts)).findings if f.code == "class_imbalance.weights"]


# The share is 9/64 = 0.1406, positives over negatives are 9/55 = 0.1636.
@pytest.mark.parametrize(
    ("weight", "severity"),
    [
        (9 / 64, "warning"),
        (9 / 55, "warning"),
        (0.1651, "warning"),
        (0.1655, "hint"),
        (0.15, "hint"),
        (0.5, "hint"),
    ],
)
def test_weights_that_are_not_the_shares_of_the_data_may_be_meant(weight: float, severity: str) -> None:
    assert of_loader(DataLoader(DATA, 128, shuffle=True), weight) == [severity]


@pytest.mark.parametrize(
    ("loader", "severity"),
    [
        (DataLoader(Listed(), 128), "warning"),
        (list(DataLoader(DATA, 128)), "warning"),
        (DataLoader(Subset(WHOLE, range(1280)), 128, shuffle=True), "warning"),
        (DataLoader(WHOLE, 128, sampler=SubsetRandomSampler(range(1280))), "warning"),
        (DataLoader(WHOLE, 128, shuffle=True), "hint"),
        (DataLoader(DATA, 128, sampler=WeightedRandomSampler([1.0] * 1280, 1280)), "hint"),
        (DataLoader(DATA, 128, sampler=list(range(1280))), "hint"),
        (DataLoader(DATA, batch_sampler=[list(range(128))]), "hint"),
        (iter(DataLoader(DATA, 128)), "hint"),
    ],
)
def test_shares_are_those_of_what_the_loader_draws_evenly(loader: Any, severity: str) -> None:
    assert of_loader(loader, 9 / 55) == [severity]


def test_shares_of_all_data_that_was_split() -> None:
    assert of_loader(DataLoader(Subset(TensorDataset(ROWS, MARKS), range(1200)), 128), 9 / 55) == ["warning"]


@pytest.mark.parametrize(("power", "severity"), [(1.0, "warning"), (0.9, "hint")])
@pytest.mark.parametrize("inverse", [False, True])
def test_class_weights_are_compared_with_the_counts_of_the_data(power: float, severity: str, inverse: bool) -> None:
    labels = classes(900, 300, 200)[torch.randperm(1400, generator=torch.Generator().manual_seed(0))]
    weights = torch.tensor([900.0, 300.0, 200.0]) ** power
    weights = 1 / weights.sort().values if inverse else weights / weights.mean()
    inputs = torch.randn(1400, 6, generator=torch.Generator().manual_seed(1))
    facts = facts_of(
        torch.nn.Linear(6, 3),
        (inputs[:128], labels[:128]),
        loss_fn=lambda o, t: cross_entropy(o, t, weight=weights),
        batches=DataLoader(TensorDataset(inputs, labels), 128, shuffle=True),
    )
    found = [f.severity for f in diagnose(Evidence(facts=facts)).findings if f.code == "class_imbalance.weights"]
    assert found == [severity]


@pytest.mark.parametrize(
    ("weigh", "found"),
    [
        (lambda counts: counts / counts.sum(), ["warning"]),
        (lambda counts: counts / counts.max(), ["warning"]),
        (lambda counts: 1 / counts, []),
        (lambda counts: counts.max() / counts, []),
        (lambda counts: counts**-0.5, []),
        (lambda counts: (1 - 0.999) / (1 - 0.999**counts), []),  # effective numbers of samples
        (lambda counts: torch.ones(6), []),
        (lambda counts: torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 5.0]), []),
        (lambda counts: counts**0.5, []),
    ],
)
@pytest.mark.parametrize("size", [8, 32, 256])
def test_weights_of_many_classes_are_compared_with_the_data_set(weigh: Any, found: list[str], size: int) -> None:
    counts = torch.tensor([600.0, 400.0, 200.0, 120.0, 50.0, 30.0])
    labels = classes(*counts.long().tolist())[torch.randperm(1400, generator=torch.Generator().manual_seed(0))]
    inputs = torch.randn(1400, 6, generator=torch.Generator().manual_seed(1))
    facts = facts_of(
        torch.nn.Linear(6, 6),
        (inputs[:size], labels[:size]),
        loss_fn=lambda o, t: cross_entropy(o, t, weight=weigh(counts)),
        batches=DataLoader(TensorDataset(inputs, labels), size, shuffle=True),
    )
    told = [f.severity for f in diagnose(Evidence(facts=facts)).findings if f.code == "class_imbalance.weights"]
    assert [severity for severity in told if severity != "hint"] == found
    assert facts.notes == ()


UNEVEN = classes(1000, 300, 100)[torch.randperm(1400, generator=torch.Generator().manual_seed(0))]
PER_CLASS = torch.tensor([1000.0, 300.0, 100.0])


@pytest.mark.parametrize(
    ("drawn", "weights", "found"),
    [
        (1 / PER_CLASS[UNEVEN], 1 / PER_CLASS, True),
        (1 / PER_CLASS[UNEVEN], 1400 / (3 * PER_CLASS), True),
        (1 / PER_CLASS[UNEVEN], PER_CLASS**-0.5, False),  # 3 times, in place of 10
        (PER_CLASS[UNEVEN] ** -0.5, 1 / PER_CLASS, False),  # drawn three times as often, still
        (torch.ones(1400), 1 / PER_CLASS, False),
        (None, 1 / PER_CLASS, False),
        (1 / PER_CLASS[UNEVEN], torch.ones(3), False),
        (1 / PER_CLASS[UNEVEN], None, False),
    ],
)
def test_an_imbalance_is_undone_once(drawn: Tensor | None, weights: Tensor | None, found: bool) -> None:
    data = TensorDataset(torch.randn(1400, 6, generator=torch.Generator().manual_seed(1)), UNEVEN)
    sampler = WeightedRandomSampler(drawn, 1400) if drawn is not None else None  # type: ignore[arg-type]
    facts = facts_of(
        torch.nn.Linear(6, 3),
        data[:64],
        loss_fn=lambda o, t: cross_entropy(o, t, weight=weights),
        batches=DataLoader(data, 64, sampler=sampler, shuffle=sampler is None),
    )
    told = [f.severity for f in diagnose(Evidence(facts=facts)).findings if f.code == "class_imbalance.twice"]
    assert told == ["warning"] * found
    assert facts.notes == ()


@pytest.mark.parametrize(("weight", "found"), [(180 / 1280, False), (1100 / 180, True), (1.5, False)])
def test_an_imbalance_of_marks_is_undone_once(weight: float, found: bool) -> None:
    sampler = WeightedRandomSampler(torch.where(MARKS > 0, 1100 / 180, 1.0), 1280)  # type: ignore[arg-type]
    facts = facts_of(
        torch.nn.Linear(6, 1),
        DATA[:128],
        loss_fn=lambda o, t: binary(o[:, 0], t, pos_weight=torch.tensor(weight)),
        batches=DataLoader(DATA, 128, sampler=sampler),
    )
    assert (facts.readings.balanced_twice is not None) is found


SEVERAL = (torch.arange(24)[:, None] % torch.tensor([2, 3, 5, 7]) == 0).float()


@pytest.mark.parametrize(
    ("target", "given", "found"),
    [
        (SEVERAL, torch.zeros(24, 4), True),
        (SEVERAL / SEVERAL.sum(dim=1, keepdim=True).clamp(min=1), torch.zeros(24, 4), False),
        (torch.eye(4).repeat(6, 1), torch.zeros(24, 4), False),
        (torch.eye(4).repeat(6, 1) * 0.9 + 0.025, torch.zeros(24, 4), False),
        (SEVERAL.long(), torch.zeros(24, 2, 4), False),  # a class at each of four places
        (SEVERAL[:4], torch.zeros(4, 4), False),  # pairs of examples
    ],
)
def test_cross_entropy_takes_one_class(target: Tensor, given: Tensor, found: bool) -> None:
    word = wrong_argument("cross_entropy", (given, target), {})
    assert (word == ("cross_entropy", "several")) is found


def test_a_bag_of_words_that_is_rebuilt_has_several() -> None:
    for given, word in ((SEVERAL, None), (torch.randn(24, 4), ("cross_entropy", "several"))):
        facts = facts_of(torch.nn.Linear(4, 4), (given, SEVERAL), loss_fn=cross_entropy)
        assert facts.wrong_argument == word


def test_weights_of_classes_in_a_loss_of_each_example_by_itself() -> None:
    weight, inputs, labels = torch.tensor([0.5, 0.3, 0.2]), torch.randn(32, 6), torch.arange(32) % 3
    facts = facts_of(
        torch.nn.Linear(6, 3),
        (inputs, labels),
        loss_fn=lambda o, t: torch.vmap(lambda a, b: cross_entropy(a[None], b[None], weight=weight, reduction="none"))(
            o, t
        ).sum(),
        batches=[(inputs, labels)],
    )
    assert facts.notes == ()
    assert not facts.weighs_by_share


@pytest.mark.parametrize(
    ("settings", "weighs"),
    [
        ({"weight": torch.tensor([1.0, 9.0, 30.0])}, True),
        ({"reduction": "none"}, True),
        ({"weight": torch.ones(3)}, False),
        ({"weight": None, "reduction": "mean"}, False),
    ],
)
def test_a_loss_may_count_some_classes_for_more(settings: dict[str, Any], weighs: bool) -> None:
    given = torch.zeros(4, 3), torch.tensor([0, 0, 1, 2])
    assert weighs_examples("cross_entropy", given, settings) is weighs
    assert not weighs_examples("mse_loss", given, settings)


def test_a_loss_of_marks_may_count_the_positive_ones_for_more() -> None:
    given, settings = (torch.zeros(4), marks(1, 4)), {"pos_weight": torch.tensor(3.0)}
    assert weighs_examples("binary_cross_entropy_with_logits", given, settings)
    assert not weighs_examples("binary_cross_entropy_with_logits", given, {"pos_weight": None})


@pytest.mark.parametrize(("positives", "found"), [(19, True), (21, False), (181, True), (179, False), (0, False)])
@pytest.mark.parametrize("kind", ["column", "row", "classes"])
def test_a_rare_label_of_two_is_a_hint(positives: int, found: bool, kind: str) -> None:
    labels = marks(positives, 200)
    labels = labels.long() if kind == "classes" else labels[:, None] if kind == "column" else labels
    data = audit_data([(torch.randn(200, 5, generator=torch.Generator().manual_seed(0)), labels)])
    assert data.train.positive == (pytest.approx(positives / 200) if positives else None)
    told = [f for f in diagnose(Evidence(data=data)).findings if f.code == "class_imbalance"]
    assert [f.severity for f in told] == ["hint"] * found
    weighed = Evidence(data=data, facts=Facts(weighs_examples=True))
    assert not [f for f in diagnose(weighed).findings if f.code == "class_imbalance"]
