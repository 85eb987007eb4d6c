"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  // Okabe and Ito's colours, told apart by colour-blind people; darkest first, yellow left out.
  const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333"];
  const SHAPES = ["circle", "triangle", "square", "diamond"];
  const colour = (model) => COLOURS[model % COLOURS.length];
  const shape = (model) => SHAPES[model % SHAPES.length];
  const MINUS = "\u2212";

  // ---------------------------------------------------------------- drawing
  const svgNode = (name, attributes = {}, text = null) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== null) node.textContent = text;
    return node;
  };
  const htmlNode = (name, text = null, className = null) => {
    const node = document.createElement(name);
    if (text !== null) node.textContent = text;
    if (className !== null) node.className = className;
    return node;
  };

  const markPath = (kind, x, y, s) => ({
    circle: `M${x - s},${y}a${s},${s} 0 1,0 ${2 * s},0a${s},${s} 0 1,0 ${-2 * s},0Z`,
    triangle: `M${x},${y - 1.15 * s}L${x + 1.1 * s},${y + 0.85 * s}H${x - 1.1 * s}Z`,
    square: `M${x - 0.9 * s},${y - 0.9 * s}h${1.8 * s}v${1.8 * s}h${-1.8 * s}Z`,
    diamond: `M${x},${y - 1.25 * s}L${x + 1.25 * s},${y}L${x},${y + 1.25 * s}L${x - 1.25 * s},${y}Z`,
  }[kind]);

  // Paper is narrower than most screens: what is drawn for it keeps the size of its letters.
  const PAPER_WIDTH = 690;
  let printing = false;
  const roomFor = (id) => {
    if (!printing) return byId(id).clientWidth || 640;
    const columns = [...(byId(id).closest(".columns")?.children ?? [null])].filter((column) => !column?.hidden).length;
    return (PAPER_WIDTH - 32 * (columns - 1)) / columns;
  };

  class Canvas {
    constructor(id, height, title, smallest = 300) {
      this.box = byId(id);
      this.width = Math.max(smallest, roomFor(id));
      this.height = typeof height === "function" ? height(this.width) : height;
      // Wider than its place, it is scrolled instead of shrunk.
      const tooWide = !printing && this.width > (this.box.clientWidth || this.width);
      this.svg = svgNode("svg", { ...(tooWide ? { style: `width:${this.width}px` } : {}), viewBox: `0 0 ${this.width} ${this.height}`, role: "img", "aria-label": title });
      this.box.replaceChildren(this.svg);
    }
    add(name, attributes, text = null) {
      const node = svgNode(name, attributes, text);
      this.svg.append(node);
      return node;
    }
    line(x1, y1, x2, y2, attributes = {}) { return this.add("line", { x1, y1, x2, y2, ...attributes }); }
    text(x, y, text, attributes = {}) { return this.add("text", { x, y, ...attributes }, text); }
    mark(kind, x, y, size, attributes = {}) { return this.add("path", { d: markPath(kind, x, y, size), ...attributes }); }
  }

  const ticks = (low, high, count) => {
    const rough = (high - low) / Math.max(1, count);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough * 0.75);
    const marks = [];
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n += 1) marks.push(n * step);
    return { marks, decimals: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  };
  const signedText = (value, decimals, plus = false) => {
    const size = Math.abs(value).toFixed(decimals);
    return Number(size) === 0 ? size : (value < 0 ? MINUS : plus ? "+" : "") + size;
  };
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = '600 12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
  const textWidth = (text) => pen.measureText(text).width;
  const fitted = (text, pixels) => {
    if (textWidth(text) <= pixels) return text;
    const characters = [...text];
    while (characters.length > 1 && textWidth(`${characters.join("")}\u2026`) > pixels) characters.pop();
    return `${characters.join("")}\u2026`;
  };
  const twoLines = (text, pixels) => {
    const words = text.split(" ");
    let first = words.shift();
    while (words.length && textWidth(`${first} ${words[0]}`) <= pixels) first += ` ${words.shift()}`;
    return [fitted(first, pixels), fitted(words.join(" "), pixels)].filter(Boolean);
  };
  // Pieces between which a line may end: words, also those of AttentionUNetTrainer_250epochs.
  const pieces = (text) => text.split(/(?<=[\s_])|(?<=[A-Za-z0-9][a-z0-9]{2})(?=[A-Z])/);
  const breakable = (text) => pieces(text).flatMap((piece) => [piece, htmlNode("wbr")]);
  // The whole text in as many lines as it takes.
  const inLines = (text, pixels) => {
    const lines = [""];
    for (const part of pieces(text)) {
      for (const piece of textWidth(part) <= pixels ? [part] : part) {
        if (lines.at(-1) && textWidth(lines.at(-1) + piece.trimEnd()) > pixels) lines.push("");
        lines[lines.length - 1] += piece;
      }
    }
    return lines.map((line) => line.trimEnd());
  };
  // Where an axis begins and ends: around the values, and at a natural end that is near.
  const spanOf = (values) => {
    let [low, high] = [Math.min(...values), Math.max(...values)];
    const range = high - low || 0.1;
    const isShare = low >= 0 && high <= 1;
    low = isShare && low < range / 4 ? 0 : low - range * 0.04;
    high = isShare && 1 - high < range / 4 ? 1 : high + range * 0.04;
    return [low, high];
  };
  const probabilityText = (p) => (p < 0.001 ? "< 0.001" : p.toFixed(3));
  const pText = (p) => (p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`);
  const stars = (p) => (p < 0.001 ? "***" : p < 0.01 ? "**" : p < 0.05 ? "*" : "");

  // ---------------------------------------------------------------- tooltip
  const tip = byId("tip");
  const showTip = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(6, x + 14), innerWidth - box.width - 6);
    const top = y + 18 + box.height > innerHeight ? y - box.height - 12 : y + 18;
    tip.style.left = `${left}px`;
    tip.style.top = `${Math.max(6, top)}px`;
  };
  const hideTip = () => { tip.hidden = true; };
  const withTip = (node, text) => {
    node.dataset.tip = text;
    for (const kind of ["pointermove", "pointerdown"]) {
      node.addEventListener(kind, (event) => showTip(text, event.clientX, event.clientY));
    }
    node.addEventListener("pointerleave", hideTip);
    return node;
  };
  addEventListener("scroll", hideTip, { passive: true });

  // ---------------------------------------------------------------- choice
  const choice = { metric: 0, dataset: 0, first: 0, second: Math.min(1, data.models.length - 1), method: 0, label: 0, order: 0 };
  const metric = () => data.metrics[choice.metric];
  const rows = () => data.rows.filter((row) => row.metric === metric().name);
  const rowsOfDataset = () => rows().filter((row) => row.dataset === choice.dataset);
  const valueText = (value) => (value === null ? "\u2013" : signedText(value, metric().decimals));
  const fill = (id, names) => byId(id).replaceChildren(...names.map((name, index) => {
    const option = htmlNode("option", name);
    option.value = index;
    return option;
  }));
  // The same trainings, interval and verdict, of the other model.
  const TURNED = { better: "worse", worse: "better" };
  const turnedDetails = (pair) => ({
    ...(pair.trainings ? { trainings: pair.trainings.map((difference) => -difference) } : {}),
    ...(pair.verdict ? { verdict: TURNED[pair.verdict] ?? pair.verdict, within: [-pair.within[1], -pair.within[0]] } : {}),
  });
  const pairOf = (row) => {
    const pair = row.pairs.find(({ first, second }) =>
      (first === choice.first && second === choice.second) || (first === choice.second && second === choice.first));
    if (!pair) return null;
    const turned = pair.first !== choice.first;
    const negative = (value) => (value === null ? null : -value);
    return turned
      ? {
        ...pair, ...turnedDetails(pair), difference: -pair.difference, low: negative(pair.high), high: negative(pair.low), effect: -pair.effect, counts: [...pair.counts].reverse(),
      }
      : pair;
  };
  const unit = `${data.unit}s`;
  // A case with the group that it counts in, where cases are grouped.
  const caseText = (dataset, number) => {
    const { cases, groups } = data.datasets[dataset];
    return groups && groups[number] !== cases[number] ? `${cases[number]}, group ${groups[number]}` : cases[number];
  };
  const valuesOf = (row, model) => {
    const place = row.models.indexOf(model);
    return place < 0 ? null : row.values[place];
  };

  // ---------------------------------------------------------------- table of results
  const table = byId("table");
  const body = table.tBodies[0];
  const allRows = [...body.rows];
  const filterRows = () => {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of allRows) {
      const text = [...row.cells].slice(0, 3).map((cell) => cell.textContent).join(" ").toLowerCase();
      const fits = row.dataset.metric === metric().name && (byId("labels").checked || row.classList.contains("overall"))
        && words.every((word) => text.includes(word));
      row.hidden = !fits;
      shown += fits;
    }
    byId("shown").textContent = `${shown} row${shown === 1 ? "" : "s"}`;
  };
  const sortBy = (heading) => {
    const column = heading.cellIndex;
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const key = (row) => {
      const cell = row.cells[column];
      return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
    };
    const sorted = allRows.map((row) => [key(row), row]);
    sorted.sort(([a], [b]) => {
      const order = typeof a === "number" && typeof b === "number"
        ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
      return ascending ? order : -order;
    });
    body.append(...sorted.map(([, row]) => row));
  };
  for (const row of allRows) {
    const cell = row.querySelector(".model");
    const model = data.models.indexOf(cell.textContent);
    const key = htmlNode("span", "", "model-key");
    key.style.background = colour(model);
    cell.prepend(key);
  }
  for (const heading of table.tHead.rows[0].cells) {
    heading.querySelector("button").addEventListener("click", () => sortBy(heading));
  }

  // ---------------------------------------------------------------- stability of ranks
  const drawStability = () => {
    const consensus = data.consensus.find((item) => item.metric === metric().name);
    const groups = rows().filter((row) => row.overall)
      .map((row) => ({ name: data.datasets[row.dataset].name, models: row.models, standings: row.standings[choice.method] }));
    if (consensus.datasets > 1) {
      groups.unshift({ name: `all ${consensus.datasets} data sets`, models: data.models.map((_, n) => n), standings: consensus.standings[choice.method], strong: true });
    }
    const count = data.models.length;
    const lane = 22;
    const top = 30;
    const height = top + groups.reduce((sum, group) => sum + group.models.length * lane + 10, 0) + 6;
    const canvas = new Canvas("stability", height, "Stability of ranks");
    const left = Math.min(170, canvas.width * 0.34);
    const right = canvas.width - 64;
    const x = (rank) => left + 30 + (count === 1 ? 0 : ((rank - 1) * (right - left - 50)) / (count - 1));
    canvas.text(left - 14, 14, "rank", { "text-anchor": "end", class: "faint" });
    for (let rank = 1; rank <= count; rank += 1) {
      canvas.line(x(rank), top - 8, x(rank), height - 6, { class: "grid" });
      canvas.text(x(rank), 14, rank, { "text-anchor": "middle", class: "faint" });
    }
    canvas.text(canvas.width - 4, 14, "rank 1 in", { "text-anchor": "end", class: "faint" });
    let y = top;
    for (const group of groups) {
      if (group.strong) {
        canvas.add("rect", { x: 0, y: y - 4, width: canvas.width, height: group.models.length * lane + 8, fill: "#eef4f9", rx: 5 });
      }
      canvas.text(6, y + (group.models.length * lane) / 2 + 4, fitted(group.name, left - 16), group.strong ? { class: "strong" } : {});
      group.models.forEach((model, place) => {
        const [rank, low, high, shares] = group.standings[place];
        const middle = y + lane * (place + 0.5);
        canvas.line(x(low), middle, x(high), middle, { stroke: colour(model), "stroke-width": 2, opacity: 0.55 });
        shares.forEach((share, index) => {
          if (share > 0) canvas.add("circle", { cx: x(index + 1), cy: middle, r: Math.max(1, 10 * Math.sqrt(share)), fill: colour(model), opacity: 0.75 });
        });
        canvas.mark(shape(model), x(rank), middle, 4, { fill: "#fff", stroke: colour(model), "stroke-width": 1.6 });
        canvas.text(canvas.width - 4, middle + 4, percentText(shares[0]), { "text-anchor": "end" });
        const distribution = shares.map((share, index) => `rank ${index + 1}: ${percentText(share)}`).join("\n");
        withTip(canvas.add("rect", { x: 0, y: y + lane * place, width: canvas.width, height: lane, fill: "transparent" }),
          `${data.models[model]}, ${group.name}\nrank ${rank}, 95 % interval ${low} to ${high}\n${distribution}`);
      });
      y += group.models.length * lane + 10;
    }
  };
  const percentText = (share) => (share > 0 && share < 0.005 ? "<1 %" : share < 1 && share >= 0.995 ? ">99 %" : `${Math.round(share * 100)} %`);
  const fillLegends = () => {
    for (const box of document.querySelectorAll(".legend")) {
      box.replaceChildren(...data.models.map((name, model) => {
        const item = htmlNode("span");
        const picture = svgNode("svg", { width: 14, height: 12, viewBox: "0 0 14 12", "aria-hidden": "true" });
        picture.append(svgNode("path", { d: markPath(shape(model), 7, 6, 4.5), fill: colour(model) }));
        item.append(picture, name);
        return item;
      }));
    }
  };

  // ---------------------------------------------------------------- critical differences
  const drawCritical = (id, critical, what) => {
    const caption = byId(`${id}-text`);
    byId(id).closest("figure").hidden = !critical;
    if (!critical) return;
    const order = Object.entries(critical.mean_ranks).map(([name, rank]) => ({ name, model: data.models.indexOf(name), rank })).sort((a, b) => a.rank - b.rank);
    const count = order.length;
    const half = Math.ceil(count / 2);
    const bars = critical.cliques.length;
    const axis = 66;
    const start = axis + 16 + bars * 9;
    const lineHeight = 15;
    // Each name with its mean rank.
    const texts = order.map(({ name, rank }) => `${name} ${rank.toFixed(2)}`);
    const width = Math.max(280, roomFor(id));
    const margin = Math.min(Math.max(...texts.map(textWidth)) + 18, width * 0.36);
    const names = texts.map((text) => inLines(text, margin - 14));
    const step = lineHeight * Math.max(...names.map((lines) => lines.length)) + 8;
    const canvas = new Canvas(id, start + half * step + 8, `Critical difference, ${what}`, 280);
    const x = (rank) => margin + ((rank - 1) * (canvas.width - 2 * margin)) / (count - 1);
    canvas.line(x(1), axis, x(count), axis, { class: "axis" });
    for (let rank = 1; rank <= count; rank += 1) {
      canvas.line(x(rank), axis - 5, x(rank), axis, { class: "axis" });
      canvas.text(x(rank), axis - 9, rank, { "text-anchor": "middle", class: "faint" });
    }
    const shownEnd = Math.min(count, 1 + critical.difference);
    canvas.line(x(1), 24, x(shownEnd), 24, { stroke: "#1c2430", "stroke-width": 2 });
    for (const end of [1, shownEnd]) canvas.line(x(end), 19, x(end), 29, { stroke: "#1c2430", "stroke-width": 2 });
    canvas.text(x(1), 13, `critical difference ${critical.difference.toFixed(2)}`);
    critical.cliques.forEach((clique, index) => {
      const ranks = clique.map((name) => critical.mean_ranks[name]);
      const y = axis + 9 + index * 9;
      canvas.line(x(Math.min(...ranks)) - 4, y, x(Math.max(...ranks)) + 4, y, { stroke: "#1c2430", "stroke-width": 4, "stroke-linecap": "round", opacity: 0.75 });
    });
    order.forEach(({ name, model, rank }, place) => {
      const isLeft = place < half;
      const y = start + (isLeft ? place : count - 1 - place) * step + step / 2;
      const end = isLeft ? margin - 8 : canvas.width - margin + 8;
      canvas.add("path", { d: `M${x(rank)},${axis}V${y}H${end}`, fill: "none", stroke: colour(model), "stroke-width": 1.6 });
      canvas.mark(shape(model), x(rank), axis, 4, { fill: colour(model) });
      const text = canvas.add("text", { "text-anchor": isLeft ? "end" : "start", class: "name" });
      names[place].forEach((line, number) => {
        const across = { x: isLeft ? end - 4 : end + 4, y: y + 4 + (number - (names[place].length - 1) / 2) * lineHeight };
        text.append(svgNode("tspan", across, line));
      });
      withTip(text, `${name}: mean rank ${rank.toFixed(2)}`);
    });
    const friedman = critical.friedman_p_value === null ? "" : ` Friedman's test: ${pText(critical.friedman_p_value)}.`;
    caption.textContent = `${what}: mean ranks over ${critical.blocks}. Models joined by a bar do not differ significantly (Nemenyi, 5 % level).${friedman}`;
  };

  // ---------------------------------------------------------------- forest of differences
  const drawForest = () => {
    const [a, b] = [data.models[choice.first], data.models[choice.second]];
    const pairs = rows().map((row) => ({ row, pair: pairOf(row) })).filter(({ pair }) => pair);
    const caption = byId("forest-text");
    if (!pairs.length) {
      byId("forest").replaceChildren();
      caption.textContent = choice.first === choice.second ? "Choose two different models." : "These two models have no cases in common.";
      return;
    }
    const step = 23;
    const top = 48;
    const height = top + pairs.length * step + 30;
    const canvas = new Canvas("forest", height, `Mean differences, ${a} minus ${b}`);
    const narrow = canvas.width < 560;
    const left = narrow ? canvas.width * 0.36 : 250;
    const right = canvas.width - (narrow ? 34 : 175);
    const { margin } = metric();
    const ends = pairs.flatMap(({ pair }) => [pair.low ?? pair.difference, pair.high ?? pair.difference, 0, ...(pair.trainings ?? [])]);
    if (margin !== null) ends.push(-margin, margin);
    let [low, high] = [Math.min(...ends), Math.max(...ends)];
    const room = (high - low || 1) * 0.06;
    [low, high] = [low - room, high + room];
    const x = (value) => left + ((value - low) * (right - left)) / (high - low);
    const { marks, decimals } = ticks(low, high, narrow ? 4 : 8);
    if (margin !== null) {
      canvas.add("rect", { x: x(-margin), y: top - 6, width: x(margin) - x(-margin), height: height - top - 18, fill: "#e8f1e4", class: "margin" });
      for (const end of [-margin, margin]) canvas.line(x(end), top - 6, x(end), height - 24, { stroke: "#7d9b6f", "stroke-dasharray": "2 3", class: "margin-end" });
    }
    // As many numbers as find room beside each other, 0 among them.
    const apart = marks.length > 1 ? marks[1] - marks[0] : 1;
    const widest = Math.max(...marks.map((mark) => textWidth(signedText(mark, decimals, true))));
    const every = Math.ceil((widest + 6) / (x(apart) - x(0)));
    for (const mark of marks) {
      canvas.line(x(mark), top - 6, x(mark), height - 24, { class: "grid" });
      if (Math.round(mark / apart) % every === 0) canvas.text(x(mark), height - 8, signedText(mark, decimals, true), { "text-anchor": "middle", class: "faint" });
    }
    canvas.line(x(0), top - 6, x(0), height - 24, { class: "zero" });
    const [worse, better] = metric().higher ? [choice.second, choice.first] : [choice.first, choice.second];
    const sides = [[worse, "end", x(0) - 8, "\u2190 ", ""], [better, "start", x(0) + 8, "", " \u2192"]];
    for (const [model, anchor, place, before, after] of sides) {
      const space = anchor === "end" ? x(0) - 8 : canvas.width - x(0) - 8;
      canvas.text(place, 16, `${before}${fitted(data.models[model], space - 18)}${after}`, { "text-anchor": anchor, fill: colour(model), style: `fill:${colour(model)};font-weight:600` });
      canvas.text(place, 31, "better", { "text-anchor": anchor, class: "faint" });
    }
    if (!narrow) {
      canvas.text(canvas.width - 100, 31, "difference", { "text-anchor": "end", class: "faint" });
      canvas.text(canvas.width - 86, 31, margin === null ? "p (Holm)" : "verdict", { class: "faint" });
    }
    pairs.forEach(({ row, pair }, index) => {
      const y = top + (index + 0.5) * step;
      const dataset = data.datasets[row.dataset].name;
      if (row.overall && index) canvas.line(0, y - step / 2, canvas.width, y - step / 2, { class: "grid" });
      const name = row.overall ? dataset : row.label;
      canvas.text(row.overall ? 4 : 16, y + 4, fitted(name, left - (row.overall ? 14 : 26)), { class: row.overall ? "strong" : "faint" });
      const gain = metric().higher ? pair.difference : -pair.difference;
      const marked = pair.marked && pair.p < 0.05 && !pair.disagree;
      const paint = marked ? colour(gain > 0 ? choice.first : choice.second) : "#6b7683";
      if (pair.low !== null) canvas.line(x(pair.low), y, x(pair.high), y, { stroke: paint, "stroke-width": row.overall ? 3 : 2, "stroke-linecap": "round" });
      for (const difference of pair.trainings ?? []) {
        canvas.add("circle", { cx: x(difference), cy: y + 7, r: 2, fill: "none", stroke: paint, "stroke-width": 1.2, class: "training" });
      }
      canvas.mark(row.overall ? "diamond" : "circle", x(pair.difference), y, row.overall ? 5 : 3.6, marked ? { fill: paint, stroke: "#fff" } : { fill: "#fff", stroke: paint, "stroke-width": 1.6 });
      const weight = { class: marked ? "strong" : "faint" };
      const sign = { better: "+", worse: MINUS, equivalent: "=", undecided: "?" };
      if (narrow && pair.verdict) canvas.text(canvas.width - 4, y + 4, sign[pair.verdict], { "text-anchor": "end", class: pair.verdict === "undecided" ? "faint" : "strong" });
      else if (narrow) canvas.text(canvas.width - 4, y + 4, marked ? stars(pair.p) : "", { "text-anchor": "end", ...weight });
      else {
        canvas.text(canvas.width - 100, y + 4, signedText(pair.difference, metric().decimals, true), { "text-anchor": "end", ...weight });
        canvas.text(canvas.width - 86, y + 4, pair.verdict ?? pText(pair.p), pair.verdict ? { class: pair.verdict === "undecided" ? "faint" : "strong" } : weight);
        if (!pair.verdict) canvas.text(canvas.width - 20, y + 4, marked ? stars(pair.p) : "", weight);
      }
      const interval = pair.low === null ? "" : `, 95 % CI ${signedText(pair.low, metric().decimals, true)} to ${signedText(pair.high, metric().decimals, true)}`;
      const decimal = metric().decimals;
      const within = pair.verdict ? `\n${a} ${pair.verdict === "better" || pair.verdict === "worse" ? `is ${pair.verdict}` : `and ${b}: ${pair.verdict}`}; 90 % CI ${signedText(pair.within[0], decimal, true)} to ${signedText(pair.within[1], decimal, true)}, margin ${margin}\nfalse claim: ${probabilityText(pair.claim)}` : "";
      const means = (model) => (row.trainings[model] ? `\n${data.models[model]}, trainings: ${row.trainings[model].map((mean) => signedText(mean, decimal)).join(", ")}` : "");
      withTip(canvas.add("rect", { x: 0, y: y - step / 2, width: canvas.width, height: step, fill: "transparent", class: "row" }),
        `${dataset}, ${row.label} (n = ${pair.n})\n${a} ${MINUS} ${b}: ${signedText(pair.difference, metric().decimals, true)}${interval}\n${pText(pair.p)} (Holm), r = ${signedText(pair.effect, 2, true)}${pair.disagree ? ": mean and ranks disagree, so neither is called better" : ""}\n${a} better / equal / worse: ${pair.counts.join(" / ")}${within}${means(choice.first)}${means(choice.second)}`);
    });
    caption.textContent = `Mean difference in ${metric().title}, ${a} minus ${b}, with 95 % confidence interval. Diamonds: data sets; dots: their labels. `
      + (pairs.some(({ pair }) => pair.marked) ? "Filled, in colour: significant after Holm's correction; hollow: not." : `One training each: p-values hold for other ${unit}, not for other trainings, and nothing is marked.`)
      + (pairs.some(({ pair }) => pair.disagree) ? " Hollow, too, where mean and ranks disagree: the test is significant, but not in favour of the model with the better mean." : "")
      + (margin === null ? "" : ` Between the dotted lines, green: differences within the margin of ${margin} do not matter${narrow ? `; + better, ${MINUS} worse, = equivalent, ? undecided (${a})` : `; the verdict is on ${a}`}.`)
      + (pairs.some(({ pair }) => pair.trainings) ? " Rings: pairs of trainings." : "");
  };

  // ---------------------------------------------------------------- violins
  const quantile = (sorted, share) => {
    const place = share * (sorted.length - 1);
    const [low, high] = [Math.floor(place), Math.ceil(place)];
    return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
  };
  const density = (sorted, points) => {
    const n = sorted.length;
    const mean = sorted.reduce((sum, value) => sum + value, 0) / n;
    const sd = Math.sqrt(sorted.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, n - 1));
    const spread = Math.min(sd, (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / 1.34) || sd;
    const width = 0.9 * spread * n ** -0.2;
    if (!(width > 0)) return null;
    return points.map((point) => sorted.reduce((sum, value) => sum + Math.exp(-0.5 * ((point - value) / width) ** 2), 0) / (n * width));
  };
  const drawViolins = () => {
    const groups = rowsOfDataset();
    byId("violins-text").textContent = `${metric().title}, ${data.datasets[choice.dataset].name}.`;
    if (!groups.length) { byId("violins").textContent = "No cases."; return; }
    const all = groups.flatMap((row) => row.values.flat()).filter((value) => value !== null);
    const [low, high] = spanOf(all);
    const models = Math.max(...groups.map((row) => row.models.length));
    const boxWidth = roomFor("violins");
    const lane = Math.max(24, Math.min(110, (boxWidth - 60) / (groups.length * (models + 0.4))));
    const canvas = new Canvas("violins", 380, `Distribution of ${metric().title}`, 60 + groups.length * (models + 0.4) * lane);
    const [left, top, bottom] = [48, 30, canvas.height - 42];
    const y = (value) => bottom - ((value - low) * (bottom - top)) / (high - low);
    const { marks, decimals } = ticks(low, high, 6);
    for (const mark of marks) {
      canvas.line(left, y(mark), canvas.width, y(mark), { class: "grid" });
      canvas.text(left - 8, y(mark) + 4, signedText(mark, decimals), { "text-anchor": "end", class: "faint" });
    }
    const groupWidth = (canvas.width - left) / groups.length;
    groups.forEach((row, index) => {
      const middle = left + (index + 0.5) * groupWidth;
      if (index) canvas.line(left + index * groupWidth, top, left + index * groupWidth, bottom, { class: "grid" });
      twoLines(row.label, groupWidth - 6).forEach((text, line) => {
        canvas.text(middle, bottom + 18 + 15 * line, text, { "text-anchor": "middle", class: row.overall ? "strong" : "" });
      });
      const used = Math.min(lane, groupWidth / (models + 0.4));
      row.models.forEach((model, place) => {
        const centre = middle + (place - (row.models.length - 1) / 2) * used;
        const values = row.values[place];
        const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
        if (!sorted.length) return;
        const half = used * 0.44;
        const points = Array.from({ length: 61 }, (_, n) => sorted[0] + ((sorted.at(-1) - sorted[0]) * n) / 60);
        const heights = density(sorted, points);
        let widthAt = () => half * 0.3;
        if (heights) {
          const most = Math.max(...heights);
          const scale = (n) => (half * heights[n]) / most;
          const right = points.map((point, n) => `${(centre + scale(n)).toFixed(1)},${y(point).toFixed(1)}`);
          const back = points.map((point, n) => `${(centre - scale(n)).toFixed(1)},${y(point).toFixed(1)}`).reverse();
          canvas.add("polygon", { points: [...right, ...back].join(" "), fill: colour(model), "fill-opacity": 0.2, stroke: colour(model), "stroke-width": 1.2 });
          const range = sorted.at(-1) - sorted[0];
          widthAt = (value) => scale(Math.round((60 * (value - sorted[0])) / range));
        }
        const dots = [];
        values.forEach((value, number) => {
          if (value === null) return;
          // The same place at every drawing, spread evenly by the golden ratio.
          const offset = (((number * 0.618034) % 1) - 0.5) * 1.5 * widthAt(value);
          dots.push({ x: centre + offset, y: y(value), text: `${caseText(choice.dataset, number)}\n${data.models[model]}, ${row.label}: ${valueText(value)}` });
        });
        for (const dot of dots) {
          withTip(canvas.add("circle", { cx: dot.x.toFixed(1), cy: dot.y.toFixed(1), r: sorted.length > 150 ? 1.5 : 2.2, fill: colour(model), "fill-opacity": 0.55 }), dot.text);
        }
        const [q1, q2, q3] = [0.25, 0.5, 0.75].map((share) => quantile(sorted, share));
        const meanOfCases = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
        const bar = Math.min(9, used * 0.16);
        const means = row.trainings[model] ?? [];
        means.forEach((mean, number) => {
          // Side by side, for their heights are nearly the same.
          const beside = (number - (means.length - 1) / 2) * Math.min(4, (half * 0.5) / means.length);
          withTip(canvas.add("circle", { cx: centre + half * 0.74 + beside, cy: y(mean), r: 2.6, fill: colour(model), stroke: "#1c2430", "stroke-width": 1, class: "training" }),
            `training ${number + 1}, mean\n${data.models[model]}, ${row.label}: ${valueText(mean)}`);
        });
        canvas.add("rect", { x: centre - bar, y: y(q3), width: 2 * bar, height: Math.max(1, y(q1) - y(q3)), fill: "#fff", "fill-opacity": 0.75, stroke: "#1c2430", rx: 2, "pointer-events": "none" });
        canvas.line(centre - bar, y(q2), centre + bar, y(q2), { stroke: "#1c2430", "stroke-width": 2.5, "pointer-events": "none" });
        canvas.mark(shape(model), centre, y(meanOfCases), 4, { fill: colour(model), stroke: "#fff", "pointer-events": "none" });
      });
    });
    canvas.text(left - 40, 12, metric().title, { class: "faint" });
  };

  // ---------------------------------------------------------------- scatter of cases
  const chosenRow = () => rowsOfDataset()[Math.min(choice.label, rowsOfDataset().length - 1)];
  const drawScatter = () => {
    const row = chosenRow();
    const [a, b] = [choice.first, choice.second];
    const caption = byId("scatter-text");
    const [first, second] = row ? [valuesOf(row, a), valuesOf(row, b)] : [null, null];
    if (!first || !second) {
      byId("scatter").replaceChildren();
      caption.textContent = "These two models have no cases in common here.";
      return;
    }
    const names = data.datasets[choice.dataset].cases;
    const points = names.map((name, n) => ({ name, text: caseText(choice.dataset, n), a: first[n], b: second[n] })).filter((point) => point.a !== null && point.b !== null);
    const all = points.flatMap((point) => [point.a, point.b]);
    const [low, high] = spanOf(all);
    const canvas = new Canvas("scatter", (width) => Math.min(width, 600), `Cases, ${data.models[a]} against ${data.models[b]}`);
    const [left, top, right, bottom] = [54, 14, canvas.width - 14, canvas.height - 46];
    const x = (value) => left + ((value - low) * (right - left)) / (high - low);
    const y = (value) => bottom - ((value - low) * (bottom - top)) / (high - low);
    const { marks, decimals } = ticks(low, high, 6);
    for (const mark of marks) {
      canvas.line(left, y(mark), right, y(mark), { class: "grid" });
      canvas.line(x(mark), top, x(mark), bottom, { class: "grid" });
      canvas.text(left - 8, y(mark) + 4, signedText(mark, decimals), { "text-anchor": "end", class: "faint" });
      canvas.text(x(mark), bottom + 18, signedText(mark, decimals), { "text-anchor": "middle", class: "faint" });
    }
    canvas.line(x(low), y(low), x(high), y(high), { class: "zero" });
    canvas.text((left + right) / 2, canvas.height - 8, `${fitted(data.models[a], right - left)}`, { "text-anchor": "middle", style: `fill:${colour(a)};font-weight:600` });
    canvas.text(14, (top + bottom) / 2, fitted(data.models[b], bottom - top), { "text-anchor": "middle", transform: `rotate(-90 14 ${(top + bottom) / 2})`, style: `fill:${colour(b)};font-weight:600` });
    const better = (point) => (point.a === point.b ? null : (point.a > point.b) === metric().higher ? a : b);
    for (const point of points) {
      const model = better(point);
      const paint = model === null ? "#6b7683" : colour(model);
      const node = canvas.mark(model === null ? "square" : shape(model), x(point.a), y(point.b), 3.6, { fill: paint, "fill-opacity": 0.6, stroke: paint, "stroke-width": 0.6, class: "case" });
      node.dataset.case = point.name;
    }
    const ring = canvas.add("circle", { r: 8, fill: "none", stroke: "#1c2430", "stroke-width": 1.8, visibility: "hidden", "pointer-events": "none" });
    const pane = canvas.add("rect", { x: left, y: top, width: right - left, height: bottom - top, fill: "transparent" });
    const nearest = (event) => {
      const box = canvas.svg.getBoundingClientRect();
      const scale = canvas.width / box.width;
      const [px, py] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
      const distance = (point) => Math.hypot(x(point.a) - px, y(point.b) - py);
      const point = points.reduce((closest, other) => (distance(other) < distance(closest) ? other : closest));
      if (distance(point) > 26 * scale) { ring.setAttribute("visibility", "hidden"); hideTip(); return; }
      ring.setAttribute("cx", x(point.a));
      ring.setAttribute("cy", y(point.b));
      ring.setAttribute("visibility", "visible");
      showTip(`${point.text}\n${data.models[a]}: ${valueText(point.a)}\n${data.models[b]}: ${valueText(point.b)}\ndifference: ${signedText(point.a - point.b, metric().decimals, true)}`, event.clientX, event.clientY);
    };
    pane.addEventListener("pointermove", nearest);
    pane.addEventListener("pointerdown", nearest);
    pane.addEventListener("pointerleave", () => { ring.setAttribute("visibility", "hidden"); hideTip(); });
    const pair = pairOf(row);
    caption.textContent = `${metric().title}, ${data.datasets[choice.dataset].name}, ${row.label}, ${points.length} cases. `
      + (pair ? `${data.models[a]} better in ${pair.counts[0]}${data.unit === "case" ? "" : ` ${unit}`}, equal in ${pair.counts[1]}, worse in ${pair.counts[2]}; ${pText(pair.p)} (Holm).` : "");
  };

  // ---------------------------------------------------------------- worst cases
  const fillWorst = () => {
    const [a, b] = [choice.first, choice.second];
    const several = data.models.length > 1 && a !== b;
    const names = data.datasets[choice.dataset].cases;
    const entries = [];
    for (const row of rowsOfDataset()) {
      const [first, second] = [valuesOf(row, a), several ? valuesOf(row, b) : null];
      if (!first || (several && !second) || (row.overall && rowsOfDataset().length > 1)) continue;
      names.forEach((name, n) => {
        if (first[n] === null) return;
        entries.push({ name, label: row.label, a: first[n], b: several ? second[n] : null });
      });
    }
    const sign = metric().higher ? 1 : -1;
    const orders = [[`of ${data.models[a]}`, (entry) => sign * entry.a]];
    if (several) {
      orders.push([`of ${data.models[b]}`, (entry) => sign * entry.b]);
      orders.push([`${data.models[a]} worse than ${data.models[b]}`, (entry) => sign * (entry.a - entry.b)]);
      orders.push([`${data.models[b]} worse than ${data.models[a]}`, (entry) => sign * (entry.b - entry.a)]);
    }
    const picked = Math.min(choice.order, orders.length - 1);
    fill("order", orders.map(([name]) => name));
    byId("order").value = picked;
    const key = orders[picked][1];
    entries.sort((entry, other) => key(entry) - key(other) || entry.name.localeCompare(other.name));
    const headings = ["Case", data.models[a], ...(several ? [data.models[b], "difference"] : [])];
    byId("worst-head").replaceChildren(...headings.map((name) => {
      const heading = htmlNode("th", null, "name");
      heading.append(...breakable(name));
      return heading;
    }));
    byId("worst-body").replaceChildren(...entries.slice(0, 12).map((entry) => {
      const line = htmlNode("tr");
      const texts = [valueText(entry.a), ...(several ? [valueText(entry.b), signedText(entry.a - entry.b, metric().decimals, true)] : [])];
      const first = htmlNode("td", entry.name);
      first.append(htmlNode("small", entry.label));
      line.append(first, ...texts.map((text) => htmlNode("td", text)));
      return line;
    }));
  };

  // ---------------------------------------------------------------- everything together
  const draw = () => {
    const labels = rowsOfDataset().map((row) => row.label);
    choice.label = Math.min(choice.label, Math.max(0, labels.length - 1));
    fill("label", labels);
    byId("label").value = choice.label;
    for (const node of document.querySelectorAll("div[data-metric]")) node.hidden = node.dataset.metric !== metric().name;
    filterRows();
    if (data.models.length > 1) {
      drawStability();
      const consensus = data.consensus.find((item) => item.metric === metric().name);
      drawCritical("critical-all", consensus.critical, "Data sets");
      const overall = rowsOfDataset().find((row) => row.overall);
      drawCritical("critical-one", overall ? overall.critical : null, `${data.unit === "case" ? "Cases" : "Groups"} of ${data.datasets[choice.dataset].name}`);
      drawForest();
      drawScatter();
    }
    drawViolins();
    fillWorst();
  };

  const heading = byId("models");
  heading.classList.toggle("many", data.models.length > 3);
  data.models.forEach((name, model) => {
    if (model) heading.append(htmlNode("span", data.models.length === 2 ? " against " : ", ", "versus"));
    const key = htmlNode("span", "", "key");
    key.style.background = colour(model);
    const whole = htmlNode("span", null, "name");
    whole.append(key, ...breakable(name));
    heading.append(whole);
  });
  fillLegends();
  fill("metric", data.metrics.map(({ title }) => title));
  fill("dataset", data.datasets.map(({ name }) => name));
  fill("first", data.models);
  fill("second", data.models);
  fill("method", data.methods);
  for (const id of ["metric", "dataset", "first", "second", "method", "label", "order"]) {
    byId(id).value = choice[id];
    byId(id).addEventListener("change", (event) => {
      choice[id] = Number(event.target.value);
      draw();
    });
  }
  byId("search").addEventListener("input", filterRows);
  byId("labels").addEventListener("change", filterRows);
  let width = innerWidth;
  let waiting = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(draw, 120);
  });
  addEventListener("beforeprint", () => {
    for (const node of document.querySelectorAll("details")) node.open = true;
    printing = true;
    draw();
  });
  addEventListener("afterprint", () => {
    printing = false;
    draw();
  });
  draw();
})();
