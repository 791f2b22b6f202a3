"""Sound programs that look like ones with a mistake: nothing worse than a hint is said of them, and no verdict that fails."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor, Setup, check
from trainability.doctor.diagnosis import Diagnosis


def drawn(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def loader(*tensors: Tensor, batch_size: int = 64) -> Any:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*tensors), batch_size, shuffle=True)


def mlp(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, outputs))


def bags_of_words() -> Setup:
    """Rows of a full batch that add up to 1, over 200 words: standard deviation 0.02."""
    labels = torch.arange(400) % 4
    rows = (torch.rand(400, 200, generator=torch.Generator().manual_seed(1)) < 0.02).float()
    rows[torch.arange(400), labels] = 1
    model = mlp(200, 4)
    rows = rows / rows.sum(dim=1, keepdim=True)

    def step(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    return Setup(
        model=model, optimizer=torch.optim.Adam(model.parameters(), 0.01), training_step=step, train_loader=[(rows, labels)]
    )


class Factors(nn.Module):
    """Users and films by tables that are plain parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.films = (nn.Parameter(0.1 * drawn(200, 8, seed=seed)) for seed in (1, 2))

    def forward(self, users: Tensor, films: Tensor) -> Tensor:
        return (self.users[users] * self.films[films]).sum(dim=1)


def names_alone() -> Setup:
    liked = drawn(200, 3, seed=3) @ drawn(3, 200, seed=4) > 0
    rng = torch.Generator().manual_seed(5)
    batches = []
    for _ in range(200):
        users, films, others = (torch.randint(200, (256,), generator=rng) for _ in range(3))
        rows = liked[users, films] & ~liked[users, others]
        batches.append((users[rows], films[rows], others[rows]))
    model = Factors()

    def step(model: nn.Module, batch: Any) -> Tensor:
        return -F.logsigmoid(model(batch[0], batch[1]) - model(batch[0], batch[2])).mean()

    optimizer = torch.optim.SGD(model.parameters(), 10.0)
    return Setup(model=model, optimizer=optimizer, training_step=step, train_loader=batches)


def labelled_by_three() -> Setup:
    """Each image has the labels of three people, who err in a fifth of the cases."""
    images, labels = drawn(300, 1, 8, 8), torch.arange(300) % 4
    images[torch.arange(300), 0, 0, labels] += 4
    of_people = labels.repeat_interleave(3)
    errs = torch.rand(900, generator=torch.Generator().manual_seed(2)) < 0.2
    of_people[errs] = torch.randint(4, (int(errs.sum()),), generator=torch.Generator().manual_seed(3))
    model = nn.Sequential(nn.Flatten(), mlp(64, 4))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    return Setup(
        model=model,
        optimizer=optimizer,
        loss_fn=nn.CrossEntropyLoss(),
        train_loader=loader(images.repeat_interleave(3, 0), of_people),
    )


def nothing_to_count() -> Setup:
    """Maps of how much is where, of images in a fifth of which nothing is."""
    places = torch.randint(2, 14, (400, 2), generator=torch.Generator().manual_seed(1))
    maps = torch.zeros(400, 1, 16, 16)
    maps[torch.arange(400), 0, places[:, 0], places[:, 1]] = 1
    maps[::5] = 0
    images = F.avg_pool2d(maps, 3, 1, 1) * 9
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    return Setup(
        model=model, optimizer=optimizer, loss_fn=lambda o, t: 100 * F.mse_loss(o, t), train_loader=loader(images, maps)
    )


def ranks() -> Setup:
    """Five ranks by four outputs, each of which says whether it is beyond a limit."""
    inputs = drawn(1000, 6)
    labels = torch.bucketize(inputs[:, 0] + inputs[:, 1], torch.tensor([-1.5, -0.5, 0.5, 1.5]))
    model = mlp(6, 4)

    def beyond(output: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, (target[:, None] > torch.arange(4)).float())

    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    return Setup(model=model, optimizer=optimizer, loss_fn=beyond, train_loader=loader(inputs, labels))


def by_hand() -> Setup:
    """Weights are moved in the body, without an optimizer."""
    inputs = drawn(600, 8)
    model = mlp(8, 2)

    def step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
        model.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter -= 0.3 * parameter.grad
        return loss

    return Setup(model=model, step=step, train_loader=loader(inputs, (inputs[:, 0] > 0).long()))


