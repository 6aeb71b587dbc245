"""Tables as LaTeX: ours as the paper prints them, the paper's numbers in grey below."""

from __future__ import annotations

import pandas as pd

from prdit.report.markdown import best, cell, shown_columns

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
            text = escaped(cell(row, column))
            paper = f"paper {column}"
            if paper in frame and cell(row, paper) != "-":
                text += f" [{escaped(cell(row, paper))}]"
            cells.append(rf"\textbf{{{text}}}" if (number, column) in bold else text)
        lines.append(" & ".join(cells) + r" \\")
    head = " & ".join(escaped(heading(column)) for column in columns) + r" \\"
    rows = "\n".join(lines)
    title = escaped(caption.replace("*", ""))
    return rf"""% needs \usepackage{{booktabs}}; in square brackets: the paper's
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
    """Text without what LaTeX would take for its own."""
    return "".join(SPECIAL.get(c, c) for c in text)
