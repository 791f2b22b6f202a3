"""An answer that a recurrent network gives behind the padding of its sequences, though it learns something. No rule."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.gradients import DROWNED, stays_at_start

# Of the sequences of a batch; steps of padding, which GRUs and LSTMs soon learn to wait over where there are fewer, and steps
# where nothing but the words' numbers says that it is padding.
SHARE, STEPS, UNTOLD_STEPS = 0.25, 8, 16
_QUARTER = 0.25  # of the first loss: what has come down further has learned to wait


def behind_padding(evidence: Evidence) -> list[Finding]:
    """A last step that is behind the words; where nothing is learned at all, `vanishing_gradient.padding` says so."""
    facts = reading.facts(evidence)
    found, drowned = facts.readings.behind_padding, facts.drowned
    if found is None or drowned is None or drowned >= DROWNED or evidence.steps or any(stays_at_start(evidence)):
        return []
    fewest = STEPS if found.told_by else UNTOLD_STEPS
    is_sure = (found.are_words or bool(found.told_by)) and found.share >= SHARE and found.steps >= fewest
    told = f"; batch{found.told_by} tells where they end, and that is not used" if found.told_by else ""
    return [
        Finding(
            rule="ignored_end",
            code="ignored_end.behind",
            severity="warning" if is_sure and _is_unsolved(evidence) else "hint",
            seen=f"{100 * found.share:.0f} % of the sequences end in a third or more of padding, typically {found.steps} "
            f"steps, and the answer is read behind it: it changes with their steps by {drowned:.1g} of what it does with the "
            f"padding in front{told}",
            measurements=(
                Measurement(name="change with padding behind over that in front", value=drowned, threshold=DROWNED),
                Measurement(name="share of sequences with padding", value=found.share, threshold=SHARE),
                Measurement(name="steps of padding", value=float(found.steps), threshold=float(fewest)),
            ),
            cause="output[:, -1], or the last hidden state, of padded sequences: the recurrent layer has read the padding, and "
            "forgets what was in front of it"
            + ("" if found.told_by or found.are_words else "; unless zeros at the end are data, and no padding"),
            remedy="torch.nn.utils.rnn.pack_padded_sequence(..., lengths, batch_first=True, enforce_sorted=False) and the last "
            "hidden state; or the output at each sequence's own last step: output[torch.arange(len(output)), lengths - 1]",
            source="PyTorch, torch.nn.utils.rnn.pack_padded_sequence; own: steps exchanged between sequences",
        )
    ]


def _is_unsolved(evidence: Evidence) -> bool:
    """Whether a rehearsal of some steps leaves more than a quarter of the first loss."""
    tried = evidence.rehearsal.reference if evidence.rehearsal is not None else ()
    return len(tried) > 1 and tried[-1].loss > _QUARTER * tried[0].loss
