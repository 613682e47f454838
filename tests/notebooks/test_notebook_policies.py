"""Every notebook obeys every policy of the course, and every policy can be broken.

The policies are in tools/recorded_policies.py and tools/lesson_policies.py, so that `make
notebooks` refuses what these tests would refuse.
"""

import base64
import copy
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from .conftest import NOTEBOOKS

# Any chapter that obeys every policy and has exercises and figures will do.
CHAPTER = next(path for path in NOTEBOOKS if path.stem == "05_em_training")


def policies(tool):
    """Every policy by its name, as a function of notebook and file."""
    recorded = (*tool.POLICIES, *tool.CHAPTER_POLICIES)
    found = {policy.__name__: lambda n, _, p=policy: p(n) for policy in recorded}
    return found | {p.__name__: p for p in (*tool.SOURCE_POLICIES, *tool.OUTPUT_POLICIES)}


def test_it_may_be_committed(tool, notebook, notebook_path):
    assert tool.problems(notebook, notebook_path) == []
    assert tool.normalise(notebook) == notebook


def test_only_notebooks_are_committed_beside_them(tool):
    names = tool.committed_names()
    assert names and tool.folder_problems(names) == []
    assert {path.name for path in NOTEBOOKS} | {"voila.json"} >= set(names)


@pytest.mark.parametrize(
    "name",
    [".ipynb_checkpoints/05_em_training-checkpoint.ipynb", "05_em_training.html", "drafts/x.ipynb"],
)
def test_what_is_no_notebook_is_refused(tool, name):
    (found,) = tool.folder_problems(["05_em_training.ipynb", name])
    assert name in found


# One or more ways to break each policy: name of the policy, change of a good notebook.
BREAKAGES = []


def breaks(policy):
    def register(change):
        BREAKAGES.append(pytest.param(policy, change, id=f"{policy}-{change.__name__}"))
        return change

    return register


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printing(notebook):
    """Code cells with a printed output that is compared."""
    ignored = "nbval-ignore-output"
    return [c for c in code(notebook) if c.outputs and ignored not in c.metadata.get("tags", [])]


def figure(notebook):
    """The cell and the output of the first figure."""
    for cell in code(notebook):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                return cell, output
    raise AssertionError("there is no figure")


def replace(notebook, pattern, by, kind="markdown", count=0):
    """Replace a pattern in every cell of one kind; it must occur."""
    changed = False
    for cell in notebook.cells:
        if cell.cell_type == kind:
            new = re.sub(pattern, by, cell.source, count=count, flags=re.MULTILINE)
            changed |= new != cell.source
            cell.source = new
    assert changed, pattern


def say(notebook, text, name="stdout"):
    printing(notebook)[0].outputs.append(new_output("stream", name=name, text=text))


def add_prose(notebook, text):
    notebook.cells.insert(-1, new_markdown_cell(text))


@breaks("ran_in_order")
def a_gap_in_the_counts(notebook):
    code(notebook)[-1].execution_count += 1


@breaks("ran_in_order")
def a_stripped_cell(notebook):
    code(notebook)[3].update(execution_count=None, outputs=[])


@breaks("ran_in_order")
def cells_run_out_of_order(notebook):
    first, second = code(notebook)[:2]
    first.execution_count, second.execution_count = 2, 1


@breaks("is_of_its_code")
def code_changed_after_the_recording(notebook):
    notebook.metadata["latentcrs"]["code"] = "0" * 16


@breaks("is_of_its_code")
def code_that_was_never_recorded(notebook):
    del notebook.metadata["latentcrs"]["code"]


@breaks("keeps_the_digest_of_its_code")
def no_digest(notebook):
    del notebook.metadata.latentcrs["code"]


@breaks("has_its_outputs")
def outputs_that_were_cleared(notebook):
    cell = next(cell for cell in code(notebook) if cell.source.startswith("checks."))
    cell.outputs = []


@breaks("raises_nothing")
def an_error(notebook):
    code(notebook)[2].outputs = [new_output("error", ename="ValueError", evalue="no")]


@breaks("has_no_stderr")
def a_warning(notebook):
    say(notebook, "UserWarning: slow", name="stderr")


@breaks("has_no_refuted_claim")
def a_refuted_claim(notebook):
    say(notebook, "rows sum to one: NO (they differ by up to 0.5)\n")


@breaks("has_no_machine_path")
def a_path_in_an_output(notebook):
    say(notebook, "saved to /" + "home/someone/model.bin")


@breaks("has_no_machine_path")
def a_path_in_the_source(notebook):
    code(notebook)[0].source += "\nfolder = '/" + "Users/someone/data'"


@breaks("has_no_widget_state")
def the_state_of_widgets(notebook):
    notebook.metadata["widgets"] = {"state": {}}


@breaks("has_no_widget_state")
def a_widget_in_an_output(notebook):
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "Chat"}
    code(notebook)[2].outputs.append(new_output("display_data", data=view))


