#!/usr/bin/python3
"""Engines elsewhere over TLS and through a proxy: who is trusted, what is sent, what the messages say.

Usage: tls_test.py BALEEN
The server answers with a stream that `transformers serve` gave (tests/data/remote/PROVENANCE.md); its
certificates are made here by openssl. The proxy only opens tunnels, so that what passes it is unreadable.
"""
import http.server
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
STREAM = (ROOT / "tests/data/remote/transformers_serve.sse").read_bytes()
KEY = "sk-a-key-that-nobody-may-see"


def run(*words):
    subprocess.run(words, check=True, capture_output=True)


def make_authority(folder, name):
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem", "-days", "2",
        "-subj", f"/CN={name}")


def make_certificate(folder, authority, name, host, days=2):
    """A certificate of `host`; with days = 0 one that is over when it is looked at."""
    (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{host}\n")
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
        folder / f"{name}.key", "-out", folder / f"{name}.csr", "-subj", f"/CN={host}")
    run("openssl", "x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / f"{authority}.pem",
        "-CAkey", folder / f"{authority}.key", "-CAcreateserial", "-out", folder / f"{name}.pem",
        "-days", str(days), "-extfile", folder / f"{name}.ext")


class Model(http.server.BaseHTTPRequestHandler):
    """An endpoint that says the same to everybody, and remembers the keys that it was shown."""

    keys = []

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Model.keys.append(self.headers.get("Authorization"))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(STREAM)))
        self.end_headers()
        self.wfile.write(STREAM)

    def log_message(self, *words):
        pass


class TlsServer(http.server.ThreadingHTTPServer):
    """The handshake is each connection's own: one that fails must not hold up the next."""

    daemon_threads = True

    def __init__(self, context):
        super().__init__(("127.0.0.1", 0), Model)
        self.context = context
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request, client_address):
        try:
            with self.context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except (ssl.SSLError, ConnectionError):
            pass


class Proxy:
    """Opens tunnels; `seen` has the first line of each request, and all bytes that went through."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lines, self.passed = [], b""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self._tunnel, args=(client,), daemon=True).start()

    def _tunnel(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(4096)
            if not piece:
                return
            head += piece
        line = head.split(b"\r\n")[0].decode()
        self.lines.append(line)
        if not line.startswith("CONNECT "):
            client.sendall(b"HTTP/1.1 405 Tunnels only\r\nContent-Length: 0\r\n\r\n")
            return client.close()
        host, port = line.split()[1].rsplit(":", 1)
        server = socket.create_connection((host, int(port)))
        client.sendall(b"HTTP/1.1 200 Go on\r\n\r\n")
        pair = [threading.Thread(target=self._copy, args=ends, daemon=True)
                for ends in ((client, server), (server, client))]
        for thread in pair:
            thread.start()

    def _copy(self, source, sink):
        try:
            while piece := source.recv(65536):
                self.passed += piece
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Sessions:
    def __init__(self, baleen, folder):
        self.baleen, self.folder, self.turns = baleen, folder, 0
        (folder / "key").write_text(KEY)
        os.chmod(folder / "key", 0o600)

    def turn(self, url, **settings):
        """How the turn of a new session on this endpoint ends: (state, text or error)."""
        self.turns += 1
        lines = {"url": url, "model": "m", "key_file": str(self.folder / "key"),
                 "context_tokens": 4096, "retries_max": 0, "connect_ms": 20000, **settings}
        config = self.folder / "baleen.toml"
        config.write_text("[engines.e]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in lines.items()))
        done = subprocess.run(
            [self.baleen, "chat", "--json", "--engine", "remote:e", "--session", f"s{self.turns}",
             "--config", config, "--data-dir", self.folder / "data", "--model", ROOT / "model/krill"],
            input="Hello\n", capture_output=True, text=True, timeout=120)
        assert KEY not in done.stdout + done.stderr, "the key was shown"
        for line in done.stdout.splitlines():
            event = json.loads(line)
            payload = event["payload"]
            payload = json.loads(payload) if isinstance(payload, str) else payload
            if event["kind"] == "turn_finished":
                return payload["state"], payload.get("text") or str(payload.get("error"))
        return "REFUSED", done.stderr


def text_of(stream):
    events = [json.loads(line[6:]) for line in stream.decode().splitlines() if line.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


def expect(what, got, state, *words):
    ok = got[0] == state and all(word in got[1] for word in words)
    print(f"{'ok' if ok else 'FAILED'}: {what}: {got[0]} {got[1][:160]!r}")
    return ok


def server_of(folder, name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return TlsServer(context).server_address[1]


def check(folder, baleen):
    make_authority(folder, "ours")
    make_authority(folder, "theirs")
    make_certificate(folder, "ours", "good", "localhost")
    make_certificate(folder, "ours", "elsewhere", "elsewhere.test")
    ours, theirs = str(folder / "ours.pem"), str(folder / "theirs.pem")
    good = f"https://localhost:{server_of(folder, 'good')}/v1"
    elsewhere = f"https://localhost:{server_of(folder, 'elsewhere')}/v1"
    proxy, sessions, answer = Proxy(), Sessions(baleen, folder), text_of(STREAM)
    through = f"http://127.0.0.1:{proxy.port}"
    results = [
        expect("a server of an authority that is named", sessions.turn(good, ca_file=ours), "SUCCEEDED", answer),
        expect("through a proxy", sessions.turn(good, ca_file=ours, proxy=through), "SUCCEEDED", answer),
    ]
    shown = list(Model.keys)
    results += [
        expect("an authority that nobody named", sessions.turn(good), "FAILED", "certificate"),
        expect("another authority", sessions.turn(good, ca_file=theirs), "FAILED", "certificate"),
        expect("another host's certificate", sessions.turn(elsewhere, ca_file=ours), "FAILED", "certificate"),
        expect("the same through a proxy", sessions.turn(elsewhere, ca_file=ours, proxy=through), "FAILED",
               "certificate"),
        expect("a proxy that isn't there", sessions.turn(good, ca_file=ours, proxy="http://127.0.0.1:1"),
               "FAILED", "connect"),
        expect("a file of authorities that isn't there", sessions.turn(good, ca_file=str(folder / "none")),
               "FAILED", "none"),
        # The key doesn't go where it could be read on the way.
        expect("a key in clear", sessions.turn("http://elsewhere.test/v1"), "REFUSED", "key_in_clear"),
    ]
    checks = {
        "the key was shown to the server, twice": shown == [f"Bearer {KEY}"] * 2,
        "to nobody else": Model.keys == shown,
        "the proxy opened tunnels to hosts by name": proxy.lines and all(
            line.startswith("CONNECT localhost:") for line in proxy.lines),
        "and read neither key nor words": KEY.encode() not in proxy.passed and b"Hello" not in proxy.passed,
    }
    for what, ok in checks.items():
        print(f"{'ok' if ok else 'FAILED'}: {what}")
    return all(results) and all(checks.values())


def main():
    with tempfile.TemporaryDirectory() as scratch:
        return 0 if check(pathlib.Path(scratch), pathlib.Path(sys.argv[1])) else 1


if __name__ == "__main__":
    sys.exit(main())
