"""What is imported is declared and explained; imports point one way; files that a package needs are there."""

from __future__ import annotations

import ast
import re
import subprocess
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

NOT_IN_DEV = {"neurobench"}
"""It brings another library of spiking networks and torchaudio, for one test, which is skipped without it."""

BEHIND_OTHERS = {"tensorboard", "nirtorch", "onnxscript"}
"""Declared and used, but imported by another package (docs/dependencies.md says by which)."""

ROOMS = (
    "common",
    "config",
    "data",
    "engine",
    "nn",
    "network",
    "pruning",
    "methods",
    "runs",
    "export",
    "report",
    "training",
    "bench",
)
"""From the ground up: a room may import itself and those before it (docs/architecture.md)."""


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
    extras = declared(
        [need for extra in ("ray", "export", "events", "neurobench") for need in optional[extra]]
    )
    assert {name: file for name, file in names.items() if name not in known | extras} == {}
    assert (known | extras) - set(names) == BEHIND_OTHERS
    assert extras - NOT_IN_DEV <= declared(optional["dev"]), "what is not in dev is not tested"


def test_tests_and_benchmarks_need_nothing_else() -> None:
    files = [file for folder in ("tests", "benchmarks") for file in (ROOT / folder).rglob("*.py")]
    own = {"snnprune", "benchmarks", "support", *(file.stem for file in files)}
    known = declared(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"])
    for folder in ("tests", "benchmarks", "support"):
        for name, file in third_party(ROOT / folder).items():
            assert name in own or DISTRIBUTION.get(name, name) in known, f"{file} imports {name}"


def test_each_dependency_is_explained() -> None:
    rows = re.findall(
        r"^\| ([\w-]+) \| .+ \| .+ \|$", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE
    )
    extras = PROJECT["optional-dependencies"]
    everything = PROJECT["dependencies"] + extras["dev"] + extras["docs"] + extras["neurobench"]
    assert set(rows) - {"Package", "---"} == declared(everything)


def room(module: str) -> int:
    """Row of the room that a module lies in; the front doors (cli, the package itself) lie above all."""
    parts = module.split(".")
    return ROOMS.index(parts[1]) if len(parts) > 1 and parts[1] in ROOMS else len(ROOMS)


MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted(PACKAGE.rglob("*.py"))
}


@cache
def own_imports(module: str) -> frozenset[str]:
    """Modules of the package that ``module`` imports, wherever in it: inside functions and for types, too."""
    found = set()
    for name in imports(MODULES[module]):
        if name.partition(".")[0] == "snnprune":
            target = name if name in MODULES else name.rpartition(".")[0]
            assert target in MODULES, f"{module} imports {name}, which is not there"
            found.add(target)
    return frozenset(found - {module})


def test_every_folder_is_a_room_and_says_what_it_is() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ROOMS)
    assert len(ROOMS) <= 13
    for name in ROOMS:
        said = ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text())) or ""
        bound = re.search(r"\b(knows? no|not know|does not depend on)\b", said)
        assert bound, f"{name}: what does it not depend on?"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    for target in own_imports(module):
        assert room(target) <= room(module), f"{module} imports {target}, which lies above it"
        assert target != "snnprune" or room(module) == len(ROOMS), f"{module} imports by the front door"


def test_no_files_import_each_other_in_a_circle() -> None:
    left = {module: set(own_imports(module)) for module in MODULES}
    while free := [module for module, targets in left.items() if not targets & left.keys()]:
        for module in free:
            del left[module]
    inner = {m for m in left if any(m in own_imports(other) for other in left)}
    assert not left, f"these lie on a circle, or import one: {sorted(inner)}"


@pytest.mark.parametrize("name", ["common", "config"])
def test_the_lowest_rooms_do_without_torch(name: str) -> None:
    """The command line answers from them before anything heavy is imported."""
    modules = [module for module in MODULES if module.startswith(f"snnprune.{name}")]
    assert len(modules) > 3
    program = f"import sys, {', '.join(modules)}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


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


FOREIGN = {
    "snnprune": {"support", "tests", "benchmarks"},
    "support": {"tests", "benchmarks"},
    "tests": {"benchmarks"},
    "benchmarks": {"tests"},
}
"""What a folder may not import: tests and benchmarks meet in `support` alone."""


@pytest.mark.parametrize("folder", FOREIGN)
def test_tests_and_benchmarks_share_one_package_and_nothing_else(folder: str) -> None:
    files = [file for file in (ROOT / folder).rglob("*.py") if file != Path(__file__)]
    crossing = {(file.name, name) for file in files for name in imports(file)}
    assert {pair for pair in crossing if pair[1].partition(".")[0] in FOREIGN[folder]} == set()
    paths = r"sys\.path\.(append|insert)\(.*(benchmarks|tests|ROOT)"
    assert [file.name for file in files if re.search(paths, file.read_text())] == []


def test_what_tests_and_benchmarks_share_is_used() -> None:
    users = [file for folder in ("tests", "benchmarks", "support") for file in (ROOT / folder).rglob("*.py")]
    used = {name.split(".")[1] for file in users for name in imports(file) if name.startswith("support.")}
    used |= set(re.findall(r'"support\.(\w+)"', (ROOT / "conftest.py").read_text()))  # plugins of pytest
    assert {file.stem for file in (ROOT / "support").glob("*.py")} - {"__init__"} <= used
