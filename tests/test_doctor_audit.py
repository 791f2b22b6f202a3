"""Audits: data as the loop sees it, metric against known answers."""

import itertools
from typing import Any

import pytest
import torch
from rule_examples import probed
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from trainability.doctor import Evidence, audit_data, audit_metric, diagnose
from trainability.doctor.measure import later_classes
from trainability.doctor.measure.row_hashes import row_hashes


def images_and_labels(count: int = 600, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    patterns = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(9))
    return patterns[labels] + torch.randn(count, 3, 8, 8, generator=generator), labels


def loader(images, labels, batch_size: int = 50):
    return list(zip(images.split(batch_size), labels.split(batch_size), strict=True))


def rules(audit) -> list[str]:
    return [finding.rule for finding in diagnose(Evidence(data=audit)).findings]


def test_clean_data_has_no_finding():
    audit = audit_data(loader(*images_and_labels()), loader(*images_and_labels(200, seed=1)), num_classes=4)
    assert rules(audit) == []
    assert audit.train.num_images == 600
    assert audit.train.label_counts == tuple(torch.bincount(images_and_labels()[1]).tolist())
    assert audit.class_signal_z is not None
    assert audit.class_signal_z > 5


def test_moments_are_those_of_all_images():
    images, labels = images_and_labels()
    audit = audit_data(loader(images, labels))
    assert audit.train.channel_means == pytest.approx(images.mean(dim=(0, 2, 3)).tolist(), abs=1e-5)
    assert audit.train.channel_stds == pytest.approx(images.std(dim=(0, 2, 3)).tolist(), rel=1e-3)
    assert audit.train.minimum == pytest.approx(float(images.min()))
    assert audit.train.clipped_fraction == pytest.approx(2 / images.numel())


def test_colour_shift_after_normalisation_is_named():
    # The seed's: a shift of +-20 on normalised floats, clipped to [0, 1], on half of the training images.
    images, labels = images_and_labels()
    shift = torch.randint(-20, 21, (300, 3, 1, 1), generator=torch.Generator().manual_seed(3)).float()
    damaged = images.clone()
    damaged[:300] = (damaged[:300] + shift).clamp(0, 1)
    audit = audit_data(loader(damaged, labels), loader(*images_and_labels(200, seed=1)))
    diagnosis = diagnose(Evidence(data=audit))
    assert diagnosis.verdict == "broken data"
    assert diagnosis.findings[0].rule == "blank_images"
    assert "colour shift" in diagnosis.findings[0].cause
    assert audit.train.blank_fraction > 0.2


def test_shuffled_labels_are_seen():
    images, labels = images_and_labels()
    shuffled = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    assert rules(audit_data(loader(images, shuffled))) == ["shuffled_labels"]


@pytest.mark.parametrize("left_out", [0, 1])
def test_validation_beside_all_combinations_cannot_be_new(left_out):
    number = torch.arange(64)
    rows = ((number[:, None] >> torch.arange(6)) & 1) * 2.0 - 1
    parity = rows.prod(dim=1)
    train = [(rows[left_out:], parity[left_out:])]
    audit = audit_data(train, [(rows[40:], parity[40:])])
    assert audit.overlap_fraction == (1.0 if left_out else None)


def test_overlap_and_conflicting_labels():
    images, labels = images_and_labels()
    audit = audit_data(loader(torch.cat([images, images[:60]]), torch.cat([labels, (labels[:60] + 1) % 4])))
    assert audit.label_conflict_fraction == pytest.approx(60 / 660)
    audit = audit_data(loader(images, labels), loader(images[:50], labels[:50]))
    assert audit.overlap_fraction == 1.0
    assert "split_overlap" in rules(audit)


def test_labels_that_count_from_one():
    images, labels = images_and_labels()
    assert "label_range" in rules(audit_data(loader(images, labels + 1), num_classes=4))


def test_validation_normalised_otherwise():
    images, labels = images_and_labels(200, seed=1)
    assert rules(audit_data(loader(*images_and_labels()), loader(images * 3 + 2, labels))) == ["split_shift"]


class Transformed(Dataset):
    transform = None

    def __len__(self) -> int:
        return 100

    def __getitem__(self, index):
        return torch.full((3, 8, 8), float(index)) + torch.arange(8.0), index % 4


def test_shared_data_set_matters_only_if_it_transforms():
    shared = Transformed()
    parts = Subset(shared, range(50)), Subset(shared, range(50, 100))
    loaders = [DataLoader(part, batch_size=10) for part in parts]
    assert not audit_data(*loaders).shared_dataset
    shared.transform = len
    assert audit_data(*loaders).shared_dataset


def test_random_state_is_put_back():
    data = TensorDataset(*images_and_labels())
    torch.manual_seed(5)
    audit_data(DataLoader(data, batch_size=50, shuffle=True))
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))


