// The form of a movie: its controls, built from the fields, and the languages to choose from.
// Each control describes itself by a hint and by its error; the texts come with the language.

import { $, h } from './dom.js';
import { EXAMPLE, FIRST, KINDS, MORE } from './fields.js';
import { language, number } from './language.js';
import { changed, predict, stop } from './predict.js';
import { state, tell } from './state.js';
import { readNumber } from './typed.js';
import { chip, fill } from './values.js';
import { GENRES } from './words.js';

const HINTS = { names: 'people', codes: 'codes', money: 'dollars', number: 'minutes' };
const WIDE = ['title', 'directors', 'writers', 'cast', 'overview', 'tagline', 'producers', 'production_companies'];
const LANGUAGES = 'ar bn cn cs da de el en es et fa fi fr he hi hu id is it ja ka kk kn ko ml mr ms nb nl no pa pl pt ro ru sr sv ta te th tl tr uk ur vi zh xx'.split(' ');

function control(field) {
  const kind = KINDS[field];
  const hint = !MORE.includes(field) && HINTS[kind];
  const common = { id: `f-${field}`, name: field, 'aria-describedby': `${hint ? `f-${field}-hint ` : ''}f-${field}-error` };
  if (kind === 'genres') {
    return h('fieldset', { class: 'wide', id: 'f-genres', 'aria-describedby': 'f-genres-error' },
      h('legend', { 'data-name': 'genres' }), h('div', { class: 'chips', id: 'chips' }, Object.keys(GENRES).map(chip)), h('p', { class: 'error', id: 'f-genres-error' }));
  }
  let input;
  if (kind === 'language') input = h('select', common, h('option', { value: '', 'data-t': 'unknown' }));
  else if (kind === 'long') input = h('textarea', { ...common, rows: 3 });
  else {
    input = h('input', {
      ...common, type: kind === 'date' ? 'date' : 'text', required: field === 'title', min: kind === 'date' && '1874-01-01', max: kind === 'date' && '2100-12-31',
      inputmode: kind === 'number' ? 'decimal' : null, spellcheck: 'false',
    });
  }
  return h('div', { class: WIDE.includes(field) ? 'wide' : '' }, h('label', { for: common.id, 'data-name': field }), input,
    hint && h('p', { class: 'hint', id: `f-${field}-hint`, 'data-t': hint }), h('p', { class: 'error', id: `f-${field}-error` }));
}

export function buildForm() {
  $('movie').append(
    h('div', { class: 'row' }, h('h2', { 'data-t': 'theMovie' }), h('div', {},
      h('button', { type: 'button', class: 'link', id: 'example', 'data-t': 'example', onclick: () => { fill(EXAMPLE); predict(); } }), ' ',
      h('button', { type: 'button', class: 'link', id: 'clear', 'data-t': 'clear', onclick: clear }))),
    h('div', { class: 'grid' }, FIRST.map(control)),
    h('details', { id: 'more' }, h('summary', { 'data-t': 'more' }), h('p', { class: 'hint', 'data-t': 'people' }), h('div', { class: 'grid' }, MORE.map(control))));
  $('movie').addEventListener('input', changed);
  $('movie').addEventListener('submit', (event) => { event.preventDefault(); predict(); });
  $('f-budget').addEventListener('blur', () => {
    const { value } = readNumber($('f-budget').value);
    if (value) $('f-budget').value = number(value);
  });
}

function clear() {
  fill({});
  Object.assign(state, { answer: null, movie: null, tmdb: null, sentiment: null, errors: {}, failure: null, stale: false });
  stop();
  tell('answer');
  $('f-title').focus();
}

// The languages by name in the page's own; one that a movie brought along stays.
export function nameLanguages() {
  const picker = $('f-original_language');
  const chosen = picker.value;
  const codes = new Set([...LANGUAGES, ...[...picker.options].map((one) => one.value)]);
  codes.delete('');
  picker.replaceChildren(picker.options[0], ...[...codes].map((code) => [code, language(code)]).sort((one, other) => one[1].localeCompare(other[1], state.lang))
    .map(([value, text]) => h('option', { value }, text)));
  picker.value = chosen;
}
