"""Every protocol against a slow version written from the paper's definition, and the averaging of scales and runs."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import initialization, keyed
from trainability.data import augment
from trainability.data.dataset import Split
from trainability.evaluation import predictions
from trainability.evaluation.ensemble import Member, SplitImages, predict
from trainability.evaluation.metrics import correct_counts
from trainability.evaluation.predictions import Predictions
from trainability.evaluation.protocols import PROTOCOLS, centre, evaluate, parse_protocol, parse_scales, rescaled
from trainability.initialization import InitPlan
from trainability.models.vgg import build_vgg

NAMES = tuple(f"class {number}" for number in range(7))
MEAN, STD = torch.tensor([120.0, 110, 100]), torch.tensor([60.0, 58, 57])
CPU = torch.device("cpu")


class Listed:
    """A validation set of images of different shapes."""

    def __init__(self, shapes: list[tuple[int, int]]) -> None:
        self.images = [noise(*shape, 3, seed=number) for number, shape in enumerate(shapes)]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], index % len(NAMES)


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=keyed.generator(seed))


def network(*, seed: int = 0, config: str = "A", classifier: str = "conv") -> nn.Module:
    model = build_vgg(config, num_classes=len(NAMES), crop=32, width=0.05, hidden=16, classifier=classifier)
    initialization.apply(InitPlan.parse("he"), model, seed=seed)
    return model.eval()


WHOLE = Listed([(40, 56), (72, 40), (48, 48), (40, 40), (56, 40), (41, 57), (40, 80), (90, 60), (40, 56), (60, 90)])
SQUARE = SplitImages(Split(images=noise(23, 40, 40, 3, seed=9), labels=torch.arange(23) % len(NAMES)))


def member(**changes: object) -> Member:
    usual = Member(name="run", network=network(), images=WHOLE, crop=32, scales=(40,), flip=True, mean=MEAN, scale=STD)
    return replace(usual, **changes)


def ask(*members: Member, protocol: str, **settings: object) -> Predictions:
    return predict(members, protocol=protocol, class_names=NAMES, device=CPU, **settings)  # type: ignore[arg-type]


def softmax_of(model: nn.Module, pixels: Tensor) -> Tensor:
    """Ask about one view by itself."""
    with torch.no_grad():
        logits = model(((pixels.float() - MEAN) / STD).permute(2, 0, 1)[None])
    return F.softmax(logits[0].double(), 0)


def slow_views(image: Tensor, protocol: str, crop: int, flip: bool) -> list[Tensor]:
    height, width = image.shape[:2]
    if protocol == "dense":
        places = [(0, 0, height, width)]
    elif protocol == "centre":
        places = [((height - crop) // 2, (width - crop) // 2, crop, crop)]
    elif protocol == "ten-crop":
        places = [(0, 0), (0, width - crop), (height - crop, 0), (height - crop, width - crop)]
        places = [(*place, crop, crop) for place in [*places, ((height - crop) // 2, (width - crop) // 2)]]
    else:
        places = [
            (math.floor((height - crop) * i / 4 + 0.5), math.floor((width - crop) * j / 4 + 0.5), crop, crop)
            for i, j in product(range(5), range(5))
        ]
    views = [image[top : top + tall, left : left + wide] for top, left, tall, wide in places]
    if flip and protocol != "centre":
        views += [torch.stack(list(reversed(view.unbind(1))), 1) for view in views]
    return views


def slow_softmax(one: Member, index: int, protocol: str) -> Tensor:
    """The definition: the mean of the softmax over scales, views and mirror images, one forward pass each."""
    image = one.images[index][0]
    views = [view for q in one.scales for view in slow_views(rescaled(image, q), protocol, one.crop, one.flip)]
    return torch.stack([softmax_of(one.network, view) for view in views]).mean(0)


def assert_answers(kept: Predictions, expected: Tensor, labels: Tensor) -> None:
    top = expected.topk(5, dim=1)
    assert torch.equal(torch.from_numpy(kept.top), top.indices)
    torch.testing.assert_close(torch.from_numpy(kept.top_probability), top.values.float(), rtol=1e-4, atol=1e-6)
    own = expected.gather(1, labels[:, None]).squeeze(1)
    torch.testing.assert_close(torch.from_numpy(kept.loss), -own.log(), rtol=1e-4, atol=1e-5)
    hits = [int(count) for count in correct_counts(expected, labels)]
    assert kept.errors.top1_error == 1 - hits[0] / len(labels)
    assert kept.errors.top5_error == 1 - hits[1] / len(labels)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(40,), (36, 40, 52)])
def test_protocols_equal_their_definitions(protocol: str, flip: bool, scales: tuple[int, ...]) -> None:
    one = member(flip=flip, scales=scales)
    expected = torch.stack([slow_softmax(one, index, protocol) for index in range(len(WHOLE))])
    assert_answers(ask(one, protocol=protocol), expected, torch.arange(len(WHOLE)) % len(NAMES))


@pytest.mark.parametrize(("protocol", "flip", "count"), [("centre", True, 1), ("ten-crop", True, 10), ("ten-crop", False, 5)])
def test_number_of_crops(protocol: str, flip: bool, count: int) -> None:
    views = PROTOCOLS[protocol](noise(48, 64, 3, seed=0), 32, flip=flip)
    assert [tuple(view.shape) for view in views] == [(32, 32, 3)] * count


def test_multi_crop_has_fifty_views_from_corner_to_corner() -> None:
    image = torch.arange(256 * 256 * 3).reshape(256, 256, 3)
    views = PROTOCOLS["multi-crop"](image, 224, flip=True)
    assert len(views) == 50
    assert len({int(view[0, 0, 0]) for view in views}) == 50
    assert torch.equal(views[0], image[:224, :224])
    assert torch.equal(views[24], image[32:, 32:])
    assert torch.equal(views[12], PROTOCOLS["centre"](image, 224, flip=True)[0])


def test_dense_on_an_image_the_size_of_the_crop_is_the_centre_crop() -> None:
    images = SplitImages(Split(images=noise(9, 32, 32, 3, seed=4), labels=torch.arange(9) % len(NAMES)))
    plain = member(images=images, scales=(32,), flip=False)
    dense, centre = ask(plain, protocol="dense"), ask(plain, protocol="centre")
    assert (dense.top == centre.top).all()
    assert (dense.loss == centre.loss).all()
    # With mirror images, dense has the mean of the two centre crops; the centre crop alone is never mirrored.
    mirrored = replace(plain, flip=True)
    assert (ask(mirrored, protocol="centre").loss == centre.loss).all()
    expected = torch.stack([slow_softmax(mirrored, index, "dense") for index in range(9)])
    assert_answers(ask(mirrored, protocol="dense"), expected, images.split.labels)


def test_dense_averages_the_class_map_before_the_softmax() -> None:
    image = noise(32, 96, 3, seed=1)
    model = network()
    with torch.no_grad():
        class_map = model.class_map(((image.float() - MEAN) / STD).permute(2, 0, 1)[None])
    assert class_map.shape[-2:] == (1, 3)
    torch.testing.assert_close(softmax_of(model, image), F.softmax(class_map.double().mean((2, 3)), 1)[0])


def test_centre_of_a_whole_set_equals_the_measure_of_training() -> None:
    one = member(images=SQUARE, scale=None)
    crops = SQUARE.split.images[:, 4:36, 4:36]
    batches = [((crops.float() - MEAN).permute(0, 3, 1, 2), SQUARE.split.labels, torch.ones(23))]
    measured = evaluate(one.network, batches, num_classes=len(NAMES), device=CPU)
    asked = ask(one, protocol="centre").errors
    assert (asked.top1_error, asked.top5_error, asked.num_examples) == (measured.top1_error, measured.top5_error, 23)
    assert asked.loss == pytest.approx(measured.loss, rel=1e-5)


@pytest.mark.parametrize("protocol", ["centre", "ten-crop", "dense", "dense+multi-crop"])
def test_counts_do_not_depend_on_batch_size_or_number_of_processes(protocol: str) -> None:
    def together(world_size: int, batch_size: int) -> Predictions:
        """Play the processes one after the other; the last has everybody's parts to gather."""
        sent: list[object] = []

        def gathered(value: object) -> list[object]:
            sent.append(value)
            return sent if len(sent) == world_size else [value]

        for rank in range(world_size):
            kept = ask(member(), protocol=protocol, batch_size=batch_size, rank=rank, world_size=world_size, gathered=gathered)
        return kept

    reference = together(1, 64)
    for world_size, batch_size in [(1, 1), (1, 7), (3, 64), (4, 3)]:
        other = together(world_size, batch_size)
        assert (other.top == reference.top).all()
        assert (other.labels == reference.labels).all()
        assert other.errors.top1_error == reference.errors.top1_error
        assert other.errors.top5_error == reference.errors.top5_error
        assert other.errors.loss == pytest.approx(reference.errors.loss, rel=1e-6)


