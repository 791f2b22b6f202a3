"""What `run` and `Monitor` say of loops that are not a plain classifier's: side passes, policies, tables, words."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor.audit_results import Relation
from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.evidence import Evidence, Sample, StepRecord
from trainability.doctor.facts import Facts, LossGraph
from trainability.doctor.measure.seen_pairs import _compared
from trainability.doctor.reading import makes_goals
from trainability.doctor.rules.verdict import diagnose
from trainability.loops.script_watch import ScriptWatch


def followed(loop: Callable[[], Any]) -> dict[str, Diagnosis]:
    """The diagnoses of a loop that is followed as a script is."""
    watch = ScriptWatch(Path("loop.py"), every=20, most_steps=None, place=None)
    watch.begin()
    try:
        loop()
    finally:
        watch.end(None)
    return watch.diagnoses


def codes(diagnosis: Diagnosis) -> dict[str, str]:
    return {finding.code: finding.severity for finding in diagnosis.findings}


# ------------------------------------------------------------------------------------------------------- passes on the side


def attacks(every: int, clear: str) -> Callable[[], None]:
    """Adversarial examples at every so many steps, whose own pass leaves gradients that are cleared."""

    def loop() -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for step in range(1, 61):
            inputs = torch.randn(32, 20)
            labels = inputs[:, :5].argmax(dim=1)
            if step % every == 0:
                inputs.requires_grad_()
                F.cross_entropy(model(inputs), labels).backward()
                inputs = (inputs + 0.1 * inputs.grad.sign()).detach()  # type: ignore[union-attr]
                (model if clear == "model" else optimizer).zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            if step % every:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return loop


@pytest.mark.parametrize(("every", "clear"), [(1, "optimizer"), (2, "optimizer"), (2, "model"), (5, "optimizer")])
def test_a_pass_for_adversarial_examples_is_no_micro_batch(every: int, clear: str) -> None:
    (diagnosis,) = followed(attacks(every, clear)).values()
    assert "accumulation" not in codes(diagnosis)
    assert {step.micro_batches for step in diagnosis.evidence.steps[every:]} == {1}
    assert len(diagnosis.evidence.steps) == 60


@pytest.mark.parametrize(("passes", "fires"), [([1, 2] * 20, False), ([1] * 15 + [2], False), ([3, 2, 2, 2] * 5, True)])
def test_passes_beside_a_step_are_told_from_micro_batches_that_are_counted_wrong(passes: list[int], fires: bool) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer) as monitor:
        for count in passes:
            for place in range(count):
                loss = model(torch.randn(8, 4)).square().mean()
                loss.backward()
                monitor.after_backward(loss, is_last=place == count - 1)
            optimizer.step()
            optimizer.zero_grad()
    assert ("accumulation" in codes(monitor.diagnose())) == fires


# -------------------------------------------------------------------------------------------------------------- later tokens


class Shift(torch.autograd.Function):
    """A function of the program's own, whose backward pass may be made once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        assert not hasattr(ctx, "was_called")
        ctx.was_called = True
        return gradient


