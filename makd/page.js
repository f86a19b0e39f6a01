"use strict";
// Texts of the page's content are set as text, never as HTML; for Plotly, which reads some HTML, they go through plotText.

const data = JSON.parse(document.getElementById("data").textContent);
const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
// Seven colours and eight marks: 56 classes differ in one or the other.
const CLASS_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442"];
const MARKS = ["circle", "diamond", "square", "triangle-up", "triangle-down", "cross", "x", "star"];
const GLYPHS = ["●", "◆", "■", "▲", "▼", "✚", "✖\uFE0E", "★"];
const CARDS_A_PAGE = 12;
const BARS_AT_FIRST = 5;

const byId = (id) => document.getElementById(id);
const chosen = (id) => Number(byId(id).value);
const chosenText = (id) => byId(id).selectedOptions[0]?.textContent ?? "";
const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const studentColour = (student) => themed(`student-${student % 4}`);
const counted = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
const sum = (values) => values.reduce((total, value) => total + value, 0);
const unique = (values) => [...new Set(values)];
const known = (value) => value !== null && value !== undefined;
const percent = (value) => (known(value) ? `${value} %` : "no answer");
const narrow = () => window.innerWidth < 640;

function shorten(text, width) {
  return text.length <= width ? text : `${text.slice(0, width - 1).trimEnd()}…`;
}

function plotText(text, width = Infinity) {
  return shorten(text, width).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function onChange(ids, action) {
  for (const id of ids) byId(id).addEventListener("change", action);
}

/* Plots are drawn when they come into view, and anew when the colour scheme changes. */

const plots = new Map();
const drawn = new Set();
const inView = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => drawFirst(entry.target)),
  { rootMargin: "300px" },
);

/** Plotly takes a second to start on a slow machine, so it is inert text until the first plot is in view. */
function startPlotly() {
  if (window.Plotly) return;
  const source = byId("plotly");
  document.head.append(make("script", { textContent: source.textContent }));
  source.remove();
}

function drawFirst(element) {
  startPlotly();
  inView.unobserve(element);
  drawn.add(element);
  plots.get(element)();
}

function drawLazily(element, draw) {
  plots.set(element, draw);
  inView.observe(element);
}

addEventListener("beforeprint", () => [...plots.keys()].filter((one) => !drawn.has(one)).forEach(drawFirst));

function redraw(element) {
  if (drawn.has(element)) plots.get(element)();
}

function react(element, traces, layout) {
  return Plotly.react(element, traces, layout, { displayModeBar: false, responsive: true, showTips: false });
}

function baseLayout(more) {
  return {
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: themed("ink") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 58, r: 12, t: 8, b: 48 },
    hovermode: "closest",
    hoverlabel: { bgcolor: themed("paper"), bordercolor: themed("outline"), font: { color: themed("ink") }, namelength: 0 },
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" },
    dragmode: false,
    ...more,
  };
}

function axis(title, more) {
  return {
    title: { text: plotText(title), standoff: 10, font: { size: 13, color: themed("muted") } },
    gridcolor: themed("grid"),
    linecolor: themed("outline"),
    tickcolor: themed("outline"),
    zeroline: false,
    fixedrange: true,
    automargin: true,
    ...more,
  };
}

/* Tables */

function setUpTable(box) {
  const body = box.querySelector("tbody");
  if (!body) return;
  const heads = [...box.querySelectorAll("th")];
  heads.forEach((head, column) => {
    head.firstElementChild.addEventListener("click", () => {
      const descending = head.ariaSort === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.ariaSort = descending ? "descending" : "ascending";
      body.append(...sorted([...body.rows], column, descending));
      fold(box);
    });
  });
  addMoreButton(box, body.rows.length);
}

function sorted(rows, column, descending) {
  const cellOf = (row) => row.cells[column];
  const isEmpty = (row) => cellOf(row).classList.contains("empty");
  const compare = (one, other) => compareCells(cellOf(one), cellOf(other)) * (descending ? -1 : 1);
  return [...rows.filter((row) => !isEmpty(row)).sort(compare), ...rows.filter(isEmpty)];
}

function compareCells(one, other) {
  if ("value" in one.dataset && "value" in other.dataset) return one.dataset.value - other.dataset.value;
  return one.textContent.localeCompare(other.textContent, "en", { numeric: true });
}

