/* A figure as a file: SVG with the looks of the page written into it, or PNG at three times the size. */
(() => {
  const LOOKS = ['fill', 'fill-opacity', 'stroke', 'stroke-width', 'stroke-opacity', 'stroke-dasharray', 'stroke-linecap',
    'opacity', 'font-family', 'font-size', 'font-weight', 'text-anchor'];
  const PIXELS = 3;

  /* A copy that needs no style sheet; its background is the page's. */
  function standalone(svg, name) {
    const copy = svg.cloneNode(true), originals = [svg, ...svg.querySelectorAll('*')];
    [copy, ...copy.querySelectorAll('*')].forEach((node, i) => {
      const style = getComputedStyle(originals[i]);
      if (!['defs', 'clipPath', 'title'].includes(node.tagName)) {
        for (const look of LOOKS) {
          const value = style.getPropertyValue(look);
          if (value && !(look.endsWith('opacity') && value === '1') && !(look === 'stroke-dasharray' && value === 'none')) {
            node.setAttribute(look, value);
          }
        }
      }
      for (const attribute of ['class', 'style', 'tabindex']) node.removeAttribute(attribute);
    });
    copy.querySelectorAll('[data-hover]').forEach(node => node.remove());
    const { width, height } = svg.viewBox.baseVal;
    copy.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
    copy.setAttribute('width', width);
    copy.setAttribute('height', height);
    copy.prepend(ES.svg('title', {}, name), ES.svg('rect', { width, height, fill: ES.color('--paper') }));
    return copy;
  }

  /* Without what XML cannot hold, which names may. */
  const text = (svg, name) => new XMLSerializer().serializeToString(standalone(svg, name))
    .replace(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, '\uFFFD');

  function save(blob, file) {
    const address = URL.createObjectURL(blob), link = ES.el('a', { href: address, download: file });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  async function png(svg, name) {
    const { width, height } = svg.viewBox.baseVal, image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text(svg, name))}`;
    await image.decode();
    const canvas = ES.el('canvas', { width: PIXELS * width, height: PIXELS * height }), pen = canvas.getContext('2d');
    pen.scale(PIXELS, PIXELS);
    pen.drawImage(image, 0, 0, width, height);
    return new Promise(done => canvas.toBlob(done, 'image/png'));
  }

  /* Letters, digits, `_`, `-` and `.`; never hidden, never long. */
  const fileName = name => name.replace(/[^A-Za-z0-9_.-]+/g, '_').replace(/^[._]+/, '').slice(-80) || 'figure';

  /* Two buttons that save a figure; `name` is its file's without the ending. */
  ES.exportButtons = (svg, name) => ES.el('span', { class: 'export' },
    ES.el('button', {
      type: 'button', 'aria-label': `SVG of ${ES.shorten(name, 80)}`,
      onclick: () => save(new Blob([text(svg, name)], { type: 'image/svg+xml' }), `${fileName(name)}.svg`),
    }, 'SVG'),
    ES.el('button', {
      type: 'button', 'aria-label': `PNG of ${ES.shorten(name, 80)}`,
      onclick: async () => save(await png(svg, name), `${fileName(name)}.png`),
    }, 'PNG'));
})();
