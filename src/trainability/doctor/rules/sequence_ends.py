"""Sequences with a part ignored: the end, the last word, all words next to padding; the end of an episode."""

from trainability.doctor import reading
from trainability.doctor.as_code import as_code
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.layer_table import number
from trainability.doctor.rules.behind_padding import behind_padding
from trainability.doctor.rules.inputs import SYMPTOMS
from trainability.doctor.rules.learns import learns_all_the_same
from trainability.doctor.rules.rule import rule

FRESH, _HALF = 3.0, 0.5  # times as far; of the examples
_FEWEST_EMPTY = 4.0  # sequences

_BY_STATE = 0.97  # area under the ROC curve; 0.5 where a limit of time ends the episodes


@rule(severities=("warning", "hint"), explains=(*SYMPTOMS, "shuffled_labels"))
def ignored_end(evidence: Evidence) -> list[Finding]:
    """An output for a sequence ignores its second half, its last word, or its words.

    Fires: in eval mode the outputs of a model with a recurrent layer, one row per sequence, stay bitwise the same when the
        second halves are exchanged between sequences, and change when the first halves are. Code `last`: with padded sequences
        of words, the outputs stay the same when the last word of each is replaced, and change when all words are. Code
        `padding`: no output changes when all other words of its sequence are replaced while the sequence has padding, and
        outputs change, or are not finite, once words replace the padding; or an attention's weights or mask hide all words of
        four or more sequences, of three or more lengths, and show the padding. In a watched loop: masks of
        `torch.nn.MultiheadAttention`, and words that get no gradient, while padding does. Code `packed`: a recurrent
        layer is given packed sequences, and all that the answers have of its outputs is exactly zero for each sequence that is
        shorter than the longest of the batch, and for no other (or for all of them): for four or more, a quarter of the batch,
        by whose zeros the loss has a slope, as it has not where sequences that have ended are left out of it.
        Code `state`: a recurrent layer should run three steps or more, but the gradient of its recurrent weights is exactly
        zero, and that of its other weights is not. Code `backward`: of a recurrent layer of both directions, the loss has a
        slope by the outputs of each sequence's last step alone, and none by the last state of the backward direction, in
        sequences of four steps or more, with no other recurrent layer or attention in front; a hint where the verdict is that
        the program trains, or a watched run has learned. Code `behind`: sequences end in padding of different lengths, their
        steps change the answer by less than a hundredth of what they do with the padding in front, and a rehearsal has not
        stood still, where `vanishing_gradient.padding` would say it. A warning if a quarter of the sequences end in a third or
        more of padding, typically eight steps, that lengths or a mask of the batch tell, or 16 steps behind words, and
        more than a quarter of the first loss is left; else a hint.
    Why: only at the last step has the state of a recurrent layer seen everything. `output[:, 0]` has seen only the first step,
        and so has the last state of a packed sequence with a length of 1. Words are replaced and outputs compared, so this is
        certain. Recurrent weights have a gradient as soon as one state is not zero.
        The backward direction begins at the last step: there it has seen one step, and has seen all at the first.
    What fools it: nothing known; padding that all examples have at their ends is left out.
    Fix: output[:, -1] (with batch_first=True), or the mean over the steps. For `packed`: the returned state, h_n[-1]. For
        `backward`: the last states of both directions, torch.cat([h_n[-2], h_n[-1]], dim=1).
    Source: PyTorch, `torch.nn.LSTM`, outputs; own check.
    """
    facts = reading.facts(evidence)
    if facts.readings.empty_ends is not None:
        return [_behind_the_end(*facts.readings.empty_ends)]
    if not facts.ignores_end:
        found = _unread_words(facts.unread_words) or _stateless(facts.stateless)
        return found or _backward_begins(evidence, facts.readings.backward_ends) or behind_padding(evidence)
    return [
        Finding(
            rule="ignored_end",
            severity="warning",
            seen="the outputs stay the same when the second halves of the sequences are exchanged",
            measurements=(Measurement(name="change of the output", value=0.0, threshold=0.0),),
            cause="the output of an early step is used, which has not seen the later ones; with packed sequences, lengths "
            "that end them early",
            remedy="use the last step: output[:, -1]; with packed sequences, pass the number of steps of each as its length",
            source="own; replaced and compared",
        )
    ]


