"""Losses that compare examples or names, and swap like and unlike pairs, or later and earlier events. No rule."""

from dataclasses import replace

from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.pair_facts import OwnPairs, PairForces, Pulls

FURTHER_APART, MORE_APART = 4.0, 1.01  # standard errors; times as far: the same distance to a reader is no difference
SURELY_FURTHER, NOT_NEARER = 5.0, 2.0  # the same, in the one direction in which pairs are furthest apart, or nearest
KEEPS_COMPANY, MORE_COMPANY = 10.0, 3.0  # standard deviations; times as many as of the pairs pulled together
BELONG, BELONG_SHARE = 6.0, 0.02  # standard errors, share of the distance: pairs nearer than their sides are in other pairs
DO_NOT, NO_NEARER = 2.5, 3.0  # standard errors, of the largest of four views
EDITED = 0.5  # share of the numbers that pairs have in common: a hard unlike pair, or an alike one of which a part is masked
_FEW_ALIKE, _MOSTLY = 0.02, 0.5  # shares of the pairs
_LIES = {
    "concatenated": "n rows apart (row i and row i + n of 2 n)",
    "interleaved": "in adjacent rows (rows 2 i and 2 i + 1)",
}
_POSITIVE_AT = {
    "concatenated": "the positive of row i is the other view of its example: with concatenated views, torch.cat([one, "
    "other]), positives = (torch.arange(2 * n) + n) % (2 * n); with two tensors, row i of the other",
    "interleaved": "the positive of row i is the adjacent row, the other view of its example: positives = torch.arange(2 * "
    "n) ^ 1; or concatenate the views, torch.cat([one, other]), and leave positives unchanged",
    None: "the positive of row i of one view is row i of the other: target = torch.arange(len(rows))",
}


def censored(facts: Facts) -> list[Finding]:
    """Censored examples that are treated as if their event came earlier."""
    if facts.censored is None:
        return []
    against, asked = facts.censored
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.censored",
            severity="error",
            seen=f"a later event and a censored one (not seen yet) move outputs in opposite directions, in {against} of "
            f"{asked} tests: the loss treats censored examples as earlier events",
            measurements=(Measurement(name="tests in which the two work against each other", value=float(against)),),
            cause="the risk sets hold the examples whose event is over: a comparison of times, or a sort, is reversed",
            remedy="compare each event with the examples of the same or a later time (sort by time, descending, before "
            "logcumsumexp)",
            source="Cox, Regression Models and Life-Tables, 1972, section 5; own: one row changed at a time",
        )
    ]


def against_company(facts: Facts) -> list[Finding]:
    """A loss of pairs of names that swaps random and observed pairs."""
    company = facts.company
    if company is not None and company.pushed_too[0] >= max(_MOSTLY, MORE_COMPANY * company.pushed_too[1]):
        return [_of_observed(*company.pushed_too)]
    if company is None or not company.pushed > max(KEEPS_COMPANY, MORE_COMPANY * company.pulled):
        return []
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.company",
            severity="warning",
            seen="in the pairs of names that the loss pushes apart, two names share partners more often than by chance, by "
            f"{company.pushed:.0f} standard deviations; in those that it pulls together, by {company.pulled:.0f}",
            measurements=(
                Measurement(name="shared partners in pairs pushed apart", value=company.pushed, threshold=KEEPS_COMPANY),
                Measurement(name="shared partners in pairs pulled together", value=company.pulled),
            ),
            cause="observed and random pairs are swapped, or their difference has the wrong sign",
            remedy="swap the observed and the random pair in the loss: -logsigmoid(observed - drawn)",
            source="Rendle et al., BPR, UAI 2009, for the sign; own: rectangles counted",
        )
    ]


def _of_observed(share: float, by_chance: float) -> Finding:
    return Finding(
        rule="wrong_sign",
        code="wrong_sign.observed",
        severity="warning",
        seen=f"{100 * share:.0f} % of the pairs of names that the loss pushes apart are among those that it pulls together; of "
        f"names that go together at random, {100 * by_chance:.0f} % would be",
        measurements=(
            Measurement(name="pairs pushed apart that are pulled together", value=share, threshold=_MOSTLY),
            Measurement(name="the same of random pairs", value=by_chance),
        ),
        cause="what is pushed away from a name is drawn among those that belong to it",
        remedy="draw it among all names that do not belong to the first one",
        source="Rendle et al., BPR, UAI 2009, section 4.2 (the negative is an item that was not observed)",
    )


