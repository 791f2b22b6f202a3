"""Sound programs whose loss makes its own targets, and faults that look like them; what single looks of the facts tell."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence, StepRecord
from trainability.doctor.measure.facts import look
from trainability.doctor.measure.optimizer_settings import optimizer_settings


class Letters(nn.Module):
    """A causal model of tokens (batch, length) to logits (batch, length, 7)."""

    def __init__(self, labelled: bool = False) -> None:
        super().__init__()
        self.table, self.memory, self.head = nn.Embedding(7, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 7)
        self.labelled = labelled

    def forward(self, tokens: Tensor, labels: Tensor | None = None) -> Any:
        """With labels, the shifted loss too."""
        logits = self.head(self.memory(self.table(tokens))[0])
        return (shifted(logits, labels), logits) if self.labelled and labels is not None else logits


def shifted(logits: Tensor, labels: Tensor, by: int = 1) -> Tensor:
    return F.cross_entropy(logits[:, : logits.shape[1] - by].flatten(0, 1), labels[:, by:].flatten())


def rises(output: Tensor, target: Tensor) -> Tensor:
    """Ordinal: a logit for each of "more than 0" to "more than 3"."""
    return F.binary_cross_entropy_with_logits(output, (target > torch.arange(4.0)).float())


def rises_by_hand(output: Tensor, target: Tensor) -> Tensor:
    steps = (target > torch.arange(4.0)).float()
    return -(steps * F.logsigmoid(output) + (1 - steps) * F.logsigmoid(-output)).mean()


def _tokens(loss: Any, labelled: bool = False) -> set[str]:
    torch.manual_seed(0)
    tokens = torch.randint(7, (8, 12))
    batch = {"input_ids": tokens, "labels": tokens.clone()}
    return _said(Letters(labelled), batch, loss)


def _table(last: nn.Module, loss: Any, target: Tensor) -> set[str]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), last)
    return _said(model, (torch.randn(16, 5), target), lambda model, batch: loss(model(batch[0]), batch[1]))


def _said(model: nn.Module, batch: Any, loss: Any) -> set[str]:
    found = diagnose(Evidence(facts=look(model, batch, loss)))
    return {finding.code for finding in found.findings if finding.severity != "hint"}


@pytest.mark.parametrize("by", [0, 1])
def test_labels_that_are_the_inputs_are_a_fault_where_the_loss_does_not_shift_them(by: int) -> None:
    said = _tokens(lambda model, batch: shifted(model(batch["input_ids"]), batch["labels"], by))
    assert ("sees_future.unshifted" in said) == (by == 0)


def test_a_model_that_shifts_labels_inside_is_sound() -> None:
    assert not _tokens(lambda model, batch: model(batch["input_ids"], labels=batch["labels"])[0], labelled=True)


COUNTS = torch.arange(16.0)[:, None] % 5


@pytest.mark.parametrize("loss", [rises, rises_by_hand])
def test_counts_that_the_loss_turns_into_marks_are_no_targets_outside(loss: Any) -> None:
    assert not _table(nn.Linear(16, 4), loss, COUNTS)


def test_counts_as_targets_of_binary_cross_entropy_are_outside() -> None:
    assert "unreachable_target.binary" in _table(nn.Linear(16, 1), F.binary_cross_entropy_with_logits, COUNTS)


SQUASHED = nn.Sequential(nn.Linear(16, 1), nn.Sigmoid())


def test_targets_that_the_loss_scales_into_the_range_are_met() -> None:
    assert not _table(SQUASHED, lambda output, target: F.mse_loss(output, target / 4), COUNTS)
    assert "unreachable_target.sigmoid" in _table(SQUASHED, F.mse_loss, COUNTS)


def test_targets_that_the_loss_standardises_have_no_scale() -> None:
    large = 1e6 * COUNTS
    assert not _table(nn.Linear(16, 1), lambda output, target: F.mse_loss(output, (target - 2e6) / 1e6), large)
    assert "target_scale" in _table(nn.Linear(16, 1), F.mse_loss, large)


class Patches(nn.Module):
    """Attention over nine patches of each example."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.mix, self.head = nn.MultiheadAttention(8, 2, batch_first=batch_first), nn.Linear(8, 3)
        self.batch_first = batch_first

    def forward(self, x: Tensor) -> Tensor:
        """Patches (n, 9, 8), as a model without batch_first wrongly gets them too."""
        return self.head(self.mix(x, x, x)[0][:, 0])


class Turned(Patches):
    """Without batch_first, and turned as that asks for."""

    def forward(self, x: Tensor) -> Tensor:
        """Patches (n, 9, 8)."""
        return super().forward(x.transpose(0, 1).clone()) if self.batch_first else self._of_turned(x.transpose(0, 1))

    def _of_turned(self, x: Tensor) -> Tensor:
        return self.head(self.mix(x, x, x)[0][0])


def _classes(output: Tensor, target: Tensor, **options: Any) -> Tensor:
    return F.cross_entropy(output, target, **options)


