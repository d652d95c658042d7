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

/* The response of an endpoint; without a body it is a GET. Throws a Refusal with the service's message. */
async function request(endpoint, body, signal) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const options = { headers, signal };
  if (body !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    headers["Content-Type"] = "application/json";
  }
  const response = await fetch(endpoint.slice(1), options);
  if (!response.ok) throw new Refusal(response.status, (await response.json().catch(() => ({}))).detail);
  return response;
}

const ask = async (...given) => (await request(...given)).json();

/* The answer of an endpoint that sends lines of JSON, the last of them; `update` is called with each of the others. */
async function follow(endpoint, body, signal, update) {
  const response = await request(endpoint, body, signal);
  let [answer, rest] = [{}, ""];
  const take = (text) => {
    const ended = (rest + text).split("\n");
    rest = ended.pop();
    for (const each of ended.map((line) => JSON.parse(line))) {
      if ("line" in each) update(each);
      else answer = each;
    }
  };
  if (response.body?.getReader && window.TextDecoder) {
    const [reader, decoder] = [response.body.getReader(), new TextDecoder()];
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      take(decoder.decode(read.value, { stream: true }));
    }
  } else take(await response.text()); // a browser without streams has all at the end
  if (!answer.results) throw new Refusal(200, answer.detail || "the service ended before its answer");
  return answer;
}

const percent = (p) => (p >= 0.0995 ? `${Math.round(100 * p)}%` : `${(100 * p).toFixed(1)}%`);
