/* Matrix. */
(() => {
  ES.views.matrix = {
    title: 'Matrix',
    order: 4,
    when: data => data.size > 0,
    draw(root) { root.append(ES.el('p', { class: 'note' }, 'Not here yet.')); },
  };
})();
