"""Autoencoders that sample a code: what is promised of them, and what is said where the code is not used."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from small_programs import digits
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Setup, check, confirm
from trainability.doctor import reading
from trainability.doctor.experiment_table import experiment_table
from trainability.doctor.experiments.catalogue import INTERVENTIONS
from trainability.doctor.experiments.sources import Source
from trainability.doctor.measure.critical import along_update
from trainability.doctor.rules.summed_terms import weight_of_divergence
from trainability.doctor.tasks import output_form, shaped


class Sampling(nn.Module):
    """A variational autoencoder of digits."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(128, 8), nn.Linear(128, 8)
        self.decoder = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 64), nn.Sigmoid())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.encoder(x)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decoder(code), mean, log_variance


def program(how: str) -> Setup:
    """With the loss of a bound or one of two mistakes of it."""
    torch.manual_seed(0)
    x = (digits()[0].flatten(1) + 1).clamp(0, 3) / 3
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=64, shuffle=True)
    model = Sampling()

    def training_step(model: nn.Module, batch: tuple[Tensor]) -> Tensor:
        (x,) = batch
        output, mean, log_variance = model(x)
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp())
        if how == "sum beside a mean":
            return F.mse_loss(output, x) + divergence.sum()
        if how == "units beside a mean":
            return F.mse_loss(output, x) + divergence.sum(dim=1).mean()
        return (F.binary_cross_entropy(output, x, reduction="sum") + divergence.sum()) / len(x)

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return Setup(
        model=model,
        train_loader=loader,
        training_step=training_step,
        optimizer=optimizer,
        planned_steps=1000,
        rehearse_seconds=30,
    )


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("sum beside a mean", {"sum_for_mean.beside_means": "warning"}),
        ("units beside a mean", {"sum_for_mean.beside_mean": "warning"}),
        ("a bound", {}),
    ],
)
def test_no_promise_is_made_while_one_answer_for_all_is_as_good(how: str, found: dict[str, str]) -> None:
    diagnosis = check(program(how))
    rehearsal = diagnosis.evidence.rehearsal
    assert rehearsal is not None
    assert diagnosis.verdict == "cannot tell"
    if found:
        assert rehearsal.constant_loss is not None
        assert f"{rehearsal.constant_loss:.4g}" in diagnosis.reason
    assert {finding.code: finding.severity for finding in diagnosis.findings} == found
    for finding in diagnosis.findings:  # what is known is said, no longer run is asked for
        assert diagnosis.reason.endswith(finding.cause)


def test_experiments_hold_a_mistaken_bound_against_the_constant_that_the_verdict_names() -> None:
    diagnosis = confirm(partial(program, "units beside a mean"), seconds=4, max_steps=60)
    found, rehearsal = diagnosis.evidence.experiments, diagnosis.evidence.rehearsal
    assert found is not None
    assert found.chance is not None
    assert rehearsal is not None
    assert found.chance == rehearsal.constant_loss
    assert found.ideal == rehearsal.lowest_loss
    assert f"costs {found.chance:.4g})" in experiment_table(found).title
    assert f"costs {found.chance:.4g})" in diagnosis.reason
    assert found.state in ("at chance", "open")


@pytest.mark.parametrize("same", [True, False])
def test_the_constant_of_the_rehearsal_is_taken_for_a_mean_alone(same: bool) -> None:
    """Not of a loss that costs something else on the fixed batch, as a sum does."""
    setup = program("units beside a mean")
    seen = check(setup).evidence
    rehearsal = seen.rehearsal
    assert rehearsal is not None
    looks = [replace(look, loss=look.loss if same else 2 * look.loss) for look in rehearsal.reference]
    rehearsal = replace(rehearsal, reference=tuple(looks), constant_loss=0.07, lowest_loss=0.01)
    source = Source(setup, replace(seen, rehearsal=rehearsal), list(setup.train_loader))
    assert ((source.task.chance, source.ideal) == (0.07, 0.01)) == same


@pytest.mark.parametrize(("how", "applies"), [("units beside a mean", True), ("a bound", False)])
def test_the_weight_of_a_divergence_is_changed_where_it_outweighs_the_error(how: str, applies: bool) -> None:
    setup = program(how)
    evidence, change = check(setup).evidence, INTERVENTIONS["divergence_less"]
    weight = weight_of_divergence(reading.facts(evidence).code_price)
    with Source(setup, evidence, list(setup.train_loader)).variant() as variant:
        assert change.applies(variant) == applies
        if not applies:
            return
        own = variant.training_step
        change.make(variant)
        assert own is not None
        assert variant.training_step is not None
        losses = []
        for step in (own, variant.training_step):
            torch.manual_seed(0)
            losses.append(float(step(variant.model, variant.reference).detach()))
        torch.manual_seed(0)
        output, *_ = variant.model(variant.reference[0])
        error = float(F.mse_loss(output, variant.reference[0]).detach())
    assert (losses[1] - error) / (losses[0] - error) == pytest.approx(weight, rel=1e-2)


def test_free_numbers_are_kept_to_what_a_sigmoid_or_a_softmax_gives() -> None:
    torch.manual_seed(0)
    logits, free = torch.randn(4, 5, 3, requires_grad=True), torch.randn(1, 5, 3)
    for output, own in (
        (logits.sigmoid(), free.sigmoid()),
        (logits.softmax(dim=1), free.softmax(dim=1)),
        (logits.softmax(dim=2), free.softmax(dim=2)),
        (logits.log_softmax(dim=1), free.log_softmax(dim=1)),
    ):
        assert torch.equal(shaped(output_form(output), output)(free), own)


def test_a_loss_that_raises_far_along_the_update_has_a_critical_step() -> None:
    weight = torch.tensor([0.9, 0.8])

    def loss() -> Tensor:
        if float(weight.max()) > 1:
            raise RuntimeError("all elements of input should be between 0 and 1")
        return (1 - weight).square().mean()

    step = along_update({"weight": weight}, [torch.tensor([0.8, 0.7])], loss)
    assert step.multiple is not None
    assert 1 < step.multiple < 4
    assert math.isfinite(step.lowest_loss)
