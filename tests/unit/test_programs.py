"""Programs of the system: an answer, or none in time."""

import ast
import os
import sys
import time

import pytest

from spikereach.programs import ask


def tell(code, **options):
    options = {"limit_s": 20, "otherwise": "we go on", **options}
    return ask([sys.executable, "-c", code], **options)


def test_answers():
    assert tell("print('R\\u00b2')", environment={"PYTHONIOENCODING": "utf-8"}) == "R²\n"
    assert tell("print('none'); raise SystemExit(1)") is None
    assert ask(["no-such-program"], limit_s=1, otherwise="") is None
    assert tell("print(input())") is None, "it has nobody to ask"


HANGING = {
    "itself": "print('begun', flush=True); time.sleep(600)",
    "a child of it": "subprocess.run(['sleep', '600'])",
    "a child that it left": "subprocess.Popen(['sleep', '600'])",
    "whatever it is told": "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
}


@pytest.mark.parametrize("what", HANGING)
def test_one_that_hangs_ends_in_time_with_all_it_started(what, tmp_path, caplog):
    code = "import os, signal, subprocess, time; open('pid', 'w').write(str(os.getpgid(0)));"
    before = os.getcwd()
    os.chdir(tmp_path)
    begun = time.monotonic()
    try:
        assert tell(code + HANGING[what], limit_s=1) is None
    finally:
        os.chdir(before)
    assert time.monotonic() - begun < 10
    assert "gave no answer within 1 s: we go on" in caplog.text
    group = int((tmp_path / "pid").read_text("utf-8"))
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("something that it started lives on")


def test_nobody_else_starts_programs(repository):
    """Calls of `subprocess` and the like, anywhere in what runs a workflow, but in one module."""

    def starts(node):
        match node:
            case ast.Import(names=names):
                return any(each.name in ("subprocess", "pty") for each in names)
            case ast.ImportFrom(module=module):
                return module in ("subprocess", "pty")
            case ast.Attribute(value=ast.Name(id="os"), attr=name):
                return name.startswith(("system", "popen", "spawn", "posix_spawn", "exec"))

    paths = [path for folder in ("src", "workflow") for path in (repository / folder).rglob("*.py")]
    trees = {path.name: ast.walk(ast.parse(path.read_bytes())) for path in paths}
    assert [name for name, tree in trees.items() if any(map(starts, tree))] == ["programs.py"]
