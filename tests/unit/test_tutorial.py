"""docs/tutorial.ipynb: what its cells say is so, and Jupyter runs it."""

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient


@pytest.fixture(scope="module")
def notebook(repository):
    return nbformat.read(repository / "docs" / "tutorial.ipynb", as_version=4)


def test_it_is_committed_without_outputs(notebook):
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_cells_run_one_after_the_other(notebook, tmp_path, monkeypatch):
    """On a short recording, with one epoch, in another folder."""
    monkeypatch.chdir(tmp_path)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    for name, value in {"DURATION_S": 60.0, "EPOCHS": 1}.items():
        assert code.count(f"\n{name} = ") == 1
        code = code.replace(f"\n{name} = ", f"\n{name} = {value}  # ")
    names = {}
    exec(compile(code, "tutorial.ipynb", "exec"), names)
    assert len(plt.get_fignums()) == 4
    plt.close("all")
    assert names["stream"].lookahead == 26
    size = np.abs(names["whole"]).mean()
    assert np.median(np.abs(names["aligned"] - names["whole"])) < 1e-4 * size
    assert [each.system for each in names["measured"]] == ["Wiener", "RTnet"]
    assert not [*tmp_path.iterdir()], "all files are in a folder of its own"


@pytest.mark.long
def test_jupyter_runs_it_and_both_decoders_learn(notebook, tmp_path, monkeypatch):
    monkeypatch.delenv("MPLBACKEND")  # Jupyter has its own
    place = {"metadata": {"path": str(tmp_path)}}
    done = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
    outputs = [output for cell in done.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    table = outputs[-1]["data"]["text/plain"].splitlines()
    r2 = {row.split()[0]: float(row.split()[1]) for row in table if row.startswith(("W", "R"))}
    assert r2["RTnet"] > r2["Wiener"] > 0.5
