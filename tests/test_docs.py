"""What README and docs tell a reader to type exists: commands, options, settings, links, Python."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from auto_instruct_hf import Recipe
from auto_instruct_hf.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


COMMANDS = [
    line
    for page in PAGES
    for block in blocks(page, "bash")
    for line in block.splitlines()
    if line.startswith("auto-instruct ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_have_the_options_that_they_are_shown_with(line: str) -> None:
    command = get_command(app)
    _, *arguments = shlex.split(line, comments=True)
    while getattr(command, "commands", None):
        name, *arguments = arguments
        command = command.commands[name]  # type: ignore[attr-defined]
    command.make_context(line, arguments)  # parses, and runs nothing


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_of_the_project(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_that_are_named_exist(page: Path) -> None:
    recipe, text = Recipe(), page.read_text(encoding="utf-8")
    for section, name in re.findall(r"`(\w+)\.(\w+)(?:`|:)", text):
        if hasattr(recipe, section):
            assert hasattr(getattr(recipe, section), name), f"{section}.{name}"


def test_the_example_recipe_is_read(tmp_path: Path) -> None:
    for page in PAGES:
        for number, block in enumerate(blocks(page, "yaml")):
            path = tmp_path / f"{page.stem}-{number}.yaml"
            path.write_text(block, encoding="utf-8")
            assert Recipe.from_yaml(path) != Recipe()
            assert yaml.safe_load(block)


def test_the_deduplication_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    [block] = blocks(ROOT / "docs" / "deduplicate.md", "python")
    exec(compile(block, "deduplicate.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "['Name three primary colours.', 'Write a haiku.']" in shown
    assert "Name three primary colours now." in shown
