"""Networks whose losses work against each other are not judged by a loss, wherever a run is seen; others still are."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from trainability import Monitor
from trainability.cli.program import main
from trainability.doctor.diagnosis import Diagnosis
from trainability.training.run_list import find_runs

ONES, ZEROS = torch.ones(32, 1), torch.zeros(32, 1)
Nets = dict[str, nn.Module]
Optimizers = dict[str, torch.optim.Optimizer]
Tell = Callable[[str, Tensor], None]


def nets() -> Nets:
    torch.manual_seed(0)
    return {
        "maker": nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)),
        "judge": nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1)),
    }


def game(
    net: Nets, optimizer: Optimizers, tell: Tell, *, wants: Tensor = ONES, detach: bool = True, freeze: bool = False
) -> None:
    """One step of a GAN; a generator that wants zeros has the wrong sign, and its loss falls as the judge gets better."""
    real, made = 0.5 * torch.randn(32, 2) + 2, net["maker"](torch.randn(32, 4))
    optimizer["judge"].zero_grad()
    loss = bce(net["judge"](real), ONES) + bce(net["judge"](made.detach() if detach else made), ZEROS)
    loss.backward()
    tell("judge", loss)
    optimizer["judge"].step()
    optimizer["maker"].zero_grad()
    net["judge"].requires_grad_(not freeze)
    loss = bce(net["judge"](net["maker"](torch.randn(32, 4))), wants)
    loss.backward()
    tell("maker", loss)
    optimizer["maker"].step()
    net["judge"].requires_grad_(True)


def actor_and_critic(net: Nets, optimizer: Optimizers, tell: Tell) -> None:
    """An actor goes up what the critic says; the critic learns what is so."""
    seen = torch.randn(32, 4)
    optimizer["judge"].zero_grad()
    with torch.no_grad():
        acted = net["maker"](seen) + torch.randn(32, 2)
    loss = (net["judge"](acted) + acted.square().sum(1, keepdim=True)).square().mean()
    loss.backward()
    tell("judge", loss)
    optimizer["judge"].step()
    optimizer["maker"].zero_grad()
    loss = -net["judge"](net["maker"](seen)).mean()
    loss.backward()
    tell("maker", loss)
    optimizer["maker"].step()


def two_of_one_loss(net: Nets, optimizer: Optimizers, tell: Tell, *, clip: bool = False) -> None:
    """Two optimizers of one loss; each clips its own gradients directly before its step."""
    seen = torch.randn(32, 4)
    loss = (net["judge"](net["maker"](seen)) - seen[:, :1]).square().mean()
    loss.backward()
    for name in net:
        tell(name, loss)
    for name, part in net.items():
        if clip:
            nn.utils.clip_grad_norm_(part.parameters(), 0.5)
        optimizer[name].step()
        optimizer[name].zero_grad()


def each_by_itself(net: Nets, optimizer: Optimizers, tell: Tell) -> None:
    """The second learns from what the first makes, cut off from it, as a probe of its features does."""
    seen = torch.randn(32, 4)
    made = net["maker"](seen)
    loss = (made - seen[:, :2]).square().mean()
    probed = (net["judge"](made.detach()) - seen[:, :1]).square().mean()
    (loss + probed).backward()
    tell("maker", loss)
    tell("judge", probed)
    for each in optimizer.values():
        each.step()
        each.zero_grad()


def watched(body: Any, steps: int, *, only: str | None = None, run: Path | None = None, **form: Any) -> dict[str, Diagnosis]:
    """Nested monitors around a loop of two networks, of which `only` one may have one."""
    net = nets()
    optimizer = {name: torch.optim.Adam(part.parameters(), 5e-3) for name, part in net.items()}
    monitors: dict[str, Monitor] = {}
    with contextlib.ExitStack() as stack:
        for name in net if only is None else [only]:
            monitor = Monitor(net[name], optimizer[name], every=10, run=None if run is None else run / name)
            monitors[name] = stack.enter_context(monitor)

        def tell(name: str, loss: Tensor) -> None:
            if name in monitors:
                monitors[name].after_backward(loss)

        for _ in range(steps):
            body(net, optimizer, tell, **form)
    return {name: monitor.diagnose() for name, monitor in monitors.items()}


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (game, {}),
        (game, {"wants": ZEROS}),
        (game, {"detach": False}),
        (game, {"freeze": True}),
        (actor_and_critic, {}),
    ],
)
def test_no_verdict_rests_on_losses_against_each_other(body: Any, form: dict[str, Any]) -> None:
    for diagnosis in watched(body, 60, **form).values():
        assert diagnosis.evidence.facts is not None
        assert diagnosis.evidence.facts.opposed
        assert diagnosis.verdict == "cannot tell"
        assert not diagnosis.asks_for_change


@pytest.mark.parametrize(("only", "form"), [("maker", {}), ("judge", {}), ("judge", {"freeze": True})])
def test_one_monitor_alone_tells_as_well(only: str, form: dict[str, Any]) -> None:
    (diagnosis,) = watched(game, 30, only=only, **form).values()
    assert diagnosis.evidence.facts is not None
    assert diagnosis.evidence.facts.opposed


@pytest.mark.parametrize(("body", "form"), [(two_of_one_loss, {}), (two_of_one_loss, {"clip": True}), (each_by_itself, {})])
def test_networks_that_learn_together_are_judged_by_their_loss(body: Any, form: dict[str, Any]) -> None:
    found = watched(body, 120, **form)
    for diagnosis in found.values():
        assert diagnosis.evidence.facts is not None
        assert not diagnosis.evidence.facts.opposed
    assert found["maker"].verdict in ("was still training when it ended", "has learned")


def test_every_view_says_the_same_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/gan-001")
    watched(game, 60, run=folder, wants=ZEROS)
    assert find_runs("gan-001") == find_runs(folder) == [folder / "judge", folder / "maker"]

    def printed(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        assert stop.value.code == 0
        return capsys.readouterr().out

    told = json.loads(printed("diagnose", str(folder), "--json"))
    assert {name: diagnosis["verdict"] for name, diagnosis in told.items()} == dict.fromkeys(("judge", "maker"), "cannot tell")
    assert [run["verdict"] for run in json.loads(printed("runs", "--json"))] == ["cannot tell"] * 2
    pages = [Path(line) for line in printed("report", "gan-001").split()]
    assert [page.name for page in pages] == ["report.html", "report.html", "comparison.html"]
    assert "Cannot tell" in pages[0].read_text() or "cannot tell" in pages[0].read_text()
    for text in (printed("diagnose", "gan-001"), printed("watch", "--once", "gan-001"), printed("watch", "gan-001")):
        assert text.lower().count("cannot tell") == 2
        assert "still training" not in text


def no_gradient(net: Nets, optimizer: Optimizers, tell: Tell) -> None:
    """The generator's loss takes what it made as numbers."""
    optimizer["maker"].zero_grad()
    loss = bce(net["judge"](net["maker"](torch.randn(32, 4)).detach()), ONES)
    loss.backward()
    tell("maker", loss)
    optimizer["maker"].step()


