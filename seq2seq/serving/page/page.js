/* The page: which models are asked for what, and where the answers are shown. */

const DELAY = 250; // milliseconds after the last key
const ALTERNATIVES = 8;
const MOST = 20; // largest beam of the page

const state = { models: [], task: null, chosen: new Set(), prefixes: new Map(), drawings: [], running: null, timer: 0 };

const TASKS = {
  "/translate": {
    title: "Translate",
    label: "Text to translate, one sentence a line",
    settings: (models) => [["beam", "Beam", { type: "number", min: 1, max: MOST, placeholder: "default" }], ...tags(models)],
    stream: "/translate/stream",
    ready: () => lines().length > 0,
    body: (model) => ({
      texts: lines(),
      tag: model.tags.find((each) => each === value("tag")),
      prefixes: lines().map((text) => state.prefixes.get(key(model, text)) || ""),
      attention: model.attention,
      alternatives: ALTERNATIVES,
      ...beam(model),
    }),
    view: (model, results, { texts }) => results.map((each, i) => {
      const text = texts[i];
      const choose = (prefix) => {
        state.prefixes.set(key(model, text), prefix);
        run().then(() => focusEnd(model, i));
      };
      return translationView(text, each, state.prefixes.get(key(model, text)), choose);
    }),
  },
  "/label": {
    title: "Label",
    label: "Text to label, one sentence a line, words separated by spaces",
    settings: () => [],
    ready: () => lines().length > 0,
    body: () => ({ texts: lines(), probabilities: true }),
    view: (model, results, { texts }) => results.map((each, i) => labelsView(model, texts[i], each)),
  },
  "/caption": {
    title: "Caption",
    label: "Rows of numbers as JSON, a sequence a line",
    settings: () => [["beam", "Beam", { type: "number", min: 1, max: MOST, placeholder: "default" }]],
    ready: () => sequences().length > 0,
    body: (model) => ({ features: sequences(), ...beam(model) }),
    view: (model, results) => results.map((each) => translationView("", each, "", () => {})),
  },
  "/sample": {
    title: "Write",
    label: "The beginning of a text",
    settings: () => [
      ["length", "Length", { type: "number", min: 1, max: 2000, value: 300 }],
      ["temperature", "Temperature", { type: "number", min: 0.1, max: 10, step: 0.1, value: 0.8 }],
      ["seed", "Seed", { type: "number", min: 0, value: 0 }],
    ],
    button: "Write",
    ready: () => true,
    body: () => ({
      prompt: $("text").value, length: number("length"), temperature: number("temperature"), seed: number("seed"),
    }),
    view: (model, results) => results.map((each) => element("pre", null, each)),
  },
};

const key = (model, text) => `${model.name}\n${text}`;
const lines = () => $("text").value.split("\n").filter((line) => line.trim());
const chosen = () => state.models.filter((model) => model.endpoint === state.task && state.chosen.has(model.name));

const value = (id) => $(id)?.value;

/* The number of a setting; undefined where it is empty, which JSON leaves out. */
function number(id) {
  const given = $(id)?.valueAsNumber;
  return Number.isFinite(given) ? given : undefined;
}

/* The beam, all of whose results are asked for, so that it can be drawn as a tree. */
function beam(model) {
  const wanted = Math.min(MOST, Math.max(1, Math.round(number("beam") ?? model.search.beam_size)));
  return { beam_size: wanted, n_best: wanted, diversity_groups: 1 };
}

/* The drawn images as one sequence, or the lines of numbers. */
function sequences() {
  if (state.drawings.length) {
    const rows = state.drawings.filter((each) => !each.empty).map((each) => each.pixels());
    return rows.length ? [rows] : [];
  }
  try {
    return lines().map((line) => JSON.parse(line)).map((rows) => (Array.isArray(rows[0]) ? rows : [rows]));
  } catch {
    say("this is not JSON: [[0.1, 0.2], [0.3, 0.4]] has two rows", true);
    return [];
  }
}

function say(message, wrong = false) {
  $("status").textContent = message;
  $("status").classList.toggle("wrong", wrong);
}

function busy(yes) {
  $("output").setAttribute("aria-busy", String(yes));
}

function soon() {
  busy(true);
  clearTimeout(state.timer);
  state.timer = setTimeout(run, DELAY);
}

/* Ask all chosen models; an earlier question that is not answered yet is cancelled. */
async function run() {
  clearTimeout(state.timer);
  state.timer = 0;
  state.running?.abort();
  const running = new AbortController();
  state.running = running;
  busy(true);
  const task = TASKS[state.task];
  say("");
  if (!task.ready()) {
    $("output").replaceChildren();
    busy(state.timer !== 0);
    return;
  }
  const begin = performance.now();
  const models = chosen();
  const panels = models.map((model) =>
    element("article", { class: "panel", "data-model": model.name, "aria-label": model.name }));
  const place = () => panels[0]?.isConnected || $("output").replaceChildren(...panels); // earlier answers stay until then
  await Promise.all(models.map((model, i) => fill(panels[i], model, task, running.signal, place)));
  if (running.signal.aborted) return;
  place();
  const seconds = ((performance.now() - begin) / 1000).toFixed(2);
  busy(state.timer !== 0); // more may have been typed meanwhile
  say(models.length ? `${models.length === 1 ? "1 model" : `${models.length} models`}, ${seconds} s` : "choose a model");
}

