"""Real Chromium, driven through a pipe by its DevTools protocol: real keys, mouse and sizes."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]


class Browser:
    """One page of a headless Chromium. Commands go to its descriptor 3, answers come from 4."""

    def __init__(self, profile: Path) -> None:
        theirs_in, self._to = os.pipe()
        from_them, theirs_out = os.pipe()
        # The child wants its ends as 3 and 4, whatever their numbers are here.
        command = " ".join([f"exec {CHROMIUM}", *FLAGS, f"--user-data-dir='{profile}'"])
        self._process = subprocess.Popen(
            ["bash", "-c", f"{command} 3<&{theirs_in} 4>&{theirs_out}"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._from = os.fdopen(from_them, "rb", buffering=0)
        self._rest = b""
        self._number = 0
        self._session = ""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        attached = self("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self("Page.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._from.close()
        os.close(self._to)

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer. Raises RuntimeError when it is refused."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = self._from.read(1 << 16)
            if not part:
                raise RuntimeError("chromium has ended")
            self._rest += part
        line, self._rest = self._rest.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def open(self, page: Path, width: int, height: int = 800) -> None:
        """Load a file at a window's size and wait for its pictures."""
        phone = width < 600
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=phone,
        )  # fmt: skip
        self("Page.navigate", url=page.resolve().as_uri())
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def run(self, script: str) -> Any:
        """The value of an expression; promises are awaited."""
        found = self("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def key(self, name: str, code: int) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code)

    def drag(self, x: float, y: float, to: float) -> None:
        """Press the mouse at (x, y), move to x = `to`, release."""
        for kind, at, buttons in (
            ("mousePressed", x, 1),
            ("mouseMoved", (x + to) / 2, 1),
            ("mouseMoved", to, 1),
            ("mouseReleased", to, 0),
        ):
            self(
                "Input.dispatchMouseEvent",
                type=kind, x=at, y=y, button="left", buttons=buttons, clickCount=1,
            )  # fmt: skip

    def touch(self, x: float, y: float) -> None:
        self("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def screenshot(self, path: Path) -> None:
        """The whole page."""
        found = self("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))
