"""`makd serve`: an exported student in a browser, and for programs."""

import socket
from contextlib import suppress
from pathlib import Path

from makd.errors import UserError
from makd.shipped import Format, load_shipped

PATIENCE_S = 3
"""After Ctrl-C, for requests in flight."""


def serve(model: Path | str, *, host: str = "127.0.0.1", port: int = 8000, format: Format | None = None) -> None:
    """Serve the student in the folder `model` until Ctrl-C; nobody outside this machine can reach it by default.

    Args:
        model: what `makd export` wrote.
        host: the address to listen on. Any other than that of this machine opens it to others: there is no password.
        port: 0 takes one that is free; the address is printed.
        format: which file of the folder computes; None: the first there is.

    Raises:
        UserError: no such model, a port that is taken, or the packages of the extra `serve` are missing.
    """
    try:
        import uvicorn

        from makd.serve_app import LOOPBACK, create_app
    except ImportError as error:
        raise UserError(f"makd serve needs {error.name}; pip install 'makd[serve]'") from None
    if not host or not 0 <= port <= 65535:  # to the system, no host is every host
        raise UserError(f"host {host!r}, port {port}: give an address to listen on, and a port from 0 to 65535")
    local = host in (*LOOPBACK, "::1")
    app = create_app(load_shipped(model, format), hosts=LOOPBACK if local else ("*",))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        problem = error.strerror or error
        raise UserError(f"{host}:{port} cannot be served ({problem}); give another --port or --host") from None
    with listener, suppress(KeyboardInterrupt):  # uvicorn ends in order, and then raises it
        address = f"[{host}]" if ":" in host else host
        print(f"http://{address}:{listener.getsockname()[1]}/  (Ctrl-C ends it)", flush=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=PATIENCE_S)
        uvicorn.Server(config).run(sockets=[listener])
