/* Scatter: any two columns, a mark a matrix, by role. Click a mark to open its matrix, draw a box to choose many. */
(() => {
  const { el, svg } = ES;
  const NEAR = 18; // pixels
  const SHAPES = [ // strokes about (0, 0): neighbouring roles differ in colour and in shape
    'm-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z', 'm-3.2-3.2h6.4v6.4h-6.4z', 'm0-4.4l4.4 4.4l-4.4 4.4l-4.4-4.4z', 'm-4 3.2l4-7l4 7z',
  ];
  const HUES = 7;

  const pick = (wanted, others) => [wanted, ...others].find(name => name && ES.isNumber(name));

  function axes(state) {
    const columns = Object.keys(ES.data.columns).filter(ES.isNumber);
    return {
      x: pick(state.x, ['num_right_outliers_beyond_signs', 'num_right_outliers', columns[0]]),
      y: pick(state.y, ['stable_rank', columns[1], columns[0]]),
    };
  }

  const positive = column => ES.data.rows[column].some(x => x > 0);

  function legend(roles, counts) {
    return el('ul', { class: 'legend' }, roles.map((role, k) => counts[k] ? el('li', {},
      svg('svg', { width: 14, height: 14, viewBox: '-7 -7 14 14', 'aria-hidden': true }, svg('path', { class: `mark hue${k % HUES}`, d: `M0 0${SHAPES[k % SHAPES.length]}` })),
      ES.link({ q: `role=${ES.quoted([role])}` }, ES.bdi(role, 30)), el('span', { class: 'note' }, ` ${counts[k]}`)) : null));
  }

  function draw(root, state) {
    const { x, y } = axes(state), { rows, error } = ES.filtered(state.q), roles = ES.roles();
    const logs = { x: state.xlog === '1' && positive(x), y: state.ylog === '1' && positive(y) };
    const toggle = (axis, column) => el('label', { class: 'field' }, el('input', { type: 'checkbox', id: `${axis}log`, checked: logs[axis], disabled: !positive(column),
      onchange: event => ES.go({ [`${axis}log`]: event.target.checked ? '1' : null }) }), ' log');
    root.append(el('div', { class: 'controls' },
      el('span', { class: 'pair' }, ES.columnSelect('x', 'x', x, name => ES.go({ x: name })), toggle('x', x)),
      el('span', { class: 'pair' }, ES.columnSelect('y', 'y', y, name => ES.go({ y: name })), toggle('y', y)),
      el('button', { type: 'button', id: 'swap', onclick: () => ES.go({ x: y, y: x, xlog: logs.y ? '1' : null, ylog: logs.x ? '1' : null }) }, 'Swap')),
    el('div', { class: 'controls' }, ES.filterField(`${rows.length} of ${ES.data.size} matrices`, error),
      rows.length < ES.data.size ? el('button', { type: 'button', onclick: () => ES.go({ q: null }) }, 'Clear') : null));

    const [xs, ys] = [ES.data.rows[x], ES.data.rows[y]];
    const there = rows.filter(i => Number.isFinite(xs[i]) && Number.isFinite(ys[i]) && (!logs.x || xs[i] > 0) && (!logs.y || ys[i] > 0));
    const width = ES.width(root), height = Math.round(Math.min(560, Math.max(320, width * 0.62)));
    const frame = ES.frame({ width, height, label: `${y} against ${x}, a mark a matrix`,
      x: { from: ES.extent(there.map(i => xs[i]), logs.x), log: logs.x, label: ES.heading(x) },
      y: { from: ES.extent(there.map(i => ys[i]), logs.y), log: logs.y, label: ES.heading(y) } });
    const same = x.slice(ES.prefixOf(x).length) === y.slice(ES.prefixOf(y).length) && x !== y;
    if (same) {
      const [low, high] = [Math.max(frame.x.from[0], frame.y.from[0]), Math.min(frame.x.from[1], frame.y.from[1])];
      if (low < high) frame.plot.append(svg('path', { class: 'edge', d: ES.line([low, high].map(t => [frame.x(t), frame.y(t)])) }));
    }
    const places = there.map(i => [frame.x(xs[i]), frame.y(ys[i]), i]), counts = roles.map(() => 0), paths = roles.map(() => '');
    const rank = new Map(roles.map((role, k) => [role, k]));
    for (const [px, py, i] of places) {
      const k = rank.get(ES.data.rows.role[i]) ?? 0;
      counts[k]++;
      paths[k] += `M${px.toFixed(1)} ${py.toFixed(1)}${SHAPES[k % SHAPES.length]}`;
    }
    frame.plot.append(...paths.map((d, k) => d && svg('path', { class: `mark hue${k % HUES}`, d })).filter(Boolean));
    const ring = svg('circle', { class: 'cursor', r: 8, visibility: 'hidden' }), box = svg('rect', { class: 'cursor', visibility: 'hidden' });
    frame.plot.append(ring, box);
    const said = el('p', { class: 'note', role: 'status', id: 'mark' });
    const stage = el('div', { class: 'stage', id: 'scatter', tabindex: 0, role: 'application', 'aria-describedby': 'mark',
      'aria-label': 'Scatter plot: left and right move from mark to mark, Enter opens' }, frame.svg);
    const missing = rows.length - there.length;
    root.append(stage, said, el('div', { class: 'controls' }, legend(roles, counts), ES.exportButtons(frame.svg, `${y} against ${x}`)),
      el('p', { class: 'note' }, ES.meaning(x)), el('p', { class: 'note' }, ES.meaning(y)),
      missing ? el('p', { class: 'note' }, `${missing === 1 ? '1 matrix has' : `${missing} matrices have`} no finite${logs.x || logs.y ? ' positive' : ''} value of both.`) : '');
    wire({ stage, said, ring, box, frame, places, x, y });
  }

  function wire({ stage, said, ring, box, frame, places, x, y }) {
    const order = [...places].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    let at = -1, from = null;
    const inside = event => {
      const frameBox = frame.svg.getBoundingClientRect(), scale = frame.svg.viewBox.baseVal.width / frameBox.width;
      return [(event.clientX - frameBox.left) * scale, (event.clientY - frameBox.top) * scale];
    };
    const lines = i => {
      const { name, role, block } = ES.data.rows;
      return [name[i], `${role[i]}${Number.isNaN(block[i]) ? '' : `, block ${block[i]}`}`,
        `${x}: ${ES.format(ES.data.rows[x][i], 4)}`, `${y}: ${ES.format(ES.data.rows[y][i], 4)}`];
    };
    const show = place => {
      ring.setAttribute('visibility', place ? 'visible' : 'hidden');
      if (place) { ring.setAttribute('cx', place[0]); ring.setAttribute('cy', place[1]); }
    };
    const nearest = ([px, py]) => {
      let best = -1, least = NEAR ** 2;
      order.forEach(([ox, oy], k) => {
        const distance = (ox - px) ** 2 + (oy - py) ** 2;
        if (distance < least) { least = distance; best = k; }
      });
      return best;
    };
    const open = () => { if (at >= 0) ES.go({ view: 'matrix', matrix: ES.data.rows.name[order[at][2]] }); };
    const span = (scale, column, a, b) => {
      const [low, high] = [scale.invert(a), scale.invert(b)].sort((p, q) => p - q);
      return `${column}>=${Number(low.toPrecision(4))} ${column}<=${Number(high.toPrecision(4))}`;
    };
    stage.addEventListener('pointerdown', event => {
      from = inside(event);
      if (event.pointerType !== 'touch') event.preventDefault();
      stage.focus({ preventScroll: true });
    });
    stage.addEventListener('pointermove', event => {
      const to = inside(event);
      if (from && event.pointerType !== 'touch' && Math.hypot(to[0] - from[0], to[1] - from[1]) > 5) {
        const rect = { x: Math.min(from[0], to[0]), y: Math.min(from[1], to[1]), width: Math.abs(from[0] - to[0]), height: Math.abs(from[1] - to[1]), visibility: 'visible' };
        for (const [key, value] of Object.entries(rect)) box.setAttribute(key, value);
        return;
      }
      at = nearest(to);
      show(order[at]);
      ES.tooltip(at >= 0 ? event : null, at >= 0 ? lines(order[at][2]) : []);
    });
    stage.addEventListener('pointerup', event => {
      const to = inside(event), drawn = from && box.getAttribute('visibility') === 'visible';
      box.setAttribute('visibility', 'hidden');
      if (drawn) ES.go({ q: `${span(frame.x, x, from[0], to[0])} ${span(frame.y, y, from[1], to[1])}` });
      else if (from) { at = nearest(to); open(); }
      from = null;
    });
    stage.addEventListener('pointercancel', () => { from = null; box.setAttribute('visibility', 'hidden'); });
    stage.addEventListener('pointerleave', () => ES.tooltip(null));
    stage.addEventListener('keydown', event => {
      const move = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
      if (move && order.length) {
        at = Math.max(0, Math.min(order.length - 1, at + move));
        show(order[at]);
        said.textContent = lines(order[at][2]).join('; ');
        event.preventDefault();
      } else if (event.key === 'Enter') open();
    });
  }

  ES.views.scatter = { title: 'Scatter', order: 5, when: data => data.size > 0, draw };
})();
