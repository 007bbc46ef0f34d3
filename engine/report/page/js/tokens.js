/* A tokens run unpacked: ES.tokens() gives its circuits and the directions that the page keeps, ES.marks what is said by hand. */
(() => {
  let found = null;

  /* {data, sides: of every direction, of: its circuit -> directions, labels: list -> [{judge, status, label}]}; null without a run.
     A list of tokens is 2 d for the sign 1 of direction d, 2 d + 1 for its sign -1. */
  ES.tokens = () => {
    if (found) return found;
    const study = ES.data.studies.find(each => each.data.tokens);
    if (!study) return null;
    const data = study.data.tokens, { circuit, side } = data.directions, of = data.circuits.name.map(() => []);
    circuit.forEach((c, d) => of[c].push(d));
    found = { data, of, sides: Array.from(side.places, place => side.words[place - 1]), labels: labels(), name: new Map(data.circuits.name.map((name, i) => [name, i])) };
    return found;
  };

  function labels() {
    const study = ES.data.studies.find(each => each.data.labels), result = new Map();
    if (!study) return result;
    const { list, judge, status, label, judges, statuses, words } = study.data.labels;
    list.forEach((l, i) => {
      if (!result.has(l)) result.set(l, []);
      result.get(l).push({ judge: judges[judge[i]], status: statuses[status[i]], label: label[i] ? words[label[i] - 1] : '' });
    });
    return result;
  }

  ES.listOf = (d, sign) => 2 * d + (sign < 0 ? 1 : 0);
  ES.directionName = d => `${found.data.circuits.name[found.data.directions.circuit[d]]}:${found.data.directions.index[d]}`;

  /* The tokens of a list with their scores, the strongest first. */
  ES.tokensOf = list => {
    const { tokens, places, codes, words, lists } = found.data, factor = (lists.negative[list] ? -1 : 1) * lists.scale[list] / 255;
    return Array.from({ length: tokens }, (_, k) => ({ text: words[places[list * tokens + k]], score: factor * codes[list * tokens + k], strength: codes[list * tokens + k] / 255 }));
  };

  /* A token as it can be seen: a space in front as a dot, what has no shape by its number. */
  ES.visible = text => String(text).replace(/^ /, '·').replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}]/gu, c => `\\u{${c.codePointAt(0).toString(16)}}`) || '∅';

  const plain = text => text.replace(/^##/, '').replace(/^[ Ġ▁]+/, '').toLowerCase();

  /* The lists that hold a token of this text, or, where none does, one in which it occurs: [list, rank, whole] by rank. */
  ES.findToken = query => {
    const { words, places, tokens, lists } = ES.tokens().data, wanted = plain(query.trim());
    if (!wanted) return { hits: [], whole: true };
    const test = match => Uint8Array.from(words, word => match(plain(word)) ? 1 : 0);
    const same = test(word => word === wanted), whole = same.some(Boolean), chosen = whole ? same : test(word => word.includes(wanted));
    const hits = [];
    places.forEach((place, i) => { if (chosen[place]) hits.push([Math.floor(i / tokens), i % tokens]); });
    return { hits: hits.sort((a, b) => a[1] - b[1] || lists.scale[b[0]] - lists.scale[a[0]]), whole };
  };

  /* Labels by hand: list -> {shared, label}; kept in this browser, for this run alone. */
  const store = { marks: null, person: '', kept: true };
  const key = () => `eigensweep labels ${found.data.of}`;

  function loaded() {
    if (store.marks) return store;
    store.marks = new Map();
    try {
      const there = JSON.parse(localStorage.getItem(key()) || '{}');
      store.person = String(there.person || '').slice(0, 60);
      for (const [list, shared, label] of there.marks || []) {
        if (Number.isInteger(list) && list >= 0 && list < 2 * found.data.count) store.marks.set(list, { shared: Boolean(shared), label: String(label || '').slice(0, 80) });
      }
    } catch (error) { store.kept = false; } // a browser that keeps nothing: the export still does
    return store;
  }

  function save() {
    try {
      localStorage.setItem(key(), JSON.stringify({ person: store.person, marks: [...store.marks].map(([list, mark]) => [list, mark.shared, mark.label]) }));
      store.kept = true;
    } catch (error) { store.kept = false; }
  }

  ES.marks = {
    get: list => loaded().marks.get(list),
    set: (list, mark) => { if (mark) loaded().marks.set(list, mark); else loaded().marks.delete(list); save(); },
    person: name => { if (name !== undefined) { loaded().person = name.trim().slice(0, 60); save(); } return loaded().person; },
    count: () => loaded().marks.size,
    kept: () => loaded().kept,
    /* What is exported: a row a list. */
    rows: () => [...loaded().marks].sort((a, b) => a[0] - b[0]).map(([list, mark]) => ({
      direction: ES.directionName(list >> 1), side: found.sides[list >> 1], sign: list % 2 ? -1 : 1, shared: mark.shared, label: mark.shared && mark.label ? mark.label : null,
    })),
    json: () => JSON.stringify({ format: 'eigensweep labels 1', of: found.data.of, person: store.person, labels: ES.marks.rows() }, null, 1),
    csv: () => {
      const quoted = value => { const text = value === null ? '' : String(value); return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text; };
      const columns = ['of', 'person', 'direction', 'side', 'sign', 'shared', 'label'];
      return [columns, ...ES.marks.rows().map(row => columns.map(name => ({ of: found.data.of, person: store.person, ...row })[name]))].map(cells => cells.map(quoted).join(',')).join('\n') + '\n';
    },
  };
})();
