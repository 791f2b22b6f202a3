"""Sound programs whose look is that of a mistake: nothing above a hint is said of them."""

import itertools

import pytest
import torch
from small_programs import batches, digits
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Diagnosis, Monitor, check


def flat() -> tuple[Tensor, Tensor]:
    x, y = digits()
    return x.flatten(1), y


def mlp(inputs: int = 64, outputs: int = 10) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, outputs))


def causes(diagnosis: Diagnosis) -> list[str]:
    assert not any("itself failed" in line for line in diagnosis.not_checked), diagnosis.not_checked
    return [finding.code for finding in diagnosis.findings if finding.severity != "hint"]


def watched(num_steps: int, *, two_passes: bool, clears: bool) -> Diagnosis:
    """The critic of a GAN, whose gradients the generator's phase fills."""
    x, y = flat()
    torch.manual_seed(0)
    maker, critic = mlp(8, 64), mlp(64, 1)
    optimizers = [torch.optim.Adam(part.parameters(), lr=2e-4) for part in (critic, maker)]
    bce = F.binary_cross_entropy_with_logits
    with Monitor(critic, optimizers[0], every=5) as monitor:
        for (real, _), _ in zip(itertools.cycle(batches(x, y)), range(num_steps), strict=False):
            ones, fake = torch.ones(len(real), 1), maker(torch.randn(len(real), 8))
            if clears:
                critic.zero_grad()
            first, second = bce(critic(real), ones), bce(critic(fake.detach()), 0 * ones)
            if two_passes:
                first.backward()
                second.backward()
            else:
                (first + second).backward()
            monitor.after_backward(first + second)
            optimizers[0].step()
            maker.zero_grad()
            bce(critic(fake), ones).backward()
            optimizers[1].step()
    return monitor.diagnose()


@pytest.mark.parametrize("two_passes", [True, False])
def test_the_other_phase_of_a_gan_is_no_missing_zero_grad(two_passes: bool) -> None:
    assert causes(watched(30, two_passes=two_passes, clears=True)) == []
    assert causes(watched(30, two_passes=two_passes, clears=False))[:1] == ["missing_zero_grad"]


def test_gradients_that_another_optimizer_clears_are_not_missing_zero_grad() -> None:
    torch.manual_seed(0)
    model = mlp()
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.05)  # the body is not trained, and nobody clears its gradients
    with Monitor(model, optimizer, every=5, num_classes=10) as monitor:
        for (x, y), _ in zip(itertools.cycle(batches(*flat())), range(30), strict=False):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert causes(monitor.diagnose()) == ["untrained_parameter.unmanaged"]


