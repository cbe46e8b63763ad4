"""README and docs: links lead somewhere, commands parse, code runs, pages are short, the notebook executes."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from factories import call, make_study

ROOT = Path(__file__).parents[2]

PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
)
LONG = {"benchmarks.md", "cli.md"}  # tables, and the generated reference
MAX_WORDS, MAX_README_WORDS, MAX_README_LINES = 1_200, 900, 130


def blocks(text):
    """The code blocks of a page, each with its language."""
    return re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.M | re.S)


def prose(text):
    """A page without its code blocks."""
    return re.sub(r"^```\w*\n.*?^```", "", text, flags=re.M | re.S)


def anchor(heading):
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def name(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
        if re.match(r"https?://", target):
            continue
        path, _, heading = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{name(page)} links to {target}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", prose(there.read_text()), flags=re.M)
            assert heading in map(anchor, headings), f"{name(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_are_short(page):
    words = len(re.findall(r"\S*\w\S*", page.read_text()))  # without the bars of tables
    if page.name == "README.md":
        assert words <= MAX_README_WORDS
        assert len(page.read_text().splitlines()) <= MAX_README_LINES
    elif page.name not in LONG:
        assert words <= MAX_WORDS


def shell_lines():
    """Every command of every page, with continued lines joined and comments dropped."""
    for page in PAGES:
        for language, block in blocks(page.read_text()):
            if language not in ("", "sh", "bash", "console"):
                continue
            for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                yield name(page), re.sub(r"\s+#.*$", "", line.removeprefix("$ ").strip())


def qwerties_commands():
    for page, line in shell_lines():
        for part in re.split(r"&&|\|", line):
            if re.match(r"(\S*/)?qwerties\s", part.strip() + " "):
                yield pytest.param(shlex.split(part)[1:], id=f"{page}: {part.strip()}")


@pytest.mark.parametrize("arguments", list(qwerties_commands()))
def test_commands_in_code_blocks_parse(arguments):
    from qwerties.cli.main import build_parser

    build_parser().parse_args(arguments)


def test_make_targets_and_variables_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.M))
    found = 0
    for page, line in shell_lines():
        if not line.startswith("make "):
            continue
        for word in shlex.split(line)[1:]:
            if word in ("&&", "||"):
                break
            variable, equals, _ = word.partition("=")
            found += 1
            if equals:
                assert f"$({variable}" in makefile, f"{page}: {line}"
            else:
                assert word in targets, f"{page}: {line}"
    assert found > 10


@pytest.mark.parametrize("page", ["README.md", "docs/guide/own-question.md"])
def test_the_own_question_of_the_guide_is_swept(page, tmp_path):
    (block,) = (
        block for language, block in blocks((ROOT / page).read_text()) if "experiment = Experiment(" in block
    )
    folder = make_study(tmp_path / "project", optimizer=block)
    out = call(folder, "sweep", "--seeds", "2", "--max-seeds", "2", "--jobs", "1", "--no-report")[0]
    assert "2 runs of 2 planned configs tracked" in out


@pytest.fixture(scope="module")
def loss_project(tmp_path_factory):
    """A project in which the experiment `loss` is swept on a few seeds."""
    source = (ROOT / "experiments" / "loss.py").read_text()
    folder = make_study(tmp_path_factory.mktemp("docs") / "project", loss=source)
    call(folder, "sweep", "--seeds", "4", "--max-seeds", "4", "--jobs", "1", "--no-report")
    return folder


def test_the_pandas_snippet_runs(loss_project, monkeypatch):
    import mlflow

    page = (ROOT / "docs" / "guide" / "mlflow.md").read_text()
    (snippet,) = (block for language, block in blocks(page) if "seeds.csv" in block)
    monkeypatch.chdir(loss_project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # restored at the end: MLflow sets it
    values = {}
    try:
        exec(snippet, values)
    finally:
        mlflow.set_tracking_uri(None)
    assert list(values["seeds"]["seed"]) == [0, 1, 2, 3]
    assert values["weights"]["0.weight"].shape == (4, 1, 2)


@pytest.mark.slow
def test_the_notebook_executes(loss_project):
    source = ROOT / "docs" / "notebooks" / "own_study.ipynb"
    notebook = loss_project / "docs" / "notebooks" / source.name
    notebook.parent.mkdir(parents=True)
    shutil.copy(source, notebook)
    script = (
        "import sys, nbformat, nbclient\n"
        "from traitlets.config import Config\n"
        "book = nbformat.read(sys.argv[1], 4)\n"
        "sockets = Config(KernelManager={'transport': 'ipc'})\n"
        "nbclient.NotebookClient(book, timeout=120, kernel_name='python3', config=sockets).execute()\n"
        "nbformat.write(book, sys.argv[1])\n"
    )
    environment = {
        name: value for name, value in os.environ.items() if name != "MPLBACKEND"
    }  # inline pictures
    command = [sys.executable, "-c", script, str(notebook)]
    subprocess.run(command, cwd=notebook.parent, env=environment, check=True, timeout=200)
    cells = json.loads(notebook.read_text())["cells"]
    texts = "".join("".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", ()))
    assert "95% interval" in texts
    assert "4 seeds" in texts
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", ()))


# Generated parts


def refresh():
    spec = importlib.util.spec_from_file_location("refresh", ROOT / "docs" / "refresh.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_of_the_command_line_is_current():
    from qwerties.cli.reference import reference

    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == reference(), "run: docs/refresh.py --cli"


def test_the_answers_are_those_of_todays_code():
    document = json.loads((ROOT / "docs" / "answers.json").read_text("utf-8"))
    assert document["sources"] == refresh().sources_digest(), "run: make sweep docs"


def test_answers_and_readme_follow_from_the_stored_answers():
    module, readme = refresh(), (ROOT / "README.md").read_text("utf-8")
    document = json.loads((ROOT / "docs" / "answers.json").read_text("utf-8"))
    assert (ROOT / "docs" / "answers.md").read_text("utf-8") == module.answers_page(document)
    assert readme == module.readme_with_answers(readme, document)
    document["answers"][0]["sentences"][0]["text"] = "Another answer."
    assert readme != module.readme_with_answers(readme, document)
