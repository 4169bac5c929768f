import json
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import stub_teacher
from datasets import ClassLabel, Dataset, Features, load_dataset
from filelock import FileLock
from stub_instances import instance, open_teacher, patch_embedding, patch_plots, run_command
from stub_teacher import KEY, StubTeacher, serve_stub, sign

from auto_instruct_hf import Recipe, build, read_seeds
from auto_instruct_hf.core import INSTANCES, from_rows, make_manifest, write_manifest
from auto_instruct_hf.errors import BuildError, SourceError
from auto_instruct_hf.evaluation.questions import NAMES, QUESTIONS, applies
from auto_instruct_hf.evaluation.rating import open_store
from auto_instruct_hf.evaluation.rating.summary import RATINGS, read_ratings
from auto_instruct_hf.evaluation.report import EvaluatedDataset, Evaluation, evaluate, read_any, read_build, render_page
from auto_instruct_hf.evaluation_pipeline import add_training
from auto_instruct_hf.publishing.build_report import parse_report
from auto_instruct_hf.publishing.card import render_card
from auto_instruct_hf.recipe import BootstrapSettings, ClusteringSettings, JudgeSettings

Evaluated = tuple[Path, StubTeacher]
RECIPE = Recipe(
    num_instructions=20,
    bootstrap=BootstrapSettings(requests_per_round=4),
    clustering=ClusteringSettings(num_clusters=2, n_neighbors=100),
)


def run(out: Path, stub: StubTeacher, recipe: Recipe) -> None:
    with open_teacher(stub, out, "stub") as teacher:
        build(read_seeds(), teacher, out, recipe, overwrite=True)


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as found:
        patch_embedding(found)
        patch_plots(found)
        yield found


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Iterator[Evaluated]:
    """A build that was evaluated by the command, with the ratings of two people."""
    out = tmp_path_factory.mktemp("evaluated")
    patch.setenv("JUDGE_API_KEY", KEY)
    with serve_stub() as stub:
        run(out, stub, RECIPE)
        rate(out)
        done = judge(out, stub)
        assert done.exit_code == 0, done.output
        yield out, stub


def judge(out: Path, stub: StubTeacher) -> Any:
    return run_command("evaluate", out, "--judge", "another", "--judge-base-url", stub.url, "--size", "12")


def rate(out: Path) -> None:
    """Let one person rate all outputs as correct, and another two of them as wrong; the last row is outdated."""
    rows = list(load_dataset(str(out / "dataset"), "instances", split="train"))[:6]
    rows[5] = {**rows[5], "output": "What it was when it was rated."}  # the id does not depend on the output
    with open_store(out / "ratings.sqlite") as store:
        store.add_items([{name: row[name] for name in INSTANCES} for row in rows], 42)
        for name, wrong in (("Ada <script>", ()), ("Ben", (0, 1))):
            rater = store.enter(name)
            for place, row in enumerate(rows):
                answers: dict[str, bool | None] = {one.name: True for one in QUESTIONS if applies(one, row)}
                answers["output_correct"] = place not in wrong
                store.save(rater, place + 1, answers)


def test_a_build_that_runs_is_not_amended(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(BuildError, match="another build runs in"):
        add_training(tmp_path)


def test_a_rerun_sends_no_request_and_writes_no_file(evaluated: Evaluated) -> None:
    out, stub = evaluated

    def files() -> dict[Path, tuple[bytes, int]]:
        made = [out / "evaluation.json", out / "evaluation.html", *(out / "dataset").rglob("*.*")]
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in made}

    before, asked = files(), len(stub.answered)
    assert judge(out, stub).exit_code == 0
    assert (files(), len(stub.answered)) == (before, asked)


