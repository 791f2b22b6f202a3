"""Outputs that the loss compares with the target of another example or another place. No rule."""

from trainability.doctor.audit_results import BACK_TO_FRONT, TRANSPOSED, Relation
from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.pair_facts import KeptTargets, Misaligned

LOCAL, PLACED = 0.1, 0.5  # share of the targets' variance explained by the same place of the image; correlation of places
NO_COMPANY, PAIRS_A_NAME = 3.5, 10  # standard deviations; pairs per name: with fewer, two names have too few others in common
MIXED = 1e-3  # change of an output over the outputs' rms when another example is replaced

_NEARLY_ALL = 0.6  # share of the examples whose targets a transform explains clearly better: some are alike both ways


def other_targets(facts: Facts) -> list[Finding]:
    """Whether the loop's own step pairs an output with the target of another example."""
    found = facts.misaligned
    if found is None or (not found.turned and _mixes_the_batch(facts)):
        return []
    if found.num_partners:
        return [_others_partners(found)]
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.misaligned",
            severity="warning",
            seen=f"output {found.made} is computed from row {found.row} of batch{found.given}, but row {found.row} of "
            f"batch{found.target} is compared with output {found.held}; this holds for {found.num_wrong} of {found.num_asked} "
            "rows",
            measurements=(
                Measurement(name="rows compared with another's target", value=float(found.num_wrong), threshold=0.0),
                Measurement(name="rows that were tested", value=float(found.num_asked)),
            ),
            cause="outputs are (steps, batch, ...) and targets (batch, steps), or the other way round; once they are "
            "flattened, or compared as they are, the places of one example meet those of another"
            if found.turned
            else "between batch and loss, one of the two is rolled, sorted, transposed, masked or cut without the other; or, "
            "where examples are mixed, inputs and targets are weighted with each other's shares",
            remedy="bring outputs and targets into the same layout before they are flattened: output.transpose(0, "
            "1).reshape(-1, classes) with target.reshape(-1), not a view; or drop the transpose that only one of them has"
            if found.turned
            else f"index batch{found.given} and batch{found.target} with the same order or mask; where examples are mixed, "
            "weight the loss of each target with the share of its own input",
            source="own; rows replaced one by one",
        )
    ]


def _mixes_the_batch(facts: Facts) -> bool:
    """Whether the model does, and not the step: its rows are made of several examples, so they meet the targets of others."""
    return (facts.leakage or 0.0) > MIXED or (facts.graph is not None and facts.graph.viewed_across is not None)


def scores_apart(facts: Facts) -> list[Finding]:
    """A teacher's scores that were kept in another order than the examples."""
    if facts.scores_of_others is None:
        return _kept_apart(facts.readings.kept)
    labels, scores, count, above = facts.scores_of_others
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.scores",
            severity="warning",
            seen=f"the scores in batch{scores} have nothing to do with the labels in batch{labels} nor with the inputs, though "
            "both are targets for the same outputs",
            measurements=(
                Measurement(name="examples compared", value=float(count)),
                Measurement(
                    name="scores of own labels above others'", value=above, unit="standard deviations", threshold=NO_COMPANY
                ),
            ),
            cause="the scores were computed in another order than that in which they are used, as with a shuffling loader; or "
            "whatever computed them was not trained",
            remedy="compute the scores in the order of the data set: DataLoader(dataset, shuffle=False) where they are kept; "
            "or teacher(x) for each batch in the training step; and compare scores.argmax(1) with the labels",
            source="own; labels shuffled 99 times",
        )
    ]


def _kept_apart(found: KeptTargets | None) -> list[Finding]:
    """Targets that were kept by the number of their batch, beside a loader that shuffles."""
    if found is None:
        return []
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.kept",
            severity="warning",
            seen=f"the step is given targets of shape {found.shape} that are not part of its batch; they are unrelated to the "
            "inputs of the batch, although the batch's own targets are related to them",
            measurements=(
                Measurement(name="relation above shuffled ones", value=found.z, unit="standard deviations", threshold=8.0),
                Measurement(
                    name="relation of the batch's own targets", value=found.own_z, unit="standard deviations", threshold=8.0
                ),
                Measurement(name="examples compared", value=float(found.num_examples)),
            ),
            cause="targets (for example a teacher's outputs) are stored by the number of their batch, but the loader shuffles, "
            "so the batch of that number holds different examples in each pass",
            remedy="compute them for the batch at hand: with torch.no_grad(): scores = teacher(inputs); or keep one row per "
            "example, in the order of the data set, and let the data set return it: TensorDataset(inputs, labels, scores)",
            source="own; several steps in a row, targets shuffled 99 times",
        )
    ]


