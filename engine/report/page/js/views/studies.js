/* Studies: what each study of the run directory found, a tab each: its charts, its tables. State: `study`, `from` (panels), `rows`. */
(() => {
  const { el } = ES, PANELS = 12, ROWS = 60;
  const there = () => ES.data.studies.filter(study => study.tables.length || (study.data.charts || []).length);
  const NAMES = {
    sweep: 'Sweep', overlap: 'Overlap', ablation: 'Removal', finetune: 'Fine-tuning', tokens: 'Tokens', labels: 'Labels',
    facts: 'Facts', compare: 'Comparison', series: 'Series', causal: 'Language model', slicing: 'Slices', toy_linear: 'Linear model',
    toy_mlp: 'Small networks',
  };

  /* A cell as a number where it begins with one, for sorting. */
  const value = text => {
    const number = parseFloat(String(text).replace('−', '-').replace(/^\[/, ''));
    return Number.isNaN(number) ? null : number;
  };

  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x !== null && y !== null) return x - y;
    return x === y ? String(a).localeCompare(String(b), undefined, { numeric: true }) : x === null ? 1 : -1;
  };

  /* A table that sorts by its headings and shows some rows at a time. */
  function sortable({ heading, headings, rows, note }) {
    const body = el('tbody', {}), said = el('span', { class: 'note', role: 'status' }), state = { by: -1, up: true, from: 0 };
    const step = by => el('button', { type: 'button', 'aria-label': `${by < 0 ? 'Previous' : 'Next'} rows of ${heading}`, onclick: () => { state.from += by * ROWS; fill(); } }, by < 0 ? '‹' : '›');
    const [back, on] = [step(-1), step(1)];
    const heads = headings.map(([name, what], i) => el('th', { scope: 'col', title: what || null }, el('button', {
      type: 'button', class: 'sort', onclick: () => { Object.assign(state, { up: state.by === i ? !state.up : true, by: i, from: 0 }); fill(); },
    }, name)));
    function fill() {
      const order = state.by < 0 ? rows : [...rows].sort((a, b) => (state.up ? 1 : -1) * compare(a[state.by], b[state.by]));
      heads.forEach((head, i) => i === state.by ? head.setAttribute('aria-sort', state.up ? 'ascending' : 'descending') : head.removeAttribute('aria-sort'));
      body.replaceChildren(...order.slice(state.from, state.from + ROWS).map(cells => el('tr', {}, cells.map((cell, i) => {
        const attrs = { class: cell.length > 40 ? 'long' : null };
        return i ? el('td', attrs, cell) : el('th', { ...attrs, scope: 'row' }, cell);
      }))));
      back.disabled = state.from === 0;
      on.disabled = state.from + ROWS >= rows.length;
      said.textContent = `rows ${state.from + 1} to ${Math.min(rows.length, state.from + ROWS)} of ${rows.length}`;
    }
    fill();
    return el('section', { class: 'isolated' }, el('h3', {}, heading), note ? el('p', { class: 'note' }, note) : null,
      el('div', { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': heading }, el('table', {}, el('thead', {}, el('tr', {}, heads)), body)),
      rows.length > ROWS ? el('p', { class: 'controls' }, back, on, said) : null);
  }

  /* Charts of many panels show some of them at a time. */
  function pages(charts, from) {
    const most = Math.max(0, ...charts.map(chart => chart.panels.length));
    if (most <= PANELS) return null;
    const starts = Array.from({ length: Math.ceil(most / PANELS) }, (_, i) => i * PANELS);
    return el('div', { class: 'controls' }, ES.select('Panels', starts.map(start => [String(start), `${start + 1} to ${Math.min(most, start + PANELS)} of ${most}`]), String(from),
      start => ES.go({ from: start === '0' ? null : start })));
  }

  ES.views.studies = {
    title: 'Studies',
    order: 6,
    when: () => there().length > 0,
    draw(root, state) {
      const studies = there(), study = studies.find(each => each.name === state.study) || studies[0];
      if (studies.length > 1) {
        root.append(el('nav', { class: 'tabs', 'aria-label': 'Studies' }, studies.map(each =>
          ES.link({ study: each.name, from: null }, NAMES[each.name] || each.name, { 'aria-current': each === study ? 'page' : null }))));
      }
      const charts = study.data.charts || [], width = root.clientWidth;
      const from = PANELS * Math.max(0, Math.floor((Number(state.from) || 0) / PANELS));
      root.append(el('h2', {}, ES.bdi(study.title)), ...[pages(charts, from)].filter(Boolean));
      for (const chart of charts) {
        const panels = chart.panels.length > PANELS ? chart.panels.slice(from, from + PANELS) : chart.panels;
        if (panels.length) root.append(ES.chart(chart, width, panels));
      }
      for (const table of study.tables) root.append(sortable(table));
    },
  };
})();