class Writer(nn.Module):
    """A model of words; `kind` says how it looks at them."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.words, self.head = nn.Embedding(12, 16), nn.Linear(16, 12)
        self.lstm = nn.LSTM(16, 8 if "both" in kind else 16, batch_first=True, bidirectional="both" in kind)
        self.qkv, self.project, self.dropout = nn.Linear(16, 48), nn.Linear(16, 16), nn.Dropout(0.2)
        self.conv = nn.Conv1d(16, 16, 3)
        self.register_buffer("calls", torch.zeros(()))
        if "zero" in kind:
            nn.init.zeros_(self.project.weight)

    def attend(self, x: Tensor) -> Tensor:
        self.calls += 1  # a buffer that each forward pass writes
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = q @ k.transpose(1, 2) / 4
        if "causal" in self.kind:
            scores = scores + torch.full(scores.shape[1:], -1e9).triu(1)
        return x + self.project(self.dropout(scores.softmax(dim=-1) @ v))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens)
        if "lstm" in self.kind:
            x = self.lstm(x)[0]
        elif "conv" in self.kind:
            x = x + self.conv(F.pad(x.transpose(1, 2), (2, 0) if "causal" in self.kind else (1, 1))).transpose(1, 2)
        elif "again" in self.kind:
            x = torch.utils.checkpoint.checkpoint(self.attend, x, use_reentrant=False)  # type: ignore[assignment]
        else:
            x = self.attend(x)
        return self.head(Shift.apply(x) if "own" in self.kind else x)


def written(kind: str, *, watched: bool) -> tuple[dict[str, str], list[Tensor], float]:
    """Train on sentences of a tenth of the words; codes, weights and buffers afterwards, and the next random number."""
    torch.manual_seed(0)
    model = Writer(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    found: dict[str, str] = {}

    def loop() -> None:
        for _ in range(25):
            tokens = torch.randint(12, (8, 17))
            logits = model(tokens[:, :-1])
            if "kept" in kind:
                logits.retain_grad()
            loss = F.cross_entropy(logits.flatten(0, 1), (tokens[:, :-1] if "same" in kind else tokens[:, 1:]).flatten())
            optimizer.zero_grad()
            loss.backward()
            if "kept" in kind:
                model.calls += logits.grad.abs().sum()  # type: ignore[union-attr, operator]
            optimizer.step()

    if watched:
        watch = ScriptWatch(Path("loop.py"), every=20, most_steps=None, place=None)
        watch.begin()
        watch._optimizers.append(optimizer)  # as at its construction
        watch._wait_for(optimizer)
        try:
            loop()
        finally:
            watch.end(None)
        (diagnosis,) = watch.diagnoses.values()
        assert not [problem for problem in diagnosis.evidence.problems if "stopped" in problem]
        found = codes(diagnosis)
    else:
        loop()
    return found, [t.detach().clone() for t in model.state_dict().values()], float(torch.rand(()))


@pytest.mark.parametrize(
    ("kind", "fires"),
    [
        ("attention", True),
        ("attention causal", False),
        ("attention again", True),
        ("attention again causal", False),
        ("attention zero", True),  # at the second step that is looked at
        (
            "attention own",
            True,
        ),  # of the recorded step: what an own function does twice is not known
        ("attention kept", True),  # likewise: a second pass would add to the gradient that is kept
        ("attention same", False),  # asked for the tokens themselves
        ("lstm both", True),
        ("lstm", False),
        ("conv", True),
        ("conv causal", False),
    ],
)
def test_a_run_asks_its_own_graph_whether_later_tokens_are_seen(kind: str, fires: bool) -> None:
    found, weights, number = written(kind, watched=True)
    assert (found.get("sees_future") == "error") == fires
    _, alone, same = written(kind, watched=False)
    assert number == same
    assert all(torch.equal(one, other) for one, other in zip(weights, alone, strict=True))


@pytest.mark.parametrize(("share", "fires"), [(1.1e-5, True), (1e-5, False), (0.0, False)])
def test_what_comes_back_to_later_tokens_is_more_than_rounding(share: float, fires: bool) -> None:
    assert ("sees_future" in codes(diagnose(Evidence(facts=Facts(reaches_ahead=share))))) == fires


# ---------------------------------------------------------------------------------------------------------- memorised


def classes_of(kind: str, inputs: Tensor) -> Tensor:
    if kind == "drawn":
        return torch.randint(4, (len(inputs),))
    return inputs[:, :4].argmax(dim=1)


@pytest.mark.parametrize("looked_up", ["in the loss", "before"])
@pytest.mark.parametrize(("kind", "fires"), [("drawn", True), ("told", False)])
def test_labels_that_were_drawn_are_named_in_a_long_run_as_in_a_short_one(kind: str, fires: bool, looked_up: str) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(400, 16)
    labels = classes_of(kind, inputs)
    model = nn.Sequential(nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    found = {}
    with Monitor(model, optimizer, every=20) as monitor:
        for step in range(1, 1201):
            rows = torch.randint(400, (32,))
            chosen = labels[rows]
            loss = F.cross_entropy(model(inputs[rows]), chosen if looked_up == "before" else labels[rows])
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            if step in (160, 1200):
                found[step] = monitor.diagnose()
    assert [("shuffled_labels.unrelated" in codes(diagnosis)) for diagnosis in found.values()] == [fires, fires]
    assert (found[1200].verdict in ("is training", "has learned")) is not fires
    losses = [step.loss for step in monitor.evidence().steps]
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])


def memorised(seen: tuple[int, int] | None, falls_at: int) -> Evidence:
    losses = [math.log(4) if step < falls_at else 0.3 for step in range(1, 401)]
    return Evidence(
        steps=tuple(StepRecord(step=k, loss=loss, micro_batches=1) for k, loss in enumerate(losses, start=1)),
        samples=tuple(Sample(step=step, layers=(), batch_size=32) for step in (1, 51, 101)),
        relation=Relation(num_examples=200, z=1.0, seen=seen),
        num_classes=4,
    )


@pytest.mark.parametrize(
    ("seen", "falls_at", "fires"),
    [
        ((600, 400), 150, True),  # 680 examples and more: two passes are 43 steps
        ((600, 400), 30, False),
        ((600, 100), 15, False),  # nearly all at every step: 20 steps are waited for
        ((1200, 1180), 150, False),  # tens of thousands, of which none had come twice
        ((600, 600), 150, False),  # none comes again: so nothing is memorised
        (None, 150, False),
    ],
)
def test_what_falls_as_examples_come_again_is_memorised(seen: tuple[int, int] | None, falls_at: int, fires: bool) -> None:
    diagnosis = diagnose(memorised(seen, falls_at))
    assert ("shuffled_labels.unrelated" in codes(diagnosis)) == fires
    assert (diagnosis.verdict == "cannot tell") == fires


def test_parity_that_is_learned_late_is_learned() -> None:
    torch.manual_seed(0)
    bits = (torch.rand(1000, 20) < 0.5).float() * 2 - 1
    labels = (bits[:, :3].prod(dim=1) > 0).long()
    model = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with Monitor(model, optimizer, every=20) as monitor:
        for _ in range(700):
            rows = torch.randint(1000, (64,))
            loss = F.cross_entropy(model(bits[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    other = (torch.rand(1000, 20) < 0.5).float() * 2 - 1
    right = model(other).argmax(dim=1) == (other[:, :3].prod(dim=1) > 0).long()
    assert float(right.float().mean()) > 0.9
    assert monitor.diagnose().verdict in ("is training", "has learned")
    assert "shuffled_labels.unrelated" not in codes(monitor.diagnose())


def test_labels_that_are_places_in_the_batch_are_compared_with_nothing() -> None:
    pairs = [(torch.randn(64, 8), torch.arange(64)) for _ in range(4)]
    assert _compared(pairs) is None
    assert _compared([(x, torch.randint(5, (64,))) for x, _ in pairs]) is not None


class OverNeighbours(nn.Module):
    """Classes of the nodes of a graph, told by the mean of their neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(30, 32), nn.Linear(32, 3)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        near = edges / edges.sum(dim=1, keepdim=True)
        return self.last(near @ torch.relu(self.first(near @ nodes)))