function addMoreButton(box, n) {
  if (!("shown" in box.dataset) || n <= Number(box.dataset.shown)) return;
  const button = make("button", { type: "button", className: "more", ariaExpanded: "false" });
  button.addEventListener("click", () => {
    button.ariaExpanded = String(button.ariaExpanded === "false");
    fold(box);
  });
  box.querySelector(".scroll").after(button);
  fold(box);
}

function fold(box) {
  const button = box.querySelector(".more");
  if (!button) return;
  const open = button.ariaExpanded === "true";
  const rows = [...box.querySelector("tbody").rows];
  rows.forEach((row, position) => (row.hidden = !open && position >= Number(box.dataset.shown)));
  button.textContent = open ? `Show the first ${box.dataset.shown}` : `Show all ${rows.length.toLocaleString("en")}`;
}

/* Training curves */

function setUpCurves() {
  const update = () => {
    const runs = runsShown();
    byId("curves-title").textContent = `${chosenText("curves-model")}, ${counted(runs.length, "run")}: ${chosenText("curves-metric")}`;
    redraw(byId("curves"));
  };
  drawLazily(byId("curves"), drawCurves);
  onChange(["curves-metric", "curves-model"], update);
  update();
}

function runsShown() {
  const [model, metric] = [chosenText("curves-model"), chosenText("curves-metric")];
  return data.curves.filter((run) => run.model === model && run.values[metric]?.some(known));
}

function drawCurves() {
  const metric = chosenText("curves-metric");
  const runs = runsShown();
  const traces = unique(runs.map((run) => run.arm)).flatMap((arm) => {
    const ofArm = runs.filter((run) => run.arm === arm);
    return [...(ofArm.length > 1 ? ofArm.map((run) => runTrace(run, metric)) : []), meanTrace(ofArm, metric)];
  });
  react(byId("curves"), traces, baseLayout({ showlegend: true, xaxis: axis("epoch"), yaxis: axis(metric) }));
}

function armLine(arm, width) {
  return { color: themed(arm) || themed("muted"), dash: arm === "baseline" ? "dash" : "solid", width };
}

function runTrace(run, metric) {
  const text = run.epoch.map((epoch, i) => plotText(`${run.arm}, seed ${run.seed}, epoch ${epoch}: ${run.values[metric][i]}`));
  const line = { ...armLine(run.arm, 1), dash: "solid" };
  return { x: run.epoch, y: run.values[metric], text, hoverinfo: "text", mode: "lines", line, opacity: 0.5, showlegend: false };
}

function meanTrace(runs, metric) {
  const epochs = unique(runs.flatMap((run) => run.epoch)).sort((one, other) => one - other);
  const means = epochs.map((epoch) => {
    const values = runs.map((run) => run.values[metric][run.epoch.indexOf(epoch)]).filter(known);
    return values.length ? sum(values) / values.length : null;
  });
  const name = runs.length > 1 ? `${runs[0].arm}, mean of ${runs.length} seeds` : `${runs[0].arm}, seed ${runs[0].seed}`;
  const text = epochs.map((epoch, i) => plotText(`${name}, epoch ${epoch}: ${known(means[i]) ? Number(means[i].toPrecision(4)) : ""}`));
  const line = armLine(runs[0].arm, 3);
  return { x: epochs, y: means, text, hoverinfo: "text", name: plotText(name), mode: "lines", line, connectgaps: true };
}

/* The two maps of the answers: same images, same colours, one image marked on both */

const SIDES = ["teacher", "student"];
const canvas = (side) => byId(`map-${side}`);
const cloudOf = (side) => (side === "teacher" ? data.embeddings.teacher : data.embeddings.students[chosen("tsne-student")]);
let marked = null;

function setUpMaps() {
  for (const side of SIDES) setUpMap(side);
  onChange(["tsne-colour"], recolour);
  onChange(["tsne-student"], () => showCloud("student"));
  document.addEventListener("pointerdown", (event) => event.target.closest?.(".canvas") || unmark());
  showLegend();
}

function setUpMap(side) {
  const element = canvas(side);
  drawLazily(element, () => drawCloud(side));
  element.addEventListener("keydown", (event) => walk(event, side));
  element.addEventListener("blur", unmark);
  showCloud(side);
}

