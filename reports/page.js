// A click on a heading sorts its table: best (or smallest) first, then the other way round.
// data-order says what "first" means; cells without it are text or unscored, and unscored stay last.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];

  const sort = (column, sign) => {
    const key = (row) => row.cells[column].dataset.order;
    const text = (row) => row.cells[column].textContent;
    const compare = (a, b) => {
      if (key(a) === undefined && key(b) === undefined) return sign * text(a).localeCompare(text(b));
      if (key(a) === undefined) return 1;
      if (key(b) === undefined) return -1;
      return sign * (Number(key(a)) - Number(key(b)));
    };
    body.append(...[...body.rows].sort(compare));
    table.classList.add("sorted");
  };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const again = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", again ? "descending" : "ascending");
      sort(column, again ? -1 : 1);
    });
  });
}
