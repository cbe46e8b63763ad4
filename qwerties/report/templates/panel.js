/* "Train it yourself": two networks that learn in the page, full batch, in float64, on the study's random numbers. */
(() => {
  "use strict";

  const find = (name) => document.getElementById(`panel_${name}`);
  const panel = find("root"), data = JSON.parse(find("data").textContent);
  const word = (value) => data.words[value] ?? String(value);
  const count = (value) => value.toLocaleString("en");
  const percent = (share) => (Number.isFinite(share) ? `${(100 * share).toFixed(1)}%` : "–");
  const number = (value) => (Number.isFinite(value) ? Number(value.toPrecision(3)).toString() : "not finite");

  // Training. An entry of networks.py that has no entry here is not offered.

  const sigmoid = (u) => 1 / (1 + Math.exp(-u));
  const ACTIVATIONS = { // value(u), and the slope at the value a
    relu: { value: (u) => (u > 0 ? u : 0), slope: (a) => (a > 0 ? 1 : 0) },
    linear: { value: (u) => u, slope: () => 1 },
    tanh: { value: Math.tanh, slope: (a) => 1 - a * a },
    sigmoid: { value: sigmoid, slope: (a) => a * (1 - a) },
  };
  const LOSSES = { // value and slope by the logit, from the probability p and the label y; limits are PyTorch's
    bce: {
      value: (p, y) => -Math.max(Math.log(y ? p : 1 - p), -100),
      slope: (p, y) => (p - y) * Math.min(p * (1 - p) * 1e12, 1),
    },
    mse: { value: (p, y) => (p - y) ** 2, slope: (p, y) => 2 * (p - y) * p * (1 - p) },
  };
  const offered = { ...data.offered };
  for (const [field, entries] of [["activation", ACTIVATIONS], ["loss", LOSSES]]) {
    offered[field] = offered[field].filter((name) => Object.hasOwn(entries, name));
  }
  const keyOf = (config) => Object.keys(offered).map((field) => config[field]).join(" ");
  const sceneOf = (config) => data.scenes[`${config.data} ${config.distance}`];

  const floats = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const noise = floats(data.noise), points = noise.length / data.seeds.length / 2;
  const starts = Object.fromEntries(Object.entries(data.weights).map(([width, text]) => [width, floats(text)]));

  function rowOf(values, seed) { // numbers of one seed, as float64
    const size = values.length / data.seeds.length, i = data.seeds.indexOf(seed);
    return Float64Array.from(values.subarray(i * size, (i + 1) * size));
  }

  function drawPoints(config, seed) { // x, then y; the points of a class are split evenly over its clusters
    const x = rowOf(noise, seed), samples = points / 2, { centres } = sceneOf(config);
    for (let i = 0; i < points; i++) {
      const own = centres[i < samples ? 0 : 1], [cx, cy] = own[Math.floor(((i % samples) * own.length) / samples)];
      x[i] = Math.fround(x[i] + cx);
      x[points + i] = Math.fround(x[points + i] + cy);
    }
    return x;
  }

  function makeNetwork(config, seed) { // weights in the order of nn.Sequential: w (h, 2), b (h), v (h), c
    const weights = rowOf(starts[config.hidden], seed), losses = new Float64Array(config.epochs);
    return { config, seed, weights, losses, x: drawPoints(config, seed), epoch: 0 };
  }

  function train(network, updates) {
    const { config, weights: w, x, losses } = network, h = config.hidden, rate = config.learning_rate / points;
    const activation = ACTIVATIONS[config.activation], loss = LOSSES[config.loss];
    const a = new Float64Array(h), g = new Float64Array(w.length);
    const end = Math.min(network.epoch + updates, config.epochs);
    for (; network.epoch < end; network.epoch++) {
      let total = 0;
      g.fill(0);
      for (let i = 0; i < points; i++) {
        const x0 = x[i], x1 = x[points + i], y = i < points / 2 ? 0 : 1;
        let z = w[4 * h];
        for (let j = 0; j < h; j++) {
          a[j] = activation.value(w[2 * j] * x0 + w[2 * j + 1] * x1 + w[2 * h + j]);
          z += w[3 * h + j] * a[j];
        }
        const p = sigmoid(z), error = loss.slope(p, y);
        total += loss.value(p, y);
        g[4 * h] += error;
        for (let j = 0; j < h; j++) {
          const back = error * w[3 * h + j] * activation.slope(a[j]);
          g[3 * h + j] += error * a[j];
          g[2 * h + j] += back;
          g[2 * j] += back * x0;
          g[2 * j + 1] += back * x1;
        }
      }
      losses[network.epoch] = total / points;
      for (let k = 0; k < w.length; k++) w[k] -= rate * g[k];
    }
  }

  function logit({ config, weights: w }, x0, x1) {
    const h = config.hidden, { value } = ACTIVATIONS[config.activation];
    let z = w[4 * h];
    for (let j = 0; j < h; j++) z += w[3 * h + j] * value(w[2 * j] * x0 + w[2 * j + 1] * x1 + w[2 * h + j]);
    return z;
  }

  // The plane, as a grid of cells, row by row from the bottom

  const [ACROSS, UP] = data.grid;

  function viewOf(config) { // the middles of columns and rows, and the edges of the whole
    const { cell, middle } = sceneOf(config);
    const x = (i) => middle[0] + cell * (i + 0.5 - ACROSS / 2), y = (j) => middle[1] + cell * (j + 0.5 - UP / 2);
    return { cell, x, y, across: [x(-0.5), x(ACROSS - 0.5)], up: [y(-0.5), y(UP - 0.5)] };
  }

  function gridOf(view, value) { // value(x, y) in the middle of every cell
    const grid = new Float64Array(ACROSS * UP);
    for (let j = 0, k = 0; j < UP; j++) for (let i = 0; i < ACROSS; i++, k++) grid[k] = value(view.x(i), view.y(j));
    return grid;
  }

  function contour(view, grid) { // where the grid changes its sign: a short line in each square between four middles
    const lines = [], at = ([i, j]) => grid[j * ACROSS + i];
    for (let j = 0; j + 1 < UP; j++) {
      for (let i = 0; i + 1 < ACROSS; i++) {
        const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]], ends = [];
        if (corners.filter((corner) => at(corner) > 0).length % 4 === 0) continue;
        corners.forEach((c, k) => {
          const d = corners[(k + 1) % 4], t = at(c) / (at(c) - at(d));
          if (at(c) > 0 !== at(d) > 0) ends.push([view.x(c[0] + (d[0] - c[0]) * t), view.y(c[1] + (d[1] - c[1]) * t)]);
        });
        for (let k = 0; k < ends.length; k += 2) lines.push([ends[k], ends[k + 1]]);
      }
    }
    return lines;
  }

  function bayesBoundary(config, view) { // where both classes are equally dense
    const [first, second] = sceneOf(config).centres, density = (own, x, y) => own.reduce(
      (sum, [cx, cy]) => sum + Math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 2) / own.length, 0);
    return contour(view, gridOf(view, (x, y) => Math.log(density(second, x, y) / density(first, x, y))));
  }

  function normalCdf(t) { // Abramowitz and Stegun 26.2.17, error below 1e-7
    const s = 1 / (1 + 0.2316419 * Math.abs(t));
    const tail = 0.3989422804 * Math.exp((-t * t) / 2) * s * (0.31938153
      + s * (-0.356563782 + s * (1.781477937 + s * (-1.821255978 + s * 1.330274429))));
    return t > 0 ? 1 - tail : tail;
  }

  function crossing(value, low, high) { // where value changes its sign between two places
    for (let step = 0; step < 12; step++) {
      const middle = (low + high) / 2;
      if (value(middle) > 0 === value(high) > 0) high = middle;
      else low = middle;
    }
    return (low + high) / 2;
  }

  /* Accuracy on the true distribution: in closed form along each row, from its changes of sign; summed over rows. */
  function populationAccuracy(network, view, grid) {
    const positiveShare = ([cx, cy]) => { // of one cluster
      let mass = 0, positive = 0;
      for (let j = 0; j < UP; j++) {
        const row = grid.subarray(j * ACROSS, (j + 1) * ACROSS), weight = Math.exp(-((view.y(j) - cy) ** 2) / 2);
        let share = row.at(-1) > 0 ? 1 : 0;
        for (let i = 0; i + 1 < ACROSS; i++) {
          if (row[i] > 0 === row[i + 1] > 0) continue;
          const end = crossing((x) => logit(network, x, view.y(j)), view.x(i), view.x(i + 1));
          share += (row[i] > 0 ? 1 : -1) * normalCdf(end - cx);
        }
        mass += weight;
        positive += weight * share;
      }
      return positive / mass;
    };
    const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const [first, second] = sceneOf(network.config).centres.map((own) => mean(own.map(positiveShare)));
    return (1 - first + second) / 2;
  }

  function judge(network, view) { // how a network stands; states by the rule of scoring
    const { config, weights: w, x } = network, h = config.hidden, loss = LOSSES[config.loss], wrong = [];
    let total = 0, positive = 0, active = false;
    for (let i = 0; i < points; i++) {
      const x0 = x[i], x1 = x[points + i], y = i < points / 2 ? 0 : 1, z = logit(network, x0, x1);
      total += loss.value(sigmoid(z), y);
      if (z > 0) positive++;
      if (z > 0 !== y > 0) wrong.push(i);
      for (let j = 0; j < h && !active; j++) active = w[2 * j] * x0 + w[2 * j + 1] * x1 + w[2 * h + j] > 0;
    }
    const grid = gridOf(view, (x0, x1) => logit(network, x0, x1)), finite = Number.isFinite(total);
    const population = finite ? populationAccuracy(network, view, grid) : NaN;
    const state = !finite ? "diverged" : config.activation === "relu" && !active ? "dead"
      : positive % points === 0 ? "constant"
        : population - 0.5 >= data.learned * (sceneOf(config).accuracy - 0.5) ? "learned" : "slow";
    return { grid, wrong, state, population, loss: total / points, accuracy: finite ? 1 - wrong.length / points : NaN };
  }

  // Pictures

  let colors = {};
  function readColors() {
    const names = ["a", "b", "tint-a", "tint-b", "card", "ground", "ink", "muted", "line", ...data.states];
    const value = (name) => getComputedStyle(panel).getPropertyValue(`--${name}`).trim();
    colors = Object.fromEntries(names.map((name) => [name, value(name)]));
    const rgb = (name) => colors[name].match(/\w\w/g).map((part) => parseInt(part, 16));
    const [a, b, card] = ["tint-a", "tint-b", "card"].map(rgb);
    colors.shades = Array.from({ length: 256 }, (_, i) => { // of the probability: A's tint, the card at ½, B's tint
      const share = Math.abs(i / 127.5 - 1);
      return [...(i < 128 ? a : b).map((tint, k) => card[k] + (tint - card[k]) * share), 255];
    });
  }

  /* A cleared canvas with scales: what is drawn is given in units of the data. */
  function plot(canvas, [x0, x1], [y0, y1], [left, top, right, bottom] = [0, 0, 0, 0]) {
    const ratio = window.devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = canvas;
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    const ink = canvas.getContext("2d");
    ink.scale(ratio, ratio);
    ink.font = "12px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif";
    ink.textBaseline = "middle";
    const at = ([x, y]) => [left + ((x - x0) / (x1 - x0)) * (width - left - right),
      height - bottom - ((y - y0) / (y1 - y0)) * (height - top - bottom)];
    const stroke = (lines, color, thick = 1, dash = []) => {
      ink.beginPath();
      for (const line of lines) line.map(at).forEach(([x, y], i) => (i ? ink.lineTo(x, y) : ink.moveTo(x, y)));
      Object.assign(ink, { strokeStyle: color, lineWidth: thick });
      ink.setLineDash(dash);
      ink.stroke();
      ink.setLineDash([]);
    };
    const write = (text, point, align = "left", [dx, dy] = [0, 0], color = colors.muted) => {
      const [x, y] = at(point);
      Object.assign(ink, { textAlign: align, strokeStyle: colors.ground, lineWidth: 3, fillStyle: color });
      ink.strokeText(text, x + dx, y + dy);
      ink.fillText(text, x + dx, y + dy);
    };
    const dot = (point, color) => {
      ink.beginPath();
      ink.arc(...at(point), 5, 0, 2 * Math.PI);
      Object.assign(ink, { fillStyle: color, strokeStyle: colors.ink, lineWidth: 1.2 });
      ink.fill();
      ink.stroke();
    };
    return { ink, width, height, at, stroke, write, dot };
  }

  const shading = Object.assign(document.createElement("canvas"), { width: ACROSS, height: UP });

  function drawPlane(canvas, { x }, seen, view, best) {
    canvas.style.height = `${Math.round((canvas.clientWidth * UP) / ACROSS)}px`;
    const { ink, width, height, at, stroke, write } = plot(canvas, view.across, view.up);
    const image = new ImageData(ACROSS, UP);
    seen.grid.forEach((z, k) => { // the image's rows run from the top
      const position = (UP - 1 - Math.floor(k / ACROSS)) * ACROSS + (k % ACROSS);
      image.data.set(colors.shades[Math.round(255 * sigmoid(z))] ?? [], 4 * position);
    });
    shading.getContext("2d").putImageData(image, 0, 0);
    ink.drawImage(shading, 0, 0, width, height);
    stroke(best.filter((_, k) => k % 5 < 3), colors.muted, 1.4); // dashed, as it is made of short lines
    const size = width < 420 ? 3.6 : 5, arm = (size / width) * ACROSS * view.cell;
    Object.assign(ink, { fillStyle: colors.card, lineWidth: 1.2 });
    for (let i = 0; i < points; i++) {
      const [px, py] = at([x[i], x[points + i]]), box = [px - size / 2, py - size / 2, size, size];
      ink.strokeStyle = i < points / 2 ? colors.a : colors.b;
      ink.fillRect(...box);
      ink.strokeRect(...box);
    }
    ink.globalAlpha = seen.wrong.length < points / 4 ? 1 : 0.5; // of a class that is wrong as a whole
    stroke(seen.wrong.flatMap((i) => [-arm, arm].map((way) => [
      [x[i] - arm, x[points + i] - way], [x[i] + arm, x[points + i] + way]])), colors.ink, 1.2);
    ink.globalAlpha = 1;
    const boundary = contour(view, seen.grid);
    stroke(boundary, colors.ink, 2.2);
    if (!boundary.length) write("no boundary in view", [view.across[1], view.up[1]], "right", [-8, 14], colors.ink);
  }

  function drawCurve(canvas, { config, epoch, losses }, seen) {
    const plateau = data.plateau[config.loss], { epochs } = config, high = 1.5 * plateau;
    const { width, stroke, write, dot } = plot(canvas, [0, epochs], [0, high], [34, 22, 8, 20]);
    write(`${word(config.loss)} loss by epoch`, [0, high], "left", [-34, -14], colors.ink);
    const step = high > 0.5 ? 0.5 : 0.1;
    for (let k = 0; k * step <= high; k++) {
      stroke([[[0, k * step], [epochs, k * step]]], colors.line);
      write(number(k * step), [0, k * step], "right", [-6, 0]);
    }
    for (const [tick, align] of [[0, "left"], [epochs / 2, "center"], [epochs, "right"]]) {
      write(count(tick), [tick, 0], align, [0, 12]);
    }
    for (const [level, name] of [[plateau, "a coin toss"], [sceneOf(config)[config.loss], "the best possible"]]) {
      stroke([[[0, level], [epochs, level]]], colors.muted, 1.1, [5, 4]);
      write(name, [epochs, level], "right", [0, -8]);
    }
    if (!Number.isFinite(seen.loss)) return;
    const every = Math.max(1, Math.floor(epoch / width)), line = [];
    for (let k = 0; k < epoch; k += every) line.push([k, losses[k]]);
    const clipped = [...line, [epoch, seen.loss]].map(([k, loss]) => [k, Math.min(loss, 1.05 * high)]);
    stroke([clipped], colors.ink, 2);
    dot(clipped.at(-1), colors[seen.state]);
  }

  /* The tracked networks of the same setting by accuracy, coloured by state; below them the reader's own. */
  function drawPlace(canvas, { config }, seen, own) {
    const tracked = data.tracked[keyOf(config)] ?? [], accuracies = own.map(({ population }) => population);
    const stack = new Float64Array(data.bins), best = sceneOf(config).accuracy;
    for (const [, bin, n] of tracked) stack[bin] += n;
    const all = [0.4, ...tracked.map(([, bin]) => bin / data.bins), ...accuracies, seen.population];
    const low = Math.floor(10 * Math.min(...all.filter(Number.isFinite))) / 10, high = Math.max(...stack, 1);
    const { ink, height, at, stroke, write, dot } = plot(canvas, [low, 1], [0, high], [4, 24, 4, 36]);
    write("Population accuracy", [low, high], "left", [-4, -16], colors.ink);
    stack.fill(0);
    for (const [state, bin, n] of tracked) {
      const [[x0, y0], [x1, y1]] = [at([bin / data.bins, stack[bin]]), at([(bin + 1) / data.bins, stack[bin] += n])];
      ink.fillStyle = colors[data.states[state]];
      ink.fillRect(x0, y1, Math.max(x1 - x0 - 0.5, 1), Math.max(y0 - y1, 1));
    }
    stroke([[[low, 0], [1, 0]]], colors.muted);
    stroke([[[best, 0], [best, 1.05 * high]]], colors.muted, 1.1, [5, 4]);
    write(`best possible ${percent(best)}`, [best, high], "right", [0, -16]);
    for (let tick = Math.ceil(5 * low); tick <= 5; tick++) {
      write(`${20 * tick}%`, [tick / 5, 0], tick === 5 ? "right" : tick / 5 === low ? "left" : "center", [0, 27]);
    }
    const below = (pixels) => (-pixels * high) / (height - 60); // in counts
    stroke(accuracies.map((value) => [[value, below(4)], [value, below(14)]]), colors.muted, 1.2);
    if (!Number.isFinite(seen.population)) return;
    stroke([[[seen.population, high], [seen.population, below(9)]]], colors.ink, 1.2);
    dot([seen.population, below(9)], colors[seen.state]);
  }

  const settingInWords = ({ data: name, distance, loss, activation, hidden, learning_rate: rate }) =>
    `${word(name)} at distance ${distance}, ${word(loss)}, ${word(activation)}, hidden units: ${hidden}, rate ${rate}`;

  function placeInWords(config, { population }) {
    const tracked = data.tracked[keyOf(config)], sum = (bars) => bars.reduce((total, [, , n]) => total + n, 0);
    if (!tracked) return "The study does not track this setting: only your own networks are shown.";
    const bin = Math.floor((population || 0.5) * data.bins), share = (bars) => Math.round((100 * sum(bars)) / sum(tracked));
    const learned = share(tracked.filter(([state]) => data.states[state] === "learned"));
    const below = share(tracked.flatMap(([s, b, n]) => (b > bin ? [] : [[s, b, b < bin ? n : n / 2]])));
    return `Of ${count(sum(tracked))} tracked networks of this setting, ${learned}% learned. `
      + `Yours is more accurate than about ${below}% of them.`;
  }

  // The panel: settings, networks, results so far

  const SPEEDS = [1, 2, 5, 10, 20, 50, 100, 500]; // epochs a frame
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const now = { configs: [], seed: 0, networks: [], view: null, best: [], playing: false, frame: 0, batch: 0 };
  const results = new Map(); // of finished networks, by setting, then by seed
  const resultsOf = (config) => results.get(keyOf(config)) ?? results.set(keyOf(config), new Map()).get(keyOf(config));
  const speed = () => SPEEDS[find("speed").valueAsNumber];
  const finished = () => now.networks.every(({ epoch, config }) => epoch === config.epochs);
  const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const elements = [...panel.querySelectorAll(".network")];

  function keep(network, { state, population }) {
    if (network.epoch === network.config.epochs) resultsOf(network.config).set(network.seed, { state, population });
  }

  function tally(config) { // the seeds so far, by how they ended
    const ends = [...resultsOf(config).values()].map(({ state }) => state);
    const counts = data.states.map((state) => [ends.filter((end) => end === state).length, state]);
    return counts.filter(([n]) => n).map((pair) => pair.join(" ")).join(", ") || "none";
  }

  function showSeeds() {
    find("seeds").querySelectorAll("label").forEach((label, i) => {
      const seed = data.seeds[i], ends = now.configs.map((config) => resultsOf(config).get(seed)?.state ?? "");
      label.querySelectorAll("i").forEach((bar, k) => { bar.dataset.state = ends[k]; });
      const words = ends.map((state, k) => state && `, network ${k + 1} ${state}`).join("");
      label.control.setAttribute("aria-label", `Seed ${seed}${words}`);
      label.control.checked = seed === now.seed;
    });
    const tallies = now.configs.map((config, k) => `network ${k + 1}: ${tally(config)}`);
    put(find("tally"), `Seeds so far: ${tallies.join("; ")}.`);
  }

  function show() {
    now.networks.forEach((network, k) => {
      const { config, epoch } = network, part = (selector) => elements[k].querySelector(selector);
      const seen = judge(network, now.view), { state, loss, accuracy, population } = seen;
      keep(network, seen);
      drawPlane(part(".plane"), network, seen, now.view, now.best);
      drawCurve(part(".curve"), network, seen);
      drawPlace(part(".place"), network, seen, [...resultsOf(config).values()]);
      const texts = { state, loss: number(loss), accuracy: percent(accuracy), population: percent(population) };
      for (const [name, text] of Object.entries(texts)) put(part(`[data-number="${name}"]`), text);
      part(".numbers i").dataset.state = state;
      put(part(".place-text"), placeInWords(config, seen));
      put(part(".setting"), `${settingInWords(config)}, seed ${network.seed}, ${count(epoch)} epochs`); // on paper
      Object.assign(elements[k].dataset, { seed: network.seed, epoch, state, loss, accuracy, population });
    });
    const { epoch, config } = now.networks[0];
    put(find("clock"), `epoch ${count(epoch)} of ${count(config.epochs)}`);
    showSeeds();
  }

  function announce() { // where it comes to rest, not on the way
    const words = elements.map((element, k) => {
      const { state, loss } = element.dataset, place = element.querySelector(".place-text").textContent;
      return `Network ${k + 1}: ${state}, loss ${number(Number(loss))}. ${place}`;
    });
    put(find("status"), `Seed ${now.seed}, ${find("clock").textContent}. ${words.join(" ")}`);
  }

  function advance(updates) {
    for (const network of now.networks) train(network, updates);
    show();
  }

  function restart() {
    now.batch += 1;
    now.networks = now.configs.map((config) => makeNetwork(config, now.seed));
    now.view = viewOf(now.configs[0]);
    now.best = bayesBoundary(now.configs[0], now.view);
  }

  function play(on) {
    window.cancelAnimationFrame(now.frame);
    if (on && finished()) restart();
    if (on && calm.matches) advance(Infinity);
    now.playing = on && !finished();
    panel.classList.toggle("playing", now.playing);
    put(find("run"), now.playing ? "Pause" : "Run");
    if (now.playing) now.frame = window.requestAnimationFrame(onFrame);
    else announce();
  }

  function onFrame() {
    advance(speed());
    play(!finished());
  }

  function change() { // a new setting starts over; what has run, runs again
    const again = now.playing || now.networks.some(({ epoch }) => epoch > 0);
    restart();
    panel.querySelectorAll("[data-field]").forEach((select) => {
      const config = now.configs[Math.max(0, elements.findIndex((element) => element.contains(select)))];
      select.selectedIndex = offered[select.dataset.field].indexOf(config[select.dataset.field]);
    });
    panel.querySelectorAll("[data-preset]").forEach((button, i) => {
      const same = data.presets[i].networks.every((config, k) => keyOf(config) === keyOf(now.configs[k]));
      button.setAttribute("aria-pressed", String(same));
    });
    show();
    if (again) play(true);
  }

  function choose({ seed, networks }) {
    Object.assign(now, { seed, configs: networks.map((config) => ({ ...config })) });
    change();
  }

  async function trainAll() {
    const batch = ++now.batch;
    for (const seed of data.seeds) {
      for (const config of now.configs.filter((other) => !resultsOf(other).has(seed))) {
        const network = makeNetwork(config, seed);
        train(network, Infinity);
        keep(network, judge(network, now.view));
      }
      showSeeds();
      await new Promise(window.requestAnimationFrame);
      if (batch !== now.batch) return; // another setting was chosen
    }
    show();
    put(find("status"), find("tally").textContent);
  }

  function listen() {
    panel.querySelectorAll("[data-field]").forEach((select) => {
      const { field } = select.dataset, own = elements.findIndex((element) => element.contains(select));
      select.append(...offered[field].map((value) => new Option(word(value), value)));
      select.addEventListener("change", () => {
        const configs = own < 0 ? now.configs : [now.configs[own]];
        for (const config of configs) config[field] = offered[field][select.selectedIndex];
        change();
      });
    });
    find("seeds").querySelectorAll("input").forEach((input, i) => {
      input.addEventListener("change", () => { now.seed = data.seeds[i]; change(); });
    });
    const onSpeed = () => {
      put(find("step"), `Step ${speed()}`);
      find("speed").setAttribute("aria-valuetext", `epochs per frame: ${speed()}`);
    };
    onSpeed();
    find("speed").addEventListener("input", onSpeed);
    panel.querySelectorAll("[data-preset]").forEach((button, i) => {
      button.addEventListener("click", () => choose(data.presets[i]));
    });
    find("run").addEventListener("click", () => play(!now.playing));
    find("step").addEventListener("click", () => { advance(speed()); play(false); });
    find("reset").addEventListener("click", () => { restart(); show(); play(false); });
    find("all").addEventListener("click", trainAll);
  }

  listen();
  panel.hidden = false; // pictures need their room
  readColors();
  choose(data.presets[0]);
  advance(Infinity);
  find("static").hidden = true;
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    window.matchMedia(query).addEventListener("change", () => { readColors(); show(); });
  }
  new ResizeObserver(show).observe(find("stage"));
})();
