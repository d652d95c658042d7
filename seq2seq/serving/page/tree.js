/* The n best results as a tree of their common beginnings. */

function treeView(results) {
  const root = { children: new Map(), leaf: null };
  results.forEach((result, rank) => {
    let node = root;
    result.tokens.forEach((each, t) => {
      if (!node.children.has(each)) {
        node.children.set(each, { token: each, logProb: result.token_log_probs[t], rank, children: new Map(), leaf: null });
      }
      node = node.children.get(each);
    });
    node.leaf = node.leaf || { rank, score: result.score };
  });
  return element("details", null, element("summary", null, `Beam as a tree (${results.length} results)`),
    element("ul", { class: "tree" }, ...branches(root, subwordsIn(results.flatMap((each) => each.tokens)))));
}

const branches = (node, subwords) => [...node.children.values()].map((each) => branchView(each, subwords));

/* A node with all that follows without a fork, in one line; then a list of its branches. */
function branchView(node, subwords) {
  const chain = [node];
  let last = node;
  while (!last.leaf && last.children.size === 1) {
    [last] = last.children.values();
    chain.push(last);
  }
  const shown = spelled(chain.map((each) => each.token), subwords);
  const text = shown.map((each) => (each.gap ? " " : "") + (each.end ? "(end)" : each.text)).join("");
  const probability = Math.exp(chain.reduce((sum, each) => sum + (each.logProb ?? -99), 0));
  const label = element("span", { class: node.rank === 0 ? "branch best" : "branch" }, text,
    element("span", { class: "percent" }, percent(probability)));
  const item = element("li", null, label);
  if (last.leaf) {
    const score = last.leaf.score == null ? "" : `, score ${last.leaf.score.toFixed(2)}`;
    item.append(element("span", { class: "percent" }, `#${last.leaf.rank + 1}${score}`));
  }
  if (last.children.size) item.append(element("ul", null, ...branches(last, subwords)));
  return item;
}