def test_errors_do_not_depend_on_the_order_of_the_images() -> None:
    kept = ask(member(), protocol="centre")
    order = torch.randperm(len(kept), generator=keyed.generator(5)).numpy()
    shuffled = replace(kept, **{name: getattr(kept, name)[order] for name in predictions.ARRAYS})
    assert shuffled.errors == kept.errors


def test_an_ensemble_of_one_run_is_that_run_and_of_two_the_mean_of_their_softmaxes() -> None:
    first, second = member(), member(network=network(seed=1, config="B"), scales=(36, 44), scale=STD)
    alone = ask(first, protocol="dense")
    twice = ask(first, first, protocol="dense")
    assert (twice.top == alone.top).all()
    torch.testing.assert_close(torch.from_numpy(twice.loss), torch.from_numpy(alone.loss))
    expected = torch.stack(
        [(slow_softmax(first, i, "dense") + slow_softmax(second, i, "dense")) / 2 for i in range(len(WHOLE))]
    )
    assert_answers(ask(first, second, protocol="dense"), expected, torch.arange(len(WHOLE)) % len(NAMES))


def test_joined_protocols_weigh_the_same_however_many_views_they_have() -> None:
    one = member()
    expected = torch.stack(
        [(slow_softmax(one, i, "dense") + slow_softmax(one, i, "multi-crop")) / 2 for i in range(len(WHOLE))]
    )
    assert_answers(ask(one, protocol="dense+multi-crop"), expected, torch.arange(len(WHOLE)) % len(NAMES))


