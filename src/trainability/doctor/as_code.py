"""Names as Python reaches them."""


def as_code(name: str) -> str:
    """A module's or parameter's name as Python reaches it: `model.head[2].weight` of "head.2.weight"."""
    return "model" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in name.split(".") if part)
