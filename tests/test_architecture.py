"""The house stays readable while imports between folders point one way and go through a folder's front door."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "auto_instruct_hf"
# From the bottom up; a folder (or a module at the root) imports from earlier lines only.
LAYERS = [
    ["errors"],
    ["settings"],
    ["recipe"],
    ["core"],
    ["prompts", "filters"],
    ["teacher"],
    ["engines"],
    ["embedding"],
    ["novelty"],
    ["generation", "curation", "clustering", "sampling"],
    ["evaluation"],
    ["estimate"],
    ["publishing"],
    ["pipeline"],
    ["evaluation_pipeline", "ablation"],
    ["finetuning"],
    ["cli"],
    ["__init__", "__main__"],
]
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}


def folder_of(path: Path) -> tuple[str, ...]:
    """Return the folder of a module below the package: () for the root, ("evaluation", "rating") for a nested one."""
    return path.relative_to(PACKAGE).parts[:-1]


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield the modules and names of this package that a module imports, as paths below the package."""
    package = ("auto_instruct_hf", *folder_of(path))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split("."))[1:] for alias in node.names if "auto_instruct_hf." in alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            target = (*base, *(node.module.split(".") if node.module else ()))
            if target[:1] == ("auto_instruct_hf",):
                yield from ((*target, alias.name)[1:] for alias in node.names)


def test_every_folder_has_its_layer() -> None:
    assert {(*folder_of(path), path.stem)[0] for path in PACKAGE.rglob("*.py")} == set(LAYER)


def test_imports_between_folders_point_one_way() -> None:
    for path in PACKAGE.rglob("*.py"):
        room = (*folder_of(path), path.stem)[0]
        for target in imports(path):
            if target[0] != room:
                assert LAYER[target[0]] < LAYER[room], f"{path.relative_to(PACKAGE)} imports {'.'.join(target)}"


def test_other_folders_are_imported_by_their_front_door() -> None:
    for path in PACKAGE.rglob("*.py"):
        own = folder_of(path)
        for *module, name in imports(path):
            inside = PACKAGE.joinpath(*module)
            is_own = own[: len(module)] == tuple(module) or own[: len(module) - 1] == tuple(module[:-1])
            front = (inside / "__init__.py").read_text(encoding="utf-8") if inside.is_dir() else ""
            is_submodule = (inside / f"{name}.py").is_file() and not is_own and f'"{name}"' not in front
            assert is_own or inside.is_dir(), f"{path.relative_to(PACKAGE)} imports from {'.'.join(module)}"
            assert not is_submodule, f"{path.relative_to(PACKAGE)} imports the module {'.'.join(module)}.{name}"


def test_few_modules_lie_at_the_root() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 7


def test_modules_stay_small() -> None:
    for path in PACKAGE.rglob("*.py"):
        limit = 680 if path.name == "app.py" else 330  # the rating page is copied to Spaces as one file
        assert len(path.read_text(encoding="utf-8").splitlines()) <= limit, f"{path.name}: split it?"


def test_no_public_name_is_defined_twice() -> None:
    seen: dict[str, Path] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
            for name in (getattr(target, "name", getattr(target, "id", "_")) for target in targets):
                assert name.startswith("_") or name not in seen, f"{name} is defined in {seen[name]} and {path}"
                seen[name] = path
