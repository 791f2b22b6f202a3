"""The first remedy of a diagnosis, followed to the letter: an edit of the program, where the words ask for one.

Numbers are read from the remedy's own words. What asks for the program's author to put something right that only he has
(loops, losses, layers in a list) was read by a person: where the rule names the true cause, its words ask for what the sound
twin has, and the edit is the twin; where it does not, there is nothing to put right, and the program stays as it is.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import torch
from programs.program import Data, Fault, Loop, Program, usual
from torch import Tensor, nn

from trainability import init_
from trainability.doctor.finding import Finding

_NUMBER = r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
# Remedies that ask to look or to know something, and name no change: nothing to follow to the letter.
LOOKS = ("look at", "check ")


def names_cause(finding: Finding, fault: Fault) -> bool:
    """Whether a finding names the true cause of a fault."""
    return finding.code in fault.causes or finding.rule in fault.causes


def followed(program: Program, finding: Finding, fault: Fault) -> Program | None:
    """The program after the remedy of a finding; None where the remedy names no change."""
    words = finding.remedy.partition("; or ")[0]  # of several ways the first; "and" joins what is to be done together
    if (edited := _by_words(program, words)) is not program:
        return edited
    if (edit := _EDITS.get(finding.code)) is not None:
        return edit(program)
    if words.startswith(LOOKS):
        return None
    return fault.sound if names_cause(finding, fault) else program


def _by_words(program: Program, words: str) -> Program:
    """Everything that the words ask for in code or in numbers; the program itself where they give neither."""
    for pattern, edit in _WORDS:
        if found := re.search(pattern, words):
            program = edit(program, *found.groups())
    return program


def _rate_times(program: Program, factor: str) -> Program:
    return _with_option(program, "lr", program.options["lr"] * float(factor))


def _with_option(program: Program, name: str, value: float) -> Program:
    return dataclasses.replace(program, options={**program.options, name: value})


def _rate_in_place_of(program: Program, rate: str, own: str, others: str | None) -> Program:
    """The rate that is named; of several groups the largest is meant, and the others change by the same factor."""
    if others is None:  # of several models each has an option of its own: the one in place of which it is
        named = next((name for name, value in program.options.items() if name.endswith("lr") and value == float(own)), "lr")
        return _with_option(program, named, float(rate))
    factor = float(rate) / float(own)

    def trained(model: Any) -> Any:
        groups = program.trained(model)
        if isinstance(groups, dict):  # of several optimizers
            return groups
        return [{**g, "lr": factor * g["lr"]} if isinstance(g, dict) and "lr" in g else g for g in groups]

    return dataclasses.replace(_with_option(program, "lr", factor * program.options["lr"]), trained=trained)


def _clipped(program: Program, limit: float) -> Program:
    """The threshold that is named, in the loop's own call where its body clips by itself."""

    def body(model: Any, optimizer: Any, batch: Any, loop: Loop) -> Tensor:
        norm, value = nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_

        def clip(parameters: Any, *_: Any, **__: Any) -> Tensor:
            return norm(parameters, limit)

        nn.utils.clip_grad_norm_ = nn.utils.clip_grad_value_ = clip
        try:
            return program.body(model, optimizer, batch, loop)
        finally:
            nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_ = norm, value

    return dataclasses.replace(program, clip=limit, body=program.body if program.body is usual else body)


def _drawn(program: Program, plan: str) -> Program:
    def model() -> nn.Module:
        made = program.model()
        init_(made, plan, seed=0)
        return made

    return dataclasses.replace(program, model=model)


def _he(program: Program) -> Program:
    """He's weights and zero biases, layer by layer, as `kaiming_normal_` in `model.apply` gives them."""
    return _weights(program, lambda weight: nn.init.kaiming_normal_(weight))


def _weights(program: Program, draw: Callable[[Tensor], object]) -> Program:
    """Weights of linear layers and convolutions drawn anew, biases zero."""

    def drawn(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d):
            draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    return dataclasses.replace(program, model=lambda: _applied(program.model(), drawn))


def _each_drawn(program: Program, named: str) -> Program:
    """He's weights in the layers that are named as code: "model.who, model[2]"."""
    names = [re.sub(r"\[(\d+)\]", r".\1", name).removeprefix("model").strip(".") for name in named.split(", ")]

    def model() -> Any:
        made = program.model()
        whole = nn.ModuleDict(made) if isinstance(made, dict) else made
        for name in names:
            nn.init.kaiming_normal_(whole.get_submodule(name).get_parameter("weight"))
        return made

    return dataclasses.replace(program, model=model)


def _orthogonal(program: Program) -> Program:
    def drawn(module: nn.Module) -> None:
        if isinstance(module, nn.RNNBase):
            for name, weight in module.named_parameters():
                if name.startswith("weight_hh"):
                    nn.init.orthogonal_(weight)

    return dataclasses.replace(program, model=lambda: _applied(program.model(), drawn))


