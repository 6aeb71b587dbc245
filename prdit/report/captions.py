"""What stands above each table, and what has to be known to read it."""

from __future__ import annotations

import pandas as pd

from prdit.config.selections import PAIRWISE, TIMES
from prdit.report.columns import COSTS
from prdit.report.markdown import networks

REAL = "Real data: real volumes against other real ones, by one division of them."
CAPTIONS = {
    "table_1": "**Table 1.** Unconditional generation. 3D FID, MMD and W-score, lower is better;"
    f" mean ± standard deviation over sampling seeds, of W-scores over critics. {REAL}",
    "table_2": f"**Table 2.** Highest resolution. {REAL}",
    "table_3": f"**Table 3.** Trained from scratch, and from half the resolution. {REAL}",
    "table_4": "**Table 4.** Components of the model, and predictor steps k; k = 1 is cold"
    f" sampling. {REAL}",
    "table_5": f"**Table 5.** Samplers that use the predicted noise alone. {REAL}",
    "table_6": "**Table 6.** Seconds per volume, one at a time; mean ± standard deviation of 10.",
    "table_7": f"**Table 7.** As Table 3. {REAL}",
    "table_8": f"**Table 8.** Base frozen, and fine-tuned with its refinement. {REAL}",
    "table_11": "**Table 11.** ln(W(column) / W(row)) by critics that tell both from real volumes;"
    " positive: the row's model is nearer to them. Mean ± standard deviation over critics.",
}
FIGURES = {
    "figure_4": "Figure 4. Depths of PRDiT, axial.",
    "figure_5": "Figure 5. Against rivals, sagittal.",
    "figure_6": "Figure 6. Cavities of air in real volumes.",
    "figure_7": "Figure 7. Predictor steps k, axial.",
    "figure_8": "Figure 8. Predictor steps k, coronal.",
    "figure_9": "Figure 9. Predictor steps k, sagittal.",
    "figure_10": "Figure 10. Noise-only samplers, and the conventional one.",
    "figure_11": "Figure 11. Base frozen, and fine-tuned.",
    "figure_12": "Figure 12. Depths of PRDiT.",
    "figure_13": "Figure 13. Depths of PRDiT, the other data set.",
    "figure_14": "Figure 14. Against rivals at the highest resolution.",
    "figure_15": "Figure 15. Local Denoiser's estimate and Global DiT's residual.",
    "components": "Components of the model (Table 4).",
    "closest": "Samples nearest to a training volume, above it.",
    "losses": "Losses of every training.",
    "stages": "Time of the jobs of each rule.",
}
"""By the beginning of a figure's name."""
BESIDE = (
    "FID train and FID held-out: against as many training as held-out volumes (the former the mean"
    " of up to five such sets); where a model copies, the former falls against the latter more than"
    " it does for real data. With few held-out volumes both are noise: their intervals are in"
    " all_metrics.md. Copies: samples as near to a training volume as few unseen real ones are; by"
    " chance, as many as there would be of those."
)
W_SCORES = (
    " W-scores: the deviation is over critics that were asked about the same held-out volumes. Not"
    " told from 0: critics with a distance whose own interval (critics.csv) holds 0, so that their"
    " ratio tells little. A dash: no critic gave a ratio."
)
VERDICT = (
    " Verdict: reproduced, if all numbers of a row lie within twice the combined deviations of the"
    " paper's, or within half our interval of 95 %; where there are neither, within 10 %."
)
SPENT = {
    "own": " Training hours: of all processes, at the row's own size; what it builds on at other"
    " sizes is not counted, as in the paper.",
    "chain": " Training hours: of all processes, with all that the row builds on.",
}


def note(table: str, frame: pd.DataFrame) -> str:
    """The lines below a table."""
    if table == TIMES:
        return "Paper: A100. Times compare on one device and in one precision alone."
    if table == PAIRWISE:
        return W_SCORES.strip()
    judged = W_SCORES if "W-score" in frame else ""
    spent = SPENT[COSTS[table]] if table in COSTS else ""
    return f"{BESIDE}{judged}{spent}{VERDICT} {networks(frame)}"
