"""The notebooks run from top to bottom at a small size, and show the kinds of output stored with them."""

import re
import sys
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
# How many pictures a reader sees; a notebook without a number here fails.
PICTURES = {
    "01_quick_start": 4,
    "02_loss_ablation": 2,
    "03_architecture_ablation": 3,
    "04_interpolation": 3,
    "05_your_own_parts": 2,
    "colab_train": 1,
    "colab_upscale": 1,
}


def kinds(cell):
    """What a reader sees below a cell: text, a picture; a stream that comes in parts counts once."""
    found = []
    for output in cell.outputs:
        kind = "text" if output.output_type == "stream" else "image/png" in output.data
        if found[-1:] != [kind]:
            found.append(kind)
    return found


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A kernel called python3 that is this interpreter, whatever kernels this machine has besides."""
    from ipykernel.kernelspec import install
    from jupyter_client.kernelspec import KernelSpecManager

    install(prefix=str(tmp_path / "jupyter"), kernel_name="python3")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter/share/jupyter"))
    spec = KernelSpecManager(ensure_native_kernel=False).get_kernel_spec("python3")
    assert Path(spec.argv[0]) == Path(sys.executable)
    return "python3"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_its_pictures(path, kernel, tmp_path, monkeypatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("ESRGAN_NOTEBOOK_UPDATES", "3")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))  # no profile of the user's
    notebook = nbformat.read(path, as_version=4)
    folder = tmp_path / "reader"
    folder.mkdir()
    NotebookClient(
        notebook, timeout=300, kernel_name=kernel, resources={"metadata": {"path": str(folder)}}
    ).execute()
    stored = nbformat.read(path, as_version=4)
    for cell, kept in zip(notebook.cells, stored.cells, strict=True):
        if cell.cell_type == "code":
            assert kinds(cell) == kinds(kept), kept.id
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == PICTURES[path.stem]
    noise = [output.text for output in outputs if output.get("name") == "stderr"]
    assert "".join(noise) == "", "a reader sees warnings"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_as_one_run_from_top_to_bottom(path):
    """Breaks if a cell was left out or run again, or a reader sees warnings or somebody's folders."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert not [output for output in outputs if output.output_type == "error"]
    text = "".join(output.get("text", "") for output in outputs)
    assert not re.search(r"""(^|[\s'"(])/\w+/\w""", text), "an absolute path"


def test_there_are_notebooks():
    assert set(PICTURES) == {path.stem for path in NOTEBOOKS}
