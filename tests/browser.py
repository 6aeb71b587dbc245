"""A headless Chromium that is spoken to over two pipes (Chrome DevTools Protocol)."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--headless=new", "--no-sandbox", "--hide-scrollbars", "--window-size=1400,900"),
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--remote-debugging-pipe"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
]


class Browser:
    """One page: what it logs, what it asks for, what it says and looks like."""

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None
        to_read, self.to_write = os.pipe()
        self.from_read, to_write = os.pipe()

        def give_pipes() -> None:
            high = os.dup(to_read), os.dup(to_write)  # either may be 3 or 4 itself
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            preexec_fn=give_pipes,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self.number, self.waiting = 0, b""
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(one["targetId"] for one in targets if one["type"] == "page")
        found = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self.session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **about: Any) -> dict[str, Any]:
        self.number += 1
        told = {"id": self.number, "method": method, "params": about}
        told |= {"sessionId": self.session} if self.session else {}
        os.write(self.to_write, json.dumps(told).encode() + b"\0")
        while True:
            answer = self.receive(60)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def receive(self, seconds: float) -> dict[str, Any]:
        while b"\0" not in self.waiting:
            ready, _, _ = select.select([self.from_read], [], [], seconds)
            assert ready, "the browser does not answer"
            self.waiting += os.read(self.from_read, 1 << 20)
        message, self.waiting = self.waiting.split(b"\0", 1)
        return dict(json.loads(message))

    def open(self, path: Path) -> None:
        self.call("Page.navigate", url=path.resolve().as_uri())

    def value(self, expression: str) -> Any:
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < end, (expression, self.troubles())
            time.sleep(0.2)

    def scroll(self, x: float, y: float, by: float) -> None:
        about = {"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": by}
        self.call("Input.dispatchMouseEvent", **about)

    def screenshot(self, path: Path | None = None) -> bytes:
        content = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return content

    def troubles(self) -> list[str]:
        """Errors and exceptions that the page logged."""
        found = []
        for event in self.events:
            told = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(told["exceptionDetails"]))
            if event["method"] == "Log.entryAdded" and told["entry"]["level"] == "error":
                found.append(str(told["entry"]["text"]))
            if event["method"] == "Runtime.consoleAPICalled" and told["type"] == "error":
                found.append(str(told["args"]))
        return found

    def asked_for(self) -> set[str]:
        """Kinds of addresses that the page loaded: "file", "data", ..."""
        requests = [e for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return {one["params"]["request"]["url"].split(":")[0] for one in requests}

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.to_write)
        os.close(self.from_read)
