/* Studies. */
(() => {
  ES.views.studies = {
    title: 'Studies',
    order: 6,
    when: data => data.studies.some(study => study.tables.length),
    draw(root) { root.append(ES.el('p', { class: 'note' }, 'Not here yet.')); },
  };
})();
