"""Tables as LaTeX, for a paper: they need the packages booktabs, amsmath and xcolor."""

import re

from reports.parts.grid import Cell, Grid, Row
from reports.parts.numbers import DASH

_SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "†": r"$^{\dagger}$", DASH: "--",
    "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "→": r"$\rightarrow$", "∞": r"$\infty$",
}  # fmt: skip
_NUMBER = re.compile(r"(?<![\w.])(-?)(\d[\d,]*(?:\.\d+)?)(?:e(-?\d+))?(?![\w.])")


def table(grid: Grid, caption: str, label: str) -> str:
    """A `table*` with the grid, its notes in the caption.

    Best cells are bold, those equal to the best have a dagger, faded ones are grey. Intervals are set as
    subscripts and superscripts to save space.

    Args:
        grid: the table.
        caption: what it shows, without a final full stop.
        label: after ``tab:``, of letters, digits and ``._-``.
    """
    columns = "l" * grid.names + "r" * (len(grid.headings) - grid.names)
    words = " ".join([f"{escape(caption)}.", *map(escape, grid.notes)])
    lines = [
        "% needs \\usepackage{amsmath}, \\usepackage{booktabs} and \\usepackage{xcolor}",
        "\\begin{table*}[t]",
        "\\centering\\small\\setlength{\\tabcolsep}{4pt}\\renewcommand{\\arraystretch}{1.15}",
        f"\\caption{{{words}}}",
        f"\\label{{tab:{label}}}",
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        *_spans(grid),
        " & ".join(escape(f"{h.text} ({h.unit})" if h.unit else h.text) for h in grid.headings) + " \\\\",
        "\\midrule",
    ]
    for i, row in enumerate(grid.rows):
        if i and row.starts:
            lines.append("\\midrule")
        lines.append(_row(row))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table*}"]) + "\n"


def _spans(grid: Grid) -> list[str]:
    """The line above the headings, and rules under its texts."""
    if not grid.spans:
        return []
    cells, rules, column = [], [], 1
    for text, width in grid.spans:
        cells.append(f"\\multicolumn{{{width}}}{{c}}{{{escape(text)}}}" if text else " & " * (width - 1))
        if text:
            rules.append(f"\\cmidrule(lr){{{column}-{column + width - 1}}}")
        column += width
    return [" & ".join(cells) + " \\\\", "".join(rules)]


def _row(row: Row) -> str:
    return " & ".join(map(_cell, row.cells)) + " \\\\"


def _cell(cell: Cell) -> str:
    text = _numbers(cell.text)
    if cell.best:
        text = f"\\textbf{{{text}}}"
    if cell.equal:
        text += escape("†")
    if ends := re.fullmatch(r"\[(.*), (.*)\]", cell.beside):
        low, high = map(_numbers, ends.groups())
        text += f"$_{{\\text{{{low}}}}}^{{\\text{{{high}}}}}$"
    elif cell.beside:
        text += f" {{\\scriptsize {_numbers(cell.beside)}}}"
    return f"\\textcolor{{gray}}{{{text}}}" if cell.faded else text


def _numbers(text: str) -> str:
    """Escaped text, with minus signs and powers of ten in math mode."""
    parts, end = [], 0
    for match in _NUMBER.finditer(text):
        sign, digits, power = match.groups()
        parts += [escape(text[end : match.start()]), "$-$" * bool(sign) + digits]
        parts += [f"$\\cdot 10^{{{power}}}$"] if power else []
        end = match.end()
    return "".join([*parts, escape(text[end:])])


def escape(text: str) -> str:
    """`text` with the characters that LaTeX would take for commands escaped."""
    return "".join(_SPECIAL.get(character, character) for character in re.sub(r"\s+", " ", text))
