// The track record: what was predicted of movies that are out now, beside the ratings that they got.

import { button, h, renew } from './dom.js';
import { day, number, percent, signed, t, two } from './language.js';
import { choice, listed, missing } from './list.js';
import { delta, scale } from './scale.js';

const PAGE = 50;
const view = { order: 'new', most: PAGE };

export function renderRecord() {
  const list = listed();
  const { order, most } = view;
  const title = h('h2', {}, t('recTitle'));
  if (!list) return renew('record', title, missing());
  const past = (list.past ?? []).filter((one) => Number.isFinite(one.actual));
  if (!past.length) return renew('record', title, h('p', {}, t('recEmpty')));
  const off = (one) => one.rating - one.actual;
  const inside = (one) => one.actual >= one.low && one.actual <= one.high;
  const mean = (measure) => past.reduce((sum, one) => sum + measure(one), 0) / past.length;
  const stat = (value, key) => h('div', {}, h('dt', {}, t(key)), h('dd', {}, value));
  past.sort(order === 'new' ? (one, other) => other.release_date.localeCompare(one.release_date) : (one, other) => Math.abs(off(other)) - Math.abs(off(one)));
  return renew('record', title, h('p', { class: 'soft' }, t('recWhat')),
    h('dl', { class: 'stats' }, stat(number(past.length), 'recN'), stat(two(mean((one) => Math.abs(off(one)))), 'recErr'),
      stat(percent(mean((one) => Number(inside(one)))), 'recIn'), stat(signed(mean(off)), 'recBias')),
    h('div', { class: 'filters' }, choice('sort', 'order', [['new', t('sNew')], ['off', t('sOff')]], view, renderRecord)),
    h('p', { class: 'hint' }, t('legend')),
    h('ul', { class: 'past', id: 'past' }, past.slice(0, most).map((one) => h('li', {},
      h('div', {}, h('h3', {}, one.title), h('p', { class: 'hint' }, `${day(one.release_date)} · ${t('predicted', { r: two(one.rating), d: day(one.predicted_on) })}`)),
      scale(one, { small: true, actual: one.actual }),
      h('p', { class: 'end' }, h('b', {}, t('actual', { a: two(one.actual) })), h('span', { class: 'soft' }, ` (${t('votes', { n: number(one.votes ?? 0) })})`), h('br'),
        delta(off(one)), ' · ', h('span', { class: inside(one) ? 'hit' : 'miss' }, t(inside(one) ? 'within' : 'outside')))))),
    past.length > most && h('p', { class: 'actions' }, button('more-past', 'showMore', () => { view.most += PAGE; renderRecord(); })));
}