@rule(severities=("warning", "hint"), explains=("constant_as_good", "loss_at_start"))
def unread_ends(evidence: Evidence) -> list[Finding]:
    """Targets that a model computes from the next state ignore where an episode ends.

    Fires: the loss uses targets that a call without gradients computes from a second tensor of the batch, the batch holds a
        mark, 0 or 1, for each example, and with all marks flipped the loss is bitwise the same. A warning where the second
        state after a mark of 1 is three times as far from the first as elsewhere, as a fresh start is, or where, at most marks,
        another state than before follows the same state and action, while elsewhere it is always the same one, or where no
        example goes on from the state at a mark, as others do, that state tells the mark (area under the ROC curve of 0.97 or
        more, without columns that go up like a clock), and a quarter of the marked episodes are known to be shorter than the
        longest, with at most half of one length, or a tenth of the moves are also made back, as on a board; else a hint. A
        warning with code `same`: the second tensor equals the first, value for value, in every example of sixteen batches, and
        the loss depends on both, without a slope by the second. A warning with code `backward`: log-probabilities of draws, in
        the order of the draws, are multiplied by sums of rewards up to each step, with one discount (to 1e-4, but for a scale
        and a shift, which may be each step's own over eight episodes or more), over eight steps or more, and not by sums from
        each step on. A warning with code `index`: the index of each row's largest number, as returned by `argmax` or as second
        result of `max(dim=1)`, is added to numbers of the batch, and outputs are compared with the sum. A warning with code
        `drawn_again`: weights multiply log-probabilities of draws from which nothing else is computed, while other draws of the
        same shape are used whose log-probability is not asked for. A warning with code `reversed`: other rows of the second
        tensor change the loss where the mark is 1, at half of the examples or fewer, and leave it bitwise the same where it is
        0.
    Why: after the end of an episode there is no more reward. Targets that continue add the value of another episode, so failing
        costs nothing, and values grow to those of an episode without an end. Marks are flipped and losses compared, so this is
        certain.
    What fools it: marks of something else (a kind of sample), and marks of episodes that are only cut by a time limit, whose
        last state is given: these do continue; hence the hint. A state that drifts tells a limit of time, too, hence the
        lengths.
    Fix: target = reward + gamma * (1 - done) * value_of_next. For `backward`: add up the rewards from the last to the first.
        For `drawn_again`: draw once, and use that draw for both.
    Source: Mnih et al., Human-level control through deep reinforcement learning, Nature 2015, algorithm 1; Pardo et al., Time
        Limits in Reinforcement Learning, ICML 2018, for what is cut by time.
    """
    found, same = reading.facts(evidence).unread_ends, reading.facts(evidence).same_after
    if (choices := reading.facts(evidence).index_goals) is not None:
        return [_of_a_place(choices)]
    if (credited := reading.facts(evidence).credited) is not None:
        return [_of_the_past(*credited)]
    if reading.facts(evidence).drawn_again:
        return [_of_another_draw()]
    if same is not None:
        return [_stands_still(*same)]
    if (turned := reading.facts(evidence).reversed_ends) is not None:
        return [_turned_round(*turned)]
    if found is None:
        return []
    place, apart = found
    others, compared = reading.facts(evidence).fresh_starts or (0, 1)
    far, unlike = apart >= FRESH, 2 * others > compared
    told = reading.facts(evidence).ends_by_state
    by_state = told is not None and told >= _BY_STATE
    fresh = far or unlike or by_state
    return [
        Finding(
            rule="unread_ends",
            severity="warning" if fresh else "hint",
            seen=f"the targets computed from the next state are the same whatever batch{place} holds (1 where an episode "
            "ends)"
            + (
                f"; where it is 1, the next state is {number(apart)} times as far away as elsewhere: it starts another episode"
                if far
                else f"; where it is 1, the state after the same state and action differs in {others} of {compared} cases, "
                "while elsewhere it is always the same: it starts another episode"
                if unlike
                else "; no example goes on from a state where it is 1, and that state tells that the episode ends (area under "
                f"the ROC curve {told:.3f}), after numbers of steps that differ: no limit of time cut it off"
                if by_state
                else ""
            ),
            measurements=(Measurement(name="distance at a mark over that elsewhere", value=apart, threshold=FRESH),),
            cause="(1 - done) is missing where the next state's value is added to the reward",
            remedy="target = reward + gamma * (1 - done) * value_of_next",
            source="Mnih et al., Nature 2015, algorithm 1; own: marks flipped, losses compared",
        )
    ]


