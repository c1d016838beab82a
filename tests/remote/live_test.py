#!/usr/bin/python3
"""Sessions on a live server that nobody here wrote: `transformers serve`, from PyPI.

Usage: live_test.py BALEEN [--python PYTHON] [--seed N] [--record FILE]
PYTHON has transformers[serving]; without it, a virtual environment beside BALEEN is made and filled.
The server gets a tiny random Llama that is made here. What a session is told must be, text for text,
what the same server tells a plain HTTP client. Exit status 77: the server can't be had here.
"""
import argparse
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAKE_MODEL = r"""
import sys, torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
folder, seed = sys.argv[1], int(sys.argv[2])
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
vocabulary = {symbol: i for i, symbol in enumerate(alphabet)}
tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")
fast.chat_template = ("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
                      "{% if add_generation_prompt %}assistant: {% endif %}")
fast.save_pretrained(folder)
torch.manual_seed(seed)
config = LlamaConfig(vocab_size=len(fast), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                     num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096,
                     eos_token_id=fast.eos_token_id, pad_token_id=fast.eos_token_id)
# ASCII only: a random model's bytes would rarely be text.
model = LlamaForCausalLM(config)
letters = [i for s, i in fast.get_vocab().items() if len(s) == 1 and (s.isascii() or s == "\u0120")]
with torch.no_grad():
    model.lm_head.weight.mul_(20)
    for i in range(config.vocab_size):
        if i not in letters: model.lm_head.weight[i] = 0
model.save_pretrained(folder)
"""


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("baleen", type=pathlib.Path)
    parser.add_argument("--python")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", help="keep one stream as it came over the wire")
    return parser.parse_args()


def skip(why):
    print(f"SKIPPED: {why}", file=sys.stderr)
    sys.exit(77)


def python_with_server(arguments):
    if arguments.python:
        return arguments.python
    folder = arguments.baleen.resolve().parent.parent / "live-venv"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        made = subprocess.run([sys.executable, "-m", "venv", folder], capture_output=True, text=True)
        if made.returncode != 0:
            skip(f"no virtual environment (python3-venv): {made.stdout}")
        filled = subprocess.run([python, "-m", "pip", "install", "-q", "transformers[serving]==5.23.0"],
                                capture_output=True, text=True, timeout=1800)
        if filled.returncode != 0:
            skip(f"transformers[serving] can't be installed: {filled.stderr[-400:]}")
        (folder / "complete").touch()
    return str(python)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(url, body):
    request = urllib.request.Request(url + "/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read()


def text_of(stream):
    text = ""
    for line in stream.decode().splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                text += choice["delta"].get("content") or ""
    return text


def wait_for(url, model, server):
    for _ in range(240):
        if server.poll() is not None:
            skip(f"the server ended with {server.returncode}")
        try:
            return ask(url, {"model": model, "messages": [{"role": "user", "content": "x"}],
                             "max_tokens": 1, "stream": True})
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    skip("the server doesn't answer")


class Sessions:
    def __init__(self, arguments, folder, url, model):
        self.program = [str(arguments.baleen)]
        self.data = folder / "data"
        self.config = folder / "baleen.toml"
        self.config.write_text(f'[engines.live]\nurl = "{url}"\nmodel = "{model}"\n'
                               "context_tokens = 4096\n")

    def run(self, *words, text=None):
        done = subprocess.run([*self.program, *words, "--config", str(self.config), "--data-dir",
                               str(self.data), "--model",
                               str(ROOT / "model/krill")], input=text, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done

    def turn(self, session, words):
        events = self.run("chat", "--json", "--engine", "remote:live", "--session", session,
                          "--temperature", "0", "--max-tokens", "24", text=words + "\n").stdout
        answer = None
        for line in events.splitlines():
            event = json.loads(line)
            payload = event["payload"]
            payload = json.loads(payload) if isinstance(payload, str) else payload
            if event["kind"] == "generated":
                answer = payload["event"]["message"]["content"]
            if event["kind"] == "turn_finished":
                assert payload["state"] == "SUCCEEDED", payload
        return answer


def main():
    arguments = parse()
    print(f"seed {arguments.seed}", file=sys.stderr)
    python = python_with_server(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        model = str(folder / "model")
        made = subprocess.run([python, "-c", MAKE_MODEL, model, str(arguments.seed)],
                              capture_output=True, text=True, timeout=600)
        if made.returncode != 0:
            skip(f"no tiny model: {made.stderr[-400:]}")
        port = free_port()
        url = f"http://127.0.0.1:{port}/v1"
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        server = subprocess.Popen(
            [python, "-c", "from transformers.cli.transformers import main; main()", "serve", model,
             "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(url, model, server)
            check(arguments, folder, url, model)
        finally:
            server.terminate()
            server.wait(30)


def check(arguments, folder, url, model):
    sessions = Sessions(arguments, folder, url, model)
    history = []
    for words in ("Hello there", "And now?", "Once more"):
        history.append({"role": "user", "content": words})
        stream = ask(url, {"model": model, "messages": history, "temperature": 0.0, "max_tokens": 24,
                           "stream": True})
        if arguments.record and len(history) == 1:
            pathlib.Path(arguments.record).write_bytes(stream)
        expected = text_of(stream)
        answer = sessions.turn("s", words)
        assert answer == expected, (answer, expected)
        assert answer, "the server wrote nothing"
        history.append({"role": "assistant", "content": answer})
    # A fork behind the first turn goes its own way.
    sessions.run("sessions", "fork", "s", "--turn", "t1", "--id", "f")
    fork = history[:2] + [{"role": "user", "content": "Otherwise"}]
    expected = text_of(ask(url, {"model": model, "messages": fork, "temperature": 0.0,
                                 "max_tokens": 24, "stream": True}))
    assert sessions.turn("f", "Otherwise") == expected
    refused = subprocess.run([str(arguments.baleen), "sessions", "prefetch", "s", "--config",
                              str(sessions.config), "--data-dir", str(sessions.data), "--model",
                              str(ROOT / "model/krill")],
                             capture_output=True, text=True, timeout=60)
    assert refused.returncode != 0 and "no KV here" in refused.stderr, refused.stderr
    print("4 turns, text for text as a plain client gets them; a fork; KV said not to apply")


main()
