"""Losses whose fall or rise does not show learning: against another network, with the net's own targets, of a policy."""

import math
import statistics

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence

_LOUDER = 3.0  # outputs over those of the first sampled step


def why_no_loss_tells(evidence: Evidence) -> str | None:
    """Why a run is not judged by its loss, with what is measured instead; None if it is judged by its loss."""
    if reading.facts(evidence).takes_turns:
        return (
            "its steps train different parts of the network in turn, each for a loss of its own, as in a GAN: whether the loss "
            "falls or rises does not show what is learned; a measure of what the networks make would"
        )
    if reading.is_opposed(evidence):
        norms = [s.gradient_norm for s in evidence.steps if s.gradient_norm is not None and math.isfinite(s.gradient_norm)]
        moved = [s.update_ratio for s in reading.latest_layers(evidence) if s.update_ratio is not None and reading.is_matrix(s)]
        told = [f"gradient norm {statistics.median(norms[-reading.WINDOW_STEPS :]):.2g}"] if norms else []
        told += [f"steps of {statistics.median(moved):.1g} of the weights"] if moved and evidence.samples else []
        return (
            "its loss depends on a network that another optimizer trains, as in a GAN: whether it falls or rises does not "
            f"show what is learned{' (' + ', '.join(told) + ')' if told else ''}; a measure of what the networks generate would"
        )
    if reading.makes_goals(evidence):
        return (
            "at each step the network, or one like it, is also called without gradients, as for targets of its own, which "
            f"move: whether the loss falls or rises does not show what is learned{growth_of_outputs(evidence)}; the reward of "
            "an episode would, or another measure"
        )
    # A loop with known targets samples for other reasons: text to log, or a word to replace the previous one.
    has_targets = bool(evidence.samples) and all(s.constant_loss is not None for s in evidence.samples)
    if evidence.facts is not None and evidence.facts.draws_own and not has_targets:
        return (
            "it samples from its own outputs, as a policy acts: whether such a loss falls or rises does not show what is "
            "learned; the reward of an episode would"
        )
    if reading.swings_around_zero(evidence):
        return "the loss swings around zero, like a policy's: whether it falls or rises does not show what is learned"
    return None


def growth_of_outputs(evidence: Evidence) -> str:
    """How the outputs of the last layer have grown since the first sampled step, in words; "" where they have not."""
    sizes = [s.layers[-1].activation_rms for s in (evidence.samples[:1] + evidence.samples[-1:]) if s.layers and not s.blind]
    if len(sizes) < 2 or not sizes[0] or not sizes[1] or sizes[1] < _LOUDER * sizes[0]:
        return ""
    return f" (its outputs have grown from an rms of {sizes[0]:.2g} to {sizes[1]:.2g})"
