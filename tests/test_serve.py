import socket
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
