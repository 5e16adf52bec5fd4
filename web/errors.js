// What is wrong with the fields: shown at each of them, and said aloud once.

import { $ } from './dom.js';
import { FIELDS, MORE } from './fields.js';
import { nameOf } from './language.js';
import { state } from './state.js';

export function showErrors() {
  for (const field of FIELDS) {
    const said = state.errors[field];
    $(`f-${field}-error`).textContent = said ? said.join(' ') : '';
    $(`f-${field}`).toggleAttribute('aria-invalid', false);
    if (said) $(`f-${field}`).setAttribute('aria-invalid', 'true');
    if (said && MORE.includes(field)) $('more').open = true;
  }
}

export function sayErrors() {
  const said = Object.entries(state.errors).map(([field, texts]) => `${nameOf(field)}: ${texts.join(' ')}`);
  if (said.length) $('said').textContent = said.join(' ');
}
