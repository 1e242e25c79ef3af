// Drives a headless Chromium over its debugging pipe (no package needed) and checks the live page in it.
//
//   node browser.cjs CHROMIUM PORT FOLDER [SECONDS]
//
// Prints what it checked, one line each, and `all done`. Screenshots go to FOLDER.
"use strict";
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const [chromium, port, folder] = process.argv.slice(2);
const PATIENCE_MS = 60000;

function start() {
  const profile = fs.mkdtempSync(path.join(folder, "profile-"));
  const child = spawn(chromium, [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--disable-background-networking", "--disable-extensions", "--no-first-run", "--force-color-profile=srgb",
    "--remote-debugging-pipe", `--user-data-dir=${profile}`,
  ], { stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"] });
  let complaints = "";
  child.stderr.on("data", data => { complaints = (complaints + data).slice(-4000); });
  const waiting = new Map(), listeners = [];
  let rest = Buffer.alloc(0), next = 0;
  const fail = reason => { for (const { reject } of waiting.values()) reject(new Error(reason)); waiting.clear(); };
  child.on("error", error => fail(String(error)));
  child.on("exit", code => fail(`the browser ended with ${code}: ${complaints}`));
  child.stdio[3].on("error", () => {});
  child.stdio[4].on("data", data => {
    rest = Buffer.concat([rest, data]);
    for (let end; (end = rest.indexOf(0)) >= 0; rest = rest.subarray(end + 1)) {
      const message = JSON.parse(rest.subarray(0, end).toString());
      if (message.id === undefined) { listeners.forEach(listener => listener(message)); continue; }
      const { resolve, reject } = waiting.get(message.id) || {};
      waiting.delete(message.id);
      if (resolve) message.error ? reject(new Error(JSON.stringify(message.error))) : resolve(message.result);
    }
  });
  const send = (method, params = {}, sessionId) => new Promise((resolve, reject) => {
    const id = ++next;
    waiting.set(id, { resolve, reject });
    child.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + "\0");
  });
  const end = async () => {
    const gone = new Promise(resolve => child.on("exit", resolve));
    send("Browser.close").catch(() => {});
    await Promise.race([gone, new Promise(resolve => setTimeout(resolve, 5000))]);
    child.kill("SIGKILL");
    fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  return { send, end, listen: listener => listeners.push(listener) };
}

class Tab {
  constructor(browser, session, complaints) { Object.assign(this, { browser, session, complaints }); }

  send(method, params) { return this.browser.send(method, params, this.session); }

  async eval(code) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate",
      { expression: `(() => { ${code} })()`, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(`${code}: ${JSON.stringify(exceptionDetails)}`);
    return result.value;
  }

  async until(what, code) {
    const end = Date.now() + PATIENCE_MS;
    // Until the page is there, its elements are not: an exception is not yet a failure.
    const holds = () => this.eval(`try { return Boolean(${code}); } catch { return false; }`);
    while (!await holds()) {
      if (Date.now() > end) throw new Error(`never: ${what}; ${await this.eval("return document.body.innerText.slice(0, 1500)")} ${this.complaints}`);
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    console.log("ok:", what);
  }

  text(id) { return this.eval(`return document.getElementById(${JSON.stringify(id)}).textContent`); }

  async look(width, height, scheme, motion) {
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
    await this.send("Emulation.setEmulatedMedia", { features: [
      { name: "prefers-color-scheme", value: scheme }, { name: "prefers-reduced-motion", value: motion || "no-preference" } ] });
    await this.eval("dispatchEvent(new Event('resize'))");
  }

  async shoot(name) {
    const height = Math.ceil(await this.eval("return document.documentElement.scrollHeight"));
    const width = await this.eval("return innerWidth");
    const { data } = await this.send("Page.captureScreenshot",
      { format: "png", captureBeyondViewport: true, clip: { x: 0, y: 0, width, height, scale: 1 } });
    fs.writeFileSync(path.join(folder, name + ".png"), Buffer.from(data, "base64"));
  }
}

async function open(browser, url, prepare) {
  const { targetId } = await browser.send("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await browser.send("Target.attachToTarget", { targetId, flatten: true });
  const complaints = [];
  browser.listen(message => {
    if (message.sessionId !== sessionId) return;
    if (message.method === "Runtime.exceptionThrown") complaints.push(JSON.stringify(message.params.exceptionDetails));
    if (message.method === "Log.entryAdded") complaints.push(JSON.stringify(message.params.entry));
    if (message.method === "Runtime.consoleAPICalled") complaints.push(JSON.stringify(message.params.args));
  });
  const tab = new Tab(browser, sessionId, complaints);
  for (const domain of ["Page", "Runtime", "Log", "Accessibility"]) await tab.send(domain + ".enable");
  await tab.look(1280, 900, "light");
  if (prepare) await prepare(tab);
  await tab.send("Page.navigate", { url });
  return tab;
}

function check(what, holds, detail) {
  if (!holds) throw new Error(`${what}: ${JSON.stringify(detail)}`);
  console.log("ok:", what);
}

const cells = id => `document.getElementById("${id}").querySelectorAll("i").length`;

async function checks(browser) {
  const tab = await open(browser, `http://127.0.0.1:${port}/`);
  await tab.until("it says that the server serves", `/serving/.test(document.getElementById("state").textContent)`);
  await tab.until("the active engine has its cells", `${cells("fa")} >= 16 && /generation/.test(document.getElementById("ta").textContent)`);
  check("cells are bounded", await tab.eval(`return ${cells("fa")} <= 256`));
  await tab.until("cells are coloured", `new Set([...document.querySelectorAll("#fa i")].map(i => i.style.backgroundColor)).size > 1`);
  await tab.until("commands are counted", `/[1-9]/.test(document.getElementById("ops").textContent)`);
  await tab.until("there are percentiles", `/µs|ms/.test(document.getElementById("p99").textContent)`);
  await tab.until("there are rows of commands", `document.querySelectorAll("#t-commands tbody tr").length > 1`);
  await tab.until("SET is one of them", `[...document.querySelectorAll("#t-commands td.name")].some(cell => cell.textContent === "SET")`);
  await tab.until("clients are named", `/loader/.test(document.getElementById("t-clients").textContent)`);
  await tab.until("the slow log has a row", `document.querySelector("#t-slow td.name")`);
  await tab.until("migrations are listed", `/→/.test(document.getElementById("t-steps").textContent)`);
  const before = await tab.eval(`return [document.getElementById("keys").textContent, document.getElementById("net").textContent].join()`);
  await tab.until("numbers change", `[document.getElementById("keys").textContent, document.getElementById("net").textContent].join() !== ${JSON.stringify(before)}`);
  await tab.until("lines are drawn", `[...document.querySelectorAll("#c-ops path")].some(p => (p.getAttribute("d") || "").split("L").length > 3)`);

  const html = await tab.eval("return document.documentElement.outerHTML");
  check("no key and no value is shown", !/secret-key|secret-value/.test(html));
  check("a name is text, not markup", /<b>loader/.test(await tab.text("t-clients")) &&
    await tab.eval("return !document.querySelector('#t-clients b')"));

  const { nodes } = await tab.send("Accessibility.getFullAXTree");
  const roles = nodes.filter(n => !n.ignored).map(n => [n.role && n.role.value, (n.name && n.name.value) || ""]);
  const named = role => roles.filter(([r, name]) => r === role && name);
  check("pictures have names", named("image").length >= 5, roles.filter(([r]) => r === "image"));
  check("every picture has one", roles.every(([r, name]) => r !== "image" || name));
  check("there is a heading for everything", named("heading").length >= 9);
  check("the button has a name", named("button").some(([, name]) => name === "Pause"));

  for (const [width, height, scheme] of [[1280, 900, "light"], [1280, 900, "dark"], [400, 800, "light"], [400, 800, "dark"]]) {
    await tab.look(width, height, scheme);
    await tab.until(`charts fit at ${width} ${scheme}`, `document.querySelector("#c-ops svg").viewBox.baseVal.width <= innerWidth`);
    const wide = await tab.eval("return [document.documentElement.scrollWidth, innerWidth]");
    check(`nothing sticks out at ${width} ${scheme}`, wide[0] <= wide[1], wide);
    await tab.shoot(`live-${width}-${scheme}`);
  }
  await tab.look(1280, 900, "light", "reduce");
  check("nothing moves for who wants it so",
    await tab.eval(`return getComputedStyle(document.querySelector(".arrow circle")).animationName === "none"`));

  await tab.eval("document.activeElement.blur()");
  const press = async (key, code) => {
    for (const type of ["keyDown", "keyUp"]) await tab.send("Input.dispatchKeyEvent", { type, key, code, windowsVirtualKeyCode: key === "Tab" ? 9 : 32, text: key === "Tab" ? "" : key });
  };
  await press(" ", "Space");
  await tab.until("space pauses", `document.getElementById("pause").getAttribute("aria-pressed") === "true"`);
  await press(" ", "Space");
  await press("Tab", "Tab");
  check("the first stop of the keyboard leads past the header",
    await tab.eval("return document.activeElement.className === 'skip'"), await tab.eval("return document.activeElement.outerHTML.slice(0, 80)"));
  check("the console is quiet", tab.complaints.length === 0, tab.complaints);
}

// A migration is over within milliseconds: what the page makes of one is seen in frames that a stream of our own has.
async function migration(browser) {
  const cell = (load, serving) => load.toString(16).padStart(2, "0") + serving;
  const frame = (at, progress) => {
    const moved = Math.floor(progress * 64 / 100);
    const active = Array.from({ length: 64 }, (_, i) => cell(i < moved ? 0 : 80 + i % 7, i < moved ? 0 : 9)).join("");
    const growing = Array.from({ length: 128 }, (_, i) => cell(i < 2 * moved ? 40 + i % 9 : 0, i < 2 * moved ? 9 : 0)).join("");
    const db = { db: 3, state: "growing", generation: 7, shards: 128, from: 64, progress, keys: 22000, expires: 9000, load: 45,
      moved: progress * 220, purged: 4, contended: 0, ttl: 1000, active, growing };
    const small = { ...db, db: 0, state: "steady", keys: 5, active: cell(1, 9), growing: undefined, from: 1, shards: 1 };
    return { t: at, up: 60000, state: "serving", ops: 120000, in: 1e6, out: 2e6, p50: 2, p99: 20, p999: 200, max: 900, commands: 10,
      hits: 5, misses: 1, expired: 3, evicted: 0, errors: 0, used: 5e6, peak: 6e6, rss: 9e6, limit: 0, ceiling: 0, stalled: 0,
      segments: 0, spare: 0, allocated: 0, dead: 0, clients: 1, blocked: 0, busy: [50, 2], dbs: [small, db] };
  };
  const events = [25, 50].map((progress, i) => `event: tick\ndata: ${JSON.stringify(frame(1.7e12 + i * 1000, progress))}\n\n`);
  const body = Buffer.from("event: history\ndata: {\"points\":[]}\n\n" + events.join("")).toString("base64");
  const tab = await open(browser, `http://127.0.0.1:${port}/`, async tab => {
    browser.listen(message => {
      if (message.sessionId !== tab.session || message.method !== "Fetch.requestPaused") return;
      tab.send("Fetch.fulfillRequest", { requestId: message.params.requestId, responseCode: 200, body,
        responseHeaders: [{ name: "content-type", value: "text/event-stream" }] }).catch(() => {});
    });
    await tab.send("Fetch.enable", { patterns: [{ urlPattern: "*/live" }] });
  });
  await tab.until("a migration is seen", `document.getElementById("tg").textContent === "Growing, generation 7"`);
  await tab.until("how far it is", `document.getElementById("progress").textContent === "50 %"`);
  await tab.until("how fast it is", `document.getElementById("moving").textContent === "5,500 keys/s"`);
  const seen = await tab.eval(`return ["fa", "fg"].map(id => [...document.querySelectorAll("#" + id + " i")]
    .map(i => i.style.backgroundColor === "var(--gone)" ? "-" : "x").join(""))`);
  check("half has moved", seen[0] === "-".repeat(32) + "x".repeat(32) && seen[1] === "x".repeat(64) + "-".repeat(64), seen);
  check("the dots move", await tab.eval(`return getComputedStyle(document.querySelector(".arrow circle")).animationName === "go"`));
  check("the other database can be chosen", await tab.eval(`
    const pick = document.getElementById("db"); pick.value = "0"; pick.dispatchEvent(new Event("change"));
    return document.getElementById("progress").textContent === "steady" && !document.getElementById("dbpick").hidden`));
}

(async () => {
  const browser = start();
  try {
    await checks(browser);
    await migration(browser);
    console.log("all done");
  } catch (error) {
    console.log("FAILED:", error.message);
    process.exitCode = 1;
  } finally {
    await browser.end();
  }
})();
