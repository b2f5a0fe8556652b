// Keys for those who want them. Every page reads the same without this file.
'use strict';

(() => {
  const help = document.getElementById('help');
  for (const hint of document.querySelectorAll('.keys')) hint.hidden = false;

  const visible = (element) => element.checkVisibility ? element.checkVisibility() : element.offsetParent !== null;
  const rows = () => [...document.querySelectorAll('main [data-row]')].filter(visible);

  // move goes to the next row, or to the one before; from elsewhere, to the first that is in view.
  const move = (step) => {
    const all = rows();
    if (all.length === 0) return;
    let at = all.indexOf(document.activeElement);
    if (at < 0) {
      at = all.findIndex((row) => row.getBoundingClientRect().top >= 0);
      if (at < 0) at = 0;
    } else {
      at = Math.min(all.length - 1, Math.max(0, at + step));
    }
    all[at].focus();
    all[at].scrollIntoView({ block: 'nearest' });
  };

  const search = () => {
    const field = document.querySelector('[data-search]');
    if (!field) {
      location.assign('/#search');
      return;
    }
    field.focus();
    field.select();
  };

  document.addEventListener('keydown', (event) => {
    const at = event.target;
    const typing = at instanceof HTMLInputElement || at instanceof HTMLSelectElement || at instanceof HTMLTextAreaElement;
    if (typing && event.key === 'Escape') at.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const pages = document.querySelectorAll('header nav a');
    switch (event.key) {
      case '/': search(); break;
      case 'j': move(1); break;
      case 'k': move(-1); break;
      case '?': help.showModal(); break;
      case '1': case '2': case '3': case '4': case '5': pages[Number(event.key) - 1].click(); break;
      default: return;
    }
    event.preventDefault();
  });

  if (location.hash === '#search') search();

  // What was asked for is worked now: see soon what became of it.
  if (document.querySelector('[data-waits]')) setTimeout(() => location.reload(), 2000);

  // A filter that is chosen needs no button. A form that does something is never sent by itself.
  for (const list of document.querySelectorAll('.filter[role=search] select')) {
    list.addEventListener('change', () => list.form.requestSubmit());
  }
})();
