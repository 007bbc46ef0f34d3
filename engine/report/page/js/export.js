/* A figure as a file. */
(() => {
  ES.exportButtons = () => ES.el('span', { class: 'export' });
})();
