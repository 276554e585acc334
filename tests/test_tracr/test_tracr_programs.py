"""Programs, what Tracr makes of them, their data, their errors, and the cache of compiled models."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bench.models.tracr
from bench.errors import ProgramFailed, UsageError
from bench.models.tracr import ProgramModel, load_program
from bench.names import get_program
from bench.store.keys import program_code
from programs import sampled
from tracr_ground_truth import Program, ProgramError, find_programs, program
from tracr_ground_truth.compile import BOS, PAD, compile_program, exactness
from tracr_ground_truth.data import MAX_INPUTS, inputs, pairs

compiling = pytest.importorskip("tracr.compiler.compiling")
rasp = pytest.importorskip("tracr.rasp.rasp")
SHIPPED = find_programs()[0]


def made(build: Any, vocabulary: Any = "abc", length: int = 3, **options: Any) -> Program:
    """A program of a function that the test wrote."""
    build.__doc__ = build.__doc__ or "A test."
    return program(vocabulary, length, **options)(build)


def own_outputs(wanted: Program, ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """What Tracr's own JAX model leaves in the output's directions, inputs of one length at a time."""
    import jax.numpy as jnp

    expression = wanted.build()
    model = compiling.compile_rasp_to_model(
        expression, set(wanted.vocabulary), wanted.length, wanted.causal, BOS, PAD, exactness(wanted.length)
    )
    labels, own = model.residual_labels, expression.label
    if rasp.is_categorical(expression):
        columns = model.output_encoder.encoding_map
        directions = [labels.index(f"{own}:{v}") for v in sorted(columns, key=lambda v: columns[v])]
    else:
        directions = [labels.index(own)]
    outputs = np.full((*ids.shape, len(directions)), np.nan)
    for length in np.unique(rows):
        batch = jnp.array(ids[rows == length, :length])
        stream = model.forward(model.params, batch).transformer_output.output
        outputs[rows == length, :length] = np.asarray(stream)[:, :, directions]
    return outputs


@pytest.mark.parametrize("name", sampled(SHIPPED))
def test_the_masked_model_says_what_tracrs_model_says(name: str) -> None:
    """On every input at every position but BOS."""
    model = load_program(SHIPPED[name])
    compiled = model.compiled
    wanted = own_outputs(model.program, compiled.inputs.numpy(), compiled.lengths.numpy())
    ours = model.masked.run(compiled.inputs, lengths=compiled.lengths).numpy()
    assert ours.shape == wanted.shape
    inside = ~np.isnan(wanted)
    inside[:, 0] = False
    assert inside.sum() == (compiled.lengths.sum() - len(compiled.lengths)) * wanted.shape[2]
    np.testing.assert_allclose(ours[inside], wanted[inside], atol=1e-4)


def test_shipped_programs_are_described_and_many() -> None:
    for name, each in SHIPPED.items():
        assert name == each.name == each.build.__name__
        assert len(each.description) > 10
        assert each.description.endswith(".")
    assert len(SHIPPED) >= 40 > 3 >= sum(each.redundant for each in SHIPPED.values())
    assert any(each.causal for each in SHIPPED.values())


@pytest.mark.slow
def test_shipped_programs_wire_many_heads_and_many_layers() -> None:
    shapes = [load_program(each).compiled.shape for each in SHIPPED.values()]
    assert max(shape["n_layers"] for shape in shapes) >= 9
    assert sum(shape["n_heads"] > 1 for shape in shapes) >= 5


def over_several_places() -> Any:
    """Whether the token's mean index is above 0.9: of several one-hot indices Tracr makes no mean."""
    same = rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.EQ)
    return rasp.Map(lambda mean: mean > 0.9, rasp.Aggregate(same, rasp.indices))


