"""A stand-in for the OpenAI API: chat completions, files and batches over real HTTP.

For the tests it misbehaves when told to and counts what it is asked. By hand, to try a study
without paying (set OPENAI_API_KEY=mock, and execution.api.base_url to the address that it prints):

    python tests/mock_openai.py --port 8123

It looks at an image's colours and no more. By hand it serves only models whose name starts with
`mock`, so that its captions can never pass for a real model's.
"""

import argparse
import asyncio
import base64
import hashlib
import io
import itertools
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

REFUSAL = "I'm sorry, but I can't assist with that request."
PLAIN = (
    b'{"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": "mock", '
    b'"choices": [{"index": 0, "message": {"role": "assistant", "content": "a caption"}, '
    b'"finish_reason": "stop"}], '
    b'"usage": {"prompt_tokens": 100, "completion_tokens": 3, "total_tokens": 103}}'
)
REASONS = {"length": "length", "filter": "content_filter"}


class MockOpenAI:
    """What the server knows and does.

    faults: for one chat request each, in their order: an HTTP status, (status, headers, code),
    "cut", "slow", "malformed", "no choices", "refusal", "words" (that refuse), "blank", "length",
    "filter"; anything else is none. always: the same for each when these are used up. headers: of
    one good answer each. batch_faults: for one batch each: "expired", "cancelled", "half" (of its
    requests fail), "nothing" (all do), "mixed" (lines twice and in another order), "split" (half of
    the answers are in the other file), "failed", "full" (the queue), "lost" (the reply to its
    creation). no_file: how a batch names a file that it has not. bad: sha256 of images (as sent)
    that are always refused. step_faults: of other requests, by method and path: an HTTP status,
    "cut", bytes to send instead, or None. before, after: called once when such a request has come,
    and when it has been obeyed but not replied to.

    paid: answers given, by sha256 of the image and by custom_id of batches. requests: of any kind,
    by method and path. most: chat requests in flight at once.
    """

    def __init__(self) -> None:
        self.models: re.Pattern[str] = re.compile(".*")
        self.latency = 0.0  # seconds of a chat request
        self.batch_seconds = 0.2
        self.faults: list[Any] = []
        self.always: Any = None
        self.batch_faults: list[str] = []
        self.no_file: str | None = None
        self.headers: list[dict[str, str]] = []
        self.bad: set[str] = set()
        self.step_faults: dict[str, list[Any]] = {}
        self.before: dict[str, Callable[[], object]] = {}
        self.after: dict[str, Callable[[], object]] = {}
        self.key: str | None = None  # the only right one
        self.image_tokens = 85  # as GPT-4o counts a low-detail image
        self.plain = False  # one answer without a look at the request, to measure clients with it
        self.paid: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.uploads: list[int] = []  # requests in each uploaded file
        self.bytes: list[int] = []  # and its size
        self.tokens_queued = self.most_tokens_queued = 0
        self.in_flight = self.most = 0
        self.files: dict[str, tuple[str, bytes]] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self._ids = itertools.count(1)

    def restart(self) -> None:
        """All batches are forgotten, and numbers are given once more."""
        self.batches.clear()
        self._ids = itertools.count(1)

    def finish(self, seconds: float = 0.0) -> None:
        """Every batch will have its answers in so many seconds."""
        for batch in self.batches.values():
            batch["_ready"] = time.monotonic() + seconds

    # -- requests --------------------------------------------------------------------------------

    async def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        """(status, headers, content), or a word: "cut"."""
        path, _, query = path.removeprefix("/v1").partition("?")
        what = f"{method} {re.sub(r'/(file|batch)-[0-9]+', '/ID', path)}"
        self.requests[what] += 1
        self.before.pop(what, lambda: None)()
        if faults := self.step_faults.get(what):
            fault = faults.pop(0)
            if isinstance(fault, bytes):
                return 200, {}, fault
            if fault is not None:
                return fault if fault == "cut" else _error(fault, "the server has trouble", None)
        reply = await self._obey(method, path, query, headers, body)
        self.after.pop(what, lambda: None)()
        return reply

    async def _obey(
        self, method: str, path: str, query: str, headers: dict[str, str], body: bytes
    ) -> Any:
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            sent = headers.get("authorization", "")
            return _error(401, f"Incorrect API key provided: {sent}", "invalid_api_key")
        if path == "/chat/completions":
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            try:
                return await self._chat(body)
            finally:
                self.in_flight -= 1
        parts = path.strip("/").split("/")
        if parts[0] == "files":
            return self._files(method, parts[1:], headers, body)
        if parts[0] == "batches":
            return self._batches(method, parts[1:], query, body)
        return _error(404, f"no such path: {path}", None)

    async def _chat(self, body: bytes) -> Any:
        fault = self.faults.pop(0) if self.faults else self.always
        if self.latency:
            await asyncio.sleep(self.latency)
        if isinstance(fault, int):
            return _error(fault, "the server has trouble", None)
        if isinstance(fault, tuple):
            status, headers, code = fault
            return _error(status, f"trouble: {code}", code, headers)
        if fault == "cut":
            return "cut"
        if fault == "slow":
            await asyncio.sleep(3600)
        if fault == "malformed":
            return 200, {}, b'{"choices": [{"mess'
        if self.plain:
            return 200, {}, PLAIN
        status, completion = self.complete(json.loads(body), fault)
        return status, self.headers.pop(0) if self.headers else {}, _json(completion)

    def complete(self, request: dict[str, Any], fault: str | None = None) -> tuple[int, Any]:
        """Status and body of a chat request."""
        if not self.models.fullmatch(request["model"]):
            _, _, content = _error(404, f"no model {request['model']}", "model_not_found")
            return 404, json.loads(content)
        text, image = request["messages"][0]["content"]
        url = image["image_url"]["url"]
        sha256 = hashlib.sha256(url.encode()).hexdigest()
        if sha256 in self.bad:
            _, _, content = _error(400, "unsupported image", "invalid_image")
            return 400, json.loads(content)
        number = self.paid[sha256] if request["temperature"] else 0
        self.paid[sha256] += 1
        words = caption(url, text["text"], number)
        message: dict[str, Any] = {"role": "assistant", "content": words, "refusal": None}
        if fault == "refusal":
            message |= {"content": None, "refusal": REFUSAL}
        elif fault == "words":
            message["content"] = REFUSAL
        elif fault == "blank":
            message["content"] = "  "
        choice = {"index": 0, "message": message, "finish_reason": REASONS.get(fault or "", "stop")}
        tokens = prompt_tokens(request) - 85 + self.image_tokens
        completion = min(request["max_tokens"], round(1.25 * len(words.split())))
        return 200, {
            "id": f"chatcmpl-{next(self._ids)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": request["model"],
            "choices": [] if fault == "no choices" else [choice],
            "usage": {
                "prompt_tokens": tokens,
                "completion_tokens": completion,
                "total_tokens": tokens + completion,
            },
        }

    def _files(self, method: str, parts: list[str], headers: dict[str, str], body: bytes) -> Any:
        if method == "POST":
            name, content = _upload(headers["content-type"], body)
            file = f"file-{next(self._ids)}"
            self.files[file] = (name, content)
            self.uploads.append(content.count(b"\n"))
            self.bytes.append(len(content))
            return 200, {}, _json(self._file(file))
        if not parts:
            return 200, {}, _list([self._file(file) for file in self.files])
        if parts[0] not in self.files:
            return _error(404, f"no such file: {parts[0]}", None)
        if method == "DELETE":
            del self.files[parts[0]]
            return 200, {}, _json({"id": parts[0], "object": "file", "deleted": True})
        return 200, {}, self.files[parts[0]][1]

    def _file(self, file: str) -> dict[str, Any]:
        name, content = self.files[file]
        about = {"id": file, "object": "file", "bytes": len(content), "filename": name}
        return about | {"created_at": 0, "purpose": "batch", "status": "processed"}

    def _batches(self, method: str, parts: list[str], query: str, body: bytes) -> Any:
        if method == "POST":
            return self._create(json.loads(body))
        for batch in self.batches.values():
            self._advance(batch)
        if not parts:
            ordered = [_public(batch) for batch in reversed(self.batches.values())]
            if "after=" in query:  # all are on the first page
                ordered = []
            return 200, {}, _list(ordered)
        if parts[0] not in self.batches:
            return _error(404, f"no such batch: {parts[0]}", None)
        return 200, {}, _json(_public(self.batches[parts[0]]))

    def _create(self, asked: dict[str, Any]) -> Any:
        fault = self.batch_faults.pop(0) if self.batch_faults else ""
        name = f"batch-{next(self._ids)}"
        content = self.files[asked["input_file_id"]][1]
        requests = [json.loads(line) for line in content.splitlines()]
        tokens = sum(prompt_tokens(request["body"]) for request in requests)
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": asked["endpoint"],
            "completion_window": asked["completion_window"],
            "created_at": int(time.time()),
            "input_file_id": asked["input_file_id"],
            "metadata": asked.get("metadata"),
            "status": "in_progress",
            "_fault": fault,
            "_ready": time.monotonic() + self.batch_seconds,
            "_requests": requests,
            "_tokens": tokens,
        }
        self.tokens_queued += tokens
        self.most_tokens_queued = max(self.most_tokens_queued, self.tokens_queued)
        return "cut" if fault == "lost" else (200, {}, _json(_public(self.batches[name])))

    def _advance(self, batch: dict[str, Any]) -> None:
        """Answer a batch once its time has come."""
        if batch["status"] != "in_progress" or time.monotonic() < batch["_ready"]:
            return
        fault, requests = batch["_fault"], batch["_requests"]
        self.tokens_queued -= batch["_tokens"]
        if fault in ("failed", "full"):
            code = "token_limit_exceeded" if fault == "full" else "invalid_request"
            batch["errors"] = {"object": "list", "data": [{"code": code, "message": f"is {fault}"}]}
            batch["status"] = "failed"
            return
        half = len(requests) // 2 if fault in ("expired", "cancelled", "half") else len(requests)
        half = 0 if fault == "nothing" else half
        good = [_line(request, *self.complete(request["body"])) for request in requests[:half]]
        for request in requests[:half]:
            self.paid[request["custom_id"]] += 1
        if fault == "half":
            bad = [_line(r, 500, {"error": {"message": "trouble"}}) for r in requests[half:]]
        else:
            bad = [_line(r, None, None, "batch_expired") for r in requests[half:]]
        if fault == "mixed":
            good = [*reversed(good), *good]
        if fault == "split":
            good, bad = good[: half // 2], good[half // 2 :]
        batch["status"] = fault if fault in ("expired", "cancelled") else "completed"
        batch["request_counts"] = {
            "total": len(requests),
            "completed": half,
            "failed": len(requests) - half,
        }
        for kind, lines in (("output", good), ("error", bad)):
            if lines:
                file = f"file-{next(self._ids)}"
                self.files[file] = (f"{kind}.jsonl", b"".join(lines))
                batch[f"{kind}_file_id"] = file
            else:
                batch[f"{kind}_file_id"] = self.no_file


def _line(request: dict[str, Any], status: int | None, body: Any, error: str = "") -> bytes:
    result = {
        "id": "batch_req",
        "custom_id": request["custom_id"],
        "response": status and {"status_code": status, "request_id": "req", "body": body},
        "error": {"code": error, "message": error} if error else None,
    }
    # As JSON may be written: with characters as they are, also those that end a line elsewhere.
    return json.dumps(result, ensure_ascii=False).encode() + b"\n"


def _public(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if not name.startswith("_")}


def _json(content: Any) -> bytes:
    return json.dumps(content).encode()


def _list(items: list[Any]) -> bytes:
    return _json({"object": "list", "data": items, "has_more": False})


def _error(status: int, message: str, code: str | None, headers: Any = None) -> Any:
    return status, headers or {}, _json({"error": {"message": message, "code": code, "type": "x"}})


def _upload(content_type: str, body: bytes) -> tuple[str, bytes]:
    """Name and content of the file in a multipart form."""
    boundary = content_type.partition("boundary=")[2].encode()
    for part in body.split(b"--" + boundary):
        head, _, content = part.partition(b"\r\n\r\n")
        if match := re.search(rb'filename="([^"]*)"', head):
            return match[1].decode(), content.removesuffix(b"\r\n")
    raise ValueError("no file in the form")


def prompt_tokens(request: dict[str, Any]) -> int:
    """As GPT-4o counts a low-detail image; a token is four characters."""
    return 85 + 12 + -(-len(request["messages"][0]["content"][0]["text"]) // 4)


# -- captions ------------------------------------------------------------------------------------

HUES = ("red", "orange", "yellow", "green", "teal", "blue", "violet", "pink")
SUBJECTS = (
    "a broad open scene with several objects in the middle distance",
    "a single subject that fills most of the frame",
    "a busy arrangement of shapes that overlap near the centre",
    "a quiet view with one clear focus and a simple backdrop",
    "a row of similar things that leads the eye from left to right",
)
DETAILS = (
    "Fine texture is visible near the lower edge, where the surface looks rough and uneven.",
    "The edges of the main shapes are crisp, while the area behind them is softly blurred.",
    "Small highlights suggest a light source above and to the left of the camera.",
    "A band of shadow crosses the lower third and gives the picture a sense of depth.",
    "Several repeated lines run through the picture and divide it into uneven parts.",
    "The corners are calm and carry little detail compared with the middle.",
    "Reflections hint at a smooth material, perhaps glass, water or polished metal.",
)
REASONING = (
    "From the way the light falls one may reason that it was taken during the day.",
    "The even exposure suggests that the photographer took time to compose the shot.",
    "Since nothing is blurred by motion, the subject was probably at rest.",
    "The high point of view implies that the camera was held above eye level.",
    "The choice of frame suggests that the surroundings matter as much as the subject.",
)


def caption(url: str, prompt: str, number: int) -> str:
    """A paragraph of some 130 words; the same for the same image, prompt and number."""
    content = base64.b64decode(url.partition("base64,")[2])
    with Image.open(io.BytesIO(content)) as image:
        image.draft("RGB", (64, 64))
        tiny = image.convert("RGB").resize((2, 2), Image.Resampling.BOX)
    places = ("upper left", "upper right", "lower left", "lower right")
    pixels = list(tiny.getdata())
    seed = hashlib.sha256(f"{number} {prompt} {url}".encode()).digest()
    pick = iter(seed)
    order = sorted(range(len(DETAILS)), key=lambda i: seed[8 + i])
    colours = ", ".join(
        f"{_colour(*pixel)} in the {place}" for pixel, place in zip(pixels, places, strict=True)
    )
    return " ".join(
        [
            f"The image shows {SUBJECTS[next(pick) % len(SUBJECTS)]}.",
            f"Its colours are {colours}.",
            *(DETAILS[i] for i in order[:4]),
            REASONING[next(pick) % len(REASONING)],
            "Taken together, these cues give the impression of an ordinary moment that was "
            "observed with care, and they help the viewer to imagine the place around it.",
        ]
    )


def _colour(red: int, green: int, blue: int) -> str:
    light = (
        "dark" if max(red, green, blue) < 85 else "bright" if min(red, green, blue) > 170 else ""
    )
    low, high = min(red, green, blue), max(red, green, blue)
    if high - low < 24:
        return f"{light} grey".strip()
    span = high - low
    if high == red:
        hue = (green - blue) / span % 6
    elif high == green:
        hue = (blue - red) / span + 2
    else:
        hue = (red - green) / span + 4
    return f"{light} {HUES[int(hue / 6 * len(HUES)) % len(HUES)]}".strip()


# -- HTTP ----------------------------------------------------------------------------------------


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with Content-Length and kept connections: light, to measure clients with it."""

    def __init__(self, mock: MockOpenAI) -> None:
        self.mock = mock
        self.buffer = bytearray()
        self.head: tuple[str, str, dict[str, str]] | None = None
        self.length = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.head is None:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
            method, path, _ = first.split(" ")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
            self.head = method, path, headers
            self.length = int(headers.get("content-length", 0))
            del self.buffer[: end + 4]
        if len(self.buffer) >= self.length:
            body, head = bytes(self.buffer[: self.length]), self.head
            del self.buffer[: self.length]
            self.head = None
            self.task = asyncio.get_running_loop().create_task(self._answer(*head, body))

    async def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        reply = await self.mock.answer(method, path, headers, body)
        if reply == "cut":
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{")
            self.transport.close()
            return
        status, more, content = reply
        kind = "application/json" if content[:1] in b"{[" else "application/octet-stream"
        lines = {"Content-Type": kind, "Content-Length": len(content), **more}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.transport.write(f"HTTP/1.1 {status} x\r\n{head}\r\n".encode() + content)


async def serve(mock: MockOpenAI, port: int) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Connection(mock), "127.0.0.1", port, backlog=512)


@contextmanager
def serving(port: int = 0) -> Iterator[tuple[MockOpenAI, str]]:
    """The server and its base_url, in a thread, for as long as the block runs."""
    mock, loop = MockOpenAI(), asyncio.new_event_loop()
    server = loop.run_until_complete(serve(mock, port))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield mock, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


async def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--latency", type=float, default=0.0, help="of a chat request [s]")
    parser.add_argument("--batch-seconds", type=float, default=2.0, help="until one is done")
    parser.add_argument("--plain", action="store_true", help="one answer to all")
    options = parser.parse_args()
    mock = MockOpenAI()
    mock.models = re.compile("mock.*")
    mock.latency, mock.batch_seconds = options.latency, options.batch_seconds
    mock.plain = options.plain
    try:
        server = await serve(mock, options.port)
    except OSError as error:
        parser.error(f"--port {options.port}: {error.strerror}; take another")
    port = server.sockets[0].getsockname()[1]
    print(f"execution: {{api: {{base_url: http://127.0.0.1:{port}/v1}}}}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
