"use strict";
// Everything shown comes from the OpenAPI document; texts are set as text, never as HTML.
const byId = (id) => document.getElementById(id);
const make = (tag, text, attributes = {}) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const VERB = ":predict";
let api;
let model;
let inForm = true;

const resolve = (schema) => {
  while (schema && schema.$ref) {
    schema = schema.$ref.slice(2).split("/").reduce((inner, name) => inner[name], api);
  }
  return schema;
};

// The first form of a row is the object with a value for each field.
const rowSchema = (operation) => {
  const rows = resolve(operation.requestBody.content["application/json"].schema);
  const row = resolve(rows.properties.instances.items);
  return row.anyOf ? row.anyOf[0] : row;
};

// A single value: its type; nothing for lists. A list of one may be left out around its value.
const typeOf = (schema) => {
  const types = (schema.anyOf ?? [schema]).flatMap((form) => form.type);
  if (types.includes("boolean")) return "boolean";
  return ["integer", "number", "string"].find((type) => types.includes(type));
};
const takesNull = (schema) => [schema, ...(schema.anyOf ?? [])].some((form) => [form.type].flat().includes("null"));

const models = () =>
  Object.entries(api.paths)
    .filter(([path, item]) => item.post && path.endsWith(VERB) && !path.includes("/versions/"))
    .map(([path, item]) => {
      const operation = item.post;
      const row = rowSchema(operation);
      const fields = row.required.map((name) => ({ name, schema: row.properties[name], type: typeOf(row.properties[name]) }));
      const example = operation.requestBody.content["application/json"].example;
      return { name: operation.tags[0], path: path.slice(1), fields, example, simple: fields.every((field) => field.type) };
    });

// A number is sent as it was typed: what is none goes as a text, and the server says what is wrong with it.
const written = (field, text) => {
  if (field.type === "boolean") return text;
  if (field.type === "string") return JSON.stringify(text);
  if (text.trim() === "" && takesNull(field.schema)) return "null";
  return NUMBER.test(text.trim()) ? text.trim() : JSON.stringify(text);
};

const formBody = () => {
  const values = model.fields.map((field, index) => `${JSON.stringify(field.name)}: ${written(field, byId(`field-${index}`).value)}`);
  return `{"instances": [{${values.join(", ")}}]}`;
};
const body = () => (inForm ? formBody() : byId("body").value);

const showCurl = () => {
  const url = new URL(model.path, document.baseURI);
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  byId("curl").textContent = `curl -s ${quote(url.href)} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quote(body())}`;
  byId("copied").textContent = "";
};

const showFields = () => {
  const row = model.example.instances[0];
  byId("fields").replaceChildren(
    ...model.fields.map((field, index) => {
      const id = `field-${index}`;
      const holder = make("div");
      const label = make("label", field.name + " ", { for: id });
      label.append(make("small", field.type + (takesNull(field.schema) ? " or nothing" : "")));
      const input = field.type === "boolean" ? make("select", undefined, { id }) : make("input", undefined, { id, autocomplete: "off" });
      if (field.type === "boolean") input.append(make("option", "false"), make("option", "true"));
      else if (field.type !== "string") input.inputMode = "decimal";
      input.value = String(row[field.name]);
      input.setAttribute("aria-describedby", `${id}-wrong`);
      holder.append(label, input, make("span", "", { id: `${id}-wrong`, class: "wrong" }));
      return holder;
    }),
  );
};

const switchTo = (form) => {
  if (!form && inForm && model.simple) byId("body").value = formBody();
  inForm = form;
  byId("fields").hidden = !form;
  byId("text").hidden = form;
  byId("as-form").setAttribute("aria-pressed", form);
  byId("as-json").setAttribute("aria-pressed", !form);
  showCurl();
};

