// Interactive parts of the page. Without scripts everything is shown, in its original order.

// A click on a heading sorts its table: best (or smallest) first, then the other way round.
// data-order says what "first" means; cells without it are text or unscored, and unscored ones stay last.
// The full and the empty circuit stay on top.
const resets = [];
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];

  const sort = (column, sign) => {
    const key = (row) => row.cells[column].dataset.order;
    const text = (row) => row.cells[column].textContent;
    const pinned = (row) => row.classList.contains("reference");
    const compare = (a, b) => {
      if (pinned(a) || pinned(b)) return pinned(b) - pinned(a);
      if (key(a) === undefined && key(b) === undefined) return sign * text(a).localeCompare(text(b));
      if (key(a) === undefined) return 1;
      if (key(b) === undefined) return -1;
      return sign * (Number(key(a)) - Number(key(b)));
    };
    body.append(...[...rows].sort(compare));
    table.classList.add("sorted");
  };

  const forget = () => heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const again = head.getAttribute("aria-sort") === "ascending";
      forget();
      head.setAttribute("aria-sort", again ? "descending" : "ascending");
      sort(column, again ? -1 : 1);
    });
  });
  resets.push(() => {
    forget();
    table.classList.remove("sorted");
    body.append(...rows);
  });
}

// Filters by model, ablation, task, size and method: elements marked with other values are hidden.
const KINDS = ["model", "ablation", "task", "size", "method"];
const form = document.getElementById("filters");
const values = (element, kind) => (element.dataset[kind] || "").split("\n").filter(Boolean);
const choose = (name, label, options, changed) => {
  const holder = document.createElement("label");
  const select = document.createElement("select");
  select.name = name;
  select.append(...options.map(([value, text]) => new Option(text, value)));
  select.addEventListener("change", changed);
  holder.append(`${label} `, select);
  form.append(holder);
  return select;
};

if (form) {
  const chosen = {};
  const marked = [...document.querySelectorAll(KINDS.map((kind) => `[data-${kind}]`).join())];
  const show = () => {
    for (const element of marked) {
      const fits = (kind) =>
        !chosen[kind]?.value || !values(element, kind).length || values(element, kind).includes(chosen[kind].value);
      element.classList.toggle("left-out", !KINDS.every(fits));
    }
  };
  for (const kind of KINDS) {
    const found = [...new Set(marked.flatMap((element) => values(element, kind)))];
    if (found.length > 1) chosen[kind] = choose(kind, kind, [["", "all"], ...found.map((v) => [v, v])], show);
  }
  const axes = choose("axes", "axes", [["", "default"], ["linear", "linear"]], () => {
    for (const other of document.querySelectorAll("figure > .linear")) {
      other.hidden = !axes.value;
      other.previousElementSibling.hidden = Boolean(axes.value);
    }
  });
  const reset = document.createElement("button");
  reset.type = "button";
  reset.textContent = "reset";
  reset.addEventListener("click", () => {
    form.reset();
    form.querySelectorAll("select").forEach((select) => select.dispatchEvent(new Event("change")));
    resets.forEach((back) => back());
  });
  form.append(reset);
  form.hidden = false;
}

// Hovering over a point in a figure shows its value.
for (const line of document.querySelectorAll("[data-values]:not([data-values=''])")) {
  const told = line.dataset.values.split(";");
  line.querySelectorAll("use").forEach((mark, i) => {
    const title = document.createElementNS(line.namespaceURI, "title");
    title.textContent = told[i] || "";
    mark.append(title);
  });
}

// Downloads: tables with the rows that are shown, and the papers to cite.
const save = (name, type, content) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};
const button = (text, about, pressed) => {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.setAttribute("aria-label", about);
  made.addEventListener("click", pressed);
  return made;
};
const plain = (cell) => cell.textContent.replace(/\s+/g, " ").trim();
for (const table of document.querySelectorAll("table")) {
  const name = table.caption.textContent.replace(/[^\w.-]+/g, "-");
  const heads = [...table.tHead.rows[0].cells].map(plain);
  const rows = () =>
    [...table.tBodies[0].rows].filter((row) => !row.classList.contains("left-out")).map((row) => [...row.cells].map(plain));
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const csv = () => [heads, ...rows()].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
  const json = () => JSON.stringify(rows().map((row) => Object.fromEntries(row.map((v, i) => [heads[i], v]))), null, 1);
  const holder = document.createElement("p");
  holder.className = "files";
  holder.append(
    button("CSV", `CSV: ${table.caption.textContent}`, () => save(`${name}.csv`, "text/csv", csv())),
    button("JSON", `JSON: ${table.caption.textContent}`, () => save(`${name}.json`, "application/json", json())),
  );
  table.parentElement.after(holder);
}
const bibtex = document.getElementById("bibtex");
if (bibtex) {
  bibtex.after(button("BibTeX", "BibTeX of the methods, as a file", () => save("methods.bib", "text/plain", bibtex.textContent)));
}
