"""Style, layout in inches, safe text and PNG output of the figures.

pyplot is not used, so the user's matplotlib settings are neither read nor changed.
"""

import io
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from matplotlib import font_manager, style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

WIDTH = 10.0  # inches; 1,600 pixels, which a card shows at about 800: there 12 points are 13 pixels
DPI = 160
INK, FAINT, GRID, PAPER = "#1f1f1f", "#595959", "#dedede", "#ffffff"
# The palette of Okabe and Ito, safe for colour-blind readers, without its yellow, which is too pale on white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#666666")
_FONT = "DejaVu Sans"  # included in matplotlib: the same bytes on every machine
_STYLE: dict[str, Any] = {
    "font.family": _FONT, "font.size": 12, "text.parse_math": False, "text.color": INK,
    "figure.facecolor": PAPER, "axes.facecolor": PAPER, "axes.edgecolor": FAINT, "axes.labelcolor": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.titlelocation": "left",
    "axes.titlesize": 13, "axes.titleweight": "bold", "xtick.color": FAINT, "ytick.color": FAINT,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "grid.color": GRID, "legend.frameon": False,
}  # fmt: skip
_MAX_BYTES = 290_000  # per file; above it the number of colours is reduced
_MAX_LETTERS = 100  # more than fit anywhere; longer names are truncated before they are measured

styled = style.context(_STYLE, after_reset=True)
"""Decorator: run a function in the style of the card, independent of the user's settings."""


@styled
def to_png(figure: Figure) -> bytes:
    """Return a figure as PNG: opaque, at most 256 colours, without metadata, so equal figures give equal bytes."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    image = Image.open(drawn).convert("RGB")  # opaque, for dark pages too
    for colours in (256, 128, 64):
        packed = io.BytesIO()
        image.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
        if packed.tell() <= _MAX_BYTES:
            break
    return packed.getvalue()


def start(height: float, title: str, note: str) -> Figure:
    """Return a figure with a heading; `height` in inches includes 1.1 for the heading."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.text(0.03, 1 - 0.2 / height, title, size=17, weight="bold", va="top")
    figure.text(0.03, 1 - 0.6 / height, fit(note, 0.95 * WIDTH, 12), color=FAINT, va="top")
    return figure


def add_panel(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes, placed by inches from the lower left corner."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def clean(text: str) -> str:
    """Return text as one line that the font can draw: "…" for missing letters, "" if none is left."""
    font = font_manager.get_font(font_manager.findfont(_FONT))
    drawn = (
        char if font.get_char_index(ord(char)) and unicodedata.category(char)[0] != "C" else "…" * char.isalnum()
        for char in " ".join(text.split())[:_MAX_LETTERS]
    )
    line = " ".join(re.sub("…+", "…", "".join(drawn)).split())
    return line if any(map(str.isalnum, line)) else ""


def clean_names(names: Iterable[str]) -> list[str]:
    """Clean the names of clusters; a name that cannot be drawn is replaced by its number."""
    return [clean(name) or f"cluster {number}" for number, name in enumerate(names)]


def fit(text: str, width: float, size: float) -> str:
    """Truncate a line to a width in inches at a font size in points."""
    font = font_manager.get_font(font_manager.findfont(_FONT))
    font.set_size(size, 72)
    for line in (text, *(text[:end].rstrip(" ,;:…") + "…" for end in range(len(text), 0, -1))):
        font.set_text(line, 0.0)
        if font.get_width_height()[0] / 64 / 72 <= width:
            return line
    return "…"
