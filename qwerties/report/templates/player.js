// The epoch player: what two networks answer, worked out from their stored weights, at one checkpoint or on the way
// to the next. Nothing is left in the global scope; what is drawn can be read from the data-* attributes of a panel.
(() => {
  "use strict";

  const find = (id) => document.getElementById(id);
  const figure = find("player-figure");
  if (!figure) return;
  const data = JSON.parse(find("player-data").textContent);
  const [player, stage, button, slider, clock, seedPick, said] = [
    "player", "player-stage", "player-play", "player-epoch", "player-clock", "player-seed", "player-said",
  ].map(find);
  const { checkpoints, colors, extent } = data;
  const last = checkpoints.length - 1;
  const STEP = 190; // milliseconds from one checkpoint to the next
  const SLOW_STEP = 600; // the same where motion is not wanted: it jumps from one to the next
  const BINS = 4096; // of the shading
  const NARROW = 360; // pixels

  // What the page was given

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  function floats(text) {
    const view = new DataView(bytes(text).buffer);
    return Float64Array.from({ length: view.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true));
  }
  const seeds = data.seeds.map(({ seed, points }) => ({ seed, points: floats(points) }));
  for (const network of data.networks) {
    network.runs = network.runs.map(({ weights, losses, states }) => ({
      weights: floats(weights), losses: floats(losses), states,
    }));
  }
  const shades = new Uint32Array(256); // of the probability, as the bytes of a pixel
  const shadeBytes = new Uint8Array(shades.buffer);
  bytes(data.shades).forEach((value, i) => { shadeBytes[4 * Math.floor(i / 3) + (i % 3)] = value; });
  for (let i = 3; i < 1024; i += 4) shadeBytes[i] = 255;

  // What a network answers: the logit is v act(w·x + b) + c, by weights [w0, w1, b, v, c]

  const act = {
    relu: (u) => Math.max(u, 0),
    linear: (u) => u,
    tanh: Math.tanh,
    sigmoid: (u) => 1 / (1 + Math.exp(-u)),
  };
  const inverse = { // where the activation takes a value; NaN where it never does
    relu: (a) => (a >= 0 ? a : NaN),
    linear: (a) => a,
    tanh: (a) => (Math.abs(a) < 1 ? Math.atanh(a) : NaN),
    sigmoid: (a) => (a > 0 && a < 1 ? Math.log(a / (1 - a)) : NaN),
  };

  function weightsAt(run, at) {
    const k = Math.min(Math.floor(at), last), part = at - k;
    return Array.from({ length: 5 }, (_, i) => {
      const here = run.weights[5 * k + i];
      return part > 0 ? here + part * (run.weights[5 * k + 5 + i] - here) : here;
    });
  }

  // The line where the probability is one half, as [a, b, c] with a x0 + b x1 + c = 0 and a² + b² = 1.
  function boundaryOf(activation, [w0, w1, b, v, c]) {
    const length = Math.hypot(w0, w1);
    const offset = b - inverse[activation](-c / v);
    // at c = 0, a ReLU of negative v answers one half and below: it has no other side
    if (!(length > 0) || v === 0 || !Number.isFinite(offset) || (activation === "relu" && c === 0 && v < 0)) return null;
    return [w0 / length, w1 / length, offset / length];
  }

  function judge({ loss, activation }, points, [w0, w1, b, v, c]) {
    const n = points.length / 2, wrong = [];
    let total = 0;
    for (let i = 0; i < n; i++) {
      const z = v * act[activation](w0 * points[i] + w1 * points[n + i] + b) + c;
      const isB = i >= n / 2, toward = isB ? z : -z;
      if (z > 0 !== isB) wrong.push(i);
      const error = 1 / (1 + Math.exp(toward)); // distance of the probability from the label
      const nats = toward > 0 ? Math.log1p(Math.exp(-toward)) : Math.log1p(Math.exp(toward)) - toward;
      total += loss === "mse" ? error * error : Math.min(nats, 100);
    }
    return { loss: total / n, accuracy: 1 - wrong.length / n, wrong };
  }

  // Pictures

  function canvasOf(element, height) {
    const ratio = Math.min(Math.max(window.devicePixelRatio || 1, 1), 3);
    const width = element.clientWidth;
    if (element.clientHeight !== height) element.style.height = `${height}px`;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (element.width !== w || element.height !== h) Object.assign(element, { width: w, height: h });
    const ink = element.getContext("2d");
    ink.setTransform(ratio, 0, 0, ratio, 0, 0);
    ink.fillStyle = colors.card;
    ink.fillRect(0, 0, width, height);
    ink.font = '11px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif';
    ink.lineJoin = "round";
    ink.lineWidth = 1;
    return { ink, ratio, width };
  }

  function write(ink, text, x, y, { align = "left", baseline = "middle", color = colors.muted, halo = false } = {}) {
    ink.textAlign = align;
    ink.textBaseline = baseline;
    if (halo) {
      ink.save();
      ink.strokeStyle = colors.card;
      ink.lineWidth = 4;
      ink.strokeText(text, x, y);
      ink.restore();
    }
    ink.fillStyle = color;
    ink.fillText(text, x, y);
  }

  function stroke(ink, points, { color = colors.ink, width = 1, dash = [] } = {}) {
    ink.strokeStyle = color;
    ink.lineWidth = width;
    ink.setLineDash(dash);
    ink.beginPath();
    let pen = false;
    for (const [x, y] of points) {
      if (Number.isFinite(x) && Number.isFinite(y)) ink[pen ? "lineTo" : "moveTo"](x, y);
      pen = Number.isFinite(x) && Number.isFinite(y);
    }
    ink.stroke();
    ink.setLineDash([]);
  }

  // The probability depends on u = w·x + b alone: it is looked up along u, in steps finer than a pixel.
  function shade(ink, left, top, width, height, activation, [w0, w1, b, v, c]) {
    const image = ink.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
    const dx = (w0 * (extent[1] - extent[0])) / width, dy = (-w1 * (extent[3] - extent[2])) / height;
    const start = w0 * extent[0] + w1 * extent[3] + b + (dx + dy) / 2; // the middle of the first pixel
    const ends = [start, start + dx * width, start + dy * height, start + dx * width + dy * height];
    const low = Math.min(...ends), high = Math.max(...ends);
    const table = new Uint32Array(BINS + 1);
    for (let i = 0; i <= BINS; i++) {
      const z = v * act[activation](low + ((i + 0.5) / BINS) * (high - low)) + c;
      const p = 1 / (1 + Math.exp(-z));
      table[i] = Number.isNaN(p) ? shades[128] : shades[Math.min(Math.floor(p * 256), 255)];
    }
    const scale = high > low ? BINS / (high - low) : 0;
    for (let j = 0, k = 0; j < height; j++) {
      let at = (start + j * dy - low) * scale;
      for (let i = 0; i < width; i++, at += dx * scale) pixels[k++] = table[Math.min(Math.max(at | 0, 0), BINS)];
    }
    ink.putImageData(image, left, top);
  }

  function clipped([a, b, c]) { // the ends of a line within the extent
    let from = -Infinity, to = Infinity;
    const [x, y] = [-a * c, -b * c]; // its point nearest to the origin; it runs along (-b, a)
    for (const [at, step, low, high] of [[x, -b, extent[0], extent[1]], [y, a, extent[2], extent[3]]]) {
      if (step === 0 && (at < low || at > high)) return null;
      if (step === 0) continue;
      const ends = [(low - at) / step, (high - at) / step].sort((one, other) => one - other);
      from = Math.max(from, ends[0]);
      to = Math.min(to, ends[1]);
    }
    return from < to ? [from, to].map((t) => [x - b * t, y + a * t]) : null;
  }

  function drawPlane(panel, points, weights, wrong) {
    const { activation } = panel.network, boundary = boundaryOf(activation, weights);
    const whole = panel.plane.clientWidth, narrow = whole < NARROW;
    const margin = { left: narrow ? 20 : 32, right: narrow ? 4 : 16, top: 4, bottom: 20 };
    const inner = whole - margin.left - margin.right;
    const tall = Math.round((inner * (extent[3] - extent[2])) / (extent[1] - extent[0]));
    const { ink, ratio } = canvasOf(panel.plane, tall + margin.top + margin.bottom);
    // whole pixels of the screen, so that the shading and the lines over it agree
    const box = [margin.left, margin.top, inner, tall].map((value) => Math.round(value * ratio));
    shade(ink, ...box, activation, weights);
    const [left, top, width, height] = box.map((value) => value / ratio);
    const px = (x) => left + ((x - extent[0]) / (extent[1] - extent[0])) * width;
    const py = (y) => top + ((extent[3] - y) / (extent[3] - extent[2])) * height;
    panel.element.dataset.plane = box.join(" ");

    ink.save();
    ink.beginPath();
    ink.rect(left, top, width, height);
    ink.clip();
    stroke(ink, [[px(data.cut), top], [px(data.cut), top + height]], { color: colors.muted, width: 1.2, dash: [5, 4] });
    const n = points.length / 2, size = Math.min(Math.max(width / 85, 3.4), 5.5);
    ink.lineWidth = size > 4.5 ? 1.25 : 1;
    for (let i = 0; i < n; i++) {
      const [x, y] = [px(points[i]) - size / 2, py(points[n + i]) - size / 2];
      ink.fillStyle = "rgba(252, 252, 252, 0.8)";
      ink.fillRect(x, y, size, size);
      ink.strokeStyle = i < n / 2 ? colors.a : colors.b;
      ink.strokeRect(x, y, size, size);
    }
    if (boundary) {
      const ends = clipped(boundary);
      if (ends) stroke(ink, ends.map(([x, y]) => [px(x), py(y)]), { width: 2 });
    }
    ink.strokeStyle = colors.ink;
    ink.lineWidth = 1.2;
    ink.globalAlpha = wrong.length < n / 2 ? 1 : 0.45; // of a class that is wrong as a whole
    for (const i of wrong) {
      ink.beginPath();
      ink.arc(px(points[i]), py(points[n + i]), size, 0, 2 * Math.PI);
      ink.stroke();
    }
    ink.restore();
    const note = weights.every(Number.isFinite)
      ? (boundary && clipped(boundary) ? "" : "no boundary in view")
      : "weights not finite";
    if (note) write(ink, note, left + width - 7, top + height - 11, { align: "right", color: colors.ink, halo: true });

    ink.strokeStyle = colors.spine;
    ink.lineWidth = 1;
    ink.strokeRect(left + 0.5, top + 0.5, width - 1, height - 1);
    for (let x = Math.ceil(extent[0] / 2) * 2; x <= extent[1]; x += 2) {
      write(ink, minus(x), px(x), top + height + 11, { align: "center" });
    }
    for (let y = Math.ceil(extent[2] / 2) * 2; y <= extent[3]; y += 2) {
      write(ink, minus(y), left - 6, py(y), { align: "right" });
    }
    return { boundary, note };
  }

  const minus = (value) => String(value).replace("-", "−");
  const along = (epoch) => Math.log1p(epoch) / Math.log1p(data.epochs); // 0 at the first weights, 1 at the last
  const count = (epoch) => epoch.toLocaleString("en");

  function epochAt(at) {
    const k = Math.min(Math.floor(at), last), part = at - k;
    const [here, next] = [checkpoints[k], checkpoints[Math.min(k + 1, last)]].map(Math.log1p);
    return part > 0 ? Math.expm1(here + part * (next - here)) : checkpoints[k];
  }

  function drawCurve(panel, at, loss) {
    const { low, high, ticks, plateau, floor } = data.curves[panel.network.loss];
    const tall = panel.curve.clientWidth < NARROW ? 132 : 158;
    const { ink, width: whole } = canvasOf(panel.curve, tall);
    const [left, top, width, height] = [32, 22, whole - 48, tall - 44];
    const px = (epoch) => left + width * along(epoch);
    const py = (value) => top + (height * Math.log(high / Math.max(value, low / 2))) / Math.log(high / low);
    panel.curveBox = [left, width];

    write(ink, `${panel.network.loss} loss by epoch, log scales`, left, 8, { color: colors.ink });
    for (const tick of ticks) {
      stroke(ink, [[left, py(tick)], [left + width, py(tick)]], { color: colors.grid });
      write(ink, minus(tick), left - 6, py(tick), { align: "right" });
    }
    let free = Infinity; // from the right, as the last epoch is always named
    for (const tick of [...data.ticks].reverse()) {
      const x = px(tick), room = ink.measureText(count(tick)).width / 2 + 1;
      stroke(ink, [[x, top], [x, top + height]], { color: colors.grid });
      if (x + room > free) continue;
      write(ink, count(tick), x, top + height + 12, { align: "center" });
      free = x - room;
    }
    ink.save();
    ink.beginPath();
    ink.rect(left - 1, top - 1, width + 2, height + 2);
    ink.clip();
    write(ink, "dead plateau", left + width - 4, py(plateau) - 7, { align: "right", halo: true });
    write(ink, "Bayes floor", left + 4, py(floor) - 7, { halo: true });
    for (const level of [plateau, floor]) {
      stroke(ink, [[left, py(level)], [left + width, py(level)]], { color: colors.muted, width: 1.1, dash: [5, 4] });
    }
    const line = data.kept.map((epoch, i) => [px(epoch - 1), py(panel.run.losses[i])]);
    line.push([px(data.epochs), py(panel.end)]);
    const cursor = left + width * along(epochAt(at));
    stroke(ink, line, { color: colors.faint, width: 1.6 });
    ink.beginPath();
    ink.rect(left, top, cursor - left, height);
    ink.clip();
    stroke(ink, line, { width: 2.2 });
    ink.restore();
    stroke(ink, [[cursor, top], [cursor, top + height]], { width: 1.2 });
    if (Number.isFinite(loss)) {
      ink.beginPath();
      ink.arc(cursor, Math.min(Math.max(py(loss), top), top + height), 4.5, 0, 2 * Math.PI);
      ink.fillStyle = colors.ink;
      ink.fill();
      ink.strokeStyle = colors.card;
      ink.lineWidth = 1.5;
      ink.stroke();
    }
  }

  // The state of the player

  const now = { at: last, seed: data.shown.seed, playing: false };
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const panels = [...stage.querySelectorAll(".panel")].map((element) => {
    const part = (selector) => element.querySelector(selector);
    return {
      element,
      side: element.dataset.side,
      place: data.shown[element.dataset.side],
      plane: part(".plane"),
      curve: part(".curve"),
      picks: { loss: part('[data-pick="loss"]'), activation: part('[data-pick="activation"]') },
      number: (name) => part(`[data-number="${name}"]`),
    };
  });
  const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const threeDigits = (value) => (Number.isFinite(value) ? Number(value.toPrecision(3)).toString() : "not finite");
  const percents = (share) => `${(100 * share).toFixed(1)}%`;
  const clockText = (k) => `epoch ${count(checkpoints[k])} of ${count(data.epochs)}`;

  function cast() { // who plays: after a choice
    for (const panel of panels) {
      panel.network = data.networks[panel.place];
      panel.run = panel.network.runs[now.seed];
      panel.end = judge(panel.network, seeds[now.seed].points, weightsAt(panel.run, last)).loss;
    }
    const ended = (network, i) => data.states[network.runs[i].states.slice(-2)].name;
    seeds.forEach(({ seed }, i) => {
      const states = [...new Set(panels.map(({ network }) => ended(network, i)))];
      put(seedPick.options[i], `seed ${seed} · ${states.join(" / ")}`);
    });
    seedPick.selectedIndex = now.seed;
    for (const { picks, network } of panels) {
      picks.loss.value = network.loss;
      for (const option of picks.activation.options) {
        option.disabled = !data.networks.some((other) => other.loss === network.loss && other.activation === option.value);
      }
      picks.activation.value = network.activation;
    }
  }

  function draw() {
    const k = now.playing ? Math.floor(now.at) : Math.round(now.at), { points } = seeds[now.seed];
    slider.value = String(k);
    slider.setAttribute("aria-valuetext", clockText(k));
    put(clock.firstElementChild, `epoch ${count(checkpoints[k])}`);
    figure.dataset.epoch = String(checkpoints[k]);
    for (const panel of panels) {
      const weights = weightsAt(panel.run, now.at), seen = judge(panel.network, points, weights);
      const { boundary, note } = drawPlane(panel, points, weights, seen.wrong);
      drawCurve(panel, now.at, seen.loss);
      const stored = now.at === k ? seen : judge(panel.network, points, weightsAt(panel.run, k));
      const state = data.states[panel.run.states.slice(2 * k, 2 * k + 2)];
      put(panel.number("loss"), threeDigits(stored.loss));
      put(panel.number("accuracy"), percents(stored.accuracy));
      put(panel.number("state"), state.name);
      panel.number("chip").style.background = state.color;
      Object.assign(panel.element.dataset, {
        epoch: checkpoints[k],
        network: `${panel.network.loss} ${panel.network.activation}`,
        seed: seeds[now.seed].seed,
        boundary: boundary ? boundary.join(" ") : "none",
        loss: stored.loss,
        accuracy: stored.accuracy,
        state: state.name,
      });
      panel.words = `${panel.network.loss}, ${panel.network.activation}: loss ${threeDigits(stored.loss)}, training accuracy `
        + `${percents(stored.accuracy)}, ${state.name}${note ? `, ${note}` : ""}`;
    }
  }

  // In words, for those who cannot see it: once it has come to rest, not on the way.
  let rest = 0;
  function tell({ aloud }) {
    window.clearTimeout(rest);
    rest = window.setTimeout(() => {
      const { epoch } = figure.dataset, { seed } = seeds[now.seed];
      for (const { plane, curve, words, network, end } of panels) {
        plane.setAttribute("aria-label", `Decision boundary on seed ${seed} at epoch ${epoch}. ${words}.`);
        curve.setAttribute("aria-label", `Loss curve of ${network.loss}, ${network.activation} on seed ${seed}; it ends at ${threeDigits(end)}.`);
      }
      if (aloud) put(said, `Epoch ${epoch}. ${panels.map(({ side, words }) => `${side}: ${words}`).join("; ")}.`);
    }, 400);
  }

  function show(options = { aloud: true }) {
    draw();
    if (!now.playing) tell(options);
  }

  // Playing

  let frame = 0, before = 0;
  function play(on) {
    if (on === now.playing) return;
    if (on && now.at >= last) now.at = 0;
    now.playing = on;
    player.classList.toggle("playing", on);
    put(button, on ? "Pause" : "Play");
    window.cancelAnimationFrame(frame);
    if (on) {
      before = performance.now();
      frame = window.requestAnimationFrame(tick);
      draw();
    } else {
      now.at = Math.round(now.at);
      show();
    }
  }

  function tick(time) {
    const since = time - before;
    if (calm.matches) {
      if (since >= SLOW_STEP) {
        before = time;
        now.at = Math.floor(now.at) + 1;
        draw();
      }
    } else if (since > 0) {
      before = time;
      now.at += Math.min(since, STEP) / STEP; // after a pause of the browser it goes on from where it was
      if (now.at < last) draw();
    }
    if (now.at >= last) {
      now.at = last;
      play(false);
    } else {
      frame = window.requestAnimationFrame(tick);
    }
  }

  function go(k, options) {
    play(false);
    now.at = Math.min(Math.max(k, 0), last);
    show(options);
  }

  // Controls

  const fill = (pick, texts) => texts.forEach((text) => pick.append(new Option(text)));
  fill(seedPick, seeds.map(({ seed }) => `seed ${seed}`));
  for (const panel of panels) {
    for (const [name, pick] of Object.entries(panel.picks)) {
      fill(pick, [...new Set(data.networks.map((network) => network[name]))]);
      pick.addEventListener("change", () => {
        const same = (other) => data.networks.findIndex((network) => network[name] === pick.value
          && (!other || network[other] === panel.picks[other].value));
        const both = same(name === "loss" ? "activation" : "loss");
        panel.place = both >= 0 ? both : same(); // where the two do not go together, the other one gives way
        cast();
        show();
      });
    }
    const seek = (event) => {
      const [left, width] = panel.curveBox;
      const share = (event.clientX - panel.curve.getBoundingClientRect().left - left) / width;
      const distances = checkpoints.map((epoch) => Math.abs(along(epoch) - share));
      go(distances.indexOf(Math.min(...distances)), { aloud: false });
    };
    panel.curve.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      panel.curve.setPointerCapture(event.pointerId);
      seek(event);
    });
    panel.curve.addEventListener("pointermove", (event) => {
      if (panel.curve.hasPointerCapture(event.pointerId)) seek(event);
    });
  }
  seedPick.addEventListener("change", () => {
    now.seed = seedPick.selectedIndex;
    cast();
    show();
  });
  button.addEventListener("click", () => play(!now.playing));
  slider.addEventListener("input", () => go(Number(slider.value), { aloud: false })); // it speaks for itself
  player.addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (event.altKey || event.ctrlKey || event.metaKey || target.tagName === "SELECT") return;
    if (key === " " && target !== button) {
      play(!now.playing); // on the button it does so anyway
    } else if (target !== slider && ["ArrowLeft", "ArrowRight", "Home", "End"].includes(key)) {
      const here = now.playing ? Math.floor(now.at) : now.at;
      go({ ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: last }[key]);
    } else {
      return;
    }
    event.preventDefault();
  });

  put(clock.lastElementChild, `of ${count(data.epochs)}`);
  figure.classList.add("live"); // pictures need the room that they will have
  try {
    cast();
    show({ aloud: false });
  } catch (error) {
    figure.classList.remove("live"); // the still comes back
    throw error;
  }
  new ResizeObserver(() => draw()).observe(stage);
})();
