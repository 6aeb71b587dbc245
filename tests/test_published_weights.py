"""Published weights: fetched whole or not at all, from a server on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from prdit import published_weights as weights
from prdit.errors import UserError


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "hub"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/resnet_50.pth"
    monkeypatch.setitem(weights.SOURCES, "resnet_50.pth", address)
    yield folder
    server.shutdown()


def test_a_file_arrives(hub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (hub / "resnet_50.pth").write_bytes(b"weights")
    weights.run(weights=[tmp_path / "new" / "resnet_50.pth"])
    assert (tmp_path / "new" / "resnet_50.pth").read_bytes() == b"weights"
    assert "sha256 " in capsys.readouterr().out


def test_what_does_not_arrive_leaves_nothing(hub: Path, tmp_path: Path) -> None:
    assert not list(hub.iterdir())
    with pytest.raises(UserError, match=r"cannot fetch http.*resnet_50.pth .*; bring it to"):
        weights.run(weights=[tmp_path / "new" / "resnet_50.pth"])
    assert not list((tmp_path / "new").iterdir())


def test_a_name_that_nobody_publishes(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"nobody publishes a mine.pth that is known here; put the file there"
    ):
        weights.run(weights=[tmp_path / "mine.pth"])