@pytest.mark.parametrize(
    ("model", "is_across"),
    [(Patches(False), True), (Patches(True), False), (Turned(False), False)],
    ids=["across", "first", "turned"],
)
def test_sequences_along_the_batch(model: nn.Module, is_across: bool) -> None:
    batch = (torch.randn(16, 9, 8), torch.arange(16) % 3)
    said = _said(model, batch, lambda model, batch: _classes(model(batch[0]), batch[1]))
    assert ("batch_leakage.sequences" in said) == is_across


@pytest.mark.parametrize("index", [-100, 4, 1])
def test_a_class_that_the_loss_ignores(index: int) -> None:
    labels = torch.arange(16) % 3
    said = _table(nn.Linear(16, 5), lambda output, target: _classes(output, target, ignore_index=index), labels)
    assert ("class_imbalance.ignored" in said) == (index == 1)


@pytest.mark.parametrize("views", [False, True])
def test_pixels_viewed_as_classes(views: bool) -> None:
    torch.manual_seed(0)
    labels = torch.randint(3, (4, 6, 6))

    def loss(model: nn.Module, batch: Any) -> Tensor:
        output = model(batch[0])
        rows = output.reshape(-1, 3) if views else output.movedim(1, -1).reshape(-1, 3)
        return _classes(rows, batch[1].flatten())

    said = _said(nn.Conv2d(2, 3, 3, padding=1), (torch.randn(4, 2, 6, 6), labels), loss)
    assert ("misread_logits" in said) == views


def gaussian(output: Tensor, target: Tensor, weight: float) -> Tensor:
    mean, log_std = output.chunk(2, dim=1)
    return (0.5 * ((target - mean) / log_std.exp()).square() + weight * log_std).mean()


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_deviation_that_costs_nothing(weight: float) -> None:
    said = _table(nn.Linear(16, 2), lambda output, target: gaussian(output, target, weight), torch.randn(16, 1))
    assert ("wrong_sign.one_output" in said) == (weight == 0.0)


@pytest.mark.parametrize(("sign", "share"), [(-1.0, 1.0), (1.0, 1.0), (1.0, -3.0)], ids=["maximised", "minimised", "bonus"])
def test_a_sum_whose_known_term_is_maximised(sign: float, share: float) -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return sign * (F.binary_cross_entropy_with_logits(output, target) + share * output.sigmoid().square().mean())

    said = _table(nn.Linear(16, 1), loss, (COUNTS > 2).float())
    assert ("wrong_sign" in said) == (sign < 0)


def spread(output: Tensor, *, detached: bool) -> Tensor:
    middle = output.mean(dim=0, keepdim=True).expand_as(output)
    return F.mse_loss(output, middle.detach() if detached else middle)


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("kind", ["bonus", "alone", "of data"])
def test_a_bonus_for_outputs_unlike_their_mean_is_no_task(kind: str, detached: bool) -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        term = F.mse_loss(output, (target / 3).log1p()) if kind == "of data" else spread(output, detached=detached)
        return -0.05 * term - (0.0 if kind == "alone" else 5 * F.cosine_similarity(output + 3, target.abs() + 3, dim=0).mean())

    said = _table(nn.Linear(16, 1), loss, torch.rand(16, 1))
    assert ("wrong_sign" in said) == (kind != "bonus")


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_a_column_that_the_model_makes_itself(scale: float) -> None:
    class Timed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(6, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(torch.cat([x, scale * x.mean(dim=1, keepdim=True)], dim=1))

    said = _said(Timed(), (torch.randn(16, 5), torch.randn(16, 1)), lambda model, batch: F.mse_loss(model(batch[0]), batch[1]))
    assert ("input_scale.column" in said) == (scale > 1)


def test_a_target_of_one_of_two_losses_has_a_scale() -> None:
    def both(output: Tensor, target: Tensor, scale: float) -> Tensor:
        return _classes(output[:, :3], target[:, 0].long() % 3) + F.mse_loss(output[:, 3:], scale * target)

    assert not _table(nn.Linear(16, 4), lambda output, target: both(output, target, 1.0), COUNTS)
    assert "target_scale" in _table(nn.Linear(16, 4), lambda output, target: both(output, target, 5e3), COUNTS)


@pytest.mark.parametrize(("betas", "code"), [((0.9999, 0.9), "long_momentum.betas"), ((0.9, 0.95), None), ((0.5, 0.9), None)])
def test_betas(betas: tuple[float, float], code: str | None) -> None:
    model = nn.Linear(2, 1)
    settings = optimizer_settings(torch.optim.Adam(model.parameters(), betas=betas), model)
    assert [finding.code for finding in diagnose(Evidence(optimizer=settings)).findings] == ([code] if code else [])


@pytest.mark.parametrize(("loss", "code"), [(1e-8, "flat_loss.zero"), (0.1, None)])
def test_a_loss_that_is_zero_but_for_rounding(loss: float, code: str | None) -> None:
    steps = tuple(StepRecord(step=i + 1, loss=loss * (-1) ** i, gradient_norm=loss) for i in range(30))
    codes = {finding.code for finding in diagnose(Evidence(steps=steps)).findings}
    assert ("flat_loss.zero" in codes) == (code is not None)
