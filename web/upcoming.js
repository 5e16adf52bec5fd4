// What comes out: the list's movies as cards, filtered and sorted here; a closer look puts one into the form.
// The list holds no more of a movie than its card shows, so a closer look asks the service for the rest.

import { $, button, h, renew } from './dom.js';
import { day, genre, language, nameOf, number, signed, span, t, two } from './language.js';
import { choice, listed, missing } from './list.js';
import { predict, request } from './predict.js';
import { weightiest, why } from './reasons.js';
import { scale } from './scale.js';
import { state } from './state.js';
import { select } from './tabs.js';
import { fill } from './values.js';

const POSTERS = 'https://image.tmdb.org/t/p/w185';
const PAGE = 60;
const filter = { text: '', genre: '', language: '', month: '', sort: 'date', most: PAGE };

export function renderUpcoming() {
  const list = listed();
  if (!list) return renew('upcoming', h('h2', {}, t('upTitle')), missing());
  const movies = list.movies ?? [];
  if (!movies.length) return renew('upcoming', h('h2', {}, t('upTitle')), h('p', {}, t('upEmpty')), list.reason && h('p', { class: 'hint', lang: 'en' }, list.reason));
  const all = (values, text) => [['', t('all')], ...[...new Set(values)].filter(Boolean).map((one) => [one, text(one)])];
  const byText = ([, one], [, other]) => one.localeCompare(other, state.lang);
  const sorted = ([first, ...rest]) => [first, ...rest.sort(byText)];
  const after = () => { filter.most = PAGE; renderPosters(); };
  const { model } = list;
  renew('upcoming',
    h('div', { class: 'row' }, h('h2', {}, t('upTitle')), h('p', { class: 'hint' }, list.as_of && t('asOf', { d: day(list.as_of) }),
      model && ` · ${t('model')} ${typeof model === 'string' ? model : `${model.name} v${model.version}`}`)),
    h('div', { class: 'filters' },
      h('div', {}, h('label', { for: 'by-text' }, t('search')), h('input', { id: 'by-text', type: 'search', value: filter.text, oninput: (event) => { filter.text = event.target.value; after(); } })),
      choice('genre', 'genre', sorted(all(movies.flatMap((one) => one.genres), genre)), filter, after),
      choice('language', 'language', sorted(all(movies.map((one) => one.original_language), language)), filter, after),
      choice('monthOf', 'month', all(movies.map((one) => one.release_date.slice(0, 7)).sort(), (one) => day(`${one}-01`, { year: 'numeric', month: 'long' })), filter, after),
      choice('sort', 'sort', [['date', t('sDate')], ['rating', t('sRating')], ['sure', t('sSure')], ['title', t('sTitle')]], filter, after)),
    h('p', { class: 'hint', id: 'found', role: 'status' }), h('ul', { class: 'posters', id: 'posters' }), h('p', { class: 'actions', id: 'posters-more' }));
  return renderPosters();
}

function renderPosters() {
  const { movies } = listed();
  const text = filter.text.trim().toLocaleLowerCase();
  const order = {
    date: (one, other) => one.release_date.localeCompare(other.release_date), rating: (one, other) => other.rating - one.rating,
    sure: (one, other) => one.high - one.low - (other.high - other.low), title: (one, other) => one.title.localeCompare(other.title, state.lang),
  }[filter.sort];
  const found = movies.filter((one) => one.title.toLocaleLowerCase().includes(text) && (!filter.genre || one.genres.includes(filter.genre))
    && (!filter.language || one.original_language === filter.language) && one.release_date.startsWith(filter.month)).sort(order);
  $('found').textContent = found.length ? t('count', { n: number(found.length), m: number(movies.length) }) : t('upNone');
  renew('posters', found.slice(0, filter.most).map(poster));
  renew('posters-more', found.length > filter.most && button('more-posters', 'showMore', () => { filter.most += PAGE; renderPosters(); }));
}

function poster(movie) {
  const blank = () => h('span', { class: 'blank', 'aria-hidden': 'true' }, [...movie.title][0] ?? '');
  const safe = /^\/[\w.-]+$/.test(movie.poster_path ?? '');
  const art = h('div', { class: 'art' }, safe ? h('img', {
    src: POSTERS + movie.poster_path, alt: '', width: 185, height: 278, loading: 'lazy', decoding: 'async', referrerpolicy: 'no-referrer', onerror: () => art.replaceChildren(blank()),
  }) : blank());
  const [top] = weightiest(movie.reasons);
  return h('li', { class: 'poster' }, art, h('h3', {}, movie.title),
    h('p', { class: 'hint' }, day(movie.release_date), movie.genres.length ? ` · ${movie.genres.slice(0, 3).map(genre).join(', ')}` : ''),
    h('p', { class: 'rating num' }, two(movie.rating), ' ', h('small', {}, span(movie))), scale(movie, { small: true }),
    h('p', { class: 'hint' }, top && [t('topReason', { f: nameOf(top.field), d: signed(top.points) }), h('span', { class: 'why' }, why(top))]),
    h('p', {}, h('button', {
      type: 'button', class: 'link', 'aria-label': t('openAria', { t: movie.title }),
      onclick: () => look(movie),
    }, t('open'))));
}

// Without TMDB at hand, what the list knows of the movie is still enough to ask with.
function look(movie) {
  const { id, title, release_date, genres, original_language } = movie;
  select('predict', true);
  request('predict/tmdb', { id }, (text) => {
    $('paste-note').textContent = text;
    fill({ title, release_date, genres, original_language });
    state.tmdb = null;
    predict();
  });
}
