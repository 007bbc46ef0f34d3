/* The figures of one matrix: its spectrum, its singular values by rank, its p-values. Each takes the readings to show,
   the first of which is in front, and gives an SVG whose hover names index, value and p. */
(() => {
  const { svg } = ES, BINS = 60, UNIT = 'ν / (σ √max(m, n))', WINDOW = 15;
  const kind = reading => reading.prefix === '' ? 'raw' : reading.prefix === 'equalised_' ? 'equalised' : 'control';
  const path = (name, d) => svg('path', { class: name, d });
  const positive = values => values.filter(x => x > 0);

  /* p of an index, NaN where it has none or was thinned out. */
  function pOf({ index, p, single }, i) {
    if (!single) return NaN;
    let low = 0, high = index.length;
    while (low < high) { const middle = (low + high) >> 1; if (index[middle] < i) low = middle + 1; else high = middle; }
    return index[low] === i ? p[low] : NaN;
  }

  const number = p => Number.isNaN(p) ? '–' : p <= 1.05e-6 ? '< 1e-6' : ES.format(p);

  /* What the tooltip says of index i (from 0) of a reading. */
  ES.vectorLines = (reading, i) => {
    const out = i < reading.right ? ', right outlier' : i >= reading.size - reading.left ? ', left outlier' : '';
    const where = reading.prefix ? ` (${ES.data.readings.find(r => r.prefix === reading.prefix).label})` : '';
    const rejected = ['right', 'left'].filter(side => reading.p[side].rejected.includes(i));
    return [
      `index ${i + 1} of ${reading.size}${out}${where}`,
      `s = ${ES.format(reading.values[i] * reading.unit, 4)}, ν = ${ES.format(reading.values[i], 4)} σ√max(m, n)`,
      `p right = ${number(pOf(reading.p.right, i))}, p left = ${number(pOf(reading.p.left, i))}`,
      ...(rejected.length ? [`rejected: ${rejected.join(' and ')}`] : []),
    ];
  };

  /* Hover of an SVG: `find(x, y)` in data gives {i, x, y}, the index meant and where it lies; a click hands i to `chosen`. */
  function hover({ svg: root, plot, x, y }, reading, find, chosen) {
    const mark = svg('circle', { class: 'pointed', r: 4, 'data-hover': '', visibility: 'hidden' });
    plot.append(mark);
    const at = event => {
      const box = root.getBoundingClientRect(), scale = root.viewBox.baseVal.width / box.width;
      return find(x.invert((event.clientX - box.left) * scale), y.invert((event.clientY - box.top) * scale));
    };
    const show = event => {
      const found = at(event);
      if (!found) return;
      mark.setAttribute('cx', x(found.x));
      mark.setAttribute('cy', y(found.y));
      mark.setAttribute('visibility', 'visible');
      ES.tooltip(event, [...ES.vectorLines(reading, found.i), ...(found.lines || [])]);
    };
    root.addEventListener('pointermove', show);
    root.addEventListener('pointerdown', show);
    root.addEventListener('pointerleave', () => { mark.setAttribute('visibility', 'hidden'); ES.tooltip(null); });
    if (chosen) root.addEventListener('click', event => { const found = at(event); if (found) chosen(found.i); });
  }

  /* The index whose value is nearest to x; values descend. */
  function nearest(values, x) {
    let low = 0, high = values.length - 1;
    while (high - low > 1) { const middle = (low + high) >> 1; if (values[middle] > x) low = middle; else high = middle; }
    return Math.abs(values[low] - x) <= Math.abs(values[high] - x) ? low : high;
  }

  const dashed = ({ plot, x }, at, name) => {
    const [bottom, top] = plot.span;
    if (at > x.from[0] && at < x.from[1]) plot.append(path(name, `M${x(at).toFixed(1)} ${bottom}V${top}`));
  };

  /* A frame that knows how far its plot reaches from bottom to top. */
  function framed(options) {
    const frame = ES.frame(options);
    frame.plot.span = frame.y.to;
    return frame;
  }

  /* Limits of the bins of these readings: even ones up to the largest value, or in the logarithm between the extremes. */
  function limitsOf(readings, log) {
    const edges = readings.map(reading => ES.marchenkoPastur(reading).high), edge = Math.max(...edges);
    const top = 1.02 * Math.max(edge, ...readings.map(reading => reading.values[0]));
    const low = log ? Math.min(...readings.map(reading => positive(reading.values).at(-1) || 1)) / 1.02 : 0;
    const high = log ? top : Math.min(top, 1.5 * edge);
    return Array.from({ length: BINS + 1 }, (_, i) => log ? low * (high / low) ** (i / BINS) : high * i / BINS);
  }

  const outline = (limits, heights, { x, y }, closed) => {
    const base = y.to[0];
    let d = `M${x(limits[0]).toFixed(1)} ${base}`;
    heights.forEach((h, i) => { d += `V${y(h).toFixed(1)}H${x(limits[i + 1]).toFixed(1)}`; });
    return d + `V${base}${closed ? 'Z' : ''}`;
  };

  const word = ({ tested, right, left }) => tested ? `${right} right, ${left} left outliers` : 'no test of the edges';

  /* The histogram against the law; what the readings share are the bins, each has its own law. */
  ES.spectrumFigure = (readings, { width, height = 260, log = false, about, limits, chosen }) => {
    const first = readings[0], bins = limits || limitsOf(readings, log);
    const step = i => log ? Math.log(bins[i + 1] / bins[i]) : bins[i + 1] - bins[i];
    const counts = readings.map(reading => ES.histogram(reading.values, bins));
    const density = counts.map((count, k) => Array.from(count, (c, i) => c / (readings[k].size * step(i))));
    const laws = readings.filter((reading, k) => k === 0 || kind(reading) !== 'control').map(reading => {
      const law = ES.marchenkoPastur(reading), low = Math.max(law.low, bins[0] / 2, 1e-9);
      return { reading, law, points: ES.sampled(x => law.density(x) * (log ? x : 1), low, law.high) };
    });
    const peak = Math.max(...laws.flatMap(({ points }) => points.map(p => p[1]).filter(Number.isFinite)).slice(1));
    const highest = Math.max(...density.map(d => [...d].sort((a, b) => b - a)[1] || d[0]));
    const top = Math.min(1.2 * Math.max(peak, highest), 4 * peak);
    const label = `Histogram of ${first.size} singular values of ${about} with the Marchenko-Pastur law: ${word(first)}`;
    const frame = framed({
      width, height, label, x: { from: [bins[0], bins[bins.length - 1]], log, label: UNIT }, y: { from: [0, top], label: log ? 'density of ln ν' : 'density' },
    });
    const { plot, x, y } = frame;
    readings.forEach((reading, k) => {
      const line = path(`${kind(reading)}${k ? '' : ' filled'}`, outline(bins, density[k], frame, !k));
      if (k) plot.append(line); else plot.prepend(line);
    });
    laws.forEach(({ points }, k) => plot.append(path(k ? 'law second' : 'law', ES.line(points.map(([a, b]) => [x(a), y(Math.min(b, 2 * top))])))));
    for (const edge of [laws[0].law.low, laws[0].law.high]) if (edge > 0) dashed(frame, edge, 'edge');
    for (const limit of first.thresholds) dashed(frame, limit, 'limit');
    const ticks = i => `M${x(first.values[i]).toFixed(1)} ${y.to[0]}v-9`;
    const rug = (from, to) => { let d = ''; for (let i = from; i < to; i++) if (first.values[i] > 0 && first.values[i] <= bins[BINS]) d += ticks(i); return d; };
    plot.append(path('rug right', rug(0, first.right)), path('rug left', rug(first.size - first.left, first.size)));
    const beyond = first.values.filter(v => v > bins[BINS]).length;
    if (beyond) frame.svg.append(svg('text', { x: x.to[1], y: y.to[1] + 12, 'text-anchor': 'end' }, `${beyond} further right →`));
    hover(frame, first, at => {
      const i = nearest(first.values, at);
      const bin = Math.min(BINS - 1, Math.max(0, bins.findIndex(limit => limit > at) - 1));
      const law = laws[0].law, middle = log ? Math.sqrt(bins[bin] * bins[bin + 1]) : (bins[bin] + bins[bin + 1]) / 2;
      const expected = law.density(middle) * (bins[bin + 1] - bins[bin]) * first.size;
      return { i, x: first.values[i], y: 0, lines: [`${counts[0][bin]} values in this bin, by the law ${ES.format(expected, 2)}`] };
    }, chosen);
    frame.svg.bins = { limits: bins, counts };
    return frame.svg;
  };

  /* Points of a curve that differ at this size: all of the first, then ever fewer of many. */
  const thinned = (count, most = 400) => {
    const places = new Set();
    for (let k = 0; k < most; k++) places.add(Math.round(count ** (k / (most - 1))) - 1);
    return [...places].filter(i => i < count);
  };

  /* Singular values by rank on logarithmic axes, with the fitted power law. */
  ES.rankFigure = (readings, { width, height = 260, about, limits, chosen }) => {
    const first = readings[0], { rows } = ES.data, column = name => rows[first.prefix + name] ? rows[first.prefix + name][first.row] : NaN;
    const frame = framed({
      width, height, label: `Singular values of ${about} by rank, both axes logarithmic`,
      x: { from: [1, Math.max(2, ...(limits ? [limits.size] : []), first.size)], log: true, label: 'rank' },
      y: { from: limits ? limits.values : ES.extent(positive(first.values), true), log: true, label: UNIT },
    });
    const { plot, x, y } = frame, edge = ES.marchenkoPastur(first).high;
    plot.append(path('edge', `M${x.to[0]} ${y(edge).toFixed(1)}H${x.to[1]}`));
    for (const reading of [...readings].reverse()) {
      const known = positive(reading.values);
      plot.append(path(kind(reading), ES.line(thinned(known.length).map(i => [x(i + 1), y(known[i])]))));
    }
    const alpha = column('alpha'), xmin = column('xmin'), tail = column('num_pl_spikes');
    if (alpha > 1 && xmin > 0 && tail > 1) {
      // p(lambda) ~ lambda^-alpha above xmin puts rank r at lambda = xmin (r/tail)^(-1/(alpha - 1))
      const at = r => Math.sqrt(xmin * (r / tail) ** (-1 / (alpha - 1))) / first.unit;
      plot.append(path('law', ES.line([1, tail].map(r => [x(r), y(at(r))]))));
    }
    hover(frame, first, at => {
      const i = Math.min(first.size, Math.max(1, Math.round(at))) - 1;
      return first.values[i] > 0 ? { i, x: i + 1, y: first.values[i] } : null;
    }, chosen);
    return frame.svg;
  };

  /* p-values of one side by index: single ones as dots, their averages with the null's band, rejected ones marked. */
  ES.pFigure = (readings, side, { width, height = 220, log = false, about, size, chosen }) => {
    const first = readings[0], { index, p, avg, sd, rejected, single } = first.p[side];
    const label = `p-values of the ${side} singular vectors of ${about} by index, averaged over ${WINDOW}: ${!single ? 'averages alone' : `${rejected.length}${first.p[side].thinned ? '' : ` of ${index.length}`} rejected`}`;
    const frame = framed({
      width, height, label, x: { from: [log ? 1 : 0, Math.max(2, size || first.size) + (log ? 0 : 1)], log, label: 'index (1 = largest singular value)' },
      y: { from: [0, 1], label: 'p-value' },
    });
    const { plot, x, y } = frame;
    if (!index.length) {
      const why = ['no p-values: the matrix does not determine', 'its vectors, or the kurtosis of its entries decides'];
      why.forEach((line, k) => plot.append(svg('text', { x: (x.to[0] + x.to[1]) / 2, y: y(0.5) + 18 * k, 'text-anchor': 'middle' }, line)));
      return frame.svg;
    }
    const gapless = (i, k) => k && i - index[k - 1] > 7 * (first.p[side].thinned ? 100 : 1);
    const up = Array.from(index, (i, k) => [x(i + 1), y(0.5 + sd[k])]), down = Array.from(index, (i, k) => [x(i + 1), y(0.5 - sd[k])]).reverse();
    plot.append(path('band', `${ES.line([...up, ...down])}Z`));
    if (single) plot.append(path('dots single', ES.dots(Array.from(index, (i, k) => [x(i + 1), y(p[k])]))));
    for (const reading of [...readings].reverse()) {
      const of = reading.p[side], points = [];
      of.index.forEach((i, k) => { if (gapless(i, k) && reading === first) points.push([NaN, NaN]); points.push([x(i + 1), y(of.avg[k])]); });
      plot.append(path(kind(reading), ES.line(points)));
    }
    const marked = new Set(rejected);
    plot.append(path('dots rejected', ES.dots(Array.from(index, (i, k) => marked.has(i) ? [x(i + 1), y(p[k])] : [NaN, NaN]))));
    plot.append(path('rug rejected', rejected.map(i => `M${x(i + 1).toFixed(1)} ${y.to[0]}v6`).join('')));
    hover(frame, first, at => {
      const k = nearestPlace(index, at - 1);
      return { i: index[k], x: index[k] + 1, y: single ? p[k] : avg[k], lines: [`mean of ${WINDOW}: ${ES.format(avg[k])}, null 0.5 ± ${ES.format(sd[k], 2)}`] };
    }, chosen);
    return frame.svg;
  };

  function nearestPlace(index, at) {
    let low = 0, high = index.length - 1;
    while (high - low > 1) { const middle = (low + high) >> 1; if (index[middle] < at) low = middle; else high = middle; }
    return Math.abs(index[low] - at) <= Math.abs(index[high] - at) ? low : high;
  }

  /* Common limits of several matrices, so that they can be compared. */
  ES.commonLimits = (shown, log) => {
    const all = shown.flat(), values = all.map(reading => positive(reading.values));
    const extremes = ES.extent(values.flatMap(v => v.length ? [v[0], v[v.length - 1]] : []), true);
    return { bins: limitsOf(all, log), size: Math.max(...all.map(r => r.size)), values: [Math.max(extremes[0], extremes[1] * 1e-5), extremes[1]] };
  };
})();