const choose = (chosen) => {
  model = chosen;
  for (const button of byId("models").querySelectorAll("button")) button.setAttribute("aria-current", button.value === model.name);
  byId("title").textContent = model.name;
  const count = model.fields.length;
  byId("about").textContent = `A row has ${count === 1 ? "one field" : `${count} fields`}.`;
  byId("as-form").disabled = !model.simple;
  byId("body").value = JSON.stringify(model.example, null, 1);
  inForm = false;
  if (model.simple) showFields();
  else byId("fields").replaceChildren();
  byId("answer").hidden = true;
  byId("model").hidden = false;
  switchTo(model.simple);
  location.hash = encodeURIComponent(model.name);
};

const showProblems = (answer) => {
  const problems = answer?.errors ?? [];
  const lines = problems.length ? problems.map((problem) => (problem.row === undefined ? "" : `row ${problem.row}: `) + problem.message) : answer?.error ? [answer.error] : [];
  byId("problems").replaceChildren(...lines.map((line) => make("li", line)));
  if (!inForm) return;
  model.fields.forEach((field, index) => {
    const own = problems.filter((problem) => problem.field === field.name).map((problem) => `must be ${problem.expected}`);
    const input = byId(`field-${index}`);
    input.setAttribute("aria-invalid", own.length > 0);
    byId(`field-${index}-wrong`).textContent = own.join("; ");
  });
};

const shown = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));
const showPrediction = (prediction) => {
  const holder = make("div");
  if (prediction.label !== undefined) holder.append(make("p", shown(prediction.label), { class: "label" }));
  const table = make("table");
  const shares = prediction.probabilities;
  for (const [name, value] of Object.entries(shares ?? prediction)) {
    if (!shares && name === "label") continue;
    const row = make("tr");
    const cell = make("td", shares && typeof value === "number" ? value.toFixed(4) + " " : shown(value));
    if (shares && typeof value === "number") cell.append(make("meter", undefined, { min: 0, max: 1, value, "aria-hidden": true }));
    row.append(make("th", name, { scope: "row" }), cell);
    table.append(row);
  }
  if (table.rows.length) holder.append(table);
  return holder;
};

const ask = async () => {
  const started = performance.now();
  let response;
  let text;
  try {
    response = await fetch(model.path, { method: "POST", headers: { "Content-Type": "application/json" }, body: body() });
    text = await response.text();
  } catch (error) {
    response = undefined;
    text = JSON.stringify({ error: `the server could not be reached: ${error.message}` });
  }
  let answer;
  try { answer = JSON.parse(text); } catch { answer = { error: text }; }
  const good = response?.ok ?? false;
  byId("status").textContent = response ? `${response.status} ${response.statusText}` : "no answer";
  byId("status").className = good ? "good" : "bad";
  byId("time").textContent = `after ${(performance.now() - started).toFixed(0)} ms`;
  showProblems(good ? undefined : answer);
  byId("result").replaceChildren(...(answer.predictions ?? []).slice(0, 100).map(showPrediction));
  byId("raw").textContent = JSON.stringify(answer, null, 2);
  byId("answer").hidden = false;
};

const start = async () => {
  const response = await fetch("openapi.json");
  api = await response.json();
  const all = models();
  byId("models").replaceChildren(
    ...all.map((each) => {
      const item = make("li");
      const button = make("button", each.name, { type: "button", value: each.name });
      button.addEventListener("click", () => choose(each));
      item.append(button);
      return item;
    }),
  );
  byId("message").textContent = all.length ? "" : "No model is loaded. Load this page again once one is.";
  const wanted = decodeURIComponent(location.hash.slice(1));
  const first = all.find((each) => each.name === wanted) ?? all[0];
  if (first) choose(first);
};

byId("ask").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
byId("ask").addEventListener("input", showCurl);
byId("as-form").addEventListener("click", () => switchTo(true));
byId("as-json").addEventListener("click", () => switchTo(false));
byId("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(byId("curl").textContent);
    byId("copied").textContent = "copied";
  } catch {
    // Browsers allow it on https and localhost alone.
    getSelection().selectAllChildren(byId("curl"));
    byId("copied").textContent = "selected; copy it with the keyboard";
  }
});
start().catch((error) => { byId("message").textContent = `The models could not be loaded: ${error.message}`; });
