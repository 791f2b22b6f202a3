"""Images whose targets are images: turned without them, or answered at other places, beside sound programs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.audit_results import Relation
from trainability.doctor.facts import Facts
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.turned import back_to_front, turned

FLIPS: dict[str, Callable[[Tensor], Tensor]] = {
    "flipped left to right": lambda x: x.flip(3),
    "flipped top to bottom": lambda x: x.flip(2),
    "transposed": lambda x: x.transpose(2, 3),
}


def regions(n: int = 240, *, noise: float = 0.7) -> tuple[Tensor, Tensor]:
    """Images (n, 2, 16, 16) of three kinds of region, and which kind each pixel is of."""
    rng = torch.Generator().manual_seed(0)
    smooth = F.avg_pool2d(torch.randn(n, 3, 24, 24, generator=rng), 9, 1)
    kinds = smooth.argmax(dim=1)
    clean = torch.stack([(kinds == 1).float() + 0.3 * (kinds == 2), (kinds == 2).float()], dim=1)
    return clean + noise * torch.randn(n, 2, 16, 16, generator=rng), kinds


def points(n: int = 240) -> tuple[Tensor, Tensor]:
    """Images (n, 1, 24, 24) with a bright and a dark spot, and a map of each (n, 2, 8, 8)."""
    rng = torch.Generator().manual_seed(1)
    at = torch.rand(n, 2, 2, 1, 1, generator=rng) * 20 + 2
    rows = torch.arange(24.0)[:, None]
    maps = torch.exp(-((at[:, :, 0] - rows).square() + (at[:, :, 1] - rows.T).square()) / 12)
    return 2 * (maps[:, :1] - maps[:, 1:]) + 0.5 * torch.randn(n, 1, 24, 24, generator=rng), F.avg_pool2d(maps, 3)


SCENES = {"regions": regions, "points": points}


def phases(n: int = 240) -> tuple[Tensor, Tensor]:
    """Series (n, 24, 2) with two pulses, and before, between or behind which of them a step is."""
    rng = torch.Generator().manual_seed(2)
    start = torch.randint(3, 10, (n, 1), generator=rng)
    end, t = start + torch.randint(4, 9, (n, 1), generator=rng), torch.arange(24)
    x = 0.4 * torch.randn(n, 24, 2, generator=rng)
    x[:, :, 0] += 2.5 * ((t == start) | (t == end))
    return x, (t >= start).long() + (t >= end).long()


def levels(n: int = 240) -> tuple[Tensor, Tensor]:
    """Series (n, 24, 1) and where each step lies, below, in or above the middle; the last steps of some have no tag."""
    rng = torch.Generator().manual_seed(3)
    x = 2 * F.avg_pool1d(torch.randn(n, 1, 26, generator=rng), 3, 1).transpose(1, 2)
    tags = (x[:, :, 0] > -1).long() + (x[:, :, 0] > 1).long()
    return x + 0.5 * torch.randn(x.shape, generator=rng), torch.where(torch.arange(24) < 20, tags, -100)


def to_come(n: int = 240) -> tuple[Tensor, Tensor]:
    """Series (n, 24, 1) and whether each of the next 24 steps is above zero: what comes first lies nearest to the end."""
    rng = torch.Generator().manual_seed(4)
    x = torch.zeros(n, 48)
    for t in range(1, 48):
        x[:, t] = 0.8 * x[:, t - 1] + torch.randn(n, generator=rng)
    return x[:, :24, None], (x[:, 24:] > 0).float()


@pytest.mark.parametrize("series", [phases, levels])
def test_tags_back_to_front(series: Any) -> None:
    x, y = series()
    found = back_to_front(x, y.flip(1))
    assert found is not None
    assert found.turned > found.own + 0.1
    assert found.share > 0.6
    assert back_to_front(x, y) is None
    told = diagnose(Evidence(relation=Relation(num_examples=240, z=20.0, turned=found))).findings
    assert [f.code for f in told] == ["shuffled_labels.turned"]


def test_what_comes_next_is_not_asked_in_the_other_order() -> None:
    assert back_to_front(*to_come()) is None
    x, y = phases()
    assert back_to_front(x, y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]) is None


@pytest.mark.parametrize("kinds", [5, 6])
def test_to_say_a_sequence_backwards_is_a_task(kinds: int) -> None:
    """One-hot steps and their numbers from the last to the first; where two kinds have one tag, it is no copy."""
    steps = torch.randint(0, 6, (240, 12), generator=torch.Generator().manual_seed(5))
    found = back_to_front(F.one_hot(steps, 6).float(), steps.flip(1).clamp(max=kinds - 1))
    assert (found is None) is (kinds == 6)


def some(x: Tensor, flip: Callable[[Tensor], Tensor], every: int) -> Tensor:
    x = x.clone()
    x[::every] = flip(x[::every]).clone()
    return x


@pytest.mark.parametrize("scenes", SCENES)
@pytest.mark.parametrize("turn", FLIPS)
@pytest.mark.parametrize("every", [1, 4])
def test_images_that_are_turned_without_their_targets(scenes: str, turn: str, every: int) -> None:
    x, y = SCENES[scenes]()
    local, _, found = turned(some(x, FLIPS[turn], every), y)
    assert found is not None
    assert found.own == local
    assert found.turn == turn
    assert found.share == pytest.approx(1 / every, abs=0.12)
    assert found.turned > found.own + 0.05
    said = diagnose(Evidence(relation=Relation(num_examples=240, z=20.0, local=local, turned=found))).findings
    assert [f.code for f in said] == ["shuffled_labels.turned"]


def skies(n: int = 240) -> tuple[Tensor, Tensor]:
    """What is above is one thing, what is below another: a mirrored sky is a sky."""
    rng = torch.Generator().manual_seed(2)
    y = (torch.arange(16.0)[:, None] < 8 + 2 * torch.randn(n, 1, 1, generator=rng)).float().expand(n, 16, 16)
    return y[:, None] + 0.8 * torch.randn(n, 1, 16, 16, generator=rng), y


@pytest.mark.parametrize("dim", [1, 2])
def test_of_two_turns_that_explain_as_much_the_plainer_is_named(dim: int) -> None:
    """What has two like halves is turned by 180 degrees where it is flipped across them."""
    x, y = regions()
    x, y = torch.cat([x, x.flip(3)], dim=3), torch.cat([y, y.flip(2)], dim=2)
    if dim == 2:
        x, y = x.transpose(2, 3), y.transpose(1, 2)
    found = turned(x, y.flip(dim))[2]
    assert found is not None
    assert found.turn == ("flipped top to bottom" if dim == 1 else "flipped left to right")


def itself(n: int = 240) -> tuple[Tensor, Tensor]:
    x = torch.rand(n, 3, 12, 12, generator=torch.Generator().manual_seed(3))
    return x, x


def moving(n: int = 240) -> tuple[Tensor, Tensor]:
    """The next frame, in which all has moved to the right."""
    x = F.avg_pool2d(torch.randn(n, 1, 22, 22, generator=torch.Generator().manual_seed(4)), 7, 1)
    return x, x.roll(2, dims=3)


def apart(n: int = 240) -> tuple[Tensor, Tensor]:
    x, y = regions(n)
    return x, y.roll(1, dims=0)


def aside(n: int = 240) -> tuple[Tensor, Tensor]:
    """One large disc, on the left or on the right, and the disc of another image: half of them fit better when mirrored."""
    rng = torch.Generator().manual_seed(5)
    left = torch.randint(2, (n, 1, 1), generator=rng) * 8 + 4 + torch.randn(n, 1, 1, generator=rng)
    rows = torch.arange(16.0)[:, None]
    y = ((rows - 8).square() + (rows.T - left).square() < 16).float()
    return 2 * y[:, None] + 0.3 * torch.randn(n, 1, 16, 16, generator=rng), y[torch.randperm(n, generator=rng)]


@pytest.mark.parametrize("scenes", [regions, points, itself, moving, apart, aside])
def test_images_beside_their_targets_are_not_turned(scenes: Any) -> None:
    local, _, found = turned(*scenes())
    assert found is None
    assert local is not None
    assert local > 0.05 or scenes in (apart, aside)


def test_a_turn_that_changes_nothing_is_none() -> None:
    x, y = skies()
    assert turned(some(x, FLIPS["flipped left to right"], 2), y)[2] is None


class Narrow(nn.Module):
    """Convolutions, and what is done with their outputs."""

    def __init__(self, given: int, out: int, then: Callable[[Tensor], Tensor], stride: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = [nn.Conv2d(given, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, stride=stride, padding=1), nn.ReLU()]
        self.body, self.then = nn.Sequential(*layers, nn.Conv2d(12, out, 1)), then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(self.body(x))


def keep(z: Tensor) -> Tensor:
    return z


def reshaped(z: Tensor) -> Tensor:
    return z.permute(0, 2, 3, 1).reshape(z.shape)


def crossed(z: Tensor) -> Tensor:
    return z.transpose(2, 3)


def squares(output: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(output, target)


def by_hand(output: Tensor, target: Tensor) -> Tensor:
    """A mean over what is marked, as of boxes."""
    there = target > 0.3
    return F.binary_cross_entropy_with_logits(output, target) + ((output - target).abs() * there).sum() / there.sum()


def dice(output: Tensor, target: Tensor) -> Tensor:
    p, one = output.softmax(dim=1), F.one_hot(target, 3).movedim(-1, 1)
    return 1 - 2 * (p * one).sum() / (p.sum() + one.sum())


def viewed(output: Tensor, target: Tensor) -> Tensor:
    """Of one mark a pixel, in the order of another layout."""
    return F.mse_loss(output.movedim(1, -1).reshape(len(output), -1), target.flatten(1))


def places_of(model: nn.Module, scenes: Any, loss: Any) -> tuple[Facts, list[str]]:
    x, y = scenes()
    facts = facts_of(model, (x[:32], y[:32]), loss_fn=loss)
    said = diagnose(Evidence(facts=facts, relation=Relation(num_examples=240, z=20.0, local=turned(x, y)[0]))).findings
    return facts, [f.code for f in said if f.code.startswith("misread_logits")]


@pytest.mark.parametrize(
    ("scenes", "out", "then", "loss"),
    [
        (regions, 3, reshaped, dice),
        (regions, 3, crossed, F.cross_entropy),
        (points, 2, reshaped, squares),
        (points, 2, crossed, by_hand),
        (points, 2, keep, viewed),
    ],
)
def test_answers_that_look_at_another_place(scenes: Any, out: int, then: Any, loss: Any) -> None:
    model = Narrow(2 if scenes is regions else 1, out, then, stride=1 if scenes is regions else 3)
    facts, said = places_of(model, scenes, loss)
    assert facts.misplaced is not None
    assert min(facts.misplaced.down, facts.misplaced.across) < 0.5
    assert said == ["misread_logits.places"]


@pytest.mark.parametrize(("scenes", "loss"), [(regions, dice), (points, squares), (points, by_hand)])
def test_answers_that_look_at_their_own_place(scenes: Any, loss: Any) -> None:
    model = Narrow(2 if scenes is regions else 1, 3 if scenes is regions else 2, keep, stride=1 if scenes is regions else 3)
    facts, said = places_of(model, scenes, loss)
    assert facts.misplaced is not None
    assert min(facts.misplaced.down, facts.misplaced.across) > 0.8
    assert said == []


class Cells(nn.Module):
    """A detector's head: of each cell of an 8 x 8 grid, of one anchor or several, a score and a place in it."""

    def __init__(self, anchors: int, *, viewed: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(1, 8, 3, 3), nn.ReLU(), nn.Conv2d(8, 3 * anchors, 3, padding=1))
        self.anchors, self.viewed = anchors, viewed

    def forward(self, x: Tensor) -> Tensor:
        made = self.net(x) if self.viewed else self.net(x).permute(0, 2, 3, 1)
        return made.reshape(len(x), 8, 8, *([3] if self.anchors == 1 else [self.anchors, 3]))


