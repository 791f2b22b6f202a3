"""Losses that are lowest where the answers are worst, beside the same losses the right way round."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from rule_examples import fact, rehearsed
from small_programs import batches, digits
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.evidence import StepRecord
from trainability.doctor.facts import Facts
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.opponents import same_aim
from trainability.doctor.rehearsed import Observation

Loss = Callable[[Tensor, Tensor], Tensor]


def flat() -> tuple[Tensor, Tensor]:
    x, y = digits()
    return x.flatten(1), y


def codes(evidence: Evidence) -> list[str]:
    diagnosis = diagnose(evidence)
    assert not any("itself failed" in line for line in diagnosis.not_checked), diagnosis.not_checked
    return [finding.code for finding in diagnosis.findings if finding.severity != "hint"]


def dice(output: Tensor, target: Tensor) -> Tensor:
    p = output.sigmoid()
    return (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)


def likelihood(output: Tensor, target: Tensor) -> Tensor:
    """Mean log-likelihood of probabilities, which is to be large."""
    return (target * output.log() + (1 - target) * (1 - output).log()).mean()


def hit(output: Tensor, target: Tensor) -> Tensor:
    """Probability of the right class."""
    return output.softmax(dim=1).gather(1, target[:, None]).mean()


def cosine(output: Tensor, target: Tensor) -> Tensor:
    return F.cosine_similarity(output, target, dim=1).mean()


def focal(output: Tensor, target: Tensor) -> Tensor:
    each = F.cross_entropy(output, target, reduction="none")
    return ((1 - (-each).exp()).square() * each).mean()


# Scores that are best when large; as losses they are wrong, and minus them right.
SCORES: dict[str, tuple[Loss, str, type[nn.Module]]] = {
    "a Dice coefficient": (dice, "marks", nn.Identity),
    "a log-likelihood": (likelihood, "marks", nn.Sigmoid),
    "the right class's probability": (hit, "classes", nn.Identity),
    "a cosine": (cosine, "values", nn.Identity),
    "minus a squared error of ranks": (lambda o, t: -(o - t).abs().pow(1.5).mean(), "values", nn.Identity),
}
# A yes is a small energy or distance: such losses are lowest where the output is small for it, and have a floor.
LOSSES_OF_ENERGIES: dict[str, tuple[Loss, str, type[nn.Module]]] = {
    "minus the energy is the logit": (lambda e, t: F.binary_cross_entropy_with_logits(-e, t), "marks", nn.Identity),
    "a hinge": (lambda e, t: torch.where(t > 0, F.relu(1 + e), F.relu(1 - e)).mean(), "marks", nn.Identity),
    "a margin": (lambda e, t: (t * e + (1 - t) * F.relu(2 - e)).mean(), "marks", nn.Softplus),
}
LOSSES: dict[str, tuple[Loss, str, type[nn.Module]]] = {
    "focal": (focal, "classes", nn.Identity),
    "smoothed": (nn.CrossEntropyLoss(label_smoothing=0.2), "classes", nn.Identity),
    "margins": (nn.MultiMarginLoss(), "classes", nn.Identity),
    "nll": (F.nll_loss, "classes", lambda: nn.LogSoftmax(dim=1)),  # type: ignore[dict-item]
    "weighted marks": (nn.BCEWithLogitsLoss(pos_weight=torch.full((4,), 3.0)), "marks", nn.Identity),
    "probabilities": (F.binary_cross_entropy, "marks", nn.Sigmoid),
    "Huber": (F.smooth_l1_loss, "values", nn.Identity),
    "log cosh": (lambda o, t: (o - t).cosh().log().mean(), "values", nn.Identity),
}


class LastLog(nn.LogSoftmax):
    """Over the classes."""

    def __init__(self) -> None:
        super().__init__(dim=1)


# Weighed by the probability of the right answer, where focal loss weighs by that of the wrong ones.
LOSSES_OF_THE_SURE: dict[str, tuple[Loss, str, type[nn.Module]]] = {
    "classes": (lambda o, y: weighed(F.cross_entropy(o, y, reduction="none"), 2.0), "classes", nn.Identity),
    "log-probabilities": (lambda o, y: weighed(F.nll_loss(o, y, reduction="none"), 2.0), "classes", LastLog),
    "marks": (
        lambda o, y: weighed(F.binary_cross_entropy_with_logits(o, y, reduction="none"), 2.0),
        "marks",
        nn.Identity,
    ),
    "probabilities": (lambda o, y: weighed(F.binary_cross_entropy(o, y, reduction="none"), 2.0), "marks", nn.Sigmoid),
    "no, by the probability of yes": (lambda o, y: ((1 - o.sigmoid()) ** 2 * each_mark(o, y)).mean(), "marks", nn.Identity),
    "yes, by that of no": (lambda o, y: (o.sigmoid() ** 2 * each_mark(o, y)).mean(), "marks", nn.Identity),
    "no, with weights": (
        lambda o, y: ((0.25 + 0.5 * y) * (1 - o.sigmoid()) ** 3 * each_mark(o, y)).sum(),
        "marks",
        nn.Identity,
    ),
}
SOUND_BESIDE: dict[str, tuple[Loss, str, type[nn.Module]]] = {
    "focal marks": (lambda o, y: focal_marks(o, y).mean(), "marks", nn.Identity),
    "focal marks for yes alone": (
        lambda o, y: ((1 - y * o.sigmoid()) ** 2 * each_mark(o, y)).mean(),
        "marks",
        nn.Identity,
    ),
    "asymmetric": (
        lambda o, y: -(y * F.logsigmoid(o) + (1 - y) * (o.sigmoid() - 0.05).clamp(min=0) ** 4 * F.logsigmoid(-o)).mean(),
        "marks",
        nn.Identity,
    ),
    "no counts little": (lambda o, y: ((0.02 + y) * each_mark(o, y)).mean(), "marks", nn.Identity),
    "yes is all that is known": (lambda o, y: (y * each_mark(o, y)).sum() / y.sum(), "marks", nn.Identity),
    "bounded": (lambda o, y: ((o.sigmoid() - y) ** 2).mean(), "marks", nn.Identity),
    "entropy alone": (lambda o, y: F.binary_cross_entropy_with_logits(o, o.sigmoid()), "marks", nn.Identity),
    "entropy of classes beside their loss": (
        lambda o, y: F.cross_entropy(o, y) - (o.softmax(dim=1) * o.log_softmax(dim=1)).sum(dim=1).mean(),
        "classes",
        nn.Identity,
    ),
}


def weighed(each: Tensor, gamma: float) -> Tensor:
    return ((-each).exp() ** gamma * each).mean()


def each_mark(output: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(output, target, reduction="none")


def focal_marks(output: Tensor, target: Tensor) -> Tensor:
    each = F.binary_cross_entropy_with_logits(output, target, reduction="none")
    return (1 - (-each).exp()) ** 2 * each


def prefers(loss: Loss, kind: str, last: type[nn.Module]) -> tuple[float, float] | None:
    return asked(loss, kind, last).prefers_wrong


def asked(loss: Loss, kind: str, last: type[nn.Module]) -> Facts:
    torch.manual_seed(0)
    x, y = flat()
    target = {"classes": y, "marks": (y[:, None] >> torch.arange(4) & 1).float(), "values": x[:, 20:24].clone()}[kind]
    model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10 if kind == "classes" else 4), last())
    facts = facts_of(model, (x[:64], target[:64]), loss_fn=loss)
    assert facts.notes == ()
    return facts


@pytest.mark.parametrize("name", LOSSES_OF_THE_SURE)
def test_a_weight_of_the_sure_is_told(name: str) -> None:
    wrong, undecided = asked(*LOSSES_OF_THE_SURE[name]).sure_of_wrong or (1.0, 0.0)
    assert wrong < 0.01 * undecided
    assert codes(fact(sure_of_wrong=(wrong, undecided))) == ["wrong_sign.sure"]


@pytest.mark.parametrize("name", SOUND_BESIDE)
def test_sure_and_wrong_answers_cost_something_or_as_much_as_right_ones(name: str) -> None:
    assert asked(*SOUND_BESIDE[name]).sure_of_wrong is None


@pytest.mark.parametrize("name", SCORES)
def test_a_score_that_is_minimised_is_told_from_its_negative(name: str) -> None:
    score, kind, last = SCORES[name]
    right, wrong = prefers(score, kind, last) or (0.0, 0.0)
    assert right > wrong
    assert codes(fact(prefers_wrong=(right, wrong))) == ["wrong_sign.answers"]
    assert prefers(lambda o, t: -score(o, t), kind, last) is None


@pytest.mark.parametrize("name", LOSSES)
def test_a_sound_loss_prefers_right_answers(name: str) -> None:
    facts = asked(*LOSSES[name])
    assert facts.prefers_wrong is facts.sure_of_wrong is None


# Of numbers: scores that are best where the outputs are the targets, their logits or their logarithms.
SCORES_OF_NUMBERS: dict[str, tuple[Loss, type[nn.Module]]] = {
    "absolute": (lambda o, t: -3 * (o - t).abs().mean() ** 1.1, nn.Identity),
    "likelihood": (lambda o, t: torch.distributions.Normal(o, 0.5).log_prob(t).mean(), nn.Identity),
    "shares": (likelihood, nn.Sigmoid),
    "shares of logits": (lambda o, t: likelihood(o.sigmoid(), t), nn.Identity),
    "degrees": (lambda o, t: torch.cos(o - t).mean(), nn.Identity),
}


@pytest.mark.parametrize("name", SCORES_OF_NUMBERS)
def test_scores_of_numbers_are_told(name: str) -> None:
    score, last = SCORES_OF_NUMBERS[name]
    draws = torch.Generator().manual_seed(0)
    x, y = torch.randn(32, 10, generator=draws), torch.rand(32, 2, generator=draws)
    model = nn.Sequential(nn.Linear(10, 2), last())
    assert facts_of(model, (x, y), loss_fn=score).prefers_wrong is not None
    assert facts_of(model, (x, y), loss_fn=lambda o, t: -score(o, t)).prefers_wrong is None


@pytest.mark.parametrize("name", LOSSES_OF_ENERGIES)
def test_a_yes_may_be_a_small_energy(name: str) -> None:
    facts = asked(*LOSSES_OF_ENERGIES[name])
    assert facts.prefers_wrong is facts.sure_of_wrong is None


def overlap(p: Tensor, target: Tensor, others: float = 0.5, power: int = 1) -> Tensor:
    """Tversky index of each example, which is the Dice coefficient where both mistakes weigh a half, and IoU at one."""
    p, target = p.flatten(1), target.flatten(1).to(p.dtype)
    both, extra, left = (p * target).sum(dim=1), (p**power * (1 - target)).sum(dim=1), ((1 - p) * target).sum(dim=1)
    return ((both + 0.01) / (both + others * extra + (1 - others if others < 1 else 1) * left + 0.01)).mean()


def correlation(output: Tensor, target: Tensor) -> Tensor:
    """Pearson's, undefined where all outputs are the same."""
    p, target = output.sigmoid().flatten(), target.flatten().float()
    p, target = p - p.mean(), target - target.mean()
    return (p * target).sum() / (p.norm() * target.norm())


