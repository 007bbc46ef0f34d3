/* Elements, numbers and links: what every view is made of. Texts reach the document through textContent alone. */
const ES = { views: {} };

(() => {
  const SVG = 'http://www.w3.org/2000/svg';

  function build(element, attrs, children) {
    for (const [key, value] of Object.entries(attrs || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
      else if (key === 'style') for (const [name, text] of Object.entries(value)) element.style.setProperty(name, text);
      else element.setAttribute(key, value === true ? '' : value);
    }
    for (const child of children.flat()) {
      if (child !== null && child !== undefined && child !== false) element.append(child);
    }
    return element;
  }

  /* An HTML element: ES.el('button', {class: 'x', onclick: f, style: {width: '3px'}}, 'text', child, ...). */
  ES.el = (tag, attrs, ...children) => build(document.createElement(tag), attrs, children);
  /* The same of SVG. */
  ES.svg = (tag, attrs, ...children) => build(document.createElementNS(SVG, tag), attrs, children);

  /* A number with `digits` significant digits; an en dash where there is none. */
  ES.format = (x, digits = 3) => {
    if (x === null || x === undefined || Number.isNaN(x)) return '–';
    if (!Number.isFinite(x)) return x > 0 ? '∞' : '−∞';
    if (Number.isInteger(x) && Math.abs(x) < 1e9) return String(x).replace('-', '−');
    const size = Math.abs(x);
    const text = size >= 1e-4 && size < 1e6 ? String(Number(x.toPrecision(digits))) : x.toExponential(digits - 1);
    return text.replace('-', '−').replace('e−', 'e-');
  };

  /* `text` on one line, its middle left out beyond `length` characters. */
  ES.shorten = (text, length = 60) => {
    const line = String(text).replace(/[\s\p{Cc}\p{Cf}]+/gu, ' ');
    const half = Math.floor((length - 1) / 2);
    return line.length <= length ? line : `${line.slice(0, half)}…${line.slice(-half)}`;
  };

  /* Text that may run in any direction, kept from its neighbours. */
  ES.bdi = (text, length) => ES.el('bdi', {}, length ? ES.shorten(text, length) : text);

  /* A text in which `this` is code. */
  ES.prose = text => String(text).split(/`([^`]+)`/).map((part, i) => i % 2 ? ES.el('code', {}, part) : part);

  /* A labelled <select>: options are [value, text] pairs. */
  ES.select = (label, options, value, onchange) => ES.el('label', { class: 'field' }, label, ' ',
    ES.el('select', { onchange: event => onchange(event.target.value) }, options.map(([key, text]) =>
      ES.el('option', { value: key, selected: key === value }, text))));

  ES.debounce = (wait, work) => {
    let timer = 0;
    return (...args) => { clearTimeout(timer); timer = setTimeout(() => work(...args), wait); };
  };

  /* A plain table of text; headings are [name, what it means] pairs, the first cell of a row heads it. */
  ES.textTable = (headings, rows, caption) => ES.el('div', { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': caption },
    ES.el('table', {}, ES.el('thead', {}, ES.el('tr', {}, headings.map(([name, what]) =>
      ES.el('th', { scope: 'col', title: what || null }, name)))),
    ES.el('tbody', {}, rows.map(cells => ES.el('tr', {}, cells.map((cell, i) =>
      i ? ES.el('td', {}, ES.bdi(cell)) : ES.el('th', { scope: 'row' }, ES.bdi(cell))))))));
})();
