"""The documentation site: built in strict mode, stands alone, and opens in Chromium without asking any host."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import CHROMIUM, visit

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package, reason="needs the extra docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        loads = re.findall(
            r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)", page.read_text()
        )
        assert not loads, f"{page.name}: {loads}"
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", sheet.read_text()), sheet.name


def test_links_lead_to_pages_of_the_site(site: Path) -> None:
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # its links are absolute, for whichever address was asked for
            continue
        for target in re.findall(r"<a\b[^>]*?href=[\"']?([^\"' >#]+)", page.read_text()):
            if not target.startswith(("http:", "https:", "mailto:")):
                assert (page.parent / target).exists(), f"{page.relative_to(site)}: {target}"


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("page", ["index", "guides/flat-loss", "rules", "reference/loops"])
def test_a_page_opens_without_a_request_or_an_error(site: Path, page: str, tmp_path: Path) -> None:
    seen = visit(site / f"{page}.html", tmp_path)
    assert seen.requests == []
    assert not [line for line in seen.console if "ERROR" in line and "search_index" not in line], seen.console