def _seen_of_pairs(pulls: Pulls) -> str:
    if pulls.z < FURTHER_APART and pulls.further_z < SURELY_FURTHER and pulls.own is not None:
        return (
            f"the {pulls.num_pushed} pairs that the loss pushes apart belong together: their inputs are "
            f"{100 * pulls.own.pushed_share:.0f} % nearer than those of two such pairs; in the {pulls.num_pulled} pulled "
            "together, they are no nearer than by chance"
        )
    if pulls.z < FURTHER_APART:
        return (
            f"in one direction of the inputs, the {pulls.num_pulled} pairs that the loss pulls together are further apart "
            f"than the {pulls.num_pushed} that it pushes apart, and in no direction are they nearer"
        )
    if pulls.num_pulled < pulls.num_pushed / 10:
        return (
            f"the loss pushes {pulls.num_pushed} pairs apart and pulls {pulls.num_pulled} together; inputs of the former are "
            f"{pulls.apart_pushed:.2f} apart, those of any two examples {pulls.apart_pulled:.2f}"
        )
    return (
        f"the {pulls.num_pulled} pairs that the loss pulls together have inputs {pulls.apart_pulled:.2f} apart, the "
        f"{pulls.num_pushed} that it pushes apart {pulls.apart_pushed:.2f}"
    )


def _of_own(pulls: Pulls) -> list[Measurement]:
    if pulls.own is None:
        return []
    pushed, pulled = pulls.own.pushed_z, pulls.own.pulled_z
    return [
        Measurement(name="nearer than by chance, pushed apart", value=pushed, unit="standard errors", threshold=BELONG),
        Measurement(name="nearer than by chance, pulled together", value=pulled, unit="standard errors", threshold=DO_NOT),
    ]


def _belong(own: OwnPairs) -> bool:
    return own.pushed_z >= BELONG and own.pushed_share >= BELONG_SHARE


def _is_of_wrong_pairs(pulls: Pulls) -> bool:
    """Whether pairs belong together that the loss pushes apart, and none of those that it pulls together, in any view."""
    own = pulls.own
    if own is None or not _belong(own):
        return False
    return own.pulled_z < DO_NOT and own.nearer_z < NO_NEARER and pulls.nearer_z < NOT_NEARER


def _is_further(pulls: Pulls) -> bool:
    """Whether pairs pulled together are further apart, and those pushed apart belong together: no two persons of one camera."""
    is_further = pulls.z >= FURTHER_APART and pulls.apart_pulled >= MORE_APART * pulls.apart_pushed
    return is_further and (pulls.own is None or _belong(pulls.own))


def _are_hard(pulls: Pulls) -> bool:
    """Whether pairs pulled together belong together too, by something else than the others: one moment in two views of it."""
    own = pulls.own
    if own is None or own.pulled_z < DO_NOT:
        return False
    return pulls.nearer_z >= NOT_NEARER or (own.nearer_z >= NO_NEARER and own.pulled_there_z < DO_NOT)


def _may_be_meant(own: OwnPairs) -> bool:
    """Whether pairs pulled together are as far apart as any two: of many classes, or alike by what no view shows.

    Swapped with like ones, pairs of two classes are further apart than any two, of which some are of one class.
    """
    return abs(own.pulled_there_z) < DO_NOT


def against_pairs(facts: Facts) -> list[Finding]:
    """A loss of pairs that swaps like and unlike ones."""
    pulls = facts.pulls
    if pulls is None or _are_hard(pulls):
        return []
    turned = pulls.further_z >= SURELY_FURTHER and pulls.nearer_z < NOT_NEARER
    if not (turned or _is_further(pulls) or _is_of_wrong_pairs(pulls)):
        return []
    is_unsure = pulls.own is not None and (pulls.own.pushed_equal >= EDITED or _may_be_meant(pulls.own))
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.pairs",
            severity="hint" if is_unsure else "warning",
            seen=_seen_of_pairs(pulls),
            measurements=(
                Measurement(name="difference", value=pulls.z, unit="standard errors", threshold=FURTHER_APART),
                Measurement(name="in one direction", value=pulls.further_z, unit="standard errors", threshold=SURELY_FURTHER),
                *_of_own(pulls),
                Measurement(name="distance of the pairs pulled together", value=pulls.apart_pulled),
                Measurement(name="distance of the pairs pushed apart", value=pulls.apart_pushed),
            ),
            cause="like and unlike pairs are swapped: in the labels, in the order of the arguments, or by a sign"
            + ("; all is right where unlike pairs are hard ones on purpose" if is_unsure else ""),
            remedy="swap positive and negative examples in the call of the loss, or use 1 - label as the label",
            source="own; read off the gradient between the embeddings",
        )
    ]


