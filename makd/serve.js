"use strict";
// What the server says is set as text, never as HTML.

const ASPECTS_AT_FIRST = 6;
const byId = (id) => document.getElementById(id);
const percent = (p) => `${(100 * p).toFixed(p > 0.0995 ? 0 : 1)} %`;
const signed = (nats) => `${nats < 0 ? "−" : "+"}${Math.abs(nats).toFixed(1)}`;
let explanation = null;
let asked = 0;
let address = "";

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function tell(text, problem = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("problem", problem);
}

async function ask(path, file) {
  const answer = await fetch(path, { method: "POST", body: file, headers: { "Content-Type": file.type || "unknown" } });
  const found = await answer.json().catch(() => ({ detail: answer.statusText }));
  if (answer.ok) return found;
  throw Object.assign(new Error(found.detail), { status: answer.status });
}

async function look(file) {
  const mine = ++asked;
  byId("result").hidden = true;
  tell(`Looking at ${file.name} …`);
  try {
    const said = await ask("/api/predict", file);
    const found = said.aspects.length ? await ask("/api/explain", file) : null;
    if (mine !== asked) return; // another picture was chosen meanwhile
    tell("");
    explanation = found;
    show(file, said);
  } catch (error) {
    if (mine === asked) tell(error.status ? `Not that one: ${error.message}.` : "The server does not answer.", true);
  }
}

function show(file, said) {
  URL.revokeObjectURL(address);
  address = URL.createObjectURL(file);
  byId("picture").src = address;
  byId("picture").alt = file.name;
  const [first] = said.classes;
  byId("predicted").textContent = `${first.name}, ${percent(first.probability)}`;
  byId("classes").replaceChildren(...said.classes.map((one) => {
    const item = element("li", "");
    const track = element("div", "track");
    const bar = element("i", "");
    bar.style.width = `${100 * one.probability}%`;
    track.append(bar);
    item.append(element("span", "", one.name), element("span", "number-of", percent(one.probability)), track);
    return item;
  }));
  byId("explanation").hidden = !explanation;
  if (explanation) {
    const { predicted, by_aspects, rivals } = explanation;
    const too = by_aspects === predicted ? "too" : `not ${predicted}`;
    byId("verdict").textContent = `The aspects alone would say ${by_aspects}, ${too}.`;
    const options = rivals.map((rival, index) => new Option(`${rival.name}, ${percent(rival.probability)}`, index));
    byId("rival").replaceChildren(...options);
    byId("rival-label").textContent = `${predicted} rather than`;
    showRival(false);
  }
  byId("result").hidden = false;
}

function showRival(all) {
  const rival = explanation.rivals[Number(byId("rival").value)];
  const { predicted } = explanation;
  const side = rival.nats > 0 ? predicted : rival.name;
  byId("balance").textContent = `In all, ${Math.abs(rival.nats).toFixed(1)} nats speak for ${side}.`;
  byId("against").textContent = `← ${rival.name}`;
  byId("for").textContent = `${predicted} →`;
  const shown = all ? rival.aspects : rival.aspects.slice(0, ASPECTS_AT_FIRST);
  const reach = Math.max(0.1, ...rival.aspects.map((one) => Math.abs(one.nats)));
  byId("aspects").replaceChildren(...shown.map((one) => {
    const item = element("li", "");
    const weight = element("div", "weight");
    const bar = element("i", one.nats > 0 ? "for" : "against");
    bar.style.width = `${(50 * Math.abs(one.nats)) / reach}%`;
    weight.append(bar);
    const usual = `here ${percent(one.p_yes)} yes; ${predicted} ${percent(one.predicted)}, ${rival.name} ${percent(one.rival)}`;
    item.append(element("span", "", one.question), element("span", "number-of", signed(one.nats)), weight, element("span", "usual", usual));
    return item;
  }));
  byId("more").hidden = shown.length === rival.aspects.length;
  byId("more").textContent = `Show all ${rival.aspects.length} aspects`;
}

byId("file").addEventListener("change", (event) => {
  if (event.target.files.length) look(event.target.files[0]);
  event.target.value = ""; // the same file may be chosen again
});
byId("rival").addEventListener("change", () => showRival(false));
byId("more").addEventListener("click", () => showRival(true));
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault(); // else the browser would open the file in place of this page
    byId("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) look(event.dataTransfer.files[0]);
  });
}
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) look(event.clipboardData.files[0]);
});
