"""The data sets by name, one record each, with everything that is known of a set before its images are read.

`SOURCES` determines the accepted values of `data.name`, the defaults that depend on the set, the `--help` texts, the accepted
layouts in error messages, and the table in docs/data.md. To add a set: one entry here, its reader in `data/`, and one entry in
the table of tests/test_sources.py, with a function that writes small files in its format.

Nothing here imports torch or an image library: functions are given as "module:function", relative to `trainability.data`, and
are looked up when a set is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Layout:
    """An arrangement of a set's files at `data.path`.

    Attributes:
        words: its description in help and messages.
        reader: "module:function": a path -> a `data.catalog.Catalog`, or `None` if the path does not have this layout.
    """

    words: str
    reader: str


@dataclass(frozen=True, kw_only=True)
class HubSet:
    """A data set on the Hugging Face Hub.

    Attributes:
        repo: owner and name.
        image: column of images.
        label: column of classes.
        val: the set's validation split, with labels.
        is_large: whether fetching and packing take hours; then `train` does not start them by itself.
        is_gated: whether the user must accept its terms first.
    """

    repo: str
    image: str
    label: str
    val: str
    is_large: bool = False
    is_gated: bool = False

    @property
    def how_to_get_access(self) -> str:
        """How to get access to a gated set."""
        return (
            f"{self.repo} is gated: accept its terms at https://huggingface.co/datasets/{self.repo}, then log in with"
            " `hf auth login` or set HF_TOKEN"
        )


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set.

    Attributes:
        about: description in a few words.
        crop: default of `data.crop`, in pixels.
        margin: default of `data.size` minus the crop, in pixels.
        width: default of `model.width`.
        flip: whether a flipped image still belongs to its class.
        validation: which images are used for validation.
        layouts: of `data.path`, tried in this order; none for a set that reads no files.
        hub: where it is fetched from if no path is given; `None` if it needs a path.
        make: for a set that reads no files, "module:function": (DataConfig, seed) -> images (num, size, size, 3) uint8,
            labels (num,) int64, class names. If the set has `labels`, `make` takes labels as a third argument and makes one
            image for each.
        labels: for a generated set, "module:function": DataConfig -> the labels of all its images, (num,) int64. With it, a
            check generates only the images that it looks at.
        extent: numbers of training images and classes, if they do not depend on the seed or on the files.
    """

    about: str
    crop: int
    margin: int
    width: float
    flip: bool
    validation: str
    layouts: tuple[Layout, ...] = ()
    hub: HubSet | None = None
    make: str | None = None
    labels: str | None = None
    extent: tuple[int, int] | None = None

    @property
    def accepted(self) -> str:
        """Accepted layouts of `data.path`, in words."""
        return ", ".join(layout.words for layout in self.layouts) + ", or a pack"


GENERAL = (
    Layout(words="Parquet files", reader="layouts:parquet_files"),
    Layout(words="class folders (train/CLASS/ and val/CLASS/, or CLASS/)", reader="layouts:folders_of_classes"),
)

