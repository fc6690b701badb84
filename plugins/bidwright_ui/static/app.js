// Draws the charts (uPlot) and opens Airflow's own pages from inside its frame. Pages say everything without it.
(function () {
  "use strict";
  const INK = ["--c1", "--c2", "--c3", "--c4", "--c5"];
  const drawn = new Map();

  // The colours of style.css as the canvas needs them: resolved for the theme that is on.
  function colour(name, alpha) {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return alpha === undefined ? found : found.replace(/^rgb\(/, "rgba(").replace(/\)$/, `, ${alpha})`);
  }

  function written(value, unit) {
    if (value === null || value === undefined) return "not known";
    const size = Math.abs(value);
    const digits = size >= 100 ? 0 : size >= 10 ? 2 : size >= 1 ? 3 : 4;
    const text = value.toLocaleString("en", { maximumFractionDigits: digits }).replaceAll(",", " ");
    return unit ? `${text} ${unit}` : text;
  }

  function short(value) {
    const size = Math.abs(value);
    if (size >= 1e6) return `${+(value / 1e6).toFixed(2)}M`;
    if (size >= 1e4) return `${+(value / 1e3).toFixed(1)}k`;
    return String(+value.toPrecision(6));
  }

  const DAY = 86400;

  function abscissa(spec) {
    if (spec.x.kind === "day") return spec.x.values.map((day) => Date.parse(`${day}T00:00:00Z`) / 1000);
    if (spec.x.kind === "category") return spec.x.values.map((_, place) => place);
    return spec.x.values;
  }

  function named(spec, place) {
    const value = spec.x.values[place];
    return spec.x.kind === "number" ? `${spec.x.label} ${written(value)}` : String(value);
  }

  // Columns for uPlot: every series, and for one with a band its two edges after it.
  function columns(spec) {
    const data = [];
    const series = [];
    const bands = [];
    const bars = spec.series.filter((one) => one.style === "bars").length;
    let bar = 0;
    spec.series.forEach((one, place) => {
      const stroke = colour(INK[place % INK.length]);
      const style = { label: one.name, stroke, width: 2, spanGaps: false, points: { show: false } };
      if (one.style === "bars") {
        style.width = 0;
        style.fill = stroke;
        style.paths = uPlot.paths.bars({ size: [0.72 / bars, 60], align: bars === 1 ? 0 : bar === 0 ? -1 : 1 });
        bar += 1;
      } else if (one.style === "points") {
        style.paths = () => null; // drawn by `marks`, with the interval as a whisker
        one.inks = stroke;
      } else if (one.style === "steps") {
        style.paths = uPlot.paths.stepped({ align: 1 });
      } else if (one.style === "dashed") {
        style.dash = [6, 4];
      }
      if (["line", "dashed"].includes(one.style) && one.values.filter((value) => value !== null).length < 40) {
        style.points = { show: true, size: 5, fill: stroke, stroke };
      }
      data.push(one.values);
      series.push(style);
      if (one.low && one.high && one.style === "points") {
        data.push(one.high, one.low);
        series.push({ label: "", show: false }, { label: "", show: false });
      } else if (one.low && one.high) {
        const edge = { stroke: "transparent", width: 0, points: { show: false } };
        data.push(one.high, one.low);
        series.push({ ...edge, label: `${one.name}, high` }, { ...edge, label: `${one.name}, low` });
        bands.push({ series: [series.length - 1, series.length], fill: colour(INK[place % INK.length], 0.18) });
      }
    });
    return { data, series, bands };
  }

  function reach(spec, data) {
    let low = Infinity;
    let high = -Infinity;
    for (const column of data) {
      for (const value of column) {
        if (value === null) continue;
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
    for (const line of spec.lines || []) {
      low = Math.min(low, line.at);
      high = Math.max(high, line.at);
    }
    if (spec.zero || spec.series.some((one) => one.style === "bars")) {
      low = Math.min(low, 0);
      high = Math.max(high, 0);
    }
    if (!isFinite(low)) return [0, 1];
    if (low === high) return [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
    const margin = (high - low) * 0.06;
    return [low === 0 ? 0 : low - margin, high === 0 ? 0 : high + margin];
  }

  // Values side by side above their name, each with its interval.
  function whiskers(plot, spec, xs) {
    const { ctx } = plot;
    const many = spec.series.filter((one) => one.style === "points");
    many.forEach((one, place) => {
      ctx.strokeStyle = ctx.fillStyle = one.inks;
      ctx.setLineDash([]);
      ctx.lineWidth = 2 * devicePixelRatio;
      xs.forEach((value, at) => {
        if (one.values[at] === null) return;
        const x = plot.valToPos(value, "x", true) + (place - (many.length - 1) / 2) * 12 * devicePixelRatio;
        if (one.low && one.low[at] !== null && one.high[at] !== null) {
          ctx.beginPath();
          ctx.moveTo(x, plot.valToPos(one.low[at], "y", true));
          ctx.lineTo(x, plot.valToPos(one.high[at], "y", true));
          ctx.stroke();
        }
        ctx.beginPath();
        ctx.arc(x, plot.valToPos(one.values[at], "y", true), 4 * devicePixelRatio, 0, 2 * Math.PI);
        ctx.fill();
      });
    });
  }

  // Levels to hold a curve against, and the day on which something happened.
  function marks(spec, xs) {
    return (plot) => {
      const { ctx } = plot;
      const { left, top, width, height } = plot.bbox;
      ctx.save();
      ctx.lineWidth = devicePixelRatio;
      ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      for (const line of spec.lines || []) {
        const y = Math.round(plot.valToPos(line.at, "y", true));
        ctx.strokeStyle = colour("--pass");
        ctx.fillStyle = colour("--pass");
        ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
        ctx.beginPath();
        ctx.moveTo(left, y);
        ctx.lineTo(left + width, y);
        ctx.stroke();
        ctx.textAlign = "right";
        ctx.fillText(line.name, left + width - 4 * devicePixelRatio, y - 4 * devicePixelRatio);
      }
      whiskers(plot, spec, xs);
      if (spec.marked !== undefined && spec.marked !== null) {
        const x = Math.round(plot.valToPos(xs[spec.marked], "x", true));
        ctx.strokeStyle = colour("--fail");
        ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
        ctx.beginPath();
        ctx.moveTo(x, top);
        ctx.lineTo(x, top + height);
        ctx.stroke();
      }
      ctx.restore();
    };
  }

  function pointer(spec, box) {
    const say = document.createElement("div");
    say.className = "pointed";
    say.hidden = true;
    return {
      hooks: {
        init: (plot) => plot.over.append(say),
        setCursor: (plot) => {
          const place = plot.cursor.idx;
          say.hidden = place === null || place === undefined;
          if (say.hidden) return;
          const lines = spec.series.map((one) => `${one.name}: ${written(one.values[place], spec.unit)}`);
          say.replaceChildren(...[named(spec, place), ...lines].map((text) => Object.assign(document.createElement("div"), { textContent: text })));
          const right = plot.cursor.left > box.clientWidth / 2;
          say.style.left = right ? "" : `${plot.cursor.left + 12}px`;
          say.style.right = right ? `${plot.over.clientWidth - plot.cursor.left + 12}px` : "";
        },
      },
    };
  }

  function draw(box) {
    const spec = JSON.parse(box.dataset.chart);
    const xs = abscissa(spec);
    const { data, series, bands } = columns(spec);
    const [low, high] = reach(spec, data);
    const axis = { stroke: colour("--soft"), font: "12px system-ui, sans-serif", grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const across = { ...axis, grid: { show: false } };
    if (spec.x.kind === "category") {
      // Every name where there is room, every n-th where there is not.
      across.splits = (plot) => {
        const step = Math.max(1, Math.ceil((xs.length * 58) / Math.max(1, plot.bbox.width / devicePixelRatio)));
        return xs.filter((place) => place % step === 0);
      };
      across.values = (_, places) => places.map((place) => String(spec.x.values[place] ?? ""));
      across.incrs = [1];
    } else if (spec.x.kind === "day") {
      across.values = (_, seconds) => seconds.map((second) => new Date(second * 1000).toISOString().slice(5, 10));
      across.incrs = [1, 2, 3, 7, 14, 28, 56, 112].map((days) => days * DAY);
      across.space = 56;
    } else {
      across.values = (_, values) => values.map(short);
    }
    const pad = spec.x.kind === "number" ? 0 : spec.x.kind === "day" ? DAY * 0.6 : 0.6;
    const options = {
      width: box.clientWidth,
      height: spec.height || 220,
      tzDate: (second) => uPlot.tzDate(new Date(second * 1000), "Etc/UTC"),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: {
        x: { time: spec.x.kind === "day", range: () => [Math.min(...xs) - pad, Math.max(...xs) + pad] },
        y: { range: () => [low, high] },
      },
      axes: [across, { ...axis, size: 54, values: (_, values) => values.map(short) }],
      series: [{}, ...series],
      bands,
      hooks: { draw: [marks(spec, xs)] },
      plugins: [pointer(spec, box)],
    };
    drawn.get(box)?.destroy();
    box.classList.add("on");
    drawn.set(box, new uPlot(options, [xs, ...data], box));
  }

  function drawAll() {
    for (const box of document.querySelectorAll("[data-chart]")) if (box.offsetParent !== null) draw(box);
  }

  const sizes = new ResizeObserver((changes) => {
    for (const { target } of changes) {
      const plot = drawn.get(target);
      if (plot && target.clientWidth && plot.width !== target.clientWidth) plot.setSize({ width: target.clientWidth, height: plot.height });
    }
  });

  // Airflow's frame lets nobody navigate it from inside, but an anchor of its own document may.
  function outside(event) {
    const link = event.target.closest("a[data-airflow]");
    if (!link || window.parent === window || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey) return;
    let anchor;
    try {
      anchor = window.parent.document.createElement("a");
      window.parent.document.body.append(anchor);
    } catch {
      return;
    }
    event.preventDefault();
    anchor.href = link.href;
    anchor.click();
    anchor.remove();
  }

  document.addEventListener("click", outside);
  document.addEventListener("themechange", drawAll);
  drawAll();
  for (const box of document.querySelectorAll("[data-chart]")) sizes.observe(box);
  document.addEventListener("toggle", drawAll, true); // a chart inside a <details> that was closed
})();
