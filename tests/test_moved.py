"""Targets in another order than the answers that they are held against, and answers that are in the same one; by all ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_followed_scripts import followed
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor
from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.measure.certain import facts_of

WIDE, CLASSES, ROWS = 12, 4, 64
Step = Callable[[Any, Any], Tensor]


class Net(nn.Module):
    """Rows that may be sorted inside, by the lengths that they are given or have, and returned so."""

    def __init__(self, *, sorts: str = "", norm: bool = False) -> None:
        super().__init__()
        first = [nn.Linear(WIDE, 32), nn.BatchNorm1d(32)] if norm else [nn.Linear(WIDE, 32)]
        self.body, self.sorts = nn.Sequential(*first, nn.ReLU(), nn.Linear(32, CLASSES)), sorts

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Any:
        if not self.sorts:
            return self.body(x)
        order = (lengths if lengths is not None else x[:, 0]).argsort(descending=True)
        answers = self.body(x[order])
        return (answers, order) if self.sorts == "and says so" else answers


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs, labels, values, and lengths."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8 * ROWS, WIDE, generator=generator)
    return x, x[:, :CLASSES].argmax(dim=1), x[:, 0] * x[:, 1], torch.randint(1, 50, (len(x),), generator=generator)


def classes(model: Any, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)


def permuted(model: Any, batch: Any) -> Tensor:
    order = torch.randperm(len(batch[0]))
    return classes(model, batch[0][order], batch[1][order])


def permuted_later(model: Any, batch: Any) -> Tensor:
    order = torch.randperm(len(batch[0]))
    answers = model(batch[0][order])
    return F.cross_entropy(answers, batch[1][order])


def permuted_anew(model: Any, batch: Any) -> Tensor:
    order = torch.randperm(len(batch[0]))
    x, y = batch[0][order], batch[1][order]
    return classes(model, x, y)


def selected(model: Any, batch: Any) -> Tensor:
    order = torch.randperm(len(batch[0]))
    return classes(model, batch[0].index_select(0, order), batch[1].index_select(0, order))


def flipped(model: Any, batch: Any) -> Tensor:
    return classes(model, batch[0].flip(0), batch[1].flip(0))


def by_column(model: Any, batch: Any) -> Tensor:
    order = batch[0][:, 0].argsort()
    return classes(model, batch[0][order], batch[1][order])


def by_length(model: Any, batch: Any) -> Tensor:
    lengths, order = batch[3].sort(descending=True)
    return F.cross_entropy(model(batch[0][order], lengths), batch[1][order])


def two_joined(model: Any, batch: Any) -> Tensor:
    x, y = torch.cat([batch[0], 0.9 * batch[0]]), torch.cat([batch[1], batch[1]])
    order = torch.randperm(len(x))
    return classes(model, x[order], y[order])


def answers_permuted(model: Any, batch: Any) -> Tensor:
    order = torch.randperm(len(batch[0]))
    return F.cross_entropy(model(batch[0])[order], batch[1][order])


def both_sorted(model: Any, batch: Any) -> Tensor:
    """The distance of two distributions in one dimension."""
    return F.mse_loss(model(batch[0])[:, 0].sort().values, batch[2].sort().values)


def matched(model: Any, batch: Any) -> Tensor:
    """Each answer takes the nearest target that is left, as a matching does."""
    answers = model(batch[0])[:, 0]
    order = torch.empty(len(answers), dtype=torch.long)
    order[answers.detach().argsort()] = batch[2].argsort()
    return F.mse_loss(answers, batch[2][order])


def ranked(model: Any, batch: Any) -> Tensor:
    """Answers in the order of their targets, as losses of lists take them."""
    order = batch[2].argsort(descending=True)
    return F.mse_loss(model(batch[0])[:, 0][order], batch[2][order])


def sorted_inside(model: Any, batch: Any) -> Tensor:
    answers, order = model(batch[0], batch[3])
    return F.cross_entropy(answers, batch[1][order])


def sorted_inside_and_out(model: Any, batch: Any) -> Tensor:
    answers = model(batch[0], batch[3])
    return F.cross_entropy(answers, batch[1][batch[3].argsort(descending=True)])


def sorted_outside_first(model: Any, batch: Any) -> Tensor:
    order = batch[3].argsort(descending=True)
    answers = model(batch[0], batch[3])
    return F.cross_entropy(answers, batch[1][order])


def sorted_by_column(model: Any, batch: Any) -> Tensor:
    answers = model(batch[0])
    return F.cross_entropy(answers, batch[1][batch[0][:, 0].argsort(descending=True)])


def mixed(model: Any, batch: Any) -> Tensor:
    order = torch.randperm(len(batch[0]))
    answers = model(0.7 * batch[0] + 0.3 * batch[0][order])
    return 0.7 * F.cross_entropy(answers, batch[1]) + 0.3 * F.cross_entropy(answers, batch[1][order])


def beside_others(model: Any, batch: Any) -> Tensor:
    """Other examples' labels have a part of their own, beside the right ones."""
    answers = model(batch[0])
    return F.cross_entropy(answers, batch[1]) - 0.1 * F.cross_entropy(answers, batch[1].roll(1)).clamp(max=3.0)


