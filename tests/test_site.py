"""The pages of the documentation, which are read in the repository and on the site, and the notebooks among them."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

import scenarios

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(str(file.relative_to(DOCS)) for file in DOCS.rglob("*.md"))
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.py"))
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
HTML_ASSET = re.compile(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:)?//')


def test_the_site_has_every_page_once() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    assert sorted(re.findall(r": (\S+\.md)$", nav, re.MULTILINE)) == PAGES


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_to_files_of_the_site(page: str) -> None:
    """Not to those beside docs/, which the site does not have."""
    file = DOCS / page
    for target in LINK.findall(re.sub(r"```.*?```", "", file.read_text(), flags=re.DOTALL)):
        found = (file.parent / target).resolve()
        assert found.is_file(), target
        assert DOCS in found.parents, target


def test_the_search_of_pages_opened_from_a_folder_has_its_script_at_hand() -> None:
    """Without this line the plugin `offline` links to a script of another host."""
    shim = re.search(r"^  polyfills: \[(.*iframe-worker.*)\]", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert shim is not None
    assert (DOCS / shim[1]).is_file()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for the number of rounds and of seeds."""
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    monkeypatch.chdir(tmp_path)
    read = scenarios.load
    short = {"learning.stop": {"rounds": 4}, "learning.data.train_samples": 240}
    monkeypatch.setattr(scenarios, "load", lambda file, changes=None: read(file, {**(changes or {}), **short}))
    names: dict[str, Any] = {}
    text = notebook.read_text().replace("(1, 2, 3, 4, 5)", "(1, 2)").replace("target=0.85", "target=0.12")
    exec(compile(text, notebook.name, "exec"), names)
    plt.close("all")
    printed = capsys.readouterr().out
    assert re.search(r"s before, \d|2 paired seeds", printed)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.stem)
def test_the_page_of_a_notebook_has_its_cells(notebook: Path) -> None:
    """What they print and draw is as of the latest `python docs/tutorials/execute.py`."""
    page = (DOCS / "tutorials" / f"{notebook.stem}.md").read_text()
    kinds_and_cells = re.split(r"^# %%(.*)\n", notebook.read_text(), flags=re.MULTILINE)[1:]
    for kind, cell in zip(kinds_and_cells[::2], kinds_and_cells[1::2], strict=True):
        text = re.sub(r"^# ?", "", cell, flags=re.MULTILINE) if "markdown" in kind else cell
        assert text.strip() in page
    assert notebook.read_text().count("\n") < 60


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="the extra docs is not installed")
def test_the_site_is_built_without_warnings_and_asks_nothing_of_other_hosts(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, timeout=600)
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(PAGES)
    assert not [page for page in pages if HTML_ASSET.search(page.read_text())]
    assert all('scripts/iframe-worker.js"' in page.read_text() for page in tmp_path.glob("*.html"))
    assert (tmp_path / "search" / "search_index.js").is_file()
    api = (tmp_path / "api.html").read_text()
    assert 'id="scenarios.run.simulate"' in api
    assert 'id="learning.world.World"' in api
