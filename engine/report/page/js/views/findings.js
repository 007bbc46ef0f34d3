/* Findings: what the tests stand behind, each with a way to its evidence; identity and settings in folds at the end. */
(() => {
  const { el } = ES;

  const finding = ({ text, evidence, state }) => el('li', {}, el('p', { class: 'said' }, ES.prose(text)),
    el('p', { class: 'note' }, ES.prose(evidence), ' ', ES.link({ q: null, sort: null, ...state }, `Show in the ${ES.views[state.view].title.toLowerCase()}`)));

  const definitions = entries => el('dl', {}, entries.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, ES.bdi(value))]));

  const MOST = 400; // rows of a fold

  /* A fold whose content is made when it is opened, and goes when it is closed. */
  const fold = (title, content) => {
    const inside = el('div', {});
    return el('details', { ontoggle: event => inside.replaceChildren(...(event.target.open ? content() : [])) }, el('summary', {}, title), inside);
  };

  const listed = (headings, rows, caption) => [ES.textTable(headings.map(name => [name, '']), rows.slice(0, MOST), caption),
    rows.length > MOST ? el('p', { class: 'note' }, `and ${rows.length - MOST} more; all are in the run's manifest`) : ''];

  const settings = ({ study, entries, skipped }) => [
    fold(`Settings: ${study}`, () => [definitions(entries)]),
    skipped.length ? fold(`Left out: ${skipped.length} ${skipped.length === 1 ? 'tensor' : 'tensors'}`, () =>
      listed(['tensor', 'shape', 'dtype', 'why'], skipped, 'Tensors left out')) : null,
  ];

  const explained = (table, rows) => fold(`What the columns of ${table}.parquet mean`, () =>
    [el('dl', { class: 'columns' }, rows.flatMap(([name, unit, formula, source]) => [el('dt', {}, el('code', {}, name)),
      el('dd', {}, ES.prose(formula), unit ? ` Unit: ${unit}.` : '', source ? el('span', { class: 'note' }, ` ${source}`) : '')]))]);

  function columns({ documents, columns: mine, size }) {
    const own = Object.entries(mine).map(([name, { unit, doc, source }]) => [name, unit, doc, source]);
    return [el('p', { class: 'note' }, 'W is (m, n), y = W x; a = max(m, n), b = min(m, n); s are its singular values in descending order, λ = s²; ',
      '[w] is the unit of the weights, [x] that of activations. Columns of a random control, which goes down the same path, carry the prefix ',
      el('code', {}, 'control_'), ' and its kind.'), size ? explained('matrices', own) : '', ...Object.entries(documents).map(([table, rows]) => explained(table, rows))];
  }

  ES.views.findings = {
    title: 'Findings',
    order: 1,
    draw(root, state, data) {
      if (data.warnings.length) {
        root.append(el('div', { class: 'warnings', role: 'note' }, el('ul', {}, data.warnings.map(each => el('li', {}, ES.bdi(each))))));
      }
      root.append(el('h2', {}, 'What the tests found'));
      root.append(data.findings.length ? el('ol', { class: 'findings' }, data.findings.map(finding))
        : el('p', { class: 'note' }, 'This run has no finding of its own; its tables are under Studies.'));
      root.append(el('h2', {}, 'What was read'), fold('Checkpoint and options', () => [definitions(data.facts)]),
        ...data.settings.flatMap(settings).filter(Boolean), el('h2', {}, 'Columns'), ...columns(data));
    },
  };
})();
