"""Several results folders reported as one, and files that were handed in."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.engine.ablation import AblationName
from bench.errors import DamagedFile, MixedSettings, NewerResults, UsageError
from bench.report import write_report
from bench.scoring.cells import cells_of, scored
from bench.scoring.comparison.compare import compare
from bench.scoring.comparison.standing import standings
from bench.scoring.leaderboard import leaderboard
from bench.store.merged import Merged
from bench.store.pack import pack, unpacked
from bench.store.recoveries import rows_of
from bench.store.results import Store
from bench.store.sources import sources
from command_line import CommandLine
from made_runs import run

LEVELS = {0.01: 0.1, 0.1: 0.05}


def folder(at: Path, *runs: Any, **of_record: Any) -> Path:
    """A results folder of runs made by hand."""
    for each in runs:
        Store(at).save(each.stem, replace(each, record=replace(each.record, **of_record)))
    return at


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Folders that both hold one method's run of one seed; other seeds and other methods are of one alone."""
    worse = {size: 2 * level for size, level in LEVELS.items()}
    a = folder(tmp_path / "a", run("one", LEVELS), run("one", LEVELS, 1), run("two", LEVELS), created="a")
    b = [run("one", worse), run("two", LEVELS, 1), run("three", LEVELS)]
    return a, folder(tmp_path / "b", *b, created="b")


def test_a_run_that_two_folders_hold_is_shown_twice(two: tuple[Path, Path]) -> None:
    with sources(two) as held:
        assert held.store is not None
        table = leaderboard(held.store)
    rows = table[table["size_requested"] == 0.01].set_index(["method", "source", "data_seed"])
    a, b = "a", "b"
    assert set(rows.drop(["full", "empty", "ones"], errors="ignore").index) == {
        ("one", a, 0), ("one", a, 1), ("one", b, 0), ("two", "", 0), ("two", "", 1), ("three", "", 0),
    }  # fmt: skip
    kl = rows["kl"]
    assert kl["one", b, 0] > 1.5 * kl["one", a, 0]


def test_seeds_in_two_folders_are_seeds_of_one_method(two: tuple[Path, Path], tmp_path: Path) -> None:
    with sources(two) as held:
        write_report(held, tmp_path / "both")
    page = (tmp_path / "both" / "index.html").read_text()
    for name in ("one (source=a)", "one (source=b)", "two", "three"):
        assert f">{name}<" in page, name
    assert "two (source" not in page
    assert "three (source" not in page