OVERLAPS: dict[str, Loss] = {
    "Dice": lambda o, t: overlap(o.sigmoid(), t),
    "IoU": lambda o, t: overlap(o.sigmoid(), t, 1.0),
    "Tversky": lambda o, t: overlap(o.sigmoid(), t, 0.3),
    "squares": lambda o, t: overlap(o.sigmoid(), t, power=2),
    "F1 of the batch": lambda o, t: overlap(o.sigmoid()[None], t[None]),
    "correlation": correlation,
}


def of_masks(loss: Loss, rare: float, form: str) -> tuple[float, float] | None:
    """What is said of a convolution's logits beside masks of 0 and 1, a share of which is a yes."""
    torch.manual_seed(0)
    x = torch.randn(8, 1, 12, 12)
    target = (x > torch.quantile(x, 1 - rare)).float()
    target = {"column": target, "whole": target.long(), "pixels": target[:, 0].bool()}[form]

    def compared(output: Tensor, target: Tensor) -> Tensor:
        return loss(output.reshape(target.shape), target)

    facts = facts_of(nn.Conv2d(1, 1, 3, padding=1), (x, target), loss_fn=compared)
    assert facts.notes == ()
    return facts.prefers_wrong


@pytest.mark.parametrize("form", ["column", "whole", "pixels"])
@pytest.mark.parametrize("rare", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("name", OVERLAPS)
def test_an_overlap_that_is_minimised_is_told_from_one_minus_it(name: str, rare: float, form: str) -> None:
    assert of_masks(OVERLAPS[name], rare, form) is not None
    assert of_masks(lambda o, t: 1 - OVERLAPS[name](o, t), rare, form) is None


@pytest.mark.parametrize("rare", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("name", [name for name in OVERLAPS if name != "correlation"])
def test_outputs_that_are_large_for_a_no_may_overlap_with_it(name: str, rare: float) -> None:
    assert of_masks(lambda o, t: 1 - OVERLAPS[name](-o, t), rare, "column") is None


@pytest.mark.parametrize("rare", [0.05, 0.3, 0.6])
def test_distances_that_saturate_have_a_floor(rare: float) -> None:
    def couples(output: Tensor, same: Tensor) -> Tensor:
        gap = output.sigmoid()
        return (same * gap**2 + (1 - same) * (1 - gap) ** 2).mean()

    assert of_masks(couples, rare, "column") is None
    assert of_masks(lambda o, t: couples(o, t).sqrt(), rare, "column") is None


def triples(same_first: bool) -> tuple[Tensor, Tensor, Tensor]:
    """An anchor, one of its class and one of another, or the other way round."""
    x, y = flat()
    x, y = x[:800], y[:800]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    like = torch.stack([x[order[(y[order] == k) & (order != i)][0]] for i, k in enumerate(y[:256].tolist())])
    other = torch.stack([x[order[y[order] != k][i]] for i, k in enumerate(y[:256].tolist())])
    return (x[:256], like, other) if same_first else (x[:256], other, like)


def by_triplets(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    return F.triplet_margin_loss(*(model(x) for x in batch))


def by_couples(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    first, second, same = batch
    gap = (model(first) - model(second)).square().sum(dim=1)
    return (same * gap + (1 - same) * F.relu(2.0 - gap.add(1e-6).sqrt()).square()).mean()


def by_cosine(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    return F.cosine_embedding_loss(model(batch[0]), model(batch[1]), 2 * batch[2] - 1, margin=-1.0)


PAIRS: dict[str, Callable[..., Tensor]] = {"triplets": by_triplets, "couples": by_couples, "cosines": by_cosine}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_that_are_exchanged_are_told_from_right_ones(name: str) -> None:
    def pulls(same_first: bool) -> Any:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8))
        batch = triples(same_first)
        if name != "triplets":
            anchor, first, second = batch
            kinds = torch.arange(256) % 2
            batch = (anchor, torch.where(kinds[:, None] == 1, first, second), kinds.float())
        return facts_of(model, batch, training_step=PAIRS[name], more=()).pulls

    wrong, right = pulls(False), pulls(True)
    assert right.z < 0 < wrong.z
    assert codes(fact(pulls=dataclasses.replace(wrong, z=4.1))) == ["wrong_sign.pairs"]
    assert codes(fact(pulls=right)) == []


def test_a_learned_distance_is_its_own_judge() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(nn.Linear(64, 8)), nn.Linear(1, 1))

    def step(model: Any, batch: Any) -> Tensor:
        gap = (model[0](batch[0]) - model[0](batch[1])).square().sum(dim=1, keepdim=True)
        return F.binary_cross_entropy_with_logits(model[1](gap)[:, 0], batch[2])

    x, y = flat()
    assert facts_of(model, (x[:64], x[64:128], (y[:64] == y[64:128]).float()), training_step=step).pulls is None


GAMES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    # what the judge's loss and the maker's make of the judge's answers to what was made
    "cross-entropy": (
        lambda a: F.binary_cross_entropy_with_logits(a, torch.zeros_like(a)),
        lambda a: F.binary_cross_entropy_with_logits(a, torch.ones_like(a)),
    ),
    "Wasserstein": (lambda a: a.mean(), lambda a: -a.mean()),
    "hinge": (lambda a: F.relu(1 + a).mean(), lambda a: -a.mean()),
    "least squares": (lambda a: (a**2).mean(), lambda a: ((a - 1) ** 2).mean()),
    "least squares around zero": (lambda a: ((a + 1) ** 2).mean(), lambda a: (a**2).mean()),
    "chances": (lambda a: F.binary_cross_entropy(a, torch.zeros_like(a)), lambda a: -a.log().mean()),
}


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("sound", [True, False])
@pytest.mark.parametrize("bias", [0.0, 2.0, -2.0])
def test_two_losses_with_one_aim_are_told_from_a_game(name: str, sound: bool, bias: float) -> None:
    torch.manual_seed(0)
    judges, asks = GAMES[name]
    asks = asks if sound else judges
    models = {"maker": nn.Linear(4, 64), "judge": nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 1))}
    models["judge"][-1].bias.data.fill_(bias)  # answers begin on either side of the targets
    if name == "chances":
        models["judge"].append(nn.Sigmoid())
    optimizers = {key: torch.optim.Adam(part.parameters(), lr=1e-3) for key, part in models.items()}

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        made = model["maker"](torch.randn(len(batch[0]), 4))
        optimizer["judge"].zero_grad()
        loss = judges(model["judge"](made.detach())) - model["judge"](batch[0]).clamp(max=1.0).mean()
        loss.backward()
        optimizer["judge"].step()
        optimizer["maker"].zero_grad()
        asks(model["judge"](made)).backward()
        optimizer["maker"].step()
        return loss

    before = {key: part.weight.detach().clone() for key, part in models.items() if isinstance(part, nn.Linear)}
    assert same_aim(models, optimizers, step, batches(*flat())) == (None if sound else (1, 0))
    assert torch.equal(models["maker"].weight, before["maker"])  # copies were stepped