def _others_partners(found: Misaligned) -> Finding:
    """Rows that are compared in pairs and belong to different examples."""
    count = found.num_partners
    return Finding(
        rule="shuffled_labels",
        code="shuffled_labels.misaligned",
        severity="warning",
        seen=f"batch{found.target} holds {count} rows for each row of batch{found.given}, but the loss compares row "
        f"{found.row} of batch{found.given} with rows of other examples, and with none of its own; this holds for "
        f"{found.num_wrong} of {found.num_asked} rows",
        measurements=(
            Measurement(name="rows compared with other examples' partners alone", value=float(found.num_wrong), threshold=0.0),
            Measurement(name="rows that were tested", value=float(found.num_asked)),
        ),
        cause="the two sides of the pairs are laid out in different orders: repeat, where partners that are flattened need "
        "repeat_interleave, or one repeat_interleave over several blocks of partners that are joined with cat",
        remedy=f"repeat each row {count} times, z.repeat_interleave({count}, dim=0), for partners that are flattened example "
        "by example; for several blocks of them joined with torch.cat, do it for each block and join these in the same order",
        source="own; rows replaced one by one",
    )


def drawn_target(facts: Facts) -> list[Finding]:
    """A target that the step draws again instead of reusing what it drew for the input."""
    if facts.drawn_beside is not None:
        return [_drawn_beside(facts.drawn_beside)]
    if not facts.drawn_target:
        return _redrawn(facts)
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.drawn",
            severity="warning",
            seen="the loss compares the outputs with random numbers that are drawn after the model is called",
            measurements=(Measurement(name="draws that the model can see", value=0.0, threshold=0.0),),
            cause="noise is drawn twice: once for the model's input, and again for the target",
            remedy="draw the noise once, before the model is called, and pass the same tensor to the loss",
            source="own; read off the graph of the loss",
        )
    ]


def _drawn_beside(name: str) -> Finding:
    """A critic that is shown real examples with the classes that were drawn for made ones."""
    return Finding(
        rule="shuffled_labels",
        code="shuffled_labels.drawn",
        severity="warning",
        seen=f"{name} is given the batch's examples with classes that are drawn in the step; no model is given the batch's own",
        measurements=(Measurement(name="calls with the batch's classes", value=0.0, threshold=1.0),),
        cause="the classes drawn for made examples are used for real ones, too: an example and its class have nothing to do "
        "with each other, so a condition is ignored",
        remedy="keep two names: the batch's classes for its examples, and the drawn ones for what is made",
        source="Mirza and Osindero, Conditional Generative Adversarial Nets, 2014; own: the step run with other random numbers",
    )


_REDRAWN = {
    "noise": "the loss compares the outputs with noise drawn in the step that the model does not receive",
    "class": "the loss compares the outputs with classes drawn in the step that the model does not receive",
    "mixed": "the loss compares the outputs with a mixture of data and noise, and the model does not receive that noise",
}


def _redrawn(facts: Facts) -> list[Finding]:
    """Noise in the target that is not the noise in the input."""
    if facts.redrawn is None:
        return []
    kind, share = facts.redrawn
    if kind == "uniform":
        return [_uniform(share)]
    if kind == "alone":
        return [_noise_alone(share)]
    if kind in ("noised", "jittered"):
        return [_noised_input(share, is_sure=kind == "noised")]
    what = "classes are" if kind == "class" else "noise is"
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.drawn",
            severity="warning",
            seen=_REDRAWN[kind] + ": other random numbers in its place change the target, and no input of any layer",
            measurements=(Measurement(name="share of the target that the model cannot know", value=share, threshold=0.3),),
            cause=f"{what} drawn twice: once for the model's input, and again for the target; or the model's input is made "
            "without it",
            remedy="draw once, and use the same tensor for the model's input and for the target: let the function that adds "
            "the noise take or return it",
            source="own; each draw of the step is replaced by another, and the step is run again",
        )
    ]


def _uniform(mean: float) -> Finding:
    """Noise of a diffusion that is drawn from [0, 1)."""
    return Finding(
        rule="shuffled_labels",
        code="shuffled_labels.uniform",
        severity="warning",
        seen="the model is to predict noise that the step mixes into its input as a diffusion does, and this noise is uniform "
        f"between 0 and 1: its mean is {mean:.2f}, where that of normal noise is 0",
        measurements=(Measurement(name="mean of the noise", value=mean, threshold=0.0),),
        cause="torch.rand or rand_like instead of randn: the weights of data and noise keep the variance only if the noise has "
        "mean 0 and variance 1, and a sampler that starts from normal numbers gives the model inputs that it has not seen",
        remedy="torch.randn_like(x) in place of torch.rand_like(x) (randn in place of rand) for the noise",
        source="Ho et al., Denoising Diffusion Probabilistic Models, eq. 4; own: noise and data are replaced in turn",
    )


