"""Answers that are held against other examples' targets, or another place's. No rule."""

from trainability.doctor.audit_results import BACK_TO_FRONT, Relation
from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement

LOCAL, PLACED = 0.1, 0.5  # share of the targets' variance that their own place explains; correlation of places
NO_COMPANY, PAIRS_A_NAME = 3.5, 10  # standard deviations; fewer pairs a name have few others in common
MIXED = 1e-3  # change of an output over the outputs' rms when another example is exchanged


def other_targets(facts: Facts) -> list[Finding]:
    """What the loop's own step pairs: an answer with the target of another example."""
    found = facts.misaligned
    if found is None or (facts.leakage or 0.0) > MIXED:  # a model that mixes the batch, and not the step, is the cause then
        return []
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.misaligned",
            severity="warning",
            seen=f"row {found.row} of batch{found.given} makes output {found.made}, and row {found.row} of batch{found.target} "
            f"is held against output {found.held}; so it is with {found.num_wrong} of {found.num_asked} rows",
            measurements=(
                Measurement(name="rows held against another's target", value=float(found.num_wrong), threshold=0.0),
                Measurement(name="rows that were asked about", value=float(found.num_asked)),
            ),
            cause="answers have the steps first and targets the examples, or the other way round; flattened, or held against "
            "each other as they are, places of one example stand beside those of another"
            if found.turned
            else "one of the two is rolled, sorted, transposed, masked or cut without the other between batch and loss; or in "
            "a mixture of examples inputs and targets have each other's shares",
            remedy="bring answers and targets into one layout before they are flattened: output.transpose(0, 1).reshape(-1, "
            "classes) against target.reshape(-1), in place of a view or without the transpose that one of them has"
            if found.turned
            else f"index batch{found.given} and batch{found.target} by one and the same order, or mask; in a mixture, weigh "
            "the loss of each target with its own input's share",
            source="own; rows exchanged one by one",
        )
    ]


def drawn_target(facts: Facts) -> list[Finding]:
    """What the loop draws anew where it means what it has drawn before."""
    if not facts.drawn_target:
        return _redrawn(facts)
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.drawn",
            severity="warning",
            seen="the loss holds the outputs against numbers that are drawn at random after the model was called",
            measurements=(Measurement(name="draws that the model can know", value=0.0, threshold=0.0),),
            cause="noise is drawn twice: once for what the model is given, and once more for the target",
            remedy="draw the noise once, before the model is called, and give the loss the same tensor",
            source="own; read off the functions that the loss is made of",
        )
    ]


_REDRAWN = {
    "noise": "the loss holds the outputs against noise that is drawn in the step and that the model is told nothing of",
    "class": "the loss holds the outputs against classes that are drawn in the step and that the model is told nothing of",
    "mixed": "the loss holds the outputs against a mixture of data and of noise that the model is told nothing of",
}


def _redrawn(facts: Facts) -> list[Finding]:
    """Noise of the target that is not the noise of the input."""
    if facts.redrawn is None:
        return []
    kind, share = facts.redrawn
    what = "classes are" if kind == "class" else "noise is"
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.drawn",
            severity="warning",
            seen=_REDRAWN[kind] + ": drawn anew, it changes the target, and nothing that a layer is given",
            measurements=(Measurement(name="share of the target that the model cannot know", value=share, threshold=0.3),),
            cause=f"{what} drawn twice: once for what the model is given, and once more for the target; or what the model is "
            "given is made without it",
            remedy="draw once, and use the same tensor for the model's input and for the target: let the function that adds "
            "the noise take or return it",
            source="own; each draw of the step replaced by another, and the step run again",
        )
    ]


def parted(facts: Facts) -> list[Finding]:
    """What `collate_fn` puts beside each other."""
    found = facts.separated
    if found is None:
        return []
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.collated",
            severity="warning",
            seen=f"row {found.row} of batch{found.given} is of one example, and row {found.row} of batch{found.target} of "
            f"another; so it is with {found.num_wrong} of {found.num_asked} rows, which is as many as by chance",
            measurements=(
                Measurement(name="rows of two examples", value=float(found.num_wrong), threshold=0.0),
                Measurement(name="rows that were compared", value=float(found.num_asked)),
            ),
            cause="collate_fn sorts, shuffles or filters one part of the examples without the other",
            remedy=f"in collate_fn, index batch{found.given} and batch{found.target} by one and the same order",
            source="own; compared value for value with the examples of the data set",
        )
    ]


