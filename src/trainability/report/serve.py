"""`trainability report RUN --serve`: serve the report on this machine, and update it while the run is in progress."""

from __future__ import annotations

import errno
import hashlib
import html
import signal
import threading
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from trainability.report.html import REPORT, render
from trainability.training.record import read_run

ADDRESS = "127.0.0.1"
# The page itself contains a policy that allows only its own scripts; these policies are possible only as headers.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_UNREADABLE = """<!DOCTYPE html>
<meta charset="utf-8"><meta http-equiv="refresh" content="5"><meta name="color-scheme" content="light dark">
<title>No report</title><p>{problem}</p><p>This page retries every five seconds.</p>
"""


class Page:
    """The current report of a run; made again only when a file of the run has changed."""

    def __init__(self, folder: Path) -> None:
        """Begin with no page."""
        self.folder = folder
        self.lock = threading.Lock()
        self.made: tuple[str, bytes] | None = None

    def state(self) -> str:
        """Return a digest of the run's files: names, sizes and modification times, without reports."""
        facts = []
        for path in sorted(self.folder.iterdir()):
            try:
                status = path.stat()
            except FileNotFoundError:  # replaced just now
                continue
            if path.is_file() and not path.name.startswith(REPORT) and path.suffix != ".partial":
                facts.append((path.name, status.st_size, status.st_mtime_ns, status.st_ino))
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]

    def html(self) -> bytes:
        """Make the page, or return the one made for the same state.

        Raises:
            ValueError: the run cannot be read, or a file in it is damaged.
            OSError: a file was replaced while it was being read.
        """
        # Simultaneous requests wait for one page instead of making several.
        with self.lock:
            state = self.state()  # before reading: a change meanwhile gives a new state
            if self.made is None or self.made[0] != state:
                self.made = (state, render(read_run(self.folder), state=state).encode())
            return self.made[1]


class _Handler(BaseHTTPRequestHandler):
    """Handles GET and HEAD of two paths, for requests that address this machine by its local names."""

    timeout = 30  # seconds to wait for a silent client

    def __init__(self, page: Page, *rest: object) -> None:
        self.page = page
        super().__init__(*rest)  # pyright: ignore[reportArgumentType]

    def do_GET(self) -> None:
        # DNS rebinding: a page of another site can have a host name that resolves to this machine, and could then read the
        # response; its requests have that name in the Host header.
        port = self.connection.getsockname()[1]
        hosts = [
            f"{name}{end}" for name in (ADDRESS, "localhost") for end in ([f":{port}", ""] if port == 80 else [f":{port}"])
        ]
        if self.headers.get_all("Host", []) not in [[host] for host in hosts]:
            self._answer(HTTPStatus.FORBIDDEN, f"this is reached as http://{hosts[0]}/ only\n")
        elif self.path == "/state":
            self._state()
        elif self.path == "/":
            self._page()
        else:
            self._answer(HTTPStatus.NOT_FOUND, "there is only /\n")

    do_HEAD = do_GET  # noqa: N815

    def _refuse(self) -> None:
        self.close_connection = True
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "GET and HEAD only\n", Allow="GET, HEAD")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse  # noqa: N815

    def _state(self) -> None:
        try:
            self._answer(HTTPStatus.OK, self.page.state())
        except OSError as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{self.page.folder} cannot be read ({error.strerror})\n")

    def _page(self) -> None:
        try:
            self._answer(HTTPStatus.OK, self.page.html(), kind="text/html")
        except (OSError, ValueError) as error:
            text = _UNREADABLE.format(problem=html.escape(str(error)))
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, text, kind="text/html")

    def _answer(self, status: HTTPStatus, body: str | bytes, *, kind: str = "text/plain", **more: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        try:
            self.send_response(status)
            for name, value in {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            for name, value in (_HEADERS | more).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):  # the client has closed the connection
            self.close_connection = True

    def version_string(self) -> str:
        """Return the server's name without versions."""
        return "trainability"

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the page's requests would fill the terminal."""


def make_server(folder: Path, *, port: int | None) -> ThreadingHTTPServer:
    """Make a server for a run's report that listens only on this machine's loopback address.

    Args:
        folder: run directory.
        port: `None` takes a free one.

    Raises:
        ValueError: it is not a run directory, or the port cannot be used.
    """
    read_run(folder)
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"port is {port}; accepted: 1 to 65535, or none for a free one")
    try:
        return ThreadingHTTPServer((ADDRESS, port or 0), partial(_Handler, Page(folder)))
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise ValueError(f"port {port} {why}; choose another --port, or leave it out for a free one") from None


def serve_report(folder: Path, *, port: int | None) -> None:
    """Serve the report of a run until Ctrl-C, and print its address.

    Raises:
        ValueError: as `make_server`.
    """
    with make_server(folder, port=port) as server:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)  # background processes of a script ignore SIGINT
        print(f"report of {folder}: http://{ADDRESS}:{server.server_address[1]}/  (Ctrl-C ends)", flush=True)
        server.serve_forever()