/* Ask a model; its panel has what is found so far, where its task says so (`place` is called then), and the answer. */
async function fill(panel, model, task, signal, place) {
  const show = (...made) => panel.replaceChildren(element("h2", null, model.name), ...made);
  const body = { model: model.name, ...task.body(model) };
  const drafts = (body.texts || []).map(() => element("div", { class: "item draft" }));
  const update = (each) => {
    drafts[each.line].replaceChildren(draftView(each));
    if (!drafts[0].isConnected) show(...drafts);
    place();
  };
  try {
    const answer = await (task.stream ? follow(task.stream, body, signal, update) : ask(model.endpoint, body, signal));
    show(...task.view(model, answer.results, body));
  } catch (error) {
    if (error.name === "AbortError") return;
    show(element("p", { class: "note" }, error.message));
    if (error.status === 401) $("unlock").hidden = false;
    if (error.status === 422 && lines().some((text) => state.prefixes.get(key(model, text)))) {
      panel.append(element("button", { type: "button", onclick: () => startOver(model) }, "start over"));
    }
  }
}

/* Forget the beginnings that were chosen for a model, as one of them cannot be continued. */
function startOver(model) {
  lines().forEach((text) => state.prefixes.delete(key(model, text)));
  run();
}

/* After a choice, the keyboard is at the last token of the new translation. */
function focusEnd(model, i) {
  const found = [...$("output").children].find((each) => each.dataset.model === model.name);
  found?.querySelectorAll(".item")[i]?.querySelector(".target button:last-child")?.focus();
}

function chooseTask(endpoint) {
  state.task = endpoint;
  const task = TASKS[endpoint];
  const models = state.models.filter((model) => model.endpoint === endpoint);
  for (const each of $("tasks").children) each.setAttribute("aria-pressed", String(each.dataset.endpoint === endpoint));
  if (!chosen().length) state.chosen.add(models[0].name);
  $("choices").replaceChildren(...models.map(choice));
  $("models").hidden = models.length < 2;
  $("text-label").textContent = task.label;
  $("settings").replaceChildren(...task.settings(models).map(setting));
  if (task.button) $("settings").append(element("button", { type: "button", onclick: run }, task.button));
  const side = endpoint === "/caption" ? Math.sqrt(models[0].width) : 0;
  draw(Number.isInteger(side) && side > 3 && side <= 64 ? side : 0);
  $("output").replaceChildren();
  if (!task.button) run();
}

function choice(model) {
  const box = element("input", { type: "checkbox", checked: state.chosen.has(model.name) });
  box.addEventListener("change", () => {
    state.chosen[box.checked ? "add" : "delete"](model.name);
    run();
  });
  return element("label", null, box, ` ${model.name}`);
}

/* The choice among the symbols that some of the models read before a text; none where they have none. */
function tags(models) {
  const names = [...new Set(models.flatMap((model) => model.tags))];
  return names.length ? [["tag", "Tag", {}, ["", ...names]]] : [];
}

function setting([id, title, attributes, options]) {
  const input = element(options ? "select" : "input", { id, ...attributes },
    ...(options || []).map((each) => element("option", { value: each }, each || "none")));
  input.addEventListener(options ? "change" : "input", () => TASKS[state.task].button || soon());
  return element("label", null, `${title} `, input);
}

/* Show places to draw in instead of the text, for a captioner of images with `side` pixels a row; 0 shows the text. */
function draw(side) {
  $("text").hidden = $("text-label").hidden = side > 0;
  $("strip").hidden = side === 0;
  state.drawings = side ? Array.from({ length: PLACES }, (_, i) => new Drawing(side, i + 1, soon)) : [];
  if (!side) return;
  const clear = () => state.drawings.forEach((each) => each.clear());
  $("strip").replaceChildren(
    element("p", { class: "note" }, "Draw digits, one in each square; empty squares are left out."),
    element("div", { class: "row" }, ...state.drawings.map((each) => each.canvas),
      element("button", { type: "button", onclick: clear }, "clear")));
}

async function start() {
  try {
    state.models = (await ask("/models")).models;
  } catch (error) {
    say(error.message, true);
    $("unlock").hidden = error.status !== 401;
    return;
  }
  $("unlock").hidden = true;
  const endpoints = Object.keys(TASKS).filter((each) => state.models.some((model) => model.endpoint === each));
  $("tasks").replaceChildren(...endpoints.map((endpoint) => element("button", {
    type: "button", "data-endpoint": endpoint, onclick: () => chooseTask(endpoint),
  }, TASKS[endpoint].title)));
  $("tasks").hidden = endpoints.length < 2;
  chooseTask(state.models[0].endpoint);
}

$("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("secret").value;
  sessionStorage.setItem("seq2seq-token", token);
  start();
});
$("text").addEventListener("input", () => {
  if (!TASKS[state.task]?.button) soon();
});
start();
