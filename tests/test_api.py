"""What users and the documents name is there; it completes, has types, and costs nothing until it is used."""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
import sys
from pathlib import Path

import pytest

import snnprune
from snnprune.config.names import METHODS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
ROOMS = sorted(path.parent.name for path in (ROOT / "snnprune").glob("*/__init__.py"))


def python(code: str) -> str:
    """Return what a fresh Python prints, in which nothing has been imported yet."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_names_are_listed_completed_and_there() -> None:
    assert len(set(snnprune.__all__)) == len(snnprune.__all__)
    assert set(snnprune.__all__) <= set(dir(snnprune))
    for name in dir(snnprune):
        assert getattr(snnprune, name) is not None
    with pytest.raises(AttributeError, match="module 'snnprune' has no attribute 'Prunner'"):
        snnprune.Prunner  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_in_a_room_is_an_attribute_of_it(room: str) -> None:
    found = getattr(snnprune, room)
    inside = [p for p in (ROOT / "snnprune" / room).iterdir() if p.suffix == ".py" or p.is_dir()]
    files = {path.stem for path in inside if not path.name.startswith("__")}
    assert files | set(getattr(found, "__all__", ())) <= set(dir(found))
    first = min(files)
    assert getattr(found, first) is not None


def test_a_type_checker_is_told_of_the_same_names() -> None:
    (told,) = (
        node
        for node in ast.parse((ROOT / "snnprune/__init__.py").read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    names = {a.asname or a.name for n in told.body if isinstance(n, ast.ImportFrom) for a in n.names}
    modules = {name for name in names if isinstance(getattr(snnprune, name), type(ast))}
    assert names - modules == set(snnprune.__all__) - {"__version__"}
    assert modules == {*ROOMS, "dpap"}


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, snnprune; dir(snnprune); print(sorted(m.partition('.')[0] for m in sys.modules))"
    assert not {"torch", "numpy", "lightning", "matplotlib", "spikingjelly"} & set(eval(python(code)))


def test_errors_and_warnings_of_the_documents_are_at_the_front() -> None:
    named = {n for page in PAGES for n in re.findall(r"\b[A-Z]\w+(?:Error|Warning)\b", page.read_text())}
    own = named - set(vars(builtins)) - {"OutOfMemoryError"}  # which is torch's
    assert "CompactionError" in own
    assert own <= set(snnprune.__all__)


def names_in(page: Path) -> set[str]:
    """Return the dotted names of the package that a page has in its words and its code."""
    text = page.read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    found = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse("\n".join(code)))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "snnprune"
        for alias in node.names
    }
    spans = re.findall(r"`[^`\n]+`", text) + re.findall(r"^(?!from ).*", "\n".join(code), re.MULTILINE)
    for span in spans:
        found.update(re.findall(r"(?<![\w/.-])snnprune(?:\.[A-Za-z_]\w*)+", span))
    return found - {"snnprune.methods.mine", "snnprune.rest"}  # the reader's file, and a key in an ONNX file


def test_every_name_of_the_documents_is_there() -> None:
    pages = [page for page in PAGES if page.name != "CHANGELOG.md"]  # which names what is gone
    named = {name: page.name for page in pages for name in names_in(page)}
    assert len(named) > 30
    missing = eval(
        python(f"""
import snnprune
missing = []
for name in {sorted(named)}:
    found = snnprune
    try:
        for part in name.split(".")[1:]:
            found = getattr(found, part)
    except AttributeError:
        missing.append(name)
print(missing)
""")
    )
    assert {name: named[name] for name in missing} == {}


USER = """
import torch
import snnprune
from snnprune.methods import DPAP

model = snnprune.accelerate(torch.nn.Linear(1, 1))
pruner = snnprune.Pruner(model, torch.zeros(1, 1), DPAP(target=0.5), epochs=3)
reveal_type(model.in_features)
reveal_type(pruner.rates().synapses)
reveal_type(snnprune.compact(model, pruner.masks))
reveal_type(snnprune.dpap.DPAP(eta=3).target)
DPAP(targt=0.5)
snnprune.Prunner
"""


def checked(folder: Path, **environment: str) -> list[str]:
    (folder / "user.py").write_text(USER)
    arguments = ["--no-incremental", "--follow-imports=silent", "--ignore-missing-imports", "user.py"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )
    return re.findall(r": (?:note: Revealed type is|error:) (.*)", done.stdout)


@pytest.mark.slow
def test_a_users_script_is_checked_with_types(tmp_path: Path) -> None:
    assert (ROOT / "snnprune/py.typed").exists()
    said = checked(tmp_path, MYPYPATH=str(ROOT))
    assert said[:2] == ['"int"', '"float"']
    assert "Linear" in said[2]
    assert "Target | None" in said[3]
    assert 'Unexpected keyword argument "targt" for "DPAP"' in said[4]
    assert 'Module has no attribute "Prunner"' in said[5]


def test_no_file_of_the_package_is_left_out_of_the_wheel() -> None:
    """Hatch leaves out what .gitignore names: no folder of the package may have such a name."""
    files = [str(p.relative_to(ROOT)) for p in (ROOT / "snnprune").rglob("*") if p.suffix != ".pyc"]
    assert "snnprune/py.typed" in files
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        input="\n".join(file for file in files if "__pycache__" not in file),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if ignored.returncode == 128:
        pytest.skip(ignored.stderr)  # this is no checkout
    assert ignored.stdout == ""


def test_a_class_of_each_method_is_at_hand() -> None:
    classes = {METHODS[name].load() for name in METHODS if name != "dense"}
    assert classes == {getattr(snnprune.methods, name) for name in snnprune.methods.__all__}