def test_the_figures_describe_the_build(evaluated: Evaluated) -> None:
    out, stub = evaluated
    figures = json.loads((out / "evaluation.json").read_text())
    parts = {config: load_dataset(str(out / "dataset"), config) for config in ("default", "instances")}
    size = sum(parts["instances"].num_rows.values())
    assert figures["dataset"]["rows"] == figures["measures"]["rows"]["measured"] == size
    drawn = [row["instance_id"] for part in parts["default"].values() for row in part]
    assert (figures["sample"]["rows"], figures["sample"]["different_rows"]) == (len(drawn), len(set(drawn)))
    assert [one["name"] for one in figures["clusters"]] == parts["default"]["train"].features["cluster"].names
    assert sum(one["instances"] for one in figures["clusters"]) == figures["dataset"]["rows"]
    assert sum(one["sample"] for one in figures["clusters"]) == figures["sample"]["rows"]
    assert list(figures["splits"]) == list(parts["instances"])[1:]
    assert all(one["rouge_l"]["max"] <= 0.7 for one in figures["splits"].values())
    assert figures["measures"]["overlap"]["num_references"] == len(read_seeds())
    assert (figures["judge"]["judge"], figures["judge"]["judged"]) == ("another", 12)
    table = {row["name"]: row for row in figures["table"]}
    assert table["output_correct"]["published"] == {"Auto-Instruct": 0.923, "Self-Instruct": 0.58}
    assert table["output_correct"]["judge"]["asked"] == 12
    assert all(sum(one["histogram"]) == one["num_texts"] for one in figures["splits"].values())
    for name, rows in (("instruction", figures["measures"]["rows"]["instructions"]), ("output", size)):
        assert sum(figures["lengths"][name]["counts"]) + figures["lengths"][name]["beyond"] == rows
    assert not [secret for secret in (stub.url, str(out)) if secret in json.dumps(figures)]


def test_ratings_of_unchanged_rows_are_shown_beside_the_judge(evaluated: Evaluated) -> None:
    out, _ = evaluated
    figures = json.loads((out / "evaluation.json").read_text())
    people = figures["ratings"]
    assert (people["raters"], people["instances"], people["ratings"], people["outdated"]) == (2, 5, 10, 2)
    output = people["questions"]["output_correct"]
    assert (output["majority"]["yes"], output["majority"]["asked"], output["majority"]["ties"]) == (3, 5, 2)
    assert output["agreement"]["raw"] == 0.6
    # The judge was asked about all instances that people rated; ties do not count.
    assert figures["agreement"]["output_correct"]["asked"] == 3
    assert figures["agreement"]["valid_task"]["asked"] == 5
    card = " ".join((out / "dataset" / "README.md").read_text().split())
    assert "By people: 2 rated 5 instances, 10 ratings in all." in card
    assert "No person" not in card
    page = (out / "evaluation.html").read_text()
    assert "2 people rated 5 of them" in " ".join(page.split())
    assert "Ada" not in page  # names of people stay in their file


def test_the_card_shows_the_evaluation_and_a_push_renders_the_same(evaluated: Evaluated) -> None:
    out, stub = evaluated
    report = json.loads((out / "dataset" / "report.json").read_text())
    card = (out / "dataset" / "README.md").read_text()
    assert report["evaluation"] == json.loads((out / "evaluation.json").read_text())
    assert card == render_card(parse_report(report, out), (out / "dataset").as_posix(), on_hub=False)
    for words in ("on a sample: another judged 12 instances", "The judge itself was checked.", "| Vendi score |"):
        assert words in " ".join(card.split())
    for path in (path for path in out.rglob("*") if path.is_file()):
        assert KEY.encode() not in path.read_bytes(), path
    assert stub.url not in card


def test_only_a_build_with_the_same_rows_keeps_its_evaluation(evaluated: Evaluated) -> None:
    out, stub = evaluated
    kept = json.loads((out / "evaluation.json").read_text())
    run(out, stub, RECIPE)
    assert json.loads((out / "dataset" / "report.json").read_text())["evaluation"] == kept
    assert "another judged 12 instances" in (out / "dataset" / "README.md").read_text()
    run(out, stub, Recipe(**{**vars(RECIPE), "num_samples": 33}))
    assert "evaluation" not in json.loads((out / "dataset" / "report.json").read_text())
    run(out, stub, RECIPE)  # as the other tests found it
    assert read_build(out).digest() == kept["dataset"]["digest"]


