"""The documents say what is true: codes, examples, links."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import api_page
import pytest
from as_installed import ROOT, rooms

import spikec
from spikec.ir.diagnostics import CODES

ERRORS = ROOT / "docs" / "errors.md"
API = ROOT / "docs" / "api.md"
GROUPS = {"1": "The graph", "2": "Ways in", "3": "Passes", "4": "Event target and runtime",
          "5": "Training, data, files, machine"}
SOURCES = [path for folder in rooms().values() for path in sorted(folder.rglob("*.py"))]


def remedies(page: str) -> dict[str, str]:
    """The last column of the page of codes: the one that is written by hand."""
    return dict(re.findall(r"^\| (SC\d{3}) \| .* \| (.*) \|$", page, re.MULTILINE))


def errors_page(remedy: dict[str, str]) -> str:
    lines = [
        "# Error codes",
        "",
        "Every diagnostic has one of these codes. Its message names what there is of the node, the value met, the",
        "limit, and a remedy for that very case (on the command line: the option to type); here is what helps in",
        "general. As a warning (`SpikecWarning`) it stops nothing.",
        "",
        "Codes and meanings are written from the table `CODES` in `ir/diagnostics.py` by",
        "`pytest tests/test_docs.py --update-golden`; what helps is written here.",
        "",
        "Exit codes of the commands: 0 ok, 1 mismatch (`MismatchError`), 2 does not fit (`DoesNotFitError`),",
        "3 unsupported (`UnsupportedError`), 4 bad input or usage (`BadInputError`), 70 internal error,",
        "130 interrupted.",
    ]
    for digit, title in GROUPS.items():
        lines += ["", f"## SC{digit}xx: {title}", "", "| code | meaning | what helps |", "| --- | --- | --- |"]
        lines += [f"| {code} | {meaning} | {remedy.get(code, '')} |"
                  for code, meaning in sorted(CODES.items()) if code[2] == digit]
    return "\n".join(lines) + "\n"


def test_the_page_of_error_codes_is_up_to_date(update_golden: bool) -> None:
    written = remedies(ERRORS.read_text())
    if update_golden:
        ERRORS.write_text(errors_page(written))
    assert ERRORS.read_text() == errors_page(written), "`pytest tests/test_docs.py --update-golden` writes it anew"
    assert [code for code in CODES if not written.get(code)] == [], "their last column is to be written"


def test_every_code_is_in_the_table_and_every_entry_is_used() -> None:
    used = {code for path in SOURCES if path.name != "diagnostics.py"
            for code in re.findall(r'"(SC\d{3})"', path.read_text())}
    assert used == set(CODES)


def test_the_page_of_the_api_is_up_to_date(update_golden: bool) -> None:
    if update_golden:
        API.write_text(api_page.page())
    assert API.read_text() == api_page.page(), "`pytest tests/test_docs.py --update-golden` writes it anew"


def test_the_page_of_the_api_has_every_public_name() -> None:
    listed = {name.removeprefix("spikec.") for name in api_page.names()}
    modules = {"datasets", "encoders", "equations", "errors", "losses", "recordings", "rules"}
    assert set(spikec.__all__) - listed == {*modules, "__version__"}
    assert {"recordings." + name for name in spikec.recordings.__all__} <= listed
    assert {"rules." + name for name in spikec.rules.__all__} - listed == {"rules.RULES"}
    assert {"equations." + name for name in spikec.equations.__all__} - listed == {"equations.Record"}
    assert set(spikec.encoders.__all__) <= {name.removeprefix("encoders.") for name in listed}
    assert {"datasets." + name for name in spikec.datasets.__all__} - listed == {"datasets.DATASETS"}
    kinds = {type(loss()).__name__ for loss in spikec.losses.LOSSES.values()}
    assert {f"losses.{name}" for name in kinds} <= listed


def test_codes_that_documents_and_docstrings_name_exist() -> None:
    named = {code for path in [*SOURCES, *(ROOT / page for page in PAGES)]
             for code in re.findall(r"\bSC\d{3}\b", path.read_text())}
    assert named - set(CODES) == set()


def test_a_function_without_a_docstring_has_no_entry() -> None:
    def bare() -> None: ...

    with pytest.raises(LookupError):
        api_page._documented(bare, "bare")


PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted(ERRORS.parent.glob("*.md")))]


@pytest.mark.parametrize("document", PAGES)
def test_paths_that_a_document_names_exist(document: str) -> None:
    """Links, and words in code quotes that look like a path of the tree."""
    text = (ROOT / document).read_text()
    links = [target for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in target]
    rooms_of_the_tree = "ir|passes|runtime|targets|compiler|spikec|tests|examples|benchmarks|docs"
    quoted = re.findall(rf"`((?:{rooms_of_the_tree})/[\w./-]*)`", text)
    base = (ROOT / document).parent
    missing = [link for link in links if not (base / link).exists()]
    missing += [path for path in quoted if not (ROOT / path).exists()]
    assert missing == []


GENERATED = {"manifest.json", "network.json", "program.py", "learning_neuron.py", "README.md", "chip.toml"}
"""Files of programs and descriptions, of which the tree has none or several."""


def test_files_that_the_architecture_names_without_a_folder_exist() -> None:
    named = set(re.findall(r"`([\w.]+\.(?:py|jinja|json|toml))`", (ROOT / "docs/architecture.md").read_text()))
    rooms_of_the_tree = ("ir", "passes", "runtime", "targets", "compiler", "spikec", "tests")
    there = {path.name for room in rooms_of_the_tree for path in (ROOT / room).rglob("*") if path.is_file()}
    assert len(named) > 20
    assert named - there - GENERATED == set()


def test_the_gap_between_grid_and_continuous_time_is_what_the_page_prints(tmp_path: Path) -> None:
    pytest.importorskip("snntorch")
    text = (ERRORS.parent / "importing.md").read_text()
    (program,), (printed,) = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("python", "text"))
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == printed, done.stderr


def test_the_examples_of_the_readme_run(tmp_path: Path) -> None:
    """All Python blocks of the README, one after the other, as one program."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    done = subprocess.run([sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
