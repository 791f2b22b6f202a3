"""`trainability cost`: operations, parameters and communication against hand calculations."""

import json
from dataclasses import replace

import pytest
from conftest import config_of

from trainability.cli import program as cli
from trainability.models.vgg import CHANNELS, CONFIGS
from trainability.training.cost import Links, communication_seconds, step_cost, work_of

LINKS = Links(per_host=8, within=450e9, between=50e9)


def multiply_adds(config: str, crop: int) -> tuple[int, int]:
    """Of a forward pass, in all and in the first convolution."""
    total, first, channels, side = 0, 0, 3, crop
    for outputs, kernels in zip(CHANNELS, CONFIGS[config], strict=True):
        for kernel in kernels:
            assert isinstance(kernel, int)
            total += side**2 * kernel**2 * channels * outputs
            first, channels = first or total, outputs
        side //= 2
    return total + side**2 * channels * 4096 + 4096**2 + 4096 * 1000, first


@pytest.mark.parametrize("name", ["A", "D", "E"])
def test_operations_are_those_of_the_closed_form(name: str) -> None:
    config = config_of(
        model__config=name, model__width=1.0, model__hidden=4096, data__name="imagenet", data__size=256, data__crop=224
    )
    work = work_of(config, 1000)
    forward, first = multiply_adds(name, 224)
    assert work.forward == 2 * forward
    assert work.step == 2 * (3 * forward - first)  # the images need no gradient
    features = forward - 49 * 512 * 4096 - 4096**2 - 4096 * 1000
    again = work_of(replace(config, run=replace(config.run, checkpoint_activations=True)), 1000)
    assert again.step == work.step + 2 * features


def test_parameters_are_the_papers() -> None:
    config = config_of(
        model__config="D", model__width=1.0, model__hidden=4096, data__name="imagenet", data__size=256, data__crop=224
    )
    assert work_of(config, 1000).num_parameters == 138_357_544


@pytest.mark.parametrize(
    ("processes", "parallel", "expected"),
    [
        (1, "ddp", 0.0),
        (8, "ddp", 2 * 7 / 8 * 450 / 450),
        (8, "sharded", 3 * 7 / 8),
        (64, "ddp", 2 * (7 / 8 + 7 / 8 * 450 / 8 / 50)),
        (4, "ddp", 2 * 3 / 4),
    ],
)
def test_communication_is_that_of_rings(processes: int, parallel: str, expected: float) -> None:
    assert communication_seconds(450e9, processes, LINKS, parallel=parallel) == pytest.approx(expected)


def test_what_the_backward_pass_cannot_hide_is_exposed() -> None:
    config = config_of()
    work = work_of(config, 10)

    def cost(**fields: float) -> object:
        given = {"num_processes": 8, "batch_size": 64, "num_train": 1000, "images_per_second": 100.0, "links": LINKS, **fields}
        return step_cost(config, work, **given)  # type: ignore[arg-type]

    fast, slow = cost(), cost(links=Links(per_host=8, within=1e6, between=1e6))
    assert fast.exposed == 0
    assert fast.seconds == pytest.approx(0.08)
    assert fast.efficiency == pytest.approx(1)
    assert slow.exposed == pytest.approx(slow.communication - 0.08 * (1 - work.forward / work.step))
    assert slow.worst_efficiency < slow.efficiency < 1
    # 512 processes share 64 images: each that has one takes as long as for one, and an eighth of the rate is used at most.
    few = cost(num_processes=512)
    assert few.compute == pytest.approx(0.01)
    assert few.efficiency <= 1 / 8
    assert few.steps == 16 * config.optim.epochs


def test_the_command_measures_and_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["cost", "--model.width", "0.02", "--seconds", "0.1", "--processes", "1", "8", "--json"])
    assert stop.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["images_per_second"] > 0
    assert [step["num_processes"] for step in printed["same batch"]] == [1, 8]
    assert [step["images"] for step in printed["same batch per GPU"]] == [64, 64]


@pytest.mark.parametrize(
    "flags", [["--data.name", "folder"], ["--processes", "0"], ["--between-hosts", "-1"], ["--images-per-second", "nan"]]
)
def test_an_unusable_value_ends_with_code_2(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["cost", *flags])
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
