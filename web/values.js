// A movie out of the form, and a movie into it. Sends nothing.
// A pasted id survives the text field, so that namesakes stay apart.

import { $, h } from './dom.js';
import { entityName, FIELDS, KINDS, MORE } from './fields.js';
import { number, t } from './language.js';
import { readNames, readNumber, writeNames } from './typed.js';

const ids = {}; // field -> name -> TMDB's id

const withId = (field, name) => (ids[field]?.[name] ? { name, id: ids[field][name] } : name);

export const chip = (name) => h('label', {}, h('input', { type: 'checkbox', name: 'genre', value: name }), h('span', { 'data-genre': name }));

export function read() {
  const movie = {};
  const errors = {};
  for (const field of FIELDS) {
    const kind = KINDS[field];
    if (kind === 'genres') {
      const picked = [...document.querySelectorAll('#chips input:checked')].map((box) => box.value);
      if (picked.length) movie.genres = picked;
      continue;
    }
    const input = $(`f-${field}`);
    const text = input.value.trim();
    if (kind === 'number' || kind === 'money') {
      const { value, wrong } = readNumber(text);
      if (wrong) errors[field] = [t('notNumber', { x: kind === 'money' ? '40,000,000' : '120' })];
      else if (value !== null) movie[field] = value;
    } else if (kind === 'names') {
      const names = readNames(text).map((name) => withId(field, name));
      if (names.length) movie[field] = names;
    } else if (kind === 'codes') {
      if (text) movie[field] = readNames(text).map((code) => code.toLowerCase());
    } else if (kind === 'date' && input.validity.badInput) errors[field] = [t('notDate')];
    else if (text) movie[field] = kind === 'name' ? withId(field, text) : text;
  }
  return { movie, errors };
}

// Show a movie in the form, and return how many fields it filled; what the form does not know is left out.
export function fill(movie) {
  for (const key of Object.keys(ids)) delete ids[key];
  $('movie').reset();
  let filled = 0;
  for (const field of FIELDS) {
    const value = movie[field];
    if (value === null || value === undefined || value === '' || value === 0 || (Array.isArray(value) && !value.length)) continue;
    const kind = KINDS[field];
    filled += 1;
    if (kind === 'genres') value.map(entityName).forEach(tick);
    else if (kind === 'names' || kind === 'name') {
      const list = [value].flat();
      ids[field] = Object.fromEntries(list.filter((one) => one?.id).map((one) => [one.name, one.id]));
      $(`f-${field}`).value = kind === 'name' ? entityName(value) : writeNames(list.map(entityName));
    } else if (kind === 'codes') $(`f-${field}`).value = [value].flat().map((one) => one?.iso_639_1 ?? entityName(one)).join(', ');
    else {
      const input = $(`f-${field}`);
      if (kind === 'language' && ![...input.options].some((one) => one.value === value)) input.append(h('option', { value }, String(value)));
      input.value = kind === 'money' ? number(value) : value;
    }
  }
  $('more').open ||= MORE.some((field) => $(`f-${field}`).value);
  return filled;
}

// A genre that TMDB does not have gets a chip of its own.
function tick(name) {
  let box = [...document.querySelectorAll('#chips input')].find((one) => one.value === name);
  if (!box) {
    const made = chip(name);
    made.lastChild.textContent = name;
    $('chips').append(made);
    box = made.firstChild;
  }
  box.checked = true;
}
