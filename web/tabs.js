// The four tabs, by mouse, keyboard and address; the address names the open one, so that it can be sent to others.

import { $ } from './dom.js';
import { tell } from './state.js';

const TABS = ['predict', 'many', 'upcoming', 'record'];

export const isOpen = (...names) => names.some((name) => !$(name).hidden);

export function select(name, focus) {
  for (const one of TABS) {
    const tab = $(`tab-${one}`);
    tab.setAttribute('aria-selected', String(one === name));
    tab.tabIndex = one === name ? 0 : -1;
    $(one).hidden = one !== name;
  }
  if (focus) {
    $(`tab-${name}`).focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
  history.replaceState(null, '', `#/${name}`); // the slash: no element has that id, so nothing scrolls
  tell('tab');
}

export function watchTabs() {
  $('tabs').addEventListener('click', (event) => event.target.id.startsWith('tab-') && select(event.target.id.slice(4)));
  $('tabs').addEventListener('keydown', (event) => {
    const now = TABS.indexOf(document.activeElement.id.slice(4));
    const next = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: TABS.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    select(TABS[(next + TABS.length) % TABS.length], true);
  });
  new ResizeObserver(([entry]) => document.documentElement.style.setProperty('--bar', `${entry.target.offsetHeight}px`)).observe(document.querySelector('.bar'));
  const wanted = location.hash.slice(2);
  select(TABS.includes(wanted) ? wanted : 'predict');
}
