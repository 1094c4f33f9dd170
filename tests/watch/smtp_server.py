"""A mail server for one test: what it was told, with TLS and logins as it is asked to have them."""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading


class MailServer:
    """Keeps ``mails`` and ``logins``; ``tls`` a context for TLS from the beginning, ``starttls`` one for later."""

    def __init__(self, *, tls=None, starttls=None, refuses_token=False):
        self.mails, self.logins = [], []
        self.tls, self.starttls, self.refuses_token = tls, starttls, refuses_token
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Session)
        self._server.daemon_threads = True
        self._server.office = self
        self.port = self._server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


class _Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.office = self.server.office
        try:
            if self.office.tls is not None:
                self.secure(self.office.tls)
            self.say("220 test")
            while (line := self.rfile.readline().decode().strip()) and self.answer(line):
                pass
        except OSError:
            pass  # the client did not trust the certificate, and is gone
        finally:
            self.request.close()

    def finish(self):
        self.rfile.close()

    def secure(self, context):
        self.request = context.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
        self.request.do_handshake()
        self.rfile.close()
        self.setup()

    def say(self, line):
        self.request.sendall(f"{line}\r\n".encode())

    def answer(self, line):
        verb, *words = line.split()
        say = getattr(self, f"on_{verb.lower()}", lambda *_: self.say("250 ok"))
        say(*words)
        return verb.upper() != "QUIT"

    def on_ehlo(self, *_):
        self.say("250-test")
        if self.office.starttls is not None and not isinstance(self.request, ssl.SSLSocket):
            self.say("250-STARTTLS")
        self.say("250 AUTH PLAIN XOAUTH2")

    def on_starttls(self):
        self.say("220 go")
        self.secure(self.office.starttls)

    def on_auth(self, kind, said):
        self.office.logins.append((kind, base64.b64decode(said).decode()))
        self.say("535 5.7.8 no" if self.office.refuses_token else "235 ok")

    def on_data(self):
        self.say("354 go on")
        self.office.mails.append(b"".join(iter(self.rfile.readline, b".\r\n")).decode())
        self.say("250 taken")

    def on_quit(self):
        self.say("221 bye")
