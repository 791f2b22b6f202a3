"""Links that lead out of docs/ become plain text on the site, which stands alone; MkDocs calls this for every page."""

import re
from pathlib import Path
from typing import Any

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(((?!https?:)[^)#\s]+)[^)]*\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Replace a link to a file of the repository by its text and the file's path from the root."""
    docs = Path(config["docs_dir"])
    here = (docs / page.file.src_uri).parent

    def kept(match: re.Match[str]) -> str:
        target = (here / match[2]).resolve()
        if target.is_relative_to(docs):
            return match[0]
        path = str(target.relative_to(docs.parent))
        return f"`{path}`" if match[1] in (path, target.name, target.stem, "results") else f"{match[1]} (`{path}`)"

    return _LINK.sub(kept, markdown)
