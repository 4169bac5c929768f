import io
import subprocess
import sys
import time
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from auto_instruct_hf.publishing.plots.drawing import clean, fit, to_png
from auto_instruct_hf.publishing.plots.figures import (
    draw_cluster_sizes,
    draw_lengths,
    draw_similarity,
    draw_verbs,
)
from auto_instruct_hf.publishing.plots.topic_map import _wrap, draw_map

UNSAFE = [
    "$\\frac{1}{0}$ and $x",
    "C:\\new\\table \\alpha_{",
    "",
    "   \n\t ",
    "日本語のトピック",
    "Cooking 🍳 and 料理 at home",
    "\x00\x07\x1b[31mred\u202e\ud800\u200b",
    "_hidden",
    "W" * 5000,
    "words " * 300,
    "🎉🎉",
    "عربي",
]


@pytest.fixture(autouse=True)
def _strict():
    before = dict(matplotlib.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert dict(matplotlib.rcParams) == before


def check(figure):
    png = to_png(figure)
    image = Image.open(io.BytesIO(png))
    assert len(png) < 300_000
    assert image.width <= 1600
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert not image.info.keys() & {"Software", "Creation Time", "date"}
    return image


def islands(rows, num_clusters):
    generator = np.random.default_rng(1)
    clusters = np.sort(generator.integers(0, num_clusters, rows))
    return generator.normal(size=(num_clusters, 2))[clusters] * 5 + generator.normal(size=(rows, 2)), clusters


@pytest.mark.parametrize("num_clusters", [1, 3, 12, 13, 50])
def test_map_and_sizes_take_any_number_of_clusters(num_clusters):
    names = [f"Topic number {number}" for number in range(num_clusters)]
    check(draw_map(*islands(400, num_clusters), names))
    check(draw_cluster_sizes(names, [3] * num_clusters, [5] * num_clusters))


@pytest.mark.parametrize(
    ("positions", "clusters", "names"),
    [
        (np.zeros((0, 2)), np.zeros(0, dtype=int), []),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), ["empty"]),
        (np.zeros((1, 2)), np.zeros(1, dtype=int), ["one"]),
        (np.ones((9, 2)), np.arange(9), list("abcdefghi")),
        (np.ones((60, 2), dtype=np.float32), np.arange(60) % 50, ["same"] * 50),
        (np.array([[0, 0], [1e6, 0]]), np.array([0, 1]), ["left", "right"]),
        (np.array([[0, 0], [1e-9, 1e-9]]), np.array([0, 2]), ["a", "without members", "c"]),
    ],
)
def test_degenerate_maps(positions, clusters, names):
    check(draw_map(positions, clusters, names))


def test_labels_do_not_overlap():
    figure = draw_map(np.ones((12, 2)), np.arange(12), ["A topic of several words"] * 12)
    to_png(figure)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 12
    assert not any(one.overlaps(other) for number, one in enumerate(boxes) for other in boxes[:number])


def test_a_large_map_stays_small():
    started = time.monotonic()
    generator = np.random.default_rng(0)
    check(draw_map(generator.random((50_000, 2)), generator.integers(0, 50, 50_000), ["x"] * 50))
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(("before", "after", "names"), [([], [], []), ([0], [0], ["a"]), ([1, 0], [0, 7], ["a", "b"])])
def test_degenerate_sizes(before, after, names):
    check(draw_cluster_sizes(names, before, after))


@pytest.mark.parametrize("words", [[], [0], [1], [7] * 50, [3] * 999 + [10**6], list(range(1000)), [0] * 500 + [1]])
def test_degenerate_lengths(words):
    check(draw_lengths(words, [*words]))


def test_lengths_say_what_is_not_shown():
    figure = draw_lengths([5] * 999 + [4000], [])
    assert figure.axes[0].get_xlabel() == "words (not shown: 1 longer, up to 4,000)"


@pytest.mark.parametrize("values", [[], [0.0], [1.0], [0.7] * 9, [np.nan], [0.5, np.nan, 1.0000001]])
def test_degenerate_similarity(values):
    check(draw_similarity(np.array(values, dtype=np.float32), 0.7))


def test_what_equals_the_threshold_stands_before_it():
    figure = draw_similarity(np.full(5, 0.7, dtype=np.float32), 0.7)
    (bar,) = [patch for patch in figure.axes[0].patches if patch.get_height()]
    assert bar.get_x() + bar.get_width() <= 0.7 + 1e-6


@pytest.mark.parametrize("pairs", [[], [("write", "story")], [("write", text) for text in UNSAFE], [("a", "b")] * 99])
def test_degenerate_verbs(pairs):
    check(draw_verbs(pairs, []))
    check(draw_verbs([], pairs))


def test_unsafe_names():
    check(draw_map(*islands(200, len(UNSAFE)), UNSAFE))
    check(draw_map(*islands(200, 5 * len(UNSAFE)), UNSAFE * 5))
    check(draw_cluster_sizes(UNSAFE, [1] * len(UNSAFE), [2] * len(UNSAFE)))
    check(draw_verbs([(text, other) for text in UNSAFE for other in UNSAFE], []))


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Cooking 🍳 and 料理 at home", "Cooking  and … at home"),
        ("日本語", ""),
        ("$x$ \\alpha", "$x$ \\alpha"),
        ("a\nb\x00\u202e", "a b"),
        ("résumé", "résumé"),
    ],
)
def test_clean(text, cleaned):
    assert clean(text) == cleaned.replace("  ", " ")


def test_fit_and_wrap():
    assert fit("short", 5, 12) == "short"
    assert fit("W" * 100, 1, 12).endswith("W…")
    assert _wrap("Developing plans and programs", 22, 3) == "Developing plans\nand programs"
    assert _wrap("", 22, 3) == ""
    assert max(map(len, _wrap("x" * 90, 22, 3).split("\n"))) <= 22


def test_the_same_bytes_each_time_and_under_other_settings():
    positions, clusters = islands(300, 4)
    figure = draw_map(positions, clusters, ["$a", "b", "c", "d"])
    first = to_png(figure)
    assert to_png(figure) == first
    with matplotlib.rc_context(
        {
            "font.size": 30,
            "figure.facecolor": "black",
            "savefig.dpi": 10,
            "font.family": "serif",
            "savefig.bbox": "tight",
            "text.hinting": "none",
        }
    ):
        assert to_png(draw_map(positions, clusters, ["$a", "b", "c", "d"])) == first


def test_the_same_bytes_in_another_process():
    folder = str(Path(__file__).parents[1])
    code = (
        f"import sys, hashlib; sys.path.insert(0, {folder!r})\n"
        "from auto_instruct_hf.publishing.plots import draw_cluster_sizes, to_png\n"
        "png = to_png(draw_cluster_sizes(['a'], [1], [2]))\n"
        "print(hashlib.sha256(png).hexdigest(), 'matplotlib.pyplot' in sys.modules)"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in "12"
    }
    assert len(outputs) == 1
    assert outputs.pop().endswith("False\n")
