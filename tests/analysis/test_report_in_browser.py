"""Reports as a browser draws them, on a phone and on a screen: nothing overlaps, hides, fails or is fetched.

The page stands in a frame of the width of the device, and a script beside the frame looks at what is drawn.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html import escape, unescape
from pathlib import Path

import pytest
from made_up_sweep import MadeUp, write_sweep
from synthetic_run import Synthetic

from analysis import report
from netsim.tables import DecisionRow, EvaluationRow, ForwardPassRow, RequestRow, RoundRow

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
PHONE, SCREEN = 390, 1280

LOOK = r"""
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => setTimeout(() => {
  const page = frame.contentDocument, found = [];
  const box = element => element.getBoundingClientRect();
  const common = (a, b) => [Math.min(a.right, b.right) - Math.max(a.left, b.left),
                            Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)];
  for (const plot of page.querySelectorAll(".plot")) {
    const texts = [...plot.querySelectorAll("svg text")].filter(text => text.textContent.trim() && box(text).width > 0);
    const whole = box(plot), legend = plot.querySelector(".legend .bg");
    texts.forEach((text, place) => {
      const a = box(text);
      if (a.left < whole.left - 1 || a.right > whole.right + 1) found.push(`${plot.id}: cut off: ${text.textContent}`);
      for (const other of texts.slice(place + 1)) {
        const [width, height] = common(a, box(other));
        if (width > 2 && height > 4) found.push(`${plot.id}: overlap: ${text.textContent}, ${other.textContent}`);
      }
    });
    for (const entry of plot.querySelectorAll(".legendtext")) {
      if (box(entry).bottom > box(legend).bottom + 2) found.push(`${plot.id}: hidden: ${entry.textContent}`);
    }
    const rows = [...plot.querySelectorAll(".ytick text")].map(text => box(text).top).sort((a, b) => a - b);
    if (rows.some((top, place) => place && top - rows[place - 1] > 1 && top - rows[place - 1] < 14)) {
      found.push(`${plot.id}: crowded`);
    }
    for (const area of plot.querySelectorAll(".bglayer rect.bg")) {
      if (box(area).width < 90 || box(area).height < 40) found.push(`${plot.id}: small`);
    }
    if (!plot.querySelector(".bglayer rect.bg, .gridlayer")) found.push(`${plot.id}: not drawn`);
  }
  const root = page.documentElement;
  if (root.scrollWidth > root.clientWidth) found.push("the page is wider than the device");
  found.push(...frame.contentWindow.performance.getEntriesByType("resource").map(each => `fetched: ${each.name}`));
  document.getElementById("found").textContent = JSON.stringify(found);
}, 1500));
"""


def faults(page: Path, width: int, tmp_path: Path) -> list[str]:
    """What is wrong with a page in a browser window of this width in pixels, errors of its scripts included."""
    frame = (
        f'<iframe width="{width}" height="900" style="border: 0" srcdoc="{escape(page.read_text("utf-8"))}"></iframe>'
    )
    beside = f'<!doctype html><meta charset="utf-8"><pre id="found"></pre>{frame}<script>{LOOK}</script>'
    (tmp_path / "beside.html").write_text(beside, "utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={tmp_path}"]
    show = [BROWSER, *options, "--virtual-time-budget=20000", "--dump-dom", (tmp_path / "beside.html").as_uri()]
    shown = subprocess.run(show, capture_output=True, text=True, timeout=300, check=True)
    found = re.search(r'<pre id="found">(.+?)</pre>', shown.stdout)
    assert found is not None, shown.stderr[-2000:]
    return [*json.loads(unescape(found[1])), *re.findall(r"CONSOLE.*", shown.stderr)]


def asynchronous_run(path: Path) -> Path:
    """All activities of a timeline, requests, and updates of the server's model one by one."""
    run = Synthetic(users=4, rounds=3)
    run.rows["decisions"] += [DecisionRow(0, user, "weights_downloaded", float(user)) for user in range(4)]
    run.rows["requests"] += [
        RequestRow(0, "server", float(at), float(at), at + 0.3, 0.3, 1e4, "served", "a stream of a long name", at, 1e6)
        for at in range(9)
    ]
    return run.write(path)


def answering_run(path: Path) -> Path:
    """Answers to requests, period by period, and forward passes of a model with experts, in a run of a long name."""
    run = Synthetic(users=1, rounds=0)
    run.rows["requests"] += [RequestRow(0, "edge", 0.1, 0.1, 0.3, 0.2, 1e4, "served", "questions", 0, 1e6)]
    for period in range(3):
        end_s = 10.0 * (period + 1)
        run.rows["rounds"].append(RoundRow(period, end_s - 10, end_s, 10.0, 1, 0, 0.0, 1e6, 1e6, 1.0))
        run.rows["evaluations"].append(EvaluationRow(period, end_s, "answers", "accuracy", 0.7 + 0.02 * period, 12))
        for position in (0, 8):
            row = (0, "questions", period, position, 1, 0.0, 0.06, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01)
            run.rows["forward_passes"].append(ForwardPassRow(*row))
    run.write(path)
    (path / "run.json").write_text(json.dumps({"name": "answers_beside_training", "status": "complete"}))
    return path


def failed_run(path: Path) -> Path:
    run = Synthetic(users=1, rounds=1, status="failed").write(path)
    error = "ValueError: the loss of user 3 is not a number after 12 steps of its local round: " + "long " * 30
    (run / "run.json").write_text(json.dumps({"name": "a", "status": "failed", "error": error}))
    return run


def sweep(path: Path) -> Path:
    labels = ["A fifth of the band for uplinks, wait for all", "First 9 of 12", "learning.policy.name=asynchronous"]
    runs = {
        label: {seed: MadeUp(0.013 * seed * place) for seed in range(1, 7)} for place, label in enumerate(labels, 1)
    }
    return write_sweep(path, runs)


@pytest.mark.skipif(BROWSER is None, reason="no browser")
@pytest.mark.parametrize("width", [PHONE, SCREEN])
@pytest.mark.parametrize("kind", [asynchronous_run, answering_run, failed_run, sweep])
def test_a_report_is_drawn_without_faults(kind: Callable[[Path], Path], width: int, tmp_path: Path) -> None:
    page = report.write(kind(tmp_path / "run"))
    assert page.stat().st_size < 6e6
    assert faults(page, width, tmp_path) == []


@pytest.mark.skipif(BROWSER is None, reason="no browser")
def test_faults_are_found(tmp_path: Path) -> None:
    page = report.write(sweep(tmp_path / "run"))
    wide = page.read_text("utf-8").replace("columns.length < 3", "true").replace("<header>", "<header>" + "x" * 200)
    page.write_text(wide.replace("const plots =", "fetch('https://example.invalid/a'); const plots ="), "utf-8")
    found = " ".join(faults(page, PHONE, tmp_path))
    assert "small" in found
    assert "overlap" in found
    assert "the page is wider than the device" in found
    assert "example.invalid" in found