def test_a_network_without_an_answer_is_wrong_everywhere() -> None:
    class Silent(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.full((len(images), len(NAMES)), math.nan)

    kept = ask(member(network=Silent()), protocol="centre")
    assert kept.errors.top1_error == 1
    assert kept.errors.top5_error == 1
    assert (kept.top == -1).all()


def test_a_constant_network_is_ranked_by_class_number_and_large_logits_keep_a_finite_loss() -> None:
    class Constant(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.tensor([0.0, 0, 0, 0, 0, 0, 1e5]).expand(len(images), -1)

    kept = ask(member(network=Constant()), protocol="ten-crop")
    assert (kept.top == [6, 0, 1, 2, 3]).all()
    assert math.isfinite(kept.errors.loss)
    assert kept.loss[0] == pytest.approx(1e5)


@pytest.mark.parametrize(("shape", "scale"), [((64, 64), 48), ((64, 99), 48), ((80, 64), 32), ((64, 70), 64), ((64, 70), 96)])
def test_the_loaders_centre_crops_at_a_scale_are_those_of_the_protocol(shape: tuple[int, int], scale: int) -> None:
    images = noise(6, *shape, 3, seed=8)
    expected = torch.stack([centre(rescaled(image, scale), 32, flip=False)[0] for image in images])
    given = augment.centre_crops(images, 32, scale=scale)
    # Both round to whole pixels; a value half way between two can go either way, and at a ratio of 3:2 many are.
    assert (given.int() - expected.int()).abs().max() <= 1
    assert (given != expected).float().mean() < 0.05


def test_rescaled_keeps_the_shape_and_leaves_the_size_that_fits() -> None:
    image = noise(40, 61, 3, seed=3)
    assert rescaled(image, 40) is image
    assert rescaled(image, 64).shape == (64, 98, 3)
    assert rescaled(image.transpose(0, 1), 64).shape == (98, 64, 3)
    flat = torch.full((40, 61, 3), 200, dtype=torch.uint8)
    assert (rescaled(flat, 90) == 200).all()
    assert (rescaled(flat, 33) == 200).all()


def test_predictions_come_back_from_the_disk(tmp_path) -> None:
    kept = ask(member(), protocol="dense")
    predictions.save(kept, tmp_path / predictions.FILE)
    back = predictions.load(tmp_path / predictions.FILE)
    assert (back.class_names, back.protocol) == (NAMES, kept.protocol)
    assert all((getattr(back, name) == getattr(kept, name)).all() for name in predictions.ARRAYS)
    with pytest.raises(ValueError, match="trainability evaluate"):
        predictions.load(tmp_path / "other" / predictions.FILE)
    (tmp_path / predictions.FILE).write_bytes((tmp_path / predictions.FILE).read_bytes()[:500])
    with pytest.raises(ValueError, match=predictions.FILE):
        predictions.load(tmp_path / predictions.FILE)


def test_errors_of_the_user_are_named() -> None:
    assert parse_scales("224, 256,288") == (224, 256, 288)
    with pytest.raises(ValueError, match="cannot read '224;256'"):
        parse_scales("224;256")
    with pytest.raises(ValueError, match=r"'desne'.*centre, ten-crop, dense, multi-crop"):
        parse_protocol("desne")
    with pytest.raises(ValueError, match=r"31\D*32"):
        ask(member(scales=(40, 31)), protocol="dense")
    with pytest.raises(ValueError, match=r"second .* 23 .* run 10"):
        ask(member(), member(name="second", images=SQUARE), protocol="centre")
    with pytest.raises(ValueError, match="takes 32x32"):
        ask(member(network=network(classifier="linear"), scales=(64,)), protocol="dense")
