/* One circuit: its directions as columns, tokens as rows, both signs side by side; and marking them by hand. */
(() => {
  const { el } = ES, LEAST = 250, MARKED = 330, MOST = 8; // pixels a direction, and one that is marked; directions at once
  const STATUS = { interpretable: 'verified', unverified: 'not verified', nothing: 'shares nothing', malformed: 'no usable answer' };
  const SIGNS = [1, -1];

  function save(text, kind, name) {
    const url = URL.createObjectURL(new Blob([text], { type: kind }));
    el('a', { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  /* Person, number of marks, export, a list at random. */
  ES.markControls = () => {
    const t = ES.tokens(), said = el('span', { class: 'note', role: 'status', id: 'marked' });
    const buttons = [['JSON', 'application/json', 'json'], ['CSV', 'text/csv', 'csv']].map(([name, kind, end]) =>
      el('button', { type: 'button', id: `marks-${end}`, onclick: () => save(ES.marks[end](), kind, `labels.${end}`) }, name));
    const person = el('input', { type: 'text', id: 'person', maxlength: 60, value: ES.marks.person(), oninput: event => { ES.marks.person(event.target.value); fill(); } });
    const next = el('button', { type: 'button', id: 'at-random', onclick: () => {
      const left = Array.from({ length: 2 * t.data.count }, (_, i) => i).filter(i => !ES.marks.get(i));
      if (left.length) ES.go(placeOf(left[Math.floor(Math.random() * left.length)]));
    } }, 'Next at random');
    function fill() {
      said.textContent = `${ES.marks.count()} marked${ES.marks.kept() ? ', kept in this browser' : '; this browser keeps nothing: export before you leave'}${ES.marks.person() ? '' : '; a name is needed to export'}`;
      buttons.forEach(button => { button.disabled = !ES.marks.count() || !ES.marks.person(); });
    }
    ES.marks.changed = fill;
    fill();
    return el('div', { class: 'controls' }, el('label', { class: 'field' }, 'Your name ', person), next, el('span', { class: 'pair' }, ...buttons), said);
  };

  /* The state that shows a list. */
  const placeOf = list => {
    const t = ES.tokens(), d = list >> 1;
    return { view: 'tokens', circuit: t.data.circuits.name[t.data.directions.circuit[d]], side: t.sides[d], first: t.data.directions.index[d], sign: list % 2 ? '-1' : '1' };
  };
  ES.placeOfList = placeOf;

  function labelled(list) {
    const said = ES.tokens().labels.get(list) || [];
    return said.map(({ judge, status, label }) => el('div', { class: `judged ${status}`, title: `${judge}: ${STATUS[status] || status}` },
      label ? el('span', {}, ES.bdi(label), ' ') : null, el('span', { class: 'note' }, STATUS[status] || status)));
  }

  function marking(list, d, sign) {
    const name = `${ES.directionName(d)} ${ES.tokens().sides[d]} ${sign > 0 ? '+' : '−'}`, mark = ES.marks.get(list);
    const text = el('input', { type: 'text', maxlength: 80, 'aria-label': `What ${name} shares`, placeholder: 'what they share', value: mark ? mark.label : '', disabled: !(mark && mark.shared), oninput: change });
    const choice = el('select', { 'aria-label': `Do the tokens of ${name} share something?`, onchange: change },
      [['', 'not marked'], ['yes', 'share something'], ['no', 'share nothing']].map(([value, label]) =>
        el('option', { value, selected: value === (mark ? mark.shared ? 'yes' : 'no' : '') }, label)));
    function change() {
      text.disabled = choice.value !== 'yes';
      ES.marks.set(list, choice.value ? { shared: choice.value === 'yes', label: choice.value === 'yes' ? text.value.trim().replace(/[\p{Cc}\p{Cf}]+/gu, ' ') : '' } : null);
      if (ES.marks.changed) ES.marks.changed();
    }
    return el('div', { class: 'marking' }, choice, text);
  }

  function head(d) {
    const { directions } = ES.tokens().data, size = directions.group_size[d], first = directions.group[d], index = directions.index[d];
    const span = size > 1 ? el('span', { class: 'span', title: 'The gaps between these are within the noise of the weights: their span is determined, not each of them.' }, `of span ${first} to ${first + size - 1}`) : null;
    return el('th', { scope: 'colgroup', colspan: 2, class: size > 1 ? 'spanned' : null }, el('div', {}, `${index}`), el('div', { class: 'note' }, `s = ${ES.format(directions.s[d])}`), span);
  }

  function signHead(d, sign, state) {
    const list = ES.listOf(d, sign), { lists } = ES.tokens().data;
    const p = lists.p_coherence ? lists.p_coherence[list] : NaN, coherent = lists.rejected && lists.rejected[list] === 1;
    return el('th', { scope: 'col', class: `sign${String(sign) === state.sign && String(ES.tokens().data.directions.index[d]) === state.first ? ' asked' : ''}` },
      el('div', {}, sign > 0 ? '+' : '−', coherent ? ' coherent' : ''),
      Number.isFinite(p) ? el('div', { class: 'note' }, `p = ${ES.format(p, 2)}`) : null,
      state.mark ? marking(list, d, sign) : labelled(list));
  }

  /* The circuit of the state, under its heading. */
  ES.circuitSection = (state, width) => {
    const t = ES.tokens(), { data } = t, c = t.name.get(state.circuit);
    if (c === undefined) return null;
    const sides = [...new Set(t.of[c].map(d => t.sides[d]))], side = sides.includes(state.side) ? state.side : sides[0];
    const all = t.of[c].filter(d => t.sides[d] === side), abreast = Math.max(1, Math.min(MOST, Math.floor((width - 40) / (state.mark ? MARKED : LEAST))));
    const at = Math.max(0, all.findIndex(d => data.directions.index[d] >= Number(state.first || 1))), from = Math.min(at, Math.max(0, all.length - abreast));
    const shown = all.slice(from, from + abreast);
    const to = k => ({ first: data.directions.index[all[Math.max(0, Math.min(all.length - 1, k))]], sign: null });
    const lists = shown.flatMap(d => SIGNS.map(sign => ES.tokensOf(ES.listOf(d, sign))));
    const rows = Array.from({ length: data.tokens }, (_, k) => el('tr', {}, el('th', { scope: 'row' }, k + 1), lists.map((list, column) => {
      const { text, score, strength } = list[k];
      return el('td', { class: `token ${column % 2 ? 'minus' : 'plus'}`, title: `score ${ES.format(score)}`, style: { '--shade': `${Math.round(36 * strength)}%` } }, ES.bdi(ES.visible(text), 40));
    })));
    const tab = each => ES.link({ side: each, first: null, sign: null }, each, { 'aria-current': each === side ? 'true' : null });
    const steps = el('span', { class: 'steps' },
      el('button', { type: 'button', id: 'earlier', disabled: from === 0, onclick: () => ES.go(to(from - abreast), true) }, '‹ earlier'),
      el('button', { type: 'button', id: 'later', disabled: from + abreast >= all.length, onclick: () => ES.go(to(from + abreast), true) }, 'later ›'));
    const indices = shown.map(d => data.directions.index[d]);
    return el('section', { id: 'circuit', 'aria-label': state.circuit }, el('h2', {}, ES.bdi(state.circuit)),
      el('p', { class: 'note' }, `rank ${ES.format(data.circuits.rank[c])}, stable rank ${ES.format(data.circuits.stable_rank[c])}; ${all.length} directions of this side on the page`),
      el('div', { class: 'controls' }, sides.length > 1 ? el('nav', { class: 'tabs', 'aria-label': 'Sides' }, sides.map(tab)) : el('span', {}, side), steps, el('span', { class: 'note', role: 'status' }, `directions ${indices[0]} to ${indices[indices.length - 1]}`)),
      el('div', { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': `Directions of ${state.circuit}` }, el('table', { class: 'directions' },
        el('thead', {}, el('tr', {}, el('td', {}), shown.map(head)), el('tr', {}, el('td', {}), shown.flatMap(d => SIGNS.map(sign => signHead(d, sign, state))))), el('tbody', {}, rows))));
  };
})();