@breaks("is_small")
def a_large_image(notebook):
    _, output = figure(notebook)
    output.data["image/png"] = base64.b64encode(bytes(400_000)).decode()


@breaks("is_small")
def a_long_print(notebook):
    say(notebook, "0123456789\n" * 2_000)


@breaks("is_small")
def an_attachment(notebook):
    notebook.cells[0]["attachments"] = {"a.png": {"image/png": "AAAA"}}


@breaks("is_small")
def an_image_inside_the_prose(notebook):
    add_prose(notebook, "![x](data:image/png;base64,AAAA)")


@breaks("is_small")
def too_many_outputs(notebook):
    for _ in range(120):
        say(notebook, "0123456789\n" * 1_800)


@breaks("has_plain_metadata")
def another_kernel(notebook):
    notebook.metadata.kernelspec.name = "my-venv"


@breaks("has_plain_metadata")
def the_version_of_python(notebook):
    notebook.metadata.language_info["version"] = "3.13.1"


@breaks("has_plain_metadata")
def what_an_editor_left(notebook):
    notebook.cells[0].metadata["collapsed"] = True


@breaks("has_plain_metadata")
def a_tag_that_skips_a_check(notebook):
    code(notebook)[4].metadata["tags"] = ["nbval-skip"]


@breaks("has_plain_metadata")
def a_tag_that_allows_an_error(notebook):
    code(notebook)[4].metadata["tags"] = ["raises-exception"]


@breaks("has_stable_ids")
def the_same_id_twice(notebook):
    notebook.cells[1].id = notebook.cells[0].id


@breaks("has_stable_ids")
def a_random_id(notebook):
    notebook.cells[1].id = "1a2b3c4d"


@breaks("is_compared")
def one_ignored_cell_too_many(notebook):
    for cell in printing(notebook)[: len(notebook.cells) // 8]:
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), "nbval-ignore-output"]


@breaks("is_compared")
def images_without_text(notebook):
    for cell in printing(notebook)[:10]:
        cell.outputs = [new_output("display_data", data={"image/png": "AAAA"})]


@breaks("is_compared")
def a_comment_that_switches_it_off(notebook):
    code(notebook)[5].source += "\n# NBVAL_IGNORE_OUTPUT"


@breaks("figures_have_words")
def no_alternative_text(notebook):
    _, output = figure(notebook)
    output.metadata = nbformat.from_dict({})


@breaks("figures_have_words")
def facts_that_are_not_printed(notebook):
    cell, output = figure(notebook)
    cell.outputs = [output]


@breaks("figures_have_words")
def a_number_that_is_not_the_printed_one(notebook):
    _, output = figure(notebook)
    output.metadata["image/png"]["alt"] += " 0.123"


@breaks("opens_as_the_series")
def another_question(notebook):
    replace(notebook, r"\*\*Question: .*\*\*", "**Question: Why not?**")


@breaks("opens_as_the_series")
def another_number(notebook):
    replace(notebook, r"^# \d\d ·", "# 77 ·")


@breaks("opens_as_the_series")
def a_chapter_missing_in_the_strip(notebook):
    replace(notebook, r" · \[11 paper scale\]\(11_paper_scale\.ipynb\)", "")


@breaks("has_a_card")
def no_needs_on_the_card(notebook):
    replace(notebook, r"\*\*You need\*\*", "")


@breaks("has_a_card")
def no_card(notebook):
    notebook.cells[1].metadata["tags"] = []


@breaks("shows_its_measured_cost")
def a_time_that_nobody_measured(notebook):
    replace(notebook, r"<!-- measured -->.*<!-- /measured -->",
            "<!-- measured -->1 s, 0.1 GB<!-- /measured -->")  # fmt: skip


@breaks("shows_its_measured_cost")
def no_measurement(notebook):
    notebook.metadata.latentcrs = {}


@breaks("is_configured_in_one_cell")
def two_cells_of_parameters(notebook):
    code(notebook)[0].metadata["tags"] = ["parameters"]


@breaks("is_configured_in_one_cell")
def parameters_that_compute(notebook):
    (cell,) = [c for c in code(notebook) if "parameters" in c.metadata.get("tags", [])]
    cell.source += "\nprint(SEED)"


@breaks("is_configured_in_one_cell")
def a_long_setup(notebook):
    place = notebook.cells.index(code(notebook)[1])
    notebook.cells[place:place] = [new_code_cell("import math")]


@breaks("has_short_cells")
def a_long_cell(notebook):
    code(notebook)[7].source += "\nx = 1" * 40


@breaks("has_short_cells")
def a_wide_line(notebook):
    code(notebook)[7].source += f"\nx = '{'x' * 100}'"


@breaks("has_short_cells")
def a_long_median(notebook):
    for cell in code(notebook):
        cell.source += "\nx = 1" * 6


@breaks("is_read_in_one_sitting")
def too_much_prose(notebook):
    add_prose(notebook, "word " * 4_000)