@pytest.mark.parametrize(
    ("of_record", "said"),
    [
        ({"n_evaluation": 3}, "scored with n_evaluation=3"),
        ({"model_hash": "another"}, "the model 'm' of .*b is not the one of .*a"),
        ({"task_code": "another"}, "the task 'gp' of .*b is not the one of .*a"),
        ({"benchmark": 1}, "versions 1 and 2 of the benchmark"),
    ],
)
def test_folders_that_do_not_compare_are_refused(
    tmp_path: Path, of_record: dict[str, Any], said: str
) -> None:
    about = {"model_hash": "one", "task_code": "one"}
    a = folder(tmp_path / "a", run("one", LEVELS), **about)
    b = folder(tmp_path / "b", run("two", LEVELS), **about | of_record)
    with sources([a, b]) as held, pytest.raises(MixedSettings, match=said):
        write_report(held, tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_a_folder_without_results_is_named(two: tuple[Path, Path], command: CommandLine) -> None:
    with (
        pytest.raises(UsageError, match="no folder or file nothing"),
        sources([two[0], Path("nothing")]),
    ):
        pass
    assert "name it with --out" in command("report", *map(str, two), code=2).stderr


def test_a_pack_is_scored_anew_and_marked(two: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "b.zip"
    write_report(two[1], two[1])
    digest = pack(two[1], file)
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert pack(two[1], tmp_path / "again.zip") == digest
    assert not {"leaderboard.csv", "index.html"} & set(zipfile.ZipFile(file).namelist())
    with sources([file]) as held:
        write_report(held, tmp_path / "alone")
    same = [(at / "leaderboard.csv").read_text() for at in (two[1], tmp_path / "alone")]
    assert same[0] == same[1]
    assert (
        f"Handed in and not replicated yet: {file.name}."
        in (tmp_path / "alone" / "leaderboard.md").read_text()
    )
    with sources([two[0], file]) as held:
        write_report(held, tmp_path / "both")
    text = (tmp_path / "both" / "leaderboard.md").read_text()
    assert f"Handed in: {file.name}; 1 of 3 runs were also run in another folder here" in text
    assert f"three (source={file.name})" in text  # nobody else has run it, and it bears its name all the same


def rewritten(
    file: Path, change: Mapping[str, bytes | None], manifest: Mapping[str, Any] | None = None
) -> Path:
    """A pack in which some files are other ones, or gone (None), or told of otherwise."""
    with zipfile.ZipFile(file) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    told = json.loads(held["manifest.json"])
    held["manifest.json"] = json.dumps(told | dict(manifest or {})).encode()
    other = file.with_name("other.zip")
    with zipfile.ZipFile(other, "w") as archive:
        for name, content in {**held, **change}.items():
            if content is not None:
                archive.writestr(name, content)
    return other


def test_a_pack_that_was_tampered_with_is_refused(
    two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.zip"
    pack(two[0], file)
    name = "runs/gp-one-0.safetensors"
    for change, said in (
        ({name: (two[1] / name).read_bytes()}, f"{name} was changed or added"),
        ({name: None}, f"{name} is missing"),
        ({"runs/new.safetensors": b""}, "runs/new.safetensors was changed or added"),
        ({"../new.safetensors": b""}, "does not belong in a results folder"),
        ({"runs/..": b""}, "does not belong in a results folder"),
        ({"manifest.json": b"[]"}, "not a circuitmark pack"),
        ({"manifest.json": None}, "not a circuitmark pack"),
    ):
        with pytest.raises(DamagedFile, match=said), unpacked(rewritten(file, change)):
            pass
    with (
        pytest.raises(DamagedFile, match="not a circuitmark pack"),
        unpacked(rewritten(file, {}, {"files": [[1, "x"]]})),
    ):
        pass
    monkeypatch.setattr("bench.store.pack.LARGEST", 100)
    with pytest.raises(DamagedFile, match="more than a pack may"), unpacked(file):
        pass
    monkeypatch.undo()
    with pytest.raises(NewerResults, match="newer"), unpacked(rewritten(file, {}, {"format": 2})):
        pass
    whole = file.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    for content in (b"", b"no zip", whole[:-100], whole[:5000], flipped):
        file.write_bytes(content)
        with pytest.raises(DamagedFile, match="not a complete pack"), unpacked(file):
            pass


def test_whose_run_again_is_its_own_copy_is_not_told_so(two: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "b.zip"
    pack(two[1], file)
    with sources([two[1], file]) as held:
        assert "0 of 3 runs were also run in another folder here" in held.warnings()[0]


def test_random_circuits_of_two_folders_count_once(tmp_path: Path) -> None:
    runs = [run("one", LEVELS), *(run("random_edges", {0.01: 1.0, 0.1: 1.0}, seed) for seed in range(19))]
    a, b = (folder(tmp_path / name, *runs, created=name) for name in "ab")
    with sources([a, b]) as held, sources([a]) as alone:
        assert held.store is not None
        assert alone.store is not None
        both, one = leaderboard(held.store), leaderboard(alone.store)
    wanted = one[one["method"] == "one"].set_index("size_requested")
    for column in ("p_sufficiency", "complement_loss_margin", "complement_loss_margin_low"):
        for _, rows in both[both["method"] == "one"].groupby("source"):
            assert rows.set_index("size_requested")[column].equals(wanted[column]), column


def test_random_circuits_of_several_numbers_of_prompts_count_once(tmp_path: Path) -> None:
    """They look at no prompt; but under a mean, what is removed carries one of the prompts."""
    drawn = [run("random_edges", {0.01: 1.0}, seed) for seed in range(3)]
    counted: Mapping[AblationName, int] = {"resample": 3, "mean": 6}
    for ablation, rows in counted.items():
        store = Store(tmp_path / ablation)
        for n in (100, 200):
            for each in drawn:
                record = replace(each.record, n_discovery=n, ablation=ablation, discovery_ablation=ablation)
                store.save(f"{each.stem}-{n}", replace(each, record=record))
        assert (leaderboard(store)["method"] == "random_edges").sum() == rows


def test_a_fault_while_a_pack_is_looked_at_is_not_the_packs(two: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    pack(two[0], file)
    with pytest.raises(OSError, match="another fault"), unpacked(file):
        raise OSError("another fault")


def test_packing_is_a_command(two: tuple[Path, Path], command: CommandLine) -> None:
    assert command("pack", "a").stdout.startswith("a.zip\nsha256 ")
    command("report", "a.zip", "--out", "page")
    assert (two[0].parent / "page" / "index.html").exists()
    assert "there is no folder or file none" in command("pack", "none", code=2).stderr
    assert not (two[0].parent / "none.zip").exists()
    (two[0].parent / "thesis.tex").write_text("mine")
    assert "already exists and is not a pack" in command("pack", "a", "--out", "thesis.tex", code=2).stderr
    assert (two[0].parent / "thesis.tex").read_text() == "mine"
    command("pack", "a")  # anew
    assert (
        "a is one of the folders that are reported"
        in command("report", "a", "b", "--out", "a", code=2).stderr
    )
    assert "name it with --out" in command("report", "a.zip", code=2).stderr


def test_of_the_same_recovery_in_two_folders_the_first_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"a": [("hist", 1), ("reverse", 2)], "b": [("hist", 3), ("sort", 4)]}

    def rows(folder: Path) -> list[dict[str, Any]]:
        return [{"program": program, "f1": f1} for program, f1 in held[folder.name]]

    monkeypatch.setattr("bench.store.recoveries.rows", rows)
    found = rows_of([Path("a"), Path("b")])
    assert [(row["program"], row["f1"]) for row in found] == [("hist", 1), ("reverse", 2), ("sort", 4)]


def test_fresh_prompts_are_told_of_one_folder(two: tuple[Path, Path], command: CommandLine) -> None:
    words = ["report", "a", "b", "--out", "both", "--fresh", "a"]
    assert "--fresh takes a single folder" in command.complaint(*words)


def test_standings_are_told_of_two_folders(tmp_path: Path) -> None:
    """Both hold the same random circuits, without which there are none."""
    null = run("random_edges", {0.01: 1.0, 0.1: 1.0})
    a = folder(tmp_path / "a", null, run("one", LEVELS), created="a")
    b = folder(tmp_path / "b", null, run("one", LEVELS), run("two", LEVELS), created="b")
    with sources([a, b]) as held:
        assert held.store is not None
        circuits = scored(held.store.runs())
    assert sum(each.null for each in circuits) == 2
    (whole,) = standings(cells_of(circuits))
    assert {each.method for each in whole.methods} == {"one:source=a", "one:source=b", "two"}
    assert all(each.data_seeds for each in whole.methods)


def test_a_method_in_two_folders_is_no_rival_of_itself(tmp_path: Path) -> None:
    """It tells no methods apart, and makes no family of tests larger."""
    far = {0.01: 0.5, 0.1: 0.4}
    a = folder(tmp_path / "a", run("one", far), created="a")
    b = folder(tmp_path / "b", run("one", far), created="b")
    with sources([a, b]) as held:
        assert held.store is not None
        cells = cells_of(scored(held.store.runs()))
        table = leaderboard(held.store)
    assert not any(pair.ranks for pair in compare(cells))
    assert set(table["cell"].dropna()) == {""}
    folder(b, run("two", {0.01: 0.9, 0.1: 0.8}), created="b")
    with sources([a, b]) as held:
        assert held.store is not None
        pairs = [pair for pair in compare(cells_of(scored(held.store.runs()))) if pair.size is None]
    assert [(pair.a, pair.b, pair.alike) for pair in pairs] == [
        ("one:source=a", "one:source=b", True), ("one:source=a", "two", False), ("one:source=b", "two", False)
    ]  # fmt: skip
    assert pairs[0].p_holm == pytest.approx(pairs[0].difference.p(), nan_ok=True)
    assert pairs[1].p_holm == pytest.approx(2 * pairs[1].difference.p())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("outputs.empty.kl", "the outputs of the empty circuit are"),
        ("answers.template", "the evaluation prompts are"),
    ],
)
def test_other_prompts_or_bounds_are_refused(tmp_path: Path, name: str, told: str) -> None:
    a = folder(tmp_path / "a", run("one", LEVELS))
    other = run("two", LEVELS)
    changed = {**other.tensors, name: other.tensors[name] + 1}
    b = folder(tmp_path / "b", replace(other, tensors=changed))
    with sources([a, b]) as held, pytest.raises(MixedSettings, match=f"{told} not the same in .*b as in .*a"):
        write_report(held, tmp_path / "both")


def test_what_was_run_again_is_the_same_by_the_same_code(tmp_path: Path) -> None:
    null = run("random_edges", LEVELS)
    own = folder(
        tmp_path / "own", null, run("one", LEVELS), run("two", LEVELS), run("three", {0.05: 0.1}), created="a"
    )
    given = folder(tmp_path / "given", null, run("one", LEVELS), run("three", LEVELS), created="b")
    folder(given, run("two", LEVELS), created="b", lineage="other code")
    store = Merged({"own": own, "given": given}, ["given"])
    assert store.run_again() == (3, 1)


def test_what_is_wrong_in_a_pack_is_told_of_the_pack(two: tuple[Path, Path], tmp_path: Path) -> None:
    name = "runs/gp-one-0.safetensors"
    (two[0] / name).write_bytes(b"nothing")
    file = tmp_path / "a.zip"
    pack(two[0], file)
    with pytest.raises(DamagedFile, match=f"{file}: {name} "), sources([file]) as held:
        write_report(held, tmp_path / "page")
