"""What each table shows of a row, as the paper does, and at what scale."""

from __future__ import annotations

from typing import NamedTuple

from prdit.config.selections import TIMES


class Column(NamedTuple):
    """A measured value of a row, and where the paper's stands."""

    name: str
    metric: str
    scale: float
    key: str
    """Of the paper's value."""


SECONDS = Column("seconds per volume", "seconds", 1.0, "seconds")
W_SCORE = Column("W-score", "w_score", 1.0, "w_score")
HOURS = Column("training hours", "hours", 1.0, "gpu_hours")
COSTS = {"table_2": "own", "table_3": "chain", "table_7": "chain"}
"""Tables with costs of training: of the trainings at the row's own size, or of all it builds on."""
OOM = "OOM"
"""Instead of the numbers of a model that was too large to train, as in the paper."""


def columns_of(table: str) -> list[Column]:
    """The columns of a table; FID is in units of 10^-3 in the paper, in Table 5 of 10^-2."""
    if table == TIMES:
        return [SECONDS]
    unit = 2 if table == "table_5" else 3
    fid = Column(f"FID x10^{unit}", "fid", 10**unit, f"fid_e{unit}")
    mmd = Column("MMD", "mmd", 1.0, "mmd")
    return [fid, mmd, W_SCORE] if table == "table_1" else [fid, mmd]


def beside(fid: Column, *, second: bool) -> list[Column]:
    """What every table of scores shows beside the paper's columns, in units of its FID."""
    unit = fid.name.removeprefix("FID")
    others = [
        Column(f"FID, 2nd network{unit}", "fid_beside", fid.scale, ""),
        Column("MMD, 2nd network", "mmd_beside", 1.0, ""),
    ]
    return [
        *(others if second else []),
        Column(f"FID train{unit}", "fid_train", fid.scale, ""),
        Column(f"FID held-out{unit}", "fid_held_out", fid.scale, ""),
        Column("copies per 1,000", "copies", 1.0, ""),
        Column("by chance", "copies_by_chance", 1.0, ""),
    ]
