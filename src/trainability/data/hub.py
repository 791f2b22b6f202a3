"""Data sets from the Hugging Face Hub, loaded with `datasets`, which is imported only here."""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np

from trainability.config import HubSet
from trainability.data.catalog import TRAIN, VAL, Catalog, Images, joined

REACH_SECONDS = 2.0
"""Timeout of the first connection to the Hub. `datasets` itself would retry for half a minute."""


class HubImages:
    """A column of image files of a `datasets.Dataset`."""

    def __init__(self, dataset: Any, column: str, split: str) -> None:
        """Take a data set whose image column is not decoded."""
        self.dataset, self.column, self.split = dataset, column, split

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.dataset)

    def read(self, position: int) -> bytes:
        """Return an image file."""
        value = self.dataset[position][self.column]
        if value["bytes"] is not None:
            return value["bytes"]
        with open(value["path"], "rb") as file:
            return file.read()

    def name(self, position: int) -> str:
        """Return the split and the row."""
        return f"{self.split} row {position}"


def hub_catalog(name: str, source: HubSet) -> Catalog:
    """Fetch a data set from the Hub, or from the Hub's cache on this machine.

    Args:
        name: of the set, for messages.
        source: where it is on the Hub.

    Raises:
        ValueError: there is no network and nothing is cached, or the set is gated; the message says what to do.
    """
    elsewhere = "or give --data.path with a copy that you have"
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    is_offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE") or not is_reachable(endpoint)
    splits = ("train", source.val)
    try:
        with _imported(offline=is_offline) as datasets:
            loaded = datasets.load_dataset(source.repo, split=list(splits))
    except Exception as error:  # three libraries raise many types; each becomes one line
        if is_offline:
            raise ValueError(
                f"data.name {name}: the Hub ({endpoint}) cannot be reached, and {source.repo} is not in its cache on this"
                f" machine; connect to the network, {elsewhere}"
            ) from None
        text = str(error).partition("\n")[0]
        if source.is_gated and any(word in str(error).lower() for word in ("gated", "401", "403", "authenticated")):
            raise ValueError(f"data.name {name}: {source.how_to_get_access}; {elsewhere}") from None
        raise ValueError(
            f"data.name {name}: {source.repo} could not be fetched from the Hub ({type(error).__name__}: {text}); {elsewhere}"
        ) from None
    parts: list[tuple[int, Images, np.ndarray]] = []
    for number, (split, part) in enumerate(zip(splits, loaded, strict=True)):
        undecoded = part.cast_column(source.image, datasets.Image(decode=False))
        labels = np.asarray(part.with_format("numpy")[source.label])
        parts.append((TRAIN if number == 0 else VAL, HubImages(undecoded, source.image, split), labels))
    return joined(loaded[0].features[source.label].names, parts, [])


def is_reachable(endpoint: str) -> bool:
    """Whether an address can be reached within `REACH_SECONDS`, through a proxy if one is set."""
    answered = []

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=REACH_SECONDS).close()
        except urllib.error.HTTPError as error:
            error.close()  # an HTTP error shows that the server can be reached
        except (OSError, ValueError):
            return
        answered.append(True)

    # In a thread, because looking up the name can take longer than any timeout of the connection.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(REACH_SECONDS)
    return bool(answered)


@contextlib.contextmanager
def _imported(*, offline: bool) -> Iterator[Any]:
    """Import `datasets`, in offline mode if there is no network."""
    if not offline:
        yield importlib.import_module("datasets")
        return
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    # The variable is read once, at import. If another library imported the module before, set the value that it read.
    readers = [importlib.import_module(name) for name in ("huggingface_hub.constants", "datasets.config")]
    for module in readers:
        vars(module)["HF_HUB_OFFLINE"] = True
    try:
        yield importlib.import_module("datasets")
    finally:
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
            for module in readers:
                vars(module)["HF_HUB_OFFLINE"] = False
