/* Heat maps of charts (engine/report/charts.py: Grid, Amount): a path a colour, whatever the number of cells. */
(() => {
  const { el, svg } = ES, COLORS = 48, LEAST_TICK = 13;

  /* Every name that fits, evenly spaced: [place, text]. */
  const thinned = (names, room, from) => {
    const every = Math.max(1, Math.ceil(names.length / Math.max(1, room)));
    return names.map((name, i) => [from(i), ES.shorten(name, 10)]).filter((_, i) => i % every === 0);
  };

  /* What draws the grids of a chart: {drawn(panel, width, file), legend()}. */
  ES.grids = ({ amount, x, y }) => {
    const forward = amount.threshold ? ES.symlog(amount.threshold) : v => v, [low, high] = amount.limits.map(forward);
    const color = amount.signed ? ES.signedColor : ES.amountColor;
    const place = v => Math.min(1, Math.max(0, high > low ? (forward(v) - low) / (high - low) : 0.5));

    function drawn({ title, note, rows, columns, values }, width, file) {
      const down = rows.length, across = columns.length, height = Math.max(150, Math.min(340, 12 * down)) + 54;
      const label = `${[title, note].filter(Boolean).join(': ') || file}; ${amount.label} by ${y.label} (${down} rows) and ${x.label} (${across} columns)`;
      const frame = ES.frame({ width, height, margin: { left: 84 }, label,
        x: { from: [0, across], label: x.label, ticks: thinned(columns, (width - 98) / 42, i => i + 0.5) },
        y: { from: [0, down], label: y.label, ticks: thinned(rows, (height - 54) / LEAST_TICK, i => down - i - 0.5) } });
      const fills = Array.from({ length: COLORS }, () => '');
      for (let r = 0; r < down; r++) {
        const top = frame.y(down - r), tall = frame.y(down - r - 1) - top;
        for (let c = 0, end; c < across; c = end) {
          const k = colorOf(values[r * across + c]);
          for (end = c + 1; end < across && colorOf(values[r * across + end]) === k; end++);
          if (k === null) continue;
          const wide = (frame.x(end) - frame.x(c)).toFixed(2);
          fills[k] += `M${frame.x(c).toFixed(2)} ${top.toFixed(2)}h${wide}v${tall.toFixed(2)}h-${wide}z`;
        }
      }
      frame.plot.append(...fills.map((d, k) => d && svg('path', { d, 'shape-rendering': 'crispEdges', style: { fill: color((k + 0.5) / COLORS) } })).filter(Boolean));
      hover(frame, rows, columns, values);
      return frame.svg;
    }

    const colorOf = v => Number.isFinite(v) ? Math.min(COLORS - 1, Math.floor(place(v) * COLORS)) : null;

    /* The cell under the pointer, in words. */
    function hover(frame, rows, columns, values) {
      const root = frame.svg, box = svg('rect', { class: 'cursor', 'data-hover': '', visibility: 'hidden' });
      frame.plot.append(box);
      const show = event => {
        const bounds = root.getBoundingClientRect(), scale = root.viewBox.baseVal.width / bounds.width;
        const c = Math.floor(frame.x.invert((event.clientX - bounds.left) * scale));
        const r = rows.length - 1 - Math.floor(frame.y.invert((event.clientY - bounds.top) * scale));
        const inside = c >= 0 && c < columns.length && r >= 0 && r < rows.length;
        box.setAttribute('visibility', inside ? 'visible' : 'hidden');
        if (!inside) { ES.tooltip(null); return; }
        const top = frame.y(rows.length - r), left = frame.x(c);
        for (const [key, value] of Object.entries({ x: left, y: top, width: frame.x(c + 1) - left, height: frame.y(rows.length - r - 1) - top })) box.setAttribute(key, value);
        ES.tooltip(event, [ES.format(values[r * columns.length + c], 4), `${y.label}: ${rows[r]}`, `${x.label}: ${columns[c]}`]);
      };
      root.addEventListener('pointermove', show);
      root.addEventListener('pointerdown', show);
      root.addEventListener('pointerleave', () => { box.setAttribute('visibility', 'hidden'); ES.tooltip(null); });
    }

    const legend = () => el('p', { class: 'legend' }, el('span', { class: 'toggle' }, amount.label, ES.rampLegend(...amount.limits, color, amount.label)));
    return { drawn, legend };
  };
})();
