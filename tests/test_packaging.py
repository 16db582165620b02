"""What is imported is declared and explained; imports point one way; files that a package needs are there."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "snnprune"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

DISTRIBUTION = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Packages that are not imported under the name that they are installed under."""

BEHIND_OTHERS = {"tensorboard", "nirtorch", "onnxscript"}
"""Declared and used, but imported by another package (docs/dependencies.md says by which)."""

ROOMS = (
    ("errors", "registry", "config", "atomic", "child", "document", "seeds", "untouched", "processes"),
    ("data",),
    ("models", "neurons", "measures"),
    ("network",),
    ("pruning",),
    ("dpap",),
    ("baselines",),
    ("report", "export"),
    ("training",),
    ("bench",),
    ("settings", "listing", "cli", "__main__"),
)
"""A room may import itself, its row and the rows above it."""


def declared(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~! ]", requirement)[0].lower() for requirement in requirements}


@cache
def imports(file: Path) -> frozenset[str]:
    """Every absolute module that a file imports, wherever in it, also by ``import_module("...")``."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports by a relative path"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {str(name.value) for name in node.args[:1] if isinstance(name, ast.Constant)}
    return frozenset(found)


def third_party(folder: Path) -> dict[str, Path]:
    return {
        name.partition(".")[0]: file
        for file in sorted(folder.rglob("*.py"))
        for name in imports(file)
        if name.partition(".")[0] not in sys.stdlib_module_names
    }


def test_what_is_imported_is_declared_and_the_reverse() -> None:
    used = third_party(PACKAGE)
    used.pop("snnprune")
    names = {DISTRIBUTION.get(name, name): file for name, file in used.items()}
    known = declared(PROJECT["dependencies"])
    optional = PROJECT["optional-dependencies"]
    extras = declared(optional["ray"] + optional["export"])
    assert {name: file for name, file in names.items() if name not in known | extras} == {}
    assert (known | extras) - set(names) == BEHIND_OTHERS
    assert extras <= declared(optional["dev"]), "what is not in dev is not tested"


def test_tests_and_benchmarks_need_nothing_else() -> None:
    own = {file.stem for folder in ("tests", "benchmarks") for file in (ROOT / folder).rglob("*.py")}
    own |= {"snnprune", "benchmarks", "tests"}
    known = declared(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"])
    for folder in ("tests", "benchmarks"):
        for name, file in third_party(ROOT / folder).items():
            assert name in own or DISTRIBUTION.get(name, name) in known, f"{file} imports {name}"


def test_each_dependency_is_explained() -> None:
    rows = re.findall(
        r"^\| ([\w-]+) \| .+ \| .+ \|$", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE
    )
    extras = PROJECT["optional-dependencies"]
    everything = PROJECT["dependencies"] + extras["dev"] + extras["docs"]
    assert set(rows) - {"Package", "---"} == declared(everything)


def room(module: str) -> int:
    """Row of the room that a module lies in; the package's own front door lies above them all."""
    parts = module.split(".")
    if len(parts) == 1:
        return len(ROOMS)
    rows = [row for row, rooms in enumerate(ROOMS) if parts[1] in rooms]
    assert rows, f"{module} lies in no room: give it a place in ROOMS"
    return rows[0]


def taken_by_the_front_door(file: Path) -> set[str]:
    """Names that a file takes as ``snnprune.name``; what the package is (__version__) anyone may ask."""
    nodes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)]
    names = {node.attr for node in nodes if ast.unparse(node.value) == "snnprune"}
    return {name for name in names if not name.startswith("__")}


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_point_one_way(file: Path) -> None:
    path = file.relative_to(ROOT).with_suffix("")
    here = ".".join(path.parts).removesuffix(".__init__")
    for name in imports(file):
        if name.partition(".")[0] != "snnprune" or name == "snnprune.__version__":
            continue
        if name == "snnprune":
            assert taken_by_the_front_door(file) == set(), f"{here} imports by the package's front door"
            continue
        target = name if is_module(name) else name.rpartition(".")[0]
        assert is_module(target), f"{here} imports {name}, which is not there"
        assert room(target) <= room(here), f"{here} imports {target}, which lies above it"


def test_tonic_stays_in_the_room_of_data() -> None:
    users = {file for file in PACKAGE.rglob("*.py") if any(n.startswith("tonic") for n in imports(file))}
    assert users
    assert {file.parent for file in users} == {PACKAGE / "data"}


def test_licence_and_citation_agree_with_the_project() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    from snnprune import __version__

    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    assert len(citation["references"]) == 4
    for reference in citation["references"]:
        assert {"title", "authors", "year", "type"} <= set(reference)


def test_version_of_python_is_the_same_everywhere() -> None:
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert f"({lowest.replace('.', ', ')})" in (ROOT / "Makefile").read_text()
