"""The book: every trial of the log by its id, in the log's own order. Data only; no torch."""

from __future__ import annotations

from trainability.config import nearest
from trainability.trials.gradients import GRADIENTS
from trainability.trials.imagenet import IMAGENET
from trainability.trials.small_sets import SMALL_SETS
from trainability.trials.trial import Trial

TRIALS: dict[str, Trial] = {trial.id: trial for trial in (*SMALL_SETS, *IMAGENET, *GRADIENTS)}

CHAPTERS: dict[str, tuple[str, ...]] = {
    chapter: tuple(trial.id for trial in TRIALS.values() if trial.chapter == chapter)
    for chapter in dict.fromkeys(trial.chapter for trial in TRIALS.values())
}

LOG = (
    "The log is one person's public record of training VGG from scratch: some thirty trials and weeks of GPU time, with an "
    "explanation after each."
)
"""Explanation of "the log", shown wherever it first appears."""

FURTHER = (
    "The log leaves two things to do: training at large scale, and images with scale jitter. Both are recipes of this project "
    "(recipes/paper/), and no trials: there is no result to compare with."
)


def select(names: tuple[str, ...]) -> list[Trial]:
    """Choose trials by id, by chapter, or all of them, in the book's order.

    Raises:
        ValueError: a name is neither.
    """
    chosen: set[str] = set()
    for name in names:
        if name == "all":
            chosen |= set(TRIALS)
        elif name in CHAPTERS:
            chosen |= set(CHAPTERS[name])
        elif name in TRIALS:
            chosen.add(name)
        else:
            known = [*TRIALS, *CHAPTERS, "all"]
            raise ValueError(f"no trial or chapter {name!r}{nearest(name, known)}; trainability trials list shows them")
    return [trial for trial in TRIALS.values() if trial.id in chosen]
