"use strict";
/* The service, and helpers for elements. */

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

/* Make an element; attributes that begin with "on" are listeners, false and null leave one out. */
function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

class Refusal extends Error {
  constructor(status, detail) {
    super(detail || `the service answered ${status}`);
    this.status = status;
  }
}

let token = sessionStorage.getItem("seq2seq-token");

/* The answer of an endpoint; without a body it is a GET. Throws a Refusal with the service's message. */
async function ask(endpoint, body, signal) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const options = { headers, signal };
  if (body !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    headers["Content-Type"] = "application/json";
  }
  const response = await fetch(endpoint.slice(1), options);
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refusal(response.status, answer.detail);
  return answer;
}

const percent = (p) => (p >= 0.0995 ? `${Math.round(100 * p)}%` : `${(100 * p).toFixed(1)}%`);
