import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from makd.errors import UserError
from makd.serve import serve


def test_serve_listens_on_this_machine_alone_and_answers_to_no_other_name(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places: list[tuple[str, int]] = []
    apps: list[Any] = []

    def run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        places.extend(one.getsockname() for one in sockets)
        apps.append(server.config.app)

    monkeypatch.setattr(uvicorn.Server, "run", run)
    serve(shipped, port=0)
    [(host, port)] = places
    assert host == "127.0.0.1"
    assert capsys.readouterr().out == f"http://127.0.0.1:{port}/  (Ctrl-C ends it)\n"
    client = TestClient(apps[0])
    codes = {name: client.get("/", headers={"Host": name}).status_code for name in ("localhost:8000", "evil.example")}
    assert codes == {"localhost:8000": 200, "evil.example": 400}


def test_a_port_that_is_taken_is_a_user_error(shipped: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match=r"cannot be served .*in use"):
        serve(shipped, port=taken.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("", 8000, "host '', port 8000: give an address to listen on"),  # to the system, every address
        ("127.0.0.1", 99_999, "a port from 0 to 65535"),
        (
            "no.such.host.invalid",
            0,
            r"no\.such\.host\.invalid:0 cannot be served \([A-Z].*; give another --port or --host",
        ),
    ],
)
def test_what_cannot_be_listened_on_is_one_line(
    shipped: Path, host: str, port: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uvicorn.Server, "run", lambda *args, **kwargs: None)
    with pytest.raises(UserError, match=message):
        serve(shipped, host=host, port=port)


@pytest.mark.slow
def test_it_ends_on_ctrl_c_while_uploads_are_on_their_way(shipped: Path, tmp_path: Path) -> None:
    with (tmp_path / "err").open("w") as err:
        server = subprocess.Popen(
            [sys.executable, "-m", "makd", "serve", shipped, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        )
    assert server.stdout
    port = int(server.stdout.readline().split("/")[2].rpartition(":")[2])
    begun = (
        b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 999\r\n\r\nabc"
    )
    try:
        with socket.create_connection(("127.0.0.1", port)) as hangs_up:
            hangs_up.sendall(begun)
        with socket.create_connection(("127.0.0.1", port)) as stalls:
            stalls.sendall(begun)
            # A request of another connection: what came before it has begun.
            assert urllib.request.urlopen(f"http://127.0.0.1:{port}/api/model").status == 200
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=20) == 0
    finally:
        server.kill()
    assert "Traceback" not in (tmp_path / "err").read_text()
