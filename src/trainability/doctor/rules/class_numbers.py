"""Numbers of classes that a loss takes for amounts."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.readings import LEAST_CLEAR, LEAST_UNORDERED
from trainability.doctor.rules.rule import rule


@rule(severities=("warning", "hint"), explains=("constant_as_good", "capped_loss", "plateau", "cannot_overfit"))
def numbers_for_classes(evidence: Evidence) -> list[Finding]:
    """Numbers of classes are the targets of a squared error, as if they were amounts.

    Fires: targets are whole numbers, of which there are 5 to 64, each in 8 or more of 200 or more examples; the loss is a
        square of what they are moved by, or far away in proportion to it, and convex in them; and classes whose numbers
        follow each other are no
        more alike than others. Distances between the classes' mean inputs are measured in two halves of the examples, which
        agree (a correlation of 0.7 or more in one view), and in every view (values, sums so far, spectra) 10 % or more of 400
        shuffled orders go with the distances as well as the numbers do: by how they grow with the difference, and by how far
        it is from each number to the next. A hint where no metric is given that counts right answers.
    Why: an answer of 2 for class 9 costs 49 times as much as for class 3, and between two classes, the answer that costs least
        is a third one. The order of real amounts shows: of 1,900 drawn ones (counts, grades, frequencies, amounts in bins, also
        of squares, sines and products of the inputs), at most 9 % of the shuffled orders fit as well.
    What fools it: an amount that belongs to names, as of 40 products, 50 species or 26 letters: inputs tell which, and not how
        much. Classes in an order that fits by chance are not found.
    Fix: one output for each class and `cross_entropy`.
    Source: own, by shuffled orders; Bishop, Pattern Recognition and Machine Learning, 2006, section 4.1.2 (1-of-K targets).
    """
    found, metric = reading.facts(evidence).readings.class_numbers, evidence.metric
    counts = metric is not None and not metric.wrong and metric.measure in ("accuracy", "error")
    if found is None or found.clear < LEAST_CLEAR or found.ordered < LEAST_UNORDERED:
        return []
    return [
        Finding(
            rule="numbers_for_classes",
            severity="warning" if counts else "hint",
            seen=f"the loss is a distance between outputs and {found.classes} whole numbers; inputs of numbers that follow "
            f"each other are no more alike than others: {100 * found.ordered:.0f} % of shuffled orders fit as well or better",
            measurements=(
                Measurement(name="share of shuffled orders that fit as well", value=found.ordered, threshold=LEAST_UNORDERED),
                Measurement(name="agreement of two halves on the distances", value=found.clear, threshold=LEAST_CLEAR),
                Measurement(name="examples compared", value=float(found.examples)),
            ),
            cause=("" if counts else "if they are names and no amounts: ")
            + "numbers of classes are compared as amounts: between two classes, the model answers with the numbers between "
            "them, which are other classes",
            remedy=f"let the last layer return {found.classes} numbers, one for each class (num_classes = largest number + 1), "
            "and take torch.nn.functional.cross_entropy(output, target.long()), without an activation behind the last layer; "
            "predict with output.argmax(1) in place of rounding",
            source="own, by shuffled orders; Bishop, Pattern Recognition and Machine Learning, 2006, section 4.1.2",
        )
    ]