def test_what_tracr_compiles_wrongly_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The input that is named is one on which the compiled model is wrong indeed."""
    monkeypatch.setenv("CIRCUITMARK_CACHE", str(tmp_path))
    wrong = made(over_several_places)
    with pytest.raises(ProgramFailed, match="'over_several_places'") as caught:
        load_program(wrong)
    assert "\n" not in str(caught.value)
    named = re.search(r"on the input ([abc ]+):", str(caught.value))
    assert named is not None
    compiled = compile_program(wrong)
    model = ProgramModel(wrong, compiled, bench.models.tracr._masked(wrong, compiled))
    row = compiled.inputs.tolist().index(compiled.encode(named[1].split()))
    outputs = model.masked.run(compiled.inputs[[row]], lengths=compiled.lengths[[row]])
    off = (outputs - compiled.targets[[row]])[:, 1:].abs()
    assert off.max() > compiled.tolerance


def test_check_sees_a_single_wrong_weight() -> None:
    """A model that has been tampered with does not pass; the whole one does."""
    model = load_program(SHIPPED["x_proportion"])
    model.check()
    spoilt = {name: weight.clone() for name, weight in model.compiled.weights.items()}
    spoilt["a1.W_O"] *= 1.5
    compiled = replace(model.compiled, weights=spoilt)
    with pytest.raises(ProgramFailed, match="x_proportion"):
        ProgramModel(model.program, compiled, bench.models.tracr._masked(model.program, compiled)).check()


@given(
    size=st.integers(1, 6),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True),
)
def test_data_sets(size: int, lengths: list[int]) -> None:
    """All inputs where they are few, otherwise a sample; never one twice, and the same each time."""
    each = Program("p", lambda: None, "", tuple(range(size)), max(lengths), tuple(lengths))
    found = inputs(each)
    assert found == inputs(each)
    counts = Counter(map(len, found))
    assert len(set(found)) == len(found)
    assert set(counts) == set(lengths)
    assert {value for sequence in found for value in sequence} <= set(range(size))
    possible = {n: size**n for n in lengths}
    if sum(possible.values()) <= MAX_INPUTS:
        assert counts == possible
    else:
        assert len(found) <= MAX_INPUTS
        assert all(counts[n] in (possible[n], MAX_INPUTS // len(lengths)) for n in lengths)


def test_a_length_named_twice_gives_no_input_twice() -> None:
    found = inputs(made(lambda: None, lengths=(2, 2)))
    assert len(set(found)) == len(found)


@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=14),
    limit=st.integers(1, 150),
    seed=st.integers(0, 3),
)
def test_pairs(lengths: list[int], limit: int, seed: int) -> None:
    """All ordered pairs of one length when few, otherwise inputs that have a partner evenly clean."""
    rows = np.array(lengths)
    possible = {(i, j) for i in range(len(rows)) for j in range(len(rows)) if i != j and rows[i] == rows[j]}
    if not possible:
        with pytest.raises(ProgramError, match="no two inputs have the same length"):
            pairs(rows, limit, seed)
        return
    clean, corrupted = (part.tolist() for part in pairs(rows, limit, seed))
    drawn = list(zip(clean, corrupted, strict=True))
    assert set(drawn) <= possible
    assert drawn == list(zip(*(part.tolist() for part in pairs(rows, limit, seed)), strict=True))
    if len(possible) <= limit:
        assert sorted(drawn) == sorted(possible)
        return
    assert len(drawn) == limit
    often = Counter(clean)
    counts = [often[i] for i in {i for i, _ in possible}]
    assert max(counts) - min(counts) <= 1


def numerical_keys() -> Any:
    share = rasp.numerical(rasp.Map(lambda token: float(token == "a"), rasp.tokens))
    return rasp.SelectorWidth(rasp.Select(share, rasp.tokens, lambda key, query: True))


BAD = {
    "keys": (numerical_keys, "Tracr cannot compile 'keys'.*categorical"),
    "no_tokens": (lambda: rasp.Map(lambda i: i + 1, rasp.indices), "compile 'no_tokens'.*rasp.tokens"),
    "failing": (lambda: dict[str, Any]()["gone"], "the program 'failing' fails: KeyError: 'gone'"),
    "number": (lambda: 3, "'number' returns a int: let it return a rasp.SOp"),
    "selector": (
        lambda: rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.EQ),
        "'selector' returns a Sel",
    ),
    "constant": (lambda: rasp.Map(lambda token: 1, rasp.tokens), "has the same output everywhere"),
}


@pytest.mark.parametrize("name", BAD)
def test_programs_that_do_not_compile(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names the cause."""
    monkeypatch.setenv("CIRCUITMARK_CACHE", str(tmp_path))
    build, message = BAD[name]
    with pytest.raises(ProgramFailed, match=message) as caught:
        load_program(Program(name, build, "A test.", tuple("abc"), 3, (3,)))
    assert "\n" not in str(caught.value)


