"""Digests, all of them: what a value, a file, arrays, a script's code or a job is, as a text.

Whoever compares two states (a resume file and its job, a file and its manifest) compares digests
made here. All are SHA-256 in hex, but for the MD5 that the recordings were published with. Some
digests are seeds of random numbers too, so that what stands here cannot change without a
change of every result.
"""

import ast
import functools
import hashlib
import importlib.util
import json
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import spikereach

DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def canonical(value: Any) -> str:
    """A JSON-like value, or one with pydantic models in it, as JSON without regard to key order."""
    dump = operator.methodcaller("model_dump", mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=dump)


def digest(value: Any) -> str:
    """Of a value that :func:`canonical` takes."""
    return text_checksum(canonical(value))


def text_checksum(text: str) -> str:
    """Of a text as it stands, in UTF-8."""
    return content_checksum(text.encode())


def content_checksum(content: bytes) -> str:
    """Of bytes at hand."""
    return hashlib.sha256(content).hexdigest()


def file_checksum(
    path: str | Path, algorithm: str = "sha256", advance: Callable[[int], Any] | None = None
) -> str:
    """Of the content of a file by an algorithm of `hashlib`; ``advance`` gets the number of
    bytes after each piece.

    Raises:
        OSError: it is missing or cannot be read.
    """
    total = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while piece := file.read(2**20):
            total.update(piece)
            if advance is not None:
                advance(len(piece))
    return total.hexdigest()


def array_checksum(arrays: Mapping[str, Any], metadata: Any = None) -> str:
    """Of names, types, shapes and bytes of arrays, and of JSON-like metadata.

    Arrays are NumPy's, or tensors of PyTorch on any device, of a type that NumPy has. The two name
    their types differently, and so a tensor is not its array. Metadata as for :func:`canonical`.

    Raises:
        TypeError: NumPy lacks the type of a tensor.
    """
    total = hashlib.sha256(canonical(metadata).encode())
    for name, array in sorted(arrays.items()):
        total.update(canonical([name, str(array.dtype), list(array.shape)]).encode())
        values = array.numpy(force=True) if hasattr(array, "numpy") else array
        total.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8))
    return total.hexdigest()


def job_key(snakemake: Any) -> str:
    """Of all that the result of a job depends on: rule, wildcards, params, content of inputs."""
    return digest(
        {
            "rule": snakemake.rule,
            "wildcards": dict(snakemake.wildcards.items()),
            "params": params_key(snakemake),
            "inputs": [file_checksum(path) for path in snakemake.input],
        }
    )


def params_key(snakemake: Any) -> str:
    """Of the params of a job: what Snakemake reruns it for, its code among them."""
    return digest({name: str(value) for name, value in snakemake.params.items()})


@functools.cache
def code_digest(script: str | Path, *modules: str) -> str:
    """Of a script and of all it imports, directly or not.

    Snakemake itself tracks the text of a rule's script, but not the modules it imports: edits
    shall rerun what depends on them, and no more. Followed are ``import`` statements anywhere in
    the files that lead into this package, or into the package of one of ``modules``. A
    package that hands its own name to a function imports its modules by it, as operations do
    their backends: all of them count. Comments, docstrings, layout and line ends do not. To a
    package belong the data files beside its ``__init__.py``.

    Args:
        script: a Python file.
        modules: further modules that are imported by name only, such as a decoder's.
    Raises:
        ModuleNotFoundError: one of ``modules`` does not exist.
    """
    packages = {"spikereach", *(name.partition(".")[0] for name in modules)}
    imports, text = _module(Path(script), "")
    texts, waiting = {"": text}, [*imports, *modules]
    while waiting:
        name = waiting.pop()
        if name in texts or name.partition(".")[0] not in packages:
            continue
        path = _file(name)
        if path is None and name in modules:
            raise ModuleNotFoundError(
                f"no module {name!r}; is the absolute path of its folder in PYTHONPATH?"
            )
        imports, texts[name] = ([], "") if path is None else _module(path, name)
        waiting += [*imports, name.rpartition(".")[0]]  # importing a module imports its package
    return digest(texts)


def _file(module: str) -> Path | None:
    """The source file of a module, which is not imported; None for what is none, as a class."""
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
def _module(path: Path, name: str) -> tuple[list[str], str]:
    """Absolute names that a file's import statements may refer to, and what is digested of it."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    imports = []
    tree = ast.parse(path.read_bytes(), filename=str(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]  # never runs
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            imports += [source, *(f"{source}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and path.name == "__init__.py":
            if any(isinstance(each, ast.Name) and each.id == "__name__" for each in node.args):
                imports += [f"{name}.{file.stem}" for file in path.parent.glob("[!_]*.py")]
        elif isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    lines = [ast.unparse(tree)]
    for file in sorted(path.parent.iterdir()) if path.name == "__init__.py" else ():
        if file.is_file() and file.suffix not in (".py", ".pyc"):
            lines.append(f"# {file.name} {_data_checksum(file)}")
    return imports, "\n".join(lines)


def _data_checksum(path: Path) -> str:
    """Of a file's content; of a text with the line ends that git keeps, whatever a checkout has."""
    content = path.read_bytes()
    text = b"\0" not in content  # by which git, too, tells them apart
    return content_checksum(content.replace(b"\r\n", b"\n") if text else content)
