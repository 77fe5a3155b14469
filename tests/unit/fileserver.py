"""A real HTTP server of a few files, that misbehaves when told to and counts what it sends."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FileServer:
    """files: content by path; below /moved it redirects to the same path without that.

    headers: more headers by path. ranges: whether it can continue in the middle. behave: what to
    do instead of answering well, for one request each: an HTTP status, "cut" (half of it, then
    the end) or "stall" (half of it, then nothing). requests: path and Range header of each GET.
    sent: bytes of content.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.headers: dict[str, dict[str, str]] = {}
        self.ranges = True
        self.behave: list[Any] = []
        self.requests: list[tuple[str, str]] = []
        self.sent = 0
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            def do_HEAD(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        if path.startswith("/moved/"):
            self.head(handler, 302, 0, {"Location": path.removeprefix("/moved")})
            return
        content = self.files.get(path)
        how = "well"
        if handler.command == "GET":
            self.requests.append((path, handler.headers.get("Range", "")))
            how = self.behave.pop(0) if self.behave else "well"
        if isinstance(how, int) or content is None:
            status = how if isinstance(how, int) else 404
            self.head(handler, status, 0, self.headers.get(path, {}))
            return
        match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        headers = dict(self.headers.get(path, {}))
        body = content
        if match and self.ranges:
            body = content[int(match[1]) :]
            span = f"bytes {match[1]}-{len(content) - 1}/{len(content)}"
            self.head(handler, 206, len(body), headers | {"Content-Range": span})
        else:
            self.head(handler, 200, len(body), headers)
        if handler.command == "HEAD":
            return
        if how in ("cut", "stall"):
            body = body[: len(body) // 2]
            handler.close_connection = True
        handler.wfile.write(body)
        self.sent += len(body)
        if how == "stall":
            self.closing.wait()

    @staticmethod
    def head(
        handler: BaseHTTPRequestHandler, status: int, length: int, headers: dict[str, str]
    ) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[FileServer]:
    """A server on this machine for as long as the block runs."""
    server = FileServer(files)
    threading.Thread(target=server.http.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.closing.set()
        server.http.shutdown()
        server.http.server_close()
