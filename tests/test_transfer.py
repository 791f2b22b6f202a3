"""Which layers a network takes over from a trained one."""

import pytest
import torch

from trainability import initialization
from trainability.initialization import InitPlan
from trainability.models.vgg import VGG, build_vgg


def drawn(
    config: str, *, seed: int, classifier: str = "conv", num_classes: int = 7
) -> tuple[VGG, list[initialization.LayerInit]]:
    model = build_vgg(config, num_classes=num_classes, crop=64, width=0.05, hidden=12, classifier=classifier)
    table = initialization.apply(InitPlan.parse("xavier"), model, seed=seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(seed))
    return model.eval(), table


def copied(rows: list[initialization.LayerInit]) -> list[int]:
    return [row.index for row in rows if row.scheme == "copied"]


@pytest.mark.parametrize("config", ["A", "A-LRN", "C", "E"])
@pytest.mark.parametrize(("there", "here"), [("conv", "conv"), ("linear", "conv"), ("conv", "linear")])
def test_the_same_configuration_takes_every_layer(config: str, there: str, here: str) -> None:
    trained, _ = drawn(config, seed=1, classifier=there)
    model, table = drawn(config, seed=2, classifier=here)
    rows = initialization.copy_shallower(trained, model, table)
    assert copied(rows) == list(range(len(table)))
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(images), trained(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        ("A", "A-LRN", [0, 1, 2, 3, 8, 9, 10]),
        ("A", "D", [0, 2, 4, 5, 13, 14, 15]),
        ("C", "D", [0, 1, 2, 3, 13, 14, 15]),
        ("D", "C", [0, 1, 2, 3, 13, 14, 15]),
    ],
)
def test_another_configuration_takes_the_first_four_and_the_last_three(there: str, here: str, expected: list[int]) -> None:
    trained, _ = drawn(there, seed=1)
    model, table = drawn(here, seed=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = initialization.copy_shallower(trained, model, table)
    assert copied(rows) == expected
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"{rows[index].name}.{kind}" for index in expected for kind in ("weight", "bias")}


def test_the_same_configuration_with_other_classes_is_refused() -> None:
    trained, _ = drawn("B", seed=1, num_classes=5)
    model, table = drawn("B", seed=2)
    with pytest.raises(ValueError, match=r"init\.from: fc8 .*\(5, .*\(7, "):
        initialization.copy_shallower(trained, model, table)
