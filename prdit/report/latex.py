"""Tables as LaTeX: ours as the paper prints them, the paper's numbers in brackets."""

from __future__ import annotations

import re

import pandas as pd

from prdit.report.markdown import because, best, cell, networks, shown_columns

SPECIAL = {c: "\\" + c for c in "&%$#_{}"} | {
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
    "†": r"\textdagger{}",
    "²": r"\textsuperscript{2}",
}


def in_latex(frame: pd.DataFrame, caption: str) -> str:
    """A table environment for the booktabs package; the paper's numbers follow in brackets."""
    columns, bold = shown_columns(frame), best(frame)
    lines = []
    for number, row in frame.iterrows():
        cells = []
        for column in columns:
            text, paper = escaped(cell(row, column)), f"paper {column}"
            text = rf"\textbf{{{text}}}" if (number, column) in bold else text
            known = paper in frame and cell(row, paper) != "-"
            cells.append(f"{text} [{escaped(cell(row, paper))}]" if known else text)
        lines.append(" & ".join(cells) + r" \\")
    head = " & ".join(escaped(heading(column)) for column in columns) + r" \\"
    rows = "\n".join(lines)
    told = [
        caption.replace("*", ""),
        "In square brackets: the paper's.",
        *because(frame),
        networks(frame[["features"]]) if "features" in frame else "",
    ]
    title = escaped(" ".join(one for one in told if one))
    return rf"""% needs \usepackage{{booktabs}}
\begin{{table}}
\caption{{{title}}}
\begin{{tabular}}{{{"l" * len(columns)}}}
\toprule
{head}
\midrule
{rows}
\bottomrule
\end{{tabular}}
\end{{table}}
"""


def heading(column: str) -> str:
    """A column's name."""
    return {"Data set": "Data", "Row": "Model"}.get(column, column)


def escaped(text: str) -> str:
    """Text without what LaTeX would take for its own; exponents of numbers as such."""
    parts = re.split(r"(x?\d+\^\d+)", text)
    return "".join(power(one) if i % 2 else plain(one) for i, one in enumerate(parts))


def plain(text: str) -> str:
    """Each character as LaTeX writes it."""
    return "".join(SPECIAL.get(c, c) for c in text)


def power(text: str) -> str:
    """128^3 or x10^3."""
    base, exponent = text.removeprefix("x").split("^")
    times = r"\times " if text.startswith("x") else ""
    return f"${times}{base}^{{{exponent}}}$"
