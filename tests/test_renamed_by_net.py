"""Classes that no simple feature tells: what the rehearsed net learned of them says whether validation has other numbers."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from trainability import check
from trainability.doctor import Diagnosis

Split = tuple[Tensor, Tensor]


def waves(count: int, seed: int, *, length: int = 300, classes: int = 5) -> Split:
    """Tones of as many heights as classes, each with a phase of its own: no sum of single values tells them."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (count,), generator=generator)
    phase = 2 * math.pi * torch.rand(count, 1, generator=generator)
    x = torch.sin(torch.arange(float(length)) * (0.25 + 0.3 * y[:, None]) + phase)
    return (x + 0.3 * torch.randn(x.shape, generator=generator))[:, None], y


def checked(train: Split, validation: Split, **words) -> Diagnosis:
    torch.manual_seed(0)
    width = int(max(train[1].max(), validation[1].max())) + 1
    model = nn.Sequential(
        nn.Conv1d(1, 24, 16), nn.BatchNorm1d(24), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(24, width)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loaders = [DataLoader(TensorDataset(*part), 32, shuffle=part is train) for part in (train, validation)]
    return check(model, loaders[0], nn.CrossEntropyLoss(), optimizer, val_loader=loaders[1], **words)


def codes(found: Diagnosis) -> list[str]:
    return [finding.code for finding in found.findings if finding.rule == "validation_labels"]


RENAMED = {"turned": (1, 2, 3, 4, 0), "some": (0, 2, 1, 3, 4), "from one": (1, 2, 3, 4, 5), "reversed": (4, 3, 2, 1, 0)}


@pytest.mark.parametrize("renaming", RENAMED)
def test_other_numbers_are_told(renaming: str) -> None:
    x, y = waves(200, 1)
    found = checked(waves(600, 0), (x, torch.tensor(RENAMED[renaming])[y]))
    assert found.evidence.data is not None
    assert found.evidence.data.labels_compared is None  # it is not simple features that tell
    assert codes(found) == ["validation_labels.renamed"]


def memorised() -> tuple[Split, Split]:
    """A few examples of classes that are chance."""
    (x, y), (u, v) = waves(300, 0), waves(200, 1)
    generator = torch.Generator().manual_seed(2)
    return (x, y[torch.randperm(300, generator=generator)]), (u, v)


SOUND = {
    "same numbers": lambda: (waves(600, 0), waves(200, 1)),
    "shuffled": lambda: (waves(600, 0), (waves(200, 1)[0], waves(200, 3)[1])),  # memorising looks the same: not said by a net
    "other tones": lambda: (waves(600, 0), (waves(200, 1)[0][..., ::2], waves(200, 1)[1])),
    "loud": lambda: (waves(600, 0), (3 * waves(200, 1)[0] + 1, waves(200, 1)[1])),
    "memorised": memorised,
    "one class": lambda: (waves(600, 0), tuple(part[waves(400, 1)[1] == 2] for part in waves(400, 1))),
    "few": lambda: (waves(600, 0), (waves(60, 1)[0], (waves(60, 1)[1] + 1) % 5)),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_is_no_other_number_is_left_alone(name: str) -> None:
    assert codes(checked(*SOUND[name]())) == []