class Gauged(nn.Module):
    """Its smallest parameters have a gradient of exactly zero."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(64, 10, bias=False)
        self.zeros = nn.ParameterList([nn.Parameter(torch.ones(1, 1)) for _ in range(9)])

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + 0 * sum(self.zeros)


@pytest.mark.parametrize("clips", [True, False])
def test_gradients_of_zero_do_not_tell_whether_clipping_went(clips: bool) -> None:
    torch.manual_seed(0)
    model = Gauged()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with Monitor(model, optimizer, every=5, num_classes=10) as monitor:
        for (x, y), step in zip(itertools.cycle(batches(*flat())), range(80), strict=False):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            monitor.after_backward(loss)
            if clips and step < 40:
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
    ratios = {record.clip_ratio for record in monitor.evidence().steps}
    assert ratios == {None}
    assert "clip_dropped" not in causes(monitor.diagnose())


def focal(output: Tensor, target: Tensor) -> Tensor:
    chosen = output.log_softmax(1).gather(1, target[:, None])
    return -((1 - chosen.exp()).square() * chosen).mean()


@pytest.mark.parametrize("zero_head", [True, False])
@pytest.mark.parametrize("num_classes", [2, 10])
def test_a_focal_loss_is_not_divided(num_classes: int, zero_head: bool) -> None:
    x, y = flat()
    torch.manual_seed(0)
    model = mlp(outputs=num_classes)
    if zero_head:
        for parameter in model[2].parameters():
            nn.init.zeros_(parameter)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = batches(x, y % num_classes)
    before = check(model, loader, focal, optimizer=optimizer, rehearse_seconds=1)
    assert causes(before) == []
    with Monitor(model, optimizer, every=20, num_classes=num_classes, before=before) as monitor:
        for (images, labels), _ in zip(itertools.cycle(loader), range(100), strict=False):
            optimizer.zero_grad()
            loss = focal(model(images), labels)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert causes(monitor.diagnose()) == []


@pytest.mark.parametrize(("outputs", "classes", "severity"), [(4, 2, "hint"), (12, 10, "hint"), (20, 10, "warning")])
def test_unused_outputs_weigh_by_their_number(outputs: int, classes: int, severity: str) -> None:
    x, y = flat()
    found = check(mlp(outputs=outputs), batches(x, y % classes), num_classes=classes).findings
    assert [f.severity for f in found if f.rule == "head_width"] == [severity]


def test_a_policy_gradient_has_no_floor() -> None:
    torch.manual_seed(0)
    policy, goal = mlp(4, 2), torch.randn(4)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    with Monitor(policy, optimizer, every=20) as monitor:
        for step in range(300):
            state = torch.randn(64, 4)
            said = policy(state).log_softmax(1)
            action = torch.multinomial(said.exp(), 1)
            reward = ((state @ goal > 0).long()[:, None] == action).float() * (1 + step % 37 / 10) - 0.5
            loss = -(said.gather(1, action) * reward).mean()
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert causes(monitor.diagnose()) == []


def test_running_training_accuracy_is_counted_in_train_mode() -> None:
    x, y = flat()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with Monitor(model, optimizer, every=20, num_classes=10) as monitor:
        for _ in range(4):
            wrong = 0
            for images, labels in batches(x[:1200], y[:1200]):
                optimizer.zero_grad()
                output = model(images)
                loss = F.cross_entropy(output, labels)
                loss.backward()
                monitor.after_backward(loss)
                optimizer.step()
                wrong += int((output.argmax(1) != labels).sum())
            monitor.record_evaluation("train", top1_error=wrong / 1200, model_training=True)
            model.eval()
            output, labels = model(x[1200:]), y[1200:]
            model.train()
            error = float((output.argmax(1) != labels).float().mean())
            loss = F.cross_entropy(output, labels).item()
            monitor.record_evaluation("validation", top1_error=error, loss=loss, predictions=output, labels=labels)
    assert causes(monitor.diagnose()) == []


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(60, 16), nn.Linear(16 * 12, 4)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.embedding(words).flatten(1))


def test_numbers_of_words_shift_nothing() -> None:
    torch.manual_seed(0)
    words = torch.randint(50, (600, 12))
    labels = words[:, 0] % 4
    validation = batches(words[400:] + 8, labels[400:])
    assert causes(check(Words(), batches(words[:400], labels[:400]), val_loader=validation)) == []


class PerRow(nn.Module):
    """Its answers are flattened: eight for each example."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.view(len(x), 8, 8)).flatten(0, 1)


def test_labels_longer_than_the_batch_are_not_cut() -> None:
    x, y = flat()
    labels = (x.view(-1, 8, 8).mean(2) > 0).long() + 2 * (y[:, None] % 2)
    loader = [(a, b.flatten()) for a, b in zip(x.split(128), labels.split(128), strict=True)]
    model = PerRow()
    diagnosis = check(model, loader, optimizer=torch.optim.Adam(model.parameters(), lr=1e-2), rehearse_seconds=2)
    assert causes(diagnosis) == []
    assert not any("Error" in line for line in diagnosis.not_checked), diagnosis.not_checked


@pytest.mark.parametrize("shape", [(6,), (6, 1), (1, 6, 1)])
def test_a_table_of_zeros_is_no_blank_image(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    rows = torch.zeros(600, 6)
    rows[torch.arange(600), torch.arange(600) % 6] = (torch.arange(600) % 3 == 0).float()
    labels = (rows.sum(1) > 0).long()
    model = nn.Sequential(nn.Flatten(), mlp(6, 2))
    assert causes(check(model, batches(rows.view(-1, *shape), labels))) == []
