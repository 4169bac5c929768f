"""The house stays readable while imports point one way and phases do not know each other."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "auto_instruct_hf"
# From the ground up; a module imports from storeys below its own, or from its own unless that is the phases'.
STOREYS = [
    ["errors"],
    ["recipe", "model_settings", "settings", "texts", "schema", "packaged", "verbs", "markup"],
    ["prompts", "transform", "novelty", "overlap", "tables"],
    ["seeds", "teacher", "encoders", "onnx_backend", "mixture", "reduction", "selection"],
    ["growth", "grouping", "rehearsal", "topics", "embedding", "curve", "extension", "dealing"],
    ["bootstrap", "attribution", "completion", "curation", "decontamination", "clustering", "splitting", "sampling"],
    ["preview", "facts", "plots", "hub"],
    ["estimate", "evaluation"],
    ["card", "illustrate"],
    ["publish"],
    ["pipeline", "evaluating"],
    ["ablation"],
    ["__init__"],
]
PHASES = STOREYS[5]
LEVEL = {name: level for level, names in enumerate(STOREYS) for name in names}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Return the rooms that a module imports, whatever form the import has."""
    package = ["auto_instruct_hf", *path.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            target = ".".join([*base, *([node.module] if node.module else [])])
            names = [target] if target != "auto_instruct_hf" else [f"{target}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("auto_instruct_hf.")}
    return found


def test_every_room_has_its_storey() -> None:
    assert {room_of(path) for path in PACKAGE.rglob("*.py")} == set(LEVEL)


def test_imports_point_one_way() -> None:
    for path in PACKAGE.rglob("*.py"):
        room = room_of(path)
        for other in imported_rooms(path) - {room}:
            assert LEVEL[other] <= LEVEL[room], f"{path.name} imports {other} from above"
            assert not (room in PHASES and other in PHASES), f"the phase {room} imports the phase {other}"


def test_modules_stay_small() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 330, f"{path.name}: two rooms in one?"


def test_every_module_has_its_tests_or_is_tested_with_its_phase() -> None:
    tested_elsewhere = {
        "errors": "every test of an error",
        "texts": "test_bootstrap",
        "settings": "test_recipe",
        "model_settings": "test_recipe",
        "dealing": "test_splitting",
        "overlap": "test_decontamination",
        "tables": "test_seeds",
        "schema": "test_bootstrap",
        "growth": "test_bootstrap",
        "topics": "test_clustering",
        "encoders": "test_embedding",
        "onnx_backend": "test_embedding",
        "mixture": "test_clustering",
        "reduction": "test_clustering",
        "selection": "test_clustering",
        "curve": "test_clustering",
        "extension": "test_clustering",
        "packaged": "test_embedded",
        "card": "test_publish",
        "facts": "test_pipeline",
        "markup": "test_card",
        "illustrate": "test_card",
        "preview": "test_estimate",
        "evaluating": "test_evaluation_report",
        "rehearsal": "test_estimate",
        "__init__": "test_pipeline",
    }
    present = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert set(LEVEL) - set(tested_elsewhere) <= present