def strangers(facts: Facts) -> list[Finding]:
    """Pairs of names as they are by chance: in what they share, and in how often one occurs again."""
    company = facts.company
    if company is None or company.num_names is None or company.num_pairs < PAIRS_A_NAME * company.num_names:
        return []
    # Fewer than by chance are a relation, too: one name for each. What is pushed apart may be what was observed.
    seen = (company.pulled, company.repeated, company.pushed)
    if not all(z is not None and abs(z) < NO_COMPANY for z in seen):
        return []
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.strangers",
            severity="warning",
            seen="of the pairs of names that the loss pulls together, two go with the same two others as often as by chance, "
            f"and as many occur again ({company.num_pairs} pairs of {company.num_names} names)",
            measurements=(
                Measurement(
                    name="pairs that occur again, above chance",
                    value=company.repeated or 0.0,
                    unit="standard deviations",
                    threshold=NO_COMPANY,
                ),
                Measurement(
                    name="company above chance", value=company.pulled, unit="standard deviations", threshold=NO_COMPANY
                ),
            ),
            cause="one of the two columns of names is shuffled, sorted or shifted without the other",
            remedy="index both columns by one and the same order, and look at ten pairs as the loader yields them",
            source="own count of rectangles",
        )
    ]


def turned_images(relation: Relation | None) -> list[Finding]:
    """What augmentation does to images, and not to targets that are images, too."""
    found = relation.turned if relation is not None else None
    if found is None:
        return []
    them = "sequences" if found.turn == BACK_TO_FRONT else "images"
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.turned",
            severity="warning",
            seen=f"{found.share:.0%} of the {them} explain their targets better when they are {found.turn}: {found.turned:.0%} "
            f"of the targets' variance, and {found.own:.0%} as they are",
            measurements=(
                Measurement(name=f"share of the {them}", value=found.share, threshold=0.1),
                Measurement(name="explained with the turn", value=found.turned),
                Measurement(name="explained without", value=found.own),
            ),
            cause=f"{them} are {found.turn} and their targets are not, or the other way round; all of them or some",
            remedy="put tags and steps in one and the same order: targets.flip(1)"
            if found.turn == BACK_TO_FRONT
            else "do to the target what is done to the image, with the same random numbers (its coordinates, too)",
            source="own; a linear map, the same at every place, fitted on half of the examples",
        )
    ]


def mixed_in_sequences(facts: Facts) -> list[Finding]:
    """(batch, steps, classes) viewed as (steps, batch, classes): each sequence is made of pieces of several examples."""
    mixed, asked = facts.mixed_sequences or (0, 0)
    if not mixed or mixed < asked or (facts.leakage or 0.0) > MIXED:
        return []
    return [
        Finding(
            rule="misread_logits",
            code="misread_logits.sequences",
            severity="error",
            seen=f"ctc_loss takes (steps, batch, classes): each of {asked} examples that were exchanged changes "
            "the sequences of others",
            measurements=(Measurement(name="examples with a part in others' sequences", value=float(mixed), threshold=0.0),),
            cause="view or reshape in place of transpose",
            remedy="log_probabilities.transpose(0, 1) in place of a view or reshape, before ctc_loss",
            source="PyTorch, torch.nn.CTCLoss (shape); examples exchanged one by one",
        )
    ]


def other_places(facts: Facts, relation: Relation | None) -> list[Finding]:
    """Outputs whose places are not those of the image: a view or reshape in place of a transpose."""
    found, local = facts.misplaced, relation.local if relation is not None else None
    if found is None or min(found.down, found.across) > PLACED or not (found.viewed or (local or 0.0) >= LOCAL):
        return []
    return [
        Finding(
            rule="misread_logits",
            code="misread_logits.places",
            severity="warning",
            seen="the output at a pixel is computed from another part of the image than that pixel: correlation of the two "
            f"places {found.down:.2f} in rows and {found.across:.2f} in columns, where 1 is right",
            measurements=(
                Measurement(name="correlation of the rows", value=found.down, threshold=PLACED),
                Measurement(name="correlation of the columns", value=found.across, threshold=PLACED),
                Measurement(name="of the targets explained by their own place", value=local or 0.0, threshold=LOCAL),
            ),
            cause="view or reshape in place of permute: the output's dimensions are read in an order that is not theirs",
            remedy="permute(0, 2, 3, 1) of the last layer's output first; of anchors, reshape the channels behind it"
            if found.viewed
            else "permute the output to the layout of the target, and reshape nothing across dimensions",
            source=f"own; {found.num_asked} answers followed back to the image by their gradients",
        )
    ]
