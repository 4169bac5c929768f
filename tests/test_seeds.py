"""Seeds are read in every common format, and every fault is reported with its row."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from auto_instruct_hf.core import SEEDS, load_filters
from auto_instruct_hf.errors import SeedError
from auto_instruct_hf.filters import find_instruction_fault
from auto_instruct_hf.generation.bootstrap import find_candidate_fault
from auto_instruct_hf.generation.seeds import BUNDLED, read_seeds
from auto_instruct_hf.novelty import near_groups
from auto_instruct_hf.recipe import PUBLISHED_BANNED, BootstrapSettings

TASK_LINE = b'{"instruction": "Name a fruit, any.", "output": "apple, or pear"}'
TASK = {"instruction": "Name the largest planet of the solar system.", "input": "", "output": "Jupiter"}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_bundled_seeds_are_valid_labelled_distinct_and_pass_the_filters() -> None:
    rows = [json.loads(line) for line in BUNDLED.read_text(encoding="utf-8").splitlines()]
    labelled = [row for row in rows if row["is_classification"]]
    assert len(rows) == 175
    assert len(labelled) >= 60
    assert len({row["domain"] for row in rows}) >= 25
    assert 0.4 <= sum(row["input"] != "" for row in rows) / len(rows) <= 0.65
    for row in rows:
        assert set(row) == {"domain", "instruction", "input", "output", "is_classification", "labels"}
        assert row["output"].strip()
        assert find_candidate_fault(row["instruction"], BootstrapSettings(banned=PUBLISHED_BANNED)) == ""
        assert find_instruction_fault(row["instruction"], load_filters()) is None
        assert bool(row["labels"]) == row["is_classification"]
    for row in labelled:
        assert 2 <= len(row["labels"]) == len(set(row["labels"])) <= 8
        assert row["output"] in row["labels"]
    # A model would learn that the first label is always correct.
    assert sum(row["output"] == row["labels"][0] for row in labelled) < len(labelled) / 3
    assert near_groups([row["instruction"] for row in rows], 0.7).tolist() == list(range(len(rows)))
    seeds = read_seeds()
    assert seeds.features == SEEDS
    assert seeds["instruction"][:] == [row["instruction"] for row in rows]
    assert sum(seeds["is_classification"]) == len(labelled)


def test_self_instruct_format(tmp_path: Path) -> None:
    instances = [{"input": "1 2", "output": "3"}, {"input": "", "output": "9"}]
    row = {"id": "x", "instruction": "Add them.", "instances": instances, "is_classification": True}
    assert read_seeds(write(tmp_path / "seeds.jsonl", row))[0] == {
        "instruction": "Add them.", "input": "1 2", "output": "3", "is_classification": True, "domain": "",
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_alpaca_format_in_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"seeds{suffix}"
    rows = [TASK, {"instruction": "Übersetze das 🎉", "input": "None", "output": "01"}]
    data = Dataset.from_list(rows)
    {".jsonl": data.to_json, ".csv": data.to_csv, ".parquet": data.to_parquet}.get(
        suffix, lambda target: path.write_text(json.dumps(rows))
    )(path)
    seeds = read_seeds(path)
    assert seeds["instruction"][:] == [row["instruction"] for row in rows]
    assert seeds["input"][:] == ["", "None"]  # in a CSV too, an empty cell is "" and None is a word
    assert seeds["output"][:] == ["Jupiter", "01"]
    assert seeds["is_classification"][:] == [False, False]


def test_columns_are_mapped_and_large_rows_of_any_script_are_unchanged(tmp_path: Path) -> None:
    row = {"prompt": "请把下面的句子翻译成英文。" * 4000, "completion": "नमस्ते 😀\x00"}
    seeds = read_seeds(write(tmp_path / "s.jsonl", row), columns={"instruction": "prompt", "output": "completion"})
    assert (seeds[0]["instruction"], seeds[0]["output"]) == tuple(row.values())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"instruction": "Do it."}], "no column 'output'"),
        ([TASK, {**TASK, "instruction": 5}], "row 2: 'instruction' must be text, found 5"),
        ([TASK, {**TASK, "instruction": " "}], "row 2: 'instruction' is empty"),
        ([{**TASK, "output": None}], "row 1: there is no output"),
        ([{**TASK, "instruction": n} for n in range(9)], "row 2: 'instruction' must be text, found 1 (int); row 3: "),
        ([{**TASK, "instruction": n} for n in range(9)], "found 4 (int); and 4 more rows"),
        ([{**TASK, "output": ["x"]}], "row 1: 'output' must be text"),
        ([TASK, {**TASK, "input": 0}], "row 2: 'input' must be text, found 0"),
        ([TASK, {**TASK, "instruction": "name the  LARGEST planet of the solar system."}], "row 2 repeats row 1"),
        ([{"instruction": "Do it.", "instances": []}], "row 1: `instances` must be a list"),
        ([{**TASK, "is_classification": "perhaps"}], "row 1: 'is_classification' must be true or false"),
        ([], "is empty"),
    ],
)
def test_faults_are_named_with_their_row(tmp_path: Path, rows: list[Any], message: str) -> None:
    path = write(tmp_path / "seeds.jsonl", *rows)
    with pytest.raises(SeedError, match=re.escape(message)) as caught:
        read_seeds(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("seeds.jsonl", b'{"instruction": "a", "output": "b"}\n{"instruction', "row 2 cannot be read as JSON"),
        ("seeds.jsonl", b"{}\n[1]\n{", "row 2 must be an object, found [1] (list); row 3 cannot be read as JSON"),
        ("seeds.jsonl", b'{"instruction": "a \xff", "output": "b"}', "line 1 is not UTF-8"),
        ("seeds.jsonl", b'{"instruction": "a \\ud800", "output": "b"}', "row 1 cannot be read"),
        ("seeds.json", b"[]", "is empty"),
        ("seeds.csv", b"instruction,output\n", "is empty"),
        ("seeds.csv", b"", "is empty"),
        (
            "seeds.csv",
            b"instruction,output\nName two fruits.,apple, pear\n",
            "row 1 has 3 cells, the header 2 (separated",
        ),
        ("seeds.csv", b'instruction,output\n"Name two,apple\n', "cannot be read as CSV"),
        ("seeds.json", b"[1, 2]", "row 1 must be an object"),
        ("seeds.json", b"5", "must hold a list"),
        ("seeds.csv", b"output,instruction,output\na,b,c\n", "two columns with the same name"),
        ("seeds.txt", b"x", "ends in .txt"),
        ("seeds.parquet", b"not parquet", "cannot be read as Parquet"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SeedError, match=re.escape(message)):
        read_seeds(tmp_path / name)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [
            {"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi?"},
            {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "More"},
        ]},
        {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hello."}]},
        {"messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi?"}]},
            {"role": "assistant", "content": ["Hello."]},
        ]},
    ],
)  # fmt: skip
def test_chats_give_their_first_exchange(tmp_path: Path, row: dict[str, Any]) -> None:
    seed = read_seeds(write(tmp_path / "chats.jsonl", row))[0]
    assert (seed["instruction"], seed["input"], seed["output"]) == ("Hi?", "", "Hello.")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("semicolon.csv", b"instruction;output\nName a fruit, any.;apple, or pear\n"),
        ("tab.csv", b"instruction\toutput\nName a fruit, any.\tapple, or pear\n"),
        ("named.csv", b"sep=|\r\ninstruction|output\r\nName a fruit, any.|apple, or pear\r\n"),
        ("blank.csv", b'instruction , output\n,\n"Name a fruit, any.","apple, or pear"\n , \n'),
        ("utf16.csv", 'instruction;output\nName a fruit, any.;apple, or pear\n'.encode("utf-16")),
        ("no_mark.csv", 'instruction;output\nName a fruit, any.;apple, or pear\n'.encode("utf-16-be")),
        ("no_mark.jsonl", TASK_LINE.decode().encode("utf-16-le")),
        ("old_mac.csv", b'instruction,output\r"Name a fruit, any.","apple, or pear"\r'),
        ("indented.jsonl", json.dumps(json.loads(TASK_LINE), indent=2).encode()),
        ("shards.jsonl.gz", gzip.compress(TASK_LINE, mtime=0)),
        ("pretty.json", b'{\n "instruction": "Name a fruit, any.",\n "output": "apple, or pear"\n}\n'),
        ("nested.json", b'{"data": [{"instruction": "Name a fruit, any.", "output": "apple, or pear"}]}'),
        ("nan.json", b'[{"instruction": "Name a fruit, any.", "input": NaN, "output": "apple, or pear"}]'),
    ],
)  # fmt: skip
def test_files_as_spreadsheets_and_scripts_write_them(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    seed = read_seeds(tmp_path / name)[0]
    assert (seed["instruction"], seed["output"]) == ("Name a fruit, any.", "apple, or pear")


@pytest.mark.parametrize(
    ("encoding", "question"),
    [
        ("cp1252", "Traduci: «Où est la bibliothèque près de l'hôtel?» È lì, perché no."),
        ("cp1252", "Écrivez une phrase sur l'été à la campagne: déjà très doux"),
        ("cp1250", "Przetłumacz zdanie na język angielski: Zażółć gęślą jaźń"),
        ("cp1251", "Перевести слово на английский язык: дом"),
        ("cp1254", "Cümleyi İngilizceye çevirin: Işık çok güçlü değil"),  # noqa: RUF001
        ("cp1257", "Išverskite sakinį į anglų kalbą: ąžuolas auga miške"),
        ("cp932", "次の単語を英語に訳してください：家"),  # noqa: RUF001
    ],
)
def test_another_encoding_is_detected_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, encoding: str, question: str
) -> None:
    (tmp_path / "seeds.csv").write_bytes(f"instruction;output\n{question};ok\n".encode(encoding))
    assert read_seeds(tmp_path / "seeds.csv")[0]["instruction"] == question
    assert f"is read as {encoding}: save it as UTF-8 if letters are wrong" in caplog.text


def test_a_folder_of_parquet_shards_is_read_in_order(tmp_path: Path) -> None:
    for number in (1, 0):
        Dataset.from_list([{**TASK, "instruction": f"Task {number}"}]).to_parquet(tmp_path / f"part-{number}.parquet")
    assert read_seeds(tmp_path)["instruction"][:] == ["Task 0", "Task 1"]
    assert read_seeds(tmp_path).info.dataset_name == tmp_path.name  # which is published, without the path


def test_class_labels_are_read_by_their_names(tmp_path: Path) -> None:
    features = Features({"instruction": Value("string"), "output": ClassLabel(names=["bad", "good"])})
    Dataset.from_list([{"instruction": "Rate it.", "output": 1}], features=features).to_parquet(tmp_path / "s.parquet")
    assert read_seeds(tmp_path / "s.parquet")[0]["output"] == "good"


def test_a_few_rows_without_output_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"instruction": f"Do {n}", "output": "" if n == 7 else "So."} for n in range(20)]
    assert len(read_seeds(write(tmp_path / "seeds.jsonl", *rows))) == 19
    assert "1 rows without output are left out (8)" in caplog.text
    with pytest.raises(SeedError, match=r"row 1: there is no output; row 2: there is no output"):
        read_seeds(write(tmp_path / "many.jsonl", *({**row, "output": None} for row in rows)))


def test_a_few_repeated_rows_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"instruction": f"Do {n % 19}", "output": "So."} for n in range(20)]
    assert len(read_seeds(write(tmp_path / "seeds.jsonl", *rows))) == 19
    assert "1 rows that repeat an earlier one are left out (20)" in caplog.text


def test_a_saved_dataset_is_read(tmp_path: Path) -> None:
    Dataset.from_list([TASK]).save_to_disk(tmp_path / "saved")
    assert read_seeds(tmp_path / "saved")[0]["output"] == "Jupiter"
    next((tmp_path / "saved").glob("*.arrow")).write_bytes(b"")
    with pytest.raises(SeedError, match="cannot be read as a saved dataset"):
        read_seeds(tmp_path / "saved")


def test_text_is_not_converted(tmp_path: Path) -> None:
    path = write(tmp_path / "seeds.jsonl", {"instruction": "Which day follows?", "output": "2024-02-29"})
    assert read_seeds(path)[0]["output"] == "2024-02-29"
    rows = ["\ufeff", "instruction,output,is_classification", f'"Say, in\ntwo lines.","{"x" * 200_000}",1.0', ""]
    (tmp_path / "seeds.csv").write_text("\r\n".join(rows), encoding="utf-8", newline="")
    seed = read_seeds(tmp_path / "seeds.csv")[0]
    assert seed["instruction"] == "Say, in\ntwo lines."
    assert len(seed["output"]) == 200_000
    assert seed["is_classification"] is True


def test_a_missing_source_and_an_unknown_column_are_named(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match="no such file of seeds"):
        read_seeds(tmp_path / "absent.jsonl")
    with pytest.raises(SeedError, match="cannot load the seeds user/seeds from the Hub") as caught:
        read_seeds("user/seeds")
    assert "\n" not in str(caught.value)
    with pytest.raises(SeedError, match="unknown column 'question'"):
        read_seeds(write(tmp_path / "seeds.jsonl", TASK), columns={"question": "q"})
