"""C++ in documents: docs/cpp.md's program is built and run, snippets compile."""

import textwrap
from pathlib import Path

import pytest
from pages.executed_page import blocks_of, faults_of
from tools.installed_cpp import BUILD, ROOT, build_against_an_installed_copy, install

if not (BUILD / "libpolyrank.so").exists():
    pytest.skip("needs `make build`", allow_module_level=True)

# What the snippets of a page use and do not say.
BEFORE = {
    "README": "",
    "collectives": "at::Tensor x = at::ones({8}), in = at::ones({8}), out = at::ones({8});\n"
    "const std::vector<c10::SymInt> sent{2, 2, 2, 2};",
    "dist2": "std::vector<at::Tensor> tensors{at::ones({2})};",
    "trace": "const polyrank::LockstepWorld world(2);\nat::Tensor x = at::ones({2});",
}
HEADERS = """\
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <polyrank/polyrank.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <vector>
"""
CMAKE = """\
cmake_minimum_required(VERSION 3.24)
project(snippets LANGUAGES CXX)
find_package(polyrank 0.1 REQUIRED)
add_library(snippets OBJECT snippets.cc)
target_link_libraries(snippets PRIVATE polyrank::polyrank)
"""


def test_the_page_of_cpp_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "PREFIX")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CCACHE_BASEDIR", str(tmp_path))
    monkeypatch.setenv("CCACHE_SLOPPINESS", "include_file_mtime,include_file_ctime")
    monkeypatch.setenv("CMAKE_CXX_COMPILER_LAUNCHER", "ccache")
    assert not faults_of(ROOT / "docs" / "cpp.md", tmp_path)


def test_snippets_compile(tmp_path: Path) -> None:
    functions = [
        f"void {page}() {{\n{textwrap.indent(f'{before}{chr(10)}{text}', '  ')}}}\n"
        for page, before in BEFORE.items()
        for text in _snippets(page)
    ]
    assert len(functions) == len(BEFORE)
    source = tmp_path / "program"
    source.mkdir()
    (source / "snippets.cc").write_text("\n".join([HEADERS, *functions]))
    (source / "CMakeLists.txt").write_text(CMAKE)
    build_against_an_installed_copy(source, tmp_path)


def test_no_page_has_a_snippet_that_is_not_compiled() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert {page.stem for page in pages if _snippets_of(page)} == set(BEFORE)


def _snippets(page: str) -> list[str]:
    return _snippets_of(ROOT / "README.md" if page == "README" else ROOT / "docs" / f"{page}.md")


def _snippets_of(page: Path) -> list[str]:
    """Without the include that they all have: they go into functions."""
    return [
        text.removeprefix("#include <polyrank/polyrank.h>\n\n")
        for language, title, text in blocks_of(page)
        if language == "cpp" and not title
    ]