def cells(anchors: int) -> tuple[Tensor, Tensor]:
    """Images with two spots, and for each cell whether one is there, and its strength, twice."""
    x, maps = points()
    there = (maps.sum(dim=1) > 0.3).float()
    y = torch.stack([there, there * maps[:, 0], there * maps[:, 1]], dim=-1)
    return x, y if anchors == 1 else y[:, :, :, None].expand(-1, -1, -1, anchors, -1).clone()


def cell_loss(output: Tensor, target: Tensor) -> Tensor:
    there = target[..., 0] > 0
    score = F.binary_cross_entropy_with_logits(output[..., 0], target[..., 0])
    return score + F.smooth_l1_loss(output[..., 1:].sigmoid()[there], target[..., 1:][there])


@pytest.mark.parametrize("anchors", [1, 2])
@pytest.mark.parametrize("viewed", [True, False])
def test_cells_that_are_viewed_for_a_permutation(anchors: int, viewed: bool) -> None:
    x, y = cells(anchors)
    facts = facts_of(Cells(anchors, viewed=viewed), (x[:32], y[:32]), loss_fn=cell_loss)
    assert facts.misplaced is not None
    assert facts.misplaced.viewed == viewed
    assert [f.code for f in diagnose(Evidence(facts=facts)).findings] == ["misread_logits.places"] * viewed


