/* One singular vector's entries against the Gaussian: histogram, distribution function with its D, D in its null. */
(() => {
  const { svg } = ES;
  const gaussian = z => Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI);
  const name = ({ side, index }) => `${side === 'right' ? 'v' : 'u'} ${index + 1}`;
  const margin = { left: 48, right: 10 };

  const limitsOf = ({ counts }) => {
    const { bins, end } = ES.data.details.kept;
    return { bins, end, width: 2 * end / bins, total: counts.reduce((a, b) => a + b, 0) };
  };

  const curve = (f, low, high, { x, y }) => ES.line(Array.from({ length: 121 }, (_, i) => {
    const z = low + (high - low) * i / 120;
    return [x(z), y(f(z))];
  }));

  function histogram(vector, { width, height, about }) {
    const { bins, end, width: bin, total } = limitsOf(vector), heights = Array.from(vector.counts.subarray(1, bins + 1), c => c / (total * bin));
    const outside = vector.counts[0] + vector.counts[bins + 1];
    const frame = ES.frame({
      width, height, margin, label: `Histogram of the ${total} entries of ${name(vector)} of ${about} with the Gaussian density`,
      x: { from: [-end, end], label: 'entry × √n' }, y: { from: [0, 1.15 * Math.max(0.4, ...heights)], label: 'density' },
    });
    const { plot, x, y } = frame;
    let d = `M${x(-end)} ${y.to[0]}`;
    heights.forEach((h, i) => { d += `V${y(h).toFixed(1)}H${x(-end + (i + 1) * bin).toFixed(1)}`; });
    plot.append(svg('path', { class: 'raw filled', d: `${d}V${y.to[0]}Z` }), svg('path', { class: 'law', d: curve(gaussian, -end, end, frame) }));
    if (outside) frame.svg.append(svg('text', { x: x.to[1], y: y.to[1] + 12, 'text-anchor': 'end' }, `${outside} beyond ±${end}`));
    return frame.svg;
  }

  /* The distribution function where it is known, at the limits of the bins: [z, F]. */
  ES.distribution = vector => {
    const { bins, end, width, total } = limitsOf(vector), points = [];
    let sum = 0;
    for (let i = 0; i <= bins; i++) {
      sum += vector.counts[i];
      points.push([-end + i * width, sum / total]);
    }
    return points;
  };

  function distribution(vector, { width, height, about }) {
    const { end } = ES.data.details.kept, points = ES.distribution(vector);
    const [z, f] = points.reduce((far, at) => Math.abs(at[1] - ES.normal(at[0])) > Math.abs(far[1] - ES.normal(far[0])) ? at : far);
    const frame = ES.frame({
      width, height, margin, label: `Distribution function of the entries of ${name(vector)} of ${about}, D = ${ES.format(vector.d)} from the Gaussian one`,
      x: { from: [-end, end], label: 'entry × √n' }, y: { from: [0, 1], label: 'share below' },
    });
    const { plot, x, y } = frame;
    plot.append(svg('path', { class: 'law', d: curve(ES.normal, -end, end, frame) }),
      svg('path', { class: 'raw', d: ES.line(points.map(([a, b]) => [x(a), y(b)])) }),
      svg('path', { class: 'gap', d: `M${x(z).toFixed(1)} ${y(f).toFixed(1)}V${y(ES.normal(z)).toFixed(1)}` }),
      svg('text', { x: x(-end) + 8, y: y(0.92) }, `D = ${ES.format(vector.d)}`));
    return frame.svg;
  }

  const pText = p => Number.isNaN(p) ? 'none' : p <= 1.05e-6 ? '< 1e-6' : ES.format(p);

  function nullOfD(vector, { width, height, about }) {
    const table = ES.data.details.null.find(each => each.n === vector.length);
    if (!table) return null;
    const root = Math.sqrt(vector.length), points = [];
    for (let i = 1; i < table.t.length; i++) {
      const step = (table.t[i] - table.t[i - 1]) / root;
      points.push([(table.t[i] + table.t[i - 1]) / 2 / root, (Math.exp(table.log_p[i - 1]) - Math.exp(table.log_p[i])) / step]);
    }
    const peak = Math.max(...points.map(point => point[1])), far = Math.max(1.6 / root, 1.08 * vector.d);
    const frame = ES.frame({
      width, height, margin, label: `Null distribution of D for ${vector.length} entries; ${name(vector)} of ${about} has D = ${ES.format(vector.d)}, p = ${pText(vector.p)}`,
      x: { from: [0.2 / root, far], label: 'D' }, y: { from: [0, 1.15 * peak], label: 'density' },
    });
    const { plot, x, y } = frame, right = x(vector.d) > (x.to[0] + x.to[1]) / 2;
    plot.append(svg('path', { class: 'control filled', d: `M${x(points[0][0])} ${y.to[0]}L${ES.line(points.map(([a, b]) => [x(a), y(b)])).slice(1)}V${y.to[0]}Z` }),
      svg('path', { class: 'gap', d: `M${x(vector.d).toFixed(1)} ${y.to[0]}V${y.to[1]}` }),
      svg('text', { x: x(vector.d) + (right ? -6 : 6), y: y.to[1] + 12, 'text-anchor': right ? 'end' : 'start' }, `p ${pText(vector.p).startsWith('<') ? '' : '= '}${pText(vector.p)}`));
    return frame.svg;
  }

  /* [title, SVG] of a kept vector. */
  ES.vectorFigures = (vector, options) => [
    ['entries', histogram(vector, options)], ['distribution function', distribution(vector, options)], ['D in its null', nullOfD(vector, options)],
  ].filter(([, figure]) => figure);

  /* "v 12", "u 3": right and left singular vectors by index from 1. */
  ES.vectorName = name;
})();