def _rectified(program: Program, name: str) -> Program:
    """ReLU in place of every module of that class."""

    def swap(module: nn.Module) -> None:
        for key, child in module.named_children():
            if type(child).__name__ == name:
                setattr(module, key, nn.ReLU())

    return dataclasses.replace(program, model=lambda: _applied(program.model(), swap))


def _filled(program: Program) -> Program:
    """Values that are not finite become the mean of the finite ones of their column or channel."""

    def of(make: Callable[[], Data]) -> Callable[[], Data]:
        def made() -> Data:
            first, *others = make()
            known = torch.isfinite(first)
            over = tuple(d for d in range(first.dim()) if d != 1)
            count = known.sum(dim=over, keepdim=True).clamp(min=1)
            mean = torch.where(known, first, 0).sum(dim=over, keepdim=True) / count
            return (torch.where(known, first, mean), *others)

        return made

    return dataclasses.replace(program, train=of(program.train), held_out=of(program.held_out))


def _xavier(program: Program) -> Program:
    def draw(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_normal_(module.weight)

    return _standardised(dataclasses.replace(program, model=lambda: _applied(program.model(), draw)))


def _zero_biases(program: Program) -> Program:
    def draw(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)

    return dataclasses.replace(program, model=lambda: _applied(program.model(), draw))


def _applied(model: Any, draw: Callable[[nn.Module], None]) -> Any:
    for each in model.values() if isinstance(model, dict) else [model]:
        each.apply(draw)
    return model


def _standardised(program: Program) -> Program:
    """Inputs with mean 0 and standard deviation 1, per channel or column of the training set."""
    inputs = program.train()[0]
    if not inputs.is_floating_point():
        return program
    over = (0, 1) if inputs.dim() == 3 else tuple(d for d in range(inputs.dim()) if d != 1)
    mean, std = inputs.mean(dim=over, keepdim=True), inputs.std(dim=over, keepdim=True).clamp(min=1e-12)

    def of(make: Callable[[], Data]) -> Callable[[], Data]:
        def made() -> Data:
            first, *others = make()
            return ((first - mean) / std, *others)

        return made

    return dataclasses.replace(program, train=of(program.train), held_out=of(program.held_out))


# What words ask for, in the order in which it is done.
_WORDS: tuple[tuple[str, Callable[..., Program]], ...] = (
    (r'init_\(model, "([^"]+)"', _drawn),
    (r"ReLU\(\) in place of torch\.nn\.(\w+)\(\)", _rectified),
    (r"kaiming_normal_\(layer\.weight\) and zero biases in every layer()", lambda program, _: _he(program)),
    (
        r"xavier_normal_\(layer\.weight, gain=5 / 3\)()",
        lambda program, _: _weights(program, lambda weight: nn.init.xavier_normal_(weight, gain=5 / 3)),
    ),
    (r"init\.orthogonal_\(model\.()", lambda program, _: _orthogonal(program)),
    (r"kaiming_normal_\((model[^)]+)\.weight\)", _each_drawn),
    (r"for layer in \((model[^)]+)\)", _each_drawn),
    (r"torch\.where\(torch\.isfinite\(x\), x, mean\)()", lambda program, _: _filled(program)),
    (rf"weight_decay={_NUMBER}", lambda program, value: _with_option(program, "weight_decay", float(value))),
    (rf"eps={_NUMBER}", lambda program, value: _with_option(program, "eps", float(value))),
    (rf"momentum={_NUMBER}", lambda program, value: _with_option(program, "momentum", float(value))),
    (
        rf"lr={_NUMBER}\)? in place of (?!.*look again){_NUMBER}(, and the other groups' rates by the same factor)?",
        _rate_in_place_of,
    ),
    # Looked again, each time as far as it says.
    (rf"look again; it may take {_NUMBER} times", _rate_times),
    (rf"multiply the learning rate by {_NUMBER}", _rate_times),
    (rf"divide the learning rate by {_NUMBER}", lambda program, value: _rate_times(program, str(1 / float(value)))),
    (rf"max_norm={_NUMBER}", lambda program, value: _clipped(program, float(value))),
)

_EDITS: dict[str, Callable[[Program], Program]] = {
    "input_scale": _standardised,
    "gain_budget_high.input": _standardised,
    "gain_budget_low.input": _standardised,
    "gain_budget_high": _he,
    "gain_budget_low": _he,
    "identical_units": _he,
    "flat_loss": _he,
    "flat_loss.constant_output": _he,
    "dead_units.start": _he,
    "dead_units.bias": _zero_biases,
    "saturation": _xavier,
    "class_order": lambda program: dataclasses.replace(program, shuffle=True),
}
