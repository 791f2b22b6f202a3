"""Data that changes when it is read."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.readings import Overwritten
from trainability.doctor.rules.parameters import SYMPTOMS
from trainability.doctor.rules.rule import rule

_SOURCE = "own; the same examples read several times"
_OF_IMAGES = ("blank_images", "channels_last", "mirrored", "constant_input", "repeated_batch", "split_shift")


@rule(
    severities=("error", "warning"),
    verdict="broken data",
    explains=(
        *SYMPTOMS,
        *_OF_IMAGES,
        *("shuffled_labels", "label_conflict", "overfit", "constant_as_good", "evaluation_path", "oscillation", "loss_cliff"),
    ),
)
def overwritten_data(evidence: Evidence) -> list[Finding]:
    """Reading an example overwrites the stored data, or earlier examples.

    Fires: of 16 examples. Code `shared`: all are the same tensor, which shows the values of the last one read; in a watched
        loop, a warning where, in three or more sampled batches of eight rows or more, all rows of the input are equal, differ
        from batch to batch, and have different classes. A warning with code `stored`: in two or more of four reads, the stored
        values of an example change, and not only their order; the returned example has the changed values; other values,
        written there, come back at the next read; and the other parts of the example, such as a label, do not change, or three
        quarters of the changed values become equal. A warning with code `batch`: the step adds noise in place, drawn anew each
        time for every number, with mean zero and a tenth of the values' standard deviation or more, to a tensor of the batch
        that the model is then given and that the loss takes the difference of outputs to. A warning with code `step`: each of
        two runs of the step changes numbers of the batch, and the loader yields the same memory in each pass, as a list does.
    Why: an index or a slice of a tensor or an array is a view: writing to it writes to the data. An in-place augmentation adds
        to those of earlier epochs, until nothing is left. A tensor that is filled again for each example is in the batch's list
        once per example, and holds the values of the last one.
    What fools it: data that advances from read to read on purpose, like a simulation, with a label that does not change;
        `shared` is determined from memory and values, and nothing is known to fool it. Worker processes that end with each pass
        read copies: `stored` is then silent. An autoencoder that is to reconstruct the noise as well would show as `batch`.
    Fix: change a copy: x = self.x[i].clone() (x = self.x[i].copy() for an array) in __getitem__, before writing to it; add
        noise to a new tensor: noisy = clean + noise.
    Source: PyTorch, Tensor Views; own: the same examples read again and again, and what is stored compared.
    """
    found = reading.facts(evidence).readings.overwritten
    told = {"shared": _shared, "rows": _rows, "stored": _stored, "batch": _batch, "step": _step}
    return [] if found is None else [told[found.kind](found)]


def _shared(found: Overwritten) -> Finding:
    return Finding(
        rule="overwritten_data",
        code="overwritten_data.shared",
        severity="error",
        seen=f"all examples of the data set are the same tensor (dataset[i]{found.place}): after {found.num_examples} were "
        f"read, {found.num_changed} of them show the values of the last, so all rows of a batch are equal",
        measurements=(Measurement(name="examples overwritten by another", value=float(found.num_changed), threshold=0.0),),
        cause="the data set fills the same tensor for every example and returns it, not a copy",
        remedy=f"in __getitem__, return a copy of item{found.place}: .clone() for a tensor, .copy() for an array; or create a "
        "new one for each example",
        source=_SOURCE,
    )


def _rows(found: Overwritten) -> Finding:
    repeated = float(found.num_changed)
    return Finding(
        rule="overwritten_data",
        code="overwritten_data.shared",
        severity="warning",
        seen=f"in each of {found.num_examples - found.num_changed} batches, all rows of the input are equal, but their "
        "classes differ; the input changes from batch to batch",
        measurements=(Measurement(name="rows that repeat another of their batch", value=repeated, threshold=0.0),),
        cause="the data set fills the same tensor for every example and returns it, so that a batch repeats the last example",
        remedy="in __getitem__, return a copy of the tensor that is filled: .clone() for a tensor, .copy() for an array; or "
        "create a new one for each example",
        source="own; the rows of the sampled steps compared",
    )


def _stored(found: Overwritten) -> Finding:
    name = f"self.{found.place}"
    return Finding(
        rule="overwritten_data",
        code="overwritten_data.stored",
        severity="warning",
        seen=f"reading changes the stored data: after four reads, {found.num_changed} of {found.num_examples} examples have "
        f"other values in {name} ({100 * found.share:.0f} % of them), from which the next read starts",
        measurements=(
            Measurement(name="stored examples that are changed", value=float(found.num_changed), threshold=0.0),
            Measurement(name="share of their values", value=found.share),
        ),
        cause="augmentation or normalisation changes the stored example in place, through a view of the data, so that "
        "changes add up from epoch to epoch",
        remedy=f"change a copy: take {name}[i].clone() (.copy() of an array) in __getitem__, or before collate_fn changes it",
        source=_SOURCE,
    )


def _step(found: Overwritten) -> Finding:
    return Finding(
        rule="overwritten_data",
        code="overwritten_data.step",
        severity="warning",
        seen=f"a step changes {100 * found.share:.0f} % of the numbers of batch{found.place}, again at each run, and the "
        "loader yields the same memory in the next pass: each epoch begins from what the one before has left",
        measurements=(
            Measurement(name="examples changed", value=float(found.num_changed), threshold=0.0),
            Measurement(name="share of their values", value=found.share),
        ),
        cause="an in-place operation (x += ..., x[:, k] *= ..., x.mul_()) in the step or in forward changes the stored data, "
        "not a copy",
        remedy="write to a new tensor: x = x * scale in place of x *= scale, or x = x.clone() at the beginning",
        source="own; the step run twice on a copy of a batch, and the loader's memory compared",
    )


def _batch(found: Overwritten) -> Finding:
    return Finding(
        rule="overwritten_data",
        code="overwritten_data.batch",
        severity="warning",
        seen=f"the step adds noise ({found.share:.2g} standard deviations) in place to batch{found.place}, which is both the "
        "model's input and the target: the target has the noise that the model should remove",
        measurements=(
            Measurement(name="noise over standard deviation of the target", value=found.share, threshold=0.1),
            Measurement(name="examples changed", value=float(found.num_changed)),
        ),
        cause="an in-place operation (add_, +=) changes the batch itself, so that input and target are the same tensor",
        remedy="add the noise to a new tensor: noisy = clean + noise, or clean.clone().add_(noise)",
        source="own; the step run twice on copies of a batch, which are compared with it",
    )