def test_a_network_that_no_loss_reaches_is_named_within_thirty_steps() -> None:
    (diagnosis,) = watched(no_gradient, 30, only="maker").values()
    assert (diagnosis.findings[0].code, diagnosis.findings[0].severity) == ("unreached_parameter.detached", "error")
    assert diagnosis.verdict == "dead"
    (diagnosis,) = watched(no_gradient, 3, only="maker").values()
    assert not diagnosis.asks_for_change


class Wrapper(torch.optim.Optimizer):
    """Steps another optimizer of the same parameters."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        super().__init__([p for group in inner.param_groups for p in group["params"]], {})
        self.inner = inner

    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.inner.step()


def codes_of(optimizers: Optimizers, net: Nets) -> list[str]:
    """A GAN whose optimizers may hold any parameters; each is watched beside the network that it trains, as `run` does."""

    def trained_by(optimizer: torch.optim.Optimizer) -> nn.Module:
        first = optimizer.param_groups[0]["params"][0]
        return next(part for part in net.values() if any(p is first for p in part.parameters()))

    monitors = {name: Monitor(trained_by(optimizer), optimizer) for name, optimizer in optimizers.items()}
    with contextlib.ExitStack() as stack:
        for monitor in monitors.values():
            stack.enter_context(monitor)
        for _ in range(3):
            game(net, optimizers, lambda name, loss: monitors[name].after_backward(loss))
    return [f.code for m in monitors.values() for f in m.diagnose().findings if f.rule == "foreign_optimizer"]


@pytest.mark.parametrize("trained", ["judge", "maker"])
def test_two_optimizers_of_one_network_leave_the_other_out(trained: str) -> None:
    net = nets()
    both: Optimizers = {name: torch.optim.Adam(net[trained].parameters(), lr=1e-3) for name in net}
    assert set(codes_of(both, net)) == {"foreign_optimizer.twice"}


def test_each_network_with_its_own_optimizer_or_one_that_wraps_it_is_sound() -> None:
    net = nets()
    own: Optimizers = {name: torch.optim.Adam(part.parameters(), lr=1e-3) for name, part in net.items()}
    assert codes_of(own, net) == []
    assert codes_of({name: Wrapper(inner) for name, inner in own.items()}, net) == []


def test_two_optimizers_of_one_network_beside_one_that_is_frozen_are_silent() -> None:
    net = nets()
    net["maker"].requires_grad_(False)
    both: Optimizers = {name: torch.optim.Adam(net["judge"].parameters(), lr=1e-3) for name in net}
    assert codes_of(both, net) == []


def test_a_network_that_stays_as_it_is_beside_one_optimizer_is_silent() -> None:
    net = nets()
    inner = torch.optim.Adam(net["judge"].parameters(), lr=1e-3)
    assert codes_of({"judge": Wrapper(inner), "maker": inner}, net) == []