def _noise_alone(share: float) -> Finding:
    """A diffusion that shows its model the noise, and nothing of the data."""
    return Finding(
        rule="shuffled_labels",
        code="shuffled_labels.noise_alone",
        severity="warning",
        seen="the model is to predict noise, and its input is that noise: the data make up "
        f"{share:.1g} of it or less, in squares, for 95 % of the examples",
        measurements=(Measurement(name="share of the data in the input, 95 % quantile", value=share, threshold=1e-3),),
        cause="the weight of the data is next to zero at almost all times, as with a running product of the betas instead of "
        "1 - beta, or weights that are exchanged: the model learns to return its input, and nothing of the data",
        remedy="make the weight of the data near 1 at the first time and near 0 only at the last: alphas_bar = "
        "torch.cumprod(1 - betas, dim=0), input alphas_bar.sqrt() * x + (1 - alphas_bar).sqrt() * noise",
        source="Ho et al., Denoising Diffusion Probabilistic Models, eq. 4; own: noise and data are replaced in turn",
    )


def _noised_input(share: float, *, is_sure: bool) -> Finding:
    """A denoiser that is asked for what it was given, noise and all."""
    return Finding(
        rule="shuffled_labels",
        code="shuffled_labels.noised_input",
        severity="warning" if is_sure else "hint",
        seen="the target of the loss is the model's very input: data with noise drawn in the step, which makes up "
        f"{100 * share:.0f} % of it in squares",
        measurements=(Measurement(name="share of the noise in the input and the target", value=share, threshold=0.05),),
        cause="the noised input is passed to the loss in place of the noise or the clean data: a model that returns its input "
        "has a loss of zero and removes no noise",
        remedy="hold the output against what it is to predict: F.mse_loss(model(noised, t), noise) of a diffusion, or the "
        "clean x of a denoising autoencoder",
        source="Ho et al., Denoising Diffusion Probabilistic Models, eq. 14; Vincent et al., Denoising Autoencoders, 2008; "
        "own: noise and data are replaced in turn",
    )


def parted(facts: Facts) -> list[Finding]:
    """Whether `collate_fn` pairs parts of different examples."""
    found = facts.separated
    if found is None:
        return []
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.collated",
            severity="warning",
            seen=f"row {found.row} of batch{found.given} belongs to one example and row {found.row} of batch{found.target} to "
            f"another; this holds for {found.num_wrong} of {found.num_asked} rows, as many as by chance",
            measurements=(
                Measurement(name="rows of two examples", value=float(found.num_wrong), threshold=0.0),
                Measurement(name="rows that were compared", value=float(found.num_asked)),
            ),
            cause="collate_fn sorts, shuffles or filters one part of the examples without the other",
            remedy=f"in collate_fn, index batch{found.given} and batch{found.target} with the same order",
            source="own; values compared with those of the data set's examples",
        )
    ]


def unsorted(facts: Facts) -> list[Finding]:
    """Whether risk sets follow the order of the batch, and not that of the times."""
    if facts.readings.unsorted is None:
        return []
    numbers, own, moved = facts.readings.unsorted
    name = f"batch{numbers}"
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.unsorted",
            severity="warning",
            seen=f"the loss adds up from example to example, in the order of the batch ({own:.4g}, and {moved:.4g} in another "
            f"order), and does not read {name}: with these numbers exchanged among the examples it is the same",
            measurements=(Measurement(name="loss", value=own), Measurement(name="loss in another order", value=moved)),
            cause=f"a batch was to be sorted by {name} before: a partial likelihood sums over those who are still at risk",
            remedy=f"order = torch.argsort({name}, descending=True); index outputs and events with it before that sum",
            source="Cox, Regression Models and Life-Tables (risk sets); own: exchanged numbers",
        )
    ]


