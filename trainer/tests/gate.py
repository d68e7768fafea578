"""A door in front of a real server: closed, its address refuses connections, as a Service does whose pod is away."""

from __future__ import annotations

import contextlib
import socket
import threading


class Gate:
    """Forwards TCP connections to a port of this machine while it is open."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._accept_in_background()

    def open(self) -> None:
        """Accept connections again, on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self._accept_in_background()

    def close(self) -> None:
        """Refuse connections, and cut those that are open."""
        # Shutting down wakes the thread that accepts; closing alone would leave it waiting and the port taken.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        while self._connections:
            with contextlib.suppress(OSError):
                self._connections.pop().shutdown(socket.SHUT_RDWR)

    def _accept_in_background(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target_port))
                self._connections += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=forward, args=(source, sink), daemon=True).start()


def forward(source: socket.socket, sink: socket.socket) -> None:
    """Copy bytes until either side ends."""
    with contextlib.suppress(OSError):
        while content := source.recv(1 << 16):
            sink.sendall(content)
    for side in (source, sink):
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