@pytest.mark.parametrize(("batches", "message"), [([], "empty"), ([1, 2], "yields int")])
def test_bad_loaders_are_one_line(batches, message):
    with pytest.raises(ValueError, match=message):
        audit_data(batches)


def correct(logits, labels) -> float:
    return float((logits.argmax(dim=1) == labels).sum())


def accuracy(batches) -> float:
    return sum(correct(*b) for b in batches) / sum(len(y) for _, y in batches)


def top5_error_percent(batches) -> float:
    hits = sum(float((z.topk(5).indices == y[:, None]).any(dim=1).sum()) for z, y in batches)
    return 100 - 100 * hits / sum(len(y) for _, y in batches)


class Stateful:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.right, self.seen = 0.0, 0

    def update(self, logits, labels) -> None:
        self.right += correct(logits, labels)
        self.seen += len(labels)

    def compute(self) -> float:
        return self.right / self.seen


def last_batch(batches) -> float:
    """The seed's: correct of the last batch over the size of the whole set."""
    return correct(*batches[-1]) / sum(len(y) for _, y in batches)


def mean_of_means(batches) -> float:
    return sum(correct(*b) / len(b[1]) for b in batches) / len(batches)


def broken(batches) -> float:
    raise KeyError("x")


@pytest.mark.parametrize(
    "metric", [accuracy, top5_error_percent, Stateful(), lambda z, y: correct(z, y) / len(y), lambda b: 1 - accuracy(b)]
)
def test_right_metrics_pass(metric):
    audit = audit_metric(metric)
    assert diagnose(Evidence(metric=audit)).findings == ()
    assert len(audit.cases) >= 4


@pytest.mark.parametrize("metric", [last_batch, mean_of_means, broken, lambda b: 0.5, lambda z, y: correct(z, y) / 32])
def test_wrong_metrics_are_caught(metric):
    diagnosis = diagnose(Evidence(metric=audit_metric(metric)))
    assert diagnosis.verdict == "broken metric"


def test_what_a_constant_predictor_scores():
    assert audit_metric(accuracy, num_classes=5).constant_score == pytest.approx(0.2)


def test_no_metric_at_all():
    with pytest.raises(ValueError, match=r"metric is 0\.5"):
        audit_metric(0.5)


def test_numbers_of_words_have_no_scale():
    words = [(torch.randint(1000, (32, 12)), torch.arange(32) % 4) for _ in range(4)]
    seen = audit_data(words)
    assert seen.train.channel_means == ()
    assert "input_scale" not in [finding.rule for finding in diagnose(Evidence(data=seen)).findings]


def test_mirroring_what_is_not_symmetric_is_seen():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(400, 3, 8, 8, generator=generator) + torch.linspace(-1, 1, 8)  # bright on the right
    labels = torch.arange(400) % 4
    flipped = torch.where((torch.arange(400) % 2 == 0)[:, None, None, None], images, images.flip(-1))
    held_out = loader(images.roll(1, dims=0) * 1.01, labels)

    def rules(train):
        return [f.rule for f in diagnose(Evidence(data=audit_data(loader(train, labels), held_out))).findings]

    assert "mirrored" in rules(flipped)
    assert "mirrored" not in rules(images)


def test_a_metric_may_return_a_list_and_is_asked_twice():
    def topk(output, target, topk=(1,)):
        hits = output.topk(max(topk), dim=1).indices.eq(target[:, None])
        return [100.0 * hits[:, :k].any(dim=1).float().mean() for k in topk]

    assert diagnose(audit_metric(topk)).findings == ()

    class Remembers:
        hits = count = 0

        def update(self, logits, labels):
            self.hits += int((logits.argmax(1) == labels).sum())
            self.count += len(labels)

        def compute(self):
            return self.hits / self.count

    assert [finding.rule for finding in diagnose(audit_metric(Remembers())).findings] == ["metric_wrong"]


def test_a_table_has_no_blank_images():
    rows = torch.randint(0, 2, (400, 2)).float()
    audit = audit_data(loader(rows, torch.zeros(400).long()))
    assert audit.train.blank_fraction == audit.train.constant_channel_fraction == 0.0
    assert audit_data(loader(torch.zeros(64, 3, 8, 8), torch.zeros(64).long())).train.blank_fraction == 1.0


@pytest.mark.parametrize("is_sorted", [True, False])
def test_the_order_of_the_classes_is_counted(is_sorted):
    labels = torch.arange(400) % 10
    labels = labels.sort().values if is_sorted else labels
    audit = audit_data(loader(torch.randn(400, 5), labels))
    assert audit.train.order is not None
    assert audit.train.order.changes == (9 if is_sorted else 399)
    assert rules(audit) == (["class_order"] if is_sorted else [])


