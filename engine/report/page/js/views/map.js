/* map. */
(() => {
  ES.views.map = { title: 'Map', order: 2, when: data => data.size > 0, draw(root) { root.append(ES.el('p', {}, 'soon')); } };
})();
