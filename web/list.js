// The last list of upcoming movies, with what became of earlier ones: asked for once, when one of its tabs is opened.

import { button, h } from './dom.js';
import { t } from './language.js';
import { ask, explain } from './service.js';
import { tell } from './state.js';

let list = null;
let failure = null;
let loading = false;

export const listed = () => list;

export async function loadList() {
  if (list || loading) return;
  loading = true;
  failure = null;
  tell('list');
  try {
    list = await ask('upcoming');
  } catch (error) {
    failure = explain(error);
  }
  loading = false;
  tell('list');
}

// What stands in place of a list that is not here.
export function missing() {
  return failure ? h('div', { class: 'card', role: 'alert' }, h('p', { class: 'error' }, failure), h('p', { class: 'actions' }, button('list-again', 'again', loadList)))
    : h('p', { class: 'soft', role: 'status' }, t('loading'));
}

export function choice(key, name, options, values, after) {
  return h('div', {}, h('label', { for: `by-${name}` }, t(key)), h('select', {
    id: `by-${name}`, onchange: (event) => { values[name] = event.target.value; after(); },
  }, options.map(([value, text]) => h('option', { value, selected: values[name] === value }, text))));
}
