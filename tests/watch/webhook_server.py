"""A webhook's receiver that misbehaves as it is told."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Receiver:
    """Answers with ``answers`` in turn (status, headers), then 200; ``hang`` holds each request so long.

    ``takes`` decides about a key whether it is taken, ``taken`` is called before that is answered.
    ``drip`` sends the answer byte by byte, with so long between; ``cut`` so many requests get no answer at all.
    """

    def __init__(self):
        self.requests = []
        self.answers = []
        self.hang = 0.0
        self.drip = 0.0
        self.cut = 0
        self.got = threading.Condition()
        self.takes = lambda _key: True
        self.taken = lambda _key: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def with_certificate(self, folder, *, host="127.0.0.1", days=1, newest=None):
        """Speak TLS, no newer than ``newest``, with a certificate that nobody has signed but itself."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if newest is not None:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = newest
        context.load_cert_chain(certificate(folder, host, days))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        return self.url.replace("http://", "https://")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, number, within=10.0):
        """The bodies, once there are ``number`` of them."""
        with self.got:
            assert self.got.wait_for(lambda: len(self.requests) >= number, within), f"only {len(self.requests)} came"
            return [json.loads(body) for _, body in self.requests]

    def _handler(self):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.hang:
                    time.sleep(receiver.hang)
                if receiver.drip:
                    _drip(self.wfile, receiver.drip)
                    return
                if receiver.cut:
                    receiver.cut -= 1
                    self.connection.close()
                    return
                if not receiver.takes(self.headers["Idempotency-Key"]):
                    self.connection.close()
                    return
                status, headers = receiver.answers.pop(0) if receiver.answers else (200, {})
                if status == 200:
                    with receiver.got:
                        receiver.requests.append((dict(self.headers), body))
                        receiver.got.notify_all()
                    receiver.taken(self.headers["Idempotency-Key"])
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Stay silent."""

        return Handler


def _drip(out, wait):
    """An answer byte by byte, until nobody reads any more."""
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000:
        try:
            out.write(bytes([byte]))
        except OSError:
            return
        time.sleep(wait)


def certificate(folder, host, days):
    """A file with a key and a self-signed certificate for ``host``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.timezone.utc)
    try:
        alternative = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path
