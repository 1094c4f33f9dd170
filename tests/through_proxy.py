"""A forward proxy that wants a login, and a service behind it that only the proxy can reach."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from typing import TYPE_CHECKING

from local_server import LocalServer

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

__all__ = ["ForwardProxy", "Service"]


class Service(LocalServer):
    """Keeps each request as (method, path, body); ``answers`` gives the answer to a path, else an empty object."""

    def __init__(self, certificate=None, answers=()):
        self.requests: list[tuple[str, str, str]] = []
        self._certificate = certificate
        self._answers = dict(answers)

    def __enter__(self):
        super().__enter__()
        if self._certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        return self

    @property
    def port(self):
        return self._server.server_port

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        length = request.headers.get("content-length")
        body = request.rfile.read(int(length or 0))
        self.requests.append((request.command, request.path, body.decode()))
        status, answer = self._answers.get(request.path, (200, {}))
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("content-type", "application/json")
        request.send_header("x-elastic-product", "Elasticsearch")
        request.send_header("content-length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)


class ForwardProxy(threading.Thread):
    """Serves CONNECT and absolute addresses for ``user:password``, and takes every host to 127.0.0.1:``port``."""

    def __init__(self, login: str, port: int) -> None:
        super().__init__(daemon=True)
        self.asked: list[str] = []
        self.refused = 0
        self._login = b"basic " + base64.b64encode(login.encode())
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                inner, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(inner,), daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self, inner: socket.socket) -> None:
        with inner:
            head = b""
            while b"\r\n\r\n" not in head:
                more = inner.recv(65536)
                if not more:
                    return
                head += more
            head, _, rest = head.partition(b"\r\n\r\n")
            first, *headers = head.split(b"\r\n")
            method, target, _ = first.split(b" ", 2)
            login = next((h.split(b":", 1)[1].strip() for h in headers if h.lower().startswith(b"proxy-auth")), b"")
            if login[:6].lower() + login[6:] != self._login:
                self.refused += 1
                inner.sendall(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=corp\r\n"
                    b"content-length: 0\r\nconnection: close\r\n\r\n"
                )
                return
            self.asked.append(f"{method.decode()} {target.decode()}")
            with socket.create_connection(("127.0.0.1", self._to)) as outer:
                if method == b"CONNECT":
                    inner.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    outer.sendall(rest)
                else:
                    path = b"/" + target.split(b"/", 3)[3]
                    kept = [h for h in headers if not h.lower().startswith((b"proxy-", b"connection"))]
                    lines = [b"%b %b HTTP/1.1" % (method, path), *kept, b"connection: close"]
                    outer.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + rest)
                threading.Thread(target=_copy, args=(inner, outer), daemon=True).start()
                if method != b"CONNECT":  # one request a connection, and the client hears of it
                    status, _, rest = outer.recv(65536).partition(b"\r\n")
                    inner.sendall(status + b"\r\nconnection: close\r\n" + rest)
                _copy(outer, inner)


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while part := source.recv(65536):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
