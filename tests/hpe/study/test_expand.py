"""From a TOML to runs: axes, seeds, twins, published rows; and what is refused, with the name of the row or key."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from hpe.study.expand import expand
from hpe.study.plan import make_plan
from hpe.study.planned import changed
from hpe.study.spec import RowSpec, StudyError, read_study
from hpe.study.tree import planned_epochs
from tests.hpe.study.studies import DENSE, HEAD, LATE, write_study

STUDIES = Path(__file__).resolve().parents[3] / "benchmarks" / "studies"
TWIN = '\n[[twins]]\nof = ["polynomial*"]\nequal = "macs"\n'

IMAGENET = "model = { width = 1.0, pretrained = true }\n"


def runs(tmp_path, *parts):
    path = write_study(tmp_path, *parts)
    return expand(read_study(path), tmp_path)


def test_axes_are_multiplied_out_and_epochs_scaled(tmp_path):
    found = runs(tmp_path, LATE)
    assert [run.row for run in found] == ["polynomial 4-6", "polynomial 4-8", "constant 4-6", "constant 4-8"]
    prune = found[0].settings.prune
    assert (prune.begin_epoch, prune.end_epoch, prune.final_sparsity) == (2, 3, 0.75)
    assert found[0].labels["begin_epoch"] == 4
    assert (found[0].labels["schedule_epochs"], found[0].labels["epochs"]) == (8, 4)


def test_every_row_is_run_with_every_seed(tmp_path):
    found = runs(tmp_path, DENSE, LATE.replace("prune =", "seeds = [3, 4]\nprune ="))
    assert Counter(run.seed for run in found) == {0: 1, 3: 4, 4: 4}
    assert len({run.id for run in found}) == 9
    assert all(run.settings.recipe.train.seed == run.seed for run in found)


def test_a_row_names_the_one_that_it_is_tested_against_and_stays_the_same_run(tmp_path):
    control = LATE.replace("prune =", 'against = "dense"\nprune =')
    found, plain = runs(tmp_path, DENSE, control), runs(tmp_path, DENSE, LATE)
    assert [run.against for run in found] == [None, *["dense"] * 4]
    assert [run.id for run in found] == [run.id for run in plain]


def test_an_id_is_that_of_the_settings_wherever_the_row_stands(tmp_path):
    alone, among = runs(tmp_path, DENSE), runs(tmp_path, LATE, DENSE)
    assert alone[0].id == among[-1].id


def test_twins_keep_the_schedule_and_name_what_they_depend_on(tmp_path):
    found = runs(tmp_path, DENSE, LATE, TWIN)
    twins = [run for run in found if run.role == "twin"]
    assert [run.twin for run in twins] == [{"of": f"polynomial 4-{end}", "equal": "macs"} for end in (6, 8)]
    prune, other = twins[0].settings.prune, found[1].settings.prune
    assert (prune.method, prune.schedule, prune.end_epoch) == ("channel", other.schedule, other.end_epoch)
    assert twins[0].settings.twin.of == found[1].id
    assert twins[0].settings.twin.dense == found[0].id
    assert twins[0].family == "channel"


def test_a_twin_has_a_target_for_a_knapsack(tmp_path):
    found = runs(tmp_path, DENSE, LATE, TWIN + 'channels = { ranking = "knapsack" }')
    assert {run.settings.prune.channels.ranking for run in found if run.role == "twin"} == {"knapsack"}


@pytest.mark.parametrize("seeds", [("", ""), ("seeds = [0]\n", "seeds = [1]\n")])
def test_two_networks_under_one_name_are_refused(tmp_path, seeds):
    """A report would take one for the other, or both for two seeds of one."""
    both = [DENSE, LATE.replace("prune =", "seeds = [0, 1]\nprune ="), TWIN + seeds[0]]
    both[0] = DENSE + "seeds = [0, 1]\n"
    control = f'{TWIN}{seeds[1]}channels = {{ importance = "random" }}\n'
    with pytest.raises(StudyError, match=r"two rows are called 'polynomial 4-6 \| channel at equal macs'; .*`name`"):
        runs(tmp_path, *both, control)
    assert len(runs(tmp_path, *both, control + 'name = "{of} | random"\n')) == 2 + 8 + (8 if not seeds[0] else 4)


def test_the_grid_of_2022_has_all_published_rows_once():
    plan = make_plan(STUDIES / "tencon2022.toml")
    rows = [run for run in plan.runs if run.role == "row"]
    assert len(rows) == 35
    assert sorted(line for run in rows for line in run.reference["line"]) == list(range(1, 40))
    assert planned_epochs(plan.tasks) == 360  # of 36 * 16 = 576


@pytest.mark.parametrize("file", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_study_in_benchmarks_can_be_planned(file):
    plan = make_plan(file)
    assert plan.runs
    placed = set()
    for task in plan.tasks:
        assert placed.issuperset(task.needs), task.name
        placed.add(task.id)


REFUSED = {
    "unknown key": (DENSE.replace("role", "rolle"), r"rows\[0\]: unknown setting rolle; known are"),
    "unknown key of a section": (DENSE + "train = { epoch = 3 }", r"row 'dense': TrainConfig: unknown setting epoch"),
    "wrong type": (DENSE + 'seeds = "all"', r"rows\[0\].seeds is \"all\"; it must be a list"),
    "no rows": ("", "there are no rows; add"),
    "twice": (DENSE + DENSE, "two rows are called 'dense'"),
    "same run": (DENSE + DENSE.replace('"dense"', '"again"'), "'again' and 'dense' are the same run"),
    "between epochs": (
        '[[rows]]\nname = "x"\nprune = { method = "magnitude", begin_epoch = 3 }',
        "row 'x': epoch 3 of 8 is no whole epoch of 4",
    ),
    "after the end": (
        '[[rows]]\nname = "x"\nprune = { method = "magnitude", begin_epoch = 8, end_epoch = 16 }',
        "row 'x': pruning from epoch 4 to 8 does not fit",
    ),
    "cannot be": (
        '[[rows]]\nname = "x"\nprune = { method = "channel", initial_sparsity = 0.9 }',
        "row 'x': --initial-sparsity .* is above",
    ),
    "blocks": ('[[rows]]\nname = "x"\nprune = { method = "block" }', "row 'x': --method block"),
    "axis": ('[[rows]]\nname = "x"\naxes = { lr = [1] }', "axes: 'lr' must begin with"),
    "pattern": ('[[rows]]\nname = "{x}"\naxes = { "train.lr" = [1] }', "row '{x}': 'x' is none of its settings"),
    "against itself": (DENSE + 'against = "dense"', "row 'dense' is against 'dense', which is no other row"),
    "twin of nothing": (DENSE + TWIN, r"a twin of 'polynomial\*', but there is no such row; there are dense"),
    "twin of dense": (DENSE + TWIN.replace("polynomial*", "dense"), "twin of 'dense': it is dense"),
    "twin without dense": (LATE + TWIN, "twin of 'polynomial 4-6': it needs a dense row"),
    "twin of a seed that is not there": (
        DENSE + LATE + TWIN + "seeds = [7]",
        r"seeds \[7\], which no such row has",
    ),
    "twin on a board that is not weighed": (
        DENSE + LATE + TWIN.replace("macs", "flash") + 'board = "pi4"',
        r"board pi4 is not among files.boards \(nano33ble\)",
    ),
    "twin by what masks leave as it is": (
        DENSE + LATE + TWIN.replace("macs", "int8_bytes"),
        "masks leave int8_bytes as they are in the dense network; take int8_gzip_bytes",
    ),
    "narrow twin of ImageNet weights": (
        DENSE + IMAGENET + LATE.replace("prune =", IMAGENET + "prune =") + TWIN + 'family = "width"',
        "there are no ImageNet weights for a narrower net",
    ),
    "twin by a file that is not made": (DENSE + LATE + TWIN.replace("macs", "int8_gzip_bytes"), "needs int8 among"),
    "no seeds": (DENSE + "seeds = []", "row 'dense': seeds is empty"),
    "axis without values": (DENSE + 'axes = { "train.lr" = [] }', "axes train.lr has no values"),
    "seed in a row": (DENSE + "train = { seed = 3 }", "train.seed is not used"),
    "axis into a number": (
        DENSE + 'train = { lr = 1e-3 }\naxes = { "train.lr.x" = [1] }',
        "'train.lr.x' goes into 'lr', which is 0.001",
    ),
    "keep": (DENSE + 'files = { keep = ["int8"] }', r"rows\[0\]: unknown setting files"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_run_is_refused_by_name(case, tmp_path):
    text, message = REFUSED[case]
    with pytest.raises(StudyError, match=message):
        runs(tmp_path, text)


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(StudyError, match="No such file"):
        read_study(tmp_path / "no.toml")
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(StudyError, match="not valid TOML"):
        read_study(tmp_path / "bad.toml")
    kept = write_study(tmp_path, DENSE)
    kept.write_text(HEAD.replace("formats = []", 'formats = ["fp32"]\nkeep = ["int8"]') + DENSE)
    with pytest.raises(StudyError, match=r"files.keep: int8 is not among files.formats"):
        read_study(kept)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ('formats = ["int9"]', "files.formats: there is no int9; there are fp32"),
        ('formats = []\nboards = ["nano33blee"]', "files.boards: there is no nano33blee; there are nano33ble"),
    ],
)
def test_files_that_cannot_be_made_are_refused(tmp_path, files, message):
    path = write_study(tmp_path, DENSE)
    path.write_text(HEAD.replace("formats = []", files) + DENSE)
    with pytest.raises(StudyError, match=message):
        read_study(path)


def test_twins_have_no_twins(tmp_path):
    again = TWIN.replace("polynomial*", "*poly*4-6*").replace('"macs"', '"macs"\nfamily = "width"')
    found = runs(tmp_path, DENSE, LATE, TWIN, again)
    assert [run.twin["of"] for run in found if run.twin] == ["polynomial 4-6", "polynomial 4-8", "polynomial 4-6"]


@pytest.mark.parametrize(
    ("changed", "repeats"),
    [
        ({}, True),
        ({"masks": {"scope": "erk"}}, False),
        ({"masks": {"score": "random"}}, False),
        ({"method": "hybrid", "target_macs": 10_000_000}, False),
    ],
)
@pytest.mark.parametrize("schedule_epochs", [80, 160])
def test_only_the_published_kind_of_masks_stands_beside_published_rows(changed, repeats, schedule_epochs):
    smoke = read_study(STUDIES / "smoke.toml")
    window = {"begin_epoch": 0, "end_epoch": 80, "final_sparsity": 0.5, "schedule": "polynomial"}
    row = RowSpec("row", prune={"method": "magnitude", **window, **changed})
    train = replace(smoke.train, epochs=160)
    study = replace(smoke, rows=[row], twins=[], more_seeds={}, schedule_epochs=schedule_epochs, train=train)
    (run,) = expand(study, STUDIES)[:1]
    assert (run.reference is not None) == (repeats and schedule_epochs == 80)


def test_a_study_holds_all_that_it_extends_and_goes_on_in_its_folder():
    plans = {name: make_plan(STUDIES / f"{name}.toml") for name in ("tencon2022", "seeds", "structured", "controls")}
    ids = [{run.id for run in plan.runs} for plan in plans.values()]
    assert ids[0] < ids[1] < ids[2] < ids[3]
    assert read_study(STUDIES / "controls.toml").extends == ["structured", "tencon2022-seeds", "tencon2022"]


def test_a_study_that_extends_another_changes_what_it_names_alone(tmp_path):
    write_study(tmp_path, DENSE, LATE, "[more_seeds]\ndense = [1, 2]")
    more = '[train]\nlr = 2e-3\n[more_seeds]\n"constant*" = [1]\ndense = [2, 3]\n'
    (tmp_path / "more.toml").write_text(f'name = "more"\nextends = "tiny.toml"\n{more}')
    study = read_study(tmp_path / "more.toml")
    assert (study.train.lr, study.train.epochs, study.train.batch_size) == (2e-3, 4, 16)
    assert study.more_seeds == {"dense": [1, 2, 3], "constant*": [1]}


def test_a_study_in_another_folder_finds_the_published_rows_of_the_one_that_it_extends(tmp_path):
    (tmp_path / "mine.toml").write_text(f'name = "mine"\nextends = "{STUDIES / "tencon2022.toml"}"\n')
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "more.toml").write_text('name = "more"\nextends = "../mine.toml"\n')
    there = expand(read_study(STUDIES / "tencon2022.toml"), STUDIES)
    here = expand(read_study(tmp_path / "more" / "more.toml"), tmp_path / "more")
    assert [run.reference for run in here] == [run.reference for run in there]
    assert any(run.reference for run in here)


def test_a_study_that_extends_itself_is_refused(tmp_path):
    path = write_study(tmp_path, DENSE)
    path.write_text('extends = "tiny.toml"\n' + path.read_text())
    with pytest.raises(StudyError, match=r"extends is 'tiny.toml'; it must name another"):
        read_study(path)


def test_more_seeds_are_for_rows_that_are_there(tmp_path):
    found = runs(tmp_path, DENSE, LATE, "[more_seeds]\ndense = [1]")
    assert [run.seed for run in found if run.row == "dense"] == [0, 1]
    with pytest.raises(StudyError, match="more_seeds for 'dens', but there is no such row"):
        runs(tmp_path, DENSE, "[more_seeds]\ndens = [1]")


def test_a_setting_that_is_added_later_leaves_ids_as_they_are(tmp_path):
    """An id is made of what differs from the defaults, so a default that nobody has changed is not in it."""
    settings = runs(tmp_path, DENSE, LATE)[1].settings
    assert changed(settings.model) == {"width": 0.25, "act": "relu6"}
    assert changed(settings)["prune"]["end_epoch"] == 3
    assert "augment" not in changed(settings)["recipe"]
    wider = replace(settings, model=replace(settings.model, width=0.5))
    assert wider.id != settings.id
    assert replace(wider, model=settings.model).id == settings.id
