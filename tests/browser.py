"""Opens a page in headless Chromium, cut off from the network, and says what the page did."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
# A frame that stays open holds the page's load event, and the browser returns the document at that event. Waiting for a time
# of the page's own clock is not enough: on a busy machine that clock runs out before the first frame is drawn.
HOLD = """<script>
{
  const held = document.body.appendChild(document.createElement("iframe")).contentDocument;
  held.open();
  const timer = setInterval(() => {
    if (document.readyState === "loading" || !(UNTIL)) return;
    clearInterval(timer);
    held.close();
  }, 50);
}
</script>"""
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
    until: str = "",
) -> Visit:
    """Open a page.

    Args:
        page: an HTML file.
        scratch: a directory that the browser may fill.
        dark: the reader's colour scheme.
        size: of the window in pixels, width and height.
        screenshot: write scratch/page.png in place of returning a document.
        until: the page is looked at when this JavaScript expression holds, without it when the page has loaded. A copy without
            the page's policy, which lets no other script run, is opened then.
    """
    assert CHROMIUM is not None
    if until:
        text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"), count=1)
        text = re.sub("<body[^>]*>", lambda body: body[0] + HOLD.replace("UNTIL", until), text, count=1)
        page = scratch / f"waits-{page.name}"
        page.write_text(text, encoding="utf-8")
    log = scratch / "net.json"
    command = [
        CHROMIUM,
        *FLAGS,
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--user-data-dir={scratch / 'profile'}",
        f"--window-size={size[0]},{size[1]}",
        f"--log-net-log={log}",
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