function showCloud(side) {
  const cloud = cloudOf(side);
  const all = cloud?.x.length ?? 0;
  const n = cloud?.x.filter(known).length ?? 0;
  const rest = n < all ? ` (${all - n} more without an answer)` : "";
  byId(`map-${side}-title`).textContent = `${cloud?.name ?? `no ${side}`}, t-SNE of ${counted(n, "image")}${rest}`;
  canvas(side).hidden = n === 0;
  const reason = canvas(side).parentElement.querySelector(".nothing");
  reason.hidden = n > 0;
  reason.textContent = cloud?.reason || "There are no answers to map.";
  unmark();
  redraw(canvas(side));
}

async function drawCloud(side) {
  const { x, y } = cloudOf(side) ?? { x: [] };
  const element = canvas(side);
  if (!x.length) return;
  const trace = { x, y, mode: "markers", hoverinfo: "none", marker: { size: 7, line: { width: 0 }, ...dyes(side) } };
  const still = matchMedia("(pointer: coarse)").matches;
  const square = { showgrid: false, showticklabels: false, ticks: "", zeroline: false, fixedrange: still };
  const [xRange, yRange] = squareRanges(x, y);
  const layout = baseLayout({
    margin: { l: 0, r: 0, t: 0, b: 0 },
    showlegend: false,
    dragmode: still ? false : "zoom",
    xaxis: { ...square, range: xRange },
    yaxis: { ...square, range: yRange },
  });
  await react(element, [trace], layout);
  element.removeAllListeners();
  for (const event of ["plotly_hover", "plotly_click"]) element.on(event, ({ points }) => mark(points[0].pointIndex, side));
  element.on("plotly_unhover", () => document.activeElement === element || unmark());
  element.on("plotly_relayout", () => known(marked) && mark(marked, side));
}

/** Ranges of one length, so that distances mean the same in both directions. */
function squareRanges(...axes) {
  const ends = axes.map((values) => values.filter(known)).map((values) => [Math.min(...values), Math.max(...values)]);
  const half = 0.53 * Math.max(...ends.map(([low, high]) => high - low), 1e-6);
  return ends.map(([low, high]) => [(low + high) / 2 - half, (low + high) / 2 + half]);
}

function dyes(side) {
  const question = chosen("tsne-colour");
  if (question < 0) {
    const { labels } = data.embeddings;
    return { color: labels.map((label) => CLASS_COLOURS[label % 7]), symbol: labels.map((label) => MARKS[label % 8]) };
  }
  return { color: (cloudOf(side).p_yes[question] ?? []).map((p) => (known(p) ? viridis(p) : themed("unknown"))), symbol: "circle" };
}

function viridis(value) {
  const position = (Math.min(Math.max(value, 0), 100) / 100) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(position), VIRIDIS.length - 2);
  const channels = [1, 3, 5].map((at) => {
    const [from, to] = [VIRIDIS[low], VIRIDIS[low + 1]].map((colour) => parseInt(colour.slice(at, at + 2), 16));
    return Math.round(from + (to - from) * (position - low));
  });
  return `rgb(${channels.join(", ")})`;
}

function recolour() {
  for (const side of SIDES.filter((one) => drawn.has(canvas(one)) && cloudOf(one)?.x.length)) {
    const { color, symbol } = dyes(side);
    Plotly.restyle(canvas(side), { "marker.color": [color], "marker.symbol": [symbol] }, [0]);
  }
  if (known(marked)) byId("tip").replaceChildren(...describe(marked));
  showLegend();
}

function showLegend() {
  if (chosen("tsne-colour") >= 0) {
    const ramp = make("i");
    ramp.style.background = `linear-gradient(to right, ${VIRIDIS.join(", ")})`;
    byId("tsne-legend").replaceChildren(
      make("div", { className: "scale" }, "P(yes)", " 0 %", ramp, "100 %", make("i", { className: "unknown" }), "no answer"),
    );
    return;
  }
  const items = data.classes.map((name, label) => {
    const glyph = make("span", { ariaHidden: "true" }, GLYPHS[label % 8]);
    glyph.style.color = CLASS_COLOURS[label % 7];
    return make("li", {}, glyph, ` ${name}`);
  });
  byId("tsne-legend").replaceChildren(make("ul", { className: "key", ariaLabel: "Classes" }, ...items));
}

function mark(image, from) {
  marked = image;
  for (const side of SIDES) placeRing(side);
  const ring = canvas(from).parentElement.querySelector(".ring");
  byId("tip").replaceChildren(...describe(image));
  placeTip(ring);
}

function unmark() {
  marked = null;
  byId("tip").replaceChildren();
  for (const ring of document.querySelectorAll(".ring")) ring.hidden = true;
}

