"""The first remedy of a diagnosis, followed to the letter: an edit of the program, where the words ask for one.

Numbers are read from the remedy's own words. What asks for the program's author to put something right that only he has
(loops, losses, layers in a list) was read by a person: where the rule names the true cause, its words ask for what the sound
twin has, and the edit is the twin; where it does not, there is nothing to put right, and the program stays as it is.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from programs.program import Data, Fault, Program
from torch import nn

from trainability import init_
from trainability.doctor.finding import Finding

_NUMBER = r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
# Remedies that ask to look or to know something, and name no change: nothing to follow to the letter.
LOOKS = {
    "shuffled_labels",
    "constant_input",
    "not_finite.first_step",
    "not_finite",
    "activation_scale",
    "label_conflict",
    "not_finite_data",
    "untrained_parameter.zero_input",
}


def names_cause(finding: Finding, fault: Fault) -> bool:
    """Whether a finding names the true cause of a fault."""
    return finding.code in fault.causes or finding.rule in fault.causes


def followed(program: Program, finding: Finding, fault: Fault) -> Program | None:
    """The program after the remedy of a finding; None where the remedy names no change."""
    words = finding.remedy
    if edited := _by_number(program, words):
        return edited
    if (edit := _EDITS.get(finding.code)) is not None:
        return edit(program)
    if names_cause(finding, fault):
        return None if finding.code in LOOKS else fault.sound
    return None if finding.code in LOOKS else program


def _by_number(program: Program, words: str) -> Program | None:
    """Edits that the words give in numbers."""
    if found := re.search(r'init_\(model, "([^"]+)"', words):
        return _drawn(program, found[1])
    if found := re.search(rf"weight_decay={_NUMBER}", words):
        return _with_option(program, "weight_decay", float(found[1]))
    if found := re.search(rf"momentum={_NUMBER}", words):
        return _with_option(program, "momentum", float(found[1]))
    if found := re.search(rf"\(\.\.\., lr={_NUMBER}", words):
        return _with_option(program, "lr", float(found[1]))
    if found := re.search(rf"look again; {_NUMBER} in all", words):  # looked again, each time as far as it says
        return _with_option(program, "lr", program.options["lr"] * float(found[1]))
    if found := re.search(rf"multiply the learning rate by {_NUMBER}", words):
        return _with_option(program, "lr", program.options["lr"] * float(found[1]))
    if found := re.search(rf"divide the learning rate by {_NUMBER}", words):
        return _with_option(program, "lr", program.options["lr"] / float(found[1]))
    if found := re.search(rf"max_norm={_NUMBER}|median norm, {_NUMBER}", words):
        return dataclasses.replace(program, clip=float(found[1] or found[2]))
    return None


def _with_option(program: Program, name: str, value: float) -> Program:
    return dataclasses.replace(program, options={**program.options, name: value})


def _drawn(program: Program, plan: str) -> Program:
    def model() -> nn.Module:
        made = program.model()
        init_(made, plan, seed=0)
        return made

    return dataclasses.replace(program, model=model)


def _he(program: Program) -> Program:
    """He's weights and zero biases, layer by layer, as `kaiming_normal_` in `model.apply` gives them."""

    def draw(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    return dataclasses.replace(program, model=lambda: _applied(program.model(), draw))


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


_EDITS: dict[str, Callable[[Program], Program]] = {
    "input_scale": _standardised,
    "gain_budget_high.input": _standardised,
    "gain_budget_low.input": _standardised,
    "gain_budget_high": _he,
    "gain_budget_low": _he,
    "identical_units": _he,
    "flat_loss": _he,
    "flat_loss.constant_output": _he,
    "constant_output": _he,
    "vanishing_gradient.everywhere": _he,
    "vanishing_gradient.first_layers": _he,
    "dead_units.start": _he,
    "dead_units.bias": _zero_biases,
    "saturation": _xavier,
    "class_order": lambda program: dataclasses.replace(program, shuffle=True),
}