@pytest.fixture(scope="module")
def sound() -> list[dict[str, Any]]:
    """Seed tasks with outputs that the judge of the stub accepts."""
    rows = [row for row in read_seeds().to_list() if not row["is_classification"]][:60]
    return [
        {"prompt": row["instruction"], "input": row["input"], "output": f"{sign(row['instruction'])} {row['output']}"}
        for row in rows
    ]


def write_rows(rows: Sequence[Mapping[str, Any]], folder: Path) -> str:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "rows.jsonl")


def figures_of(rows: Sequence[Mapping[str, Any]], stub: StubTeacher, folder: Path) -> Any:
    dataset = read_any(write_rows(rows, folder), {"instruction": "prompt"})
    with open_teacher(stub, folder) as teacher:
        return evaluate(dataset, teacher, with_embeddings=False, cache_dir=folder / "c").figures


def test_planted_flaws_change_only_the_figures_about_them(
    sound: list[dict[str, Any]], stub: StubTeacher, tmp_path: Path
) -> None:
    before = figures_of(sound, stub, tmp_path)
    assert before["judge"]["shares"]["output_correct"]["yes"] == 60
    assert before["judge"]["checks"]["other output"]["discerns"]

    outputs = [row["output"] for row in [*sound[1:6], sound[0]]]
    shuffled = [{**row, "output": output} for row, output in zip(sound[:6], outputs, strict=True)]
    after = figures_of([*shuffled, *sound[6:]], stub, tmp_path)
    assert after["judge"]["shares"]["output_correct"]["share"] == 0.9
    assert after["table"][-1]["judge"]["low"] < 0.9 < after["table"][-1]["judge"]["high"]
    assert after["measures"] == before["measures"]  # the same texts

    filled = [number for number, row in enumerate(sound) if row["input"]][:6]
    blank = [{**row, "input": ""} if number in filled else row for number, row in enumerate(sound)]
    empty = [one["measures"]["inputs"]["lengths"]["share_empty"] for one in (before, figures_of(blank, stub, tmp_path))]
    assert empty[1] - empty[0] == pytest.approx(0.1, abs=1e-5)

    twice = figures_of([*sound, *sound[:6]], stub, tmp_path)
    assert twice["measures"]["outputs"]["nearest"]["histogram"][-1] == 12
    assert twice["judge"]["asked"] == 60


def test_the_row_judged_for_equal_texts_does_not_depend_on_the_order(tmp_path: Path) -> None:
    rows = [{"instruction": "a", "output": "b", "cluster": name} for name in ("two", "one")]
    one, other = (read_any(write_rows(order, tmp_path)).judged for order in (rows, rows[::-1]))
    assert one
    assert other
    assert (one.to_list(), one.features) == (other.to_list(), other.features)


def test_names_in_exported_ratings_become_numbers(tmp_path: Path) -> None:
    (tmp_path / "ratings").mkdir()
    row = {**dict.fromkeys(RATINGS, ""), **dict.fromkeys(NAMES, True), "confidence": None, "is_classification": False}
    for names, numbers in ((("Ben", "Ada", "Ben"), [1, 2, 1]), (("rater-2", "rater-1", "rater-2"), [2, 1, 2])):
        exported = Dataset.from_list([{**row, "rater": name} for name in names], features=RATINGS)
        exported.to_parquet(tmp_path / "ratings" / "train.parquet")
        read = read_ratings(tmp_path)
        assert read is not None
        assert read["rater"][:] == [f"rater-{number}" for number in numbers]


def test_the_order_of_rows_does_not_matter(sound: list[dict[str, Any]], stub: StubTeacher, tmp_path: Path) -> None:
    assert figures_of(sound, stub, tmp_path) == figures_of(sound[::-1], stub, tmp_path)


HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"' onmouseover='alert(1)' "
    "<a href=javascript:a>{{ 7*7 }}\x00\u202e"
)
OURS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "nav", "section", "article", "div", "span"),
    *("h1", "h2", "h3", "h4", "p", "a", "b", "i", "small", "bdi", "ul", "li", "dl", "dt", "dd", "figure", "figcaption"),
    *("table", "thead", "tbody", "tr", "th", "td", "details", "summary", "form", "label", "input", "button", "script"),
}


class Page(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, evaluation: Evaluation) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.source = "", render_page(evaluation)
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Page:
    """The page of an evaluation in which every text of the dataset, the judge and people is an attack."""
    texts = ("instruction", "attribute", "input", "output")
    rows = [
        {**instance(number), **{name: f"{name} {number} {HOSTILE}" for name in texts}, "cluster": number % 2}
        for number in range(8)
    ]
    clusters = ClassLabel(names=[f"{HOSTILE} {number}" for number in range(2)])
    table = from_rows(rows, Features({**INSTANCES, "cluster": clusters}))
    said = {**dict.fromkeys(NAMES, True), "confidence": None, "rater": HOSTILE, "reason": HOSTILE}
    ratings = from_rows([{name: {**row, **said}[name] for name in RATINGS} for row in rows], RATINGS)
    dataset = EvaluatedDataset(HOSTILE, table, table, {HOSTILE: ["a b"], f"{HOSTILE}.": ["a c"]}, teacher=HOSTILE)
    settings, verdict = JudgeSettings(check_share=1.0), stub_teacher._judge
    sendable = HOSTILE.replace("\x00", "")  # replies with other characters are rejected
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as own, serve_stub() as stub:
        own.setattr(stub_teacher, "_judge", lambda text: {**verdict(text), "reason": sendable})
        with open_teacher(stub, folder, model=sendable) as teacher:
            options: dict[str, Any] = {"warnings": [HOSTILE], "ratings": ratings, "cache_dir": folder / "c"}
            return Page(evaluate(dataset, teacher, settings=settings, **options))


