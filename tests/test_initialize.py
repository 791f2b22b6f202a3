"""Plans: text, fit, and the variance that each scheme promises."""

import math

import pytest
import torch
from torch import nn

from trainability import initialization
from trainability.initialization import SCHEMES, InitPlan, fans
from trainability.models.vgg import build_vgg, paper_names

PLANS = ["xavier:4,normal=0.01,xavier:3", "he", "normal=0.02:2,orthogonal:1,lecun", "uniform=0.05,xavier-normal:3,he-uniform:1"]


@pytest.mark.parametrize("text", PLANS)
def test_text_round_trip(text: str) -> None:
    assert str(InitPlan.parse(text)) == text
    assert InitPlan.parse(str(InitPlan.parse(text))) == InitPlan.parse(text)


def test_the_rest_goes_to_the_segment_without_a_count() -> None:
    resolved = [segment.scheme for segment in InitPlan.parse("xavier:4,normal=0.01,xavier:3").resolve(13)]
    assert resolved == ["xavier"] * 4 + ["normal"] * 6 + ["xavier"] * 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("xavier:4,he:3", ["7", "11"]),
        ("xavier:12", ["12", "11"]),
        ("xavier,he", ["only one"]),
        ("xaver", ["xaver", "xavier?"]),
        ("normal", ["standard deviation"]),
        ("normal=0", ["above 0"]),
        ("normal=nan", ["above 0"]),
        ("normal=x", ["not a number"]),
        ("he=2", ["he", "value"]),
        ("he:0", ["at least 1"]),
        ("he:1.5", ["not a whole number"]),
        ("", ["cannot read"]),
        ("he,,he:2", ["cannot read"]),
    ],
)
def test_bad_plans_name_what_is_wrong(text: str, words: list[str]) -> None:
    model = build_vgg("A", num_classes=5, crop=32, width=0.05)
    with pytest.raises(ValueError, match=r"init\.plan") as caught:
        initialization.apply(InitPlan.parse(text), model, seed=0)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_gives_the_variance_it_promises(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(64, 96, 3), nn.ReLU(), nn.Linear(300, 200), nn.Conv2d(40, 80, 1, groups=4))
    plan = InitPlan.parse(f"{name}=0.07" if SCHEMES[name].value else name)
    for row, (_, module) in zip(initialization.apply(plan, model, seed=3), initialization.weight_layers(model), strict=True):
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        # A sample variance of n numbers is off by sqrt(2/n) at one standard deviation (less for uniform): five of them.
        ratio = weight.square().mean().item() / row.std**2
        assert ratio == pytest.approx(1, abs=5 * math.sqrt(2 / weight.numel()))
        assert row.gain == pytest.approx(fans(module)[0] * row.std**2 / 2)
        assert torch.equal(module.bias, torch.zeros_like(module.bias))


def test_schemes_against_their_papers() -> None:
    conv = nn.Conv2d(64, 128, 3)
    assert fans(conv) == (576, 1152)
    model = nn.Sequential(conv)
    std = {name: initialization.apply(InitPlan.parse(name), model, seed=0)[0].std for name in ("xavier", "he", "lecun")}
    assert std["xavier"] == pytest.approx(math.sqrt(2 / (576 + 1152)))
    assert std["he"] == pytest.approx(math.sqrt(2 / 576))
    assert std["lecun"] == pytest.approx(math.sqrt(1 / 576))
    weight = initialization.apply(InitPlan.parse("orthogonal"), model, seed=0) and conv.weight.detach().flatten(1)
    assert torch.allclose(weight @ weight.T, torch.eye(128), atol=1e-5)


def test_fans_agree_with_torch() -> None:
    for module in (nn.Linear(7, 9), nn.Conv2d(6, 10, (3, 5)), nn.Conv1d(4, 8, 3)):
        assert fans(module) == nn.init._calculate_fan_in_and_fan_out(module.weight)


def test_weights_depend_on_seed_and_layer_only() -> None:
    def draw(plan: str, seed: int) -> list[torch.Tensor]:
        model = build_vgg("A", num_classes=5, crop=32, width=0.05)
        initialization.apply(InitPlan.parse(plan), model, seed=seed)
        return [parameter.detach().clone() for name, parameter in model.named_parameters() if name.endswith("weight")]

    torch.manual_seed(0)
    first = draw("he", 0)
    torch.manual_seed(1)
    assert all(torch.equal(a, b) for a, b in zip(first, draw("he", 0), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, draw("he", 1), strict=True))
    mixed = draw("he:5,xavier", 0)
    assert all(torch.equal(a, b) for a, b in zip(first[:5], mixed[:5], strict=True))


def test_the_seed_s_gain_budgets() -> None:
    model = build_vgg("D", num_classes=1000, width=1)
    for plan, budget in (("normal=0.01", -15.7), ("xavier:4,normal=0.01,xavier:3", -11.0), ("xavier", -6.8)):
        rows = initialization.apply(InitPlan.parse(plan), model, seed=0)
        assert sum(math.log10(row.gain) for row in rows) == pytest.approx(budget, abs=0.05)


@pytest.mark.parametrize("target", ["B", "C", "D", "E"])
def test_copying_follows_the_paper(target: str) -> None:
    trained = build_vgg("A", num_classes=5, crop=64, width=0.05, classifier="linear")
    initialization.apply(InitPlan.parse("he"), trained, seed=9)
    for parameter in trained.parameters():
        parameter.data += 0.01
    model = build_vgg(target, num_classes=5, crop=64, width=0.05)
    before = initialization.apply(InitPlan.parse("xavier"), model, seed=0)
    table = initialization.copy_shallower(trained, model, before)
    copied = {row.name for row in table if row.scheme == "copied"}
    names = paper_names(model)
    expected = ["conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8"]
    assert copied == {names[name] for name in expected}
    for name in expected:
        source, here = trained.get_submodule(paper_names(trained)[name]), model.get_submodule(names[name])
        assert torch.equal(source.weight.flatten(), here.weight.flatten())
        assert torch.equal(source.bias, here.bias)
    assert [row.index for row in table] == list(range(len(table)))
    assert [row for row in table if row.name not in copied] == [row for row in before if row.name not in copied]


def test_copying_other_shapes_names_both() -> None:
    trained = build_vgg("A", num_classes=6, crop=32, width=0.05)
    model = build_vgg("B", num_classes=5, crop=32, width=0.05)
    with pytest.raises(ValueError, match=r"fc8 has shape \(6, .* and \(5, "):
        initialization.copy_shallower(trained, model, initialization.apply(InitPlan.parse("he"), model, seed=0))
