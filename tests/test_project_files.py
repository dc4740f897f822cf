"""What stands in several files of the project is the same in all of them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    found = citation["title"], citation["version"], citation["license"], citation["abstract"]
    assert found == tuple(PROJECT[key] for key in ("name", "version", "license", "description"))
    assert (
        PROJECT["version"]
        == re.search(r'__version__ = "(.+)"', (ROOT / "src/esrgan_lightning/__init__.py").read_text("utf-8"))[
            1
        ]
    )


def test_workflows_try_each_supported_python_by_our_own_commands():
    """Breaks if a Python is added without being tested, or CI does something that a developer can't do."""
    flows = {
        path.stem: yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / ".github/workflows").iterdir()
    }
    tried = flows["ci"]["jobs"]["everything"]["strategy"]["matrix"]["python"]
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert tried == named
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    assert tried == [f"3.{minor}" for minor in range(int(low), int(high))]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE)
    steps = [step for flow in flows.values() for job in flow["jobs"].values() for step in job["steps"]]
    for command in (step["run"] for step in steps if "run" in step and "name" not in step):
        program, *words = command.split()
        assert (ROOT / program).is_file() or (program == "make" and set(words) <= set(targets)), command
    assert all(flow["permissions"] == {"contents": "read"} for flow in flows.values())


def test_each_extra_is_told_where_one_installs():
    page = (ROOT / "docs/install.md").read_text("utf-8")
    told = {
        name
        for row in re.findall(r"^\| (`[^|]+`) \|", page, re.MULTILINE)
        for name in re.findall(r"\w+", row)
    }
    assert told == set(PROJECT["optional-dependencies"]) - {"dev", "docs"}


def test_a_file_that_code_speaks_of_is_there():
    """Breaks if a file is moved, and a comment or message still sends its reader to the old place."""
    gone = []
    for path in (*(ROOT / "src").rglob("*.py"), *(ROOT / "conf").rglob("*.yaml")):
        for name in re.findall(r"\b[a-z_]+(?:/[a-z_]+)+\.(?:py|md|yaml)\b", path.read_text("utf-8")):
            if not any((folder / name).is_file() for folder in (ROOT, ROOT / "src/esrgan_lightning")):
                gone.append(f"{path.relative_to(ROOT)}: {name}")
    assert gone == []


def test_importing_the_package_loads_nothing_and_does_nothing(tmp_path):
    """Half a second of torch and three of Lightning come with the first use, not with the name."""
    program = (
        "import sys; before = set(sys.modules); import esrgan_lightning\n"
        "loaded = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(loaded - sys.stdlib_module_names))"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['esrgan_lightning', 'lazy_loader']"
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []
