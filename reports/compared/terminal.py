"""Methods compared, as tables for the terminal: what `circuitmark compare --json` prints."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from reports.compared.crossed import crossed_table
from reports.compared.stability import stability_table
from reports.compared.turnovers import turnovers_table
from reports.parts.models import named
from reports.parts.numbers import DASH, number, plural, share
from reports.parts.terminal import a_table, place_of

Told = Mapping[str, Any]
_FAMILY = ("model", "ablation", "graph", "pruned", "found_under", "size")
_COMPONENTS = ("model", "data", "method", "template", "prompt", "rest_of_run", "rest_of_prompt")


def comparison_terminal(told: Mapping[str, Sequence[Told]]) -> Group:
    """A table of each kind that is not empty.

    Args:
        told: as `circuitmark compare --json` prints it.
    """
    kinds = {
        "pairs": _pairs, "crossed": crossed_table, "turnovers": turnovers_table, "behaviours": _standings,
        "stability": stability_table, "fresh": _fresh, "variance": _variance,
    }  # fmt: skip
    told = named(told)
    return Group(*(table(told[kind]) for kind, table in kinds.items() if told.get(kind)))


def _pairs(pairs: Sequence[Told]) -> Table:
    """A line per pair and behaviour: the primary tests, or those at a size where only one size was run.

    The values are the share of the empty circuit's KL that a leaves over the share that b leaves: below 1
    where a is ahead. The method that is ahead is bold.
    """
    matched = [pair for pair in pairs if pair["found_under"] == pair["ablation"]] or pairs
    primary = [pair for pair in matched if pair["size"] is None]
    sizes = "all sizes" if primary else " and ".join(sorted({share(pair["size"]) for pair in matched}))
    shown = primary or matched
    view = a_table(
        f"Who is ahead: KL left by a over KL left by b, on new templates, over {sizes}",
        ("behaviour", "a", "b"), ("a / b", "95 %", "p (Holm)"),
    )  # fmt: skip
    view.add_column("verdict")
    before = None
    for pair in shown:
        place = place_of(pair)
        if before not in (None, place):
            view.add_section()
        names = [escape(pair[side]) for side in ("a", "b")]
        ahead = {"a ahead": 0, "b ahead": 1}.get(pair["verdict"])
        if ahead is not None:
            names[ahead] = f"[bold]{names[ahead]}[/bold]"
        # with an interval, the reason explains why there is no p
        reason = f" ({pair['reason']})" if pair["reason"] and pair["low"] is not None else ""
        view.add_row(
            escape(place) if place != before else "", *names, _number(pair["difference"], math.exp),
            _interval(pair, math.exp), _number(pair["p_holm"]), escape(pair["verdict"] + reason),
        )  # fmt: skip
        before = place
    families = Counter(tuple(pair[name] for name in _FAMILY) for pair in shown)
    counts = " and ".join(plural(count, "pair") for count in sorted(set(families.values())))
    family = "the primary family of" if primary else "exploratory, because only one size was run:"
    told = [
        f"over {' or '.join(sorted({pair['over'] for pair in shown}))}",
        f"{family} {counts}, p adjusted (Holm)",
    ]
    if len(matched) > len(shown):
        told.append("single sizes (exploratory) are in --json")
    if len(pairs) > len(matched):
        told.append("pairs of circuits found under another ablation are in --json")
    view.caption = "; ".join(told)
    return view


def _standings(wholes: Sequence[Told]) -> Table:
    """A line per method and model: the share of the way from random circuits to the floor."""
    view = a_table(
        "Over behaviours: share of the way from random circuits (0) to 99 % recovered (1)",
        ("model", "method"), ("data seeds", "gone", "95 %", "rank", "beats with P"),
    )  # fmt: skip
    for whole in wholes:
        where = place_of(whole)
        for method in whole["methods"]:
            rank = [method["rank_low"], method["rank_high"]]
            ranks = DASH if None in rank else " to ".join(f"{end:g}" for end in dict.fromkeys(rank))
            view.add_row(
                escape(where), escape(method["method"]), str(method["data_seeds"]),
                _number(method["interquartile_mean"]), _interval(method), ranks,
                "\n".join(_beats(method["method"], whole["beats"])),
            )  # fmt: skip
            where = ""
        view.add_section()
    behaviours = sorted({name for whole in wholes for name in whole["behaviours"]})
    overs = sorted({method["over"] for whole in wholes for method in whole["methods"]})
    view.caption = (
        f"gone: that share, interquartile mean over {', '.join(behaviours) or 'nothing'}; intervals over "
        f"{', '.join(overs)}; P is 0.5 where a method is ahead in half of all pairs of runs"
    )
    return view


def _beats(method: str, chances: Sequence[Told]) -> Iterable[str]:
    """How often a method beats each other one; a pair is shown once, at its first method."""
    for chance in chances:
        if chance["a"] == method:
            ends = "" if chance["low"] is None else f" ({_interval(chance)})"
            yield escape(f"{chance['b']} {_number(chance['probability'])}{ends}")


def _fresh(gaps: Sequence[Told]) -> Table:
    """A line per method, over all behaviours: the KL left on fresh prompts over that left on public ones."""
    view = a_table(
        "Fresh prompts: KL left on them over KL left on the public ones, by the same circuits",
        ("model", "method"), ("fresh / public", "behaviours", "worse", "better", "left out"),
    )  # fmt: skip
    methods: dict[tuple[str, str], list[Told]] = defaultdict(list)
    whole = {(_at(gap), gap["behaviour"]) for gap in gaps if gap["size"] is None}
    for gap in gaps:  # for behaviours with only one size, that size
        if gap["size"] is None or (_at(gap), gap["behaviour"]) not in whole:
            methods[_at(gap)].append(gap)
    for (model, method), rows in methods.items():
        found = [row["gap"] for row in rows if row["gap"] is not None]
        ends = [(row["low"], row["high"]) for row in rows if row["low"] is not None]
        reasons = sorted({row["reason"] for row in rows if row["low"] is None})
        none = "not available: " + ", ".join(reasons)
        view.add_row(
            escape(model), escape(method),
            _number(sum(found) / len(found), math.exp) if found else DASH, f"{len(found)} of {len(rows)}",
            str(sum(low > 0 for low, _ in ends)) if ends else none,
            str(sum(high < 0 for _, high in ends)) if ends else DASH,
            str(sum(row["other_circuits"] for row in rows)),
        )  # fmt: skip
    overs = ", ".join(sorted({gap["over"] for gap in gaps}))
    view.caption = (
        f"geometric mean over behaviours; worse, better: behaviours whose interval over {overs} lies above, "
        "below 1; left out: circuits that differ between the folders; all intervals are in --json"
    )
    return view


def _at(row: Told) -> tuple[str, str]:
    return f"{row['model']} {row['ablation']}", row["method"]


def _variance(spreads: Sequence[Told]) -> Table:
    """A line per behaviour, method and size: standard deviations of the components of log KL."""
    names = [name.replace("_", " ") for name in _COMPONENTS]
    view = a_table(
        "Sources of variation in log KL: standard deviations, on templates that no method saw",
        ("behaviour", "method"), ("size", "runs", *names),
    )  # fmt: skip
    before = None
    for spread in spreads:
        place = place_of(spread)
        if before not in (None, place):
            view.add_section()
        parts = spread["standard_deviations"]
        view.add_row(
            escape(place) if place != before else "", escape(spread["method"]),
            share(spread["size"]),
            " x ".join(str(spread[levels]) for levels in ("models", "data_seeds", "method_seeds")),
            *(_number(parts[n]) + ("*" if n in spread["below_0"] else "") for n in _COMPONENTS),
        )  # fmt: skip
        before = place
    view.caption = (
        "runs: models x data seeds x method seeds; a dash: a single level, or a component that cannot be "
        "told from the rest; *: the estimate of the variance is below 0"
    )
    return view


def _number(value: float | None, scale: Any = float) -> str:
    return DASH if value is None else number(scale(value))


def _interval(row: Told, scale: Any = float) -> str:
    """The two ends of an interval, or why it is not available."""
    if row["low"] is None or row["high"] is None:
        return escape(f"not available: {row['reason']}")
    return " to ".join(number(scale(row[end])) for end in ("low", "high"))
