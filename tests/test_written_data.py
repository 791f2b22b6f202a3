"""Data sets that write to what they store, or return one tensor for all examples; and all that only looks like it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset, default_collate

from trainability.doctor import Evidence, Monitor, diagnose
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.written_data import overwritten

COUNT, WIDTH = 40, 60
LABELS = torch.arange(COUNT) % 4


def clips() -> Tensor:
    return torch.randn(COUNT, 1, WIDTH, generator=torch.Generator().manual_seed(0))


def mask(x: Any) -> Any:
    start = int(torch.randint(WIDTH - 20, ()))
    x[..., start : start + 20] = 0
    return x


def noisy(x: Any) -> Any:
    x += 0.3 * (torch.randn(x.shape) if isinstance(x, Tensor) else np.random.standard_normal(x.shape))
    return x


def scaled(x: Any) -> Any:
    x -= 0.5
    x *= 1.2
    return x


CHANGES: dict[str, Callable[[Any], Any]] = {"mask": mask, "noise": noisy, "normalise": scaled}


class Stored(Dataset):
    """What it stores, and a function of one stored example."""

    def __init__(self, data: Any, made: Callable[[Any, int], Any]) -> None:
        self.data, self.made = data, made

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Any:
        return self.made(self, index)


def labelled(change: Callable[[Any], Any]) -> Callable[[Any, int], Any]:
    return lambda own, i: (change(own.data[i]), LABELS[i])


def loader(dataset: Any, **words: Any) -> DataLoader:
    torch.manual_seed(0)
    return DataLoader(dataset, batch_size=8, shuffle=True, **words)


FORMS: dict[str, Callable[[], Any]] = {
    "tensor": clips,
    "array": lambda: clips().double().numpy().copy(),
    "list of tensors": lambda: list(clips()),
    "list of arrays": lambda: [x.double().numpy().copy() for x in clips()],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_stored_and_changed_in_place_is_told_and_put_back(form: str, change: str) -> None:
    data = FORMS[form]()
    before = torch.stack([torch.as_tensor(x).clone() for x in data])
    found = overwritten(loader(Stored(data, labelled(CHANGES[change]))))
    assert found is not None
    assert (found.kind, found.place) == ("stored", "data")
    assert torch.equal(torch.stack([torch.as_tensor(x) for x in data]), before)
    copies = Stored(FORMS[form](), lambda own, i: (CHANGES[change](torch.as_tensor(own.data[i]).clone()), LABELS[i]))
    assert overwritten(loader(copies)) is None


def test_what_is_returned_may_be_a_scaled_copy() -> None:
    made = lambda own, i: (torch.from_numpy(mask(own.data[i]).astype(np.float32)) / 3 - 1, int(LABELS[i]))  # noqa: E731
    assert overwritten(loader(Stored(clips().numpy().copy(), made))) is not None


@pytest.mark.parametrize("part", [lambda d: Subset(d, range(5, 35)), lambda d: ConcatDataset([d, d])])
def test_parts_of_data_sets(part: Callable[[Any], Any]) -> None:
    assert overwritten(loader(part(Stored(clips(), labelled(mask))))) is not None


def test_a_transform_and_collate_fn_write_through_views() -> None:
    def collate(examples: Any) -> Any:
        return default_collate([(noisy(x), y) for x, y in examples])

    found = overwritten(loader(TensorDataset(clips(), LABELS), collate_fn=collate))
    assert found is not None
    assert found.place == "tensors[0]"
    fresh = Stored(clips(), lambda own, i: (own.data[i].clone(), LABELS[i]))
    assert overwritten(loader(fresh, collate_fn=collate)) is None


def test_masked_words_that_are_their_own_targets() -> None:
    words = torch.randint(2, 50, (COUNT, 30), generator=torch.Generator().manual_seed(1))

    def made(own: Any, i: int) -> Any:
        ids = own.data[i]
        targets = ids.clone()
        ids[torch.rand(30) < 0.2] = 1
        return ids, targets

    assert overwritten(loader(Stored(words.clone(), made))) is not None
    assert overwritten(loader(Stored(words, lambda own, i: (own.data[i].clone(), own.data[i])))) is None


def test_workers_that_end_with_each_pass_change_copies() -> None:
    dataset = Stored(clips(), labelled(mask))
    assert overwritten(loader(dataset, num_workers=2)) is None
    assert overwritten(loader(dataset, num_workers=2, persistent_workers=True)) is not None


class Canvas(Dataset):
    """Draws each example on one canvas."""

    def __init__(self, canvas: Any, returned: Callable[[Any], Any]) -> None:
        self.canvas, self.returned = canvas, returned

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Any:
        self.canvas[:] = index
        self.canvas[: index % 8] = 0
        return {"x": self.returned(self.canvas), "y": index % 4}


@pytest.mark.parametrize("canvas", [torch.zeros(8, 8), np.zeros((8, 8))])
def test_one_tensor_for_all_examples(canvas: Any) -> None:
    found = overwritten(loader(Canvas(canvas, lambda c: c)))
    assert found is not None
    assert (found.kind, found.place) == ("shared", "['x']")
    assert overwritten(loader(Canvas(canvas, lambda c: torch.as_tensor(c).clone()))) is None
    assert overwritten(loader(Canvas(canvas, lambda c: torch.as_tensor(c) + 1))) is None
    assert overwritten(DataLoader(Canvas(canvas, lambda c: c), batch_size=1)) is None  # one is read and used before the next


def filled_once(own: Any, i: int) -> Any:
    """A cache."""
    if not bool(own.data[i].any()):
        own.data[i] = torch.randn(1, WIDTH)
    return own.data[i], LABELS[i]


def scaled_once(own: Any, i: int) -> Any:
    if not own.done[i]:
        own.data[i] -= 1
        own.done[i] = True
    return own.data[i], LABELS[i]


def counted(own: Any, i: int) -> Any:
    own.data[i] += 1  # how often, and when
    return clips()[i], LABELS[i]


def filled_anew(own: Any, i: int) -> Any:
    """Its own buffer for each example."""
    own.data[i] = clips()[i] + torch.randn(1, WIDTH)
    return own.data[i], LABELS[i]


def turned(own: Any, i: int) -> Any:
    """In place, but nothing is lost."""
    own.data[i] = own.data[i].flip(-1)
    return own.data[i], LABELS[i]


def goes_on(own: Any, i: int) -> Any:
    """A state that each reading takes a step further, and its next one."""
    state = own.data[i].clone()
    own.data[i] = 0.9 * state + 0.1 * torch.randn(1, WIDTH)
    return own.data[i], own.data[i] - state


def constant(own: Any, i: int) -> Any:
    """One grid of places for all."""
    return own.grid, own.data[i], LABELS[i]


SOUND = {"cache": filled_once, "once": scaled_once, "counter": counted, "buffer": filled_anew, "turned": turned}
SOUND |= {"simulation": goes_on, "grid": constant}


@pytest.mark.parametrize("name", SOUND)
def test_sound_data_sets_are_left_alone(name: str) -> None:
    dataset = Stored(torch.zeros(COUNT, 1, WIDTH) if name in ("cache", "counter") else clips(), SOUND[name])
    dataset.done, dataset.grid = [False] * COUNT, torch.linspace(0, 1, WIDTH)
    assert overwritten(loader(dataset)) is None


def test_other_loaders_are_left_alone() -> None:
    assert overwritten([(clips(), LABELS)]) is None
    assert overwritten(None) is None
    assert overwritten(DataLoader(TensorDataset(clips(), LABELS), batch_size=None)) is None


def watched(batches: list[tuple[Tensor, Tensor]]) -> list[str]:
    """Codes of a small loop that is watched at every step."""
    torch.manual_seed(0)
    model = nn.Linear(WIDTH, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Monitor(model, optimizer, every=1) as monitor:
        for x, y in batches:
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    return [finding.code for finding in monitor.diagnose().findings if finding.rule == "overwritten_data"]


def test_a_watched_loop_shows_batches_of_one_row() -> None:
    last = clips()[:, 0]
    alike = [(last[k].expand(8, -1).clone(), LABELS[:8]) for k in range(6)]
    assert watched(alike) == ["overwritten_data.shared"]
    assert watched(alike[:2]) == []
    assert watched([(x, torch.full((8,), k % 4)) for k, (x, _) in enumerate(alike)]) == []  # several draws of one example
    assert watched([alike[0]] * 6) == []  # one input for all, as a constant is
    assert watched([(last[k : k + 8], LABELS[:8]) for k in range(6)]) == []


def rough(x: Tensor) -> Tensor:
    return x.add_(0.25 * torch.randn_like(x))


# What a step does to its batch in place, which is then the model's input and the target; only the first two are noise.
IN_PLACE: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "noise": (rough, True),
    "noise by the size of each value": (lambda x: x.mul_(1 + 0.3 * torch.randn_like(x)), True),
    "a scale": (lambda x: x.mul_(2), False),
    "normalised": (lambda x: x.sub_(x.mean()).div_(x.std()), False),
    "a random scale of each": (lambda x: x.mul_(1 + 0.3 * torch.randn(len(x), 1, 1, 1)), False),
    "a random level of each": (lambda x: x.add_(torch.randn(len(x), 1, 1, 1)), False),
    "moved": (lambda x: x.copy_(x.roll(int(torch.randint(1, 8, ())), -1)), False),
    "mirrored by chance": (lambda x: x.copy_(torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(-1), x)), False),
    "mixed": (lambda x: x.mul_(0.7).add_(0.3 * x[torch.randperm(len(x))]), False),
    "gaps filled": (lambda x: x.add_(torch.rand_like(x) / 4), False),
    "as much as rounding": (lambda x: x.add_(torch.randn_like(x) / 256), False),
}


def left_in_batch(change: Callable[[Tensor], Tensor], step: str, *, white: bool = False) -> str | None:
    """The code of what a step leaves in its batch; images are smooth, or white noise themselves."""
    torch.manual_seed(0)
    x = torch.randn(16, 1, 12, 12) if white else F.interpolate(torch.randn(16, 1, 3, 3), size=12, mode="bicubic")
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))

    def told(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        clean, other = batch
        if step == "other target":
            return F.mse_loss(model(change(clean)), other)
        if step == "taken back":
            noise = torch.randn_like(clean)
            output = model(clean.add_(noise))
            return F.mse_loss(output, clean.sub_(noise))
        given = change(clean.clone()) if step == "clone" else change(clean)
        return (model(given) - clean).square().mean() if step == "by hand" else F.mse_loss(model(given), clean)

    facts = facts_of(model, (x, torch.randn_like(x)), training_step=told)
    assert not any("noise" in note for note in facts.notes)  # others want to write to the input as a leaf
    found = [f.code for f in diagnose(Evidence(facts=facts)).findings if f.rule == "overwritten_data"]
    return found[0] if found else None


@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("name", IN_PLACE)
def test_noise_in_the_target_is_told_from_augmentation(name: str, white: bool) -> None:
    change, is_noise = IN_PLACE[name]
    assert left_in_batch(change, "itself", white=white) == ("overwritten_data.batch" if is_noise else None)


@pytest.mark.parametrize(
    ("step", "fires"), [("by hand", True), ("clone", False), ("other target", False), ("taken back", False)]
)
def test_noise_is_told_where_outputs_are_compared_with_it(step: str, fires: bool) -> None:
    assert (left_in_batch(rough, step) == "overwritten_data.batch") is fires
