"""A restricted record of Zenodo, such as RAD-ChestCT: listed, downloaded with resuming, verified.

The token comes from the environment and goes into requests alone: never into a message, a log, a
config or a command line.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from pathlib import Path
from typing import Any, NoReturn

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry

from prdit.errors import UserError
from prdit.files import md5, sync

TOKEN = "ZENODO_RADCHESTCT_TOKEN"
"""Environment variable with a personal access token, or the token of a share link."""
TIMEOUT_S = (30, 120)
"""To connect; between two portions of an answer."""
LONGEST_WAIT_S = 3600
"""Zenodo counts requests by the minute and by the hour."""
ATTEMPTS = 8
"""In a row that bring nothing."""
PAUSE_S = 0.5
LONGEST_LIST = 1 << 26
"""Bytes of a list of files; that of RAD-ChestCT has some 2 MB."""
CHUNK = 1 << 16


class _Waiting(Retry):
    """Waits as long as a server that was asked too often says, but no longer than an hour."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        told = super().get_retry_after(response)
        reset = response.headers.get("X-RateLimit-Reset", "")
        if told is None and response.status == 429 and reset.isdigit():
            told = float(reset) - time.time()
        return None if told is None else min(max(told, 0), LONGEST_WAIT_S)


class _Bearer(AuthBase):
    """A personal token in the header; as `auth`, it goes to no other host, and no .netrc counts."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class Record:
    """One record, seen with the token of the environment if there is one."""

    def __init__(self, url: str, number: int) -> None:
        self.url = f"{url.rstrip('/')}/api/records/{number}"
        self.page = f"{url.rstrip('/')}/records/{number}"
        self.session = requests.Session()
        token = os.environ.get(TOKEN, "").strip()
        if not re.fullmatch(r"[!-~]*", token):
            raise UserError(f"{TOKEN} holds a space, a line break or a letter that no token has")
        self.has_token = bool(token)
        if token.count(".") == 2:  # a share link's, which Zenodo takes as part of the address only
            self.session.params = {"token": token}
        elif token:
            self.session.auth = _Bearer(token)
        logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # its warnings tell addresses
        retry = _Waiting(
            total=ATTEMPTS,
            connect=3,
            backoff_factor=PAUSE_S,
            status_forcelist=(429, 500, 502, 503, 504),
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, HTTPAdapter(max_retries=retry))

    def about(self) -> dict[str, Any]:
        """The record's own page: access and licence, which need no token."""
        return self._json(self.url)

    def files(self) -> dict[str, dict[str, Any]]:
        """{name: {size, checksum}} of all files. Raises UserError where they may not be seen."""
        try:
            entries = self._json(f"{self.url}/files")["entries"]
            found: dict[str, dict[str, Any]] = {
                str(e["key"]): {"size": int(e["size"]), "checksum": str(e["checksum"])}
                for e in entries
            }
            if any(one["size"] < 0 for one in found.values()):
                raise ValueError("a negative size")
        except (KeyError, TypeError, ValueError):
            raise UserError(
                f"the list of files of {self.page} cannot be understood; is it the right server?"
            ) from None
        if not found:
            self._refuse(403)
        return found

    def download(self, name: str, size: int, due: str, path: Path) -> None:
        """Bring one file to `path`, from where an earlier attempt ended; whole or not at all.

        Args:
            size: in bytes.
            due: its MD5.

        Raises:
            UserError: refused, broken off too often, or other bytes than the record tells of.
        """
        if path.is_file() and path.stat().st_size == size and md5(path) == due:
            return
        partial = path.with_name(f".{path.name}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        if _size(partial) > size:
            partial.unlink()
        in_vain = 0
        while (start := _size(partial)) < size and in_vain < ATTEMPTS:
            time.sleep(PAUSE_S * in_vain)
            self._append(name, partial, start, size)
            in_vain = 0 if _size(partial) > start else in_vain + 1
        if _size(partial) != size:
            raise UserError(
                f"{name} of {self.page} broke off at {_size(partial)} of {size} bytes, {ATTEMPTS}"
                " times; run the same command again, which goes on from there"
            )
        if md5(partial) != due:
            partial.unlink()
            raise UserError(
                f"{name} of {self.page} arrived with another MD5 than the record tells of; it was"
                " removed: run the same command again"
            )
        sync(partial)
        os.replace(partial, path)

    def _append(self, name: str, partial: Path, start: int, size: int) -> None:
        """Add what is missing from byte `start` on to a partial file, as far as the answer goes."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        answer = self._get(f"{self.url}/files/{name}/content", headers=headers)
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise UserError(f"{self.page} answers with a web page in place of {name}; try later")
        goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        try:
            with answer, partial.open("ab" if goes_on else "wb") as file:
                for chunk in answer.iter_content(CHUNK):
                    file.write(chunk)
                    if file.tell() > size:  # an answer without an end must not fill the disk
                        file.truncate(0)
                        raise UserError(
                            f"{name} of {self.page} is longer than the {size} bytes it should have"
                        )
        except requests.RequestException:
            return  # another request goes on from here
        except OSError as error:
            raise UserError(
                f"cannot write {partial}: {error.strerror or error}; mend that, then run the same"
                " command again, which goes on from there"
            ) from None

    def _json(self, url: str) -> dict[str, Any]:
        try:
            with self._get(url, headers={"Accept": "application/json"}) as answer:
                found = json.loads(answer.raw.read(LONGEST_LIST, decode_content=True))
        except (ValueError, HTTPError):
            raise UserError(f"{url} does not answer with JSON; is it the right server?") from None
        if not isinstance(found, dict):
            raise UserError(f"{url} does not answer as Zenodo does; is it the right server?")
        return found

    def _get(self, url: str, *, headers: dict[str, str]) -> requests.Response:
        try:
            answer = self.session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            # The kind alone: the error's words hold the address, and that may hold the token.
            raise UserError(
                f"{self.page} cannot be reached ({type(error).__name__}); check the connection to"
                " the internet, then run the same command again"
            ) from None
        if answer.status_code >= 400:
            answer.close()
            self._refuse(answer.status_code)
        return answer

    def _refuse(self, status: int) -> NoReturn:
        """What to do about an answer that is none."""
        if status == 404:
            raise UserError(f"{self.page} does not exist, or not with this file (404)")
        if status not in (401, 403):
            raise UserError(f"{self.page} answers {status}; run the same command again later")
        if not self.has_token:
            reason = "its files are restricted and no token is set"
        elif status == 401:
            reason = "the token is wrong or has expired (401)"
        else:
            reason = "the token gives no access to its files (403)"
        raise UserError(
            f"{self.page}: {reason}; request access on that page with an account of Zenodo, then"
            " put the token of the link that you are sent, or a personal access token, into the"
            f" environment variable {TOKEN}"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