SOURCES: dict[str, Source] = {
    "digits": Source(
        about="1,797 real handwritten digits, included in this package",
        crop=32,
        margin=4,
        width=0.25,
        flip=False,
        validation="by seed",
        make="builtin:load_digits",
        extent=(1438, 10),
    ),
    "synthetic": Source(
        about="generated images with the 1/f spectrum of photographs, learnable, of any size and number",
        crop=32,
        margin=0,
        width=1.0,
        flip=True,
        validation="by seed",
        make="builtin:generate",
        labels="builtin:labels_of",
    ),
    "mnist": Source(
        about="70,000 handwritten digits",
        crop=32,
        margin=4,
        width=0.25,
        flip=False,
        validation="its test set",
        layouts=(Layout(words="the four idx files (gzipped or not, also in MNIST/raw/)", reader="layouts:mnist_idx"), *GENERAL),
        hub=HubSet(repo="ylecun/mnist", image="image", label="label", val="test"),
        extent=(60_000, 10),
    ),
    "cifar10": Source(
        about="60,000 photographs of 10 classes, 32 pixels",
        crop=32,
        margin=4,
        width=1.0,
        flip=True,
        validation="its test set",
        layouts=(Layout(words="cifar-10-batches-py or -bin", reader="layouts:cifar10"), *GENERAL),
        hub=HubSet(repo="uoft-cs/cifar10", image="img", label="label", val="test"),
        extent=(50_000, 10),
    ),
    "cifar100": Source(
        about="60,000 photographs of 100 classes, 32 pixels",
        crop=32,
        margin=4,
        width=1.0,
        flip=True,
        validation="its test set",
        layouts=(Layout(words="cifar-100-python or -binary", reader="layouts:cifar100"), *GENERAL),
        hub=HubSet(repo="uoft-cs/cifar100", image="img", label="fine_label", val="test"),
        extent=(50_000, 100),
    ),
    "caltech256": Source(
        about="30,607 photographs of 257 classes",
        crop=224,
        margin=32,
        width=1.0,
        flip=True,
        validation="by seed",
        layouts=(Layout(words="256_ObjectCategories (the folder, the one above it, or its tar)", reader="folders:caltech256"),),
    ),
    "imagenet": Source(
        about="1.28 million photographs of 1,000 classes",
        crop=224,
        margin=32,
        width=1.0,
        flip=True,
        validation="its validation set",
        layouts=(
            Layout(
                words="the Kaggle layout (LOC_synset_mapping.txt, LOC_val_solution.csv, ILSVRC/Data/CLS-LOC/)",
                reader="layouts:imagenet_of_kaggle",
            ),
            *GENERAL,
        ),
        hub=HubSet(repo="ILSVRC/imagenet-1k", image="image", label="label", val="validation", is_large=True, is_gated=True),
        extent=(1_281_167, 1000),
    ),
    "folder": Source(
        about="your own images",
        crop=224,
        margin=32,
        width=1.0,
        flip=True,
        validation="the set's own if it has one, else by run.seed",
        layouts=GENERAL,
    ),
}


def names_in_words(names: list[str]) -> str:
    """Write a list of names: "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def defaults_in_words(value_of: Callable[[Source], Any]) -> str:
    """Write the sets' defaults in words: "224 for caltech256, imagenet and folder, 32 for the others"."""
    by_value: dict[Any, list[str]] = {}
    for name, source in SOURCES.items():
        by_value.setdefault(value_of(source), []).append(name)
    *few, (most, _) = sorted(by_value.items(), key=lambda item: len(item[1]))
    return ", ".join([*(f"{value} for {names_in_words(names)}" for value, names in few), f"{most} for the others"])


def help_on_names() -> str:
    """Write the help of `data.name`."""
    parts = [f"{name}: {source.about}." for name, source in SOURCES.items()]
    hub = [name for name, source in SOURCES.items() if source.hub is not None]
    path = [name for name, source in SOURCES.items() if source.hub is None and source.layouts]
    return " ".join(
        [*parts, f"From the Hugging Face Hub, or from path: {names_in_words(hub)}. From path: {names_in_words(path)}."]
    )


def help_on_paths() -> str:
    """Write the help of `data.path`."""
    general = ", ".join(layout.words for layout in GENERAL)
    own = {name: [layout.words for layout in source.layouts if layout not in GENERAL] for name, source in SOURCES.items()}
    of_sets = "; ".join(f"{name}: {', '.join(words)}" for name, words in own.items() if words)
    return f"Where the images are: {general}, a pack, or the set's own files: {of_sets}. None fetches the set from the Hub."


def markdown_table() -> str:
    """Write the table of the sets in docs/data.md."""
    lines = [
        "| `data.name` | images | without a path | layouts of `data.path` | validation | crop | size | width | flipped |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, source in SOURCES.items():
        own = [layout.words for layout in source.layouts if layout not in GENERAL]
        layouts = [*own, *(["the general ones"] if set(GENERAL) <= set(source.layouts) else [])]
        without = "no files" if source.make else "–"
        if source.hub is not None:
            without = f"Hub, `{source.hub.repo}`" + (", gated" if source.hub.is_gated else "")
        cells = [f"`{name}`", source.about, without, "; ".join(layouts) or "–", source.validation, f"{source.crop}"]
        cells += [f"{source.crop + source.margin}", f"{source.width:g}", "yes" if source.flip else "no"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
