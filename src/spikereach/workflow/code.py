"""Which code a workflow script runs, as a digest: edits rerun what depends on them, and no more.

Snakemake tracks the text of a rule's script, but not the modules it imports.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import spikereach


def code_digest(script: str | Path, *modules: str) -> str:
    """SHA-256 (hex) of a script and of all it imports, directly or not.

    Followed are ``import`` statements anywhere in the files that lead into this package, or
    into the package of one of ``modules``. Comments, docstrings and layout do not count. To a
    package belong the data files beside its ``__init__.py``.

    Args:
        script: a Python file.
        modules: further modules that are imported by name only, such as a decoder's.
    Raises:
        ModuleNotFoundError: one of ``modules`` does not exist.
    """
    packages = {"spikereach", *(name.partition(".")[0] for name in modules)}
    found = {Path(script): ""}
    waiting = [*_imports(Path(script), ""), *modules]
    seen = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name.partition(".")[0] not in packages:
            continue
        seen.add(name)
        waiting.append(name.rpartition(".")[0])  # importing a module imports its package
        path = _file(name)
        if path is not None:
            found[path] = name
            waiting += _imports(path, name)
        elif name in modules:
            raise ModuleNotFoundError(
                f"no module {name!r}; is the absolute path of its folder in PYTHONPATH?"
            )
    total = hashlib.sha256()
    for path, name in sorted(found.items(), key=lambda item: item[1]):
        total.update(f"{name}\n{_normalised(path)}\n".encode())
        if path.name == "__init__.py":
            for file in sorted(path.parent.iterdir()):
                if file.is_file() and file.suffix not in {".py", ".pyc"}:
                    total.update(f"{file.name}\n".encode() + file.read_bytes())
    return total.hexdigest()


def _file(module: str) -> Path | None:
    """The source file of a module; None where there is no such module (a class, a function).

    Nothing is imported.
    """
    top, *rest = module.split(".")
    if top == "spikereach":
        root = Path(spikereach.__file__).parent
    else:
        spec = importlib.util.find_spec(top)
        if spec is None or not spec.submodule_search_locations:
            single = spec is not None and not rest and spec.has_location
            return Path(spec.origin) if single else None
        root = Path(spec.submodule_search_locations[0])
    base = root.joinpath(*rest)
    candidates = (base / "__init__.py", base.parent / f"{base.name}.py")
    return next((path for path in candidates if path.is_file()), None)


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def _imports(path: Path, name: str) -> Iterator[str]:
    """Absolute names that the import statements of a module's file may refer to."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


@functools.cache
def _normalised(path: Path) -> str:
    """Source without comments, docstrings and layout."""
    tree = ast.parse(path.read_text(), filename=str(path))
    for node in ast.walk(tree):
        has_docstring = isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        )
        if has_docstring and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
