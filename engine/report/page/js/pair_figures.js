/* Two matrices and their difference drawn over each other: singular values by rank, and each spectrum beside its law.
   A spectrum is {name, class, values (descending, [w]), m, n, sigma}; null where there is none. */
(() => {
  const { svg } = ES, BINS = 50;
  const path = (name, d) => svg('path', { class: name, d });
  const known = spectra => spectra.filter(s => s && s.values.length);
  const positive = values => values.filter(x => x > 0);

  /* Values at all ranks, those between kept ones interpolated. */
  ES.unthinned = (index, value, size) => {
    const all = new Float32Array(size);
    for (let k = 0; k < index.length; k++) {
      all[index[k]] = value[k];
      if (k) for (let i = index[k - 1] + 1; i < index[k]; i++) all[i] = value[k - 1] + (value[k] - value[k - 1]) * (i - index[k - 1]) / (index[k] - index[k - 1]);
    }
    return all;
  };

  /* Right edge of the bulk for noise of this sigma. */
  const edge = ({ m, n, sigma }) => sigma * (Math.sqrt(m) + Math.sqrt(n));

  function nearest(frame, spectra, event) {
    const box = frame.svg.getBoundingClientRect(), scale = frame.svg.viewBox.baseVal.width / box.width;
    const rank = Math.round(frame.x.invert((event.clientX - box.left) * scale));
    return spectra.map(s => [s, Math.min(Math.max(rank, 1), s.values.length)]);
  }

  /* Singular values by rank, both axes logarithmic; dashed: the right edge of noise with the fitted sigma. */
  ES.overlaidRanks = (spectra, { width, height = 280, about }) => {
    const shown = known(spectra), largest = Math.max(...shown.map(s => s.values[0]));
    const values = shown.flatMap(s => positive(Array.from(s.values)).filter(x => x > largest * 1e-6));
    const frame = ES.frame({
      width, height, margin: { left: 66 }, label: `Singular values of ${about} by rank, both axes logarithmic: ${shown.map(s => s.name).join(', ')}`,
      x: { from: [1, Math.max(2, ...shown.map(s => s.values.length))], log: true, label: 'rank' },
      y: { from: ES.extent(values, true), log: true, label: 'singular value' },
    });
    const { plot, x, y } = frame;
    for (const s of shown) {
      const points = Array.from(s.values, (v, i) => [i + 1, v]).filter(([i, v]) => v > largest * 1e-6 && (i < 200 || i % Math.ceil(s.values.length / 400) === 0));
      plot.append(path(`${s.class} line`, ES.line(points.map(([i, v]) => [x(i), y(v)]))));
      const at = edge(s);
      if (at > 0) plot.append(path(`${s.class} rule dashed`, `M${x.to[0]} ${y(at).toFixed(1)}H${x.to[1]}`));
    }
    frame.svg.addEventListener('pointermove', event => {
      const lines = nearest(frame, shown, event).map(([s, rank]) => `${s.name}: s ${rank} = ${ES.format(s.values[rank - 1], 4)}`);
      ES.tooltip(event, ['By rank', ...lines]);
    });
    frame.svg.addEventListener('pointerleave', () => ES.tooltip(null));
    return frame.svg;
  };

  /* Densities in each spectrum's own unit, sigma sqrt(max(m, n)), with the Marchenko-Pastur law of each shape. */
  ES.overlaidDensities = (spectra, { width, height = 280, about }) => {
    const shown = known(spectra).filter(s => s.sigma > 0).map(s => {
      const unit = s.sigma * Math.sqrt(Math.max(s.m, s.n));
      return { ...s, unit, scaled: Array.from(s.values, v => v / unit), law: ES.marchenkoPastur(s) };
    });
    if (!shown.length) return null;
    const top = Math.min(Math.max(...shown.map(s => s.scaled[0])), 2.2 * Math.max(...shown.map(s => s.law.high))) * 1.02;
    const limits = Array.from({ length: BINS + 1 }, (_, i) => top * i / BINS);
    const density = shown.map(s => Array.from(ES.histogram(s.scaled, limits), c => c / s.scaled.length / (limits[1] - limits[0])));
    const laws = shown.map(s => ES.sampled(s.law.density, s.law.low, s.law.high, 120));
    const highest = Math.max(...density.map(d => [...d].sort((a, b) => b - a)[1]), ...laws.flatMap(points => points.slice(3).map(p => p[1]).filter(Number.isFinite)));
    const frame = ES.frame({
      width, height, margin: { left: 66 }, label: `Densities of the singular values of ${about}, each beside its law: ${shown.map(s => s.name).join(', ')}`,
      x: { from: [0, top], label: 's / (σ √max(m, n))' }, y: { from: [0, 1.15 * highest], label: 'density' },
    });
    const { plot, x, y } = frame;
    shown.forEach((s, k) => {
      const steps = density[k].flatMap((d, i) => [[x(limits[i]), y(d)], [x(limits[i + 1]), y(d)]]);
      plot.append(path(`${s.class} line`, ES.line(steps)), path(`${s.class} rule dashed`, ES.line(laws[k].map(([a, b]) => [x(a), y(b)]))));
      const beyond = s.scaled.filter(v => v > top).length;
      if (beyond) frame.svg.append(svg('text', { x: x.to[1], y: y.to[1] + 12 + 15 * k, 'text-anchor': 'end' }, `${s.name}: ${beyond} further right →`));
    });
    return frame.svg;
  };
})();