def _of_a_place(choices: int) -> Finding:
    """The index of the best action instead of its value."""
    return Finding(
        rule="unread_ends",
        code="unread_ends.index",
        severity="warning",
        seen=f"a target is a number of the batch plus the index, 0 to {choices - 1}, of the largest of {choices} outputs",
        measurements=(Measurement(name="outputs whose index is used", value=float(choices), threshold=0.0),),
        cause="max(dim=1) returns values and indices, and the indices were used; or argmax(dim=1) is used instead of the value",
        remedy="target = reward + gamma * (1 - done) * value.max(dim=1).values, the first result of max",
        source="PyTorch, torch.max; Mnih et al., Nature 2015, algorithm 1",
    )


def _turned_round(place: str, share: float) -> Finding:
    """Values of the next state that are kept where there is none, and left out where there is one."""
    return Finding(
        rule="unread_ends",
        code="unread_ends.reversed",
        severity="warning",
        seen=f"the targets depend on the next state only where batch{place} is 1, for {100 * share:.0f} % of the examples; "
        "where it is 0 other next states change nothing",
        measurements=(Measurement(name="share of examples whose next state is used", value=share, threshold=_HALF),),
        cause=f"the next state's value is multiplied by batch{place}, and not by 1 - batch{place}",
        remedy="target = reward + gamma * (1 - done) * value_of_next",
        source="Mnih et al., Nature 2015, algorithm 1; own: next states replaced, losses compared",
    )


def _of_another_draw() -> Finding:
    """Log-probabilities of actions that nobody took."""
    return Finding(
        rule="unread_ends",
        code="unread_ends.drawn_again",
        severity="warning",
        seen="the loss weights log-probabilities of draws that nothing else uses, while other draws of the same shape are used "
        "and their log-probability is never computed",
        measurements=(Measurement(name="uses of a draw beside its log-probability", value=0.0, threshold=0.0),),
        cause="the action is drawn twice: what one draw earned is credited to another",
        remedy="action = policy.sample() once: take it, and weight policy.log_prob(action)",
        source="Williams, Simple statistical gradient-following algorithms, Machine Learning 1992; own: uses of draws followed",
    )


def _of_the_past(name: str, discount: float) -> Finding:
    """Returns that are added up from the first step on."""
    return Finding(
        rule="unread_ends",
        code="unread_ends.backward",
        severity="warning",
        seen=f"the log-probability of each action is weighted by the sum of {name} up to its step, with a discount of "
        f"{discount:g}, and not by that of the rewards after it",
        measurements=(Measurement(name="discount", value=discount, threshold=0.0),),
        cause="returns are added up from the first step to the last: an action is credited with rewards that came before it",
        remedy="go through the rewards from the last to the first: for r in reversed(rewards): R = r + gamma * R; "
        "returns.insert(0, R)",
        source="Williams, Simple statistical gradient-following algorithms, Machine Learning 1992; own: sums compared",
    )