def test_a_model_that_reads_the_whole_image_looks_at_no_place() -> None:
    torch.manual_seed(0)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 128), nn.Unflatten(1, (2, 8, 8)))
    facts, said = places_of(flat, points, squares)
    assert facts.misplaced is None
    assert said == []


@pytest.mark.parametrize("shift", [0, 1])
def test_an_image_that_is_returned_with_a_cost_is_held_against_its_own(shift: int) -> None:
    class Coded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            made = self.net(x)
            return {"image": made, "cost": made.square().mean()}

    def step(model: Any, batch: Any) -> Tensor:
        found = model(batch[0])
        return F.mse_loss(found["image"], batch[0].roll(shift, dims=0)) + 0.1 * found["cost"]

    torch.manual_seed(0)
    facts = facts_of(Coded(), [regions(40)[0]], training_step=step)
    assert (facts.misaligned is not None) == bool(shift)


@pytest.mark.parametrize("crossed", [True, False])
@pytest.mark.parametrize("loss", [F.mse_loss, F.smooth_l1_loss])
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_column_beside_a_row_in_a_loss_of_pytorch(loss: Any, crossed: bool) -> None:
    """Scores of two calls, which the step joins: neither is what the model returned."""
    torch.manual_seed(0)
    model = nn.Linear(6, 1)

    def step(model: Any, batch: Any) -> Tensor:
        scores = torch.cat([model(batch[0]), model(-batch[0])])
        marks = torch.cat([torch.ones(len(batch[0])), torch.zeros(len(batch[0]))])
        return loss(scores if crossed else scores[:, 0], marks)

    facts = facts_of(model, [torch.randn(16, 6)], training_step=step)
    assert (facts.broadcast_shape == (32, 32)) == crossed


