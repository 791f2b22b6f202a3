"""Whether targets have to do with inputs: data of many kinds, each beside its own targets and beside those of others."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor import Evidence, diagnose
from trainability.doctor.audit_results import Relation
from trainability.doctor.evidence import Evaluation
from trainability.doctor.facts import Facts
from trainability.doctor.measure.relation import read_relation, relation
from trainability.doctor.rules.unrelated import RELATED

N = 400


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def whole(high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(2))


def exclusive_or() -> tuple[Tensor, Tensor]:
    bits = whole(2, N, 6)
    return 2.0 * bits - 1, bits[:, :2].sum(dim=1) % 2


def signs_that_agree() -> tuple[Tensor, Tensor]:
    """Two answers, each whether two of sixteen readings have one sign: neither a distance nor one reading tells them."""
    readings = drawn(N, 16)
    return readings, (readings[:, 2] * readings[:, 3] > 0).long() + 2 * (readings[:, 8] * readings[:, 9] > 0).long()


def frequencies() -> tuple[Tensor, Tensor]:
    time, kind, phase = torch.arange(64) / 10, whole(4, N), 6.3 * torch.rand(N, 1, generator=torch.Generator().manual_seed(3))
    return (torch.sin(time * (2 + kind[:, None]) + phase) + 0.5 * drawn(N, 64))[:, :, None], kind


def shapes_anywhere() -> tuple[Tensor, Tensor]:
    images, kind, place = 0.5 * drawn(N, 1, 16, 16), whole(2, N), whole(10, N, 2).tolist()
    for image, cross, (i, j) in zip(images, kind.tolist(), place, strict=True):
        if cross:
            image[0, i : i + 5, j + 2] += 3.3
            image[0, i + 2, j : j + 5] += 3.3
        else:
            image[0, i : i + 5, j : j + 5] += 1.5
    return images, kind


def masks() -> tuple[Tensor, Tensor]:
    masks = (torch.nn.functional.interpolate(drawn(N, 1, 4, 4), scale_factor=4) > 0).float()
    return masks + 0.7 * drawn(N, 1, 16, 16), masks


def frames() -> tuple[Tensor, Tensor]:
    """Two frames, and by how much what they show has moved."""
    scene, move = torch.nn.functional.avg_pool2d(drawn(N, 1, 18, 18), 3, 1), whole(5, N, 2) - 2
    later = torch.stack([one.roll((int(m[0]), int(m[1])), dims=(1, 2)) for one, m in zip(scene, move, strict=True)])
    return torch.cat([scene, later], dim=1) + 0.05 * drawn(N, 2, 16, 16), move.float()


def first_word() -> tuple[Tensor, Tensor]:
    words = whole(10, N, 20)
    return words, words[:, 0] % 2


def categories() -> tuple[Tensor, Tensor]:
    number = whole(100, N)
    return torch.cat([number[:, None].float(), drawn(N, 5)], dim=1), drawn(100, 1)[number]


def recall() -> tuple[Tensor, Tensor]:
    """Keys beside their values, and last a key whose value is asked for."""
    rng = torch.Generator().manual_seed(6)
    keys, values, asked = torch.rand(N, 16, generator=rng).argsort(dim=1)[:, :9], whole(6, N, 9), whole(9, N, 1)
    pairs = torch.stack([torch.cat([keys, keys.gather(1, asked)], 1), torch.cat([values, torch.full((N, 1), 6)], 1)], dim=1)
    return pairs, values.gather(1, asked)[:, 0]


def told_by_several(kind: str) -> tuple[Tensor, Tensor]:
    """Tokens drawn evenly, and what no single place of them tells."""
    words = whole(9, N, 12)
    return words, {
        "copied": words.flip(1),
        "counted": (words == 4).sum(dim=1),
        "counted like the last": (words[:, :-1] == words[:, -1:]).sum(dim=1),
        "the first again at the end": (words[:, 0] == words[:, -1]).long(),
        "a sum's remainder": words.sum(dim=1) % 5,
        "a parity": whole(9, N, 12).sum(dim=1) % 2,
    }[kind]


KINDS = {
    "an exclusive or": exclusive_or,
    "signs that agree": signs_that_agree,
    "numbers, one each": lambda: (drawn(N, 6), drawn(N, 6)[:, 0].sin()),
    "a fast wave of two coordinates": lambda: (whole(64, N, 2) / 64, torch.sin(whole(64, N, 2) / 4).prod(dim=1)),
    "a product": lambda: (drawn(N, 6), drawn(N, 6)[:, :2].prod(dim=1, keepdim=True)),
    "a frequency in any phase": frequencies,
    "a shape anywhere": shapes_anywhere,
    "masks": masks,
    "how far frames moved": frames,
    "the first word": first_word,
    "words sorted": lambda: (whole(10, N, 8), whole(10, N, 8).sort(dim=1)[0]),
    "a category": categories,
    "a value recalled by its key": recall,
    **{
        kind: partial(told_by_several, kind)
        for kind in (
            "copied",
            "counted",
            "counted like the last",
            "the first again at the end",
            "a sum's remainder",
            "a parity",
        )
    },
}


def compared(x: Tensor, y: Tensor) -> Relation:
    found = relation(x, y)
    assert found is not None
    return found


@pytest.mark.parametrize("name", KINDS)
def test_own_targets_are_told_from_those_of_others(name):
    x, y = KINDS[name]()
    others = y[torch.randperm(N, generator=torch.Generator().manual_seed(4))]
    assert compared(x, y).z > 2 * RELATED
    assert compared(x, others).z < RELATED


def test_a_category_says_by_being_equal_and_a_quantity_by_being_large():
    x, y = categories()
    assert compared(x, y).categories == (0,)
    assert compared(x, 0.01 * x[:, :1]).categories == ()
    evidence = Evidence(relation=compared(x, y), facts=Facts())
    assert [f.code for f in diagnose(evidence).findings] == ["numbers_for_words.column"]
    looked_up = Evidence(relation=compared(x, y), facts=Facts(looks_up=True))
    assert diagnose(looked_up).findings == ()


@pytest.mark.parametrize("scaled", [lambda c: (c - c.mean()) / c.std(), lambda c: c / c.max()])
def test_a_category_is_one_behind_a_scaler_too(scaled):
    x, y = categories()
    x[:, 0] = scaled(x[:, 0].clone())
    assert compared(x, y).categories == (0,)
    assert compared(x, 0.01 * x[:, :1]).categories == ()
    x[:, 0] += 0.001 * drawn(N)
    assert compared(x, y).categories == ()


def test_what_cannot_be_compared_is_left_alone():
    assert relation(drawn(99, 4), whole(2, 99)) is None  # too few
    assert relation(whole(50, N, 2), drawn(N, 1)) is None  # a user and a film
    assert relation(drawn(N, 4), torch.ones(N, 1)) is None  # one target
    images, labels = drawn(N, 4), whole(2, N)
    assert read_relation([images.split(50), labels.split(50)]) is None
    couples = [(images[:200], images[200:], labels[:200].float())]
    assert read_relation(couples) is None  # which of the two, is not known
    graph = [(images, (images[:, 0] > 0).long(), labels > 0)]
    events = [((whole(9, N, 5), images, images > 0), labels)]
    assert read_relation(events) is None  # kinds beside amounts: either may tell, or both together
    assert read_relation([((images, (images > 0).long()), labels)]) == compared(images, labels)  # a mask
    assert read_relation(graph) == Relation(num_examples=N, z=compared(images, graph[0][1]).z)


def test_what_carries_over_to_validation_is_related():
    found = Evidence(relation=Relation(num_examples=N, z=0.0))
    assert [f.code for f in diagnose(found).findings] == ["shuffled_labels.unrelated"]
    fields = {"step": 100, "split": "validation", "num_examples": 400, "largest_label_fraction": 0.5}
    for error, silent in ((0.40, True), (0.45, False)):
        seen = found.merge(Evidence(evaluations=(Evaluation(**fields, counted_error=error, top1_error=error),)))
        assert ("shuffled_labels.unrelated" not in [f.code for f in diagnose(seen).findings]) is silent


def test_an_action_beside_its_reward_is_no_label() -> None:
    states, actions, rewards = drawn(N, 4), whole(3, N), drawn(N)
    assert read_relation([(states, actions)]) is not None
    assert read_relation([{"state": states, "action": actions, "reward": rewards}]) is None


@pytest.mark.parametrize(("rest", "share"), [(0, 2 / 3), (255, 2 / 3), (-100, 0.9)])
def test_masks_go_with_images_of_any_exposure_by_place(rest: int, share: float) -> None:
    """Few, noisy, and most places not labelled: no sum over an image tells its mask."""
    rng = torch.Generator().manual_seed(5)
    at, far = 2 + 28 * torch.rand(2, 110, 1, 1, generator=rng), 4 + 60 * torch.rand(110, 1, 1, generator=rng)
    place = torch.arange(32.0)
    mask = (place[:, None] - at[0]) ** 2 + (place - at[1]) ** 2 < far
    exposure = torch.randn(110, 3, 1, 1, generator=rng)
    x = mask[:, None] + exposure + 0.4 * torch.randn(110, 3, 32, 32, generator=rng)
    y = mask.long()
    y[torch.rand(y.shape, generator=rng) < share] = rest
    for order, silent in ((torch.arange(110), True), (torch.arange(110).roll(55), False)):
        found = diagnose(Evidence(relation=relation(x, y[order]), facts=Facts()))
        assert ("shuffled_labels.unrelated" not in [f.code for f in found.findings]) is silent


def hidden_parity(drawn_by: str) -> tuple[Tensor, Tensor]:
    """Of four bits among twenty; or texts, whose words are not drawn evenly, beside drawn labels."""
    rng = torch.Generator().manual_seed(7)
    bits = whole(2, N, 20)
    words = (30 * torch.rand(N, 20, generator=rng) ** 3).long()
    inputs = {
        "bits": bits,
        "signs": 2.0 * bits - 1,
        "tokens": bits + 5 * whole(3, N, 20),
        "text": words,
        "numbers": drawn(N, 20),
    }
    return inputs[drawn_by], bits[:, [1, 6, 11, 15]].sum(dim=1) % 2


@pytest.mark.parametrize(
    ("kind", "fires"), [("bits", False), ("signs", False), ("tokens", False), ("text", True), ("numbers", True)]
)
def test_of_tokens_drawn_evenly_no_relation_says_nothing(kind: str, fires: bool) -> None:
    found = compared(*hidden_parity(kind))
    assert found.z < RELATED
    assert found.drawn_evenly is not fires
    codes = [finding.code for finding in diagnose(Evidence(relation=found, facts=Facts())).findings]
    assert ("shuffled_labels.unrelated" in codes) is fires


@pytest.mark.parametrize("own", [True, False])
def test_one_channel_may_say_which_values_of_the_other_count(own: bool) -> None:
    """The sum of two marked values of forty, as recurrent nets are asked for it."""
    rng = torch.Generator().manual_seed(0)
    values, marks = torch.rand(600, 40, generator=rng), torch.zeros(600, 40)
    marks.scatter_(1, torch.rand(600, 40, generator=rng).argsort(dim=1)[:, :2], 1.0)
    sums = (values * marks).sum(dim=1, keepdim=True)
    found = relation(torch.stack([values, marks], dim=2), sums if own else sums.roll(1, 0))
    assert found is not None
    assert (found.z > 8) == own


def counts(kinds: Tensor) -> Tensor:
    """Of cells of some kinds (n,): many zeros, and some of hundreds."""
    rng = torch.Generator().manual_seed(3)
    depth = torch.rand(len(kinds), 1, generator=rng)
    rates = torch.exp(4.5 * torch.randn(len(kinds), 8, generator=rng) * depth + 2.5 * kinds[:, None] - 2)
    return torch.poisson(rates.clamp(max=5000), generator=rng)


def test_counts_that_are_mostly_zero_are_no_categories():
    kinds = torch.multinomial(torch.tensor([0.7, 0.2, 0.07, 0.03]), 600, True, generator=torch.Generator().manual_seed(3))
    assert compared(counts(kinds), kinds).categories == ()


def test_examples_that_are_drawn_again_do_not_make_their_columns_categories():
    rng = torch.Generator().manual_seed(4)
    kinds = torch.multinomial(torch.tensor([0.9, 0.1]), 600, True, generator=rng)
    x = (100 * torch.randn(600, 8, generator=rng)).round()
    drawn_again = torch.multinomial((1 / kinds.bincount())[kinds], 600, True, generator=rng)
    assert compared(x[drawn_again], kinds[drawn_again]).categories == ()
    x, y = categories()
    assert compared(x[: N // 2].repeat(2, 1), y[: N // 2].repeat(2, *[1] * (y.dim() - 1))).categories == (0,)


def test_examples_that_have_no_label_are_left_out():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(600, 2, generator=g)
    y = (x[:, 0] > 0).long()
    y[torch.randperm(600, generator=g)[:590]] = -1
    batches = list(zip(x.split(60), y.split(60), strict=True))
    assert read_relation(batches) is None  # ten labels say nothing
    y = torch.where(torch.rand(600, generator=g) < 0.5, (x[:, 0] > 0).long(), -1)
    found = read_relation(list(zip(x.split(60), y.split(60), strict=True)))
    assert found is not None
    assert found.z > 8


@pytest.mark.parametrize(("labelled", "is_told"), [(8, False), (200, True)])
def test_too_few_labels_tell_no_relation(labelled: int, is_told: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(600, 2, generator=rng)
    y = torch.full((600,), -1)
    y[:labelled] = 1  # of one class alone, so that -1 could be the other
    assert (read_relation([(x, y)]) is not None) == is_told


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_pictures_are_related_to_whether_they_show_one_thing(seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    things = torch.randn(10, 8, 8, generator=draws)
    left, same = torch.randint(10, (N,), generator=draws), torch.rand(N, generator=draws) < 0.5
    right = torch.where(same, left, (left + torch.randint(1, 10, (N,), generator=draws)) % 10)
    pairs = torch.stack([things[left], things[right]], dim=1) + 0.3 * torch.randn(N, 2, 8, 8, generator=draws)
    own, shuffled = (relation(pairs, same.float()[order]) for order in (torch.arange(N), torch.randperm(N, generator=draws)))
    assert own is not None
    assert shuffled is not None
    assert own.z >= 8
    assert shuffled.z < 4


def test_a_number_of_its_own_for_each_example_is_related_to_nothing() -> None:
    x, own = drawn(N, 8), torch.randperm(N, generator=torch.Generator().manual_seed(0))
    assert read_relation(list(zip(x.split(50), own.split(50), strict=True))) is None
    assert read_relation(list(zip(x.split(50), (own // 40).split(50), strict=True))) is not None


@pytest.mark.parametrize("is_shuffled", [False, True])
def test_a_little_of_many_columns_is_told_by_more_examples(is_shuffled: bool) -> None:
    torch.manual_seed(0)
    x, weights = torch.randn(4000, 40), torch.randn(40) / 40**0.5
    y = 0.2 * (x @ weights) + 0.98 * torch.randn(4000)  # 4 % of the variance
    y = y[torch.randperm(4000)] if is_shuffled else y
    found = read_relation(DataLoader(TensorDataset(x, y[:, None]), 64, shuffle=True))
    assert found is not None
    assert found.num_examples == 4000
    assert (found.z > 4.0) is not is_shuffled
    if is_shuffled:
        assert found.z < 3.5


def three_signs() -> tuple[Tensor, Tensor]:
    x = drawn(6000, 12)
    return x, (x[:, 0] * x[:, 3] * x[:, 6] > 0).float()


def four_signs() -> tuple[Tensor, Tensor]:
    x = drawn(4000, 8)
    return x, (x[:, :4].prod(dim=1) > 0).long()


def treated() -> tuple[Tensor, Tensor]:
    """An effect of a treatment that has another sign by two columns."""
    x, treatment = drawn(6000, 10), 2.0 * whole(2, 6000, 1) - 1
    noise = torch.randn(6000, generator=torch.Generator().manual_seed(5))
    y = 0.35 * treatment[:, 0] * x[:, 0].sign() * x[:, 1].sign() + 0.6 * noise
    return torch.cat([x, treatment], dim=1), y


def a_little_of_each(columns: int = 400) -> tuple[Tensor, Tensor]:
    x, weights = drawn(3000, columns), torch.randn(columns, generator=torch.Generator().manual_seed(5)) / columns**0.5
    return x, 0.35 * (x @ weights) + torch.randn(3000, generator=torch.Generator().manual_seed(6))


def before_a_launch() -> tuple[Tensor, Tensor]:
    x, noise = drawn(30_000, 10), torch.randn(30_000, generator=torch.Generator().manual_seed(5))
    return x, (torch.arange(30_000) > 12_000) * x[:, 0] + noise


@pytest.mark.parametrize(
    ("data", "shuffles"),
    [(three_signs, True), (four_signs, True), (treated, True), (a_little_of_each, True), (before_a_launch, False)],
)
@pytest.mark.parametrize("own", [True, False])
def test_weak_tables_are_read_further(data, shuffles: bool, own: bool) -> None:
    x, y = data()
    y = y if own else y[torch.randperm(len(y), generator=torch.Generator().manual_seed(4))]
    found = read_relation(DataLoader(TensorDataset(x, y), 256, shuffle=shuffles))
    assert found is not None
    assert not found.wide
    assert found.z > 4.0 if own else found.z < RELATED
    fired = [f.severity for f in diagnose(Evidence(relation=found)).findings if f.code == "shuffled_labels.unrelated"]
    assert fired == ([] if own else ["warning"])


def test_a_list_of_batches_is_read_from_all_over_it() -> None:
    x, y = before_a_launch()
    found = read_relation(list(zip(x.split(256), y.split(256), strict=True)))
    assert found is not None
    assert found.z > 5.0


def test_of_too_many_columns_it_is_a_hint() -> None:
    found = read_relation(DataLoader(TensorDataset(*a_little_of_each(columns=1100)), 256, shuffle=True))
    assert found is not None
    assert found.wide
    fired = [f.severity for f in diagnose(Evidence(relation=found)).findings if f.code == "shuffled_labels.unrelated"]
    assert fired == ["hint"]


@pytest.mark.parametrize(("z", "rows", "severity"), [(3.1, 240, "hint"), (3.1, 600, "warning"), (1.9, 240, "warning")])
def test_little_of_few_rows_is_a_hint(z: float, rows: int, severity: str) -> None:
    found = diagnose(Evidence(relation=Relation(num_examples=rows, z=z), facts=Facts())).findings
    assert [(f.code, f.severity) for f in found] == [("shuffled_labels.unrelated", severity)]