class Sets(nn.Module):
    """Says the last value of a line whose others it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(8 * 5, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        y = torch.cat([y[:, :-1], torch.zeros_like(y[:, -1:])], dim=1)
        return self.net(torch.cat([x, y], dim=2).flatten(1))


def told_by_context() -> Setup:
    x = drawn(2000, 8, 4)
    y = (x * drawn(2000, 1, 4, seed=1)).sum(dim=2, keepdim=True)
    model = Sets()

    def step(model: nn.Module, batch: Any) -> Tensor:
        return F.mse_loss(model(*batch), batch[1][:, -1])

    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    return Setup(model=model, optimizer=optimizer, training_step=step, train_loader=loader(x, y))


CHECKED: dict[str, Callable[[], Setup]] = {
    "rows of a bag of words": bags_of_words,
    "names that look tables up": names_alone,
    "labels of three people": labelled_by_three,
    "images with nothing in them": nothing_to_count,
    "ranks": ranks,
    "no optimizer": by_hand,
    "a line that is told by others": told_by_context,
}


def alarms(diagnosis: Diagnosis) -> list[str]:
    return [finding.code for finding in diagnosis.findings if finding.severity != "hint"]


@pytest.mark.parametrize("name", CHECKED)
def test_check_has_no_alarm(name: str) -> None:
    torch.manual_seed(0)
    diagnosis = check(dataclasses.replace(CHECKED[name](), rehearse_seconds=6.0))
    assert alarms(diagnosis) == []
    assert not diagnosis.asks_for_change, diagnosis.verdict


def test_a_copy_for_a_task_is_not_called_saturated() -> None:
    torch.manual_seed(0)
    trained = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    with torch.no_grad():
        trained[0].weight *= 5
        trained[2].weight *= 8
    inputs = torch.rand(40, 1) * 10 - 5
    model = copy.deepcopy(trained)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Monitor(model, optimizer, every=5) as monitor:
        for _ in range(30):
            loss = F.mse_loss(model(inputs), inputs.sin())
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    diagnosis = monitor.diagnose()
    assert "saturation" in [finding.code for finding in diagnosis.findings]
    assert "saturation" not in alarms(diagnosis)


@pytest.mark.parametrize("num_seen", [10, 60, 400])
def test_values_that_are_zero_until_the_first_reward_are_no_mistake(num_seen: int) -> None:
    """A last layer of zeros, and goals that the network makes of its own answers: loss and gradient are zero at first."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with Monitor(model, optimizer, every=5) as monitor:
        for step in range(num_seen):
            now, then = torch.randn(2, 32, 6)
            reward = (now[:, :1] > 1).float() if step >= 80 else torch.zeros(32, 1)
            with torch.no_grad():
                goal = reward + 0.9 * model(then)
            loss = F.smooth_l1_loss(model(now), goal)
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            found = monitor.diagnose() if step in (0, 20, 59) else None
            assert found is None or [f.code for f in found.findings if f.severity != "hint"] == []
    assert [f.code for f in monitor.diagnose().findings if f.severity != "hint"] == []


def test_one_optimizer_of_two_players_is_judged_by_no_loss() -> None:
    """Each is frozen, and has no gradient, while the other is trained: Adam passes it over."""
    torch.manual_seed(0)
    makes, judges = nn.Linear(4, 2), nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    both = nn.ModuleList([makes, judges])
    optimizer = torch.optim.Adam(both.parameters(), 1e-3)

    def stepped(loss: Tensor) -> None:
        loss.backward()
        monitor.after_backward(loss)
        optimizer.step()
        optimizer.zero_grad()

    with Monitor(both, optimizer, every=2) as monitor:
        for _ in range(60):
            judges.requires_grad_(True)
            made = makes(torch.randn(32, 4)).detach()
            stepped(F.softplus(-judges(torch.randn(32, 2))).mean() + F.softplus(judges(made)).mean())
            judges.requires_grad_(False)
            stepped(F.softplus(-judges(makes(torch.randn(32, 4)))).mean())
    found = monitor.diagnose()
    assert [f.code for f in found.findings if f.severity != "hint"] == []
    assert found.verdict == "cannot tell"