@pytest.mark.parametrize("kind", ["nodes", "masked"])
def test_of_two_inputs_the_second_is_no_target(kind: str) -> None:
    torch.manual_seed(0)
    labels = torch.randint(3, (300,))
    nodes, edges = torch.randn(300, 30), (torch.rand(300, 300) < 0.05).float() + torch.eye(300)
    told = torch.arange(0, 300, 2)
    model = OverNeighbours()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with Monitor(model, optimizer, every=10) as monitor:
        for _ in range(60):
            out = model(nodes, edges)
            loss = F.cross_entropy(out[told], labels[told]) if kind == "nodes" else F.mse_loss(out @ out.T, nodes @ nodes.T)
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert monitor.evidence().relation is None
    assert "shuffled_labels.unrelated" not in codes(monitor.diagnose())


# ------------------------------------------------------------------------------------------ losses that tell nothing by falling


def goals(kind: str) -> Diagnosis:
    """Values of states, whose goals are a reward and the value of the next state; `kind` says who tells that."""
    torch.manual_seed(0)
    model, target = (nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2)) for _ in range(2))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with Monitor(model, optimizer, every=20) as monitor:
        for step in range(400):
            states, later = torch.rand(32, 4), torch.rand(32, 4)
            actions = torch.randint(2, (32, 1))
            with torch.no_grad():
                if kind == "evaluated":
                    if step % 20 == 0:
                        model.eval()
                        model(later)
                        model.train()
                    value = later.sum(dim=1)
                else:
                    value = (model if kind == "itself" else target)(later).amax(dim=1)
            loss = F.mse_loss(model(states).gather(1, actions)[:, 0], 1 + 0.99 * value)
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            if step % 20 == 0:
                target.load_state_dict(model.state_dict())
    return monitor.diagnose()


