/* Table: every matrix; sorted, filtered, with the columns that are chosen; only the rows in sight are in the document. */
(() => {
  const { el } = ES;
  const HEIGHT = 29, AROUND = 4, MOST = 40; // pixels a row; rows beyond the sight; columns at once
  const USUAL = ['name', 'role', 'block', 'expert', 'm', 'n', 'num_right_outliers', 'num_right_outliers_beyond_signs',
    'equalised_num_right_outliers', 'num_left_outliers', 'num_left_outliers_beyond_signs', 'equalised_num_left_outliers',
    'stable_rank', 'alpha', 'mp_ks', 'phase', 'status'];
  const chooser = { open: false, find: '', scroll: 0 };
  const view = { top: 0, key: '' };

  const known = value => typeof value === 'string' ? true : !Number.isNaN(value) && value !== null;

  function chosen(state) {
    const { columns, rows } = ES.data;
    const asked = (state.columns || '').split(',').filter(name => columns[name]);
    if (asked.length) return [...new Set(['name', ...asked])].slice(0, MOST);
    return USUAL.filter(name => columns[name] && (name === 'name' || rows[name].some(known)));
  }

  const sorting = state => {
    const text = state.sort || 'name', down = text.startsWith('-'), column = down ? text.slice(1) : text;
    return ES.data.columns[column] ? { column, down } : { column: 'name', down: false };
  };

  function heading(column, by) {
    const numeric = ES.isNumber(column), first = numeric ? `-${column}` : column, other = numeric ? column : `-${column}`;
    const present = (by.down ? '-' : '') + by.column, { doc } = ES.data.columns[column];
    const sort = by.column !== column ? null : by.down ? 'descending' : 'ascending';
    return el('th', { scope: 'col', 'aria-sort': sort, class: numeric ? null : 'text' },
      el('button', { type: 'button', id: `by-${column}`, title: doc, onclick: () => ES.go({ sort: present === first ? other : first }, true) },
        column.replace(/_/g, '_\u200b')));
  }

  function cell(column, i) {
    const value = ES.data.rows[column][i];
    if (ES.isNumber(column)) return el('td', {}, ES.format(value, 4));
    if (column === 'status' && value !== 'ok') return el('td', { class: 'text bad', title: value }, ES.bdi(value || '', 60));
    if (column !== 'name') return el('td', { class: 'text', title: value && value.length > 40 ? ES.shorten(value, 600) : null }, ES.bdi(value || '', 60));
    return el('th', { scope: 'row', class: 'text', title: value.length > 60 ? ES.shorten(value, 600) : null },
      ES.link({ view: 'matrix', matrix: value }, ES.bdi(value, 80)));
  }

  /* A value as text that reads back as the number of the table. */
  const plain = (values, i) => {
    const value = values[i];
    if (typeof value !== 'number') return value === null ? '' : String(value);
    if (Number.isNaN(value)) return '';
    return Number.isFinite(value) ? String(values instanceof Float32Array ? Number(value.toPrecision(8)) : value) : value > 0 ? 'inf' : '-inf';
  };

  ES.csv = (columns, rows) => {
    const quoted = text => /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
    const lines = rows.map(i => columns.map(column => quoted(plain(ES.data.rows[column], i))).join(','));
    return [columns.map(quoted).join(','), ...lines].join('\n') + '\n';
  };

  function save(columns, rows) {
    const url = URL.createObjectURL(new Blob([ES.csv(columns, rows)], { type: 'text/csv' }));
    el('a', { href: url, download: 'matrices.csv' }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  function choice(columns) {
    const list = el('div', { class: 'list', tabindex: 0, role: 'group', 'aria-label': 'Columns', onscroll: event => { chooser.scroll = event.target.scrollTop; } });
    const toggle = (name, on) => {
      const next = on ? [...columns, name] : columns.filter(each => each !== name);
      ES.go({ columns: next.length > 1 ? next.join(',') : 'name' }, true);
    };
    const fill = () => {
      const words = chooser.find.toLowerCase().split(/\s+/).filter(Boolean);
      list.replaceChildren(...Object.entries(ES.data.columns).filter(([name, { doc }]) =>
        name !== 'name' && words.every(word => `${name} ${doc}`.toLowerCase().includes(word))).map(([name, { doc, unit }]) =>
        el('label', {}, el('input', { type: 'checkbox', id: `show-${name}`, checked: columns.includes(name), onchange: event => toggle(name, event.target.checked) }),
          el('code', {}, name), el('span', { class: 'note' }, unit ? `${unit}  ` : '', ES.prose(doc)))));
      list.scrollTop = chooser.scroll;
    };
    const find = el('input', { type: 'search', id: 'find-column', value: chooser.find, 'aria-label': 'Find a column', placeholder: 'find a column',
      oninput: event => { chooser.find = event.target.value; chooser.scroll = 0; fill(); } });
    const usual = el('button', { type: 'button', onclick: () => ES.go({ columns: null }, true) }, 'The usual ones');
    const box = el('details', { class: 'chooser', open: chooser.open, ontoggle: event => {
      chooser.open = event.target.open;
      if (chooser.open) fill(); else list.replaceChildren();
    } }, el('summary', { id: 'choose' }, `Columns: ${columns.length} of ${Object.keys(ES.data.columns).length}`),
    el('div', { class: 'controls' }, find, usual, columns.length >= MOST ? el('span', { class: 'note' }, `at most ${MOST} at once`) : null), list);
    return box;
  }

  function body(columns, order, by) {
    const rows = el('tbody', {}), space = [el('tr', { 'aria-hidden': true }), el('tr', { 'aria-hidden': true })];
    const head = el('thead', {}, el('tr', { 'aria-rowindex': 1 }, columns.map(column => heading(column, by))));
    const table = el('table', { id: 'all', 'aria-rowcount': order.length + 1, 'aria-label': 'Matrices' }, head, rows);
    const box = el('div', { class: 'window', tabindex: 0, role: 'group', 'aria-label': 'Table of matrices' }, table);
    const sight = Math.min(0.72 * innerHeight, 860);
    let shown = '';
    const fill = () => {
      const first = Math.max(0, Math.floor(box.scrollTop / HEIGHT) - AROUND);
      const last = Math.min(order.length, Math.ceil((box.scrollTop + sight) / HEIGHT) + AROUND);
      view.top = box.scrollTop;
      if (`${first} ${last}` === shown) return;
      shown = `${first} ${last}`;
      space[0].style.height = `${first * HEIGHT}px`;
      space[1].style.height = `${(order.length - last) * HEIGHT}px`;
      rows.replaceChildren(space[0], ...order.slice(first, last).map((i, k) =>
        el('tr', { 'aria-rowindex': first + k + 2 }, columns.map(column => cell(column, i)))), space[1]);
    };
    box.addEventListener('scroll', fill, { passive: true });
    return { box, fill };
  }

  ES.views.table = {
    title: 'Table',
    order: 3,
    when: data => data.size > 0,
    draw(root, state) {
      const columns = chosen(state), by = sorting(state), { rows, error } = ES.filtered(state.q);
      const order = ES.sorted(rows, by.column, by.down);
      const count = `${rows.length} of ${ES.data.size} matrices`;
      root.append(el('div', { class: 'controls' }, ES.filterField(count, error),
        el('button', { type: 'button', id: 'csv', onclick: () => save(columns, order) }, 'CSV')), choice(columns));
      const { box, fill } = body(columns, order, by);
      root.append(box, el('p', { class: 'note' }, 'A heading sorts; a name opens the matrix. Expressions: ', el('code', {}, 'role:mlp_up left>20 block>=3'),
        ', ', el('code', {}, 'a|b'), ' for either, ', el('code', {}, '-'), ' for not; bare words are looked for in name, role, phase and status.'));
      const key = `${state.q}|${state.sort}`;
      box.scrollTop = view.key === key ? view.top : 0;
      view.key = key;
      fill();
    },
  };
})();