def _behind_the_end(layer: str, empty: int, rows: int) -> Finding:
    """The last column of padded outputs, which packed sequences reach only if they are the longest."""
    name = as_code(layer) or "the recurrent layer"
    return Finding(
        rule="ignored_end",
        code="ignored_end.packed",
        severity="warning",
        seen=f"{name} is given {rows} packed sequences, and of {empty} of them, "
        + ("all" if empty == rows else "all that are shorter than the longest")
        + ", nothing but zeros of its outputs gets into the answers",
        measurements=(Measurement(name="sequences of which zeros are kept", value=float(empty), threshold=_FEWEST_EMPTY),),
        cause="output[:, -1] (output[-1] without batch_first) after pad_packed_sequence is padding for every sequence that is "
        "shorter than the longest",
        remedy="use the last state that the layer returns: h_n[-1] (torch.cat([h_n[-2], h_n[-1]], dim=1) if bidirectional); or "
        "output[torch.arange(len(output)), lengths - 1]",
        source="PyTorch, pad_packed_sequence (padding_value=0.0); own: zeros counted, and the graph followed",
        layers=(layer,) if layer else (),
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
            seen="no output changes when the last word of each sequence is replaced"
            if last
            else "in every sequence with padding, the words are hidden from attention, and the padding is attended to"
            if hidden
            else "no output changes when the other words of its sequence are replaced, as long as there is padding",
            measurements=(
                Measurement(name="words attended to" if hidden else "change of the output", value=0.0, threshold=0.0),
            ),
            cause="padding is in front of the words, and lengths, or the index that is used, count from the front"
            if last
            else "the padding mask is inverted: padding is attended to, and words are not",
            remedy="pad after the words; or use the last position, without packing"
            if last
            else "invert the mask: x == padding where True hides (key_padding_mask, masked_fill), and x != padding where True "
            "keeps (attn_mask of scaled_dot_product_attention)",
            source="own; the attention mask compared with the batch" if hidden else "own; replaced and compared",
        )
    ]


def _stateless(layers: tuple[str, ...]) -> list[Finding]:
    """A state that no step passes to the next."""
    if not layers:
        return []
    return [
        Finding(
            rule="ignored_end",
            code="ignored_end.state",
            severity="warning",
            seen=f"the gradient of the recurrent weights of {layers[0]} is exactly zero: its state is zero at every step",
            measurements=(Measurement(name="gradient of the recurrent weights", value=0.0, threshold=0.0),),
            cause="the state is reset at every step, or packed sequences have lengths of 1",
            remedy="create the first state before the loop over the steps, and pass each returned state on; with packed "
            "sequences, pass the number of steps of each as its length",
            source="own; the gradient of recurrent weights is the state times the gradient of its output",
            layers=layers,
        )
    ]


def _backward_begins(evidence: Evidence, found: tuple[str, int] | None) -> list[Finding]:
    """The backward direction of a recurrent layer, of which the first of its steps is kept."""
    if found is None:
        return []
    layer, steps = found
    name = as_code(layer) or "the recurrent layer"
    return [
        Finding(
            rule="ignored_end",
            code="ignored_end.backward",
            severity="hint" if learns_all_the_same(evidence) else "warning",
            seen=f"the loss depends on the outputs of {name} at the last of {steps} steps alone: there its backward direction "
            "has read one step of them",
            measurements=(Measurement(name="steps that the backward direction has read", value=1.0, threshold=float(steps)),),
            cause="the backward direction begins at the last step, and has read the sequence at the first one",
            remedy="take the last states of both directions: torch.cat([h_n[-2], h_n[-1]], dim=1), of the state that the layer "
            "returns; or the mean of the outputs over the steps",
            source="PyTorch, torch.nn.LSTM: outputs of a bidirectional layer, h_n; own: gradients looked at",
            layers=(layer,) if layer else (),
        )
    ]


def _stands_still(before: str, after: str) -> Finding:
    return Finding(
        rule="unread_ends",
        code="unread_ends.same",
        severity="warning",
        seen=f"batch{before} and batch{after}, from which targets are computed, are equal in every example: no state changes",
        measurements=(Measurement(name="examples whose two states differ", value=0.0, threshold=0.0),),
        cause="a state was stored that keeps changing, not a copy of it: each transition holds the same array twice",
        remedy="store copies: state.copy() of an array, state.clone() of a tensor, before the environment's next step",
        source="own; compared value for value",
    )
