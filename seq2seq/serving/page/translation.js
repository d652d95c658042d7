/* One translated text: tokens of both sides, attention between them, and alternatives at each token. */

const LEAST = 0.03; // weights below it are not drawn

/* How tokens are shown: "▁" begins a word where subwords are used, else every token is a word. */
const subwordsIn = (tokens) => tokens.some((each) => each.startsWith("▁"));

function spelled(tokens, subwords = subwordsIn(tokens)) {
  return tokens.map((each, i) => ({
    text: each === "</s>" ? "end" : byte(each) || each.replace(/^▁/, "") || "␣",
    gap: i > 0 && (!subwords || each.startsWith("▁") || each === "</s>"),
    end: each === "</s>",
  }));
}

/* A token that is one byte, <0x61>, as its character (a), or as it is where it is only a part of one. */
function byte(token) {
  const code = parseInt(/^<0x([0-9A-F]{2})>$/.exec(token)?.[1], 16);
  return code > 32 && code < 127 ? String.fromCharCode(code) : "";
}

function classes(shown) {
  return [shown.gap && "gap", shown.end && "end"].filter(Boolean).join(" ") || null;
}

/* `choose(prefix)` is called with the beginning of the translation that the user has chosen. */
function translationView(text, results, prefix, choose) {
  const best = results[0];
  const item = element("div", { class: "item" });
  const links = document.createElementNS(SVG, "svg");
  links.setAttribute("class", "links");
  links.setAttribute("aria-hidden", "true");
  const sources = sourceTokens(text, best);
  const options = element("ul", { class: "alternatives", "aria-label": "Alternatives", hidden: true });
  const targets = spelled(best.tokens).map((shown, t) =>
    element("button", {
      type: "button",
      class: classes(shown),
      "aria-expanded": best.alternatives ? "false" : null,
      "aria-label": `${shown.text}, ${percent(Math.exp(best.token_log_probs[t] ?? -99))}`,
      onclick: () => toggle(t),
    }, shown.text));
  const weights = best.attention;

  function light(pairs) {
    unlight();
    if (!weights) return;
    for (const { from, to, weight, lit } of pairs) {
      lit.classList.add("lit");
      lit.style.setProperty("--weight", weight.toFixed(3));
      if (weight >= LEAST) links.append(link(item, from, to, weight));
    }
  }
  function unlight() {
    links.replaceChildren();
    for (const each of [...sources, ...targets]) each.classList.remove("lit");
  }
  function toggle(t) {
    if (!best.alternatives) return;
    const open = targets[t].getAttribute("aria-expanded") === "true";
    for (const each of targets) each.setAttribute("aria-expanded", "false");
    options.hidden = open;
    if (open) return;
    targets[t].setAttribute("aria-expanded", "true");
    options.replaceChildren(...best.alternatives[t].map((each) => alternative(each, choose)));
    options.dataset.at = t;
  }

  targets.forEach((each, t) => {
    const pairs = () => sources.map((from, s) => ({ from, to: each, weight: weights?.[t]?.[s] ?? 0, lit: from }));
    each.addEventListener("mouseenter", () => light(pairs()));
    each.addEventListener("focus", () => light(pairs()));
  });
  sources.forEach((each, s) => {
    const pairs = () => targets.map((to, t) => ({ from: each, to, weight: weights?.[t]?.[s] ?? 0, lit: to }));
    each.addEventListener("mouseenter", () => light(pairs()));
  });
  item.addEventListener("mouseleave", unlight);
  item.addEventListener("focusout", unlight);
  item.addEventListener("keydown", (event) => {
    const at = targets.indexOf(document.activeElement);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (at >= 0 && step && targets[at + step]) {
      event.preventDefault();
      targets[at + step].focus();
    } else if (event.key === "Escape" && !options.hidden) {
      const opened = Number(options.dataset.at);
      toggle(opened);
      targets[opened].focus();
    }
  });
  if (sources.length) item.append(element("div", { class: "tokens source", lang: "" }, ...sources));
  item.append(element("div", { class: "tokens target", role: "group", "aria-label": best.text }, ...targets));
  item.append(options, links);
  if (prefix) {
    item.append(element("p", { class: "note" }, `begins with “${prefix}” `,
      element("button", { type: "button", onclick: () => choose("") }, "start over")));
  }
  if (!best.finished && best.tokens.length) item.append(element("p", { class: "note" }, "cut off at the length limit"));
  if (results.length > 1) item.append(treeView(results));
  return item;
}

/* The source: the model's tokens where it has attention, else nothing, as the text is in the input. */
function sourceTokens(text, best) {
  return spelled(best.source_tokens || []).map((shown) => element("span", { class: classes(shown) }, shown.text));
}

/* A line from a source token to a target token, as wide as the weight. */
function link(item, from, to, weight) {
  const box = item.getBoundingClientRect();
  const [a, b] = [from.getBoundingClientRect(), to.getBoundingClientRect()];
  const [x, y, u, v] = [a.left + a.width / 2 - box.left, a.bottom - box.top, b.left + b.width / 2 - box.left, b.top - box.top];
  const middle = (y + v) / 2;
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", `M ${x} ${y} C ${x} ${middle} ${u} ${middle} ${u} ${v}`);
  path.setAttribute("stroke-width", (1 + 5 * weight).toFixed(2));
  path.setAttribute("stroke-opacity", (0.25 + 0.75 * weight).toFixed(2));
  return path;
}

/* One alternative: a button that continues with it; the end and a part of a character cannot be continued. */
function alternative(each, choose) {
  const ends = each.token === "</s>";
  const part = each.prefix.includes("\ufffd");
  const [shown] = spelled([each.token]);
  return element("li", null, element("button", {
    type: "button",
    disabled: ends || part,
    title: ends ? "the translation would end here" : part ? "part of a character" : `continue “${each.prefix}”`,
    onclick: () => choose(each.prefix),
  }, shown.text, element("span", { class: "percent" }, percent(each.probability))));
}

/* The best translation of a text so far, while its search goes on. */
function draftView({ tokens }) {
  return element("div", { class: "tokens target" },
    ...spelled(tokens).map((shown) => element("span", { class: classes(shown) }, shown.text)));
}
