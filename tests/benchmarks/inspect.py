"""How a page with a long response loads and scrolls, and what it takes to score one.

    python -m tests.benchmarks.inspect > tests/benchmarks/results/inspect.md

Run it from the checkout on an idle machine with Chromium. The page is measured in headless Chromium, which
paints in software here. Frame times are gaps between animation frames while the page scrolls by 150 pixels
per frame, five lines of text; a smooth page stays near 16.7 ms. Layouts are Chromium's own count.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import statistics
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from playwright.sync_api import CDPSession, Page, sync_playwright

from recipes.machine import processor
from recipes.rehearsal.model import new_model, random_qwen3_config
from tests.support.synthetic_run import synthetic_run, words
from verl_egrsd.microscope.pages import write_pages
from verl_egrsd.microscope.scoring import score
from verl_egrsd.output.tables import text_table

TOKENS = (500, 2_000, 8_000)
ROUNDS = 3
FRAMES = 240
PIXELS = 150
WHOLE = "one, without `content-visibility`"
SCORED_TOKENS = 8_000

SCROLL = """([frames, pixels]) => new Promise((done) => {
  const gaps = [], far = document.documentElement.scrollHeight - innerHeight;
  let last = performance.now(), way = 0;
  const step = (now) => {
    gaps.push(now - last);
    last = now;
    way += pixels;
    scrollTo(0, way % far);
    if (gaps.length < frames) requestAnimationFrame(step); else done(gaps);
  };
  requestAnimationFrame(step);
})"""
RECOLOUR = """() => new Promise((done) => {
  const start = performance.now();
  document.querySelector("button[data-key=regime]").click();
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
})"""


def layouts(session: CDPSession) -> int:
    """Layouts that Chromium has made of the page so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(int(metric["value"]) for metric in metrics if metric["name"] == "LayoutCount")


def measure(page: Page, path: Path) -> dict[str, float]:
    """Load, scroll and recolour a page once."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.goto(path.as_uri())
    load = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    before = layouts(session)
    gaps = page.evaluate(SCROLL, [FRAMES, PIXELS])[1:]
    return {
        "load": load,
        "median": statistics.median(gaps),
        "p95": sorted(gaps)[int(0.95 * len(gaps))],
        "worst": max(gaps),
        "layouts": (layouts(session) - before) / FRAMES,
        "recolour": page.evaluate(RECOLOUR),
    }


def best(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The round with the shortest load, as the one that was disturbed least."""
    return min(rounds, key=lambda numbers: numbers["load"])


def scoring() -> tuple[float, float]:
    """Seconds and MiB of memory to score a long response with Qwen3's vocabulary."""
    model = new_model(random_qwen3_config(), seed=0).eval()
    ids = torch.randint(0, 1000, (SCORED_TOKENS,)).tolist()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    score(model, ids[:100], ids, 1.1)
    seconds = time.perf_counter() - start
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def rows(browser: Any, folder: Path) -> list[list[str]]:
    """One line of the table for each length, with one panel and with two."""
    lines = []
    for tokens in TOKENS:
        run, other = (synthetic_run([words(tokens, seed)], seed=seed) for seed in (0, 1))
        for runs, label in (([run], "one"), ([run], WHOLE), ([run, other], "two, side by side")):
            index = write_pages(runs, folder / f"{tokens} {label}", limit=1)
            path = index.with_name("rollout-0001.html")
            if label == WHOLE:
                path.write_text(path.read_text().replace("content-visibility: auto", ""))
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            found = best([measure(page, path) for _ in range(ROUNDS)])
            page.close()
            numbers = [found[name] for name in ("load", "recolour", "median", "p95", "worst")]
            cells = (f"{number:.0f}" for number in numbers)
            size = f"{path.stat().st_size / 2**20:.2f}"
            lines.append([f"{tokens:,}", label, size, *cells, f"{found['layouts']:.2f}"])
    return lines


def main() -> None:
    """Measure and print the page."""
    seconds, memory = scoring()
    chromium = shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        lines, engine = rows(browser, Path(folder)), browser.version
        browser.close()
    print("# Pages of `verl-egrsd inspect`\n")
    print("Times in milliseconds. A frame is the gap between two animation frames while scrolling ", end="")
    print(f"by {PIXELS} pixels per frame.\n")
    frames = ("frame, median", "frame, p95", "frame, worst", "layouts per frame")
    print(text_table(("tokens", "responses", "MiB", "load", "recolour", *frames), lines, "rl"))
    whole = SCORED_TOKENS * 151_936 * 4 / 2**20
    print(
        f"\nScoring {SCORED_TOKENS:,} tokens with Qwen3's vocabulary of 151,936 rows: {seconds:.0f} s, ",
        end="",
    )
    print(
        f"{memory:,.0f} MiB at the peak above the model. One buffer of all logits has {whole:,.0f} MiB, ",
        end="",
    )
    print("and an entropy holds three. The model is random and narrow (hidden width 32).")
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "playwright"))
    print(
        f"\n- {os.cpu_count()} cores, {processor()}, no GPU; load average at the end {os.getloadavg()[0]:.1f}"
    )
    print(f"- Python {platform.python_version()}, {packages}, Chromium {engine}, headless, window 1280 x 900")
    print(f"- {date.today()}; the round with the shortest load of {ROUNDS}; {FRAMES} frames")
    print("- `python -m tests.benchmarks.inspect > tests/benchmarks/results/inspect.md`")


if __name__ == "__main__":
    main()
