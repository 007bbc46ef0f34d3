/* Scales, axes, paths and the tooltip: SVG whose colours are the page's classes and variables. */
(() => {
  const { svg, el } = ES;

  const STEPS = [1, 2, 2.5, 5, 10];

  function linearTicks(low, high, count) {
    const rough = (high - low) / Math.max(1, count), unit = 10 ** Math.floor(Math.log10(rough));
    const step = unit * STEPS.find(s => s * unit >= rough * 0.999), ticks = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) ticks.push(Number((i * step).toPrecision(12)));
    return ticks;
  }

  function logTicks(low, high, count) {
    const decades = Math.log10(high / low), first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
    if (decades < 0.3) return linearTicks(low, high, count);
    const every = Math.max(1, Math.ceil(decades / count));
    const steps = decades < 1 && count > 4 ? [1, 2, 3, 5, 7] : decades < 2.2 ? [1, 2, 5] : [1], ticks = [];
    for (let e = first; e <= last; e++) {
      if (((e % every) + every) % every) continue;
      for (const s of steps) ticks.push(Number(`${s}e${e}`));
    }
    return ticks.filter(t => t >= low * 0.999 && t <= high * 1.001);
  }

  /* From data to pixels: f(x), f.invert(pixel), f.ticks(count). */
  ES.scale = ({ from, to, log = false }) => {
    let [low, high] = from;
    if (!(high > low)) [low, high] = log ? [low / 2, low * 2] : [low - 0.5, low + 0.5];
    const value = log ? Math.log : x => x, back = log ? Math.exp : x => x;
    const start = value(low), span = value(high) - start, pixels = to[1] - to[0];
    const scale = x => to[0] + pixels * (value(x) - start) / span;
    scale.invert = pixel => back(start + span * (pixel - to[0]) / pixels);
    scale.ticks = (count = 5) => (log ? logTicks : linearTicks)(low, high, count);
    return Object.assign(scale, { from: [low, high], to, log });
  };

  /* The extent of what is finite (and positive on a logarithmic axis), with a margin. */
  ES.extent = (values, log = false, margin = 0.04) => {
    let low = Infinity, high = -Infinity;
    for (const x of values) {
      if (!Number.isFinite(x) || (log && x <= 0)) continue;
      if (x < low) low = x;
      if (x > high) high = x;
    }
    if (low > high) return log ? [0.1, 1] : [0, 1];
    if (low === high) return log ? [low / 2, high * 2] : [low - 0.5, high + 0.5];
    if (log) { const factor = (high / low) ** margin; return [low / factor, high * factor]; }
    return [low - margin * (high - low), high + margin * (high - low)];
  };

  let clips = 0;

  /* An SVG with axes: {svg, plot, x, y}; `plot` is a clipped group for the marks; an axis may bring its `ticks`, [value, text]. */
  ES.frame = ({ width, height, x, y, label, margin = {} }) => {
    const space = { top: 12, right: 14, bottom: x.label ? 42 : 26, left: y.label ? 58 : 44, ...margin };
    const across = ES.scale({ ...x, to: [space.left, Math.max(space.left + 20, width - space.right)] });
    const down = ES.scale({ ...y, to: [Math.max(space.top + 20, height - space.bottom), space.top] });
    const [left, right] = across.to, [bottom, top] = down.to, clip = `clip${++clips}`;
    const root = svg('svg', { viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': label, class: 'chart' });
    const axes = svg('g', { class: 'axes' });
    const ticks = (axis, scale, count) => axis.ticks || scale.ticks(count).map(t => [t, ES.format(t).replace(/\.?0+e/, 'e')]);
    for (const [t, text] of ticks(x, across, Math.max(2, (right - left) / 80))) {
      axes.append(svg('path', { class: 'grid', d: `M${across(t).toFixed(1)} ${top}V${bottom}` }),
        svg('text', { x: across(t), y: bottom + 16, 'text-anchor': 'middle' }, text));
    }
    for (const [t, text] of ticks(y, down, Math.max(2, (bottom - top) / 45))) {
      axes.append(svg('path', { class: 'grid', d: `M${left} ${down(t).toFixed(1)}H${right}` }),
        svg('text', { x: left - 6, y: down(t) + 4, 'text-anchor': 'end' }, text));
    }
    axes.append(svg('path', { class: 'axis', d: `M${left} ${top}V${bottom}H${right}` }));
    if (x.label) axes.append(svg('text', { class: 'label', x: (left + right) / 2, y: height - 6, 'text-anchor': 'middle' }, x.label));
    if (y.label) {
      const at = `rotate(-90 14 ${(top + bottom) / 2})`;
      axes.append(svg('text', { class: 'label', x: 14, y: (top + bottom) / 2, 'text-anchor': 'middle', transform: at }, y.label));
    }
    const plot = svg('g', { 'clip-path': `url(#${clip})` });
    root.append(svg('defs', {}, svg('clipPath', { id: clip },
      svg('rect', { x: left - 3, y: top - 3, width: right - left + 6, height: bottom - top + 6 }))), axes, plot);
    return { svg: root, plot, x: across, y: down };
  };

  /* A path through [x, y] pixels; gaps where one is not finite. */
  ES.line = points => {
    let path = '', pen = 'M';
    for (const [x, y] of points) {
      if (Number.isFinite(x) && Number.isFinite(y)) { path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`; pen = 'L'; } else pen = 'M';
    }
    return path;
  };

  /* Points as one path: each a stroke of no length, which round caps make a dot of the stroke's width (class `dots`). */
  ES.dots = points => {
    let path = '';
    for (const [x, y] of points) if (Number.isFinite(x) && Number.isFinite(y)) path += `M${x.toFixed(1)} ${y.toFixed(1)}h0`;
    return path;
  };

  /* Show lines of text beside the pointer (or an element); `ES.tooltip(null)` hides them. */
  ES.tooltip = (event, lines = []) => {
    const tip = document.getElementById('tip');
    if (!event) { tip.hidden = true; return; }
    tip.replaceChildren(...lines.map((line, i) => el(i ? 'div' : 'strong', {}, ES.bdi(line, 160))));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const { clientX: x, clientY: y } = event;
    tip.style.left = `${Math.max(4, Math.min(x + 14, document.documentElement.clientWidth - box.width - 4))}px`;
    tip.style.top = `${Math.max(4, y + 18 + box.height > innerHeight ? y - box.height - 10 : y + 18)}px`;
  };

  /* The width there is for a figure. */
  ES.width = (root, most = 1100) => Math.max(240, Math.min(most, root.clientWidth));
})();
