"""Generated volumes as a card names them, each checked against its sha256 before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from prdit.data.volume import Volume, read_nifti
from prdit.errors import UserError
from prdit.files import damaged, read_json, sha256, taken_from


def read_samples(card: Path, count: int | None = None) -> Iterator[Volume]:
    """The volumes that lie beside a card, in order of their numbers; the first `count`, or all.

    There are none if the model was too large to train.

    Raises:
        UserError: one is missing, or no longer what was drawn.
    """
    yield from map(read_nifti, sample_paths(card, count))


def sample_paths(card: Path, count: int | None = None) -> Iterator[Path]:
    """Where they lie; raises UserError as `read_samples` does."""
    told = read_json(card, "files")
    with taken_from(card):
        files = sorted(dict(told["files"]).items())
    if not files and "oom" not in told:
        raise damaged(card, "it names no files")
    for name, drawn in islice(files, count):
        path = card.parent / name
        if not path.is_file() or sha256(path) != drawn:
            raise UserError(
                f"sample {path} is missing or has changed since it was drawn; delete {card.name}"
                " beside it to have it drawn again"
            )
        yield path
