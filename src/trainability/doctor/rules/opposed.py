"""Losses that do not tell by falling or rising what is learned: against another network's, of goals of its own, of a policy."""

import math
import statistics

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence

_LOUDER = 3.0  # outputs over those of the first sampled step


def why_no_loss_tells(evidence: Evidence) -> str | None:
    """The reason why a run is not judged by its loss, with what is measured in its place; None where it is."""
    if reading.is_opposed(evidence):
        norms = [s.gradient_norm for s in evidence.steps if s.gradient_norm is not None and math.isfinite(s.gradient_norm)]
        moved = [s.update_ratio for s in reading.latest_layers(evidence) if s.update_ratio is not None and reading.is_matrix(s)]
        told = [f"gradient norm {statistics.median(norms[-reading.WINDOW_STEPS :]):.2g}"] if norms else []
        told += [f"steps of {statistics.median(moved):.1g} of the weights"] if moved and evidence.samples else []
        return (
            "its loss and another network's work against each other: that one falls or rises does not tell what is learned"
            f"{' (' + ', '.join(told) + ')' if told else ''}; a measure of what the networks make does"
        )
    if reading.makes_goals(evidence):
        return (
            "at each step the network, or another of its kind, is also called without gradients, as to make its own targets, "
            f"which move: that the loss falls or rises does not tell what is learned{growth_of_outputs(evidence)}; the reward "
            "of an episode does, or another measure"
        )
    # A loop of known targets draws for other ends: text that it logs, or a word in place of the one before.
    has_targets = bool(evidence.samples) and all(s.constant_loss is not None for s in evidence.samples)
    if evidence.facts is not None and evidence.facts.draws_own and not has_targets:
        return (
            "it draws by its own outputs, as a policy acts: that such a loss falls or rises does not tell what is learned; the "
            "reward of an episode does"
        )
    if reading.swings_around_zero(evidence):
        return "the loss swings around zero, as a policy's does: that it falls or rises does not tell what is learned"
    return None


def growth_of_outputs(evidence: Evidence) -> str:
    """How the outputs of the last layer have grown since the first sampled step, in words; "" where they have not."""
    sizes = [s.layers[-1].activation_rms for s in (evidence.samples[:1] + evidence.samples[-1:]) if s.layers and not s.blind]
    if len(sizes) < 2 or not sizes[0] or not sizes[1] or sizes[1] < _LOUDER * sizes[0]:
        return ""
    return f" (its outputs have grown from an rms of {sizes[0]:.2g} to {sizes[1]:.2g})"
