// Charts, and links that must leave the frame that Airflow shows this page in.
(() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = (more) => ({ stroke: colour("--text-soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, ...more });
  const span = (ms) => (ms == null ? "–" : ms < 1000 ? `${ms.toFixed(0)} ms` : ms < 90000 ? `${(ms / 1000).toFixed(1)} s` : `${(ms / 60000).toFixed(1)} min`);

  const drawRuns = (node) => {
    const runs = JSON.parse(node.dataset.runs);
    const order = runs.map((_, index) => index);
    const took = (good) => runs.map((run) => ((run.state === "success") === good ? run.duration_ms : null));
    const bars = uPlot.paths.bars({ size: [0.7, 40] });
    const label = (_, values) => values.map((index) => (Number.isInteger(index) && runs[index] ? runs[index].ended.slice(5, 16).replace("T", " ") : ""));
    new uPlot({
      width: node.clientWidth, height: 220,
      scales: { x: { time: false, range: [-0.6, Math.max(runs.length - 0.4, 6)] }, y: { range: (_, __, max) => [0, (max || 1) * 1.1] }, rows: { range: (_, __, max) => [0, (max || 1) * 1.1] } },
      axes: [axis({ values: label }), axis({ values: (_, all) => all.map(span), size: 70 }), axis({ side: 1, scale: "rows", grid: { show: false }, size: 60 })],
      series: [
        { label: "run", value: (_, index) => (index == null ? "–" : runs[index].run_id) },
        { label: "succeeded", fill: colour("--good"), stroke: colour("--good"), paths: bars, points: { show: false }, value: (_, v) => span(v) },
        { label: "failed", fill: colour("--bad"), stroke: colour("--bad"), paths: bars, points: { show: false }, value: (_, v) => span(v) },
        { label: "rows out", scale: "rows", stroke: colour("--accent"), width: 2, spanGaps: true, points: { show: runs.length < 3 } },
      ],
    }, [order, took(true), took(false), runs.map((run) => run.rows_out ?? null)], node);
  };

  const drawAttempts = (node) => {
    const attempts = JSON.parse(node.dataset.attempts);
    const first = Math.min(...attempts.map((a) => a.start));
    const last = Math.max(...attempts.map((a) => a.end), first + 1);
    const names = [...new Set(attempts.map((a) => a.name))];
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const make = (kind, attributes, text) => {
      const element = document.createElementNS(svg.namespaceURI, kind);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      if (text) element.textContent = text;
      return svg.appendChild(element);
    };
    const width = node.clientWidth, label = Math.min(220, width * 0.4), row = 24;
    svg.setAttribute("width", width);
    svg.setAttribute("height", names.length * row + 4);
    const at = (time) => label + ((time - first) / (last - first)) * (width - label - 60);
    names.forEach((name, index) => make("text", { x: 0, y: index * row + 16, class: "name" }, name));
    for (const attempt of attempts) {
      const y = names.indexOf(attempt.name) * row + 5;
      const bar = make("rect", { x: at(attempt.start), y, width: Math.max(3, at(attempt.end) - at(attempt.start)), height: row - 10, rx: 2, class: attempt.state });
      bar.appendChild(document.createElementNS(svg.namespaceURI, "title")).textContent = `${attempt.name}, try ${attempt.try}: ${attempt.state}, ${span(attempt.end - attempt.start)}`;
      make("text", { x: at(attempt.end) + 6, y: y + 11, class: "took" }, span(attempt.end - attempt.start));
    }
    node.replaceChildren(svg);
  };

  const draw = () => document.querySelectorAll(".chart").forEach((node) => {
    node.replaceChildren();
    (node.dataset.kind === "runs" ? drawRuns : drawAttempts)(node);
  });
  let pending;
  addEventListener("resize", () => { clearTimeout(pending); pending = setTimeout(draw, 150); });
  draw();

  // Airflow's frame forbids pop-ups and top navigation to us, but not a click in its own document.
  document.querySelectorAll("a[data-top]").forEach((link) => link.addEventListener("click", (event) => {
    if (parent === window) return;
    event.preventDefault();
    const twin = parent.document.createElement("a");
    twin.href = link.href;
    if (new URL(link.href).origin !== location.origin) { twin.target = "_blank"; twin.rel = "noopener noreferrer"; }
    parent.document.body.append(twin);
    twin.click();
    twin.remove();
  }));
})();
