"""`trainability report RUN --serve`: over a real socket, to this machine only, and anew when the run has gone on."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, FLAGS
from conftest import hear_ctrl_c
from runs_on_disk import begin, epoch, steps

from trainability.report import page, serve
from trainability.report.html import write_report
from trainability.report.serve import make_server

Answer = tuple[int, dict[str, str], str]


def ignore_ctrl_c() -> None:
    """Begin a child as a shell's script begins one in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[int]:
    with make_server(folder, port=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def ask(port: int, path: str = "/", *, method: str = "GET", host: str | None = None) -> Answer:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.request(method, path, headers={} if host is None else {"Host": host})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    record = begin(tmp_path / "run")
    steps(record, 1, 4)
    epoch(record, 1)
    return tmp_path / "run"


def state_of(page: str) -> str:
    (found,) = re.findall(r'<script data-state="([0-9a-f]+)">', page)
    return found


def test_the_page_is_the_report_and_names_its_state(run: Path) -> None:
    before = sorted(path.name for path in run.iterdir())
    with serving(run) as port:
        status, headers, page = ask(port)
        assert status == 200
        assert "<h1" in page
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert headers["Cache-Control"] == "no-store"
        assert ask(port, "/state")[2] == state_of(page)
        assert "connect-src &#39;self&#39;" in page
    assert sorted(path.name for path in run.iterdir()) == before


def test_a_report_that_is_a_file_asks_for_nothing(run: Path) -> None:
    page = write_report(run).read_text()
    assert "data-state" not in page
    assert "connect-src" not in page
    assert "/state" not in page


def test_the_page_is_made_anew_only_after_a_change(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    render = serve.render
    monkeypatch.setattr(serve, "render", lambda *run, **state: made.append(state) or render(*run, **state))
    with serving(run) as port:
        first = ask(port)[2]
        write_report(run)  # is not the run's
        assert ask(port)[2] == first
        assert len(made) == 1
        with (run / "steps.jsonl").open("a") as file:
            file.write('{"step": 5')
        assert ask(port, "/state")[2] != state_of(first)
        second = ask(port)[2]
        assert len(made) == 2
        assert state_of(second) == ask(port, "/state")[2]


def test_a_name_of_another_site_is_refused(run: Path) -> None:
    with serving(run) as port:
        for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
            assert ask(port, host=host)[0] == 200
        for host in (
            "example.com",
            f"example.com:{port}",
            "127.0.0.1",
            f"127.0.0.1:{port + 1}",
            f"127.0.0.1.example.com:{port}",
            "",
        ):
            for path in ("/", "/state", "/config.toml"):
                status, _, text = ask(port, path, host=host)
                assert status == 403
                assert "VGG" not in text
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert b" 403 " in connection.makefile("rb").readline()
        with socket.create_connection(("127.0.0.1", port)) as connection:
            two = f"GET / HTTP/1.0\r\nHost: localhost:{port}\r\nHost: example.com\r\n\r\n"
            connection.sendall(two.encode())
            assert b" 403 " in connection.makefile("rb").readline()


@pytest.mark.parametrize(
    "path",
    ["/config.toml", "/report.html", "/..", "/../run/config.toml", "/%2e%2e/", "/?x", "/state/"],
)
def test_nothing_else_is_there(run: Path, path: str) -> None:
    with serving(run) as port:
        assert ask(port, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_sent(run: Path, method: str) -> None:
    with serving(run) as port:
        status, headers, _ = ask(port, method=method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_head_has_the_length_and_no_page(run: Path) -> None:
    with serving(run) as port:
        status, headers, page = ask(port, method="HEAD")
        assert (status, page) == (200, "")
        assert int(headers["Content-Length"]) == len(ask(port)[2].encode())


def test_only_this_machine_s_own_address_listens(run: Path) -> None:
    with make_server(run, port=None) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_a_run_that_cannot_be_read_just_now_is_looked_at_again(run: Path) -> None:
    with serving(run) as port:
        whole = (run / "steps.jsonl").read_text()
        (run / "steps.jsonl").write_text("{<\n" + whole)
        status, _, page = ask(port)
        assert status == 503
        assert "line 1 " in page
        assert 'http-equiv="refresh"' in page
        (run / "steps.jsonl").write_text(whole)
        assert ask(port)[0] == 200


def test_wrong_ports_and_runs_are_one_line(run: Path, tmp_path: Path) -> None:
    with make_server(run, port=None) as server, pytest.raises(ValueError, match=f"port {server.server_port} "):
        make_server(run, port=server.server_port)
    for port in (0, -1, 65536):
        with pytest.raises(ValueError, match="1 to 65535"):
            make_server(run, port=port)
    with pytest.raises(ValueError, match=r"config\.toml"):
        make_server(tmp_path, port=None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "run", "--serve"], "2: run, run"),
        (["run", "--port", "8000"], "--port 8000 is for --serve"),
        (["--serve"], "RUN"),
    ],
)
def test_flags_that_do_not_go_together(command, run: Path, arguments: list[str], words: str) -> None:
    answer = command("report", *arguments)
    assert answer.returncode == 2
    assert words in answer.stderr
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize("heard", [hear_ctrl_c, ignore_ctrl_c], ids=["in front", "in the background"])
def test_ctrl_c_ends_it(run: Path, heard: Callable[[], None]) -> None:
    command = [sys.executable, "-m", "trainability", "report", str(run), "--serve"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, preexec_fn=heard) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
        assert found
        assert ask(int(found[1]))[0] == 200
        process.send_signal(signal.SIGINT)
        _, problems = process.communicate()
        assert (process.returncode, problems) == (0, "")


# A page's own clock runs ahead of the wall's, so that its five seconds need not be waited for.
AHEAD = ["--virtual-time-budget=12000", "--window-size=1280,900"]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_browser_loads_the_page_anew_as_it_was_left(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CHROMIUM is not None
    # In place of a reader: a script of the page, put before the one that refreshes, that touches it on the first visit only.
    reader = """
    if (!sessionStorage.getItem("visited")) {
      sessionStorage.setItem("visited", "yes");
      setTimeout(() => {
        document.querySelector('button[data-role="validation"]').click();
        document.querySelector('#loss button[data-scale="log"]').click();
        document.querySelector("details").open = true;
        Plotly.relayout(document.querySelector("#top1 .plot"), { "xaxis.range": [0.25, 0.75] });
        scrollTo(0, 300);
      }, 100);
    } else {
      addEventListener("load", () => setTimeout(() => {
        document.title = JSON.stringify({
          hidden: document.querySelector('button[data-role="validation"]').getAttribute("aria-pressed"),
          scale: document.querySelector("#loss .plot").layout.yaxis.type,
          open: document.querySelector("details").open,
          zoom: document.querySelector("#top1 .plot").layout.xaxis.range,
          scroll: scrollY,
        });
      }, 100));
    }
    """
    originals = page._source
    monkeypatch.setattr(page, "_source", lambda name: (reader if name == "refresh.js" else "") + originals(name))
    asked = []
    state = serve.Page.state

    def changing(page: serve.Page) -> str:
        asked.append(1)
        if len(asked) == 2:  # after the first page: the run goes on
            with (run / "steps.jsonl").open("a") as file:
                file.write('{"step": 5')
        return state(page)

    monkeypatch.setattr(serve.Page, "state", changing)
    with serving(run) as port:
        command = [
            CHROMIUM,
            *FLAGS,
            *AHEAD,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            f"http://127.0.0.1:{port}/",
        ]
        command = [flag for flag in command if not flag.startswith("--host-resolver-rules")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    assert console == []
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title
    assert title[1] == '{"hidden":"false","scale":"log","open":true,"zoom":[0.25,0.75],"scroll":300}'
