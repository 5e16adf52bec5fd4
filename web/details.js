// Below the rating: why it is what it is, how sure it is, and the movies most like it.
// The points of all fields add up to the rating; what moves it by less than a hundredth is shown when asked for.

import { h, renew } from './dom.js';
import { nameOf, percent, signed, t, two } from './language.js';
import { weightiest, why } from './reasons.js';
import { state } from './state.js';
import { sureness } from './sureness.js';

export function renderDetails() {
  const { answer } = state;
  if (!answer) return renew('details');
  return renew('details', reasons(answer), sureness(answer), similar(answer));
}

function reasons(answer) {
  const all = weightiest(answer.reasons);
  const told = all.filter((one) => Math.abs(one.points) >= 0.005);
  const few = told.slice(0, 8);
  const most = Math.max(0.25, ...all.map((one) => Math.abs(one.points)));
  const sum = (answer.base ?? 0) + all.reduce((total, one) => total + one.points, 0);
  return h('section', { class: 'card' }, h('h2', {}, t('why')),
    told.length ? [
      h('p', { class: 'soft' }, t('startsAt', { b: two(answer.base) })),
      h('ul', { class: 'reasons', id: 'reasons' }, (state.allReasons ? all : few).map((reason) => h('li', {},
        h('div', {}, h('b', {}, nameOf(reason.field)), h('span', { class: 'why' }, why(reason))),
        h('div', { class: 'bars', 'aria-hidden': 'true' }, h('i', { class: reason.points < 0 ? 'neg' : '', '--long': `${(Math.abs(reason.points) / most) * 50}%` })),
        h('span', { class: `pts num ${reason.points < 0 ? 'down' : 'up'}` }, signed(reason.points))))),
      all.length > few.length && h('button', {
        type: 'button', class: 'link', id: 'all-reasons', 'aria-expanded': String(state.allReasons), 'aria-controls': 'reasons',
        onclick: () => { state.allReasons = !state.allReasons; renderDetails(); },
      }, state.allReasons ? t('fewReasons') : t('allReasons', { n: all.length })),
      (sum > 10 || sum < 0) && h('p', { class: 'hint' }, t('clipped')),
    ] : h('p', { class: 'soft' }, t('noWhy')));
}

function similar(answer) {
  return h('section', { class: 'card' }, h('h2', {}, t('similar')), answer.similar?.length
    ? h('ul', { class: 'similar', id: 'similar' }, answer.similar.map((one) => h('li', {}, h('span', {}, one.title, h('span', { class: 'soft' }, ` (${one.year})`)),
      h('span', { class: 'num' }, h('b', {}, two(one.rating)), h('span', { class: 'soft' }, ` · ${t('alike', { p: percent(one.likeness) })}`)))))
    : h('p', { class: 'soft' }, t('noSimilar')));
}
