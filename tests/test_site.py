"""The documents as a site: every page in its place, and nothing fetched from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def pages(nav: list) -> list[str]:
    """Return the files of a navigation, however deep they stand in it."""
    found = []
    for entry in nav:
        for target in entry.values():
            found += [target] if isinstance(target, str) else pages(target)
    return found


def test_files_that_the_documents_name_are_there():
    known = re.compile(
        r"\b(?:tests|benchmarks|configs|examples|docs|snnprune)/[\w./-]*\.(?:py|yaml|md|png)\b"
    )
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        missing = [name for name in known.findall(page.read_text()) if not (ROOT / name).exists()]
        assert missing == [], page.name


def test_commands_of_the_documents_are_benchmarks_that_are_there():
    named = {}
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for module in re.findall(r"python -m (benchmarks[\w.]*)", page.read_text()):
            named[f"{module.replace('.', '/')}.py"] = page.name
    assert {file: page for file, page in named.items() if not (ROOT / file).is_file()} == {}
    scripts = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "benchmarks").glob("*/*.py")
        if "__main__" in file.read_text() and file.parent.name != "tests"
    }
    called = {"benchmarks/speed/measure.py", "benchmarks/memory/peak.py"}  # by benchmarks/speed/step.py
    assert scripts - set(named) == called


def test_every_document_has_its_place():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    files = sorted(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md"))
    assert sorted(pages(config["nav"])) == files


def test_what_the_reference_names_is_there():
    for path in (ROOT / "docs" / "api").glob("*.md"):
        for name in re.findall(r"^::: (\S+)$", path.read_text(), re.MULTILINE):
            module, _, last = name.rpartition(".")
            file = ROOT / module.replace(".", "/")
            inside = name.replace(".", "/")
            if (ROOT / inside).is_dir() or (ROOT / f"{inside}.py").is_file():
                continue
            source = file.with_suffix(".py").read_text()
            assert re.search(rf"^(class|def) {last}\b", source, re.MULTILINE), f"{path.name} names {name}"


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs pip install snnprune[docs]")
def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING  -" not in done.stderr
    built = list(tmp_path.rglob("*.html"))
    assert len(built) > len(list((ROOT / "docs").rglob("*.md")))  # and the page for what is not found
    for page in built:
        html = page.read_text()
        loads = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?([^\"' >]+)", html)
        loads += re.findall(r"<link\b[^>]*rel=[\"']?stylesheet[^>]*href=[\"']?([^\"' >]+)", html)
        loads += re.findall(r"<link\b[^>]*href=[\"']?([^\"' >]+)[^>]*rel=[\"']?stylesheet", html)
        assert loads
        assert [load for load in loads if re.match(r"(https?:)?//", load)] == [], page.name
    for style in tmp_path.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text())