def test_batches_hold_every_pair_of_inputs_of_one_length() -> None:
    """In pieces; answers are all positions at which the program says something."""
    whole = load_program(SHIPPED["reverse_any_length"])
    targets = whole.compiled.targets.clone()
    targets[::3, 1] = torch.nan  # as if the program said None there
    model = replace(whole, compiled=replace(whole.compiled, targets=targets))
    compiled, batches = model.compiled, model.batches(600, 1)
    assert [len(batch) for batch in batches] == [256, 256, 88]
    rows = {tuple(ids): i for i, ids in enumerate(compiled.inputs.tolist())}
    for batch in batches:
        asked: list[tuple[int, int]] = []
        sides = zip(batch.clean.tolist(), batch.corrupted.tolist(), strict=True)
        for example, (clean, corrupted) in enumerate(sides):
            i, other = rows[tuple(clean)], rows[tuple(corrupted)]
            assert i != other
            assert batch.lengths[example] == compiled.lengths[i] == compiled.lengths[other]
            says = range(1 + (i % 3 == 0), int(compiled.lengths[i]))
            asked += [(example, position) for position in says]
            for position in says:
                at = (batch.examples == example) & (batch.positions == position)
                assert batch.correct[at].equal(compiled.targets[i, [position]] == 1)
        assert list(zip(batch.examples.tolist(), batch.positions.tolist(), strict=True)) == asked


def test_inputs_that_do_not_fit() -> None:
    compiled = load_program(SHIPPED["x_proportion"]).compiled
    assert [compiled.tokens[i] for i in compiled.encode("cax")] == [BOS, *"cax"]
    for sequence, message in [
        ("xyc", r"'y' is not in the program's vocabulary \(.*x.*\)"),
        ((BOS, "x"), "is not in the program's vocabulary"),
        ("", "1 to 4 tokens, not 0"),
        ("x" * 5, "1 to 4 tokens, not 5"),
    ]:
        with pytest.raises(ProgramError, match=message):
            compiled.encode(tuple(sequence))


def test_mistakes_in_the_decorator() -> None:
    def mistaken() -> None:
        """A test."""

    for vocabulary, lengths, message in [
        ("aba", None, "without repeated tokens"),
        ((1, True), None, "without repeated tokens"),
        ("", None, "needs a vocabulary"),
        ("ab", (2, 4), r"\(2, 4\), which are not all in 1..3"),
        ("ab", (0,), r"not all in 1..3"),
        ("ab", (), "lengths"),
    ]:
        with pytest.raises(ProgramError, match=f"'mistaken' .*{message}"):
            program(vocabulary, 3, lengths=lengths)(mistaken)
    mistaken.__doc__ = None
    with pytest.raises(ProgramError, match="'mistaken' has no docstring"):
        program("ab", 3)(mistaken)


TWO = """
from tracr.rasp import rasp
from tracr_ground_truth import program

def equals(letter):
    return rasp.Map(lambda token: token == letter, rasp.tokens)

@program("abc", 3)
def is_a() -> rasp.SOp:
    "Whether the token is a."
    return equals("a")

@program("abc", 3)
def is_b() -> rasp.SOp:
    "Whether the token is b."
    return equals("b")

def undecorated():
    return equals("c")
"""
ONE = TWO.partition('@program("abc", 3)\ndef is_b')[0]


def spec_of(folder: Path, source: str, function: str = "") -> str:
    """How a user names a program in a file that holds `source`."""
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(source)
    return f"{folder / 'mine.py'}:{function}".rstrip(":")


