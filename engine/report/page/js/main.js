/* The page's frame: views, theme, redrawing. */
(() => {
  const { el } = ES;
  const names = () => Object.keys(ES.views).filter(name => !ES.views[name].when || ES.views[name].when(ES.data))
    .sort((a, b) => ES.views[a].order - ES.views[b].order);

  /* A page without findings begins with its studies, unless it is a sweep's, where none is something to say. */
  const first = () => {
    const silent = !ES.data.findings.length && !ES.data.studies.some(study => study.name === 'sweep');
    return silent && (names().find(name => name === 'studies') || names().find(name => name !== 'findings')) || names()[0];
  };
  const current = () => names().includes(ES.state.view) ? ES.state.view : first();

  function theme() {
    const chosen = ['light', 'dark'].includes(ES.state.theme) ? ES.state.theme : null;
    if (chosen) document.documentElement.dataset.theme = chosen; else delete document.documentElement.dataset.theme;
    const button = document.getElementById('theme');
    button.textContent = ES.dark() ? 'Light' : 'Dark';
    button.setAttribute('aria-label', ES.dark() ? 'Light theme' : 'Dark theme');
  }

  function navigation() {
    document.getElementById('views').replaceChildren(...names().map(name =>
      ES.link({ view: name }, ES.views[name].title, { 'aria-current': name === current() ? 'page' : null })));
  }

  /* Draw the view of the present state; the focus stays with the element of the same id. */
  ES.draw = before => {
    const main = document.getElementById('main'), focused = document.activeElement && document.activeElement.id;
    const selection = focused && 'selectionStart' in document.activeElement ? document.activeElement.selectionStart : null;
    theme();
    navigation();
    ES.tooltip(null);
    const name = current(), changed = !before || (before.view || first()) !== name;
    // a view may redraw a part of itself where nothing else has changed
    if (!changed && ES.views[name].update && ES.views[name].update(before, ES.state)) return;
    main.replaceChildren();
    main.dataset.view = name;
    ES.views[name].draw(main, ES.state, ES.data);
    const again = focused && document.getElementById(focused);
    if (again && again !== document.activeElement) {
      again.focus({ preventScroll: true });
      if (selection !== null && again.setSelectionRange) again.setSelectionRange(selection, selection);
    }
    if (changed && before) scrollTo(0, 0);
  };

  async function start() {
    const store = document.getElementById('data');
    await ES.load(store.textContent);
    store.remove();
    ES.state = ES.parse(location.hash);
    document.getElementById('theme').addEventListener('click', () => ES.go({ theme: ES.dark() ? 'light' : 'dark' }, true));
    document.getElementById('skip').addEventListener('click', event => {
      event.preventDefault();
      document.getElementById('main').focus();
    });
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => ES.draw(ES.state));
    let width = innerWidth;
    addEventListener('resize', ES.debounce(100, () => {
      if (innerWidth !== width) { width = innerWidth; ES.draw({ ...ES.state, resized: '1' }); }
    }));
    addEventListener('keydown', event => { if (event.key === 'Escape') ES.tooltip(null); });
    ES.draw(null);
    document.documentElement.dataset.ready = 'yes';
  }

  start().catch(error => {
    document.getElementById('main').replaceChildren(el('p', { class: 'bad' },
      `The page could not be drawn: ${error.message}. It needs a browser of 2023 or later.`));
    throw error;
  });
})();
