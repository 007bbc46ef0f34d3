/* table. */
(() => {
  ES.views.table = { title: 'Table', order: 3, when: data => data.size > 0, draw(root) { root.append(ES.el('p', {}, 'soon')); } };
})();