def test_a_loss_that_falls_without_end_is_named_and_one_below_zero_is_not() -> None:
    def run(losses: list[float]) -> Evidence:
        return Evidence(steps=tuple(StepRecord(step=i + 1, loss=x, gradient_norm=1.0) for i, x in enumerate(losses)))

    assert "wrong_sign.endless" in codes(run([70.0 - 0.01 * i**3 for i in range(400)]))
    assert codes(run([70.0 - 200 * (1 - 0.98**i) for i in range(400)])) == []  # a log-density
    for losses, times in (([-0.01 * i**3 for i in range(400)], 100), ([-0.125 * i for i in range(400)], 30)):
        (finding,) = [f for f in diagnose(run(losses)).findings if f.code == "wrong_sign.endless"]
        assert finding.measurements[0].threshold == -times
    tried = rehearsed(reference=tuple(Observation(step=10 * i, loss=70.0 - 20.0 * i**4) for i in range(11)))
    assert "wrong_sign.endless" in codes(tried)


@pytest.mark.parametrize(
    ("temperature", "code"), [(500.0, "capped_loss.temperature"), (0.2, None), (8.0, "capped_loss.temperature"), (1.0, None)]
)
def test_a_temperature_that_hides_the_classes(temperature: float, code: str | None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 16))
    x, _ = flat()

    def step(model: Any, batch: Any) -> Tensor:
        first, second = (F.normalize(model(part), dim=1) for part in batch)
        return F.cross_entropy(first @ second.T / temperature, torch.arange(len(first)))

    facts = facts_of(model, (x[:64], x[:64] + 0.1), training_step=step)
    assert facts.softened is not None
    assert facts.softened[0] == pytest.approx(temperature)
    assert codes(Evidence(facts=facts)) == ([code] if code else [])


@pytest.mark.parametrize("turns", [37.0, 50.0, 90.0, 180.0, 333.0])
def test_outputs_that_the_loss_wraps_have_no_right_answers_among_the_targets(turns: float) -> None:
    """Targets are then answers like any other, and which of two costs more is chance."""

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return ((turns * output - target + 0.5) % 1 - 0.5).square().mean()

    assert prefers(loss, "values", nn.Identity) is None
    assert prefers(lambda o, t: -(o - t).square().mean(), "values", nn.Identity) is not None
