"""A chat endpoint of a test, in OpenAI's form: a function of the conversation says what the model says.

Used by workflows_test.py and script_samples_test.py. `decide(body)` is called on the thread of each request and gives a text, or a list
of (tool, arguments); it may wait. Answers are streamed in pieces, arguments of calls too. What a real server
would refuse of a conversation lands in `problems`.
"""
import http.server
import json
import threading


def last_user(body):
    """What the user said last, and the messages since."""
    messages = body["messages"]
    at = max(i for i, message in enumerate(messages) if message["role"] == "user")
    return messages[at]["content"], messages[at + 1:]


def problems_of(messages):
    """Calls and their results must stand side by side, and the conversation end with what asks."""
    problems, open_calls = [], set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                problems.append(f"a result without its call: {message}")
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            problems.append(f"no results of {open_calls} before {message}")
        open_calls = {call["id"] for call in message.get("tool_calls", [])}
    if open_calls or messages[-1]["role"] == "assistant":
        problems.append(f"it ends with {messages[-1]}")
    return problems


def pieces(text):
    half = len(text) // 2
    return [part for part in (text[:half], text[half:]) if part]


def deltas(said):
    """The pieces of an answer, and how it ends."""
    if isinstance(said, str):
        return [{"content": part} for part in pieces(said)], "stop"
    out = []
    for index, (name, arguments) in enumerate(said):
        out.append({"tool_calls": [{"index": index, "id": f"id-{index}", "type": "function",
                                    "function": {"name": name, "arguments": ""}}]})
        out += [{"tool_calls": [{"index": index, "function": {"arguments": part}}]}
                for part in pieces(json.dumps(arguments))]
    return out, "tool_calls"


class Model:
    def __init__(self, decide):
        self.decide = decide
        self.requests = []  # bodies, as they came
        self.problems = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def toml(self, name):
        return (f'[engines.{name}]\nurl = "http://127.0.0.1:{self.server.server_port}/v1"\nmodel = "m"\n'
                "context_tokens = 200000\n")

    def answer(self, request):
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        self.requests.append(body)
        self.problems += problems_of(body["messages"])
        try:
            parts, reason = deltas(self.decide(body))
            request.send_response(200)
            request.send_header("Content-Type", "text/event-stream")
            request.end_headers()
            for delta in parts:
                self.event(request, [{"index": 0, "delta": delta, "finish_reason": None}])
            self.event(request, [{"index": 0, "delta": {}, "finish_reason": reason}])
            request.wfile.write(b"data: [DONE]\n\n")
        except ConnectionError:
            pass  # whoever asked was killed
        except Exception as problem:
            self.problems.append(repr(problem))
            raise

    @staticmethod
    def event(request, choices):
        request.wfile.write(f"data: {json.dumps({'choices': choices})}\n\n".encode())
        request.wfile.flush()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
