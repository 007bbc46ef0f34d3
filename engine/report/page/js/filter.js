/* Expressions that choose matrices: `role:mlp_up left>20 block>=3 -name:layer.0 "two words"`; all must hold.

   COLUMN:TEXT holds where the column's text contains TEXT (`a|b`: either), COLUMN=TEXT where it is equal, COLUMN>NUMBER
   and >=, <, <=, != where the number does; a bare word where name, role, status or phase contains it; `-` negates.
   Between quotes, a backslash takes the meaning from a quote, a bar and itself. */
(() => {
  const PART = /(-?)(?:([\p{L}\p{N}_]+)\s*(>=|<=|!=|>|<|=|:)\s*)?("(?:[^"\\]|\\.)*"|[^\s"]+)/gu;
  const BARE = ['name', 'role', 'status', 'phase'];
  const ALIASES = {
    right: 'num_right_outliers', left: 'num_left_outliers', right_beyond_signs: 'num_right_outliers_beyond_signs',
    left_beyond_signs: 'num_left_outliers_beyond_signs', equalised_right: 'equalised_num_right_outliers',
    equalised_left: 'equalised_num_left_outliers', rows: 'm', columns: 'n',
  };

  ES.columnOf = word => {
    const { columns } = ES.data;
    if (columns[word]) return word;
    const low = word.toLowerCase();
    return columns[ALIASES[low]] ? ALIASES[low] : Object.keys(columns).find(name => name.toLowerCase() === low) || null;
  };

  /* The name that is fewest changes away. */
  const nearest = word => {
    const distance = (a, b) => {
      let last = Array.from({ length: b.length + 1 }, (_, i) => i);
      for (let i = 1; i <= a.length; i++) {
        const row = [i];
        for (let j = 1; j <= b.length; j++) {
          row[j] = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] !== b[j - 1]));
        }
        last = row;
      }
      return last[b.length];
    };
    const names = [...Object.keys(ES.data.columns), ...Object.keys(ALIASES)];
    const found = names.map(name => [distance(word.slice(0, 60), name), name]).sort((a, b) => a[0] - b[0])[0];
    return found && found[0] <= 3 ? found[1] : null;
  };

  const NUMERIC = {
    '>': (x, y) => x > y, '>=': (x, y) => x >= y, '<': (x, y) => x < y, '<=': (x, y) => x <= y,
    '=': (x, y) => x === y, ':': (x, y) => x === y, '!=': (x, y) => x !== y && !Number.isNaN(x),
  };

  /* Alternatives of a text: split at its bars, escapes undone. */
  const alternatives = text => text.match(/(?:[^|\\]|\\.|\\$)+/gs)?.map(word => word.replace(/\\(.)/gs, '$1')) ?? [];

  /* Texts as one quoted alternative of an expression. */
  ES.quoted = texts => `"${texts.map(text => text.replace(/["|\\]/g, '\\$&')).join('|')}"`;

  function textual(values, operator, text) {
    const words = alternatives(text.toLowerCase());
    const test = operator === ':' ? value => words.some(word => value.includes(word)) : value => words.includes(value);
    const wanted = operator !== '!=';
    return i => test(String(values[i] ?? '').toLowerCase()) === wanted;
  }

  function condition(column, operator, text) {
    const values = ES.data.rows[column];
    if (ES.data.columns[column].type === 'text') {
      if (/[<>]/.test(operator)) throw new Error(`${column} is text: use ${column}:${text}`);
      return textual(values, operator, text);
    }
    const numbers = text.split('|').map(Number);
    if (text === '' || numbers.some(Number.isNaN)) throw new Error(`${column}${operator}${text}: expected a number`);
    // equal as the page writes numbers: what is typed has fewer digits than what is stored
    const near = x => y => Math.abs(x - y) <= 1e-6 * Math.max(Math.abs(x), Math.abs(y)) ? y : x;
    const compare = NUMERIC[operator];
    if (operator === '!=') return i => numbers.every(y => compare(near(values[i])(y), y));
    return i => numbers.some(y => compare(near(values[i])(y), y));
  }

  /* A predicate over rows; throws an Error that says what is wrong. */
  ES.compile = expression => {
    const tests = [];
    for (const [, minus, word, operator, quoted] of String(expression || '').matchAll(PART)) {
      const text = quoted.length > 1 && quoted.startsWith('"') ? quoted.slice(1, -1) : quoted.replace(/\\/g, '\\\\');
      let test;
      if (word) {
        const column = ES.columnOf(word);
        if (!column) {
          const other = nearest(word);
          throw new Error(`no column ${word}${other ? `; did you mean ${other}?` : ''}`);
        }
        test = condition(column, operator, text);
      } else {
        const any = BARE.filter(name => ES.data.rows[name]).map(name => textual(ES.data.rows[name], ':', text));
        test = i => any.some(each => each(i));
      }
      tests.push(minus ? i => !test(i) : test);
    }
    return i => tests.every(test => test(i));
  };

  /* {rows, error}: the rows that an expression chooses, all of them where it cannot be read. */
  ES.filtered = expression => {
    const all = Array.from({ length: ES.data.size }, (_, i) => i);
    try {
      return { rows: all.filter(ES.compile(expression)), error: '' };
    } catch (error) {
      return { rows: all, error: error.message };
    }
  };

  /* The field for the shared expression `q`, and what is wrong with it. */
  ES.filterField = (count, error) => {
    const said = ES.el('span', { class: error ? 'bad' : 'note', role: 'status', id: 'matches' }, error || count);
    const input = ES.el('input', {
      type: 'search', id: 'q', value: ES.state.q || '', placeholder: 'role:mlp_up left>20 block>=3', spellcheck: 'false',
      autocapitalize: 'off', autocomplete: 'off', 'aria-describedby': 'matches',
      oninput: ES.debounce(120, event => ES.go({ q: event.target.value }, true)),
    });
    const label = ES.el('label', { class: 'field wide', for: 'q' }, 'Show only');
    return ES.el('div', { class: 'filter' }, label, input, said);
  };
})();