def test_no_text_of_a_model_or_a_person_runs_or_loads_anything(hostile: Page) -> None:
    assert [attributes for tag, attributes in hostile.tags if tag == "script"] == [{}]
    assert {tag for tag, _ in hostile.tags} <= OURS
    assert {"article", "details", "table"} <= OURS & {tag for tag, _ in hostile.tags}
    for tag, attributes in hostile.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "action")], tag
        assert (attributes.get("href") or "#").startswith("#")
        assert "alert" not in (attributes.get("style") or "")
    policy = next(one["content"] or "" for tag, one in hostile.tags if one.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    # Every text is shown as it is, none as a template.
    shown = HOSTILE.replace("\x00\u202e", " ").strip()
    assert hostile.text.count(shown) > 8 * 4 + 8 * 2
    assert not [words for words in ("\x00", "\u202e", "http://", "https://") if words in hostile.source]


def test_figures_have_labels_and_the_page_is_complete_without_its_script(hostile: Page) -> None:
    pictures = [attributes for _, attributes in hostile.tags if attributes.get("role") == "img"]
    assert len(pictures) >= 8
    assert all(len(one["aria-label"] or "") > 20 for one in pictures)
    assert sum(tag == "article" for tag, _ in hostile.tags) == 8
    assert [attributes for tag, attributes in hostile.tags if tag == "form"] == [{"id": "narrow", "hidden": None}]
    assert not [tag for tag, attributes in hostile.tags if tag != "form" and "hidden" in attributes]


def test_the_page_mentions_people_only_if_there_are_ratings(evaluated: Evaluated) -> None:
    figures = json.loads((evaluated[0] / "evaluation.json").read_text())
    assert "set beside people" in Page(Evaluation(figures, [])).text
    table = [{**row, "people": None} for row in figures["table"]]
    alone = Page(Evaluation({**figures, "ratings": None, "agreement": None, "table": table}, [])).text
    assert "Asked again" in alone
    assert "set beside people" not in alone


def test_the_page_of_a_dataset_that_nobody_judged(tmp_path: Path) -> None:
    dataset = read_any(write_rows([{"output": "Yes."}], tmp_path))
    found = evaluate(dataset, with_embeddings=False, cache_dir=tmp_path / "c")
    text = " ".join(Page(found).text.split())
    assert "No model has judged them. No person has rated them." in text
    assert "Self-Instruct" not in text  # no published figures without own ones
    assert found.samples == []
    assert found.figures["judge"] is None
    assert "judge" in found.figures["left_out"]


@pytest.fixture
def rows(sound: list[dict[str, Any]], tmp_path: Path) -> str:
    return write_rows(sound, tmp_path)


def test_any_dataset_is_evaluated_into_a_folder(rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_API_KEY", raising=False)
    out = tmp_path / "found"
    done = run_command("evaluate", rows, "--column", "instruction=prompt", "--out", out, "--no-embeddings")
    assert done.exit_code == 0, done.output
    assert "there is no endpoint to ask" in done.stdout
    figures = json.loads((out / "evaluation.json").read_text())
    assert figures["dataset"]["name"] == "rows.jsonl"
    assert figures["measures"]["rows"]["instructions"] == 60
    assert (out / "evaluation.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["rows.jsonl", "--no-judge", "--judge", "m"], 2, "wrong usage: --no-judge"),
        (["rows.jsonl", "--column", "prompt"], 2, "instruction=prompt"),
        (["rows.jsonl"], 1, "error: rows.jsonl has no column instruction, input or output; it has a"),
        (["rows.jsonl", "--column", "output=b"], 1, "has no column 'b'"),
        (["gone.jsonl"], 1, "error: no such file"),
        (["."], 1, "holds no built dataset"),
        ([".", "--out", "x"], 2, "wrong usage: --out"),
        (["rows.jsonl", "--column", "output=a", "--seeds", "rows.jsonl"], 1, "column 'instruction': rename theirs"),
        (["rows.jsonl", "--split", "test"], 2, "wrong usage: --split: for datasets on the Hub"),
        (["rows.jsonl", "--column", "output=a", "--column", "is_classification=a"], 1, "must be true or false"),
    ],
)
def test_a_mistake_gives_one_line_and_a_status(
    arguments: list[str], status: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows([{"a": "text"}], tmp_path)
    done = run_command("evaluate", *arguments)
    assert done.exit_code == status
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_seed_out_of_range_is_rejected() -> None:
    for seed in (-1, 2**32):
        done = run_command("evaluate", "rows.jsonl", "--no-judge", "--seed", seed)
        assert (done.exit_code, "--seed" in done.stderr) == (2, True)


def test_a_build_of_another_version_is_named_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "report.json").write_text("{}")
    for recipe in ("num_instructions: 3\n", "of_another_version: 1\n"):
        (tmp_path / "dataset" / "recipe.yaml").write_text(recipe)
        write_manifest(tmp_path / "dataset", make_manifest(tmp_path / "dataset"))
        with pytest.raises(SourceError, match="was built by another version: run the build again"):
            read_build(tmp_path)


@pytest.mark.parametrize("words", [("Yes", "No"), ("True", "False"), ("1", ""), (True, None)])
def test_yes_and_no_are_parsed_as_datasets_write_them(words: tuple[Any, Any], tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    Dataset.from_dict({"output": ["a", "b"], "is_classification": list(words)}).to_parquet(file)
    assert read_any(str(file)).measured["is_classification"][:] == [True, False]


def test_a_budget_for_a_judge_without_a_price_is_rejected(rows: str, stub: StubTeacher, tmp_path: Path) -> None:
    asked = ("--judge", "mine", "--judge-base-url", stub.url, "--budget", "1", "--out", tmp_path / "found")
    done = run_command("evaluate", rows, "--column", "instruction=prompt", "--no-embeddings", *asked)
    assert done.exit_code == 2
    assert "judge.input_price" in done.stderr
    assert not stub.answered