def both_before(model: Any, batch: Any) -> Tensor:
    order = torch.randperm(len(batch[0]))
    y = batch[1][order]
    return F.cross_entropy(model(batch[0])[order], y)


def mixed_before(model: Any, batch: Any) -> Tensor:
    order = torch.randperm(len(batch[0]))
    y, other = batch[1], batch[1][order]
    answers = model(torch.cat([batch[0][:32], batch[0][order][32:]]))
    return 0.5 * F.cross_entropy(answers, y) + 0.5 * F.cross_entropy(answers, other)


def sorted_outside_before(model: Any, batch: Any) -> Tensor:
    y = batch[1][batch[3].argsort(descending=True)]
    return F.cross_entropy(model(batch[0], batch[3]), y)


SOUND: dict[str, tuple[Step, Callable[[], nn.Module]]] = {
    "permuted": (permuted, Net),
    "permuted, with statistics of the batch": (permuted, lambda: Net(norm=True)),
    "permuted, the loss on a line of its own": (permuted_later, Net),
    "permuted before": (permuted_anew, Net),
    "index_select": (selected, Net),
    "flipped": (flipped, Net),
    "by a column": (by_column, Net),
    "by length": (by_length, Net),
    "two joined": (two_joined, Net),
    "answers too": (answers_permuted, Net),
    "answers too, with statistics of the batch": (answers_permuted, lambda: Net(norm=True)),
    "both sorted": (both_sorted, Net),
    "matched": (matched, Net),
    "ranked": (ranked, Net),
    "sorted inside, with the order": (sorted_inside, lambda: Net(sorts="and says so")),
    "sorted inside and out": (sorted_inside_and_out, lambda: Net(sorts="by length")),
    "sorted inside, and out before": (sorted_outside_first, lambda: Net(sorts="by length")),
    "sorted inside by a column": (sorted_by_column, lambda: Net(sorts="by a column")),
    "mixed": (mixed, Net),
    "mixed before": (mixed_before, Net),
    "answers too, and targets before": (both_before, Net),
    "sorted inside, and targets before": (sorted_outside_before, lambda: Net(sorts="by length")),
    "beside others": (beside_others, Net),
}


def rolled(model: Any, batch: Any) -> Tensor:
    return classes(model, batch[0], batch[1].roll(1))


def targets_flipped(model: Any, batch: Any) -> Tensor:
    answers = model(batch[0])
    return F.cross_entropy(answers, batch[1].flip(0))


def targets_permuted(model: Any, batch: Any) -> Tensor:
    return classes(model, batch[0], batch[1][torch.randperm(len(batch[1]))])


def targets_permuted_first(model: Any, batch: Any) -> Tensor:
    order = torch.randperm(len(batch[1]))
    return classes(model, batch[0], batch[1][order])


