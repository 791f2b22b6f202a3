"""Inputs that mean something else in validation than in training, or in one stretch of the data than in another. No rule."""

import math

from trainability.doctor.audit_results import LabelsCompared
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.pair_facts import ValuesCompared
from trainability.doctor.readings import ChangingWords, UnknownWords

_TOLD, _LOST, _OWN = 0.3, 0.35, 0.6  # of the variance in training; at most of that in validation, and with validation's own fit
# Of classes, above the share of the most frequent one: told in training at least; of that in validation at most, and by its own
# words. Standard errors: of what is lost and what its own words tell at least, and of what a renaming may gain.
_TOLD_CLASSES, _LOST_CLASSES, _OWN_CLASSES, _PLAIN = 0.15, 0.2, 0.5, 5.0

_UNKNOWN = 0.2  # of validation's words
_SURE = 8.0  # standard deviations, of near examples
_KEPT = 0.3  # of their agreement, that far ones keep at most, with three standard errors added


def means_otherwise(seen: ValuesCompared | None) -> list[Finding]:
    """A preprocessing fitted separately on each part: a scaler, an encoder, a vocabulary."""
    if seen is None or seen.training < _TOLD or seen.validation > _LOST * seen.training or seen.own < _OWN * seen.training:
        return []
    found = (
        f"ridge regression on training explains {100 * seen.training:.0f} % of the variance of other training targets and "
        f"{100 * max(seen.validation, -9.99):.0f} % of that of validation's; fitted on validation, {100 * seen.own:.0f} %"
    )
    scaled = "; in both parts every column has mean 0 and standard deviation 1, to rounding" if seen.scaled_apart else ""
    return [
        Finding(
            rule="split_shift",
            code="split_shift.meaning",
            severity="warning",
            seen=found + scaled,
            measurements=(
                Measurement(name="variance explained in validation", value=seen.validation, threshold=_LOST * seen.training),
                Measurement(name="variance explained in training", value=seen.training, threshold=_TOLD),
                Measurement(name="variance explained by a fit on validation", value=seen.own, threshold=_OWN * seen.training),
            ),
            cause="each part was scaled by its own mean and standard deviation"
            if seen.scaled_apart
            else "the preprocessing (a scaler, an encoder, a vocabulary) was fitted again on validation",
            remedy="fit it once on training, and use it unchanged on validation: scaler.transform(validation) instead of "
            "fit_transform; one vocabulary for both",
            source="own; ridge regression on one part, scored on the other",
            explains=("overfit", "evaluation_path"),
        )
    ]


def words_mean_otherwise(seen: LabelsCompared | None) -> list[Finding]:
    """A vocabulary that was rebuilt on validation."""
    if seen is None:
        return []
    told, kept, own = (x - seen.chance for x in (seen.accuracy_training, seen.accuracy_validation, seen.own_accuracy))
    error = math.sqrt(max(seen.chance * (1 - seen.chance), 1e-9) / seen.num_validation)
    is_told = told >= _TOLD_CLASSES and own >= _OWN_CLASSES * told and seen.own_signal_z > _PLAIN
    is_lost = kept <= max(_LOST_CLASSES * own, 2 * error) and kept < own / 2 and seen.fall_z > _PLAIN
    is_renamed = seen.gain_z > _PLAIN or seen.accuracy_renamed - seen.chance > own / 2
    if not is_told or not is_lost or is_renamed:
        return []
    return [
        Finding(
            rule="split_shift",
            code="split_shift.meaning",
            severity="warning",
            seen=f"a classifier on training's word counts is right on {100 * seen.accuracy_training:.0f} % of training and on "
            f"{100 * seen.accuracy_validation:.0f} % of validation, {100 * seen.chance:.0f} % of which is one class; "
            "one fitted on validation "
            f"is right on {100 * seen.own_accuracy:.0f} %",
            measurements=(
                Measurement(name="accuracy on validation", value=seen.accuracy_validation, threshold=seen.chance),
                Measurement(name="accuracy on training", value=seen.accuracy_training),
                Measurement(name="of a classifier fitted on validation", value=seen.own_accuracy),
            ),
            cause="the same word has another index in validation: a vocabulary was built for each part",
            remedy="build the vocabulary (the tokenizer, the encoder) once on training, and use it unchanged on validation",
            source="own; ridge regression on word counts of one part, scored on the other",
            explains=("overfit", "evaluation_path"),
        )
    ]


def words_change(seen: ChangingWords | None) -> list[Finding]:
    """A vocabulary that was built anew for each chunk of the data."""
    if seen is None or seen.z < _SURE or seen.far + 3 * seen.error > _KEPT:
        return []
    return [
        Finding(
            rule="split_shift",
            code="split_shift.chunks",
            severity="warning",
            seen=f"in the order of the data set, examples among {seen.block} in a row that share words also share classes, but "
            f"examples far apart that share words do not: {100 * max(seen.far, 0.0):.0f} % of that agreement is left",
            measurements=(
                Measurement(name="agreement of far examples over that of near ones", value=seen.far, threshold=_KEPT),
                Measurement(name="its standard error", value=seen.error),
                Measurement(name="agreement of near ones", value=seen.z, unit="standard deviations", threshold=_SURE),
                Measurement(name="examples compared", value=float(seen.num_examples)),
            ),
            cause="the same index stands for different words in different parts of the training data: a vocabulary (a "
            "tokenizer, an encoder) was built for each file or chunk",
            remedy="build one vocabulary over all of the training data before encoding it, and use it for every chunk: "
            "vocab = build_vocab(all_texts), once, then encode(chunk, vocab)",
            source="own; word counts and classes of pairs of examples, by their distance in the data set",
            explains=("shuffled_labels", "constant_as_good", "plateau", "cannot_overfit", "overfit", "evaluation_path"),
        )
    ]


def words_unknown(seen: UnknownWords | None) -> list[Finding]:
    """A vocabulary in which a good part of the words of a new text is missing."""
    if seen is None:
        return []
    share, apart = f"{100 * seen.unknown:.0f} %", seen.is_prepared_otherwise
    told = {
        "left out": f"validation's texts are shorter than training's by {share}, as if words that are not known were left out",
        "new": f"{share} of validation's words have numbers that never occur in training",
        "one word": f"{share} of validation's words are one and the same word, which is rare in training",
    }[seen.becomes]
    return [
        Finding(
            rule="split_shift",
            code="split_shift.unknown",
            severity="hint",
            seen=f"{told}; {100 * seen.once:.0f} % of training's words occur once in all of training"
            + (", and no more of a new text's should be unknown" if apart else ", and as many of a new text's are not known"),
            measurements=(
                Measurement(name="share of validation's words that are not known", value=seen.unknown, threshold=_UNKNOWN),
                Measurement(name="share of training's words that occur once", value=seen.once),
                Measurement(name="different words of training", value=float(seen.num_kinds)),
                Measurement(name="words of training", value=float(seen.num_words)),
            ),
            cause="validation's texts are prepared otherwise than training's (case, punctuation, another tokenizer), or are of "
            "another kind"
            if apart
            else "one word counts as many: texts are split without lower case and with punctuation left on the words, or the "
            "texts are too few for a vocabulary of whole words",
            remedy="call one function on the texts of both before they are split into words, and print a few of validation's "
            "words that are not in the vocabulary"
            if apart
            else "lower the text and strip the punctuation before it is split, for training and validation alike; give words "
            "that are seen once or twice one number together (<unk>); or use a tokenizer of parts of words",
            source="Good, The population frequencies of species, Biometrika 1953: new words are as many as words seen once",
            explains=("split_size", "overfit", "evaluation_path"),
        )
    ]
