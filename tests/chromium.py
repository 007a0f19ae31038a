"""A real Chromium without a display, driven through its DevTools protocol over two pipes: no package is needed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Browser", "find_chromium", "open_browser"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The browser's path, or None where none is installed."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page of a running browser; every problem that the page reports is kept in `problems`."""

    def __init__(self, send: int, receive: int) -> None:
        self._send = os.fdopen(send, "wb", buffering=0)
        self._receive = os.fdopen(receive, "rb")
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self._loaded = False
        self.problems: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._send.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            read = self._receive.read1(1 << 16)
            assert read, "the browser has ended"
            self._buffer += read
        message, _, self._buffer = self._buffer.partition(b"\0")
        event = json.loads(message)
        if event.get("method") == "Runtime.exceptionThrown":
            self.problems.append(event["params"]["exceptionDetails"]["text"])
        if event.get("method") == "Log.entryAdded":
            self.problems.append(event["params"]["entry"]["text"])
        self._loaded = self._loaded or event.get("method") == "Page.loadEventFired"
        return event

    def open(self, path: Path | str, width: int = 1200) -> None:
        """Open a file or an address in a window of a width in CSS pixels, and wait until it is loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
        )
        self._loaded = False
        self.call("Page.navigate", url=path if isinstance(path, str) else path.absolute().as_uri())
        while not self._loaded:
            self._next()

    def run(self, script: str) -> Any:
        """Return the value of a script's last expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, replMode=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 60) -> None:
        """Wait until an expression is true in the page.

        Raises:
            AssertionError: If it is not after so many seconds.
        """
        look = f"""new Promise((done) => {{
            const last = Date.now() + {1000 * seconds};
            const look = () => ({script}) ? done(true) : Date.now() > last ? done(false) : setTimeout(look, 10);
            look();
        }})"""
        answer = self.call("Runtime.evaluate", expression=look, returnByValue=True, awaitPromise=True)
        assert answer["result"].get("value") is True, f"{script} has not come true: {answer}"

    def drag(self, selector: str, way: Sequence[tuple[float, float]]) -> None:
        """Press the mouse on an element and move it along points, in shares of its width and height; then let go."""
        x, y, width, height = self.run(
            f"const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            "const b = e.getBoundingClientRect(); [b.x, b.y, b.width, b.height]"
        )
        points = [(x + right * width, y + down * height) for right, down in way]
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (across, down) in zip(kinds, [*points, points[-1]], strict=True):
            self.call("Input.dispatchMouseEvent", type=kind, x=across, y=down, button="left", buttons=1, clickCount=1)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key and let it go."""
        named = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **named)
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def click(self, selector: str) -> None:
        """Click on the middle of an element, with the mouse."""
        x, y = self.run(
            f"const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            "const b = e.getBoundingClientRect(); [b.x + b.width / 2, b.y + b.height / 2]"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])


@contextmanager
def open_browser(path: str, profile: Path) -> Iterator[Browser]:
    """Start a browser with a profile folder of its own, and end it afterwards."""
    its_input, send = os.pipe()
    receive, its_output = os.pipe()

    def connect() -> None:
        # The browser expects its pipes as descriptors 3 and 4, which may be taken, even by each other.
        first, second = os.dup(its_input), os.dup(its_output)
        os.dup2(first, 3)
        os.dup2(second, 4)

    flags = [
        "--headless=new",
        "--remote-debugging-pipe",
        f"--user-data-dir={profile}",
        "--disable-gpu",
        "--no-first-run",
    ]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")  # which root cannot have
    process = subprocess.Popen(
        [path, *flags], preexec_fn=connect, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(its_input)
    os.close(its_output)
    try:
        yield Browser(send, receive)
    finally:
        process.terminate()
        process.wait(timeout=30)
