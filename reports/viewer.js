// The circuit viewer: one circuit, or two overlaid, at a size that was scored, with all layers or only one.
const held = document.getElementById("circuits-held");
if (held) {
  const places = JSON.parse(held.textContent);
  const form = document.getElementById("viewer");
  const picture = document.getElementById("circuit");
  const said = document.getElementById("circuit-said");
  const list = document.getElementById("circuit-edges");
  const WIDE = 62, HIGH = 58, BOX = [50, 20], DENSE = 200;
  const NAMESPACE = picture.firstElementChild.namespaceURI;
  const PORTS = { q: -14, k: 0, v: 14 };

  const field = (label, element) => {
    const holder = document.createElement("label");
    holder.append(`${label} `, element);
    form.append(holder);
    return element;
  };
  const select = (label, changed) => {
    const made = field(label, document.createElement("select"));
    made.addEventListener("change", changed);
    return made;
  };
  const fill = (element, texts) => element.replaceChildren(...texts.map((text, i) => new Option(text, i)));
  const svg = (name, attributes, text) => {
    const made = document.createElementNS(NAMESPACE, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const place = select("circuits of", () => arrive());
  const first = select("method", () => choose());
  const second = select("compared with", () => draw());
  const size = field("edges requested", Object.assign(document.createElement("input"), { type: "range", min: 0 }));
  const asked = document.createElement("output");
  size.after(" ", asked);
  size.addEventListener("input", () => draw());
  const layer = select("layer", () => draw());

  const arrive = () => {
    const { nodes, circuits } = places[place.value];
    fill(first, circuits.map((circuit) => circuit.name));
    fill(second, ["nothing", ...circuits.map((circuit) => circuit.name)]);
    const layers = [...new Set(nodes.map((node) => node[3]).filter((each) => each !== null))].sort((a, b) => a - b);
    layer.replaceChildren(new Option("all", ""), ...layers.map((each) => new Option(each, each)));
    choose();
  };
  const choose = () => {
    const { sizes } = places[place.value].circuits[first.value];
    size.max = sizes.length - 1;
    size.value = size.max;
    size.parentElement.hidden = sizes.length < 2;
    draw();
  };

  // The index of a circuit's largest size that is not above a given one, or of its smallest if all are above.
  const placeOf = (circuit, text) => {
    const sizes = circuit.sizes.map(parseFloat);
    const fits = sizes.map((each, i) => i).filter((i) => !(sizes[i] > parseFloat(text)));
    return Math.max(0, ...fits);
  };
  const kept = (circuit, text) => {
    const at = placeOf(circuit, text);
    return new Map(circuit.edges.filter((edge) => (edge[4] >> at) & 1).map((edge) => [edge[2], edge]));
  };
  const draw = () => {
    const { nodes, circuits } = places[place.value];
    const one = circuits[first.value], other = second.value > 0 ? circuits[second.value - 1] : null;
    const text = one.sizes[size.value];
    asked.textContent = text;
    const theirsAt = other ? other.sizes[placeOf(other, text)] : "";
    const beside = other ? other.name + (theirsAt && theirsAt !== text ? ` at ${theirsAt}` : "") : "";
    const mine = kept(one, text), theirs = other ? kept(other, text) : new Map();
    const within = (edge) => layer.value === "" || [nodes[edge[0]][3], nodes[edge[1]][3]].includes(Number(layer.value));
    const shown = [...new Map([...theirs, ...mine]).values()].filter(within);
    const kind = ([, , name]) => (!other ? "both" : !theirs.has(name) ? "first" : mine.has(name) ? "both" : "second");
    const touched = new Set(shown.flatMap((edge) => [edge[0], edge[1]]));

    const columns = nodes.map((node) => node[2]);
    const left = Math.min(...columns), rows = Math.max(...nodes.map((node) => node[1]));
    const x = (node) => (node[2] - left + 0.5) * WIDE, y = (node) => (rows - node[1] + 0.5) * HIGH;
    const bow = (from, to) => WIDE * 0.6 + 3 * (to[1] - from[1]); // an edge past a column's nodes goes around them
    const room = Math.max(0, ...shown.map((edge) => bow(nodes[edge[0]], nodes[edge[1]]))) - WIDE / 2;
    const width = (Math.max(...columns) - left + 1) * WIDE + 2 * room, height = (rows + 1) * HIGH;
    const drawing = svg("svg", { viewBox: `${-room} 0 ${width} ${height}`, width, height, role: "img" });
    drawing.classList.toggle("dense", shown.length > DENSE);
    const tell = ([, , name, score], of) => {
      const scores = [[one, mine], ...(other ? [[other, theirs]] : [])]
        .map(([circuit, edges]) => [circuit.name, edges.get(name)?.[3]])
        .filter(([, each]) => each !== undefined && each !== null)
        .map(([who, each]) => `${who} ${each}`);
      return `${name}${other ? `, ${of}` : ""}${scores.length ? `; score: ${scores.join(", ")}` : ""}`;
    };
    const names = { both: other ? "in both" : "", first: `in ${one.name} alone`, second: `in ${beside} alone` };
    const lines = [];
    shown.forEach((edge, i) => {
      const [from, to] = [nodes[edge[0]], nodes[edge[1]]];
      const port = edge[2].match(/\.([qkv])$/)?.[1];
      const [x0, y0, x1, y1] = [x(from), y(from) - BOX[1] / 2, x(to) + (PORTS[port] ?? 0), y(to) + BOX[1] / 2];
      const far = to[1] - from[1] > 1 && Math.abs(x1 - x0) < WIDE / 2 ? (i % 2 ? 1 : -1) * bow(from, to) : 0;
      const path = svg("path", {
        d: `M${x0} ${y0}C${x0 + far} ${(2 * y0 + y1) / 3} ${x1 + far} ${(y0 + 2 * y1) / 3} ${x1} ${y1}`,
        class: `edge ${kind(edge)}`,
      });
      path.append(svg("title", {}, tell(edge, names[kind(edge)])));
      lines.push(tell(edge, names[kind(edge)]));
      drawing.append(path);
    });
    nodes.forEach((node, i) => {
      const box = svg("g", { class: touched.has(i) ? "node" : "node idle" });
      box.append(
        svg("rect", { x: x(node) - BOX[0] / 2, y: y(node) - BOX[1] / 2, width: BOX[0], height: BOX[1], rx: 4 }),
        svg("text", { x: x(node), y: y(node) + 3.5, "text-anchor": "middle" }, node[0]),
      );
      drawing.append(box);
    });
    const count = (which) => shown.filter((edge) => kind(edge) === which).length;
    const edges = (n) => `${n} ${n === 1 ? "edge" : "edges"}`;
    const larger = one.larger ? `; larger circuits, not drawn: ${one.larger}` : "";
    const words = other
      ? `${edges(count("both"))} in both, ${count("first")} in ${one.name} alone, ${count("second")} in ${beside} alone`
      : `${edges(shown.length)} of ${one.name}${larger}`;
    drawing.setAttribute("aria-label", words);
    picture.replaceChildren(drawing);
    said.replaceChildren(words);
    if (other) {
      said.replaceChildren(
        ...["both", "first", "second"].flatMap((which) => {
          const key = svg("svg", { width: 34, height: 10, "aria-hidden": "true" });
          key.append(svg("path", { d: "M2 5H32", class: `edge ${which}` }));
          return [key, ` ${count(which)} ${names[which]}  `];
        }),
      );
    }
    list.textContent = lines.sort().join("\n") || "none";
  };

  fill(place, places.map((each) => each.place));
  arrive();
  document.getElementById("circuits").hidden = false;
}
