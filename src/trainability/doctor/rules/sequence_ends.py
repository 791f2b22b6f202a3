"""Sequences of which something is left out: their end, their last word, all words beside padding; where an episode ends."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.layer_table import number
from trainability.doctor.rules.inputs import SYMPTOMS
from trainability.doctor.rules.rule import rule

FRESH = 3.0  # times as far


@rule(severities=("warning",), explains=(*SYMPTOMS, "shuffled_labels"))
def ignored_end(evidence: Evidence) -> list[Finding]:
    """An answer for a sequence leaves out its second half, its last word, or its words.

    Fires: in eval mode the outputs of a model with a recurrent layer, one row per sequence, stay the same to the bit when the
        second halves are exchanged between sequences, and change when the first halves are. Code `last`: of padded sequences of
        words, the answers for all stay the same when the last word of each is exchanged, and change when all are. Code
        `padding`: no answer changes when all other words of its sequence are exchanged while the sequence has padding, and
        answers do, or are not finite, once words stand in its place; or shares or a mask of attention hide all words of four
        sequences or more, of three lengths or more, and show what is padding. Of a watched loop: masks of
        `torch.nn.MultiheadAttention`, and words that no gradient comes back to, as it does to padding. Code `state`: a
        recurrent layer is to take three steps or more, and the gradient of its recurrent weights is exactly zero, as that of
        its others is not.
    Why: the state of a recurrent layer has seen everything only at the last step. `output[:, 0]` has seen the first step alone,
        and so has the last state of a packed sequence whose length is said to be 1.
        Exchanged and compared, so this is certain. Recurrent weights have a gradient as soon as one state is not zero.
    What fools it: nothing that is known; padding that all examples have at their ends is left out.
    Fix: output[:, -1] (with batch_first=True), or the mean over the steps.
    Source: PyTorch, `torch.nn.LSTM`, outputs; own check.
    """
    facts = reading.facts(evidence)
    if not facts.ignores_end:
        return _unread_words(facts.unread_words) or _stateless(facts.stateless)
    return [
        Finding(
            rule="ignored_end",
            severity="warning",
            seen="the outputs stay the same when the second halves of the sequences are exchanged",
            measurements=(Measurement(name="change of the output", value=0.0, threshold=0.0),),
            cause="the output of an early step is read, which has not seen the later ones; of packed sequences, lengths that "
            "end them early",
            remedy="read the last step: output[:, -1]; of packed sequences, give the number of steps of each as its length",
            source="own; exchanged and compared",
        )
    ]


@rule(severities=("warning", "hint"), explains=("constant_as_good", "loss_at_start"))
def unread_ends(evidence: Evidence) -> list[Finding]:
    """Goals that a model makes of what comes after do not go by where an episode ends.

    Fires: the loss is given goals that a call without gradients makes of a second tensor of the batch, the batch holds marks,
        0 or 1 for each example, and with all of them turned the loss is the same to the bit. A warning where what comes after
        a mark of 1 is three times as far from what was before as elsewhere, as a fresh start is, or where other states than
        before follow the same state and action at most marks, and the same one always elsewhere; else a hint. A warning with
        code `same`: the second tensor is the first, value for value, in every example of sixteen batches, the loss goes by
        both, and has no slope by the second. A warning with code `index`: the place of each row's largest number, as `argmax`
        and the second result of `max(dim=1)` are, is added to numbers of the batch, and outputs are set against the sum.
    Why: what ends earns nothing any more. Goals that go on count what another episode earns, so falling costs nothing, and
        values grow to that of an episode without an end. Marks are turned and losses compared, so this is certain.
    What fools it: marks of something else (a kind of sample), and of episodes that are cut by time alone, whose last state is
        given: these do go on; hence the hint.
    Fix: goal = reward + gamma * (1 - done) * value_of_next.
    Source: Mnih et al., Human-level control through deep reinforcement learning, Nature 2015, algorithm 1; Pardo et al., Time
        Limits in Reinforcement Learning, ICML 2018, for what is cut by time.
    """
    found, same = reading.facts(evidence).unread_ends, reading.facts(evidence).same_after
    if (choices := reading.facts(evidence).index_goals) is not None:
        return [_of_a_place(choices)]
    if same is not None:
        return [_stands_still(*same)]
    if found is None:
        return []
    place, apart = found
    others, compared = reading.facts(evidence).fresh_starts or (0, 1)
    far, unlike = apart >= FRESH, 2 * others > compared
    fresh = far or unlike
    return [
        Finding(
            rule="unread_ends",
            severity="warning" if fresh else "hint",
            seen=f"the targets that the loss makes of the next state are the same whatever batch{place} holds (1 where "
            "an episode ends)"
            + (
                f"; where it is 1, the next state is {number(apart)} times as far away as elsewhere: it begins another episode"
                if far
                else f"; where it is 1, another state than the first time follows the same state and action in {others} of "
                f"{compared} cases, and elsewhere the same one always does: it begins another episode"
                if unlike
                else ""
            ),
            measurements=(Measurement(name="distance at a mark over that elsewhere", value=apart, threshold=FRESH),),
            cause="(1 - done) is missing where the value of what comes after is added to the reward",
            remedy="goal = reward + gamma * (1 - done) * value_of_next",
            source="Mnih et al., Nature 2015, algorithm 1; marks turned, losses compared",
        )
    ]


def _of_a_place(choices: int) -> Finding:
    """The number of the best action in place of what it is worth."""
    return Finding(
        rule="unread_ends",
        code="unread_ends.index",
        severity="warning",
        seen=f"a goal is a number of the batch plus the place, 0 to {choices - 1}, of the largest of {choices} outputs",
        measurements=(Measurement(name="outputs of which the place is taken", value=float(choices), threshold=0.0),),
        cause="max(dim=1) returns values and places, and the second was taken; or argmax(dim=1) stands where the value belongs",
        remedy="goal = reward + gamma * (1 - done) * value.max(dim=1).values, which is the first that max returns",
        source="PyTorch, torch.max; Mnih et al., Nature 2015, algorithm 1",
    )


def _unread_words(which: str | None) -> list[Finding]:
    """Words of padded sequences that make no difference."""
    if which is None:
        return []
    last, hidden = which == "last", which == "hidden"
    return [
        Finding(
            rule="ignored_end",
            code="ignored_end.last" if last else "ignored_end.padding",
            severity="warning",
            seen="no answer changes when the last word of each sequence is exchanged"
            if last
            else "of every sequence with padding the words are hidden from attention, and the padding is attended to"
            if hidden
            else "no answer changes when the other words of its sequence are exchanged, as long as there is padding",
            measurements=(
                Measurement(name="words attended to" if hidden else "change of the output", value=0.0, threshold=0.0),
            ),
            cause="padding stands in front of the words, and lengths, or the place that is read, count from the front"
            if last
            else "the padding mask is upside down: what is padding is attended to, and words are not",
            remedy="pad behind the words; or read the last place, without packing"
            if last
            else "invert the mask: x == padding where True hides (key_padding_mask, masked_fill), and x != padding where True "
            "keeps (attn_mask of scaled_dot_product_attention)",
            source="own; the mask of attention beside the batch" if hidden else "own; exchanged and compared",
        )
    ]


def _stateless(layers: tuple[str, ...]) -> list[Finding]:
    """A state that no step hands to the next."""
    if not layers:
        return []
    return [
        Finding(
            rule="ignored_end",
            code="ignored_end.state",
            severity="warning",
            seen=f"the recurrent weights of {layers[0]} have no gradient but zero: its state is zeros at every step",
            measurements=(Measurement(name="gradient of the recurrent weights", value=0.0, threshold=0.0),),
            cause="the state starts anew at every step, or packed sequences are said to be one step long",
            remedy="make the first state before the loop over the steps, and hand on what each step returns; of packed "
            "sequences, give the number of steps of each as its length",
            source="own; the gradient of recurrent weights is the state times what comes back",
            layers=layers,
        )
    ]


def _stands_still(before: str, after: str) -> Finding:
    return Finding(
        rule="unread_ends",
        code="unread_ends.same",
        severity="warning",
        seen=f"batch{before} and batch{after}, of which the targets are made, are equal in every example: no state changes",
        measurements=(Measurement(name="examples whose two states differ", value=0.0, threshold=0.0),),
        cause="what was kept is one state that goes on changing, and not a copy of what it was: each transition holds the same "
        "array twice",
        remedy="keep copies: state.copy() of an array, state.clone() of a tensor, before the environment's next step",
        source="own; compared value for value",
    )