class InTurn:
    """Batches of two classes of ten, then of the next two, and so on; or of the first two alone."""

    def __init__(self, steps: int, tasks: int) -> None:
        self.steps, self.tasks = steps, tasks

    def __iter__(self):
        for task in range(self.tasks):
            for _ in range(self.steps):
                labels = 2 * task + torch.randint(0, 2, (32,))
                yield labels[:, None] + torch.randn(32, 8), labels


@pytest.mark.parametrize(("steps", "tasks", "is_shuffled", "expected"), [
    (80, 5, False, []),  # of classes that come after what the audit reads
    (80, 1, False, ["split_shift.classes"]),
    (80, 1, True, ["split_shift.classes"]),
    (40_000, 1, False, []),  # nobody reads to the end
])  # fmt: skip
def test_classes_that_come_later(steps: int, tasks: int, is_shuffled: bool, expected: list[str], monkeypatch) -> None:
    monkeypatch.setattr(later_classes, "_MOST_SECONDS", 0.5)
    train: Any = InTurn(steps, tasks)
    if is_shuffled:
        x, y = (torch.cat(parts) for parts in zip(*train, strict=True))
        train = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    labels = torch.arange(200) % 10
    audit = audit_data(train, [(labels[:, None] + torch.randn(200, 8), labels)])
    found = diagnose(Evidence(data=audit, probe=probed(num_logits=10))).findings
    assert [f.code for f in found if f.rule == "split_shift"] == expected


def test_rows_of_few_levels_and_repeated_values_are_told_apart():
    rows = torch.tensor(list(itertools.product([0.0, 0.5, 1.0], repeat=8)))
    for repeats in (1, 2, 4):
        wide = rows.repeat_interleave(repeats, dim=1)
        assert len(set(row_hashes(wide).tolist())) == len(rows)


def windows(of: torch.Tensor, steps: int = 12) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of windows of a series, in random order, each with the value that comes next."""
    x = of.unfold(0, steps + 1, 1)
    order = torch.randperm(len(x))
    return [(x[k, :steps, None], x[k, steps]) for k in order.split(16)]


@pytest.mark.parametrize(("kind", "severity"), [("series", "hint"), ("rows", "warning")])
def test_a_series_that_has_moved_on_is_a_hint_and_rows_of_another_scale_are_a_warning(kind: str, severity: str) -> None:
    torch.manual_seed(0)
    t = torch.arange(200.0)
    series = t / 50 + torch.sin(t / 2)
    train, validation = windows(series[:140]), windows(series[140:])
    if kind == "rows":
        train, validation = ([(torch.randn(16, 12, 1) + k, torch.randn(16)) for _ in range(8)] for k in (0, 3))
    audit = audit_data(train, validation)
    assert audit.train.is_windowed is (kind == "series")
    found = {f.rule: f.severity for f in diagnose(Evidence(data=audit)).findings}
    assert found["split_shift"] == severity


@pytest.mark.parametrize(("kind", "severity"), [("sequences", "error"), ("others", None), ("values", None)])
def test_the_same_sequences_again_and_again_are_a_repeated_batch(kind: str, severity: str | None) -> None:
    torch.manual_seed(0)
    words = torch.randint(20, (8, 16, 13))
    train = [(w[:, :-1], w[:, 1:]) for w in (words if kind == "others" else words[:1].expand(8, -1, -1))]
    if kind == "values":  # all of the data at each step, as of an equation
        train = [(x.float(), y.float()) for x, y in train]
    audit = audit_data(train, [(words[1:].flatten(0, 1)[:, :-1], words[1:].flatten(0, 1)[:, 1:])])
    found = {f.rule: f.severity for f in diagnose(Evidence(data=audit)).findings}
    assert found.get("repeated_batch") == severity


@pytest.mark.parametrize(("cast", "found"), [(True, True), (False, False)])
def test_pictures_from_0_to_1_in_an_array_of_integers(cast: bool, found: bool) -> None:
    """What is below 1 is cut to 0; a picture that was stretched keeps its brightest pixel alone."""
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(512, 1, 8, 8, generator=rng)
    x = x / x.amax(dim=(1, 2, 3), keepdim=True)
    y = torch.randint(4, (512,), generator=rng)
    images = x.to(torch.uint8).float() if cast else x
    codes = [f.code for f in diagnose(Evidence(data=audit_data(DataLoader(TensorDataset(images, y), 32)))).findings]
    assert ("blank_images.cast" in codes) == found


def test_a_figure_on_a_board_is_one_pixel_with_one_answer() -> None:
    places = torch.arange(512) % 64
    x = torch.eye(64)[places].reshape(-1, 1, 8, 8)
    codes = [f.code for f in diagnose(Evidence(data=audit_data(DataLoader(TensorDataset(x, places % 4), 32)))).findings]
    assert "blank_images.cast" not in codes
