"""Models that are to predict each number of their input from those before it: whether the answer goes by that number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_followed_scripts import codes, followed
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.facts import look
from trainability.doctor.rules.verdict import diagnose

SIDE = 8


class Masked(nn.Conv2d):
    """How: "multiplied", "written" into the weights at each pass, "once" when it is made, or "unread"."""

    mask: Tensor

    def __init__(self, kind: str, a: int, b: int, k: int, how: str) -> None:
        super().__init__(a, b, k, padding=k // 2)
        mask = torch.ones(b, a, k, k)
        mask[:, :, k // 2, k // 2 + (kind == "B") :] = 0
        mask[:, :, k // 2 + 1 :] = 0
        self.register_buffer("mask", mask)
        self.how = how
        if how == "once":
            self.weight.data *= mask

    def forward(self, input: Tensor) -> Tensor:
        if self.how == "written":
            self.weight.data *= self.mask
        weight = self.weight * self.mask if self.how == "multiplied" else self.weight
        return F.conv2d(input, weight, self.bias, padding=self.padding)


def pixelcnn(how: str, *, first: str = "A", rest: str | None = None, outputs: int = 1, channels: int = 1) -> nn.Module:
    """Rest: how the second layer is masked; "plain" for one that is not."""
    second = nn.Conv2d(16, 16, 3, padding=1) if rest == "plain" else Masked("B", 16, 16, 3, rest or how)
    layers = [Masked(first, channels, 16, 5, how), nn.ReLU(), second, nn.ReLU(), nn.Conv2d(16, outputs, 1)]
    return nn.Sequential(*layers)


class MaskedLinear(nn.Linear):
    def __init__(self, rows: Tensor, columns: Tensor, is_last: bool, is_read: bool) -> None:
        super().__init__(len(columns), len(rows))
        self.mask = (rows[:, None] > columns if is_last else rows[:, None] >= columns).float()
        self.is_read = is_read

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight * self.mask if self.is_read else self.weight, self.bias)


def made(is_read: bool) -> nn.Module:
    places, hidden = torch.arange(SIDE**2), torch.arange(96) % (SIDE**2 - 1)
    return nn.Sequential(MaskedLinear(hidden, places, False, is_read), nn.ReLU(), MaskedLinear(places, hidden, True, is_read))


class Narrow(nn.Module):
    """A decoder with masks beside a code of the whole image."""

    def __init__(self) -> None:
        super().__init__()
        self.code = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 8))
        self.spread = nn.Linear(8, SIDE**2)
        self.net = pixelcnn("multiplied", channels=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.cat([x, self.spread(self.code(x)).view_as(x)], dim=1))


class Pruned(nn.Conv2d):
    """A mask without an order."""

    mask: Tensor

    def __init__(self, a: int, b: int, is_read: bool) -> None:
        super().__init__(a, b, 3, padding=1)
        self.register_buffer("mask", (torch.rand(b, a, 3, 3) > 0.5).float())
        self.is_read = is_read

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.weight * self.mask if self.is_read else self.weight, self.bias, padding=1)


def pictures(levels: int = 2, channels: int = 1) -> Tensor:
    noise = torch.randn(16, channels, SIDE + 2, SIDE + 2)
    smooth = F.avg_pool2d(noise, 3, stride=1).mul(3).sigmoid()
    return (smooth * levels).long().float() / (levels - 1)


def binary(model: nn.Module, batch: Any) -> Tensor:
    return F.binary_cross_entropy_with_logits(model(batch[0]), batch[1])


def squares(model: nn.Module, batch: Any) -> Tensor:
    return F.mse_loss(model(batch[0] * 2 - 1), batch[1])


def of_levels(model: nn.Module, batch: Any) -> Tensor:
    images = batch[0]
    return F.cross_entropy(model(images - 0.5), (images.squeeze(1) * 7).round().long())


def by_hand(model: nn.Module, batch: Any) -> Tensor:
    logits = model(batch[0]).log_softmax(dim=1)
    return -logits.gather(1, (batch[0] * 7).round().long()).mean()


def noised(model: nn.Module, batch: Any) -> Tensor:
    return F.mse_loss(model(batch[0] + 0.3 * torch.randn_like(batch[0])), batch[0])


def of_colours(model: nn.Module, batch: Any) -> Tensor:
    logits = model(batch[0])
    return F.cross_entropy(logits.unflatten(1, (4, 3)), (batch[0] * 3).round().long())


def twice(images: Tensor) -> tuple[Tensor, Tensor]:
    return images, images.clone()


Program = Callable[[], tuple[nn.Module, Any, Any]]
SEES: dict[str, tuple[Program, str, str]] = {
    "masks that are not read": (lambda: (pixelcnn("unread"), twice(pictures()), binary), "sees_future.mask", "error"),
    "levels": (lambda: (pixelcnn("unread", outputs=8), (pictures(8),), of_levels), "sees_future.mask", "error"),
    "levels by hand": (lambda: (pixelcnn("unread", outputs=8), (pictures(8),), by_hand), "sees_future.mask", "error"),
    "one mask that is not read": (
        lambda: (pixelcnn("unread", rest="multiplied"), twice(pictures()), binary),
        "sees_future.mask",
        "error",
    ),
    "vectors": (lambda: (made(False), twice(pictures().flatten(1)), binary), "sees_future.mask", "error"),
    "type B first": (lambda: (pixelcnn("multiplied", first="B"), twice(pictures()), squares), "sees_future.itself", "error"),
    "type B first, of colours": (
        lambda: (pixelcnn("multiplied", first="B", outputs=12, channels=3), (pictures(4, 3),), of_colours),
        "sees_future.itself",
        "error",
    ),
    "a plain layer": (
        lambda: (pixelcnn("written", rest="plain"), twice(pictures()), binary),
        "sees_future.itself",
        "warning",
    ),
}


def autoencoder() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))


def pruned(is_read: bool) -> nn.Module:
    return nn.Sequential(Pruned(1, 16, is_read), nn.ReLU(), Pruned(16, 1, is_read))


SOUND: dict[str, Program] = {
    "masked": lambda: (pixelcnn("multiplied"), twice(pictures()), binary),
    "masked at each pass": (lambda: (pixelcnn("written"), twice(pictures()), binary)),
    "masked, of levels": (lambda: (pixelcnn("multiplied", outputs=8), (pictures(8),), of_levels)),
    "masked, of colours": (lambda: (pixelcnn("multiplied", outputs=12, channels=3), (pictures(4, 3),), of_colours)),
    "masked, of vectors": lambda: (made(True), twice(pictures().flatten(1)), binary),
    "a denoiser of layers whose masks are off": lambda: (pixelcnn("unread"), (pictures(8),), noised),
    "a map of other targets": lambda: (pixelcnn("unread"), (pictures(8), pictures(2)), binary),
    "a code beside masks": lambda: (Narrow(), twice(pictures()), binary),
    "an autoencoder": lambda: (autoencoder(), twice(pictures(8)), squares),
    "an autoencoder of two levels": lambda: (autoencoder(), twice(pictures()), binary),
    "an autoencoder that is pruned": lambda: (pruned(True), twice(pictures(8)), squares),
    "an autoencoder that was pruned": lambda: (pruned(False), twice(pictures(8)), squares),
}


def found_in(program: Program) -> dict[str, str]:
    torch.manual_seed(0)
    model, batch, loss = program()
    before = [t.clone() for t in model.state_dict().values()]
    facts = look(model, batch, loss)
    assert not [note for note in facts.notes if "own targets" in note]
    assert all(map(torch.equal, before, model.state_dict().values()))
    return {f.code: f.severity for f in diagnose(Evidence(facts=facts)).findings if f.rule == "sees_future"}


@pytest.mark.parametrize("name", SEES)
def test_a_model_whose_answer_goes_by_the_number_that_it_predicts(name: str) -> None:
    program, code, severity = SEES[name]
    assert found_in(program) == {code: severity}


@pytest.mark.parametrize("name", SOUND)
def test_sound_models_of_their_own_input(name: str) -> None:
    assert found_in(SOUND[name]) == {}


@pytest.mark.parametrize(("again", "fires"), [(False, True), (True, False)])
def test_a_mask_that_is_applied_once_is_lost_with_the_first_update(again: bool, fires: bool) -> None:
    def loop() -> None:
        torch.manual_seed(0)
        model, images = pixelcnn("once"), pictures()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, images.clone()), batch_size=8)
        for _ in range(12):
            for batch in loader:
                optimizer.zero_grad()
                loss = binary(model, batch)
                loss.backward()
                optimizer.step()
                for layer in model.modules() if again else ():
                    if isinstance(layer, Masked):
                        layer.weight.data *= layer.mask

    (diagnosis,) = followed(loop).values()
    assert ("sees_future.mask" in codes(diagnosis)) == fires
