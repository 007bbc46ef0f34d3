/* What is looked at: a flat object of strings, mirrored in the address behind `#`. */
(() => {
  ES.state = {};

  ES.parse = hash => Object.fromEntries(new URLSearchParams(hash.replace(/^#/, '')));

  const merged = patch => {
    const state = { ...ES.state, ...patch };
    for (const key of Object.keys(state)) {
      if (state[key] === null || state[key] === undefined || state[key] === '') delete state[key];
      else state[key] = String(state[key]);
    }
    return state;
  };

  /* The address of the present state with a patch: what a link to it says. */
  ES.hash = patch => `#${new URLSearchParams(merged(patch))}`;

  /* Take over a patch, note it in the address (a new step back, unless `replace`), draw. */
  ES.go = (patch, replace = false) => {
    const hash = ES.hash(patch), before = ES.state;
    ES.state = merged(patch);
    const address = location.href.split('#')[0] + hash;
    try {
      if (hash !== location.hash) history[replace ? 'replaceState' : 'pushState'](null, '', address);
    } catch (error) { // a document without an address of its own
      location.hash = hash;
    }
    ES.draw(before);
  };

  /* A link to the present state with a patch. */
  ES.link = (patch, text, attrs) => ES.el('a', {
    href: ES.hash(patch), ...attrs,
    onclick: event => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
      event.preventDefault();
      ES.tooltip(null);
      ES.go(patch);
    },
  }, text);

  const followed = () => {
    const before = ES.state, state = ES.parse(location.hash);
    if (new URLSearchParams(state).toString() === new URLSearchParams(before).toString()) return;
    ES.state = state;
    ES.draw(before);
  };
  addEventListener('hashchange', followed);
  addEventListener('popstate', followed);
})();
