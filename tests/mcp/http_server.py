#!/usr/bin/python3
"""An MCP server over streamable HTTP that behaves as it is told. Prints its port, ends with its input.

Usage: http_server.py MANNER TRACE
"""
import http.server
import json
import os
import sys
import threading
import time

MANNER, TRACE = sys.argv[1], sys.argv[2]
STATELESS = "2026-07-28"
sessions = set()
answered = threading.Event()


class Endpoint(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body=b"", kind="application/json", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if body:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def message(self, **more):
        return json.dumps({"jsonrpc": "2.0", **more}).encode()

    def do_DELETE(self):
        self.trace("DELETE")
        self.reply(200)

    def trace(self, what):
        names = ("mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name", "mcp-param-a", "authorization")
        seen = " ".join(f"{name}={self.headers[name]}" for name in names if self.headers[name])
        with open(TRACE, "a") as file:
            file.write(f"{what} {seen}\n")

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method, number = request.get("method", "an answer"), request.get("id")
        self.trace(method)
        if MANNER == "redirects":
            return self.reply(307, Location="http://127.0.0.1:1/elsewhere")
        if MANNER == "wants_key" and self.headers["Authorization"] != "Bearer right":
            return self.reply(401, b"who are you?", "text/plain")
        if method == "server/discover":
            if MANNER != "stateless":
                return self.reply(400, b"Bad Request: Missing session ID", "text/plain")
            return self.reply(200, self.message(id=number, result={
                "supportedVersions": [STATELESS], "capabilities": {"tools": {}},
                "serverInfo": {"name": "new", "version": "2"}}))
        if method == "initialize":
            session = f"s{len(sessions)}"
            sessions.add(session)
            return self.reply(200, self.message(id=number, result={
                "protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                "serverInfo": {"name": "web", "version": "1"}}), Mcp_Session_Id=session)
        if MANNER != "stateless" and self.headers["Mcp-Session-Id"] not in sessions:
            return self.reply(404, self.message(id=number, error={"code": -32001, "message": "no session"})
                              if MANNER == "says_why" else b"")
        if number is None or method == "an answer":
            if method == "an answer":
                answered.set()
            return self.reply(202)
        if method == "tools/list":
            schema = {"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "A"}}}
            return self.reply(200, self.message(id=number, result={
                "tools": [{"name": "echo", "description": "Says it", "inputSchema": schema}]}))
        return self.call(number, request["params"])

    def call(self, number, params):
        token = params.get("_meta", {}).get("progressToken")
        said = {"content": [{"type": "text", "text": params["arguments"].get("a", "")}]}
        if MANNER == "forgets":
            if len(sessions) == 1:
                sessions.clear()
                sessions.add("another")
                return self.reply(404)
            return self.reply(200, self.message(id=number, result=said))
        if MANNER == "fails":
            return self.reply(500, b"on fire", "text/plain")
        if MANNER == "lies":
            return self.reply(200, b"<html>", "text/html")
        if MANNER == "cuts":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"data: {\"jsonrpc\": \"2.0\", \"meth")
            self.close_connection = True
            return None
        if MANNER == "floods":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"data: " + self.message(method="notifications/message",
                                                              params={"data": "x" * 60000}) + b"\n\n")
            except OSError:
                return None
        events = [self.message(method="notifications/progress", params={"progressToken": token, "progress": 1}),
                  b"not json", self.message(id="p", method="ping"),
                  self.message(id=number + 1000, result=said), self.message(id=number, result=said)]
        if MANNER == "hangs":
            time.sleep(3600)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b": hello\n\n")
        for event in events:
            self.wfile.write(b"event: message\ndata: " + event + b"\n\n")
            if b"ping" in event and MANNER == "plain":
                answered.wait(60)
        self.close_connection = True
        return None


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
os._exit(0)
