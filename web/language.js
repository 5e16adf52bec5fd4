// Texts, names, numbers and dates in the language of the page. The words themselves are in words.js.
// A code that the browser has no name for is shown as it is.

import { state } from './state.js';
import { GENRES, NAMES, WORDS } from './words.js';

export const t = (key, values = {}) => WORDS[state.lang][key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
export const nameOf = (field) => NAMES[field]?.[state.lang === 'ko' ? 1 : 0] ?? field;
export const genre = (name) => (state.lang === 'ko' && GENRES[name]) || name;
export function language(code) {
  if (code === 'xx') return '—';
  try { return new Intl.DisplayNames(state.lang, { type: 'language' }).of(code === 'cn' ? 'yue' : code); } catch { return code; }
}

export const number = (value, options) => new Intl.NumberFormat(state.lang, options).format(value);
export const one = (value) => number(value, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
export const two = (value) => number(value, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
export const signed = (value) => (Math.abs(value) < 0.005 ? '±' + two(0) : (value < 0 ? '−' : '+') + two(Math.abs(value)));
export const percent = (value) => number(value, { style: 'percent', maximumFractionDigits: 0 });
export const money = (value) => number(value, { style: 'currency', currency: 'USD', notation: 'compact', maximumFractionDigits: 1 });
export const span = (answer) => `${two(answer.low)}–${two(answer.high)}`;
export function day(text, options = { dateStyle: 'medium' }) {
  const date = new Date(String(text).slice(0, 10) + 'T00:00:00Z');
  return Number.isNaN(+date) ? String(text ?? '') : new Intl.DateTimeFormat(state.lang, { ...options, timeZone: 'UTC' }).format(date);
}

// Turn the whole document to a language; what is drawn from data is drawn anew by those who listen.
export function translate() {
  document.documentElement.lang = state.lang;
  for (const node of document.querySelectorAll('[data-t]')) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll('[data-aria]')) node.setAttribute('aria-label', t(node.dataset.aria));
  for (const node of document.querySelectorAll('[data-name]')) node.textContent = nameOf(node.dataset.name);
  for (const node of document.querySelectorAll('[data-genre]')) node.textContent = genre(node.dataset.genre);
}
