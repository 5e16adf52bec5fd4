// Variants of a movie side by side: kept as they were answered, each against the first.

import { $, h, renew } from './dom.js';
import { entityName, FIELDS, KINDS } from './fields.js';
import { showErrors } from './errors.js';
import { day, genre, language, money, nameOf, number, percent, span, t, two } from './language.js';
import { predict } from './predict.js';
import { delta, scale } from './scale.js';
import { state, tell } from './state.js';
import { fill, read } from './values.js';

const MOST = 3;
const alike = (one, other) => JSON.stringify(one) === JSON.stringify(other);

export const isFull = () => state.kept.length >= MOST;

export async function keep() {
  if (isFull()) {
    $('said').textContent = t('keepFull');
    return;
  }
  if (!alike(read().movie, state.movie)) await predict(); // typed a moment ago, and not asked yet
  if (!state.answer || state.stale || !alike(read().movie, state.movie)) return;
  state.kept.push({ movie: state.movie, answer: state.answer });
  tell('answer');
  $('said').textContent = t('kept', { x: 'ABC'[state.kept.length - 1] });
}
const keepFirst = async () => { if (!state.kept.length) await keep(); };

async function tryOut(field, missing, change) {
  const { movie } = read();
  if (!movie[field]) {
    state.errors[field] = [t(missing)];
    showErrors();
    return $(`f-${field}`).focus();
  }
  await keepFirst();
  $(`f-${field}`).value = change(movie[field]);
  return predict();
}
export const tryTwiceTheBudget = () => tryOut('budget', 'needBudget', (budget) => number(budget * 2));
export const tryNextMonth = () => tryOut('release_date', 'needDate', nextMonth);
export async function tryDirector() {
  await keepFirst();
  $('f-directors').focus();
  $('f-directors').select();
}

function nextMonth(text) {
  const [year, month, date] = text.split('-').map(Number);
  const last = new Date(Date.UTC(year, month + 1, 0)).getUTCDate();
  return new Date(Date.UTC(year, month, Math.min(date, last))).toISOString().slice(0, 10);
}

function show(field, value) {
  if (value === undefined) return t('nothing');
  if (field === 'budget') return money(value);
  if (field === 'release_date') return day(value);
  if (field === 'original_language') return language(value);
  if (field === 'genres') return value.map(genre).join(', ');
  return [value].flat().map((one) => (typeof one === 'number' ? number(one) : entityName(one))).join(', ');
}

// Where a movie differs from the first variant, field by field.
export function differences(movie) {
  const first = state.kept[0]?.movie;
  if (!first) return [];
  return FIELDS.filter((field) => !alike(first[field], movie[field])).map((field) => h('li', {}, h('b', {}, nameOf(field)), ' ',
    KINDS[field] === 'long' ? t('changed') : `${show(field, first[field])} → ${show(field, movie[field])}`));
}

export function renderVariants() {
  const { kept } = state;
  if (!kept.length) return renew('variants');
  return renew('variants', h('section', { class: 'card' }, h('h2', {}, t('compare')), h('p', { class: 'hint' }, t('compareHint')),
    h('ol', { class: 'variants' }, kept.map(variant))));
}

function variant({ movie, answer }, n) {
  const { kept } = state;
  const letter = 'ABC'[n];
  const changes = differences(movie);
  return h('li', { class: 'variant' },
    h('h4', {}, h('span', { class: 'letter' }, letter), movie.title ?? '—'),
    h('p', {}, h('span', { class: 'rating num' }, two(answer.rating)), ' ', n > 0 && delta(answer.rating - kept[0].answer.rating)),
    h('p', { class: 'hint num' }, `${percent(answer.confidence)}: ${span(answer)}`), scale(answer, { small: true }),
    n === 0 ? h('p', { class: 'hint' }, t('first')) : changes.length ? h('ul', {}, changes) : h('p', { class: 'hint' }, t('noDiff')),
    h('p', { class: 'foot-row' },
      h('button', { type: 'button', class: 'link', id: `edit-${letter}`, 'aria-label': t('editAria', { x: letter }), onclick: () => { fill(movie); predict(); } }, t('edit')),
      h('button', {
        type: 'button', class: 'link', id: `remove-${letter}`, 'aria-label': t('removeAria', { x: letter }),
        onclick: () => { kept.splice(n, 1); tell('answer'); ($('remove-A') ?? $('keep'))?.focus(); },
      }, t('remove'))));
}
