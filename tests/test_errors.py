"""The error analysis against counts made one image at a time, and against collapses made on purpose."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from trainability import keyed
from trainability.evaluation.error_analysis import confusion_matrix, entropy_of_counts, error_analysis, tables
from trainability.evaluation.predictions import Predictions, from_log_probabilities

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox")


def answers(logits: torch.Tensor, labels: torch.Tensor, names: tuple[str, ...] = NAMES) -> Predictions:
    return from_log_probabilities(logits.double().log_softmax(1), labels, class_names=names, protocol="centre at 32 pixels")


def random_answers(num: int = 400, names: tuple[str, ...] = NAMES) -> Predictions:
    draw = keyed.generator(num)
    labels = torch.randint(0, len(names), (num,), generator=draw)
    logits = torch.randn(num, len(names), generator=draw)
    logits[torch.arange(num), labels] += 1
    return answers(logits, labels, names)


def test_confusion_and_class_errors_equal_counts_made_one_by_one() -> None:
    kept = random_answers()
    analysis = error_analysis(kept)
    cells = Counter(zip(kept.labels.tolist(), kept.top[:, 0].tolist(), strict=True))
    for (label, answer), count in cells.items():
        assert analysis.confusion[label, answer] == count
    assert analysis.confusion.sum() == len(kept)
    assert [row.top1_error for row in analysis.classes] == sorted((row.top1_error for row in analysis.classes), reverse=True)
    for row in analysis.classes:
        own = [i for i, label in enumerate(kept.labels) if label == row.number]
        assert row.num_images == len(own)
        assert row.top1_error == pytest.approx(sum(kept.top[i, 0] != row.number for i in own) / len(own))
        assert row.top5_error == pytest.approx(sum(row.number not in kept.top[i].tolist() for i in own) / len(own))
        wrong = Counter(int(kept.top[i, 0]) for i in own if kept.top[i, 0] != row.number)
        assert row.taken_for is not None
        assert wrong[NAMES.index(row.taken_for)] == max(wrong.values())
        assert row.num_predicted == sum(kept.top[:, 0] == row.number)
    total = sum(row.top1_error * row.num_images for row in analysis.classes) / len(kept)
    assert total == pytest.approx(kept.errors.top1_error)


def test_most_confused_pairs_are_in_order() -> None:
    labels = torch.tensor([0] * 10 + [1] * 10 + [2] * 4 + [4])
    taken = torch.tensor([0] * 6 + [3] * 4 + [1] * 7 + [2] * 3 + [5] * 4 + [0])
    analysis = error_analysis(answers(5 * torch.eye(6)[taken], labels), num_pairs=2)
    assert [(pair.label, pair.predicted, pair.count) for pair in analysis.pairs] == [("cat", "fox", 4), ("ant", "dog", 4)]
    assert [pair.fraction for pair in analysis.pairs] == [1.0, 0.4]
    assert analysis.classes[0].name == "cat"
    assert len(analysis.classes) == 4


def test_collapse_shows_in_the_entropy_of_the_answers() -> None:
    labels = torch.arange(600) % 6
    logits = torch.zeros(600, 6)
    logits[:450, 4] = 3
    logits[450:, 1] = 3
    spread = error_analysis(answers(logits, labels)).spread
    assert spread.label_entropy == pytest.approx(math.log(6))
    assert spread.effective_labelled == pytest.approx(6)
    assert spread.predicted_entropy == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert spread.effective_predicted < 2
    assert (spread.num_predicted, spread.num_labelled) == (2, 6)
    assert spread.most_predicted == (("eel", 0.75, 1 / 6), ("bee", 0.25, 1 / 6))


def test_entropy_of_one_class_and_of_nothing_is_zero() -> None:
    assert entropy_of_counts(np.array([0, 7, 0])) == 0
    assert entropy_of_counts(np.array([0, 0])) == 0


def test_worst_and_most_confident_images_are_wrong_and_in_order() -> None:
    kept = random_answers()
    analysis = error_analysis(kept, num_images=9)
    wrong = [i for i in range(len(kept)) if kept.top[i, 0] != kept.labels[i]]
    by_true = sorted(wrong, key=lambda i: float(kept.true_probability[i]))[:9]
    by_answer = sorted(wrong, key=lambda i: -float(kept.top_probability[i, 0]))[:9]
    assert [image.position for image in analysis.worst] == by_true
    assert [image.position for image in analysis.most_confident] == by_answer
    first = analysis.worst[0]
    assert first.label == NAMES[kept.labels[first.position]]
    assert first.predicted == NAMES[kept.top[first.position, 0]]
    assert first.true_probability == pytest.approx(math.exp(-kept.loss[first.position]), rel=1e-5)


def test_softmaxes_that_underflow_are_still_in_order() -> None:
    logits = torch.tensor([[900.0, 0, 0, 0, 0, 0], [2000, 0, 0, 0, 0, 0], [800, 0, 0, 0, 0, 0]])
    analysis = error_analysis(answers(logits, torch.tensor([1, 2, 3])))
    assert [image.position for image in analysis.worst] == [1, 0, 2]


def test_images_without_an_answer_are_errors_in_no_column() -> None:
    logits = torch.eye(6)[torch.tensor([0, 1, 2, 3])] * 9
    logits[3] = math.nan
    kept = answers(logits, torch.tensor([0, 1, 2, 3]))
    analysis = error_analysis(kept)
    assert kept.errors.top1_error == 0.25
    assert confusion_matrix(kept).sum() == 3
    assert analysis.spread.no_answer_fraction == 0.25
    assert (analysis.classes[0].name, analysis.classes[0].top1_error, analysis.classes[0].taken_for) == ("dog", 1.0, None)
    assert analysis.worst == ()


def test_below_five_classes_there_is_no_top_5_error() -> None:
    kept = random_answers(50, NAMES[:3])
    assert kept.top.shape == (50, 3)
    assert kept.errors.top5_error is None
    assert all(row.top5_error is None for row in error_analysis(kept).classes)


def test_a_perfect_network_has_no_pairs_and_no_wrong_images() -> None:
    labels = torch.arange(12) % 6
    analysis = error_analysis(answers(9 * torch.eye(6)[labels], labels))
    assert (analysis.pairs, analysis.worst, analysis.most_confident) == ((), (), ())
    assert list(tables(analysis)) == [
        "Predictions against labels",
        "Most frequent predictions",
        "Classes with the highest error",
    ]


def test_tables_are_plain_and_have_equal_columns() -> None:
    shown = tables(error_analysis(random_answers()), num_classes=4)
    assert len(shown) == 6
    assert len(shown["Classes with the highest error"]) == 4
    for rows in shown.values():
        assert all(list(row) == list(rows[0]) for row in rows)
        for row in rows:
            for heading, value in row.items():
                assert value is None or type(value) in (str, int, float)
                assert not heading.endswith("%") or 0 <= value <= 100
    assert sum(row["of the predictions %"] for row in shown["Most frequent predictions"]) == pytest.approx(100, abs=0.1)
