"""The notebooks run from top to bottom at a small size, show their pictures, and are stored without outputs.

As a script, ``python tests/test_notebooks.py FILE…`` checks the last of these: a pre-commit hook.
"""

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
}


def stored_outputs(path: Path) -> list[str]:
    """Cells with outputs or a count of executions: they make each diff unreadable, and may be private."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return [f"{path.name}: cell {cell.id}" for cell in cells if cell.outputs or cell.execution_count]


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
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == PICTURES[path.stem]
    noise = [output.text for output in outputs if output.get("name") == "stderr"]
    assert "".join(noise) == "", "a reader sees warnings"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path):
    assert stored_outputs(path) == []


def test_there_are_notebooks():
    assert set(PICTURES) == {path.stem for path in NOTEBOOKS}


if __name__ == "__main__":
    found = [line for name in sys.argv[1:] for line in stored_outputs(Path(name))]
    sys.exit("\n".join(found) or 0)
