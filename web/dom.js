// Elements of the document. What is given as text stays text: no string is ever read as markup.

import { t } from './language.js';

export const $ = (id) => document.getElementById(id);

export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (key.startsWith('--')) node.style.setProperty(key, value);
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function button(id, key, onclick, extra = {}) {
  return h('button', { type: 'button', id, onclick, ...extra }, t(key));
}

// Rebuilding a region must not take the keyboard from a button in it: the one with the same id gets the focus again.
export function renew(id, ...nodes) {
  const inside = $(id).contains(document.activeElement) && document.activeElement.id;
  $(id).replaceChildren(...nodes.flat().filter(Boolean));
  if (inside) $(inside)?.focus({ preventScroll: true });
}