def test_programs_in_a_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only program of a file, or the one that is named; it computes what the file says."""
    monkeypatch.setenv("CIRCUITMARK_CACHE", str(tmp_path / "cache"))
    assert get_program(spec_of(tmp_path / "one", ONE)).name == "is_a"
    found = get_program(spec_of(tmp_path / "two", TWO, "is_b"))
    assert (found.name, found.description) == ("is_b", "Whether the token is b.")
    compiled = load_program(found).compiled
    is_b = compiled.inputs[:, 1:] == compiled.encode("b")[1]
    said = compiled.targets[:, 1:].argmax(-1)
    assert len(set(zip(said.flatten().tolist(), is_b.flatten().tolist(), strict=True))) == 2


def test_mistakes_in_a_users_file(tmp_path: Path) -> None:
    for source, function, message in [
        (TWO, "", r"mine.py has no program '' \(it has: is_a, is_b\)"),
        (TWO, "is_c", r"mine.py has no program 'is_c' \(it has: is_a, is_b\)"),
        (TWO, "undecorated", r"no program 'undecorated'.*write @program"),
        ("", "is_a", r"it has: none"),
        (
            ONE.replace("is_a", "reverse"),
            "",
            "a program named 'reverse', a name that circuitmark or an installed package already uses",
        ),
        (ONE.replace('"abc"', '"aba"'), "is_a", "mine.py cannot be imported: ProgramError: .*'is_a'"),
        ("1 / 0", "is_a", "mine.py cannot be imported: ZeroDivisionError"),
        ("raise SystemExit(3)", "is_a", "mine.py cannot be imported: SystemExit"),
    ]:
        with pytest.raises(UsageError, match=message) as caught:
            get_program(spec_of(tmp_path / str(len(source)), source, function))
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=r"there is no file .*none.py"):
        get_program(f"{tmp_path}/none.py:is_a")
    with pytest.raises(UsageError, match="unknown program 'revers'; did you mean 'reverse'"):
        get_program("revers")


def test_a_programs_code_follows_what_determines_the_model(tmp_path: Path) -> None:
    """Comments, layout and other programs do not count; body, helpers, vocabulary and options do."""

    def codes(*edits: tuple[str, str]) -> list[str]:
        sources = [TWO.replace(old, new) for old, new in edits]
        assert TWO not in sources
        return [program_code(get_program(spec_of(tmp_path / f"{hash(s)}", s, "is_a"))) for s in sources]

    found = get_program(spec_of(tmp_path, TWO, "is_a"))
    first = program_code(found)
    assert program_code(replace(found, vocabulary=("a", "x"))) != first
    other = TWO[TWO.index('@program("abc", 3)\ndef is_b') : TWO.index("def undecorated")]
    same = codes(("def eq", "# a\ndef eq"), ("Map(", "Map(\n        "), ('("b")', '("c")'), (other, ""))
    assert set(same) == {first}
    edits = [('equals("a")', 'equals("b")'), ("==", "!="), ('"abc"', '"abx"'), (", 3", ", 4")]
    assert len({first, *codes(*edits, (", 3", ", 3, causal=True"))}) == 6


def test_compiled_programs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled once; anew when the file is cut short, or when nothing can be kept. Values stay themselves."""
    monkeypatch.setenv("CIRCUITMARK_CACHE", str(tmp_path))
    compilations: list[str] = []

    def counted(wanted: Program) -> Any:
        compilations.append(wanted.name)
        return compile_program(wanted)

    monkeypatch.setattr(bench.models.tracr, "compile_program", counted)

    def is_true() -> Any:
        """Whether the token is true."""
        return rasp.Map(lambda token: token is True, rasp.tokens)

    mine = made(is_true, (True, 7, "seven"), 2)
    first = load_program(mine).compiled
    (file,) = tmp_path.rglob("*.safetensors")
    again = load_program(mine).compiled
    assert compilations == ["is_true"]
    assert [(value, type(value)) for value in again.tokens] == [(v, type(v)) for v in first.tokens]
    assert {True, 7, "seven"} < set(again.tokens)
    assert (again.data_hash, again.shape, again.categorical) == (
        first.data_hash,
        first.shape,
        first.categorical,
    )
    assert again.targets.nan_to_num(9).equal(first.targets.nan_to_num(9))
    assert all(again.weights[name].equal(weight) for name, weight in first.weights.items())
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    load_program(mine)
    assert compilations == ["is_true"] * 2
    assert file.read_bytes() == whole
    monkeypatch.setenv("CIRCUITMARK_CACHE", str(file / "below"))
    assert load_program(mine).compiled.data_hash == first.data_hash
    assert compilations == ["is_true"] * 3
