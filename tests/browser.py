"""Opens a page in headless Chromium, cut off from the network, and says what the page did."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
    "--v=0",
)


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What a page did.

    Attributes:
        dom: the document after its scripts ran.
        console: what it wrote to the console, errors and violated policies among it.
        requests: every address that it asked for, other than files and data.
    """

    dom: str
    console: list[str]
    requests: list[str]


def visit(
    page: Path,
    scratch: Path,
    *,
    dark: bool = False,
    size: tuple[int, int] = (1280, 2400),
    screenshot: bool = False,
    settle_ms: int = 0,
) -> Visit:
    """Open a page.

    Args:
        page: an HTML file.
        scratch: a directory that the browser may fill.
        dark: the reader's colour scheme.
        size: of the window in pixels, width and height.
        screenshot: write scratch/page.png in place of returning a document.
        settle_ms: time of the page's own clock after which it is looked at; 0 looks when it has loaded.
    """
    assert CHROMIUM is not None
    log = scratch / "net.json"
    command = [
        CHROMIUM,
        *FLAGS,
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--user-data-dir={scratch / 'profile'}",
        f"--window-size={size[0]},{size[1]}",
        f"--log-net-log={log}",
        *([f"--virtual-time-budget={settle_ms}"] if settle_ms else []),
        f"--screenshot={scratch / 'page.png'}" if screenshot else "--dump-dom",
        page.resolve().as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    asked = [event["params"] for event in events if "url" in event.get("params", {}) and "initiator" in event["params"]]
    # The browser asks for updates and the time by itself, and has no origin to do so from.
    addresses = {params["url"] for params in asked if params["initiator"] != "not an origin"}
    return Visit(
        dom=done.stdout,
        console=console,
        requests=sorted(url for url in addresses if not url.startswith(("file:", "data:", "blob:", "about:"))),
    )
