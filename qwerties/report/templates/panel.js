/* "Train it yourself": two networks that learn in the page, full batch, in float64, on the study's random numbers. */
(() => {
  "use strict";

  const data = JSON.parse(document.getElementById("panel-data").textContent);
  const find = (name) => document.getElementById(`panel-${name}`), panel = document.getElementById("panel");
  const word = (value) => data.words[value] ?? String(value);
  const count = (value) => value.toLocaleString("en");
  const percents = (share) => (Number.isFinite(share) ? `${(100 * share).toFixed(1)}%` : "–");
  const threeDigits = (value) => (Number.isFinite(value) ? Number(value.toPrecision(3)).toString() : "not finite");

  // Training. An entry of networks.py that has no entry here is not offered.

  const sigmoid = (u) => 1 / (1 + Math.exp(-u));
  const ACTIVATIONS = { // of u; and the slope, from the value a = of(u)
    relu: { of: (u) => (u > 0 ? u : 0), slope: (a) => (a > 0 ? 1 : 0) },
    linear: { of: (u) => u, slope: () => 1 },
    tanh: { of: Math.tanh, slope: (a) => 1 - a * a },
    sigmoid: { of: sigmoid, slope: (a) => a * (1 - a) },
  };
  const LOSSES = { // of a point, and the slope by the logit, from the probability p and the label y; limits as in PyTorch
    bce: {
      of: (p, y) => -Math.max(Math.log(y ? p : 1 - p), -100),
      slope: (p, y) => (p - y) * Math.min(p * (1 - p) * 1e12, 1),
    },
    mse: { of: (p, y) => (p - y) ** 2, slope: (p, y) => 2 * (p - y) * p * (1 - p) },
  };
  const offered = {
    ...data.offered,
    activation: data.offered.activation.filter((name) => Object.hasOwn(ACTIVATIONS, name)),
    loss: data.offered.loss.filter((name) => Object.hasOwn(LOSSES, name)),
  };

  const floats = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const noise = floats(data.noise), points = noise.length / data.seeds.length / 2;
  const starts = Object.fromEntries(Object.entries(data.weights).map(([width, text]) => [width, floats(text)]));
  const rowOf = (values, i) => values.subarray((i * values.length) / data.seeds.length, ((i + 1) * values.length) / data.seeds.length);

  function centresOf({ data: name, distance }) { // of each class's clusters, in float32 as training has them
    return data.centres[name].map((own) => own.map((at) => at.map((v, i) => Math.fround(data.origin[i] + distance * v))));
  }

  function drawPoints(config, i) { // (2, points): the points of a class are split evenly over its clusters
    const x = Float64Array.from(rowOf(noise, i)), samples = points / 2;
    centresOf(config).forEach((own, label) => {
      for (let p = 0; p < samples; p++) {
        const [cx, cy] = own[Math.floor((p * own.length) / samples)], at = label * samples + p;
        x[at] = Math.fround(x[at] + cx);
        x[points + at] = Math.fround(x[points + at] + cy);
      }
    });
    return x;
  }

  function makeNetwork(config, i) { // weights in the order of nn.Sequential: w (h, 2), b (h), v (h), c
    const weights = Float64Array.from(rowOf(starts[config.hidden], i));
    return { config, weights, x: drawPoints(config, i), epoch: 0, losses: new Float64Array(config.epochs) };
  }

  function train(network, updates) {
    const { config, weights: w, x, losses } = network, h = config.hidden, rate = config.learning_rate / points;
    const act = ACTIVATIONS[config.activation], loss = LOSSES[config.loss];
    const a = new Float64Array(h), g = new Float64Array(w.length), last = Math.min(network.epoch + updates, config.epochs);
    for (; network.epoch < last; network.epoch++) {
      let total = 0;
      g.fill(0);
      for (let i = 0; i < points; i++) {
        const x0 = x[i], x1 = x[points + i], y = i < points / 2 ? 0 : 1;
        let z = w[4 * h];
        for (let j = 0; j < h; j++) {
          a[j] = act.of(w[2 * j] * x0 + w[2 * j + 1] * x1 + w[2 * h + j]);
          z += w[3 * h + j] * a[j];
        }
        const p = sigmoid(z), error = loss.slope(p, y);
        total += loss.of(p, y);
        g[4 * h] += error;
        for (let j = 0; j < h; j++) {
          const back = error * w[3 * h + j] * act.slope(a[j]);
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
    const h = config.hidden, { of } = ACTIVATIONS[config.activation];
    let z = w[4 * h];
    for (let j = 0; j < h; j++) z += w[3 * h + j] * of(w[2 * j] * x0 + w[2 * j + 1] * x1 + w[2 * h + j]);
    return z;
  }

  // The plane, as a grid of cells: logits at their middles, row by row from the bottom

  const ACROSS = 120, UP = 80, MARGIN = 3.6; // the margin around the centres is in standard deviations
  function viewOf(config) {
    const all = centresOf(config).flat(), [xs, ys] = [0, 1].map((i) => all.map((at) => at[i]));
    const [low, high] = [Math.min, Math.max].map((end) => [end(...xs), end(...ys)]);
    const cell = Math.max((high[0] - low[0] + 2 * MARGIN) / ACROSS, (high[1] - low[1] + 2 * MARGIN) / UP);
    const [left, bottom] = [(low[0] + high[0] - cell * ACROSS) / 2, (low[1] + high[1] - cell * UP) / 2];
    return { cell, left, bottom, x: (i) => left + (i + 0.5) * cell, y: (j) => bottom + (j + 0.5) * cell };
  }

  function gridOf(view, value) {
    const grid = new Float64Array(ACROSS * UP);
    for (let j = 0, k = 0; j < UP; j++) for (let i = 0; i < ACROSS; i++, k++) grid[k] = value(view.x(i), view.y(j));
    return grid;
  }

  function bayesOdds(config) { // log-odds of class 1 of the data itself, whose sign is the best possible classifier
    const [first, second] = centresOf(config), density = (own, x, y) => own.reduce(
      (sum, [cx, cy]) => sum + Math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 2), 0) / own.length;
    return (x, y) => Math.log(density(second, x, y) / density(first, x, y));
  }

  function normalCdf(t) { // Abramowitz and Stegun 26.2.17, error below 1e-7
    const s = 1 / (1 + 0.2316419 * Math.abs(t));
    const tail = 0.3989422804 * Math.exp((-t * t) / 2) * s * (0.31938153
      + s * (-0.356563782 + s * (1.781477937 + s * (-1.821255978 + s * 1.330274429))));
    return t > 0 ? 1 - tail : tail;
  }

  /* Accuracy on the true distribution: each row between its sign changes in closed form, rows by the trapezoidal rule. */
  function populationAccuracy(grid, view, config) {
    const right = centresOf(config).map((own, label) => own.reduce((sum, [cx, cy]) => {
      let mass = 0, positive = 0;
      for (let j = 0; j < UP; j++) {
        const row = j * ACROSS, weight = Math.exp(-((view.y(j) - cy) ** 2) / 2);
        let share = grid[row + ACROSS - 1] > 0 ? 1 : 0;
        for (let i = 1; i < ACROSS; i++) {
          const [a, b] = [grid[row + i - 1], grid[row + i]];
          if (a > 0 !== b > 0) share += (a > 0 ? 1 : -1) * normalCdf(view.x(i - 1 + a / (a - b)) - cx);
        }
        mass += weight;
        positive += weight * share;
      }
      return sum + (label ? positive / mass : 1 - positive / mass) / own.length;
    }, 0));
    return (right[0] + right[1]) / 2;
  }

  function judge(network, view) { // how a network stands; states by the rule of scoring
    const { config, weights: w, x } = network, h = config.hidden, loss = LOSSES[config.loss], wrong = [];
    const grid = gridOf(view, (x0, x1) => logit(network, x0, x1));
    let total = 0, positive = 0, active = false;
    for (let i = 0; i < points; i++) {
      const y = i < points / 2 ? 0 : 1, z = logit(network, x[i], x[points + i]);
      total += loss.of(sigmoid(z), y) / points;
      positive += z > 0 ? 1 : 0;
      if (z > 0 !== y > 0) wrong.push(i);
      for (let j = 0; j < h && !active; j++) active = w[2 * j] * x[i] + w[2 * j + 1] * x[points + i] + w[2 * h + j] > 0;
    }
    const best = data.limits[`${config.data} ${config.distance}`].accuracy, finite = Number.isFinite(total);
    const population = finite ? populationAccuracy(grid, view, config) : NaN;
    const state = !finite ? "diverged" : config.activation === "relu" && !active ? "dead"
      : positive % points === 0 ? "constant" : population - 0.5 >= data.learned * (best - 0.5) ? "learned" : "slow";
    return { grid, wrong, state, loss: total, accuracy: finite ? 1 - wrong.length / points : NaN, population };
  }

  // Pictures

  let colors = {};
  function readColors() {
    const style = getComputedStyle(panel), names = ["a", "b", "tint-a", "tint-b", "card", "ink", "muted", "line", ...data.states];
    colors = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    const [a, b, card] = ["tint-a", "tint-b", "card"].map((name) => colors[name].match(/\w\w/g).map((part) => parseInt(part, 16)));
    colors.shades = Uint32Array.from({ length: 256 }, (_, i) => { // of the probability, as bytes r, g, b, 255
      const t = Math.abs(i / 127.5 - 1), end = i < 128 ? a : b;
      return end.reduceRight((bytes, v, k) => bytes * 256 + Math.round(card[k] + (v - card[k]) * t), 255);
    });
  }

  function surface(canvas) { // a context in pixels of the page, cleared
    const ratio = window.devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = canvas;
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    const ink = canvas.getContext("2d");
    ink.scale(ratio, ratio);
    ink.font = "12px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif";
    ink.textBaseline = "middle";
    return { ink, width, height };
  }

  function stroke(ink, lines, color, width = 1, dash = []) { // lines of [x, y] pairs
    ink.beginPath();
    for (const line of lines) line.forEach(([x, y], i) => (i ? ink.lineTo(x, y) : ink.moveTo(x, y)));
    ink.strokeStyle = color;
    ink.lineWidth = width;
    ink.setLineDash(dash);
    ink.stroke();
    ink.setLineDash([]);
  }

  function dot(ink, x, y, radius, color) {
    ink.beginPath();
    ink.arc(x, y, radius, 0, 2 * Math.PI);
    ink.fillStyle = color;
    ink.strokeStyle = colors.ink;
    ink.lineWidth = 1.2;
    ink.fill();
    ink.stroke();
  }

  function write(ink, text, x, y, align = "left", color = colors.muted) {
    ink.textAlign = align;
    ink.strokeStyle = colors.card;
    ink.lineWidth = 3;
    ink.strokeText(text, x, y);
    ink.fillStyle = color;
    ink.fillText(text, x, y);
  }

  function contour(grid) { // where the grid changes its sign, as lines between cells, in cells
    const lines = [], at = (i, j) => grid[j * ACROSS + i];
    for (let j = 0; j + 1 < UP; j++) {
      for (let i = 0; i + 1 < ACROSS; i++) {
        const sum = (at(i, j) > 0) + (at(i + 1, j) > 0) + (at(i, j + 1) > 0) + (at(i + 1, j + 1) > 0);
        if (sum % 4 === 0) continue;
        const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]], ends = [];
        corners.forEach(([ax, ay], k) => {
          const [bx, by] = corners[(k + 1) % 4], [a, b] = [at(ax, ay), at(bx, by)];
          if (a > 0 !== b > 0) ends.push([ax + ((bx - ax) * a) / (a - b) + 0.5, ay + ((by - ay) * a) / (a - b) + 0.5]);
        });
        for (let k = 0; k < ends.length; k += 2) lines.push([ends[k], ends[k + 1]]);
      }
    }
    return lines;
  }

  const shading = Object.assign(document.createElement("canvas"), { width: ACROSS, height: UP });
  function drawPlane(canvas, network, seen, view, best) {
    const { ink, width, height } = surface(canvas), scale = width / ACROSS;
    const screen = (line) => line.map(([i, j]) => [i * scale, height - j * scale]);
    const px = (x) => ((x - view.left) / view.cell) * scale, py = (y) => height - ((y - view.bottom) / view.cell) * scale;
    const image = new ImageData(ACROSS, UP), pixels = new Uint32Array(image.data.buffer);
    for (let j = 0; j < UP; j++) {
      for (let i = 0; i < ACROSS; i++) pixels[(UP - 1 - j) * ACROSS + i] = colors.shades[Math.round(255 * sigmoid(seen.grid[j * ACROSS + i])) || 0];
    }
    shading.getContext("2d").putImageData(image, 0, 0);
    ink.drawImage(shading, 0, 0, width, height);
    stroke(ink, best.filter((_, k) => k % 5 < 3).map(screen), colors.muted, 1.4); // cell by cell: dashes
    const { x } = network, size = width < 420 ? 3.6 : 5;
    ink.fillStyle = colors.card;
    ink.lineWidth = 1.2;
    for (let i = 0; i < points; i++) {
      const box = [px(x[i]) - size / 2, py(x[points + i]) - size / 2, size, size];
      ink.strokeStyle = i < points / 2 ? colors.a : colors.b;
      ink.fillRect(...box);
      ink.strokeRect(...box);
    }
    const arm = 0.8 * size, crosses = seen.wrong.flatMap((i) => [-arm, arm].map((way) => [
      [px(x[i]) - arm, py(x[points + i]) - way], [px(x[i]) + arm, py(x[points + i]) + way]]));
    ink.globalAlpha = seen.wrong.length < points / 4 ? 1 : 0.5; // of a class that is wrong as a whole
    stroke(ink, crosses, colors.ink, 1.3);
    ink.globalAlpha = 1;
    const lines = contour(seen.grid);
    stroke(ink, lines.map(screen), colors.ink, 2.2);
    if (!lines.length) write(ink, "no boundary in view", width - 8, 14, "right", colors.ink);
  }

  function drawCurve(canvas, network, seen) {
    const { ink, width, height } = surface(canvas), { config, epoch, losses } = network, plateau = data.plateau[config.loss];
    const [left, top, right, bottom] = [34, 22, width - 8, height - 20], high = 1.5 * plateau;
    const px = (at) => left + ((right - left) * at) / config.epochs;
    const py = (value) => bottom - (bottom - top) * Math.min(value / high, 1.02);
    write(ink, `${word(config.loss)} loss by epoch`, 0, 8, "left", colors.ink);
    for (const tick of config.loss === "mse" ? [0, 0.1, 0.2, 0.3] : [0, 0.5, 1]) {
      stroke(ink, [[[left, py(tick)], [right, py(tick)]]], colors.line);
      write(ink, String(tick), left - 6, py(tick), "right");
    }
    for (const [share, align] of [[0, "left"], [0.5, "center"], [1, "right"]]) {
      write(ink, count(share * config.epochs), px(share * config.epochs), height - 8, align);
    }
    const floor = data.limits[`${config.data} ${config.distance}`][config.loss];
    for (const [level, name] of [[plateau, "a coin toss"], [floor, "the best possible"]]) {
      stroke(ink, [[[left, py(level)], [right, py(level)]]], colors.muted, 1.1, [5, 4]);
      write(ink, name, right, py(level) - 8, "right");
    }
    const each = Math.max(1, Math.floor(epoch / (2 * width))), line = [];
    for (let k = 0; k < epoch; k += each) if (Number.isFinite(losses[k])) line.push([px(k), py(losses[k])]);
    if (!Number.isFinite(seen.loss)) return;
    line.push([px(epoch), py(seen.loss)]);
    stroke(ink, [line], colors.ink, 2);
    dot(ink, ...line.at(-1), 4.5, colors[seen.state]);
  }

  /* The tracked networks of the same setting by accuracy, coloured by state; below them the reader's own. */
  function drawPlace(canvas, network, seen, own) {
    const { ink, width, height } = surface(canvas), { config } = network, tracked = data.tracked[keyOf(config)] ?? [];
    const heights = new Float64Array(data.bins);
    for (const [, bin, n] of tracked) heights[bin] += n;
    const accuracies = own.map((result) => result.population).filter(Number.isFinite);
    const lowest = Math.min(0.4, ...tracked.map(([, bin]) => bin / data.bins), ...accuracies, seen.population || 1);
    const low = Math.floor(10 * lowest) / 10, [left, right, top, bottom] = [4, width - 4, 22, height - 34];
    const px = (value) => left + ((right - left) * (value - low)) / (1 - low), bar = px(1) - px(1 - 1 / data.bins);
    const most = Math.max(1, ...heights);
    write(ink, "Population accuracy", 0, 8, "left", colors.ink);
    const stack = new Float64Array(data.bins).fill(bottom);
    for (const [state, bin, n] of tracked) {
      const tall = Math.max(((bottom - top) * n) / most, 1);
      ink.fillStyle = colors[data.states[state]];
      ink.fillRect(px(bin / data.bins), (stack[bin] -= tall), Math.max(bar - 0.5, 1), tall);
    }
    stroke(ink, [[[left, bottom + 0.5], [right, bottom + 0.5]]], colors.muted);
    const best = data.limits[`${config.data} ${config.distance}`].accuracy;
    stroke(ink, [[[px(best), top - 4], [px(best), bottom]]], colors.muted, 1.1, [5, 4]);
    write(ink, `best possible ${percents(best)}`, Math.min(px(best), right), 8, "right");
    for (let tick = Math.ceil(low * 5 - 1e-9) / 5; tick < 1.01; tick += 0.2) {
      write(ink, `${Math.round(100 * tick)}%`, px(tick), height - 8, tick > 0.99 ? "right" : tick < low + 0.01 ? "left" : "center");
    }
    stroke(ink, accuracies.map((value) => [[px(value), bottom + 3], [px(value), bottom + 13]]), colors.muted, 1.2);
    if (!Number.isFinite(seen.population)) return;
    const x = px(seen.population);
    stroke(ink, [[[x, top], [x, bottom + 8]]], colors.ink, 1.2);
    dot(ink, x, bottom + 8, 5.5, colors[seen.state]);
  }

  // The panel: settings, networks, results so far

  const SPEEDS = [1, 2, 5, 10, 20, 50, 100, 500]; // epochs a frame
  const FIELDS = Object.keys(offered), calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const keyOf = (config) => FIELDS.map((name) => config[name]).join(" ");
  const now = { configs: [], seed: 0, networks: [], seen: [], view: null, best: [], playing: false, batch: 0 };
  const results = new Map(); // of finished networks, by setting and seed
  const resultsOf = (config) => results.get(keyOf(config)) ?? results.set(keyOf(config), new Map()).get(keyOf(config));
  const speed = () => SPEEDS[find("speed").valueAsNumber];
  const finished = () => now.networks.every((network) => network.epoch === network.config.epochs);
  const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const parts = [...panel.querySelectorAll(".network")].map((element) => ({
    element, part: (selector) => element.querySelector(selector), number: (name) => element.querySelector(`[data-number="${name}"]`),
  }));

  function placeInWords(config, { population }) {
    const tracked = data.tracked[keyOf(config)];
    if (!tracked) return "The study does not track this setting: only your own networks are shown.";
    const sum = (bars) => bars.reduce((total, [, , n]) => total + n, 0), all = sum(tracked), bin = Math.floor(population * data.bins);
    const learned = sum(tracked.filter(([state]) => data.states[state] === "learned"));
    const below = sum(tracked.filter((bar) => bar[1] < bin)) + sum(tracked.filter((bar) => bar[1] === bin)) / 2;
    return `Of ${count(all)} tracked networks of this setting ${Math.round((100 * learned) / all)}% learned. `
      + `Yours is more accurate than about ${Math.round((100 * below) / all)}% of them.`;
  }

  function tally(config) { // the seeds tried so far, by how they ended
    const ended = [...resultsOf(config).values()].map(({ state }) => state);
    return data.states.map((state) => [ended.filter((other) => other === state).length, state])
      .filter(([n]) => n).map(([n, state]) => `${n} ${state}`).join(", ") || "none yet";
  }

  function drawSeeds() {
    document.querySelectorAll("#panel-seeds label").forEach((label, i) => {
      const ends = now.configs.map((config) => resultsOf(config).get(i)?.state ?? "");
      label.querySelectorAll("i").forEach((bar, k) => { bar.dataset.state = ends[k]; });
      const words = ends.map((state, k) => state && `, network ${k + 1} ${state}`).join("");
      label.firstChild.setAttribute("aria-label", `Seed ${data.seeds[i]}${words}`);
      label.firstChild.checked = i === now.seed;
    });
    put(find("tally"), `Tried so far: ${now.configs.map((config, k) => `network ${k + 1}: ${tally(config)}`).join("; ")}.`);
  }

  function draw() {
    now.networks.forEach((network, k) => {
      const { element, part, number } = parts[k], seen = now.seen[k] = judge(network, now.view);
      if (network.epoch === network.config.epochs) resultsOf(network.config).set(now.seed, { ...seen, grid: null });
      drawPlane(part(".plane"), network, seen, now.view, now.best);
      drawCurve(part(".curve"), network, seen);
      drawPlace(part(".place"), network, seen, [...resultsOf(network.config).values()]);
      for (const name of ["accuracy", "population"]) put(number(name), percents(seen[name]));
      put(number("loss"), threeDigits(seen.loss));
      put(number("state"), seen.state);
      part("dd i").dataset.state = seen.state;
      put(part(".place-text"), placeInWords(network.config, seen));
      Object.assign(element.dataset, { seed: data.seeds[now.seed], epoch: network.epoch, key: keyOf(network.config) });
      for (const name of ["loss", "state", "accuracy", "population"]) element.dataset[name] = seen[name];
    });
    const { epoch, config } = now.networks[0];
    put(find("clock"), `epoch ${count(epoch)} of ${count(config.epochs)}`);
    drawSeeds();
  }

  function describe(aloud) { // in words, for those who do not see it: at rest, not on the way
    const words = now.seen.map((seen, k) => {
      const { loss, activation, hidden, learning_rate: rate } = now.configs[k];
      return `Network ${k + 1} (${word(loss)}, ${word(activation)}, hidden units ${hidden}, rate ${rate}): ${seen.state}, loss `
        + `${threeDigits(seen.loss)}, training accuracy ${percents(seen.accuracy)}, population accuracy ${percents(seen.population)}.`;
    });
    const when = `Seed ${data.seeds[now.seed]}, ${find("clock").textContent}.`;
    parts.forEach(({ part }, k) => {
      part(".plane").setAttribute("aria-label", `Points and decision boundary. ${when} ${words[k]}`);
      part(".curve").setAttribute("aria-label", `Loss curve, now at ${threeDigits(now.seen[k].loss)}.`);
      part(".place").setAttribute("aria-label", `Distribution of population accuracy. ${part(".place-text").textContent}`);
    });
    if (aloud) put(find("status"), `${when} ${words.join(" ")}`);
  }

  function advance(updates) {
    for (const network of now.networks) train(network, updates);
    draw();
  }

  function restart() {
    now.batch += 1;
    now.networks = now.configs.map((config) => makeNetwork(config, now.seed));
    now.view = viewOf(now.configs[0]);
    now.best = contour(gridOf(now.view, bayesOdds(now.configs[0])));
  }

  function play(on) {
    if (on && finished()) restart();
    if (on && calm.matches) advance(Infinity);
    now.playing = on && !finished();
    panel.classList.toggle("playing", now.playing);
    put(find("run"), now.playing ? "Pause" : "Run");
    if (now.playing) window.requestAnimationFrame(frame);
    else describe(true);
  }

  function frame() {
    if (!now.playing) return;
    advance(speed());
    if (finished()) play(false);
    else window.requestAnimationFrame(frame);
  }

  function change() { // new settings start over; what has run, runs again
    const again = now.networks.some((network) => network.epoch > 0);
    now.playing = false;
    restart();
    panel.querySelectorAll("[data-field]").forEach((select) => {
      const k = parts.findIndex(({ element }) => element.contains(select)), field = select.dataset.field;
      select.selectedIndex = offered[field].indexOf(now.configs[Math.max(k, 0)][field]);
    });
    data.presets.forEach(({ networks }, i) => {
      const same = networks.every((config, k) => keyOf(config) === keyOf(now.configs[k]));
      panel.querySelector(`[data-preset="${i}"]`).setAttribute("aria-pressed", String(same));
    });
    if (!again) draw();
    play(again);
  }

  async function trainAll() {
    const batch = ++now.batch;
    for (let i = 0; i < data.seeds.length; i++) {
      for (const config of now.configs.filter((other) => !resultsOf(other).has(i))) {
        const network = makeNetwork(config, i);
        train(network, config.epochs);
        resultsOf(config).set(i, { ...judge(network, now.view), grid: null });
      }
      drawSeeds();
      await new Promise(window.requestAnimationFrame);
      if (batch !== now.batch) return; // the settings have changed
    }
    draw();
    put(find("status"), find("tally").textContent);
  }

  function choose(i) {
    const { seed, networks } = data.presets[i];
    [now.configs, now.seed] = [networks.map((config) => ({ ...config })), data.seeds.indexOf(seed)];
    change();
  }

  function listen() {
    panel.querySelectorAll("[data-field]").forEach((select) => {
      const field = select.dataset.field, own = parts.findIndex(({ element }) => element.contains(select));
      select.append(...offered[field].map((value) => new Option(word(value), value)));
      select.addEventListener("change", () => {
        now.configs.forEach((config, k) => { if (own < 0 || own === k) config[field] = offered[field][select.selectedIndex]; });
        change();
      });
    });
    data.seeds.forEach((seed, i) => {
      const [label, input, tile] = ["label", "input", "span"].map((name) => document.createElement(name));
      Object.assign(input, { type: "radio", name: "panel-seed", autocomplete: "off" });
      input.addEventListener("change", () => { now.seed = i; change(); });
      tile.append(...["b", "i", "i"].map((name) => document.createElement(name)));
      tile.firstChild.textContent = seed;
      label.append(input, tile);
      find("seeds").append(label);
    });
    panel.querySelectorAll("[data-preset]").forEach((button, i) => button.addEventListener("click", () => choose(i)));
    const onSpeed = () => {
      put(find("step"), `Step ${speed()}`);
      find("speed").setAttribute("aria-valuetext", `${speed()} epochs a frame`);
    };
    find("speed").addEventListener("input", onSpeed);
    onSpeed();
    find("run").addEventListener("click", () => play(!now.playing));
    find("step").addEventListener("click", () => { play(false); advance(speed()); describe(true); });
    find("reset").addEventListener("click", () => { restart(); draw(); play(false); });
    find("all").addEventListener("click", trainAll);
  }

  try {
    listen();
    panel.hidden = false; // pictures need their room
    readColors();
    choose(0);
    advance(Infinity);
    describe(false);
    find("static").hidden = true;
  } catch (error) {
    panel.hidden = true;
    throw error;
  }
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    window.matchMedia(query).addEventListener("change", () => { readColors(); draw(); });
  }
  new ResizeObserver(draw).observe(find("stage"));
})();
