/* Any chart that a study hands over (engine/report/charts.py): its sentence, a legend, panels on common axes. */
(() => {
  const { el, svg } = ES, HEIGHT = 230, LEAST = 290;
  const list = values => values ? Array.from(values) : [];
  const all = (panels, name) => panels.flatMap(panel => [
    ...panel.series.flatMap(s => [...list(s[name]), ...(name === 'y' ? [...list(s.low), ...list(s.high)] : [])]),
    ...panel.bands.flatMap(b => name === 'y' ? [...list(b.low), ...list(b.high)] : list(b.x)),
    ...panel.rules.filter(r => r.axis === name).map(r => r.at),
  ]);

  /* Linear up to the threshold either side of 0, logarithmic beyond. */
  const symlog = ES.symlog = t => v => Math.abs(v) <= t ? v / t : Math.sign(v) * (1 + Math.log10(Math.abs(v) / t));

  function symlogTicks(t, [low, high]) {
    const forward = symlog(t), reach = Math.max(Math.abs(low), Math.abs(high)), every = reach > 5 ? 2 : 1, ticks = [[0, '0']];
    for (let k = 0; k < reach; k += every) for (const sign of [-1, 1]) {
      const value = sign * t * 10 ** k, at = forward(value);
      if (at >= low && at <= high) ticks.push([at, ES.format(Number(value.toPrecision(6)))]);
    }
    return ticks;
  }

  /* The axis of a frame, and the way there from data. */
  function axis(of, values) {
    const forward = of.scale === 'symlog' ? symlog(of.threshold) : x => x, log = of.scale === 'log';
    const from = of.limits ? of.limits.map(forward) : ES.extent(values.map(forward), log, 0.06);
    const own = of.ticks ? of.ticks.map(([value, text]) => [forward(value), text]) : of.scale === 'symlog' ? symlogTicks(of.threshold, from) : null;
    return { forward, frame: { from, log, label: of.label, ticks: own } };
  }

  const paint = color => typeof color === 'number' ? { stroke: ES.amountColor(ES.dark() ? 0.25 + 0.75 * color : 0.8 * color) } : { class: color };
  const shape = (color, more, d) => {
    const { class: name = '', ...rest } = paint(color);
    return svg('path', { class: `${name} ${more}`, ...rest, d });
  };

  function drawn(panel, { x, y, width, file }) {
    const about = [panel.title, panel.note].filter(Boolean).join(': ');
    const names = panel.series.map(s => s.name).filter(Boolean).slice(0, 8).join(', ');
    const frame = ES.frame({ width, height: HEIGHT, margin: { left: 66 }, x: x.frame, y: y.frame, label: `${about || file}; ${y.frame.label} over ${x.frame.label}: ${names}` });
    const { plot } = frame, px = v => frame.x(x.forward(v)), py = v => frame.y(y.forward(v));
    const [bottom, top] = frame.y.to, [left, right] = frame.x.to;
    for (const band of panel.bands) {
      const up = list(band.x).map((v, i) => [px(v), py(band.high[i])]), down = list(band.x).map((v, i) => [px(v), py(band.low[i])]).reverse();
      plot.append(shape(band.color, 'range', `${ES.line([...up, ...down])}Z`));
    }
    for (const rule of panel.rules) {
      const d = rule.axis === 'x' ? `M${px(rule.at).toFixed(1)} ${bottom}V${top}` : `M${left} ${py(rule.at).toFixed(1)}H${right}`;
      plot.append(shape(rule.color, rule.dashed ? 'rule dashed' : 'rule', d));
    }
    for (const series of panel.series) {
      const points = list(series.x).map((v, i) => [px(v), py(series.y[i])]);
      if (series.low) {
        const bars = points.map(([at], i) => [at, py(series.low[i]), py(series.high[i])]).filter(bar => bar.every(Number.isFinite));
        plot.append(shape(series.color, 'bars', bars.map(([at, a, b]) => `M${at.toFixed(1)} ${a.toFixed(1)}V${b.toFixed(1)}`).join('')));
      }
      if (series.marks.includes('line')) plot.append(shape(series.color, series.marks === 'line' ? 'thin' : 'line', ES.line(points)));
      if (series.marks !== 'line') plot.append(shape(series.color, series.marks === 'dots' ? 'dots small' : 'dots', ES.dots(points)));
    }
    hover(frame, panel, px, py, x.frame, y.frame);
    return frame.svg;
  }

  /* The point nearest to the pointer, in words. */
  function hover(frame, panel, px, py, x, y) {
    const root = frame.svg, mark = svg('circle', { class: 'pointed', r: 5, 'data-hover': '', visibility: 'hidden' });
    frame.plot.append(mark);
    const named = value => (x.ticks && x.ticks.find(([at]) => at === value) || [])[1] || ES.format(value, 4);
    const show = event => {
      const box = root.getBoundingClientRect(), scale = root.viewBox.baseVal.width / box.width;
      const at = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
      let near = null, least = 40 ** 2;
      for (const series of panel.series) series.x.forEach((v, i) => {
        const distance = (px(v) - at[0]) ** 2 + (py(series.y[i]) - at[1]) ** 2;
        if (distance < least) { least = distance; near = [series, i]; }
      });
      mark.setAttribute('visibility', near ? 'visible' : 'hidden');
      if (!near) { ES.tooltip(null); return; }
      const [series, i] = near, interval = series.low ? ` [${ES.format(series.low[i])}, ${ES.format(series.high[i])}]` : '';
      mark.setAttribute('cx', px(series.x[i]));
      mark.setAttribute('cy', py(series.y[i]));
      ES.tooltip(event, [series.name || panel.title, `${ES.format(series.y[i], 4)}${interval}`, `${x.label}: ${named(series.x[i])}`]);
    };
    root.addEventListener('pointermove', show);
    root.addEventListener('pointerdown', show);
    root.addEventListener('pointerleave', () => { mark.setAttribute('visibility', 'hidden'); ES.tooltip(null); });
  }

  /* Every name once; of a ramp its ends. */
  function legend(panels) {
    const found = new Map();
    for (const panel of panels) for (const each of [...panel.bands.map(b => ({ ...b, marks: 'range' })), ...panel.series, ...panel.rules.map(r => ({ ...r, marks: r.dashed ? 'dashed' : 'line' }))]) {
      if (each.name && !found.has(each.name)) found.set(each.name, each);
    }
    const ramp = [...found.values()].filter(each => typeof each.color === 'number').sort((a, b) => a.color - b.color);
    const kept = [...found.values()].filter(each => typeof each.color !== 'number' || each === ramp[0] || each === ramp[ramp.length - 1]);
    const sample = ({ color, marks }) => marks === 'range' ? [shape(color, 'range', 'M0 0H22V10H0Z')]
      : [/line|dashed/.test(marks) ? shape(color, marks === 'dashed' ? 'rule dashed' : 'line', 'M0 5H22') : null,
        /points|dots/.test(marks) ? shape(color, 'dots', 'M11 5h0') : null];
    return el('p', { class: 'legend' }, kept.map(each => el('span', { class: 'toggle' },
      svg('svg', { width: 22, height: 10, 'aria-hidden': 'true' }, sample(each)), ES.shorten(each.name, 60))));
  }

  /* A chart as an element of this width; `panels` of its panels are drawn, the axes are those of all. */
  ES.chart = (chart, width, panels = chart.panels) => {
    const grids = chart.amount && ES.grids(chart), x = grids || axis(chart.x, all(chart.panels, 'x')), y = grids || axis(chart.y, all(chart.panels, 'y'));
    const abreast = Math.max(1, Math.min(panels.length === 4 ? 2 : 3, panels.length, Math.floor(width / LEAST))), each = Math.floor((width - 20 * (abreast - 1)) / abreast);
    const one = panel => {
      const file = [chart.heading, panel.title].filter(Boolean).join(' '), picture = grids ? grids.drawn(panel, each, file) : drawn(panel, { x, y, width: each, file });
      return el('figure', {}, el('figcaption', {}, el('span', {}, ES.bdi(panel.title || chart.heading, 60)), ES.exportButtons(picture, file),
        panel.note ? el('small', { class: 'whole' }, ES.shorten(panel.note, 160)) : null), picture);
    };
    return el('section', { class: 'plot' }, el('h3', {}, chart.heading), el('p', { class: 'said' }, ES.bdi(chart.seen)), el('p', { class: 'note' }, ES.bdi(chart.note)),
      grids ? grids.legend() : legend(panels), el('div', { class: 'grid-of', style: { '--abreast': abreast } }, panels.map(one)), el('p', { class: 'note' }, chart.reading));
  };
})();
