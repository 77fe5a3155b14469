"""Every profile is understood by Snakemake and its plugins, and plans the demo."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import DEMO, ROOT, Project

JOBS = {
    "data": 2,
    "captions": 3,
    "vocabulary": 1,
    "token_weights": 3,
    "train": 6,
    "code": 12,
    "metrics": 12,
    "anchors": 2,
    "report": 1,
}


class EmptyBucket(BaseHTTPRequestHandler):
    """Answers as Google's storage does for a bucket without objects."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        status, body = 200, b'{"name": "BUCKET", "items": []}'
        if "/o/" in path:
            status, body = 404, b'{"error": {"code": 404, "message": "no such object"}}'
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def empty_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Google's client asks a server on this machine and needs no account."""
    with ThreadingHTTPServer(("127.0.0.1", 0), EmptyBucket) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "PROJECT")
        yield
        server.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("empty_bucket")
@pytest.mark.parametrize("profile", sorted(p.parent.name for p in ROOT.glob("profiles/*/*.yaml")))
def test_a_profile_plans_the_demo(clone: Project, profile: str) -> None:
    dry = clone.run(
        *("snakemake", "--dry-run", "--profile", f"profiles/{profile}", "--configfile", DEMO)
    )
    assert dry.returncode == 0, dry.stderr
    lines = [line.split() for line in dry.stdout.splitlines()]
    counts = {words[0]: words[1] for words in lines if len(words) == 2 and words[1].isdigit()}
    assert {rule: int(counts[rule]) for rule in JOBS} == JOBS
    assert ("gs://BUCKET/declared/results/models" in dry.stdout) is (profile == "googlebatch")