def values_sorted(model: Any, batch: Any) -> Tensor:
    return F.mse_loss(model(batch[0])[:, 0], batch[2].sort().values)


def labels_sorted(model: Any, batch: Any) -> Tensor:
    return classes(model, batch[0].view(len(batch[0]), -1), batch[1].sort().values)


WRONG: dict[str, tuple[Step, Callable[[], nn.Module]]] = {
    "rolled": (rolled, Net),
    "rolled, with statistics of the batch": (rolled, lambda: Net(norm=True)),
    "flipped": (targets_flipped, Net),
    "permuted": (targets_permuted, Net),
    "permuted before": (targets_permuted_first, Net),
    "values sorted": (values_sorted, Net),
    "labels sorted": (labels_sorted, Net),
}
CASES = [(*SOUND[name], False) for name in SOUND] + [(*WRONG[name], True) for name in WRONG]
NAMES = [f"sound: {name}" for name in SOUND] + [f"wrong: {name}" for name in WRONG]


def told(diagnosis: Diagnosis) -> bool:
    facts = diagnosis.evidence.facts
    return facts is not None and facts.moved_targets


@pytest.mark.parametrize(("step", "made", "moved"), CASES, ids=NAMES)
def test_check_tells_targets_that_are_moved_alone(step: Step, made: Callable[[], nn.Module], moved: bool) -> None:
    torch.manual_seed(0)
    batch = tuple(tensor[:ROWS] for tensor in data())
    facts = facts_of(made(), batch, training_step=step, more=())
    assert facts.moved_targets is moved


def trained(step: Step, model: nn.Module, batches: Any, seen: Callable[[Tensor], None] = lambda loss: None) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for batch in batches:
        optimizer.zero_grad()
        loss = step(model, batch)
        loss.backward()
        seen(loss)
        optimizer.step()


@pytest.mark.parametrize(("step", "made", "moved"), CASES, ids=NAMES)
def test_a_followed_loop_is_told_where_its_inputs_are_as_they_were_loaded(
    step: Step, made: Callable[[], nn.Module], moved: bool
) -> None:
    def loop() -> None:
        torch.manual_seed(0)
        trained(step, made(), DataLoader(TensorDataset(*data()), ROWS, shuffle=True))

    (diagnosis,) = followed(loop).values()
    assert told(diagnosis) == moved


@pytest.mark.parametrize(("step", "made", "moved"), CASES, ids=NAMES)
def test_of_a_loop_whose_loader_nobody_knows_only_a_recorded_step_tells(
    step: Step, made: Callable[[], nn.Module], moved: bool
) -> None:
    batches = list(zip(*(tensor.split(ROWS) for tensor in data()), strict=True))

    def loop() -> None:
        torch.manual_seed(0)
        trained(step, made(), batches)

    (diagnosis,) = followed(loop).values()
    assert told(diagnosis) == moved
    torch.manual_seed(0)
    model = made()
    with Monitor(model) as monitor:
        trained(step, model, batches, monitor.after_backward)
    assert not told(monitor.diagnose())


def test_an_order_that_comes_with_the_batch_is_meant() -> None:
    """Inputs that the loader has sorted, labels that it has not, and the order to bring them in."""

    def collate(examples: list[Any]) -> tuple[Tensor, Tensor, Tensor]:
        x, y = (torch.stack(part) for part in zip(*examples, strict=True))
        order = x[:, 0].argsort()
        return x[order], y, order

    def step(model: Any, batch: Any) -> Tensor:
        return classes(model, batch[0], batch[1][batch[2]])

    x, y, *_ = data()
    loader = DataLoader(TensorDataset(x, y), ROWS, collate_fn=collate)
    torch.manual_seed(0)
    assert not facts_of(Net(), next(iter(loader)), training_step=step, more=()).moved_targets
    (diagnosis,) = followed(lambda: trained(step, Net(), loader)).values()
    assert not told(diagnosis)
