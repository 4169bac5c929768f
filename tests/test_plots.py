import io
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from auto_instruct_hf.publishing.plots.drawing import clean, fit, to_png
from auto_instruct_hf.publishing.plots.figures import draw_cluster_sizes, draw_lengths, draw_similarity, draw_verbs
from auto_instruct_hf.publishing.plots.topic_map import _wrap, draw_map

pytestmark = pytest.mark.filterwarnings("error")
UNSAFE = [
    "$\\frac{1}{0}$ and $x", "C:\\new\\table \\alpha_{", "", "   \n\t ", "日本語のトピック", "🎉🎉", "عربي",
    "Cooking 🍳 and 料理 at home", "\x00\x07\x1b[31mred\u202e\ud800\u200b", "_hidden", "W" * 5000, "words " * 300,
]  # fmt: skip


@pytest.fixture(autouse=True)
def _the_settings_of_matplotlib_stay_unchanged():
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before


def check(figure):
    png = to_png(figure)
    image = Image.open(io.BytesIO(png))
    assert len(png) < 300_000
    assert image.width <= 1600
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert not image.info.keys() & {"Software", "Creation Time", "date"}


def islands(rows, num_clusters):
    generator = np.random.default_rng(1)
    clusters = np.sort(generator.integers(0, num_clusters, rows))
    return generator.normal(size=(num_clusters, 2))[clusters] * 5 + generator.normal(size=(rows, 2)), clusters


@pytest.mark.parametrize("num_clusters", [1, 12, 13, 25])
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
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 12
    assert not any(one.overlaps(other) for number, one in enumerate(boxes) for other in boxes[:number])


def test_a_large_map_stays_small():
    generator = np.random.default_rng(0)
    check(draw_map(generator.random((50_000, 2)), generator.integers(0, 50, 50_000), ["x"] * 50))


@pytest.mark.parametrize(("before", "after", "names"), [([], [], []), ([0], [0], ["a"]), ([1, 0], [0, 7], ["a", "b"])])
def test_degenerate_sizes(before, after, names):
    check(draw_cluster_sizes(names, before, after))


@pytest.mark.parametrize("words", [[], [0], [1], [7] * 50, [3] * 999 + [10**6], list(range(1000)), [0] * 500 + [1]])
def test_degenerate_lengths(words):
    check(draw_lengths(words, [*words]))


def test_lengths_say_what_is_not_shown():
    assert draw_lengths([5] * 999 + [4000], []).axes[0].get_xlabel() == "words (not shown: 1 longer, up to 4,000)"


@pytest.mark.parametrize("values", [[], [0.0], [1.0], [0.7] * 9, [np.nan], [0.5, np.nan, 1.0000001]])
def test_degenerate_similarity(values):
    check(draw_similarity(np.array(values, dtype=np.float32), 0.7))


def test_a_similarity_equal_to_the_threshold_is_drawn_before_it():
    figure = draw_similarity(np.full(5, 0.7, dtype=np.float32), 0.7)
    (bar,) = [patch for patch in figure.axes[0].patches if patch.get_height()]
    assert bar.get_x() + bar.get_width() <= 0.7 + 1e-6


@pytest.mark.parametrize("pairs", [[], [("write", "story")], [("a", "b")] * 99])
def test_degenerate_verbs(pairs):
    check(draw_verbs(pairs, []))
    check(draw_verbs([], pairs))


def test_unsafe_names():
    check(draw_map(*islands(200, len(UNSAFE)), UNSAFE))
    check(draw_map(*islands(200, 3 * len(UNSAFE)), UNSAFE * 3))
    check(draw_cluster_sizes(UNSAFE, [1] * len(UNSAFE), [2] * len(UNSAFE)))
    check(draw_verbs([(text, other) for text in UNSAFE for other in UNSAFE], []))


def test_text_is_reduced_to_what_the_font_can_draw():
    assert clean("Cooking 🍳 and 料理 at home") == "Cooking and … at home"
    assert clean("日本語") == ""
    assert clean("$x$ \\alpha") == "$x$ \\alpha"
    assert clean("a\nb\x00\u202e") == "a b"
    assert clean("résumé") == "résumé"


def test_lines_are_truncated_or_wrapped():
    assert fit("short", 5, 12) == "short"
    assert fit("W" * 100, 1, 12).endswith("W…")
    assert _wrap("Developing plans and programs", 22, 3) == "Developing plans\nand programs"
    assert _wrap("", 22, 3) == ""
    assert max(map(len, _wrap("x" * 90, 22, 3).split("\n"))) <= 22


def test_the_same_bytes_each_time_and_under_other_settings():
    figure = draw_map(*islands(300, 4), ["$a", "b", "c", "d"])
    first = to_png(figure)
    assert to_png(figure) == first
    other = {"font.size": 30, "figure.facecolor": "black", "font.family": "serif", "text.hinting": "none"}
    with matplotlib.rc_context({**other, "savefig.dpi": 10, "savefig.bbox": "tight"}):
        assert to_png(draw_map(*islands(300, 4), ["$a", "b", "c", "d"])) == first


def test_the_same_bytes_in_another_process_and_no_pyplot():
    code = (
        "import sys; from auto_instruct_hf.publishing.plots import draw_cluster_sizes, to_png\n"
        "sys.stdout.buffer.write(to_png(draw_cluster_sizes(['a'], [1], [2])))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, check=True)
    assert done.stdout == to_png(draw_cluster_sizes(["a"], [1], [2]))
