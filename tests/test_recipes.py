"""Every recipe is one that can be run, and its comment says what is true."""

import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import tyro

from trainability.config import DataConfig, RunConfig, from_toml, read_tables, recipe_flags
from trainability.evaluation import reference
from trainability.evaluation.protocols import parse_scales
from trainability.initialization import InitPlan
from trainability.models.vgg import CHANNELS, CONFIGS

FOLDER = Path(__file__).parent.parent / "recipes"
RECIPES = sorted(FOLDER.rglob("*.toml"))
KNOWN = get_args(get_type_hints(DataConfig)["name"])
NUM_CLASSES = {"imagenet": 1000, "caltech256": 257, "cifar10": 10, "cifar100": 100, "mnist": 10}
NUM_IMAGENET, FLOPS_PER_SECOND = 1_281_167, 4e14


def name_of(path: Path) -> str:
    return path.relative_to(FOLDER).with_suffix("").as_posix()


def comment_of(path: Path) -> str:
    lines = path.read_text().splitlines()
    return "\n".join(line for line in lines[: lines.index("")] if line.startswith("#"))


def config_of(path: Path, tmp_path: Path) -> RunConfig:
    """Read a recipe; a data set that is not built in is replaced, so that all the rest is checked."""
    copy = tmp_path / "recipe.toml"
    written = read_tables(path)["data"]["name"]
    text = path.read_text()
    copy.write_text(text if written in KNOWN else text.replace(f'name = "{written}"', 'name = "synthetic"'))
    return from_toml(copy).completed()


def training_gflop(config: str, *, crop: int, num_classes: int) -> float:
    """Six operations per multiply-and-add: one forward and two backward passes, of two each."""
    total, channels, side = 0, 3, crop
    for stage, kernels in zip(CHANNELS, CONFIGS[config], strict=True):
        for kernel in (kernel for kernel in kernels if isinstance(kernel, int)):
            total += kernel**2 * channels * stage * side**2
            channels = stage
        side //= 2
    return 6 * (total + channels * side**2 * 4096 + 4096**2 + 4096 * num_classes) / 1e9


def test_the_papers_chain_and_both_sizes_of_the_small_sets_are_there() -> None:
    names = {name_of(path) for path in RECIPES}
    chain = {f"{net}-256" for net in CONFIGS} | {f"{net}-256-glorot" for net in "BCDE"}
    chain |= {f"{net}-{train}" for net in "CDE" for train in ("384", "jitter")}
    small = {f"{data}/B-{crop}" for data in ("cifar10", "cifar100", "mnist", "caltech256") for crop in (32, 224)}
    assert names == {f"paper/{name}" for name in chain} | small


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_a_recipe_is_a_configuration_whose_plan_fits(path: Path, tmp_path: Path) -> None:
    config = config_of(path, tmp_path)
    num_layers = 3 + sum(isinstance(kernel, int) for stage in CONFIGS[config.model.config] for kernel in stage)
    assert len(InitPlan.parse(config.init.plan).resolve(num_layers)) == num_layers
    assert config.run.dir == Path("runs") / name_of(path)
    flags = ["synthetic" if flag in NUM_CLASSES and flag not in KNOWN else flag for flag in recipe_flags(path)]
    assert tyro.cli(RunConfig, args=flags).completed() == config


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_the_comment_has_the_command_and_the_cost(path: Path) -> None:
    comment, tables = comment_of(path), read_tables(path)
    name, data = name_of(path), tables["data"]
    assert f"trainability train --recipe recipes/{name}.toml" in comment
    assert f"trainability evaluate runs/{name} --protocol" in comment
    assert "# Paper:" in comment
    cost = re.search(r"# Cost: .*?(?=# Paper)", comment, re.DOTALL)
    assert cost
    assert all(word in cost[0] for word in ("H200", "estimate"))
    spent = re.search(r"([\d.,]+) epochs of ([\d,]+) images at ([\d.]+) GFLOP", cost[0])
    assert spent
    epochs, num_images, gflop = (float(number.replace(",", "")) for number in spent.groups())
    expected = training_gflop(tables["model"]["config"], crop=data["crop"], num_classes=NUM_CLASSES[data["name"]])
    assert epochs == tables["optim"]["epochs"]
    assert gflop == pytest.approx(expected, rel=0.003 if data["crop"] == 224 else 0.05)
    told = re.search(r"about ([\d.]+) (hours|minutes) on one", cost[0])
    if told:
        seconds = float(told[1]) * {"hours": 3600, "minutes": 60}[told[2]]
        assert seconds == pytest.approx(epochs * num_images * gflop * 1e9 / FLOPS_PER_SECOND, rel=0.1)


@pytest.mark.parametrize("path", sorted((FOLDER / "paper").glob("*.toml")), ids=name_of)
def test_the_papers_protocol_and_numbers(path: Path) -> None:
    comment, tables = comment_of(path), read_tables(path)
    net, train = path.stem.removesuffix("-glorot").rsplit("-", 1)
    assert tables["model"]["config"] == net
    assert {key: tables["optim"][key] for key in ("batch-size", "momentum", "weight-decay", "schedule")} == {
        "batch-size": 256,
        "momentum": 0.9,
        "weight-decay": 5e-4,
        "schedule": "plateau",
    }
    assert tables["optim"]["epochs"] == 74 or train != "256"
    assert tables["data"].get("jitter") == ([256, 512] if train == "jitter" else None)
    figures = re.findall(r"([\d.]+) / ([\d.]+)(?: %.*?)? (?:at|at Q =) ([\d,]+) \(Table (\d)\)", comment)
    stored = "256-512" if train == "jitter" else train
    published = {
        (round(100 * (row.top1_error or 0), 2), round(100 * row.top5_error, 2), row.test, row.source[-1])
        for row in reference.PUBLISHED
        if (row.config, row.train, row.protocol) == (net, stored, "dense")
    }
    assert {(float(a), float(b), parse_scales(test), table) for a, b, test, table in figures} == published


def test_every_start_is_the_run_of_another_recipe() -> None:
    tables: dict[str, dict[str, dict[str, Any]]] = {read_tables(path)["run"]["dir"]: read_tables(path) for path in RECIPES}
    starts = {folder: table["init"]["from"] for folder, table in tables.items() if "from" in table["init"]}
    assert len(starts) == 10
    for folder, start in starts.items():
        here, there = tables[folder], tables[start]
        assert there["model"]["config"] in ("A", here["model"]["config"])
        assert (here["model"]["width"], here["data"]["crop"]) == (there["model"]["width"], there["data"]["crop"])
        # Fine-tuning, of all layers, is at a tenth of the rate; the layers taken from A keep the full rate (section 3.1).
        assert here["optim"]["lr"] == (0.01 if there["model"]["config"] == "A" else 0.001)