def against_labels(facts: Facts) -> list[Finding]:
    """A loss of pairs that pulls together examples with different labels, or none at all."""
    forces = facts.pair_forces
    if forces is None or facts.broadcast_shape is not None:  # each pair then has every label
        return []
    few = forces.num_examples / 4
    if forces.strangers >= few:
        return [_of_views(forces)]
    exchanged = (
        forces.alike_pulled is not None
        and forces.alike_pushed is not None
        and forces.alike_pulled < _FEW_ALIKE
        and forces.alike_pushed > 1 - _FEW_ALIKE
        and min(forces.num_pulled, forces.num_pushed) >= few
    )
    views = forces.num_blocks > 1 and forces.num_pushed >= few
    alone = not forces.num_pulled and (views or (forces.num_pushed >= forces.num_examples and bool(forces.alike_pushed)))
    if exchanged or alone:
        return [_of_labels(forces, exchanged=exchanged)]
    # Unlike ones alone: positives may be the examples themselves, or be pulled together by what is not seen.
    if not forces.num_pulled and forces.num_pushed >= few and (forces.num_alike or 0) >= forces.num_examples:
        return [replace(_of_labels(forces, exchanged=False), severity="hint")]
    return [_of_itself(forces)] if is_own_positive(facts) else []


def is_own_positive(facts: Facts) -> bool:
    """Whether targets select what a loss pulls together, and each example is nearest to itself: all pairs are pushed apart."""
    forces = facts.pair_forces
    return facts.unpaired and forces is not None and not forces.num_pulled and forces.num_pushed >= forces.num_examples


def _of_itself(forces: PairForces) -> Finding:
    return Finding(
        rule="wrong_sign",
        code="wrong_sign.no_positives",
        severity="warning",
        seen=f"the loss pushes {forces.num_pushed} pairs apart and pulls none together, whichever example has which target",
        measurements=(
            Measurement(name="pairs pulled together", value=float(forces.num_pulled), threshold=0.0),
            Measurement(name="pairs pushed apart", value=float(forces.num_pushed)),
        ),
        cause="the positive of each example is the example itself: it is nearest to itself, and its own score is the largest",
        remedy="leave each example itself out: distances.fill_diagonal_(float('inf')) before its positive is chosen, and "
        "float('-inf') on the diagonal of the similarities",
        source="own; read off the gradient at outputs with equal angles between them",
    )


def _of_views(forces: PairForces) -> Finding:
    return Finding(
        rule="wrong_sign",
        code="wrong_sign.views",
        severity="warning",
        seen=f"the loss pushes the two views of each example apart, and pulls {forces.strangers} pairs of other rows together",
        measurements=(
            Measurement(name="pairs of unlike rows pulled together", value=float(forces.strangers), threshold=0.0),
            Measurement(name="pairs pushed apart", value=float(forces.num_pushed)),
        ),
        cause="the contrastive targets are shifted relative to the rows, or the sign is wrong"
        if forces.layout is None
        else f"the two views of each example are {_LIES[forces.layout]}, but the positives are taken from elsewhere",
        remedy=_POSITIVE_AT[forces.layout],
        source="own; read off the gradient at outputs with equal angles between them",
    )


def _of_labels(forces: PairForces, *, exchanged: bool) -> Finding:
    return Finding(
        rule="wrong_sign",
        code="wrong_sign.pairs" if exchanged else "wrong_sign.no_positives",
        severity="error" if exchanged else "warning",
        seen=f"the loss pulls {forces.num_pulled} pairs together, which have different labels, and pushes {forces.num_pushed} "
        "apart, which have the same"
        if exchanged
        else f"the loss pushes {forces.num_pushed} pairs apart and pulls none together"
        + (f", though {forces.num_alike} pairs of the batch have the same label" if forces.num_alike else ""),
        measurements=(
            Measurement(name="pairs pulled together", value=float(forces.num_pulled), threshold=0.0),
            Measurement(name="pairs pushed apart", value=float(forces.num_pushed)),
            Measurement(name="pairs with the same label", value=float(forces.num_alike or 0)),
        ),
        cause="like and unlike pairs are swapped: by a sign, by > instead of <, or in the order of the arguments"
        if exchanged
        else "no example has a positive other than itself: the mask of positives is the diagonal, or empty, or the "
        "nearest positive is chosen where the example itself is not left out",
        remedy="swap positive and negative pairs in the loss"
        if exchanged
        else "give each example a positive other than itself, and let the loss reduce their distance"
        if not forces.num_alike
        else "the mask of positives is labels[:, None] == labels[None] without its diagonal; leave the diagonal out of the "
        "denominator too",
        source="own; read off the gradient at outputs with equal angles between them",
    )
