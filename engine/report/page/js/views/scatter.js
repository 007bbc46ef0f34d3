/* scatter. */
(() => {
  ES.views.scatter = { title: 'Scatter', order: 5, when: data => data.size > 0, draw(root) { root.append(ES.el('p', {}, 'soon')); } };
})();
