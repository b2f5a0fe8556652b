// What a run prints, while it prints it. Without this file, the page shows what there was when it was loaded.
'use strict';

(() => {
  const log = document.querySelector('[data-output]');
  if (!log || !window.EventSource) return;
  const note = document.querySelector('[data-note]');
  const most = 4000; // lines that are kept on the page,
  const mostSize = 1500000; // and characters: lines may be long
  const mostWaiting = 400000; // characters that wait for the next frame: what is more would be taken away again at once
  let at = log.dataset.from; // how much has come
  let source = null;
  let wait = 1000; // before the next attempt
  let lost = 0; // timer: a break of a moment is nobody's concern
  let waiting = [];
  let waitingSize = 0;
  let frame = 0;
  let follows = true;

  const say = (text) => { if (note && note.textContent !== text) note.textContent = text; };
  const count = (text) => text.split('\n').length - 1;
  let lines = count(log.textContent);
  let size = log.textContent.length;

  const atEnd = () => log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
  log.addEventListener('scroll', () => { follows = atEnd(); }, { passive: true });
  const toEnd = () => { log.scrollTop = log.scrollHeight; };
  toEnd();

  // show writes what has come since the last frame, and takes away what is too much.
  const show = () => {
    frame = 0;
    const text = waiting.join('');
    waiting = [];
    waitingSize = 0;
    if (text) {
      log.append(document.createTextNode(text));
      lines += count(text);
      size += text.length;
    }
    // Whoever reads further up is not disturbed before it is very much.
    const much = follows ? 1 : 4;
    if (lines > much * most || size > much * mostSize) {
      const before = log.scrollHeight;
      while ((lines > most || size > mostSize) && log.childNodes.length > 1) {
        lines -= count(log.firstChild.data);
        size -= log.firstChild.data.length;
        log.firstChild.remove();
      }
      if (!follows) log.scrollTop -= before - log.scrollHeight;
    }
    if (follows) toEnd();
  };

  const add = (text) => {
    waiting.push(text);
    waitingSize += text.length;
    while (waitingSize > mostWaiting && waiting.length > 1) waitingSize -= waiting.shift().length;
    if (!frame) frame = requestAnimationFrame(show);
  };

  const mark = (state) => {
    const place = document.querySelector('[data-state] .mark');
    if (!place || !state.word) return;
    const icon = document.createElement('i');
    icon.setAttribute('aria-hidden', 'true');
    icon.textContent = state.icon;
    place.className = 'mark ' + state.look;
    place.replaceChildren(icon, state.word);
  };

  // renew shows the page of the run as it is now that it has ended, around the output.
  const renew = async () => {
    try {
      const answer = await fetch(location.href, { headers: { Accept: 'text/html' } });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      const old = document.querySelector('main'), fresh = page.querySelector('main'), output = log.closest('section');
      if (!fresh) return;
      const place = fresh.querySelector('section.output'), had = document.activeElement, top = output.getBoundingClientRect().top;
      const scrolled = log.scrollTop;
      if (place) place.replaceWith(output); else fresh.append(output);
      old.replaceChildren(...fresh.childNodes);
      log.scrollTop = scrolled;
      if (follows) toEnd();
      if (output.contains(had)) had.focus({ preventScroll: true });
      window.scrollBy(0, output.getBoundingClientRect().top - top);
    } catch { /* the output is whole, and the page can be loaded again */ }
  };

  const connect = () => {
    source = new EventSource(log.dataset.output + '?from=' + at);
    source.onopen = () => {
      clearTimeout(lost);
      lost = 0;
      wait = 1000;
      say(log.dataset.lost ? 'live again; nothing is missing' : 'live');
      delete log.dataset.lost;
    };
    source.onmessage = (event) => {
      at = event.lastEventId;
      add(JSON.parse(event.data));
    };
    source.addEventListener('state', (event) => mark(JSON.parse(event.data)));
    source.addEventListener('end', (event) => {
      source.close();
      const state = JSON.parse(event.data);
      mark(state);
      say('it has ended: ' + state.word);
      setTimeout(renew, 300 + Math.random() * 1500); // many may watch
    });
    source.onerror = async () => {
      const refused = source.readyState === EventSource.CLOSED; // it was answered, and not with a stream
      source.close();
      if (refused) {
        const answer = await fetch(log.dataset.output, { method: 'HEAD' }).catch(() => null);
        if (answer && answer.status === 401) {
          say('you have to sign in again: reload the page');
          return;
        }
      }
      if (!lost) {
        lost = setTimeout(() => {
          log.dataset.lost = 'yes';
          say('the connection is lost; trying again');
        }, 2500);
      }
      setTimeout(connect, wait * (0.5 + Math.random()));
      wait = Math.min(2 * wait, 20000);
    };
  };
  connect();
  window.addEventListener('pagehide', () => source.close());
  window.addEventListener('pageshow', (event) => { if (event.persisted) connect(); });
})();