def test_all_pairs_of_differences_are_meant() -> None:
    def step(model: Any, batch: Any) -> Tensor:
        scores = model(batch[0])[:, 0]
        apart, asked = scores[:, None] - scores, batch[1][:, None] - batch[1]
        return F.mse_loss(apart, asked)

    torch.manual_seed(0)
    facts = facts_of(nn.Linear(6, 1), [torch.randn(16, 6), torch.randn(16)], training_step=step)
    assert facts.broadcast_shape is None


class Mixed(nn.Module):
    """Several maps, weighed by a softmax over them (dim=1), or over the batch."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gate, self.maps, self.dim = nn.Linear(6, 4), nn.Linear(6, 4), dim

    def forward(self, x: Tensor) -> Tensor:
        return (self.gate(x).softmax(dim=self.dim) * self.maps(x)).sum(dim=1, keepdim=True)


@pytest.mark.parametrize("dim", [0, 1])
def test_a_gate_over_the_batch_is_no_softmax_of_the_loss(dim: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(32, 6)
    facts = facts_of(Mixed(dim), (x, x[:, :1] * x[:, 1:2]), loss_fn=F.mse_loss)
    assert facts.graph is not None
    assert not facts.graph.over_batch
    assert ((facts.leakage or 0.0) > 1e-3) == (dim == 0)
