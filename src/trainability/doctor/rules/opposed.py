"""What can be said of a network whose loss and another's work against each other."""

import math
import statistics

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence


def why_no_loss_tells(evidence: Evidence) -> str:
    """The reason why such a run is not judged by its loss, with what is measured in its place."""
    norms = [s.gradient_norm for s in evidence.steps if s.gradient_norm is not None and math.isfinite(s.gradient_norm)]
    moved = [s.update_ratio for s in reading.latest_layers(evidence) if s.update_ratio is not None and reading.is_matrix(s)]
    told = [f"gradient norm {statistics.median(norms[-reading.WINDOW_STEPS :]):.2g}"] if norms else []
    told += [f"steps of {statistics.median(moved):.1g} of the weights"] if moved and evidence.samples else []
    return (
        "its loss and another network's work against each other: that one falls or rises does not tell what is learned"
        f"{' (' + ', '.join(told) + ')' if told else ''}; a measure of what the networks make does"
    )
