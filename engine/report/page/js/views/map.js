/* Map: a measure by block and role (and expert), or its excess over the control. Click a cell, or draw over many. */
(() => {
  const { el, svg } = ES;
  const COLORS = 48, GAP = 1;

  const usual = () => ['num_right_outliers_beyond_signs', 'equalised_num_right_outliers', 'num_right_outliers']
    .find(name => ES.data.columns[name]) || Object.keys(ES.data.columns).find(ES.isNumber);

  /* Rows and columns of the map, and the matrices of every cell. */
  function layout(apart) {
    const { role, block, expert } = ES.data.rows, blocks = new Set();
    let outside = false;
    const lines = new Map();
    for (const name of ES.roles()) lines.set(name, { label: name, role: name, expert: null, cells: new Map() });
    for (let i = 0; i < ES.data.size; i++) {
      const at = Number.isNaN(block[i]) ? -1 : block[i];
      if (at < 0) outside = true; else blocks.add(at);
      const number = apart && expert && !Number.isNaN(expert[i]) ? expert[i] : null;
      const key = number === null ? role[i] : `${role[i]}\u0000${number}`;
      if (!lines.has(key)) lines.set(key, { label: `${role[i]} ${number}`, role: role[i], expert: number, cells: new Map() });
      const cells = lines.get(key).cells;
      if (!cells.has(at)) cells.set(at, []);
      cells.get(at).push(i);
    }
    const roles = ES.roles();
    const order = [...lines.values()].filter(line => line.cells.size)
      .sort((a, b) => roles.indexOf(a.role) - roles.indexOf(b.role) || (a.expert ?? -1) - (b.expert ?? -1));
    return { lines: order, blocks: [...[...blocks].sort((a, b) => a - b), ...(outside ? [-1] : [])] };
  }

  function valuesOf(measure, control) {
    const values = ES.data.rows[measure];
    if (!control) return i => values[i];
    const other = ES.data.rows[control];
    return i => values[i] - other[i];
  }

  const expression = (lines, blocks) => {
    const inside = blocks.filter(block => block >= 0), parts = [];
    const roles = [...new Set(lines.map(line => line.role))];
    parts.push(`role=${ES.quoted(roles)}`);
    if (inside.length) parts.push(`block>=${Math.min(...inside)} block<=${Math.max(...inside)}`);
    const experts = lines.map(line => line.expert).filter(each => each !== null);
    if (experts.length) parts.push(`expert>=${Math.min(...experts)} expert<=${Math.max(...experts)}`);
    return parts.join(' ');
  };

  /* How a value becomes a place on the ramp. */
  function ramp(values, signed, log) {
    const known = values.filter(x => Number.isFinite(x) && (!log || x > 0));
    if (signed) {
      const most = Math.max(1e-300, ...known.map(Math.abs));
      return { low: -most, high: most, place: x => 0.5 + x / most / 2, color: ES.signedColor };
    }
    let low = Math.min(...known), high = Math.max(...known);
    if (!known.length) [low, high] = [0, 1];
    const to = log ? Math.log : x => x;
    const place = x => high > low ? Math.max(0, (to(Math.max(x, low)) - to(low)) / (to(high) - to(low))) : 0.5;
    return { low, high, place, color: ES.amountColor };
  }

  const luminance = color => [1, 3, 5].map(i => parseInt(color.slice(i, i + 2), 16)).reduce((sum, c, k) => sum + c * [0.299, 0.587, 0.114][k], 0);

  function draw(root, state) {
    const measure = ES.isNumber(state.measure) ? state.measure : usual(), control = ES.controlOf(measure);
    const excess = state.over === 'control' && control !== null, log = state.scale === 'log' && !excess;
    const experts = ES.data.rows.expert && ES.data.rows.expert.some(x => !Number.isNaN(x));
    const apart = state.experts === 'apart' && experts;
    const { rows, error } = ES.filtered(state.q), among = new Set(rows);
    const { lines, blocks } = layout(apart), value = valuesOf(measure, excess ? control : null);
    const filtering = rows.length < ES.data.size;

    root.append(el('div', { class: 'controls' },
      ES.columnSelect('Measure', 'measure', measure, name => ES.go({ measure: name })),
      control ? ES.select('Show', [['', 'the value'], ['control', 'excess over the control']], excess ? 'control' : '', over => ES.go({ over })) : null,
      excess ? null : ES.select('Scale', [['', 'linear'], ['log', 'logarithmic']], log ? 'log' : '', scale => ES.go({ scale })),
      experts ? ES.select('Experts', [['', 'their median'], ['apart', 'apart']], apart ? 'apart' : '', each => ES.go({ experts: each })) : null),
    el('div', { class: 'controls' }, ES.filterField(`${rows.length} of ${ES.data.size} matrices`, error),
      filtering ? el('button', { type: 'button', onclick: () => ES.go({ q: null }) }, 'Clear') : null,
      filtering ? ES.link({ view: 'table' }, 'In the table') : null));

    const width = ES.width(root), longest = Math.max(...lines.map(line => Math.min(22, line.label.length)));
    const left = Math.min(width * 0.36, 16 + 7.2 * longest), top = 6, step = Math.min(64, (width - left - 4) / blocks.length);
    const height = Math.max(lines.length > 60 ? 9 : 20, Math.min(34, step)), bottom = top + lines.length * height;
    const cells = [], medians = lines.map(line => blocks.map(block => {
      const members = line.cells.get(block);
      return members ? ES.median(members.map(value)) : NaN;
    }));
    const { low, high, place, color } = ramp(medians.flat(), excess, log);
    const fills = Array.from({ length: COLORS }, () => ''), faded = Array.from({ length: COLORS }, () => '');
    const texts = [];
    let empty = '';
    const written = step >= 34 && height >= 18 && lines.length * blocks.length <= 500;
    lines.forEach((line, r) => blocks.forEach((block, c) => {
      const members = line.cells.get(block);
      if (!members) return;
      const x = left + c * step, y = top + r * height, box = `M${x.toFixed(1)} ${y.toFixed(1)}h${(step - GAP).toFixed(1)}v${(height - GAP).toFixed(1)}h${(GAP - step).toFixed(1)}z`;
      const median = medians[r][c], known = Number.isFinite(median);
      cells.push({ r, c, members, median });
      if (!known) { empty += box; return; }
      const k = Math.min(COLORS - 1, Math.floor(place(median) * COLORS)), inside = members.some(i => among.has(i));
      (inside ? fills : faded)[k] += box;
      if (written) {
        const fill = luminance(color((k + 0.5) / COLORS)) > 140 ? '#111' : '#fff';
        texts.push(svg('text', { x: x + step / 2 - 0.5, y: y + height / 2 + 4, 'text-anchor': 'middle', style: inside ? { fill } : {} }, ES.format(median)));
      }
    }));
    const picture = svg('svg', { width, height: bottom + 34, viewBox: `0 0 ${width} ${bottom + 34}`, class: 'chart', role: 'img', 'aria-label': `${measure} by block and role` },
      lines.map((line, r) => svg('text', { class: 'tick', x: left - 6, y: top + (r + 0.5) * height + 4, 'text-anchor': 'end' }, ES.shorten(line.label, Math.max(8, Math.floor(left / 7))))),
      blocks.map((block, c) => c % Math.ceil(24 / step) ? null : svg('text', { class: 'tick', x: left + (c + 0.5) * step, y: bottom + 14, 'text-anchor': 'middle' }, block < 0 ? 'none' : block)),
      svg('text', { class: 'label', x: left + blocks.length * step / 2, y: bottom + 30, 'text-anchor': 'middle' }, 'block'),
      svg('path', { class: 'empty', d: empty }),
      faded.map((d, k) => d && svg('path', { d, style: { fill: color((k + 0.5) / COLORS) }, opacity: 0.22 })).filter(Boolean),
      fills.map((d, k) => d && svg('path', { d, style: { fill: color((k + 0.5) / COLORS) } })).filter(Boolean), texts);
    const cursor = svg('rect', { class: 'cursor', visibility: 'hidden' });
    picture.append(cursor);
    const said = el('p', { class: 'note', role: 'status', id: 'cell' });
    const stage = el('div', { class: 'stage', id: 'map', tabindex: 0, role: 'application', 'aria-label': 'Map of matrices: arrow keys move, shift extends, Enter opens', 'aria-describedby': 'cell' }, picture);
    root.append(stage, said, el('div', { class: 'controls' }, ES.rampLegend(low, high, color, measure), ES.exportButtons(picture, `map ${measure}`)),
      el('p', { class: 'note' }, ES.meaning(measure), excess ? '; here less the control’s value' : '', '. Medians where a cell holds several matrices. Click a cell to open it; draw over cells to choose their matrices.'));
    wire({ stage, cursor, said, lines, blocks, cells, left, top, step, height, width, measure, control, excess });
  }

  /* Pointer and keys. */
  function wire(map) {
    const { stage, cursor, said, lines, blocks, cells, left, top, step, height } = map;
    const places = new Map(cells.map(cell => [`${cell.r} ${cell.c}`, cell]));
    let from = null, at = null, drawn = false;

    const under = event => {
      const box = stage.firstChild.getBoundingClientRect(), scale = map.width / box.width;
      const c = Math.floor(((event.clientX - box.left) * scale - left) / step), r = Math.floor(((event.clientY - box.top) * scale - top) / height);
      return c >= 0 && c < blocks.length && r >= 0 && r < lines.length ? { r, c } : null;
    };
    const describe = ({ r, c }) => {
      const cell = places.get(`${r} ${c}`), where = `${lines[r].label}, ${blocks[c] < 0 ? 'no block' : `block ${blocks[c]}`}`;
      if (!cell) return [where, 'no matrix'];
      const many = cell.members.length > 1 ? `median of ${cell.members.length} matrices` : ES.data.rows.name[cell.members[0]];
      const text = [where, `${map.measure}${map.excess ? ' over the control' : ''}: ${ES.format(cell.median, 4)}`];
      if (map.control && !map.excess) text.push(`control: ${ES.format(ES.median(cell.members.map(i => ES.data.rows[map.control][i])), 4)}`);
      return [...text, many];
    };
    const mark = () => {
      if (!at) { cursor.setAttribute('visibility', 'hidden'); return; }
      const [a, b] = [from || at, at], c = Math.min(a.c, b.c), r = Math.min(a.r, b.r);
      for (const [key, value] of Object.entries({ x: left + c * step - 1, y: top + r * height - 1,
        width: (Math.abs(a.c - b.c) + 1) * step + 1, height: (Math.abs(a.r - b.r) + 1) * height + 1, visibility: 'visible' })) cursor.setAttribute(key, value);
    };
    const open = () => {
      if (from && (from.r !== at.r || from.c !== at.c)) {
        const [r0, r1] = [from.r, at.r].sort((a, b) => a - b), [c0, c1] = [from.c, at.c].sort((a, b) => a - b);
        ES.go({ q: expression(lines.slice(r0, r1 + 1), blocks.slice(c0, c1 + 1)) });
        return;
      }
      const cell = at && places.get(`${at.r} ${at.c}`);
      if (!cell) return;
      if (cell.members.length === 1) ES.go({ view: 'matrix', matrix: ES.data.rows.name[cell.members[0]] });
      else ES.go({ view: 'table', q: expression([lines[at.r]], [blocks[at.c]]) });
    };
    stage.addEventListener('pointerdown', event => {
      from = at = under(event);
      drawn = Boolean(from);
      if (drawn && event.pointerType !== 'touch') event.preventDefault();
      stage.focus({ preventScroll: true });
      mark();
    });
    stage.addEventListener('pointermove', event => {
      const place = under(event);
      if (drawn) { at = place || at; mark(); } else if (place) { at = place; from = null; mark(); }
      ES.tooltip(place ? event : null, place ? describe(place) : []);
    });
    stage.addEventListener('pointerleave', () => { ES.tooltip(null); if (!drawn) { at = null; mark(); } });
    stage.addEventListener('pointerup', () => { if (drawn) { drawn = false; open(); } });
    stage.addEventListener('pointercancel', () => { drawn = false; from = null; });
    stage.addEventListener('keydown', event => {
      const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (move) {
        const start = at || { r: 0, c: -1 };
        if (event.shiftKey) from = from || start; else from = null;
        at = { r: Math.max(0, Math.min(lines.length - 1, start.r + move[0])), c: Math.max(0, Math.min(blocks.length - 1, start.c + move[1])) };
        mark();
        said.textContent = describe(at).join('; ');
        event.preventDefault();
      } else if (event.key === 'Enter' && at) open();
      else if (event.key === 'Escape') { from = at = null; mark(); }
    });
  }

  ES.views.map = { title: 'Map', order: 2, when: data => data.size > 0, draw };
})();