@pytest.mark.parametrize(("kind", "moves"), [("itself", True), ("target network", True), ("evaluated", False)])
def test_goals_that_move_are_told_from_targets(kind: str, moves: bool) -> None:
    diagnosis = goals(kind)
    assert makes_goals(diagnosis.evidence) == moves
    if moves:
        assert diagnosis.verdict == "cannot tell"
        assert "outputs have grown" in diagnosis.reason
        assert set(codes(diagnosis)) & {"loss_cliff", "loss_cliff.goals"} <= {"loss_cliff.goals"}
    else:
        assert "goals" not in diagnosis.reason


@pytest.mark.parametrize("kind", ["acts", "logs"])
def test_a_policy_is_told_from_a_classifier_that_draws_for_the_log(kind: str) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(400, 8)
    labels = inputs[:, :4].argmax(dim=1)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with Monitor(model, optimizer, every=20) as monitor:
        for _ in range(200):
            rows = torch.randint(400, (64,))
            logits = model(inputs[rows])
            drawn = torch.multinomial(logits.detach().softmax(dim=1), 1)[:, 0]
            reward = (drawn == labels[rows]).float()
            gain = -(reward - reward.mean()) * logits.log_softmax(dim=1).gather(1, drawn[:, None])[:, 0]
            loss = gain.mean() if kind == "acts" else F.cross_entropy(logits, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    diagnosis = monitor.diagnose()
    assert (diagnosis.verdict == "cannot tell") == (kind == "acts")
    assert ("as a policy acts" in diagnosis.reason) == (kind == "acts")


def test_a_jump_of_goals_asks_for_no_smaller_steps() -> None:
    losses = [1.0] * 20 + [0.1] * 40 + [30.0] * 20
    steps = tuple(StepRecord(step=k, loss=loss, micro_batches=1, lr=0.01) for k, loss in enumerate(losses, start=1))
    facts = Facts(graph=LossGraph(takes="distance"))
    for asks, code, severity in ((False, "loss_cliff", "error"), (True, "loss_cliff.goals", "hint")):
        samples = tuple(Sample(step=step, layers=(), batch_size=32, asks_itself=asks) for step in (1, 51))
        (found,) = diagnose(Evidence(steps=steps, samples=samples, facts=facts)).findings
        assert (found.code, found.severity) == (code, severity)
        assert ("learning rate" in found.remedy) is not asks


@pytest.mark.parametrize("kind", ["returns", "advantages", "labels"])
def test_a_policys_loss_is_no_measure(kind: str) -> None:
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    with Monitor(policy, optimizer, every=20) as monitor:
        for step in range(60):
            states = torch.randn(16, 4)
            chances = torch.distributions.Categorical(logits=policy(states))
            actions = (states[:, 0] > 0).long() if kind == "labels" else chances.sample()
            rewards = {"returns": torch.full((16,), 1.0 + step), "labels": torch.ones(16)}.get(kind, torch.randn(16))
            loss = -(chances.log_prob(actions) * rewards).mean()
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    diagnosis = monitor.diagnose()
    assert (diagnosis.verdict == "is training" or "training" in diagnosis.verdict) == (kind == "labels")
    assert ("policy" in diagnosis.reason) == (kind != "labels")


# -------------------------------------------------------------------------------------------------------------- sizes of inputs


def net(*layers: nn.Module, inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 32), *layers, nn.ReLU(), nn.Linear(32, 2))


