"""S1: nothing runs code from data, no check is switched off, nothing is called by a name that was read. By AST, in all of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = ("ml", "monitoring", "dags", "plugins", "feature_repo", "local", "docker", "benchmarks")
"""All that an installation runs; `tests` is looked at for what a test may not do either."""

MODULES = {"pickle", "cPickle", "joblib", "dill", "cloudpickle", "marshal", "shelve", "telnetlib", "pty", "runpy"}
"""Readers of what runs when it is read, and ways to run what was read."""

CALLS = {
    "eval": "runs data",
    "exec": "runs data",
    "compile": "makes code of data",
    "__import__": "imports by a name that was read",
    "importlib.import_module": "imports by a name that was read",
    "importlib.__import__": "imports by a name that was read",
    "os.system": "a shell",
    "os.popen": "a shell",
    "subprocess.getoutput": "a shell",
    "subprocess.getstatusoutput": "a shell",
    "asyncio.create_subprocess_shell": "a shell",
    "yaml.load": "makes objects of data; yaml.safe_load reads",
    "yaml.unsafe_load": "makes objects of data; yaml.safe_load reads",
    "yaml.full_load": "makes objects of data; yaml.safe_load reads",
    "tempfile.mktemp": "a name that somebody else may take",
    "ssl._create_unverified_context": "believes any server",
    "torch.load": "unpickles",
    "pd.read_pickle": "unpickles",
    "pandas.read_pickle": "unpickles",
    "lightgbm.Booster.load": "unpickles",
    "operator.methodcaller": "calls by a name that was read",
}
METHODS = {"to_pickle", "read_pickle", "unsafe_load", "import_string"}
ARGUMENTS = {
    "shell": {True},
    "verify": {False},
    "allow_pickle": {True},
    "check_hostname": {False},
    "trust_remote_code": {True},
    "autoescape": {False},
}
"""Keyword arguments and the values that they may not have; a value that is computed may be it, and counts."""

REASONED: dict[str, str] = {}
"""What was looked at and stays. A line that is no longer needed fails the test."""


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an expression of names; empty for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return ""


def renamed(tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for, so that `from yaml import load as l; l()` is seen."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {one.asname: one.name for one in node.names if one.asname}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return names


def banned(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of each thing in a source that may not be there."""
    tree = ast.parse(source)
    names = renamed(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found = [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from ((node.lineno, f"import {name}") for name in found if name.split(".")[0] in MODULES)
        if not isinstance(node, ast.Call):
            continue
        first, _, rest = dotted(node.func).partition(".")
        name = ".".join(filter(None, (names.get(first, first), rest)))
        if name in CALLS and not (name.startswith(("__import__", "importlib")) and _constant(node)):
            yield node.lineno, name
        if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            yield node.lineno, f".{node.func.attr}()"
        for word in node.keywords:
            if word.arg in ARGUMENTS and not _harmless(word.value, ARGUMENTS[word.arg]):
                yield node.lineno, f"{word.arg}={ast.unparse(word.value)}"


def _constant(call: ast.Call) -> bool:
    return bool(call.args) and isinstance(call.args[0], ast.Constant)


def _harmless(value: ast.expr, wrong: set[bool]) -> bool:
    if isinstance(value, ast.Constant):
        return value.value not in wrong
    return isinstance(value, ast.Call | ast.Name | ast.Attribute) and not wrong & {True}


def sources(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def test_nothing_that_an_installation_runs_does_what_is_banned() -> None:
    assert len(sources(*SHIPPED)) > 300
    found = {
        f"{path.relative_to(ROOT).as_posix()}: {name}": line
        for path in sources(*SHIPPED)
        for line, name in banned(path.read_text())
    }
    assert {name: line for name, line in found.items() if name not in REASONED} == {}
    assert set(REASONED) - set(found) == set(), "no longer needed"


def test_no_test_reads_pickles_or_runs_a_shell() -> None:
    allowed = {"eval", "exec", "compile", "importlib.import_module", "verify=False", "__import__"}
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in sources("tests")
        for line, name in banned(path.read_text())
        if name not in allowed and "planted" not in path.name
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import yaml\nyaml.load(x)",
        "from yaml import load as read\nread(x)",
        "import importlib\nimportlib.import_module(name)",
        "from importlib import import_module\nimport_module(name)",
        "import subprocess\nsubprocess.run(c, shell=True)",
        "import subprocess\nsubprocess.run(c, shell=asked)",
        "import os as o\no.system(c)",
        "import httpx\nhttpx.get(u, verify=False)",
        "import numpy as np\nnp.load(f, allow_pickle=True)",
        "import pandas as pd\npd.read_pickle(f)",
        "frame.to_pickle(f)",
        "eval(x)",
        "builtins = 1\n__import__(x)",
        "environment(autoescape=False)",
    ],
)
def test_each_kind_of_banned_thing_is_seen(source: str) -> None:
    assert list(banned(source))


@pytest.mark.parametrize(
    "source",
    ["import yaml\nyaml.safe_load(x)", "import importlib\nimportlib.import_module('json')", "re.compile(x)", "run(c, shell=False)",
     "get(u, verify=context)"],
)  # fmt: skip
def test_what_is_allowed_is_not_taken_for_it(source: str) -> None:
    assert list(banned(source)) == []
