/* Matrix: one matrix, up to three more pinned beside it. State: `matrix` (name), `pins` (rows), `show` (readings), `axes`, `vector`. */
(() => {
  const { el } = ES, MOST = 4, LEAST_WIDTH = 300, MOST_NAMES = 300;
  const SIDES = { right: 'right vectors v (input space)', left: 'left vectors u (output space)' };
  const cell = (name, row) => ES.data.rows[name] ? ES.data.rows[name][row] : null;
  const block = row => { const x = cell('block', row); return Number.isNaN(x) || x === null ? null : x; };
  const expert = row => { const x = cell('expert', row); return Number.isNaN(x) || x === null ? null : x; };
  const role = row => cell('role', row);
  const all = () => Array.from({ length: ES.data.size }, (_, i) => i);
  const order = name => { const i = ES.data.roles.indexOf(name); return i < 0 ? ES.data.roles.length : i; };
  const rolesThere = () => [...new Set(ES.data.rows.role)].sort((a, b) => order(a) - order(b) || (a < b ? -1 : 1));

  const current = state => { const row = ES.row(state.matrix); return row < 0 ? 0 : row; };
  const pinned = state => [...new Set((state.pins || '').split('.').map(Number))].filter(row => Number.isInteger(row) && row >= 0 && row < ES.data.size && state.pins)
    .slice(0, MOST);
  const to = row => ({ matrix: cell('name', row), vector: null });

  /* Of the rows that satisfy `test`, the one of the same place among its likes: same expert, else the first. */
  const like = (row, test) => {
    const rows = all().filter(test);
    return rows.find(other => expert(other) === expert(row)) ?? rows[0] ?? null;
  };

  /* The matrix `step` blocks away with the same role; null where there is none. */
  function besideBlock(row, step) {
    const same = all().filter(other => role(other) === role(row) && expert(other) === expert(row));
    if (block(row) === null) return same[same.indexOf(row) + step] ?? null;
    const blocks = [...new Set(same.map(block))].filter(b => b !== null).sort((a, b) => a - b), next = blocks[blocks.indexOf(block(row)) + step];
    return next === undefined ? null : same.find(other => block(other) === next);
  }

  /* The matrix of the same block in the next role that has one. */
  function besideRole(row, step) {
    const roles = rolesThere();
    for (let i = roles.indexOf(role(row)) + step; i >= 0 && i < roles.length; i += step) {
      const found = like(row, other => role(other) === roles[i] && block(other) === block(row));
      if (found !== null) return found;
    }
    return null;
  }

  const KEYS = { ArrowUp: row => besideBlock(row, -1), ArrowDown: row => besideBlock(row, 1), ArrowLeft: row => besideRole(row, -1), ArrowRight: row => besideRole(row, 1) };

  addEventListener('keydown', event => {
    const move = KEYS[event.key];
    if (!move || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (document.getElementById('main').dataset.view !== 'matrix' || event.target.closest('input, select, textarea, .scroll')) return;
    event.preventDefault();
    const next = move(current(ES.state));
    if (next !== null) ES.go(to(next));
  });

  const field = (label, id, options, value, pick) => el('label', { class: 'field' }, label, ' ',
    el('select', { id, onchange: event => pick(event.target.value) }, options.map(([key, text]) =>
      el('option', { value: key, selected: String(key) === String(value) }, text))));

  function chooser(row, state) {
    const blocks = [...new Set(all().filter(other => role(other) === role(row)).map(block))].sort((a, b) => a - b);
    const names = all().filter(other => role(other) === role(row) && block(other) === block(row));
    const shown = names.length <= MOST_NAMES ? names : [...new Set([...names.slice(0, MOST_NAMES), row])];
    const ofRole = name => like(row, other => role(other) === name && block(other) === block(row)) ?? like(row, other => role(other) === name);
    const step = (label, text, next) => el('button', {
      type: 'button', id: `go-${label.replace(/ /g, '-')}`, 'aria-label': label, disabled: next === null, onclick: () => ES.go(to(next)),
    }, text);
    return el('div', { class: 'controls' },
      field('Role', 'role', rolesThere().map(name => [name, ES.shorten(name, 30)]), role(row), name => ES.go(to(ofRole(name)))),
      blocks.length > 1 || blocks[0] !== null ? field('Block', 'block', blocks.map(b => [b ?? '', b ?? '–']), block(row) ?? '',
        b => ES.go(to(like(row, other => role(other) === role(row) && String(block(other) ?? '') === b)))) : null,
      names.length > 1 ? field(names.length > shown.length ? `Matrix (${shown.length} of ${names.length})` : 'Matrix', 'which',
        shown.map(other => [other, ES.shorten(cell('name', other), 60)]), row, other => ES.go(to(Number(other)))) : null,
      el('span', { class: 'steps' },
        step('previous block', '↑', besideBlock(row, -1)), step('next block', '↓', besideBlock(row, 1)),
        step('previous role', '←', besideRole(row, -1)), step('next role', '→', besideRole(row, 1))),
      pinButton(row, pinned(state)));
  }

  function pinButton(row, pins) {
    const there = pins.includes(row), next = there ? pins.filter(pin => pin !== row) : [...pins, row];
    return el('button', {
      type: 'button', id: 'pin', 'aria-pressed': String(there), disabled: !there && pins.length >= MOST,
      onclick: () => ES.go({ pins: next.join('.') }),
    }, there ? 'Unpin' : 'Pin beside others');
  }

  const kind = prefix => prefix === '' ? 'raw' : prefix === 'equalised_' ? 'equalised' : 'control';

  const chosenReadings = state => {
    const there = ES.data.readings.map((_, i) => i), asked = (state.show || '').split('.').map(Number);
    return state.show ? there.filter(i => asked.includes(i)) : there;
  };

  function toggles(state) {
    const chosen = chosenReadings(state);
    const toggle = (reading, i) => {
      const next = chosen.includes(i) ? chosen.filter(j => j !== i) : [...chosen, i].sort((a, b) => a - b);
      return el('label', { class: `toggle ${kind(reading.prefix)}` }, el('input', {
        type: 'checkbox', id: `show-${i}`, checked: chosen.includes(i), disabled: chosen.length === 1 && chosen.includes(i),
        onchange: () => ES.go({ show: next.length === ES.data.readings.length ? null : next.join('.') }, true),
      }), el('span', { class: 'swatch' }), reading.label);
    };
    return el('div', { class: 'controls', role: 'group', 'aria-label': 'What is drawn' }, ES.data.readings.map(toggle),
      el('label', { class: 'toggle' }, el('input', {
        type: 'checkbox', id: 'log', checked: state.axes === 'log', onchange: event => ES.go({ axes: event.target.checked ? 'log' : null }, true),
      }), 'logarithmic axes'));
  }

  const pair = (row, prefix, what) => {
    const [right, left] = ['right', 'left'].map(side => cell(what.replace('SIDE', side), row) ?? NaN);
    return Number.isNaN(right) && Number.isNaN(left) ? 'no test' : `${ES.format(right)} right, ${ES.format(left)} left`;
  };

  function facts(row) {
    const place = [role(row), block(row) === null ? null : `block ${block(row)}`, expert(row) === null ? null : `expert ${expert(row)}`];
    const short = prefix => prefix === '' ? 'as it is' : prefix.replace(/^control_/, 'control, ').replace(/_$/, '');
    const counts = ES.data.readings.map(({ prefix }) => `${pair(row, prefix, `${prefix}num_SIDE_outliers`)} (${short(prefix)})`);
    if (ES.data.rows.num_right_outliers_beyond_signs) counts.push(`${pair(row, '', 'num_SIDE_outliers_beyond_signs')} (beyond random signs)`);
    const known = [
      ['what', `${place.filter(Boolean).join(', ')}; ${cell('m', row)} × ${cell('n', row)}, ${cell('dtype', row) ?? ''}`],
      ['outliers', counts.join('; ')],
      ['rejected vectors', pair(row, '', 'rejected_SIDE')],
      ['bulk', cell('mp_verdict', row)],
      ['phase', cell('phase', row)],
    ].filter(([, value]) => value);
    return el('dl', { class: 'facts' }, known.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, ES.bdi(value))]));
  }

  const figure = (title, drawn, file) => el('figure', {}, el('figcaption', {}, el('span', {}, title), ES.exportButtons(drawn, file)), drawn);

  function vectors(row, state, options, file) {
    const kept = ES.keptVectors(row), title = el('h3', {}, 'One vector’s entries against the Gaussian');
    if (!kept || !kept.length) {
      const why = kept ? 'No entries are kept of this matrix: its vectors were not at hand, as those of a streamed one.'
        : 'This run keeps no entries of singular vectors: it is older than they are, or its sweep had neither the equalised reading nor random signs.';
      return [title, el('p', { class: 'note' }, why)];
    }
    const [side, index] = (state.vector || '').split(':');
    const furthest = kept.reduce((far, vector) => vector.d * Math.sqrt(vector.length) > far.d * Math.sqrt(far.length) ? vector : far);
    const asked = kept.find(vector => vector.side === side && vector.index === index - 1), shown = asked || furthest;
    const said = state.vector && !asked ? el('p', { class: 'note' }, `Of this matrix the entries of ${side === 'left' ? 'u' : 'v'} ${Number(index)} are not kept; the most unlike a Gaussian is shown.`) : null;
    const pick = el('select', { id: `vector-${row}`, 'aria-label': `Vector of ${options.about}`, onchange: event => ES.go({ vector: event.target.value }, true) },
      kept.map(vector => el('option', { value: `${vector.side}:${vector.index + 1}`, selected: vector === shown },
        `${ES.vectorName(vector)}: D = ${ES.format(vector.d)}`)));
    return [title, el('p', { class: 'field' }, 'Kept vectors (v right, u left) ', pick), said,
      el('div', { class: 'trio' }, ES.vectorFigures(shown, options).map(([what, drawn]) =>
        figure(`${ES.vectorName(shown)}: ${what}`, drawn, `${file} ${ES.vectorName(shown)} ${what}`)))];
  }

  /* Everything of one matrix; `wide` where it has the page's width to itself. */
  function column(row, state, space, wide, common) {
    const name = cell('name', row), about = ES.shorten(name, 80), file = name, log = state.axes === 'log';
    const head = el('h2', { class: 'name' }, el('bdi', {}, ES.shorten(name, 200).split(/(?<=[._])/).slice(0, 40).flatMap(part => [part, el('wbr')])));
    const readings = common.readings.get(row);
    if (!readings.length) {
      return el('section', { class: 'matrix', 'data-row': row }, head, facts(row),
        el('p', { class: 'bad' }, cell('status', row) === 'ok' ? 'The run keeps no spectrum of this matrix.' : ES.bdi(cell('status', row))));
    }
    const half = wide && space > 760, width = half ? Math.floor((space - 24) / 2) : space;
    const choose = side => i => ES.go({ vector: `${side}:${i + 1}`, matrix: name }, true);
    const options = { width, about, log };
    const { bins, size, values } = common.limits;
    const panels = [
      figure(`Spectrum${readings[0].thinned ? ', bulk thinned' : ''}`, ES.spectrumFigure(readings, { ...options, limits: bins }), `${file} spectrum`),
      figure('Singular values by rank', ES.rankFigure(readings, { ...options, limits: { size, values } }), `${file} ranks`),
      ...Object.keys(SIDES).map(side => figure(`p-values, ${SIDES[side]}${readings[0].p[side].thinned ? ', thinned' : ''}`,
        ES.pFigure(readings, side, { ...options, size, chosen: choose(side) }), `${file} p-values ${side}`)),
    ];
    const third = half ? Math.floor((space - 48) / 3) : space;
    return el('section', { class: 'matrix', 'data-row': row, 'aria-label': about }, head, facts(row), el('div', { class: half ? 'two' : null }, panels),
      ...vectors(row, row === current(state) ? state : {}, { about, width: third, height: 200 }, file), lists(row, readings[0]));
  }

  /* The figures' numbers as a table, made when it is opened. */
  function lists(row, reading) {
    const fold = el('details', { id: `list-${row}` }, el('summary', {}, 'Outliers and rejected vectors as a table'));
    fold.addEventListener('toggle', () => {
      if (!fold.open || fold.children.length > 1) return;
      const { right, left, size, p } = reading, MOST_ROWS = 150;
      const chosen = [...new Set([...Array(size).keys()].filter(i => i < right || i >= size - left).concat([...p.right.rejected, ...p.left.rejected]))].sort((a, b) => a - b);
      const rows = chosen.slice(0, MOST_ROWS).map(i => {
        const [where, values, ps, rejected] = ES.vectorLines(reading, i);
        return [String(i + 1), ES.format(reading.values[i] * reading.unit, 4), ES.format(reading.values[i], 4), ...ps.split(', ').map(x => x.split('= ').pop().replace(/^p \w+ /, '')), (rejected || '').replace('rejected: ', ''), where.includes('outlier') ? where.split(', ')[1].split(' ')[0] : ''];
      });
      fold.append(ES.textTable([['index', ''], ['s', 'singular value'], ['ν', 's/(σ √max(m, n))'], ['p right', ''], ['p left', ''], ['rejected', ''], ['outlier', '']], rows, `Outliers and rejected vectors of ${ES.shorten(cell('name', row), 60)}`));
      if (chosen.length > MOST_ROWS) fold.append(el('p', { class: 'note' }, `The first ${MOST_ROWS} of ${chosen.length}.`));
    });
    return fold;
  }

  ES.views.matrix = {
    title: 'Matrix',
    order: 4,
    when: data => data.size > 0,
    draw(root, state) {
      const row = current(state), pins = pinned(state), prefixes = chosenReadings(state).map(i => ES.data.readings[i].prefix);
      const rows = pins.includes(row) ? pins : [...pins.slice(0, MOST - 1), row];
      if (state.matrix && ES.row(state.matrix) < 0) root.append(el('p', { class: 'bad', role: 'alert' }, 'No matrix is called ', ES.bdi(state.matrix, 120), '.'));
      root.append(chooser(row, state), toggles(state));
      const readings = new Map(rows.map(each => [each, prefixes.map(prefix => ES.reading(each, prefix)).filter(Boolean)]));
      const there = rows.filter(each => readings.get(each).length);
      const common = { readings, limits: there.length ? ES.commonLimits(there.map(each => readings.get(each)), state.axes === 'log') : null };
      const width = root.clientWidth, abreast = Math.max(1, Math.min(rows.length, Math.floor(width / LEAST_WIDTH)));
      const space = Math.floor((width - 24 * (abreast - 1)) / abreast);
      const columns = el('div', { class: 'columns', style: { '--abreast': abreast } });
      root.append(columns, el('p', { class: 'note' }, 'Dashed: the law’s edges; dotted: what entries of one scale reach at the level of the tests; ticks at the axis: outliers and '
        + 'rejected vectors. Grey bands: one standard deviation of noise’s averages. A click on a p-value shows that vector’s entries where they are kept. Arrow keys: up and down '
        + 'for the neighbouring block of the same role, left and right for the neighbouring role.'));
      for (const each of rows) columns.append(column(each, state, space, rows.length === 1, common));
    },
  };
})();
