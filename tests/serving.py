"""Servers on this machine that answer as the real ones do: a bucket of S3, a record of Zenodo."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PORTION = 1 << 18
TOKEN = "personal-secret-0123"
SHARE_LINK = "eyJhbGciOiJ.eyJpZCI6IjE.c2VjcmV0"


@dataclass
class Server:
    """What a server holds, how it misbehaves, and what it was asked for."""

    files: dict[str, bytes]
    """Bytes by key: `<uuid>/<name>.dcm` of a bucket, or the name of a record's file."""
    faults: dict[str, list[str]] = field(default_factory=dict)
    """By a part of the request's path: faults, one for each request, until there are no more."""
    restricted: bool = True
    slow: bool = False
    url: str = ""
    asked: list[str] = field(default_factory=list)
    """Method, path with query, and range of every request."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, path: str) -> str:
        with self.lock:
            for part, coming in self.faults.items():
                if part in path and coming:
                    return coming[0] if coming[0].startswith("always ") else coming.pop(0)
        return ""


class Handler(BaseHTTPRequestHandler):
    """What both kinds of server do: faults, and ranges of bytes."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "fake", ""
    held: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.held.asked.append(
            f"{self.command} {self.path} {self.headers.get('Range', '')}".strip()
        )
        fault = self.held.fault(self.path).removeprefix("always ")
        if fault.isdigit():
            self.reply(int(fault), self.words(int(fault)), retry=fault == "429")
        else:
            self.answer(urlsplit(self.path), fault)

    def words(self, status: int) -> bytes:
        return json.dumps({"status": status, "message": "no"}).encode()

    def reply(self, status: int, body: bytes, *, retry: bool = False, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if retry:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            for start in range(0, len(body), PORTION):
                self.wfile.write(body[start : start + PORTION])
                time.sleep(0.1 if self.held.slow else 0)

    def give(self, content: bytes, fault: str, **headers: str) -> None:
        """A file, or the range of it that was asked for; `close` breaks off half-way."""
        start, stop, status = 0, len(content), 200
        asked = self.headers.get("Range")
        if asked and fault != "no-range":
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1 if last else stop, stop)
            status = 206
            headers["Content_Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        body = content[start:stop]
        if fault == "flip" and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if fault == "close" and self.command == "GET":
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self.reply(status, body, **headers)

    def answer(self, asked: object, fault: str) -> None:
        raise NotImplementedError


class Bucket(Handler):
    """S3: listings (version 2) and objects, addressed as /bucket/key."""

    def words(self, status: int) -> bytes:
        code = {403: "AccessDenied", 404: "NoSuchKey", 429: "SlowDown"}.get(status, "InternalError")
        return f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()

    def answer(self, asked, fault: str) -> None:
        _, _, key = unquote(asked.path).lstrip("/").partition("/")
        if key and key in self.held.files:
            content = self.held.files[key]
            self.give(content, fault, ETag=f'"{md5(content)}"', Last_Modified=DATE)
        elif key:
            self.reply(404, self.words(404))
        else:
            prefix = parse_qs(asked.query).get("prefix", [""])[0]
            self.reply(200, self.listing(prefix), Content_Type="application/xml")

    def listing(self, prefix: str) -> bytes:
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2020-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{md5(content)}&quot;</ETag><Size>{len(content)}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for key, content in sorted(self.held.files.items())
            if key.startswith(prefix)
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult '
            'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>idc-open-data</Name>'
            f"<Prefix>{prefix}</Prefix><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>"
        ).encode()


class Record(Handler):
    """A restricted record of Zenodo: its page for all, its files for who has a token."""

    def answer(self, asked, fault: str) -> None:
        parts = [unquote(part) for part in asked.path.strip("/").split("/")]
        if parts[:2] != ["api", "records"] or parts[2] != "6406114":
            self.reply(404, self.words(404))
        elif len(parts) == 3:
            self.reply(200, json.dumps(self.about()).encode())
        elif self.refused(asked.query):
            self.reply(self.refused(asked.query), self.words(403))
        elif len(parts) == 4:
            self.reply(200, json.dumps({"enabled": True, "entries": self.entries()}).encode())
        elif fault == "page":
            self.reply(200, b"<html>please log in</html>", Content_Type="text/html")
        elif fault == "endless":
            self.give(self.held.files[parts[4]] + bytes(1 << 22), "no-range")
        elif parts[4] in self.held.files:
            self.give(self.held.files[parts[4]], fault, Content_Type="application/octet-stream")
        else:
            self.reply(404, self.words(404))

    def about(self) -> dict:
        status = "restricted" if self.held.restricted else "open"
        rights = [{"title": {"en": "Some licence"}}]
        return {"id": "6406114", "access": {"status": status}, "metadata": {"rights": rights}}

    def entries(self) -> list[dict]:
        return [
            {"key": name, "size": len(content), "checksum": f"md5:{md5(content)}"}
            for name, content in self.held.files.items()
        ]

    def refused(self, query: str) -> int:
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        link = parse_qs(query).get("token", [""])[0]
        if bearer == TOKEN or link == SHARE_LINK or not self.held.restricted:
            return 0
        return 401 if bearer else 403


DATE = "Wed, 01 Jan 2020 00:00:00 GMT"


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@contextmanager
def serve(kind: type[Handler], files: dict[str, bytes], **about: object) -> Iterator[Server]:
    """A server of a kind on a free port of this machine, until the block ends."""
    held = Server(files, **about)
    handler = type("Handler", (kind,), {"held": held})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    held.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