/** The maps have no margins, so that a point's place follows from the axes' ranges alone. */
function placeRing(side) {
  const element = canvas(side);
  const ring = element.parentElement.querySelector(".ring");
  const cloud = cloudOf(side);
  const place = (value, [from, to]) => (value - from) / (to - from);
  const seen = drawn.has(element) && known(cloud?.x[marked]);
  const left = seen ? place(cloud.x[marked], element.layout.xaxis.range) : -1;
  const bottom = seen ? place(cloud.y[marked], element.layout.yaxis.range) : -1;
  ring.hidden = Math.min(left, bottom) < 0 || Math.max(left, bottom) > 1;
  ring.style.left = `${100 * left}%`;
  ring.style.top = `${100 - 100 * bottom}%`;
}

function placeTip(ring) {
  const [tip, box, spot] = [byId("tip"), byId("clouds").getBoundingClientRect(), ring.getBoundingClientRect()];
  const left = spot.left - box.left + spot.width / 2 - tip.offsetWidth / 2;
  const below = spot.bottom + 8 + tip.offsetHeight <= window.innerHeight;
  tip.style.left = `${Math.max(0, Math.min(left, box.width - tip.offsetWidth))}px`;
  tip.style.top = `${(below ? spot.bottom + 8 : spot.top - tip.offsetHeight - 8) - box.top}px`;
}

function describe(image) {
  const { teacher, labels, predicted, thumbnails, paths } = data.embeddings;
  const [student, question] = [chosen("tsne-student"), chosen("tsne-colour")];
  const lines = [make("p", { className: "name" }, data.classes[labels[image]])];
  const guess = predicted[student]?.[image];
  if (known(guess)) {
    const right = guess === labels[image];
    lines.push(make("p", {}, `${right ? "✓" : "✗"} ${data.students[student]} says ${right ? "so too" : data.classes[guess]}`));
  }
  lines.push(make("p", { className: "quiet" }, paths[image] ?? ""));
  if (question >= 0) {
    const [ofTeacher, ofStudent] = [teacher, data.embeddings.students[student]].map((cloud) => cloud?.p_yes[question]?.[image]);
    lines.push(make("p", { className: "asked" }, data.questions[question]));
    lines.push(make("p", {}, `P(yes): teacher ${percent(ofTeacher)}, ${data.students[student] ?? "student"} ${percent(ofStudent)}`));
  }
  return thumbnails[image] ? [make("img", { src: thumbnails[image], alt: "" }), ...lines] : lines;
}

/** Left and right in the order of the horizontal axis, up and down in that of the vertical one. */
function walk(event, side) {
  const cloud = cloudOf(side);
  const steps = { ArrowLeft: ["x", -1], ArrowRight: ["x", 1], ArrowDown: ["y", -1], ArrowUp: ["y", 1], Home: ["x", -Infinity], End: ["x", Infinity] };
  if (event.key === "Escape") unmark();
  if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  const [along, step] = steps[event.key];
  const order = [...cloud[along].keys()].filter((image) => known(cloud[along][image])).sort((one, other) => cloud[along][one] - cloud[along][other]);
  const next = known(marked) || Math.abs(step) > 1 ? order.indexOf(marked) + step : 0;
  mark(order[Math.max(0, Math.min(next, order.length - 1))], side);
}

/* Answers by class */

function setUpClasses() {
  drawLazily(byId("means"), drawMeans);
  onChange(["means-question", "means-source"], updateClasses);
  if (byId("histogram")) {
    drawLazily(byId("histogram"), drawHistogram);
    onChange(["histogram-class"], updateClasses);
  }
  updateClasses();
}

function updateClasses() {
  const question = chosenText("means-question");
  byId("means-words").replaceChildren(...sourcesShown().map(extremes));
  byId("means-title").textContent = `Mean P(yes) by class, ${counted(data.classes.length, "class").replace("classs", "classes")}: ${question}`;
  redraw(byId("means"));
  if (!byId("histogram")) return;
  byId("histogram-title").textContent = `How the teacher's answers spread, ${chosenText("histogram-class")} against all classes: ${question}`;
  redraw(byId("histogram"));
}

function sourcesShown() {
  const { sources, means } = data.class_means;
  const shown = sources.length > 1 ? [0, chosen("means-source") + 1] : [0];
  return shown.map((source) => ({ source, name: sources[source], means: means[source]?.[chosen("means-question")] ?? [] }));
}

