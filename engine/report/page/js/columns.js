/* Columns by what they are of: the matrix as it is, its other readings, its controls. */
(() => {
  const { el } = ES;

  const prefixes = () => ES.data.readings.map(reading => reading.prefix).filter(Boolean);

  /* The prefix of a column's reading; '' for what a matrix has once. */
  ES.prefixOf = column => prefixes().find(prefix => column.startsWith(prefix)) || '';

  /* The column of the control that went down the same path as the matrix as it is; null for other readings. */
  ES.controlOf = column => {
    const control = prefixes().find(prefix => prefix.startsWith('control_')), name = control + column;
    return control && !ES.prefixOf(column) && ES.data.columns[name] ? name : null;
  };

  ES.isNumber = column => Boolean(ES.data.columns[column]) && ES.data.columns[column].type !== 'text';

  /* How an axis names a column. */
  ES.heading = column => {
    const { unit } = ES.data.columns[column], name = column.replace(/^num_/, 'number of ').replaceAll('_', ' ');
    return unit ? `${name}, ${unit}` : name;
  };

  /* Columns in groups: [what they are of, names]. */
  ES.groups = (wanted = () => true) => {
    const groups = ES.data.readings.length ? ES.data.readings.map(({ prefix, label }) => [prefix, label, []]) : [['', 'as it is', []]];
    for (const name of Object.keys(ES.data.columns)) {
      if (wanted(name)) groups.find(([prefix]) => prefix === ES.prefixOf(name))[2].push(name);
    }
    return groups.map(([, label, names]) => [label, names]).filter(([, names]) => names.length);
  };

  /* A labelled <select> of columns. */
  ES.columnSelect = (label, id, value, onchange, wanted = ES.isNumber) => el('label', { class: 'field' }, label, ' ',
    el('select', { id, onchange: event => onchange(event.target.value) }, ES.groups(wanted).map(([of, names]) =>
      el('optgroup', { label: of }, names.map(name =>
        el('option', { value: name, selected: name === value, title: ES.data.columns[name].doc }, name))))));

  /* What a column means, in a sentence for a caption. */
  ES.meaning = column => {
    const { doc, source, unit } = ES.data.columns[column];
    return el('span', {}, el('code', {}, column), unit ? ` (${unit})` : '', doc ? ': ' : '', ES.prose(doc), source ? ` [${source}]` : '');
  };

  const ranks = new Map();
  const collator = new Intl.Collator('en', { numeric: true });

  /* Rows by a column, names in their natural order; what is missing comes last. */
  ES.sorted = (rows, column, down = false) => {
    const values = ES.data.rows[column];
    if (ES.data.columns[column].type !== 'text') {
      const order = (a, b) => Number.isNaN(values[a]) - Number.isNaN(values[b]) || (down ? values[b] - values[a] : values[a] - values[b]) || a - b;
      return [...rows].sort(order);
    }
    if (!ranks.has(column)) {
      const different = [...new Set(values)].filter(value => value !== null).sort(collator.compare);
      const place = new Map(different.map((value, i) => [value, i]));
      ranks.set(column, values.map(value => value === null ? Infinity : place.get(value)));
    }
    const rank = ranks.get(column);
    return [...rows].sort((a, b) => (rank[a] === Infinity) - (rank[b] === Infinity) || (down ? rank[b] - rank[a] : rank[a] - rank[b]) || a - b);
  };

  /* Roles in the order in which activations meet them, unknown ones last. */
  ES.roles = () => {
    const known = ES.data.roles, there = [...new Set(ES.data.rows.role)].filter(role => role !== null);
    const place = role => known.includes(role) ? known.indexOf(role) : known.length;
    return there.sort((a, b) => place(a) - place(b) || collator.compare(a, b));
  };

  ES.median = values => {
    const known = values.filter(x => !Number.isNaN(x)).sort((a, b) => a - b), half = known.length >> 1;
    if (!known.length) return NaN;
    return known.length % 2 ? known[half] : (known[half - 1] + known[half]) / 2;
  };
})();
