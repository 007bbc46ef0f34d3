/* Findings: what the tests stand behind, each with a way to its evidence; identity and settings in folds at the end. */
(() => {
  const { el } = ES;

  const finding = ({ text, evidence, state }) => el('li', {}, el('p', { class: 'said' }, ES.prose(text)),
    el('p', { class: 'note' }, ES.prose(evidence), ' ', ES.link({ q: null, sort: null, ...state }, `Show in the ${ES.views[state.view].title.toLowerCase()}`)));

  const definitions = entries => el('dl', {}, entries.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, ES.bdi(value))]));

  const fold = (title, ...children) => el('details', {}, el('summary', {}, title), ...children);

  const settings = ({ study, entries, skipped }) => [
    fold(`Settings: ${study}`, definitions(entries)),
    skipped.length ? fold(`Left out: ${skipped.length} tensors`,
      ES.textTable([['tensor', ''], ['shape', ''], ['dtype', ''], ['why', '']], skipped, 'Tensors left out')) : null,
  ];

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
      root.append(el('h2', {}, 'What was read'), fold('Checkpoint and options', definitions(data.facts)), ...data.settings.flatMap(settings).filter(Boolean));
    },
  };
})();