function extremes({ name, means }) {
  const values = means.filter(known);
  const at = (value) => `${data.classes[means.indexOf(value)]} (${value} %)`;
  const words = `: highest for ${at(Math.max(...values))}, lowest for ${at(Math.min(...values))}.`;
  return make("p", {}, make("strong", {}, name), values.length ? words : ": no answers.");
}

function drawMeans() {
  const shown = sourcesShown();
  const teacherSays = (label) => shown[0].means[label] ?? -1;
  const order = [...data.classes.keys()].sort((one, other) => teacherSays(other) - teacherSays(one));
  const positions = [...order.keys()];
  const traces = shown.map(({ source, name, means }) => ({
    type: "bar",
    orientation: "h",
    y: positions,
    x: order.map((label) => means[label] ?? null),
    name: plotText(name),
    hoverinfo: "text",
    hovertext: order.map((label) => plotText(`${data.classes[label]}, ${name}: ${percent(means[label])}`)),
    marker: { color: source ? studentColour(source - 1) : themed("teacher") },
  }));
  const names = order.map((label) => plotText(data.classes[label], narrow() ? 18 : 32));
  const layout = baseLayout({
    height: 110 + 26 * order.length,
    bargap: 0.3,
    bargroupgap: 0,
    showlegend: true,
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", traceorder: "normal" },
    margin: { l: 8, r: 16, t: 40, b: 48 },
    xaxis: axis("mean P(yes), %", { range: [0, 101], nticks: 6 }),
    yaxis: axis("", { range: [order.length - 0.5, -0.5], tickvals: positions, ticktext: names, showgrid: false, ticks: "" }),
  });
  react(byId("means"), traces, layout);
}

function drawHistogram() {
  const byClass = data.class_means.histogram[chosen("means-question")] ?? [];
  const ofClass = byClass[chosen("histogram-class")] ?? [];
  const ofAll = Array.from({ length: 10 }, (_, bin) => sum(byClass.map((counts) => counts[bin])));
  const groups = [
    [chosenText("histogram-class"), ofClass, themed("teacher")],
    ["all classes", ofAll, themed("unknown")],
  ];
  const traces = groups.map(([name, counts, colour]) => ({
    type: "bar",
    x: counts.map((_, bin) => 10 * bin + 5),
    y: counts.map((count) => (100 * count) / Math.max(sum(counts), 1)),
    name: plotText(`${shorten(name, 28)}, n = ${sum(counts).toLocaleString("en")}`),
    hoverinfo: "text",
    hovertext: counts.map((count, bin) => plotText(`${name}, ${10 * bin} to ${10 * bin + 10} %: ${counted(count, "image")}`)),
    marker: { color: colour },
  }));
  const layout = baseLayout({
    bargap: 0.15,
    showlegend: true,
    xaxis: axis("P(yes) of the teacher, %", { range: [-1, 101], tickvals: [0, 20, 40, 60, 80, 100], showgrid: false }),
    yaxis: axis("share of the images, %", { rangemode: "tozero" }),
  });
  react(byId("histogram"), traces, layout);
}

/* Calibration */

function setUpCalibration() {
  byId("calibration-title").textContent = "Calibration: answers grouped by tenths of the student's P(yes); on the diagonal student and teacher agree";
  drawLazily(byId("calibration"), drawCalibration);
}

function drawCalibration() {
  const diagonal = { x: [0, 100], y: [0, 100], mode: "lines", hoverinfo: "skip", showlegend: false, line: { color: themed("outline"), dash: "dot", width: 1.5 } };
  const lines = data.calibrations.map(({ student, predicted, observed, count }, i) => ({
    x: predicted,
    y: observed,
    name: plotText(`${student}, n = ${sum(count).toLocaleString("en")}`),
    mode: "lines+markers",
    line: { color: studentColour(i), width: 2 },
    marker: { size: count.map((n) => 6 + 18 * Math.sqrt(n / Math.max(sum(count), 1))), symbol: MARKS[i % MARKS.length] },
    hoverinfo: "text",
    text: count.map((n, bin) => plotText(`${student}: student ${Math.round(predicted[bin])} %, teacher ${Math.round(observed[bin])} %, ${counted(n, "answer")}`)),
  }));
  const whole = { range: [-3, 103], tickvals: [0, 20, 40, 60, 80, 100] };
  const layout = baseLayout({
    showlegend: true,
    xaxis: axis("mean P(yes) of the student, %", whole),
    yaxis: axis("mean P(yes) of the teacher, %", whole),
  });
  react(byId("calibration"), [diagonal, ...lines], layout);
}