def strangers(facts: Facts) -> list[Finding]:
    """Pairs of names that look random: in the names that they share, and in how often a pair repeats."""
    company = facts.company
    if company is None or company.num_names is None or company.num_pairs < PAIRS_A_NAME * company.num_names:
        return []
    # Fewer than by chance is also a relation: one name for each. The pairs pushed apart may be the observed ones.
    seen = (company.pulled, company.repeated, company.pushed)
    if not all(z is not None and abs(z) < NO_COMPANY for z in seen):
        return []
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.strangers",
            severity="warning",
            seen="the pairs of names that the loss pulls together look random: two names are paired with the same two "
            f"others, and pairs repeat, as often as by chance ({company.num_pairs} pairs of {company.num_names} names)",
            measurements=(
                Measurement(
                    name="repeated pairs above chance",
                    value=company.repeated or 0.0,
                    unit="standard deviations",
                    threshold=NO_COMPANY,
                ),
                Measurement(
                    name="shared names above chance", value=company.pulled, unit="standard deviations", threshold=NO_COMPANY
                ),
            ),
            cause="one of the two columns of names is shuffled, sorted or shifted without the other",
            remedy="index both columns with the same order, and look at ten pairs as the loader yields them",
            source="own; rectangles counted",
        )
    ]


def turned_images(relation: Relation | None) -> list[Finding]:
    """Augmentation applied to images and not to their targets, which are images too."""
    found = relation.turned if relation is not None else None
    if found is None:
        return []
    them = "sequences" if found.turn == BACK_TO_FRONT else "images"
    is_exchanged = found.turn == TRANSPOSED and found.share >= _NEARLY_ALL  # no transform drawn at random
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.turned",
            severity="warning",
            seen=f"{100 * found.share:.0f} % of the {them} explain their targets better when they are {found.turn}: "
            f"{100 * found.turned:.0f} % of the targets' variance, against {100 * found.own:.0f} % as they are",
            measurements=(
                Measurement(name=f"share of the {them}", value=found.share, threshold=0.1),
                Measurement(name="explained when transformed", value=found.turned),
                Measurement(name="explained as they are", value=found.own),
            ),
            cause="rows and columns are exchanged in the targets, or in the images"
            if is_exchanged
            else f"{them} are {found.turn} and their targets are not, or the other way round; all of them or some",
            remedy="put tags and steps in the same order: targets.flip(1)"
            if found.turn == BACK_TO_FRONT
            else "index rows first, target[..., y, x], where the target is filled; or target.transpose(-2, -1)"
            if is_exchanged
            else "apply the image's transform to the target as well, with the same random numbers (to coordinates too)",
            source="own; one linear map for all places, fitted on half of the examples",
        )
    ]


def mixed_in_sequences(facts: Facts) -> list[Finding]:
    """(batch, steps, classes) viewed as (steps, batch, classes): each sequence mixes pieces of several examples."""
    mixed, asked = facts.mixed_sequences or (0, 0)
    if not mixed or mixed < asked or _mixes_the_batch(facts):
        return []
    return [
        Finding(
            rule="misread_logits",
            code="misread_logits.sequences",
            severity="error",
            seen="ctc_loss takes (steps, batch, classes): replacing an example changes the sequences of others, for each of "
            f"{asked} examples",
            measurements=(Measurement(name="examples that change others' sequences", value=float(mixed), threshold=0.0),),
            cause="view or reshape in place of transpose",
            remedy="log_probabilities.transpose(0, 1) in place of a view or reshape, before ctc_loss",
            source="PyTorch, torch.nn.CTCLoss (shape); examples replaced one by one",
        )
    ]


def other_places(facts: Facts, relation: Relation | None) -> list[Finding]:
    """Outputs at other places than those of the image: a view or reshape instead of a transpose."""
    found, local = facts.misplaced, relation.local if relation is not None else None
    if found is None or min(found.down, found.across) > PLACED or not (found.viewed or (local or 0.0) >= LOCAL):
        return []
    return [
        Finding(
            rule="misread_logits",
            code="misread_logits.places",
            severity="warning",
            seen="the output at a pixel is computed from another part of the image: the two places have a correlation of "
            f"{found.down:.2f} in rows and {found.across:.2f} in columns, where 1 is right",
            measurements=(
                Measurement(name="correlation of the rows", value=found.down, threshold=PLACED),
                Measurement(name="correlation of the columns", value=found.across, threshold=PLACED),
                Measurement(name="targets' variance explained by their own place", value=local or 0.0, threshold=LOCAL),
            ),
            cause="view or reshape instead of permute: the output's dimensions are read in the wrong order",
            remedy="first permute(0, 2, 3, 1) the last layer's output; with anchors, reshape the channels after that"
            if found.viewed
            else "permute the output to the layout of the target; do not reshape across dimensions",
            source=f"own; {found.num_asked} outputs traced back to the image by their gradients",
        )
    ]
