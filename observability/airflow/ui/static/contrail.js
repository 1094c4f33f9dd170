// Charts, and links that must leave the frame that Airflow shows this page in.
(() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = (more) => ({ stroke: colour("--text-soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, ...more });
  const span = (ms) => (ms == null ? "–" : ms < 1000 ? `${ms.toFixed(ms && ms < 10 ? 1 : 0)} ms` : ms < 90000 ? `${(ms / 1000).toFixed(1)} s` : ms < 5.4e6 ? `${(ms / 60000).toFixed(1)} min` : ms < 1.728e8 ? `${(ms / 3.6e6).toFixed(1)} h` : ms < 6.3e10 ? `${(ms / 8.64e7).toFixed(0)} d` : `${(ms / 3.15576e10).toFixed(1)} y`);

  // An axis steps by what people count in: 30 s and 15 min rather than 50,000 and 1,000,000 ms; 64 MiB rather than 50,000,000 B.
  const second = 1000, minute = 60 * second, hour = 60 * minute, day = 24 * hour, year = 365.25 * day;
  const tens = (most) => Array.from({ length: most }, (_, power) => [1, 2, 5].map((one) => one * 10 ** power)).flat();
  const spans = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, ...tens(3),
    ...[1, 2, 5, 10, 15, 30].map((one) => one * second), ...[1, 2, 5, 10, 15, 30].map((one) => one * minute),
    ...[1, 2, 3, 6, 12].map((one) => one * hour), ...[1, 2, 5, 10, 30, 60, 120].map((one) => one * day), ...tens(4).map((one) => one * year)];
  const sizes = Array.from({ length: 50 }, (_, power) => 2 ** power);
  const spanTick = (ms) => {
    if (ms == null || !ms) return ms == null ? "" : "0";
    if (ms < minute || ms >= year) return span(ms).replace(".0 ", " ");
    const parts = [["d", day], ["h", hour], ["min", minute], ["s", second]].map(([name, size]) => { const count = Math.floor(ms / size); ms -= count * size; return [count, name]; });
    return parts.filter(([count]) => count).slice(0, 2).map((part) => part.join(" ")).join(" ");
  };
  const steps = { ms: { incrs: spans }, bytes: { incrs: sizes }, whole: { incrs: tens(15) } };

  const drawRuns = (node) => {
    const runs = JSON.parse(node.dataset.runs);
    const order = runs.map((_, index) => index), counts = runs.some((run) => run.rows_out != null);
    const took = (good) => runs.map((run) => ((run.state === "success") === good ? run.duration_ms : null));
    const bars = uPlot.paths.bars({ size: [0.7, 40] });
    const shown = (write) => (chart, value, at) => write(value ?? chart.data[at].findLast((one) => one != null));
    const label = (_, values) => values.map((index) => (Number.isInteger(index) && runs[index] ? runs[index].ended.slice(5, 16).replace("T", " ") : ""));
    // A dashed line before a run says that something changed since the one before: a version, or a setting by a person.
    const changes = (chart) => runs.forEach((run, index) => {
      if (!run.changed.length) return;
      const { ctx, bbox } = chart, x = Math.round(chart.valToPos(index - 0.5, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) return;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = colour("--c3");
      ctx.lineWidth = devicePixelRatio;
      ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
      ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      if (x < bbox.left + bbox.width * 0.8) ctx.fillText(run.changed[0].slice(0, 24), x + 4 * devicePixelRatio, bbox.top + 12 * devicePixelRatio);
      ctx.restore();
    });
    new uPlot({
      width: node.clientWidth, height: 220, hooks: { draw: [changes] },
      scales: { x: { time: false, range: [-0.6, Math.max(runs.length - 0.4, 6)] }, y: { range: (_, __, max) => [0, (max || 1) * (runs.some((run) => run.changed.length) ? 1.25 : 1.1)] }, rows: { range: (_, __, max) => [0, (max || 1) * 1.1] } },
      axes: [axis({ values: label, space: 100, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500] }), axis({ values: (_, all) => all.map(spanTick), size: 70, ...steps.ms }), ...(counts ? [axis({ side: 1, scale: "rows", grid: { show: false }, size: 60 })] : [])],
      series: [
        { label: "run", value: (_, index) => (index == null ? "" : [runs[index].run_id, ...runs[index].changed].join(" · ")) },
        { label: "succeeded", fill: colour("--good"), stroke: colour("--good"), paths: bars, points: { show: false }, value: shown(span) },
        { label: "failed", fill: colour("--bad"), stroke: colour("--bad"), paths: bars, points: { show: false }, value: shown(span) },
        ...(counts ? [{ label: "rows out", scale: "rows", value: shown((rows) => rows?.toLocaleString("en") ?? "–"), stroke: colour("--accent"), width: 2, spanGaps: true, points: { show: runs.length < 3 } }] : []),
      ],
    }, [order, took(true), took(false), ...(counts ? [runs.map((run) => run.rows_out ?? null)] : [])], node);
  };

  const drawAttempts = (node) => {
    const attempts = JSON.parse(node.dataset.attempts), deeds = JSON.parse(node.dataset.deeds ?? "[]");
    const first = Math.min(...attempts.map((a) => a.since ?? a.start));
    const last = Math.max(...attempts.map((a) => a.end), first + 1);
    const names = [...new Set(attempts.map((a) => a.name))];
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const make = (kind, attributes, text) => {
      const element = document.createElementNS(svg.namespaceURI, kind);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      if (text) element.textContent = text;
      return svg.appendChild(element);
    };
    const say = (element, text) => { element.appendChild(document.createElementNS(svg.namespaceURI, "title")).textContent = text; };
    const width = node.clientWidth, label = Math.min(220, width * 0.4), row = 24;
    svg.setAttribute("width", width);
    svg.setAttribute("height", names.length * row + 4);
    const at = (time) => label + ((time - first) / (last - first)) * (width - label - 60);
    names.forEach((name, index) => make("text", { x: 0, y: index * row + 16, class: "name" }, name));
    for (const attempt of attempts) {
      const y = names.indexOf(attempt.name) * row + 5;
      if (attempt.since < attempt.start) say(make("rect", { x: at(attempt.since), y: y + 4, width: at(attempt.start) - at(attempt.since), height: row - 18, class: "waited" }), `${attempt.name}, try ${attempt.try}: waited ${span(attempt.start - attempt.since)} for ${attempt.why}`);
      const bar = make("rect", { x: at(attempt.start), y, width: Math.max(3, at(attempt.end) - at(attempt.start)), height: row - 10, rx: 2, class: attempt.state });
      say(bar, `${attempt.name}, try ${attempt.try}: ${attempt.state}, ${span(attempt.end - attempt.start)}`);
      const took = span(attempt.end - attempt.start), later = attempts.filter((one) => one.name === attempt.name && one.start > attempt.start);
      const room = Math.min(...later.map((one) => at(Math.min(one.since ?? one.start, one.start)))) - at(attempt.end);
      if (attempts.length <= 60 && room > 8 * took.length + 12) make("text", { x: at(attempt.end) + 6, y: y + 11, class: "took" }, took);
    }
    for (const deed of deeds.filter((one) => one.at >= first && one.at <= last)) say(make("rect", { x: at(deed.at) - 1, y: 0, width: 2, height: names.length * row, class: "deed" }), `${new Date(deed.at).toISOString().slice(11, 19)} UTC, ${deed.what}`);
    node.replaceChildren(svg);
  };

  const bytes = (value) => { let unit = 0; while (value >= 1024 && unit < 4) { value /= 1024; unit += 1; } return `${value.toFixed(value < 10 && unit ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`; };
  const written = { ms: span, bytes, percent: (value) => `${value.toFixed(1)} %` };
  const utc = (at, from, to) => new Date(at * 1000).toISOString().slice(from, to).replace("T", " ");
  const clock = (at) => (at % 86400 ? utc(at, 11, at % 60 ? 19 : 16) : utc(at, 5, 10));
  const plain = (value) => (Math.abs(value) >= 1e6 ? `${(value / 1e6).toFixed(1)} M` : Number.isInteger(value) ? value.toLocaleString("en") : value.toFixed(2));

  // Bars and areas stand on each other: each is drawn from nothing to the sum of itself and those below, the tallest first.
  const drawSeries = (node) => {
    const { kind, unit, times, lines, limit, wide, sparse } = JSON.parse(node.dataset.series);
    const stacked = kind !== "line", show = (value) => (value == null ? "–" : (written[unit] ?? plain)(value));
    const sums = times.map(() => 0);
    const heights = lines.map((line) => (stacked ? line.values.map((value, index) => { sums[index] += value ?? 0; return kind === "bars" && !value ? null : sums[index]; }) : line.values));
    const tones = { good: "--good", warn: "--warn", bad: "--bad", dire: "--dire", calm: "--c0", faint: "--faint" };
    const series = lines.map((line, index) => {
      const stroke = colour(tones[line.tone] ?? `--${line.tone}`), last = kind === "bars" ? line.values.reduce((sum, one) => sum + (one ?? 0), 0) : line.values.findLast((one) => one != null), value = (_, __, ___, at) => show(at == null ? last : line.values[at]);
      if (!stacked) return { label: line.label, stroke, width: 2, spanGaps: sparse, points: { show: line.values.filter((one) => one != null).length < 30, size: 5 }, value, index };
      return { label: line.label, stroke, fill: stroke, width: 1, points: { show: false }, value, index, ...(kind === "bars" ? { paths: uPlot.paths.bars({ size: [0.8, 40] }) } : {}) };
    });
    const order = stacked ? [...series].reverse() : series;
    const data = [times, ...order.map((one) => heights[one.index])];
    if (limit.length) { order.push({ label: "limit", stroke: colour("--warn"), dash: [6, 4], width: 2, points: { show: false }, value: () => limit[1] }); data.push(times.map(() => limit[0])); }
    // A DAG that catches up is late by years: on an axis of powers of ten, or of a second, a minute, an hour, the others can still be read.
    const powers = (_, __, least, most) => {
      const first = Math.ceil(Math.log10(least) - 1e-9), last = Math.floor(Math.log10(most) + 1e-9), step = Math.ceil((last - first + 1) / 6);
      return Array.from({ length: Math.max(0, Math.floor((last - first) / step) + 1) }, (_, index) => 10 ** (first + index * step));
    };
    const spansBetween = (_, __, least, most) => {
      const within = [0.001, 0.01, 0.1, 1, 10, 100, second, 10 * second, minute, 10 * minute, hour, 10 * hour, day, 10 * day, 100 * day, ...tens(4).map((one) => one * year)].filter((one) => least <= one && one <= most);
      return within.filter((_, index) => index % Math.ceil(within.length / 6) === 0);
    };
    const whole = lines.every((line) => line.values.every((one) => one == null || Number.isInteger(one)));
    const logarithmic = wide && lines.every((line) => line.values.every((one) => one == null || one > 0));
    new uPlot({
      width: node.clientWidth, height: 200, tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "UTC"),
      scales: { y: logarithmic ? { distr: 3 } : { range: (_, least, most) => [Math.min(0, least ?? 0), (most || 1) * 1.08] } },
      axes: [axis({ values: (_, all) => all.map(clock) }), axis({ values: (_, all) => all.map((value) => value == null ? "" : unit === "ms" ? spanTick(value) : (Number.isInteger(value) || written[unit] ? show(value) : value.toFixed(1))), size: 72, ...(logarithmic ? { splits: unit === "ms" ? spansBetween : powers, filter: (_, all) => all } : steps[unit] ?? (whole ? steps.whole : {})) })],
      series: [{ label: "UTC", value: (_, at) => (at == null ? "" : `${utc(at, 5, 16)} UTC`) }, ...order],
    }, data, node);
  };

  // A DAG's days: a cell each, its height by the share of the longest day, its colour by what ended on it.
  const drawStrip = (node) => {
    const days = JSON.parse(node.dataset.strip), first = Date.parse(`${node.dataset.first}T00:00:00Z`), longest = Math.max(1, ...days.map((day) => day[2] ?? 0));
    node.replaceChildren(...days.map(([good, failed, ms, rows], index) => {
      const cell = document.createElement("i");
      cell.className = failed ? (good ? "some" : "bad") : good ? "good" : "";
      cell.style.setProperty("height", `${good + failed ? 6 + Math.round(14 * ((ms ?? 0) / longest)) : 3}px`);
      cell.title = `${new Date(first + index * 864e5).toISOString().slice(0, 10)}: ${good + failed ? `${good + failed} runs${failed ? `, ${failed} failed` : ""}, ${span(ms)} on average${rows ? `, ${rows.toLocaleString("en")} rows` : ""}` : "no run ended"}`;
      return cell;
    }));
    const failures = days.reduce((sum, day) => sum + day[1], 0), all = days.reduce((sum, day) => sum + day[0] + day[1], 0);
    node.setAttribute("role", "img");
    node.setAttribute("aria-label", `${all} runs in 14 days, ${failures} failed`);
  };
  const strips = (root) => root.querySelectorAll(".strip").forEach(drawStrip);

  const kinds = { runs: drawRuns, attempts: drawAttempts, series: drawSeries };
  const drawOne = (node) => { node.replaceChildren(); kinds[node.dataset.kind](node); };
  const draw = () => document.querySelectorAll(".chart").forEach(drawOne);
  let pending;
  addEventListener("resize", () => { clearTimeout(pending); pending = setTimeout(draw, 150); });
  draw();

  // On a phone a row stands on several lines, where each cell needs its column's heading and an empty one needs no room.
  const head = (root) => {
    for (const table of root.querySelectorAll("table.rows")) {
      const names = [...table.querySelectorAll("thead th")].map((cell) => cell.textContent.trim());
      for (const row of table.querySelectorAll("tbody tr")) {
        [...row.cells].forEach((cell, at) => {
          cell.dataset.head = names[at] ?? "";
          if (["", "–"].includes(cell.textContent.trim()) && !cell.querySelector(".strip, svg")) cell.dataset.empty = "";
        });
      }
    }
  };
  head(document);
  strips(document);

  // A board's panels are asked for when they come near the screen, each with the board's own filters.
  const fill = async (panel) => {
    const answer = panel.querySelector(".answer");
    try {
      const response = await fetch(panel.dataset.panel + location.search, { headers: { accept: "text/html" } });
      if (response.status === 401) { location.reload(); return; }
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      if (!response.ok) throw new Error(page.querySelector(".why")?.textContent ?? response.statusText);
      answer.replaceChildren(...page.body.childNodes);
      head(answer);
      strips(answer);
      answer.querySelectorAll(".chart").forEach(drawOne);
    } catch (error) {
      answer.textContent = `This panel could not be loaded: ${error.message}`;
      answer.className = "answer nothing short";
    }
    panel.setAttribute("aria-busy", "false");
    fold(panel.closest(".row"));
  };
  // A row whose panels all say the same, which is why they are empty, says it once.
  const fold = (row) => {
    const panels = [...row.querySelectorAll("[data-panel]")];
    const said = panels.map((panel) => panel.getAttribute("aria-busy") === "false" && panel.querySelector(".answer > .nothing:only-child")?.textContent);
    if (panels.length < 2 || !said[0] || said.some((one) => one !== said[0])) return;
    const line = document.createElement("p");
    line.className = "nothing";
    line.textContent = `${panels.map((panel) => panel.querySelector("h3").textContent).join(", ")}: ${said[0]}`;
    row.querySelector(".panels").hidden = true;
    row.append(line);
  };
  const near = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => { near.unobserve(entry.target); fill(entry.target); }), { rootMargin: "400px" });
  document.querySelectorAll("[data-panel]").forEach((panel) => near.observe(panel));

  // Parts of a page that change are asked for again, but not one in which somebody reads or writes at this moment.
  const live = [...document.querySelectorAll("[data-live]")], was = new WeakMap();
  const opened = (one) => one.open && !one.hasAttribute("data-opened");
  const filled = (field) => (field.matches("select") ? field.selectedIndex > 0 && !field.options[field.selectedIndex].defaultSelected : field.type !== "hidden" && field.value !== field.defaultValue);
  const busy = (part) => [...part.querySelectorAll("details")].some(opened) || [...part.querySelectorAll("input, select, textarea")].some(filled) || part.querySelector(":hover > form") || part.contains(document.activeElement) || String(getSelection());
  const put = (part, page) => {
    const fresh = page.getElementById(part.id);
    if (!fresh || busy(part)) return;
    part.dataset.live = fresh.dataset.live; // what has ended is asked less often
    if (was.get(part) === fresh.innerHTML) return;
    was.set(part, fresh.innerHTML);
    const closed = [...part.querySelectorAll("details")].map((one) => !one.open);
    part.className = fresh.className;
    part.replaceChildren(...fresh.childNodes);
    part.querySelectorAll("details").forEach((one, at) => { if (closed[at]) one.open = false; });
    head(part);
    strips(part);
    part.querySelectorAll(".chart").forEach(drawOne);
  };
  const stale = document.getElementById("stale");
  const renew = async () => {
    if (document.hidden || live.every(busy)) return;
    try {
      const response = await fetch(location.href, { headers: { accept: "text/html" } });
      if (response.status === 401) { location.reload(); return; }
      if (!response.ok) throw new Error(response.statusText);
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      live.forEach((part) => put(part, page));
      stale.dataset.since = new Date().toTimeString().slice(0, 5);
      stale.hidden = true;
    } catch {
      stale.textContent = `Airflow does not answer: this is from ${stale.dataset.since}. It is asked again.`;
      stale.hidden = false;
    }
  };
  const again = () => setTimeout(async () => { await renew(); again(); }, 1000 * Math.min(...live.map((part) => part.dataset.live)));
  stale.dataset.since = new Date().toTimeString().slice(0, 5);
  if (live.length) again();
  addEventListener("visibilitychange", () => { if (live.length) renew(); });

  // Keys: / searches, j and k go from one thing to the next, Enter opens it, g and a letter goes to a page, ? says so.
  const rows = () => [...document.querySelectorAll("main .incidents > li, main .rows tbody tr, main ul > li, main .path li")].map((row) => row.querySelector("a[href]")).filter((link) => link?.offsetParent);
  const step = (by) => { const links = rows(), at = links.indexOf(document.activeElement); links[Math.min(links.length - 1, Math.max(0, at < 0 && by < 0 ? 0 : at + by))]?.focus(); };
  const places = Object.fromEntries([...document.querySelectorAll("header nav a[data-key]")].map((link) => [link.dataset.key, link]));
  const help = document.getElementById("keys");
  let going = 0;
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea")) return;
    const box = document.querySelector("main input[type=search]"), was = going;
    going = 0;
    if (Date.now() - was < 1500 && places[event.key]) places[event.key].click();
    else if (event.key === "g") going = Date.now();
    else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "/") { if (box) box.focus(); else places.s?.click(); }
    else if (event.key === "?") { if (help?.open) help.close(); else help?.showModal(); }
    else return;
    event.preventDefault();
  });

  // Airflow's frame forbids pop-ups and top navigation to us, but not a click in its own document.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-top]");
    if (!link || parent === window) return;
    event.preventDefault();
    const twin = parent.document.createElement("a");
    twin.href = link.href;
    if (new URL(link.href).origin !== location.origin) { twin.target = "_blank"; twin.rel = "noopener noreferrer"; }
    parent.document.body.append(twin);
    twin.click();
    twin.remove();
  });
})();