/* Image cards */

let cardsPage = 0;

function setUpCards() {
  onChange(["cards-kind"], () => showCards(0));
  for (const option of byId("cards-kind").options) {
    option.dataset.kind = option.textContent;
    option.textContent += ` (${cardsOf(option).length})`;
  }
  for (const button of document.querySelectorAll(".pager button")) {
    button.addEventListener("click", () => {
      showCards(cardsPage + Number(button.dataset.step));
      if (byId("cards").getBoundingClientRect().top < 0) byId("images").scrollIntoView();
    });
  }
  showCards(0);
}

function cardsOf(option) {
  return option.value === "-1" ? data.cards : data.cards.filter((card) => card.kind === option.dataset.kind);
}

function showCards(page) {
  const cards = cardsOf(byId("cards-kind").selectedOptions[0]);
  const pages = Math.max(1, Math.ceil(cards.length / CARDS_A_PAGE));
  const first = page * CARDS_A_PAGE;
  const shown = cards.slice(first, first + CARDS_A_PAGE);
  cardsPage = page;
  byId("cards").replaceChildren(...shown.map(cardElement));
  byId("cards-count").textContent = `Images ${first + 1} to ${first + shown.length} of ${cards.length}`;
  for (const place of document.querySelectorAll(".place")) place.textContent = `page ${page + 1} of ${pages}`;
  for (const button of document.querySelectorAll(".pager button")) {
    button.disabled = !(page + Number(button.dataset.step) in Array(pages).fill(0));
  }
}

function cardElement(card) {
  const header = make(
    "header",
    {},
    make("img", { src: card.photo, alt: `photo of ${card.true_class}`, loading: "lazy" }),
    make("div", {}, make("h3", {}, card.true_class), make("p", {}, card.kind), make("p", { className: "path" }, card.path)),
  );
  const bars = card.bars.map(barElement);
  const element = make("article", { className: "card" }, header, make("ul", { className: "verdicts" }, ...card.verdicts.map(verdictElement)));
  if (bars.length) element.append(make("ul", { className: "bars" }, ...bars.slice(0, BARS_AT_FIRST)));
  if (bars.length > BARS_AT_FIRST) {
    const rest = bars.slice(BARS_AT_FIRST);
    element.append(make("details", {}, make("summary", {}, counted(rest.length, "more question")), make("ul", { className: "bars" }, ...rest)));
  }
  return element;
}

function verdictElement({ student, arm, predicted, probability, right }) {
  const mark = make("span", { title: right ? "right" : "wrong", role: "img", ariaLabel: right ? "right" : "wrong" }, right ? "✓" : "✗");
  const words = make("span", {}, predicted, make("span", { className: "arm" }, ` ${student}, ${arm}`));
  return make("li", {}, mark, words, make("span", { className: "number-of" }, `${probability} %`));
}

function barElement({ question, teacher, students }) {
  const bars = students.map((value, student) => bar(data.students[student], value, `student-${student % 4}`));
  return make("li", {}, question, bar("teacher", teacher, "teacher"), ...bars);
}

function bar(who, value, colour) {
  const filled = make("i");
  filled.style.width = `${value ?? 0}%`;
  filled.style.background = `var(--${colour})`;
  const number = make("span", { className: "number-of" }, known(value) ? `${value} %` : "–");
  return make("div", { className: "bar" }, make("span", { className: "who", title: who }, who), make("div", { className: "track" }, filled), number);
}

/* The page as a whole */

function followSections() {
  const nav = document.querySelector("nav");
  const links = new Map([...nav.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
  const follow = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const link = links.get(target.id);
        link.removeAttribute("aria-current");
        if (!isIntersecting) continue;
        link.setAttribute("aria-current", "true");
        nav.scrollLeft = link.offsetLeft - nav.clientWidth / 3; // where the links are a row that does not fit
      }
    },
    { rootMargin: "-30% 0px -69% 0px" },
  );
  for (const section of document.querySelectorAll("main section")) follow.observe(section);
}

document.querySelectorAll(".table").forEach(setUpTable);
const parts = { training: setUpCurves, tsne: setUpMaps, "by-class": setUpClasses, calibration: setUpCalibration, images: setUpCards };
for (const [id, setUp] of Object.entries(parts)) if (byId(id)) setUp();
followSections();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(redraw));
