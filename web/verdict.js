// The rating to expect, with its interval and what can be tried next; and the small copy of it that stays in sight.

import { $, button, h, renew } from './dom.js';
import { number, percent, signed, span, t, two } from './language.js';
import { predict } from './predict.js';
import { delta, emptyScale, scale } from './scale.js';
import { state } from './state.js';
import { differences, isFull, keep, tryDirector, tryNextMonth, tryTwiceTheBudget } from './variants.js';

export function renderBusy() {
  $('verdict').setAttribute('aria-busy', String(state.busy));
}

export function renderVerdict() {
  const { answer, kept, stale, failure, tmdb, sentiment } = state;
  $('verdict').classList.toggle('stale', stale);
  const failed = failure && h('div', { role: 'alert' }, h('p', { class: 'error' }, failure), button('again', 'again', predict));
  renderMini();
  if (!answer) return renew('verdict', h('h2', {}, t('verdict')), h('p', { class: 'soft' }, t('start'), ' ', t('optional')), emptyScale(), failed);
  const first = kept[0];
  const confidence = h('select', { id: 'confidence', 'aria-label': t('confidence'), onchange: (event) => { state.confidence = Number(event.target.value); predict(); } },
    [0.5, 0.8, 0.9, 0.95].map((value) => h('option', { value, selected: value === state.confidence }, percent(value))));
  const gap = first && answer.rating - first.answer.rating;
  const changes = first ? differences(state.movie) : [];
  return renew('verdict',
    h('div', { class: 'row' }, h('h2', {}, t('verdict')), h('label', { class: 'confidence' }, h('span', { class: 'hint' }, t('confidence')), ' ', confidence)),
    failed, stale && !failed && h('p', { class: 'error' }, t('staleBecause')),
    h('div', { class: 'big' }, h('strong', { id: 'rating' }, two(answer.rating), h('small', {}, t('outOf'))),
      h('p', {}, first && [delta(gap, Math.abs(gap) < 0.005 ? t('same') : t('against', { d: signed(gap) })), h('br')],
        h('span', { class: 'soft' }, t('between', { p: percent(answer.confidence), lo: two(answer.low), hi: two(answer.high) })))),
    scale(answer, { ghost: first ? first.answer.rating : null, actual: tmdb?.released ? tmdb.vote_average : null }),
    tmdb && h('p', { class: 'hint' }, tmdb.released && tmdb.vote_average !== null
      ? `${t('tmdbVotes', { a: two(tmdb.vote_average), n: number(tmdb.vote_count ?? 0) })}. ${t('tmdbOut')}` : t('tmdbNot')),
    sentiment && h('p', { class: 'hint' }, sentiment.readable ? t('sentiment', { p: two(sentiment.polarity), s: two(sentiment.subjectivity) }) : t('sentimentNone')),
    changes.length > 0 && h('ul', { class: 'diff', id: 'live-diff' }, changes),
    h('div', { class: 'actions' },
      button('keep', 'keep', keep, { class: 'main', 'aria-disabled': isFull() && 'true', title: isFull() && t('keepFull') }),
      button('twice', 'twice', tryTwiceTheBudget), button('month', 'month', tryNextMonth), button('director', 'director', tryDirector)));
}

let inSight = true;
export function renderMini() {
  const { answer, kept } = state;
  $('mini').hidden = !answer || inSight || $('predict').hidden;
  if (!answer) return;
  $('mini').replaceChildren(h('span', { class: 'value num' }, two(answer.rating)), h('span', { class: 'soft num' }, span(answer)),
    kept.length ? delta(answer.rating - kept[0].answer.rating, t('against', { d: signed(answer.rating - kept[0].answer.rating) })) : '');
}

export function watchVerdict() {
  $('mini').onclick = () => $('verdict').scrollIntoView({ block: 'center' });
  new IntersectionObserver(([entry]) => { inSight = entry.isIntersecting; renderMini(); }, { threshold: 0.4 }).observe($('verdict'));
}
