/* Words with the colours of their labels, and the labels of a text with their probabilities. */

const SHOWN = 5; // most likely labels that are listed

/* The colour of a label; those of a beginning and an inside of one kind (B-x, I-x) are the same. */
function colour(made, label, labels) {
  const kinds = [...new Set(labels.map(kind))];
  const hue = (kinds.indexOf(kind(label)) * 137.5) % 360;
  made.style.setProperty("--hue", hue.toFixed(1));
  made.classList.add("colour");
  return made;
}

const kind = (label) => label.replace(/^[BIESLUMW]-/, "");

function labelsView(model, text, result) {
  const words = text.split(" ").filter(Boolean);
  const item = element("div", { class: "item" });
  if (model.task === "tagging" && result.labels.length === words.length) {
    item.append(element("div", { class: "words" }, ...words.map((word, i) => wordView(model, word, result, i))));
    return item;
  }
  item.append(element("p", { class: "note" }, text));
  item.append(element("div", { class: "words" }, ...result.labels.flat().map((label) =>
    colour(element("span", { class: "word" }, label), label, model.labels))));
  item.append(sharesView(result.probabilities[0] || {}));
  return item;
}

function wordView(model, word, result, i) {
  const labels = result.labels[i].filter((label) => label !== "O");
  const likely = Object.entries(result.probabilities[i]).slice(0, 3).map(([label, p]) => `${label} ${percent(p)}`);
  const made = element("span", { class: "word", title: likely.join(", ") }, word,
    element("small", null, labels.join(" ") || "\u00a0"));
  return labels.length ? colour(made, labels[0], model.labels) : made;
}

function sharesView(probabilities) {
  return element("ul", { class: "shares" }, ...Object.entries(probabilities).slice(0, SHOWN).map(([label, p]) => {
    const bar = element("div", { class: "share", "aria-hidden": "true" });
    bar.style.setProperty("width", `${(100 * p).toFixed(1)}%`);
    return element("li", null, label, element("span", { class: "percent" }, percent(p)), bar);
  }));
}
