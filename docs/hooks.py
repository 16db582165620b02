"""What mkdocs is told beside mkdocs.yml: the examples lie outside docs/, and belong to the site too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

OUTSIDE, INSIDE = "](../examples/", "](examples/"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take the examples in."""
    for path in sorted((Path(config.config_file_path).parent / "examples").glob("*.py")):
        files.append(File.generated(config, f"examples/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links that lead to the examples in a checkout lead to them in the site."""
    return markdown.replace(OUTSIDE, INSIDE)
