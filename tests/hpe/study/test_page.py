"""The page of a study: self-contained, the same in every format, and looked at in a real Chromium."""

import csv
import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from hpe.cli.main import main
from hpe.study.page import FOLDER, fill
from hpe.study.report import flat, write_study_report
from hpe.study.report_tables import latex_text
from hpe.study.results import ReportError
from tests.made_up_study import FACES, SPEC, write_study

VIEWS = [(1280, False), (1280, True), (390, False), (390, True)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study") / "made-up")


@pytest.fixture(scope="module")
def report(study, tmp_path_factory):
    """Folder of the report as the command line writes it, and the rows that are in it. Do not change it."""
    out = tmp_path_factory.mktemp("report")
    main(["study", "report", str(study), "--out", str(out), "--json", str(out / "rows.json")])
    return out, {row["model"]: row for row in json.loads((out / "rows.json").read_text())[SPEC]}


class Links(HTMLParser):
    """Everything that a page would fetch, and where its links lead."""

    def __init__(self):
        super().__init__()
        self.ids, self.targets = set(), set()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if "id" in values:
            assert values["id"] not in self.ids, values["id"]
            self.ids.add(values["id"])
        self.targets |= {values[key] for key in ("src", "href", "xlink:href", "srcset") if values.get(key)}


def test_the_page_holds_all_that_it_needs(report):
    page = (report[0] / "report.html").read_text()
    links = Links()
    links.feed(page)
    assert {target[0] for target in links.targets} == {"#"}
    assert {target[1:] for target in links.targets} <= links.ids
    outside = set(re.findall(r"https?://[^\s\"'<>)]+", page)) - {"http://www.w3.org/2000/svg"}
    assert not {address for address in outside if "w3.org" not in address}
    assert "{{" not in page
    data = json.loads(re.search(r'id="page-data">(.*?)</script>', page, re.S)[1])
    assert [place["board"] for place in data["places"]] == ["nano33ble", "rp2040", None]
    assert len(data["sets"][0]["models"]) == len(report[1]) == 18


def test_templates_are_filled_once():
    assert fill("a {{x}} b {{y}}", {"x": "{{y}}", "y": "2"}) == "a {{y}} b 2"
    assert {path.suffix for path in FOLDER.iterdir()} == {".html", ".css", ".js"}


def test_what_is_missing_and_how_it_was_measured_is_said(report):
    text = (report[0] / "report.md").read_text()
    assert "Not complete: 41 of 43 runs are there." in text
    assert "Missing: const 88 0-80 (seed 0), poly 75-88 0-80 (seed 0)" in text
    for fact in ("processor: Some CPU", "commit: abcdef1234", "torch: 2.15.0", "seeds: 0, 1, 2", f"{FACES} faces"):
        assert fact in text
    assert "standard deviation of 0.039 degrees (4 degrees of freedom)" in text
    assert "Of 29 comparisons between rows, 13 differ by less" in text


def test_all_formats_hold_the_same_cells(report):
    out, rows = report
    row = rows["poly 88 0-80"]
    cell = f"{row['int8_mae_deg']:.2f} ± {row['int8_mae_deg_sd']:.2f}"
    once = f"{rows['const 75 0-80']['int8_mae_deg']:.2f} (n = 1)"
    assert f">{cell}</td>" in (out / "report.html").read_text()
    assert f"| {cell} |" in (out / "report.md").read_text()
    assert cell.replace("±", r"$\pm$") in (out / "report.tex").read_text()
    with (out / "tables" / "models.csv").open() as file:
        lines = {line["model"]: line for line in csv.DictReader(file)}
    assert lines["poly 88 0-80"]["MAE int8 (deg)"] == cell
    assert lines["const 75 0-80"]["MAE int8 (deg)"] == once
    with (out / "table.csv").open() as file:
        (line,) = (line for line in csv.DictReader(file) if line["model"] == "poly 88 0-80")
    assert float(line["int8_mae_deg"]) == row["int8_mae_deg"]
    assert float(line["nano33ble_c_flash_bytes"]) == row["boards"]["nano33ble"]["c"]["flash_bytes"]
    assert flat(row)["seeds"] == "0 1 2"
    assert {path.suffix for path in (out / "plots").iterdir()} == {".png", ".svg"}


def test_latex_commands_in_names_are_written_out():
    assert latex_text("a | b <c>") == r"a \textbar{} b \textless{}c\textgreater{}"
    assert latex_text(r"a_b 50 % & \x {y}") == r"a\_b 50 \% \& \textbackslash{}x \{y\}"


def test_ours_stand_beside_the_papers_rows(report):
    with (report[0] / "tables" / "grid.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 35
    (twice,) = (line for line in lines if line["in the grid"] == "1, 11")
    assert (twice["ours"], twice["paper float"]) == ("poly 50 0-80", "8.688 (n = 2)")
    (alone,) = (line for line in lines if line["in the grid"] == "39")
    assert alone["ours"] == alone["ours float"] == "-"


def test_a_folder_that_is_no_study_is_one_message(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["study", "report", str(tmp_path), "--out", str(tmp_path / "no")])
    assert "no plan.json there" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_a_study_of_which_nothing_is_complete_is_refused(study, tmp_path):
    shutil.copy(study / "plan.json", tmp_path)
    with pytest.raises(ReportError, match="no run of the study is complete yet"):
        write_study_report(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_nothing_overflows_in_chromium(browser, report, width, dark):
    browser.show(report[0] / "report.html", width, dark)
    assert browser.errors == []
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("innerWidth") == width
    wide = browser.value(
        "[...document.querySelectorAll('section *')].filter((e) => !e.closest('.wide') && !e.closest('svg') "
        f"&& !e.closest('details:not([open])') && e.getBoundingClientRect().right > {width})"
        ".map((e) => e.outerHTML.slice(0, 90))"
    )
    assert wide == []
    lefts = browser.value("[...document.querySelectorAll('#plots figure')].map((e) => e.getBoundingClientRect().left)")
    assert (len(set(lefts)) == 1) == (width == 390)
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == dark
    ink = browser.value("getComputedStyle(document.querySelector('#plots svg text')).fill")
    assert (sum(map(int, re.findall(r"\d+", ink)[:3])) > 500) == dark


def put(browser, **limits):
    """Fill in the form as a reader does; what is not named is emptied."""
    values = dict.fromkeys(("error", "flash", "ram", "ms"), "") | {k: str(v) for k, v in limits.items()}
    browser.value(
        f"Object.entries({json.dumps(values)}).forEach(([id, value]) => {{ const field = document.getElementById(id); "
        "field.value = value; field.dispatchEvent(new Event('input', { bubbles: true })); })"
    )
    picked = browser.value("document.querySelector('#answer .pick strong')?.textContent ?? null")
    names = browser.value("[...document.querySelectorAll('.card .name')].map((e) => e.textContent)")
    return picked, names, browser.value("document.getElementById('answer').innerText")


def test_the_filter_names_the_best_of_each_family_within_the_limits(browser, report):
    browser.show(report[0] / "report.html", 1280, False)
    rows = report[1]
    _, names, text = put(browser)
    assert len(names) == 3
    assert "17 of 18 models pass; left out: does not fit the board: 1." in text  # the dense one is too large
    flash_kb = 400
    picked, names, _ = put(browser, flash=flash_kb)
    allowed = {
        name: row
        for name, row in rows.items()
        if min(cost["flash_bytes"] for cost in row["boards"]["nano33ble"].values()) <= flash_kb * 1000
    }
    assert {name.split(" (")[0] for name in names} <= allowed.keys()
    assert picked in allowed
    for family in {row["family"] for row in allowed.values()}:
        best = min((r for r in allowed.values() if r["family"] == family), key=lambda r: r["choice_mae_deg"])["model"]
        assert any(name.startswith((best, picked)) for name in names)
    chosen = browser.value("[...document.querySelectorAll('tr.chosen')].map((e) => e.dataset.model)")
    assert set(chosen) == {picked}
    assert browser.value("document.querySelectorAll('.ring').length") >= 5


def test_the_filter_says_when_nothing_passes_and_knows_the_place(browser, report):
    browser.show(report[0] / "report.html", 390, True)
    picked, names, text = put(browser, error=0.5)
    assert (picked, names) == (None, [])
    assert "No model passes." in text
    assert "error too high: 18" in text
    browser.value("document.getElementById('place').value = 2")
    picked, names, text = put(browser, ms=1.0)
    fast = {name for name, row in report[1].items() if row["int8_ms"] <= 1.0}
    assert picked in fast
    assert f"too slow: {18 - len(fast)}" in text
    assert browser.value("document.getElementById('flash-name').textContent") == "int8 file, at most"
    browser.value("document.querySelector('button').click()")
    assert browser.value("document.getElementById('ms').value") == ""


def test_the_page_opens_where_a_model_runs(browser, report):
    browser.show(report[0] / "report.html", 1280, False)
    assert browser.value("document.getElementById('place').value") == "0"
    small, large = ({"error": 1, "boards": {"nano33ble": {"c": {"fits": fits}}}} for fits in (True, False))
    assert browser.value(f"opening({json.dumps([large, small])})") == 0
    assert browser.value(f"places[opening({json.dumps([large])})].board") is None


@pytest.mark.parametrize(
    ("models", "pick"),
    [
        ([("dense", 10, 8, 4.8, "row"), ("masked", 10, 6, 4.7, "row")], "masked"),  # as large: the less after gzip
        ([("a", 10, 6, 4.8, "row"), ("b", 10, 6, 4.7, "row")], "b"),  # and of these the one that errs less
        ([("a", 10, 6, 4.7, "row"), ("b", 9, 7, 4.8, "row")], "b"),
        ([("a", 10, 6, 4.7, "row"), ("b", 9, 7, 5.0, "row")], "a"),  # not to be told apart, but not as good either
        ([("a", 10, 6, 4.8, "row"), ("random masks", 9, 5, 4.7, "control")], "a"),
        ([("random masks", 9, 5, 4.7, "control")], "random masks"),
    ],
)
def test_of_models_within_one_standard_error_of_the_best_the_smallest_is_picked(browser, report, models, pick):
    browser.show(report[0] / "report.html", 1280, False)
    entries = [
        {
            "index": i,
            "model": {"name": name, "choice": error, "error": error, "role": role},
            "cost": {"flash": flash, "ram": ram},
        }
        for i, (name, flash, ram, error, role) in enumerate(models)
    ]
    found = f"choose({{ pairs: {{ '0,1': [-1, 1, 0.2] }} }}, {json.dumps(entries)})"
    assert browser.value(f"{found}.pick.model.name") == pick
    words = browser.value(f"(({{ pick, near }}) => smallness({{ board: null }}, pick, near))({found})")
    tied = len(models) == 2 and models[0][1] == models[1][1]
    assert ("as small as any" in words) == tied


@pytest.mark.parametrize(
    ("models", "pairs", "chosen_by", "says"),
    [
        (
            [(4.7, "row"), (5.5, "row")],
            {"0,1": [-1.2, -0.4, 0.2]},
            "val",
            "It has the least error on val, and no other is within one standard error",
        ),
        (
            [(4.7, "row"), (5.5, "row"), (4.71, "row")],
            {"0,1": [-1.2, -0.4, 0.2]},
            "val",
            ". 1 was not tested against it",
        ),
        ([(4.7, "row"), (5.5, "row")], {}, "val", "nothing says how much of that is chance"),
        ([(4.7, "row"), (5.5, "row"), (4.6, "control")], {"0,1": [-1, -0.4, 0.2]}, "val", "A control errs less."),
        ([(4.7, "row"), (5.5, "row")], {"0,1": [-1.2, -0.4, 0.2]}, None, "chosen by the errors that are told"),
        (
            [(4.7, "row"), (4.8, "row")],
            {"0,1": [-1, 1, 0.2]},
            "val",
            "model 0 has the least error on val, here 5.70°. 1 other",
        ),
    ],
)
def test_the_page_says_why(browser, report, models, pairs, chosen_by, says):
    browser.show(report[0] / "report.html", 1280, False)
    left = [
        {"index": i, "model": {"name": f"model {i}", "choice": choice, "error": choice + 1, "role": role, "n": 3},
         "cost": {"flash": 10 - i, "ram": 1}}
        for i, (choice, role) in enumerate(models)
    ]  # fmt: skip
    known = {"models": models, "pairs": pairs, "chosenBy": chosen_by}
    found = f"{{ left: {json.dumps(left)}, out: new Map() }}"
    lines = browser.value(f"explain({json.dumps(known)}, {{ board: null }}, {found}).lines.join(' ')")
    assert says in lines
    assert ("looks a little better" in lines) == (chosen_by is None)


def test_a_short_time_is_marked_on_the_page(browser, report):
    browser.show(report[0] / "report.html", 1280, False)
    model = {"error": 1, "sd": None, "n": 1, "bytes": 1, "gzip": 1, "ms": 1.5, "short": True}
    told = f"figures({{ model: {json.dumps(model)}, cost: costs({json.dumps(model)}, {{ board: null }})[0] }}, {{}})"
    assert ["time", "1.5 ms (short)"] in browser.value(told)
