"""The data sets by name, one record each: all that is known of a set without looking at an image.

From `SOURCES` follow the accepted values of `data.name`, the defaults that depend on the set, the texts of `--help`, what a
mistake's message accepts, and the table in docs/data.md. To add a set: one entry here, the function that it names in `data/`,
and one entry in the table of tests/test_sources.py, with a writer of small files in its format.

Nothing here imports torch or an image library: functions are named as "module:function", below `trainability.data`, and
looked up when a set is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A way in which a set's files may lie at `data.path`.

    Attributes:
        words: what help and messages call it.
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
        val: split that the set itself holds out, with labels.
        is_large: whether it takes hours to fetch and pack, so that training does not begin with it unasked.
        is_gated: whether its terms must be accepted first.
    """

    repo: str
    image: str
    label: str
    val: str
    is_large: bool = False
    is_gated: bool = False

    @property
    def how_to_get_access(self) -> str:
        """What to do about a gate."""
        return (
            f"{self.repo} is gated: accept its terms at https://huggingface.co/datasets/{self.repo}, then log in with"
            " `hf auth login` or set HF_TOKEN"
        )


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set.

    Attributes:
        about: what it is, in a few words.
        crop: side in pixels that its images suggest for `data.crop`.
        margin: how much larger than the crop its images are stored, in pixels.
        width: what its images suggest for `model.width`.
        flip: whether a mirrored image is still one of its kind.
        validation: which images validate.
        layouts: of `data.path`, tried in this order; none for a set that reads no files.
        hub: where it is fetched from without a path; `None` if it needs one.
        make: for a set that reads no files, "module:function": (DataConfig, seed) -> images (num, size, size, 3) uint8,
            labels (num,) int64, class names. Where there is `labels`, it takes labels too, as a third argument, and makes an
            image for each of them alone.
        labels: for a set that is generated, "module:function": DataConfig -> the labels of all its images, (num,) int64, so
            that a check generates the images that it looks at, and no others.
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

    @property
    def accepted(self) -> str:
        """What `data.path` may be, in words."""
        return ", ".join(layout.words for layout in self.layouts) + ", or a pack"


GENERAL = (
    Layout(words="Parquet files", reader="layouts:parquet_files"),
    Layout(words="class folders (train/CLASS/ and val/CLASS/, or CLASS/)", reader="layouts:folders_of_classes"),
)

SOURCES: dict[str, Source] = {
    "digits": Source(
        about="1,797 real handwritten digits, inside the package",
        crop=32,
        margin=4,
        width=0.25,
        flip=False,
        validation="by seed",
        make="builtin:load_digits",
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
    ),
    "folder": Source(
        about="your own images",
        crop=224,
        margin=32,
        width=1.0,
        flip=True,
        validation="the set's own where it has one, else by seed",
        layouts=GENERAL,
    ),
}


def names_in_words(names: list[str]) -> str:
    """Write a list of names: "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def defaults_in_words(value_of: Callable[[Source], Any]) -> str:
    """Say what the sets' defaults are: "224 for caltech256, imagenet and folder, 32 for the others"."""
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
        "| `data.name` | images | without a path | layouts of `data.path` | validated on | crop | size | width | mirrored |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, source in SOURCES.items():
        own = [layout.words for layout in source.layouts if layout not in GENERAL]
        layouts = [*own, *(["the general ones"] if set(GENERAL) <= set(source.layouts) else [])]
        without = "nothing is read" if source.make else "–"
        if source.hub is not None:
            without = f"Hub, `{source.hub.repo}`" + (", gated" if source.hub.is_gated else "")
        cells = [f"`{name}`", source.about, without, "; ".join(layouts) or "–", source.validation, f"{source.crop}"]
        cells += [f"{source.crop + source.margin}", f"{source.width:g}", "yes" if source.flip else "no"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
