/* Compare: runs beside each other. State: `couple` (which run against which), `pair` (its place), `measures` (all),
   `by` (sorting), `find`, `first` (row). */
(() => {
  const { el } = ES, ROWS = 40;
  const data = () => (ES.data.studies.find(study => study.data.compare) || { data: {} }).data.compare;
  const number = x => Number.isNaN(x) || x === null ? null : x;

  let cache = null;

  /* What is derived once: where spectra begin, movement by pair, pairs by couple. */
  function derived() {
    if (cache) return cache;
    const { pairs, spectra, moved } = data(), start = new Uint32Array(spectra.count.length + 1);
    spectra.count.forEach((count, i) => { start[i + 1] = start[i] + count; });
    const movement = new Map(Array.from(moved.pair, (pair, i) => [pair, i])), ofCouple = data().couples.map(() => []);
    for (let i = 0; i < pairs.size; i++) ofCouple[pairs.couple[i]].push(i);
    cache = { start, movement, ofCouple };
    return cache;
  }

  function spectrum(pair, which) {
    const { spectra } = data(), place = 3 * pair + which, { start } = derived(), from = start[place], to = start[place + 1];
    return ES.unthinned(spectra.index.subarray(from, to), spectra.value.subarray(from, to), spectra.size[place]);
  }

  const coupleOf = state => Math.min(Math.max(0, Number(state.couple) || 0), data().couples.length - 1);
  const name = pair => data().pairs.pair[pair];

  /* The pair that is looked at: the one asked for, or its like among the present couple's, or the first. */
  function pairOf(state) {
    const mine = derived().ofCouple[coupleOf(state)];
    return mine.find(i => name(i) === state.pair) ?? mine[0] ?? -1;
  }

  const said = ({ run, other }) => run === other ? run : `${run} → ${other}`;
  const place = pair => {
    const { pairs } = data(), [a, b] = [number(pairs.block[pair]), number(pairs.block_other[pair])];
    return a === null ? '' : a === b ? `block ${a}` : `block ${a} and ${b}`;
  };

  const go = patch => ES.go({ first: null, ...patch }, true);
  const step = by => { const next = coupleOf(ES.state) + by; if (next >= 0 && next < data().couples.length) go({ couple: next }); };
  function turn(by) {
    const mine = derived().ofCouple[coupleOf(ES.state)], next = mine[mine.indexOf(pairOf(ES.state)) + by];
    if (next !== undefined) ES.go({ pair: name(next) }, true);
  }

  const KEYS = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => turn(-1), ArrowDown: () => turn(1) };
  addEventListener('keydown', event => {
    const move = KEYS[event.key];
    if (!move || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (document.getElementById('main').dataset.view !== 'compare' || event.target.closest('input, select, textarea, .scroll')) return;
    event.preventDefault();
    move();
  });

  function chooser(state) {
    const { couples, pairs, runs } = data(), couple = coupleOf(state), mine = derived().ofCouple[couple], pair = pairOf(state);
    const roles = [...new Set(mine.map(i => pairs.role[i]))], ofRole = mine.filter(i => pairs.role[i] === pairs.role[pair]);
    const about = runs.find(run => run.name === couples[couple].other) || {};
    const text = `${said(couples[couple])}${number(about.step ?? null) === null ? '' : `, step ${about.step}`}`;
    const slider = couples.length > 1 ? el('label', { class: 'field slider' }, 'Run ', el('input', {
      type: 'range', id: 'couple', min: 0, max: couples.length - 1, step: 1, value: couple, 'aria-valuetext': text, oninput: event => go({ couple: event.target.value }),
    }), ` ${couple + 1} of ${couples.length}`) : null;
    const field = (label, id, options, value, pick) => el('label', { class: 'field' }, label, ' ', el('select', { id, onchange: event => pick(event.target.value) },
      options.map(([key, shown]) => el('option', { value: key, selected: String(key) === String(value) }, shown))));
    return el('div', { class: 'controls' }, slider,
      field('Role', 'role', roles.map(role => [role, ES.shorten(role, 40)]), pairs.role[pair], role => ES.go({ pair: name(mine.find(i => pairs.role[i] === role)) }, true)),
      ofRole.length > 1 ? field('Matrix', 'which', ofRole.map(i => [i, ES.shorten(`${place(i)} ${name(i)}`, 70)]), pair, i => ES.go({ pair: name(Number(i)) }, true)) : null);
  }

  function facts(pair) {
    const { pairs, moved } = data(), i = derived().movement.get(pair), shape = end => `${pairs[`m${end}`][pair]} × ${pairs[`n${end}`][pair]}`;
    const same = shape('') === shape('_other') ? shape('') : `${shape('')} and ${shape('_other')}`;
    const entries = [['matched by', `${pairs.matched_by[pair]}${place(pair) ? `, ${place(pair)}` : ''}${Number.isNaN(pairs.m[pair]) ? '' : `; ${same}`}`]];
    if (pairs.name_other[pair] && pairs.name_other[pair] !== name(pair)) entries.push(['with', ES.shorten(pairs.name_other[pair], 160)]);
    if (pairs.phase[pair]) entries.push(['phase', pairs.phase[pair] === pairs.phase_other[pair] ? pairs.phase[pair] : `${pairs.phase[pair]} → ${pairs.phase_other[pair]}`]);
    if (i !== undefined) {
      const f = (key, digits = 3) => ES.format(moved[key][i], digits);
      entries.push(['moved', `|W′ − W| / |W| = ${f('relative')}, cosine of the entries ${f('cosine', 4)}, ${ES.format(100 * moved.changed[i])} % of the entries differ`]);
      entries.push(['directions of W′ − W', `${f('directions')}${moved.by[i] ? ` (${moved.by[i]})` : ''}: as it is ${f('raw')}, beyond random signs ${f('signs')}, equalised ${f('equalised')}; rank ${f('rank')}; ${moved.verdict[i]}`]);
      if (moved.angles[i].right.length) {
        const degrees = side => `${Array.from(moved.angles[i][side]).map(x => ES.format(x, 2)).join(', ')}°`;
        entries.push(['right subspaces', `overlap ${f('right')} (99 % of random ones below ${f('null')}); angles ${degrees('right')}`]);
        entries.push(['left subspaces', `overlap ${f('left')} (99 % of random ones below ${f('nullLeft')}); angles ${degrees('left')}`]);
      }
    }
    return el('dl', { class: 'facts' }, entries.flatMap(([what, value]) => [el('dt', {}, what), el('dd', {}, ES.bdi(value))]));
  }

  function figures(pair, width) {
    const { pairs, moved, couples } = data(), i = derived().movement.get(pair), { run, other } = couples[pairs.couple[pair]];
    const of = (which, title, kind, end, sigma) => ({ name: ES.shorten(title, 40), class: kind, values: spectrum(pair, which), m: pairs[`m${end}`][pair], n: pairs[`n${end}`][pair], sigma });
    const spectra = [of(0, run, 'control', '', pairs.sigma[pair]), of(1, other, 'raw', '_other', pairs.sigma_other[pair])];
    if (i !== undefined) spectra.push(of(2, 'difference', 'law', '', moved.sigma[i]));
    if (!spectra.some(s => s.values.length)) return [el('p', { class: 'note' }, 'Medians over several matrices have no spectrum of their own.')];
    const about = ES.shorten(name(pair), 60), half = width > 760 ? Math.floor((width - 24) / 2) : width;
    const legend = el('p', { class: 'legend' }, spectra.filter(s => s.values.length).map(s => el('span', { class: 'toggle' },
      ES.svg('svg', { width: 22, height: 10, 'aria-hidden': 'true' }, ES.svg('path', { class: `${s.class} line`, d: 'M0 5H22' })), ES.bdi(s.name))));
    const drawn = [['Singular values by rank', ES.overlaidRanks(spectra, { width: half, about })], ['Each beside the law of its shape', ES.overlaidDensities(spectra, { width: half, about })]];
    return [legend, el('div', { class: half < width ? 'two' : null }, drawn.filter(([, svg]) => svg).map(([title, svg]) =>
      el('figure', {}, el('figcaption', {}, el('span', {}, title), ES.exportButtons(svg, `${about} ${title}`)), svg))),
    el('p', { class: 'note' }, 'Dashed: the right edge, and the density, of noise with the fitted σ. Arrow keys: left and right for the run, up and down for the matrix.')];
  }

  /* Columns of the table: heading, meaning, value of row k (for sorting), text. */
  const COLUMNS = [
    ['matrix', 'in the first run', k => name(data().differences.pair[k])],
    ['role', '', k => data().pairs.role[data().differences.pair[k]]],
    ['block', 'in the first run, from 0', k => number(data().pairs.block[data().differences.pair[k]])],
    ['measure', 'column of matrices.parquet', k => measure(k).name],
    ['run', 'value in the first', k => data().differences.value[k]],
    ['other', 'value in the second', k => data().differences.value_other[k]],
    ['difference', 'second minus first', k => data().differences.value_other[k] - data().differences.value[k]],
    ['size', 'difference in spreads of the measure over the matrices of the role', k => data().differences.size[k]],
  ];
  const measure = k => data().differences.measures[data().differences.measure[k]];

  /* The rows of a couple that are wanted, in the order that is wanted; by default the largest sizes first. */
  function order(state) {
    const { differences, pairs } = data(), couple = coupleOf(state), words = (state.find || '').toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [];
    for (let k = 0; k < differences.pair.length; k++) {
      const pair = differences.pair[k];
      if (pairs.couple[pair] !== couple || (state.measures !== 'all' && !measure(k).leading)) continue;
      if (words.length && !words.every(word => `${name(pair)} ${pairs.role[pair]} ${measure(k).name}`.toLowerCase().includes(word))) continue;
      rows.push(k);
    }
    const down = (state.by || '-').startsWith('-'), column = COLUMNS.find(([heading]) => heading === (state.by || '').replace('-', ''));
    if (!column) return rows; // as they come: by size
    const value = column[0] === 'size' || column[0] === 'difference' ? k => Math.abs(column[2](k)) : column[2];
    const key = new Map(rows.map(k => [k, value(k)])), missing = x => x === null || Number.isNaN(x);
    const compare = (a, b) => typeof a === 'string' ? a.localeCompare(b, 'en', { numeric: true }) : a - b;
    return rows.sort((a, b) => missing(key.get(a)) - missing(key.get(b)) || (down ? compare(key.get(b), key.get(a)) : compare(key.get(a), key.get(b))) || a - b);
  }

  function table(state) {
    const { differences } = data(), rows = order(state), first = Math.min(Math.max(0, Number(state.first) || 0), Math.max(0, rows.length - 1));
    const by = state.by || '-size', column = by.replace('-', '');
    const heads = COLUMNS.map(([heading, what]) => el('th', { scope: 'col', title: what || null, 'aria-sort': heading === column ? (by.startsWith('-') ? 'descending' : 'ascending') : null },
      el('button', { type: 'button', class: 'sort', id: `by-${heading}`, onclick: () => go({ by: by === `-${heading}` ? heading : `-${heading}` }) }, heading)));
    const cells = k => {
      const pair = differences.pair[k], share = differences.share[k] ? ' / b' : '';
      return [el('th', { scope: 'row' }, ES.link({ pair: name(pair) }, ES.bdi(name(pair), 60))),
        el('td', {}, ES.bdi(data().pairs.role[pair], 40)), el('td', {}, ES.format(number(data().pairs.block[pair]))),
        el('td', { title: measure(k).doc }, `${measure(k).name}${share}`), ...COLUMNS.slice(4).map(([, , value]) => el('td', {}, ES.format(value(k))))];
    };
    const move = (label, text, to, off) => el('button', { type: 'button', id: `rows-${label}`, 'aria-label': `${label} rows`, disabled: off, onclick: () => ES.go({ first: to }, true) }, text);
    const shown = rows.slice(first, first + ROWS);
    return [el('h2', {}, 'Differences'),
      el('div', { class: 'controls' },
        el('label', { class: 'field' }, 'Find ', el('input', { type: 'search', id: 'find', value: state.find || '', placeholder: 'role, matrix or measure', oninput: ES.debounce(150, event => go({ find: event.target.value })) })),
        el('label', { class: 'toggle' }, el('input', { type: 'checkbox', id: 'every', checked: state.measures === 'all', onchange: event => go({ measures: event.target.checked ? 'all' : null }) }), 'every measure'),
        move('previous', '‹', Math.max(0, first - ROWS), first === 0), move('next', '›', first + ROWS, first + ROWS >= rows.length),
        el('span', { class: 'note', role: 'status' }, rows.length ? `${first + 1} to ${first + shown.length} of ${rows.length}` : 'none')),
      el('div', { class: 'scroll isolated', tabindex: 0, role: 'group', 'aria-label': 'Differences' },
        el('table', { id: 'differences' }, el('thead', {}, el('tr', {}, heads)), el('tbody', {}, shown.map(k => el('tr', {}, cells(k)))))),
      el('p', { class: 'note' }, 'Size: the difference over √((v + w)/2), v and w the variances of the measure over the matrices of the role in both runs (over all matrices where a role has '
        + 'fewer than three). It is no test: counts carry no error of their own. “/ b”: counts and ranks as shares of min(m, n), where the shapes differ.',
      differences.pair.length < differences.all ? ` Of ${differences.all} differences the page holds the ${differences.pair.length} largest; comparison.parquet has all.` : '')];
  }

  ES.views.compare = {
    title: 'Compare',
    order: 0,
    when: () => Boolean(data()),
    draw(root, state) {
      const pair = pairOf(state), { couples } = data();
      root.append(el('h2', {}, ES.bdi(said(couples[coupleOf(state)]), 160)));
      if (pair < 0) { root.append(el('p', { class: 'bad' }, 'No matrix of one matches one of the other.')); return; }
      root.append(chooser(state), el('h3', {}, ES.bdi(name(pair), 160)), facts(pair), ...figures(pair, root.clientWidth), ...table(state));
    },
  };
})();
