"""Chinese texts that somebody reads have Chinese punctuation: every literal of the code, every text of the data."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.settings import ROOT

HALF_WIDTH = re.compile(r"[\u4e00-\u9fff](?:[,;:!?()]|\.(?:\s|$))|[,;:!?()][\u4e00-\u9fff]")
PATTERN = re.compile(r"\(\?|\\d|\[\^")  # a regular expression is no text
# Columns of WeChat's files, which are as they are.
QUOTED = {"收支金额(元)", "账户结余(元)"}
CODE = sorted((ROOT / "app").rglob("*.py"))
DATA = sorted((ROOT / "app" / "data").rglob("*.json"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def literals(tree: ast.Module) -> Iterator[str]:
    """Without docstrings, which are English and may quote Chinese."""
    scopes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, scopes)
                  if node.body and isinstance(node.body[0], ast.Expr)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def texts(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for child in data.values() if isinstance(data, dict) else data:
            yield from texts(child)


@pytest.mark.parametrize("path", CODE, ids=name)
def test_what_the_code_says_in_chinese_is_punctuated_as_chinese(path: Path) -> None:
    said = literals(ast.parse(path.read_text(encoding="utf-8")))
    ours = [text for text in said if text not in QUOTED and not PATTERN.search(text)]
    assert [text for text in ours if HALF_WIDTH.search(text)] == []


@pytest.mark.parametrize("path", DATA, ids=name)
def test_what_the_data_say_in_chinese_is_punctuated_as_chinese(path: Path) -> None:
    said = texts(json.loads(path.read_text(encoding="utf-8")))
    assert [text for text in said if HALF_WIDTH.search(text)] == []