@breaks("has_five_to_nine_blocks")
def a_missing_number(notebook):
    replace(notebook, r"^## 3 · ", "## 33 · ")


@breaks("has_five_to_nine_blocks")
def too_many_blocks(notebook):
    place = next(i for i, c in enumerate(notebook.cells) if c.source.startswith("## Recap"))
    for number in range(13, 4, -1):
        cell = new_markdown_cell(f"## {number} · More\n\n**Why.** Because.")
        notebook.cells.insert(place, cell)


@breaks("says_why_in_few_words")
def a_long_why(notebook):
    replace(notebook, r"^\*\*Why\.\*\* ", "**Why.** " + "so " * 80)


@breaks("says_why_in_few_words")
def no_why(notebook):
    replace(notebook, r"^\*\*Why\.\*\* ", "")


@breaks("reads_and_checks_each_block")
def no_reading(notebook):
    replace(notebook, r"\*\*(What you see|So what)", "**Well")


@breaks("reads_and_checks_each_block")
def a_block_without_a_verdict(notebook):
    for cell in printing(notebook):
        for output in cell.outputs:
            if "text" in output:
                output.text = output.text.replace(": ok", "")


@breaks("has_the_parts_of_a_lesson")
def no_recap(notebook):
    replace(notebook, r"^## Recap", "## End")


@breaks("has_the_parts_of_a_lesson")
def two_predictions(notebook):
    add_prose(notebook, "**Predict before you run.** Again?")


@breaks("has_the_parts_of_a_lesson")
def too_many_readings(notebook):
    replace(notebook, r"^## Readings\n", "## Readings\n" + "\n- One, *more*." * 3)


@breaks("has_headings_in_order")
def a_level_that_is_left_out(notebook):
    replace(notebook, r"^### Exercise", "#### Exercise")


@breaks("has_headings_in_order")
def two_titles(notebook):
    add_prose(notebook, "# Another title")


@breaks("names_known_equations")
def an_equation_that_nobody_wrote(notebook):
    add_prose(notebook, "This follows from Equations 4 and 23.")


@breaks("names_known_equations")
def a_number_beside_a_formula(notebook):
    add_prose(notebook, r"$$a = b \qquad \text{(15)}$$")


@breaks("links_to_what_exists")
def a_link_to_no_file(notebook):
    add_prose(notebook, "See [there](there.ipynb).")


@breaks("links_to_what_exists")
def a_link_to_no_heading(notebook):
    add_prose(notebook, "See [there](#There).")


@breaks("links_to_what_exists")
def a_picture_that_is_not_there(notebook):
    add_prose(notebook, '<img src="there.png" alt="x">')


@breaks("has_complete_exercises")
def too_few_exercises(notebook):
    stubs = [c for c in code(notebook) if "exercise" in c.metadata.get("tags", [])]
    for cell in stubs[2:]:
        cell.metadata["tags"] = []


@breaks("has_complete_exercises")
def an_exercise_without_minutes(notebook):
    replace(notebook, r", \d+ minutes\)", ")")


@breaks("has_complete_exercises")
def an_exercise_without_a_hint(notebook):
    replace(notebook, r"<summary>Hint</summary>", "<summary>Tip</summary>")


@breaks("has_complete_exercises")
def an_exercise_without_a_solution(notebook):
    replace(notebook, r"^```python\n", "```\n")


@breaks("has_complete_exercises")
def a_stub_that_gives_it_away(notebook):
    replace(notebook, r"^    \.\.\.$", "    return 1", kind="code")


@breaks("exercises_are_unanswered")
def an_exercise_recorded_with_an_answer(notebook):
    (*_, last) = [c for c in code(notebook) if "exercise" in c.metadata.get("tags", [])]
    last.outputs[0].text = "Exercise 5: right.\n"


@breaks("exercises_are_unanswered")
def an_exercise_recorded_without_output(notebook):
    (*_, last) = [c for c in code(notebook) if "exercise" in c.metadata.get("tags", [])]
    last.outputs = []


@pytest.fixture(scope="module")
def good():
    return nbformat.read(CHAPTER, as_version=4)


@pytest.mark.parametrize(("policy", "change"), BREAKAGES)
def test_a_broken_copy_is_refused(tool, good, policy, change):
    check = policies(tool)[policy]
    assert check(good, CHAPTER) == []
    broken = copy.deepcopy(good)
    change(broken)
    assert check(broken, CHAPTER) != []
    assert set(check(broken, CHAPTER)) <= set(tool.problems(broken, CHAPTER))


def test_a_chapter_must_be_on_the_map(tool, good, tmp_path):
    check = policies(tool)["opens_as_the_series"]
    assert "no chapter" in check(good, tmp_path / "05_em_taining.ipynb")[0]


def test_each_policy_is_broken_once(tool):
    assert {parameters.values[0] for parameters in BREAKAGES} == set(policies(tool))
