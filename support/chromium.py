"""Debian's Chromium, headless, spoken to through a pipe: what a page looks like, says and complains of.

As a program: ``python tests/chromium.py PAGE FOLDER`` takes pictures of a page, on a phone and on a desk,
light and dark, and prints it.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

PHONE, DESK = 390, 1280
PATIENCE = 60.0  # seconds for one answer, on a machine with other things to do


def program() -> str | None:
    """Return where Chromium is, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One page of a browser of its own; as a context, which ends it."""

    def __init__(self) -> None:
        found = program()
        assert found is not None
        self.complaints: list[str] = []
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_read, self._write = _pipe()
        self._read, to_write = _pipe()
        command = [
            *("bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "bash", found, "--headless=new"),
            *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"),
            *("--no-first-run", "--hide-scrollbars", f"--user-data-dir={self._profile.name}"),
        ]
        self._process = subprocess.Popen(
            command,
            pass_fds=(to_read, to_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_read)
        os.close(to_write)

    def __enter__(self) -> Browser:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def call(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its answer; what the page complains of meanwhile is kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            came = self._next()
            if came.get("id") == self._number:
                assert "error" not in came, f"{method}: {came['error']}"
                return came["result"]

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            assert ready, "Chromium does not answer"
            piece = os.read(self._read, 1 << 20)
            assert piece, "Chromium ended"
            self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        came: dict[str, Any] = json.loads(text)
        self._listen(came)
        return came

    def _listen(self, came: dict[str, Any]) -> None:
        parameters = came.get("params", {})
        match came.get("method"):
            case "Log.entryAdded":
                self.complaints.append(parameters["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(parameters["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.complaints.append(str(parameters["args"]))
            case "Network.requestWillBeSent":
                if not parameters["request"]["url"].startswith(("file:", "data:", "about:")):
                    self.complaints.append(f"asked for {parameters['request']['url']}")

    def open(self, page: Path, width: int = DESK, *, dark: bool = False, media: str = "") -> None:
        """Show a file, and wait until its pictures are there."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=2 if width == PHONE else 1,
            mobile=width == PHONE,
        )
        self.call("Page.navigate", url=page.absolute().as_uri())
        until = time.monotonic() + PATIENCE
        while not self.ask(
            "document.readyState === 'complete' && location.protocol === 'file:' && "
            "[...document.images].every(i => i.complete)"
        ):
            assert time.monotonic() < until, "the page does not load"
            time.sleep(0.05)

    def ask(self, expression: str) -> Any:
        """Return what JavaScript makes of ``expression``."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def picture(self, path: Path) -> None:
        """Write the whole page as PNG."""
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, **self._whole())
        path.write_bytes(base64.b64decode(taken["data"]))

    def _whole(self) -> dict[str, Any]:
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {**{k: size[k] for k in ("x", "y", "width", "height")}, "scale": 1}}

    def pdf(self, path: Path) -> None:
        """Print the page."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"]))


def _pipe() -> tuple[int, int]:
    """Return a pipe above the numbers 3 and 4, at which Chromium expects its ends."""
    low = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in low]
    for end in low:
        os.close(end)
    return high[0], high[1]


def main() -> None:
    page, folder = (Path(argument) for argument in sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    with Browser() as browser:
        for name, width in (("phone", PHONE), ("desk", DESK)):
            for dark in (False, True):
                browser.open(page, width, dark=dark)
                browser.picture(folder / f"{name}-{'dark' if dark else 'light'}.png")
        browser.open(page)
        browser.pdf(folder / "page.pdf")
        sys.stdout.write("\n".join(browser.complaints))


if __name__ == "__main__":
    main()