def of_table(kind: str, *, num_steps: int = 3) -> Diagnosis:
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(1)
    model = net(*([nn.BatchNorm1d(32)] if kind == "normalised" else []), inputs=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with Monitor(model, optimizer, every=20) as monitor:
        for _ in range(num_steps):
            rows = torch.randn(1 if kind == "state" else 64, 4, generator=rng)
            labels = (rows[:, 0] > 0).long()
            if kind == "state":
                rows = 0.01 * rows
            elif kind != "standard":
                rows[:, 3] = torch.randint(40, (len(rows),), generator=rng).float() + 30  # an age
            loss = F.cross_entropy(model(rows), labels)
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    return monitor.diagnose()


@pytest.mark.parametrize(
    ("kind", "num_steps", "severity"),
    [
        ("raw", 3, "hint"),  # it may learn all the same
        ("raw", 300, "hint"),  # and has
        ("normalised", 3, "hint"),
        ("standard", 3, None),
        ("state", 3, None),  # four numbers have no scale
    ],
)
def test_columns_of_a_table_are_called_columns(kind: str, num_steps: int, severity: str | None) -> None:
    diagnosis = of_table(kind, num_steps=num_steps)
    assert codes(diagnosis).get("input_scale") == severity
    for finding in diagnosis.findings:
        if finding.rule == "input_scale":
            assert "(column 3)" in finding.seen
            assert "channel" not in finding.seen + finding.remedy


# ----------------------------------------------------------------------------------------------- whose parameters are stepped


def other_network(way: str) -> Diagnosis:
    """Steps of the target network, while the loss goes through the policy. No assert: pytest's would ask for variables."""
    torch.manual_seed(0)
    policy, target = nn.Linear(4, 2), nn.Linear(4, 2)

    def steps(optimizer: torch.optim.Optimizer, monitor: Monitor | None = None) -> None:
        for _ in range(6):
            states = torch.randn(8, 4)
            with torch.no_grad():
                goals = target(states)
            loss = F.mse_loss(policy(states), goals)
            loss.backward()
            if monitor is not None:
                monitor.after_backward(loss)
            optimizer.step()
            optimizer.zero_grad()

    if way == "run":
        return next(iter(followed(lambda: steps(torch.optim.Adam(target.parameters(), lr=1e-3))).values()))
    optimizer = torch.optim.Adam(target.parameters(), lr=1e-3)
    with Monitor(policy, optimizer) as monitor:
        steps(optimizer, monitor)
    return monitor.diagnose()


@pytest.mark.parametrize("way", ["run", "Monitor"])
def test_an_optimizer_of_another_network_says_which(way: str) -> None:
    (found,) = (finding for finding in other_network(way).findings if finding.rule == "foreign_optimizer")
    assert found.seen.endswith("those that it holds are of target")
    assert "target" in found.remedy


def test_the_second_optimizer_of_one_network_has_its_own_name() -> None:
    torch.manual_seed(0)

    def loop() -> None:
        maker, judge = nn.Linear(4, 4), nn.Linear(4, 1)
        first, second = (torch.optim.SGD(judge.parameters(), lr=0.01) for _ in range(2))
        for _ in range(4):
            for optimizer in (first, second):
                optimizer.zero_grad()
                judge(maker(torch.randn(8, 4))).square().mean().backward()
                optimizer.step()

    assert set(followed(loop)) in ({"judge", "judge-second"}, {"judge", "judge-first"})
