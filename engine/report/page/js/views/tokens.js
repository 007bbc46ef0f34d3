/* Tokens: a grid of blocks and heads; a circuit opens as its directions. State: `heads` (kind), `colour`, `circuit`, `side`, `first`, `sign`, `token`, `mark`. */
(() => {
  const { el, svg } = ES, COLORS = 48, HITS = 60, LEAST = 9, WIDEST = 40;
  const SHORT = { mlp_in: 'in', mlp_gate: 'gate', mlp_out: 'out' };

  const ofHeads = t => [...new Set(t.data.circuits.kind.filter((_, i) => !Number.isNaN(t.data.circuits.head[i])))];

  /* Columns of the grid: a head of the kind each, then a kind of MLP matrix each; circuits by "column block". */
  function layout(t, kind) {
    const { kind: kinds, head, block } = t.data.circuits, cells = new Map(), blocks = [...new Set(block)].sort((a, b) => a - b);
    const heads = [...new Set(head.filter((h, i) => kinds[i] === kind))].sort((a, b) => a - b);
    const mlp = [...new Set(kinds.filter((_, i) => Number.isNaN(head[i])))];
    kinds.forEach((each, i) => {
      const column = Number.isNaN(head[i]) ? heads.length + mlp.indexOf(each) : each === kind ? heads.indexOf(head[i]) : -1;
      if (column >= 0) cells.set(`${column} ${blocks.indexOf(block[i])}`, i);
    });
    return { cells, blocks, columns: [...heads.map(h => ({ text: String(h), head: true })), ...mlp.map(each => ({ text: SHORT[each] || each, head: false }))] };
  }

  function grid(t, state, measure, kind, width) {
    const { cells, blocks, columns } = layout(t, kind), heads = columns.filter(c => c.head).length, left = 34, top = 20, gap = heads && columns.length > heads ? 10 : 0;
    const step = Math.max(LEAST, Math.min(WIDEST, (width - left - gap - 36 * (columns.length - heads) - 4) / Math.max(1, heads))), wide = Math.max(36, step), height = Math.max(14, Math.min(24, step));
    const x = c => left + Math.min(c, heads) * step + (c >= heads ? gap + (c - heads) * wide : 0), span = c => c < heads ? step : wide;
    const known = Array.from(measure.values).filter(Number.isFinite), low = Math.min(0, ...known), most = Math.max(low, ...known), high = most > low ? most : low + 1;
    const place = v => Math.min(COLORS - 1, Math.floor((v - low) / (high - low) * COLORS)), fills = Array.from({ length: COLORS }, () => ''), total = x(columns.length) + 4, bottom = top + blocks.length * height;
    let empty = '';
    for (const [key, i] of cells) {
      const [c, r] = key.split(' ').map(Number), value = measure.values[i], box = `M${x(c).toFixed(1)} ${top + r * height}h${(span(c) - 1).toFixed(1)}v${height - 1}h${(1 - span(c)).toFixed(1)}z`;
      if (Number.isFinite(value)) fills[place(value)] += box; else empty += box;
    }
    const every = Math.ceil(18 / step), rows = Math.ceil(12 / height);
    const picture = svg('svg', { width: total, height: bottom + 22, viewBox: `0 0 ${total} ${bottom + 22}`, class: 'chart', role: 'img', 'aria-label': `${measure.label} by block and head` },
      columns.map((c, i) => c.head && i % every ? null : svg('text', { class: 'tick', x: x(i) + span(i) / 2, y: top - 6, 'text-anchor': 'middle' }, c.text)),
      blocks.map((b, r) => r % rows ? null : svg('text', { class: 'tick', x: left - 6, y: top + (r + 0.5) * height + 4, 'text-anchor': 'end' }, b)),
      heads ? svg('text', { class: 'label', x: left, y: bottom + 15 }, `head of ${kind}; rows are blocks`) : null,
      columns.length > heads ? svg('text', { class: 'label', x: x(columns.length) - 1, y: bottom + 15, 'text-anchor': 'end' }, 'MLP') : null,
      svg('path', { class: 'empty', d: empty }), fills.map((d, k) => d && svg('path', { d, style: { fill: ES.amountColor((k + 0.5) / COLORS) } })).filter(Boolean));
    const cursor = svg('rect', { class: 'cursor', visibility: 'hidden', height: height + 1 }), chosen = svg('rect', { class: 'cursor open', visibility: 'hidden', height: height + 1 });
    picture.append(chosen, cursor);
    const put = (rect, c, r) => { for (const [key, value] of Object.entries({ x: x(c) - 1, y: top + r * height - 1, width: span(c) + 1, visibility: 'visible' })) rect.setAttribute(key, value); };
    for (const [key, i] of cells) if (t.data.circuits.name[i] === state.circuit) put(chosen, ...key.split(' ').map(Number));
    const said = el('p', { class: 'note', role: 'status', id: 'cell' });
    const stage = el('div', { class: 'stage wide', id: 'circuits', tabindex: 0, role: 'application', 'aria-label': 'Grid of circuits: arrow keys move, Enter opens', 'aria-describedby': 'cell' }, picture);
    wire({ t, stage, said, picture, cells, columns, blocks, measure, put, cursor, total, x, span, top, height });
    return { stage, said, picture, low, high };
  }

  /* Pointer and keys. */
  function wire(g) {
    let at = null;
    const describe = () => { const i = g.cells.get(`${at.c} ${at.r}`); return i === undefined ? ['no circuit'] : [g.t.data.circuits.name[i], `${g.measure.label}: ${ES.format(g.measure.values[i])}`]; };
    const move = place => { at = place; if (at) g.put(g.cursor, at.c, at.r); else g.cursor.setAttribute('visibility', 'hidden'); };
    const under = event => {
      const box = g.picture.getBoundingClientRect(), scale = g.total / box.width, px = (event.clientX - box.left) * scale, r = Math.floor(((event.clientY - box.top) * scale - g.top) / g.height);
      const c = g.columns.findIndex((_, i) => px >= g.x(i) && px < g.x(i) + g.span(i));
      return c >= 0 && r >= 0 && r < g.blocks.length ? { c, r } : null;
    };
    const open = () => {
      const i = at && g.cells.get(`${at.c} ${at.r}`);
      if (i === null || i === undefined) return;
      ES.go({ circuit: g.t.data.circuits.name[i], first: null, sign: null });
      document.getElementById('circuit').scrollIntoView({ block: 'nearest' });
    };
    g.stage.addEventListener('pointermove', event => { move(under(event)); ES.tooltip(at ? event : null, at ? describe() : []); });
    g.stage.addEventListener('pointerleave', () => { ES.tooltip(null); move(null); });
    g.stage.addEventListener('click', event => { move(under(event)); open(); });
    g.stage.addEventListener('keydown', event => {
      const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (by) {
        const { c, r } = at || { c: by[0] > 0 ? -1 : 0, r: by[1] > 0 ? -1 : 0 };
        move({ c: Math.max(0, Math.min(g.columns.length - 1, c + by[0])), r: Math.max(0, Math.min(g.blocks.length - 1, r + by[1])) });
        g.said.textContent = describe().join('; ');
        event.preventDefault();
      } else if (event.key === 'Enter') open();
    });
  }

  function hits(t, query) {
    const { hits: found, whole } = ES.findToken(query), shown = found.slice(0, HITS), { data } = t;
    const count = `${found.length} lists of tokens hold ${whole ? 'it' : 'tokens in which it occurs'}${found.length > HITS ? `; the ${HITS} where it stands first` : ''}`;
    const rows = shown.map(([list, rank]) => {
      const tokens = ES.tokensOf(list), d = list >> 1;
      return el('tr', {}, el('th', { scope: 'row' }, ES.link(ES.placeOfList(list), ES.directionName(d))), el('td', { class: 'text' }, t.sides[d]), el('td', {}, list % 2 ? '−' : '+'),
        el('td', {}, rank + 1), el('td', {}, ES.format(tokens[rank].score)), el('td', { class: 'text' }, ES.bdi(ES.visible(tokens[rank].text), 40)),
        el('td', { class: 'text' }, tokens.slice(0, 6).flatMap((each, i) => [i ? ' ' : '', ES.bdi(ES.visible(each.text), 24)])));
    });
    const headings = ['direction', 'side', 'sign', 'place', 'score', 'token', 'its first tokens'];
    return el('section', { id: 'hits', 'aria-label': 'Directions that hold the token' }, el('p', { role: 'status' }, found.length ? count : 'no list of tokens on this page holds it'),
      rows.length ? el('div', { class: 'scroll hits', tabindex: 0, role: 'group', 'aria-label': 'Hits' }, el('table', {}, el('thead', {}, el('tr', {}, headings.map(name => el('th', { scope: 'col', class: /direction|side|token/.test(name) ? 'text' : null }, name)))), el('tbody', {}, rows))) : null);
  }

  function leftOut({ data }) {
    const parts = [];
    if (data.count < data.total) parts.push(`${data.count} of ${data.total} directions`);
    if (data.tokens < data.lengths) parts.push(`${data.tokens} of ${data.lengths} tokens each`);
    return parts.length ? `There is room for ${parts.join(' and ')} on this page, from both ends of every spectrum; directions.parquet has all. ` : '';
  }

  ES.views.tokens = {
    title: 'Tokens',
    order: 1.5,
    when: data => data.studies.some(study => study.data.tokens && study.data.tokens.circuits.name.length),
    draw(root, state) {
      const t = ES.tokens(), kinds = ofHeads(t), kind = kinds.includes(state.heads) ? state.heads : kinds.find(each => state.circuit && state.circuit.endsWith(`.${each}`)) || kinds[0];
      const measure = t.data.measures.find(each => each.name === state.colour) || t.data.measures[0];
      const search = el('input', { type: 'search', id: 'find-token', value: state.token || '', 'aria-label': 'Find a token', placeholder: 'find a token', oninput: ES.debounce(250, event => ES.go({ token: event.target.value }, true)) });
      root.append(el('div', { class: 'controls' },
        kinds.length > 1 ? ES.select('Heads', kinds.map(each => [each, each]), kind, heads => ES.go({ heads })) : null,
        ES.select('Colour', t.data.measures.map(each => [each.name, each.label]), measure.name, colour => ES.go({ colour })), search,
        el('label', { class: 'field' }, el('input', { type: 'checkbox', id: 'mark', checked: Boolean(state.mark), onchange: event => ES.go({ mark: event.target.checked ? '1' : null }, true) }), ' mark by hand')));
      if (state.token) root.append(hits(t, state.token));
      const { stage, said, picture, low, high } = grid(t, state, measure, kind, ES.width(root));
      root.append(stage, said, el('div', { class: 'controls' }, ES.rampLegend(low, high, ES.amountColor, measure.label), ES.exportButtons(picture, `circuits ${measure.name}`)),
        el('p', { class: 'note' }, `Colour: ${measure.doc}. Click a cell to open the circuit. ${leftOut(t)}A token’s shade is its score over the largest of its list, in steps of 1/255; · is a space in front.`));
      if (state.mark) root.append(ES.markControls());
      const circuit = ES.circuitSection(state.circuit ? state : { ...state, circuit: t.data.circuits.name[0] }, root.clientWidth);
      if (circuit) root.append(circuit);
    },
  };
})();
