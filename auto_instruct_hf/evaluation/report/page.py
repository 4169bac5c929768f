"""The page of an evaluation: one HTML file that loads nothing from the network and is readable without its script.

The template escapes all texts of models and people, and a Content-Security-Policy lets only the page's own script run.
"""

import base64
import hashlib
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import jinja2

from ...core import CONTROL
from ..judging import passed_all
from ..measures import Figures
from ..questions import NAMES, QUESTIONS, DatasetRow
from .headlines import count, list_headlines, number, percent
from .results import Evaluation, EvaluationFigures

_HERE = Path(__file__).parent
_MAX_LETTERS = 3000
_SHORT = {
    "valid_task": "The task is valid",
    "input_fits": "The input fits",
    "strategy_valid": "The strategy is sound",
    "output_correct": "The output is correct",
}


def render_page(evaluation: Evaluation) -> str:
    """Render the page as HTML with its styles and script; the same evaluation gives the same page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=number, count=count, readable=_readable, whole=_whole)
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    figures = evaluation.figures
    return environment.get_template("page.html.jinja").render(
        {
            **figures,
            "style": (_HERE / "page.css").read_text(encoding="utf-8"),
            "script": script,
            "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            "short": _SHORT,
            "questions": QUESTIONS,
            "names": NAMES,
            "peers": list(dict.fromkeys(peer for row in figures["table"] for peer in row["published"])),
            "tiles": list_headlines(figures),
            "histograms": _list_histograms(figures),
            "groups": [
                (name, _describe_group(list(rows)))
                for name, rows in groupby(evaluation.samples, key=lambda row: str(row["cluster"]))
            ],
            "num_samples": len(evaluation.samples),
        }
    )


def _describe_group(rows: Sequence[DatasetRow]) -> Figures:
    shown = [{**row, "verdict": _verdict(row["judgement"]), "differs": _differs(row)} for row in rows]
    return {"rows": shown, "refused": sum(row["verdict"] == "no" for row in shown)}


def _verdict(judgement: DatasetRow | None) -> str:
    return "" if judgement is None else "yes" if passed_all(judgement) else "no"


def _differs(row: DatasetRow) -> bool:
    """Return whether two raters, models or people, answered a question differently."""
    said = [*row["ratings"], *([row["judgement"]] if row["judgement"] else [])]
    return any(len({one[name] for one in said if one[name] is not None}) > 1 for name in NAMES)


def _list_histograms(figures: EvaluationFigures) -> list[Figures]:
    """Return the histograms: bars in percent of the highest, with labels, and the ends of the axis."""
    found = []
    for name, one in figures["lengths"].items():
        if one["counts"]:
            width, counts = one["width"], one["counts"]
            words = figures["measures"][f"{name}s"]["lengths"]["words"]
            beyond = f"; {one['beyond']:,} longer, up to {words['max']:,.0f}" if one["beyond"] else ""
            text = f"median {words['median']:,.0f}, mean {words['mean']:,.1f} words{beyond}"
            edges = [
                (f"{bar * width + 1} to {(bar + 1) * width}" if width > 1 else str(bar + 1))
                for bar in range(len(counts))
            ]
            ends = ("1", f"{len(counts) * width:,} words")
            found.append(_histogram(f"Length of {name}s in words", text, counts, edges, ends))
    for name in ("instructions", "outputs"):
        near = figures["measures"].get(name, {}).get("nearest")
        if near and near["rouge_l"]["count"]:
            counts = near["histogram"]
            edges = [f"{bar / len(counts):.2f} to {(bar + 1) / len(counts):.2f}" for bar in range(len(counts))]
            text = f"ROUGE-L F1; median {near['rouge_l']['median']:.2f}, of {near['rouge_l']['count']:,}; 1 is a copy"
            found.append(_histogram(f"Each of the {name} and its nearest other", text, counts, edges, ("0", "1")))
    return found


def _histogram(title: str, text: str, counts: Sequence[int], edges: Sequence[str], ends: tuple[str, str]) -> Figures:
    top = max(counts)
    bars = [
        {"height": round(100 * size / top, 2), "edge": edge, "count": size}
        for size, edge in zip(counts, edges, strict=True)
    ]
    return {"title": title, "text": text, "bars": bars, "ends": ends, "top": top}


def _whole(share: float) -> str:
    """Return a share in percent, as CSS takes it."""
    return f"{100 * share:.2f}"


def _readable(text: str) -> str:
    """Return text for the page: control characters other than line ends removed, long texts truncated."""
    shown = CONTROL.sub(lambda found: "\n" * found[0].count("\n") or " ", text[:_MAX_LETTERS])
    more = len(text) - _MAX_LETTERS
    return f"{shown} … ({more:,} characters more)" if more > 0 else shown
