"""Data that change as they are read."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.readings import Overwritten
from trainability.doctor.rules.parameters import SYMPTOMS
from trainability.doctor.rules.rule import rule

_SOURCE = "own; the same examples read again and again"
_OF_IMAGES = ("blank_images", "channels_last", "mirrored", "constant_input", "repeated_batch", "split_shift")


@rule(
    severities=("error", "warning"),
    verdict="broken data",
    explains=(*SYMPTOMS, *_OF_IMAGES, "shuffled_labels", "label_conflict", "overfit", "constant_as_good", "evaluation_path"),
)
def overwritten_data(evidence: Evidence) -> list[Finding]:
    """Reading an example overwrites the stored data, or what was read before.

    Fires: of 16 examples, code `shared`: each is one and the same tensor, and shows the values of the last that was read; of a
        watched loop, a warning where in three sampled batches or more, of eight rows or more, all rows of the input are the
        same, another in each batch, and their classes differ. A warning with code `stored`: two of four readings or more
        change what the data set stores of an example, and not only its order; what is returned is what then stands there; other
        values, put there, come back at the next reading; and what stands beside it in the batch, such as a label, stays as it
        is, or three quarters of what changes become one value.
    Why: an index or a slice of a tensor or an array is a view: what is written into it is written into the data. An
        augmentation in place adds to what earlier epochs did, until nothing is left. A tensor that is filled anew for each
        example is in the list of the batch as often as there are examples, and stands there with the last one's values.
    What fools it: data that go on from reading to reading on purpose, as a simulation, beside a label that does not; `shared`
        is read off memory and values, and nothing is known that fools it. Worker processes that end with each pass read copies:
        there `stored` is silent.
    Fix: change a copy: x = self.x[i].clone() (x = self.x[i].copy() of an array) in __getitem__, before anything is written.
    Source: PyTorch, Tensor Views; own: the same examples read again and again, and what is stored compared.
    """
    found = reading.facts(evidence).readings.overwritten
    told = {"shared": _shared, "rows": _rows, "stored": _stored}
    return [] if found is None else [told[found.kind](found)]


def _shared(found: Overwritten) -> Finding:
    return Finding(
        rule="overwritten_data",
        code="overwritten_data.shared",
        severity="error",
        seen=f"all examples of the data set are one tensor (dataset[i]{found.place}): once {found.num_examples} were read, "
        f"{found.num_changed} of them show the values of the last, so that all rows of a batch are the same",
        measurements=(Measurement(name="examples overwritten by another", value=float(found.num_changed), threshold=0.0),),
        cause="the data set fills one tensor again for every example and returns it, and not a copy",
        remedy=f"in __getitem__, return a copy of item{found.place}: .clone() of a tensor, .copy() of an array; or make a new "
        "one for each example",
        source=_SOURCE,
    )


def _rows(found: Overwritten) -> Finding:
    repeated = float(found.num_changed)
    return Finding(
        rule="overwritten_data",
        code="overwritten_data.shared",
        severity="warning",
        seen=f"in each of {found.num_examples - found.num_changed} batches all rows of the input are the same, and their "
        "classes are not; from batch to batch the input changes",
        measurements=(Measurement(name="rows that repeat another of their batch", value=repeated, threshold=0.0),),
        cause="the data set fills one tensor again for every example and returns it, so that a batch holds the last one again "
        "and again",
        remedy="in __getitem__, return a copy of what is filled anew: .clone() of a tensor, .copy() of an array; or make a new "
        "one for each example",
        source="own; the rows of the sampled steps compared",
    )


def _stored(found: Overwritten) -> Finding:
    name = f"self.{found.place}"
    return Finding(
        rule="overwritten_data",
        code="overwritten_data.stored",
        severity="warning",
        seen=f"reading changes what the data set stores: of {found.num_examples} examples {found.num_changed} have other "
        f"values in {name} after four readings ({found.share:.0%} of them), and the next reading begins there",
        measurements=(
            Measurement(name="stored examples that are changed", value=float(found.num_changed), threshold=0.0),
            Measurement(name="share of their values", value=found.share),
        ),
        cause="augmentation or normalisation works in place on the stored example, a view of the data, so that its changes add "
        "up from epoch to epoch",
        remedy=f"change a copy: take {name}[i].clone() (.copy() of an array) in __getitem__, or before collate_fn changes it",
        source=_SOURCE,
    )
