"""A model that says what it is told to, in the streaming formats of four vendors. On loopback.

    python model_stub.py FOLDER

A program of its own, so that it can run in a network namespace that has no other host. It brings
loopback up there, serves on a free port of 127.0.0.1, and prints `ready PORT`.

FOLDER/steps.json is a list of what the model says next, and each request that offers tools takes
the first away: `{"text": "…"}`, or `{"tool": "NAME", "input": {…}}` for a tool call. With no step
left, and for the small requests beside (a title, a summary), it says "ok". Each request is a line
of FOLDER/requests.jsonl: `{"path": …, "body": …}`.
"""

import contextlib
import fcntl
import itertools
import json
import socket
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
LOCK = threading.Lock()
NUMBERS = itertools.count(1)
USAGE = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}


def bring_loopback_up() -> None:
    """In a new network namespace it is down, and `ip` is not installed everywhere."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        name = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(one, 0x8913, name))[1]  # SIOCGIFFLAGS
        with contextlib.suppress(PermissionError):  # then it is the machine's own, and up
            fcntl.ioctl(one, 0x8914, struct.pack("16sH14s", b"lo", flags | 1, b""))  # IFF_UP


def next_step(body: dict) -> dict:
    """What to say to this request, and note the request."""
    steps = FOLDER / "steps.json"
    with LOCK:
        left = json.loads(steps.read_text()) if steps.exists() else []
        if not body.get("tools") or not left:
            return {"text": "ok"}
        steps.write_text(json.dumps(left[1:]))
        return left[0]


def anthropic(step: dict, body: dict) -> list[tuple[str, dict]]:
    number = next(NUMBERS)
    message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "content": []}
    message |= {"model": body.get("model", "stub"), "stop_reason": None, "stop_sequence": None}
    message["usage"] = {"input_tokens": 1, "output_tokens": 1}
    if "tool" in step:
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": step["tool"], "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(step["input"])}
        why = "tool_use"
    else:
        block, why = {"type": "text", "text": ""}, "end_turn"
        delta = {"type": "text_delta", "text": step["text"]}
    end = {"stop_reason": why, "stop_sequence": None}
    events = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    return [(event["type"], event) for event in events]


def responses(step: dict, body: dict) -> list[tuple[str, dict]]:
    number = next(NUMBERS)
    if "tool" in step:
        item = {"type": "function_call", "call_id": f"call_{number}", "name": step["tool"]}
        item["arguments"] = json.dumps(step["input"])
        item |= {"namespace": step["namespace"]} if "namespace" in step else {}  # Codex' MCP tools
    else:
        item = {"type": "message", "role": "assistant"}
        item["content"] = [{"type": "output_text", "text": step["text"], "annotations": []}]
    item["id"] = f"item_{number}"
    about = {"id": f"resp_{number}"}
    events = [
        {"type": "response.created", "response": about},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": about | {"usage": USAGE, "output": [item]}},
    ]
    return [(event["type"], event) for event in events]


def chat(step: dict, body: dict) -> list[tuple[str, dict]]:
    number = next(NUMBERS)
    if "tool" in step:
        call = {"name": step["tool"], "arguments": json.dumps(step["input"])}
        calls = [{"index": 0, "id": f"call_{number}", "type": "function", "function": call}]
        delta, why = {"role": "assistant", "tool_calls": calls}, "tool_calls"
    else:
        delta, why = {"role": "assistant", "content": step["text"]}, "stop"
    about = {"id": f"chat_{number}", "object": "chat.completion.chunk", "created": 0}
    about["model"] = body.get("model", "stub")
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    first = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": why}], "usage": usage}
    return [("", about | first), ("", about | last)]


def gemini(step: dict, body: dict) -> list[tuple[str, dict]]:
    if "tool" in step:
        part = {"functionCall": {"name": step["tool"], "args": step["input"]}}
    else:
        part = {"text": step["text"]}
    content = {"role": "model", "parts": [part]}
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    candidate = {"content": content, "finishReason": "STOP", "index": 0}
    return [("", {"candidates": [candidate], "usageMetadata": usage})]


# By the end of the path: how the vendor of this format says a step.
FORMATS = {
    "/messages": anthropic,
    "/responses": responses,
    "/chat/completions": chat,
    ":streamGenerateContent": gemini,
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer("application/json", b'{"data": [], "models": [], "object": "list"}')

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(raw or b"{}")
        except ValueError:  # telemetry, in whatever form
            body = {}
        path = self.path.partition("?")[0]
        with LOCK, (FOLDER / "requests.jsonl").open("a") as file:
            file.write(json.dumps({"path": self.path, "body": body}) + "\n")
        form = next((FORMATS[end] for end in FORMATS if path.endswith(end)), None)
        if form and (body.get("stream") or form is gemini):
            lines = []
            for name, event in form(next_step(body), body):
                lines += [f"event: {name}\n" if name else "", f"data: {json.dumps(event)}\n\n"]
            lines.append("data: [DONE]\n\n" if form is chat else "")
            self.answer("text/event-stream", "".join(lines).encode())
        else:
            self.answer("application/json", json.dumps(at_once(path)).encode())

    def answer(self, kind: str, text: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the client is gone
            self.wfile.write(text)


def at_once(path: str) -> dict:
    """The answer to a small request that wants no stream; {} is enough for anything else."""
    if path.endswith("/messages"):
        content = {"content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn"}
        return anthropic({"text": "ok"}, {})[0][1]["message"] | content
    if path.endswith("/count_tokens"):
        return {"input_tokens": 1}
    if path.endswith(":countTokens"):
        return {"totalTokens": 1}
    return gemini({"text": "ok"}, {})[0][1] if path.endswith(":generateContent") else {}


if __name__ == "__main__":
    bring_loopback_up()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print("ready", server.server_address[1], flush=True)
    server.serve_forever()
