import { GENRES, NAMES, WORDS } from './words.js';
import { fillCsv, parseCsv, writeCsv } from './csv.js';

// The page lies one folder below the API, whatever prefix a proxy puts before both.
const API = new URL('../', import.meta.url);
const POSTERS = 'https://image.tmdb.org/t/p/w185';
const VARIANTS = 3;
const KINDS = {
  title: 'text', original_title: 'text', release_date: 'date', runtime: 'number', budget: 'money', original_language: 'language',
  genres: 'genres', directors: 'names', cast: 'names', writers: 'names', producers: 'names', production_companies: 'names',
  production_countries: 'names', belongs_to_collection: 'name', overview: 'long', tagline: 'text', spoken_languages: 'codes',
  cinematographers: 'names', composers: 'names', editors: 'names',
};
const FIELDS = Object.keys(KINDS);
const FIRST = ['title', 'release_date', 'original_language', 'runtime', 'budget', 'genres', 'directors', 'writers', 'cast'];
const MORE = ['overview', 'tagline', 'producers', 'production_companies', 'production_countries', 'belongs_to_collection',
  'cinematographers', 'composers', 'editors', 'spoken_languages', 'original_title'];
const LANGUAGES = 'ar bn cn cs da de el en es et fa fi fr he hi hu id is it ja ka kk kn ko ml mr ms nb nl no pa pl pt ro ru sr sv ta te th tl tr uk ur vi zh xx'.split(' ');
const EXAMPLE = {
  title: 'Little Women', release_date: '2019-12-25', original_language: 'en', runtime: 135, budget: 40000000,
  genres: ['Drama', 'Romance'], directors: ['Greta Gerwig'], writers: ['Greta Gerwig'], cast: ['Saoirse Ronan', 'Emma Watson'],
  overview: 'Four sisters come of age in the shadow of a war.',
};

const state = {
  lang: 'en', level: 0.9, answer: null, movie: null, tmdb: null, sentiment: null, errors: {}, failure: null, stale: false,
  busy: false, kept: [], allReasons: false, model: null, metrics: {}, list: null, listError: null, csv: null,
  filter: { text: '', genre: '', language: '', month: '', sort: 'date', most: 60 }, past: { order: 'new', most: 50 },
};
const ids = {}; // field -> name -> TMDB's id: a pasted id survives the text field, so that namesakes stay apart
const $ = (id) => document.getElementById(id);

// --- small helpers -------------------------------------------------------------------------------------------------

function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (key.startsWith('--')) node.style.setProperty(key, value);
    else node.setAttribute(key === 'class' ? 'class' : key, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}
const t = (key, values = {}) => WORDS[state.lang][key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
const nameOf = (field) => NAMES[field]?.[state.lang === 'ko' ? 1 : 0] ?? field;
const number = (value, options) => new Intl.NumberFormat(state.lang, options).format(value);
const two = (value) => number(value, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const signed = (value) => (Math.abs(value) < 0.005 ? '±' + two(0) : (value < 0 ? '−' : '+') + two(Math.abs(value)));
const percent = (value) => number(value, { style: 'percent', maximumFractionDigits: 0 });
const money = (value) => number(value, { style: 'currency', currency: 'USD', notation: 'compact', maximumFractionDigits: 1 });
const span = (answer) => `${two(answer.low)}–${two(answer.high)}`;
const alike = (one, other) => JSON.stringify(one) === JSON.stringify(other);
function day(text, options = { dateStyle: 'medium' }) {
  const date = new Date(String(text).slice(0, 10) + 'T00:00:00Z');
  return Number.isNaN(+date) ? String(text ?? '') : new Intl.DateTimeFormat(state.lang, { ...options, timeZone: 'UTC' }).format(date);
}
function language(code) {
  if (code === 'xx') return '—';
  try { return new Intl.DisplayNames(state.lang, { type: 'language' }).of(code === 'cn' ? 'yue' : code); } catch { return code; }
}
const genre = (name) => (state.lang === 'ko' && GENRES[name]) || name;
const english = (text) => (state.lang === 'en' ? text : h('span', { lang: 'en' }, text));
function download(name, text) {
  const link = h('a', { href: URL.createObjectURL(new Blob([text], { type: 'text/csv;charset=utf-8' })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
const store = { // private windows and blocked cookies must not break the page
  get(kind, key) { try { return window[kind].getItem(key); } catch { return null; } },
  set(kind, key, value) { try { window[kind].setItem(key, value); } catch { /* kept for this page only */ } },
};

// --- the service ---------------------------------------------------------------------------------------------------

let token = store.get('sessionStorage', 'token');
let tokenGiven = null;

class Refused extends Error {
  constructor(status, body, wait) {
    super(status === 429 ? t('slow') : body?.error || t('failed', { e: status }));
    Object.assign(this, { status, errors: body?.errors || [], wait });
  }
}

async function ask(path, body, signal) {
  for (;;) {
    const sent = token;
    const headers = { 'Accept-Language': state.lang };
    if (body) headers['Content-Type'] = 'application/json';
    if (sent) headers.Authorization = `Bearer ${sent}`;
    let reply;
    try {
      reply = await fetch(new URL(path, API), { method: body ? 'POST' : 'GET', headers, body: body && JSON.stringify(body), signal });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Refused(0, { error: t('failed', { e: error.message }) });
    }
    if (reply.status === 401) {
      await (sent === token ? askToken(Boolean(sent)) : null);
      signal?.throwIfAborted();
      continue;
    }
    const said = await reply.json().catch(() => null);
    if (!reply.ok || !said) throw new Refused(reply.status, said, Number(reply.headers.get('Retry-After')));
    return said;
  }
}

function askToken(wasWrong) {
  if (!tokenGiven) {
    $('token-form').hidden = false;
    tokenGiven = new Promise((resolve) => {
      $('token-form').onsubmit = (event) => {
        event.preventDefault();
        token = $('token').value.trim();
        if (!/^[!-~]+$/.test(token)) { // a header takes nothing else
          $('token-why').textContent = t('tokenBad');
          return;
        }
        store.set('sessionStorage', 'token', token);
        $('token-form').hidden = true;
        $('token').value = '';
        tokenGiven = null;
        resolve();
      };
    });
  }
  $('token-why').textContent = t(wasWrong ? 'tokenBad' : 'tokenWhy');
  return tokenGiven;
}

function learnModel(model) {
  if (!model) return;
  state.model = model;
  renderModel();
}

function renderModel() {
  const { model } = state;
  $('synthetic').hidden = !model?.synthetic;
  if (!model) return;
  const facts = [model.family, t('until', { d: day(model.learned_until) }), t('source', { s: model.source }), String(model.sha256).slice(0, 8)];
  $('model').replaceChildren(`${t('model')} `, h('b', {}, `${model.name} v${String(model.version).replace(/^v/, '')}`), ` · ${facts.join(' · ')}`);
  $('model').title = `${t('trained', { d: day(model.trained_at) })} · SHA-256 ${model.sha256}`;
}

// --- the form ------------------------------------------------------------------------------------------------------

function control(field) {
  const kind = KINDS[field];
  const hint = { names: 'people', codes: 'codes', money: 'dollars', number: 'minutes' }[kind];
  const said = `${hint && !MORE.includes(field) ? `f-${field}-hint ` : ''}f-${field}-error`;
  const common = { id: `f-${field}`, name: field, 'aria-describedby': said };
  const wide = ['title', 'directors', 'writers', 'cast', 'overview', 'tagline', 'producers', 'production_companies'].includes(field);
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
  return h('div', { class: wide ? 'wide' : '' },
    h('label', { for: common.id, 'data-name': field }), input,
    hint && !MORE.includes(field) && h('p', { class: 'hint', id: `f-${field}-hint`, 'data-t': hint }), h('p', { class: 'error', id: `f-${field}-error` }));
}
const chip = (name) => h('label', {}, h('input', { type: 'checkbox', name: 'genre', value: name }), h('span', { 'data-genre': name }));

function buildForm() {
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

// A list of names as people write it; a name that itself has a comma stands in quotes.
function readNames(text) {
  const names = [];
  for (const [, quoted, plain] of text.matchAll(/\s*(?:"([^"]*)"|([^,，、\n]*))\s*(?:[,，、\n]|$)/g)) {
    const name = (quoted ?? plain).trim();
    if (name && !names.includes(name)) names.push(name);
  }
  return names;
}
const writeNames = (names) => names.map((name) => (/[,，、]/.test(name) ? `"${name}"` : name)).join(', ');

function readNumber(text) {
  const match = text.trim().toLowerCase().replace(/[\s,$]|us\$?|usd/g, '').match(/^(-?\d+(?:\.\d+)?)(k|m|b|thousand|million|billion|만|억)?$/);
  if (!text.trim()) return { value: null };
  if (!match) return { wrong: true };
  const times = { k: 1e3, t: 1e3, m: 1e6, b: 1e9, 만: 1e4, 억: 1e8 }[match[2]?.[0]] ?? 1;
  return { value: Number(match[1]) * times };
}

const withId = (field, name) => (ids[field]?.[name] ? { name, id: ids[field][name] } : name);

function read() {
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

const entityName = (value) => (typeof value === 'string' ? value : value?.name ?? '');

// Show a movie in the form; whatever the form does not know is named and left out.
function fill(movie) {
  for (const key of Object.keys(ids)) delete ids[key];
  $('movie').reset();
  let filled = 0;
  for (const field of FIELDS) {
    const value = movie[field];
    if (value === null || value === undefined || value === '' || value === 0 || (Array.isArray(value) && !value.length)) continue;
    const kind = KINDS[field];
    filled += 1;
    if (kind === 'genres') {
      for (const name of value.map(entityName)) {
        let box = [...document.querySelectorAll('#chips input')].find((one) => one.value === name);
        if (!box) {
          const made = chip(name);
          made.lastChild.textContent = name;
          $('chips').append(made);
          box = made.firstChild;
        }
        box.checked = true;
      }
      continue;
    }
    const input = $(`f-${field}`);
    if (kind === 'names' || kind === 'name') {
      const list = [value].flat();
      ids[field] = Object.fromEntries(list.filter((one) => one?.id).map((one) => [one.name, one.id]));
      input.value = kind === 'name' ? entityName(value) : writeNames(list.map(entityName));
    } else if (kind === 'codes') input.value = [value].flat().map((one) => one?.iso_639_1 ?? entityName(one)).join(', ');
    else {
      if (kind === 'language' && ![...input.options].some((one) => one.value === value)) input.append(h('option', { value }, String(value)));
      input.value = kind === 'money' ? number(value) : value;
    }
  }
  $('more').open ||= MORE.some((field) => $(`f-${field}`).value);
  return filled;
}

function clear() {
  fill({});
  Object.assign(state, { answer: null, movie: null, tmdb: null, sentiment: null, errors: {}, failure: null, stale: false });
  stop();
  render();
  $('f-title').focus();
}

// The credits of TMDB's own answer, by the jobs that the model knows.
const JOBS = {
  Director: 'directors', Writer: 'writers', Screenplay: 'writers', Author: 'writers', Producer: 'producers', 'Director of Photography': 'cinematographers',
  'Original Music Composer': 'composers', Music: 'composers', Editor: 'editors',
};
function fromTmdb(movie) {
  if (!movie.credits) return movie;
  const facts = { ...movie, cast: (movie.credits.cast || []).slice(0, 15) };
  for (const { job, name, id } of movie.credits.crew || []) if (JOBS[job]) (facts[JOBS[job]] ||= []).push({ name, id });
  return facts;
}

async function paste(event) {
  event?.preventDefault();
  const text = $('paste').value.trim();
  const wrong = (words) => {
    $('paste-error').textContent = words;
    $('paste').setAttribute('aria-invalid', String(Boolean(words)));
  };
  wrong('');
  $('paste-note').textContent = '';
  if (!text) return wrong(t('pasteNone'));
  const id = text.match(/^(?:https?:\/\/\S*\/movie\/|tmdb[:/ ]*)?(\d{1,9})(?:[-/?#]\S*)?$/i)?.[1];
  if (id) return byId(Number(id), wrong);
  if (/^[{[]/.test(text)) {
    let movie;
    try { movie = JSON.parse(text); } catch (error) { return wrong(t('pasteJson', { e: error.message })); }
    movie = movie.movie ?? movie;
    if (typeof movie !== 'object' || Array.isArray(movie) || !movie.title) return wrong(t('pasteShape'));
    const left = Object.keys(movie).filter((key) => !KINDS[key] && key !== 'credits');
    try { movie = fill(fromTmdb(movie)); } catch (error) { return wrong(t('pasteJson', { e: error.message })); }
    $('paste-note').textContent = `${t('pasteFilled', { n: movie })} ${left.length ? t('pasteLeft', { x: left.join(', ') }) : ''}`;
    Object.assign(state, { tmdb: null, sentiment: null });
    return predict();
  }
  fill({ overview: text });
  $('paste-note').textContent = t('pasteText');
  return request('predict/text', { text }, wrong);
}

const byId = (id, wrong) => request('predict/tmdb', { id }, wrong);

// --- asking for a prediction ---------------------------------------------------------------------------------------

let timer = 0;
let running = null;
function stop() {
  clearTimeout(timer);
  running?.abort();
  running = null;
  state.busy = false;
}

function changed(event) {
  const field = event.target.name === 'genre' ? 'genres' : event.target.name;
  if (event.target.name === 'title') state.tmdb = null;
  delete state.errors[field];
  showErrors();
  clearTimeout(timer);
  timer = setTimeout(predict, 250);
}

function predict() {
  stop();
  const { movie, errors } = read();
  if (!movie.title && Object.keys(movie).length && (state.answer || $('f-title').value)) errors.title = [t('needTitle')];
  state.errors = errors;
  if (Object.keys(errors).length || !movie.title) {
    state.stale = Boolean(state.answer);
    state.failure = null;
    render();
    return sayErrors();
  }
  state.sentiment = null;
  return request('predict', { movie });
}

// `wrong` is given where the question came from the paste box: then that is where its errors belong.
async function request(path, body, wrong) {
  stop();
  const mine = (running = new AbortController());
  state.busy = true;
  state.failure = null;
  renderBusy();
  try {
    // What is typed is a what-if: nothing to be measured later.
    const said = await ask(path, { ...body, level: state.level, reasons: true, similar: 5, record: false }, mine.signal);
    if (mine !== running) return;
    const answer = said.prediction ?? said;
    if (path === 'predict/tmdb') {
      const n = fill(said.movie);
      $('paste-note').textContent = t('pasteFilled', { n });
      state.tmdb = said.tmdb;
    } else if (wrong) state.tmdb = null;
    Object.assign(state, { answer, movie: body.movie ?? read().movie, sentiment: said.sentiment ?? null, errors: {}, stale: false, busy: false });
    learnModel(answer.model);
    render();
    const first = state.kept[0];
    $('said').textContent = `${t('said', { r: two(answer.rating), p: percent(answer.level), lo: two(answer.low), hi: two(answer.high) })} ${
      first ? t('saidAgainst', { d: signed(answer.rating - first.answer.rating) }) : ''}`;
  } catch (error) {
    if (mine !== running || error.name === 'AbortError') return;
    state.busy = false;
    state.stale = Boolean(state.answer);
    if (wrong) wrong(words(error));
    else {
      const known = {};
      for (const one of error.errors || []) {
        const field = String(one.field).split('.').find((part) => KINDS[part]);
        if (field) (known[field] ||= []).push(sentence(one));
      }
      state.errors = known;
      if (!Object.keys(known).length) state.failure = words(error);
    }
    render();
    sayErrors();
  }
}
const sentence = ({ rule, remedy }) => [rule, remedy].filter(Boolean).join('; ').replace(/^./, (sign) => sign.toUpperCase()) + '.';
const words = (error) => (error.errors?.length && error.status !== 429 ? error.errors.map((one) => `${one.field}: ${sentence(one)}`).join(' ') : error.message);

function showErrors() {
  for (const field of FIELDS) {
    const said = state.errors[field];
    $(`f-${field}-error`).textContent = said ? said.join(' ') : '';
    $(`f-${field}`).toggleAttribute('aria-invalid', false);
    if (said) $(`f-${field}`).setAttribute('aria-invalid', 'true');
    if (said && MORE.includes(field)) $('more').open = true;
  }
}

function sayErrors() {
  const said = Object.entries(state.errors).map(([field, texts]) => `${nameOf(field)}: ${texts.join(' ')}`);
  if (said.length) $('said').textContent = said.join(' ');
}

// --- the answer ----------------------------------------------------------------------------------------------------

function scale(answer, { actual = null, ghost = null, small = false } = {}) {
  const at = (value) => `${Math.min(Math.max(value, 0), 10) * 10}%`;
  const label = t('scale', { r: two(answer.rating), p: percent(answer.level ?? 0.9), lo: two(answer.low), hi: two(answer.high) })
    + (actual === null ? '' : t('actualIs', { a: two(actual) })) + (ghost === null ? '' : t('baseIs', { a: two(ghost) }));
  return h('div', {
    class: small ? 'scale small' : 'scale', role: 'img', 'aria-label': label, '--at': at(answer.rating), '--low': at(answer.low), '--high': at(answer.high),
    '--actual': actual !== null && at(actual), '--ghost': ghost !== null && at(ghost),
  }, h('i', { class: 'track' }), h('i', { class: 'range' }), ghost !== null && h('i', { class: 'ghost' }), actual !== null && h('i', { class: 'actual' }), h('i', { class: 'dot' }),
  !small && ticks());
}

const ticks = () => [0, 2, 4, 6, 8, 10].map((tick) => h('span', { class: 'num', '--at': `${tick * 10}%` }, String(tick)));

function delta(value, text) {
  return h('span', { class: `delta ${value >= 0.005 ? 'up' : value <= -0.005 ? 'down' : ''}` }, text ?? signed(value));
}

function show(field, value) {
  if (value === undefined) return t('nothing');
  if (field === 'budget') return money(value);
  if (field === 'release_date') return day(value);
  if (field === 'original_language') return language(value);
  if (field === 'genres') return value.map(genre).join(', ');
  if (KINDS[field] === 'long') return t('changed');
  return [value].flat().map((one) => (typeof one === 'number' ? number(one) : entityName(one))).join(', ');
}

function differences(movie) {
  const first = state.kept[0]?.movie;
  if (!first) return [];
  return FIELDS.filter((field) => !alike(first[field], movie[field])).map((field) => h('li', {}, h('b', {}, nameOf(field)), ' ',
    KINDS[field] === 'long' ? t('changed') : `${show(field, first[field])} → ${show(field, movie[field])}`));
}

function button(id, key, onclick, extra = {}) {
  return h('button', { type: 'button', id, onclick, ...extra }, t(key));
}

// Rebuilding a region must not take the keyboard from a button in it: the one with the same id gets the focus again.
function renew(id, ...nodes) {
  const inside = $(id).contains(document.activeElement) && document.activeElement.id;
  $(id).replaceChildren(...nodes.flat().filter(Boolean));
  if (inside) $(inside)?.focus({ preventScroll: true });
}

function render() {
  showErrors();
  renderVerdict();
  renderVariants();
  renderDetails();
  renderBusy();
}

function renderBusy() {
  $('verdict').setAttribute('aria-busy', String(state.busy));
}

function renderVerdict() {
  const { answer, kept, stale, failure, tmdb, sentiment } = state;
  $('verdict').classList.toggle('stale', stale);
  const failed = failure && h('div', { role: 'alert' }, h('p', { class: 'error' }, failure), button('again', 'again', predict));
  renderMini();
  if (!answer) return renew('verdict', h('h2', {}, t('verdict')), h('p', { class: 'soft' }, t('start'), ' ', t('optional')), h('div', { class: 'scale', 'aria-hidden': 'true' }, h('i', { class: 'track' }), ticks()), failed);
  const first = kept[0];
  const level = h('select', { id: 'level', 'aria-label': t('level'), onchange: (event) => { state.level = Number(event.target.value); predict(); } },
    [0.5, 0.8, 0.9, 0.95].map((value) => h('option', { value, selected: value === state.level }, percent(value))));
  const gap = first && answer.rating - first.answer.rating;
  const changes = first ? differences(state.movie) : [];
  const full = kept.length >= VARIANTS;
  return renew('verdict',
    h('div', { class: 'row' }, h('h2', {}, t('verdict')), h('label', { class: 'level' }, h('span', { class: 'hint' }, t('level')), ' ', level)),
    failed, stale && !failed && h('p', { class: 'error' }, t('staleBecause')),
    h('div', { class: 'big' }, h('strong', { id: 'rating' }, two(answer.rating), h('small', {}, t('outOf'))),
      h('p', {}, first && [delta(gap, Math.abs(gap) < 0.005 ? t('same') : t('against', { d: signed(gap) })), h('br')],
        h('span', { class: 'soft' }, t('between', { p: percent(answer.level), lo: two(answer.low), hi: two(answer.high) })))),
    scale(answer, { ghost: first ? first.answer.rating : null, actual: tmdb?.released ? tmdb.vote_average : null }),
    tmdb && h('p', { class: 'hint' }, tmdb.released && tmdb.vote_average !== null
      ? `${t('tmdbVotes', { a: two(tmdb.vote_average), n: number(tmdb.vote_count ?? 0) })}. ${t('tmdbOut')}` : t('tmdbNot')),
    sentiment && h('p', { class: 'hint' }, sentiment.readable ? t('sentiment', { p: two(sentiment.polarity), s: two(sentiment.subjectivity) }) : t('sentimentNone')),
    changes.length > 0 && h('ul', { class: 'diff', id: 'live-diff' }, changes),
    h('div', { class: 'actions' },
      button('keep', 'keep', keep, { class: 'main', 'aria-disabled': full && 'true', title: full && t('keepFull') }),
      button('twice', 'twice', () => tryOut('budget', 'needBudget', (movie) => ({ budget: number(movie.budget * 2) }))),
      button('month', 'month', () => tryOut('release_date', 'needDate', (movie) => ({ release_date: nextMonth(movie.release_date) }))),
      button('director', 'director', async () => { await keepFirst(); $('f-directors').focus(); $('f-directors').select(); })));
}

function nextMonth(text) {
  const [year, month, date] = text.split('-').map(Number);
  const last = new Date(Date.UTC(year, month + 1, 0)).getUTCDate();
  return new Date(Date.UTC(year, month, Math.min(date, last))).toISOString().slice(0, 10);
}

async function keep() {
  if (state.kept.length >= VARIANTS) {
    $('said').textContent = t('keepFull');
    return;
  }
  if (!alike(read().movie, state.movie)) await predict(); // typed a moment ago, and not asked yet
  if (!state.answer || state.stale || !alike(read().movie, state.movie)) return;
  state.kept.push({ movie: state.movie, answer: state.answer });
  render();
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
  for (const [name, value] of Object.entries(change(movie))) $(`f-${name}`).value = value;
  return predict();
}

function renderVariants() {
  const { kept } = state;
  if (!kept.length) return renew('variants');
  return renew('variants', h('section', { class: 'card' }, h('h2', {}, t('compare')), h('p', { class: 'hint' }, t('compareHint')),
    h('ol', { class: 'variants' }, kept.map(({ movie, answer }, n) => {
      const letter = 'ABC'[n];
      const changes = differences(movie);
      return h('li', { class: 'variant' },
        h('h4', {}, h('span', { class: 'letter' }, letter), movie.title ?? '—'),
        h('p', {}, h('span', { class: 'rating num' }, two(answer.rating)), ' ', n > 0 && delta(answer.rating - kept[0].answer.rating)),
        h('p', { class: 'hint num' }, `${percent(answer.level)}: ${span(answer)}`), scale(answer, { small: true }),
        n === 0 ? h('p', { class: 'hint' }, t('first')) : changes.length ? h('ul', {}, changes) : h('p', { class: 'hint' }, t('noDiff')),
        h('p', { class: 'foot-row' },
          h('button', { type: 'button', class: 'link', id: `edit-${letter}`, 'aria-label': t('editAria', { x: letter }), onclick: () => { fill(movie); predict(); } }, t('edit')),
          h('button', {
            type: 'button', class: 'link', id: `remove-${letter}`, 'aria-label': t('removeAria', { x: letter }),
            onclick: () => { kept.splice(n, 1); render(); ($('remove-A') ?? $('keep'))?.focus(); },
          }, t('remove'))));
    }))));
}

function renderDetails() {
  const { answer } = state;
  if (!answer) return renew('details');
  const reasons = [...(answer.reasons ?? [])].sort((one, other) => Math.abs(other.points) - Math.abs(one.points));
  const told = reasons.filter((one) => Math.abs(one.points) >= 0.005);
  const shown = state.allReasons ? reasons : told.slice(0, 8);
  const most = Math.max(0.25, ...reasons.map((one) => Math.abs(one.points)));
  const sum = (answer.base ?? 0) + reasons.reduce((total, one) => total + one.points, 0);
  return renew('details',
    h('section', { class: 'card' }, h('h2', {}, t('why')),
      told.length ? [
        h('p', { class: 'soft' }, t('startsAt', { b: two(answer.base) })),
        h('ul', { class: 'reasons', id: 'reasons' }, shown.map(({ field, points, words: why }) => h('li', {},
          h('div', {}, h('b', {}, nameOf(field)), h('span', { class: 'why' }, whyOf(field, why))),
          h('div', { class: 'bars', 'aria-hidden': 'true' }, h('i', { class: points < 0 ? 'neg' : '', '--long': `${(Math.abs(points) / most) * 50}%` })),
          h('span', { class: `pts num ${points < 0 ? 'down' : 'up'}` }, signed(points))))),
        reasons.length > told.slice(0, 8).length && h('button', {
          type: 'button', class: 'link', id: 'all-reasons', 'aria-expanded': String(state.allReasons), 'aria-controls': 'reasons',
          onclick: () => { state.allReasons = !state.allReasons; renderDetails(); },
        }, state.allReasons ? t('fewReasons') : t('allReasons', { n: reasons.length })),
        (sum > 10 || sum < 0) && h('p', { class: 'hint' }, t('clipped')),
      ] : h('p', { class: 'soft' }, t('noWhy'))),
    sureness(answer),
    h('section', { class: 'card' }, h('h2', {}, t('similar')), answer.similar?.length
      ? h('ul', { class: 'similar', id: 'similar' }, answer.similar.map((one) => h('li', {}, h('span', {}, one.title, h('span', { class: 'soft' }, ` (${one.year})`)),
        h('span', { class: 'num' }, h('b', {}, two(one.rating)), h('span', { class: 'soft' }, ` · ${t('alike', { p: percent(one.likeness) })}`)))))
      : h('p', { class: 'soft' }, t('noSimilar'))));
}

// How wide intervals of a level usually are: as measured, or else as the measured error lets one expect.
function usualWidth(level) {
  const z = { 0.5: 0.674, 0.8: 1.282, 0.9: 1.645, 0.95: 1.96 }[level] ?? 1.645;
  const { metrics } = state;
  return metrics[`holdout_width_${Math.round(level * 100)}`] ?? (metrics.holdout_width_90 ? (metrics.holdout_width_90 * z) / 1.645
    : metrics.holdout_rmse ? 2 * z * metrics.holdout_rmse : null);
}

// Reasons come in English, in a few fixed forms.
function whyOf(field, why) {
  if (field === 'expected') return t('yKind');
  const said = why.startsWith(`${field} `) ? why.slice(field.length + 1) : why;
  if (said === 'unknown') return t('yUnknown');
  return said.replace(/mean of (\d+) earlier movies ([\d.]+)/g, (_, n, r) => t('yPast', { n, r }))
    .replace(/no earlier movie known/g, () => t('yDebut')).replace(/ and (\d+) more$/, (_, n) => t('yMore', { n }));
}

function warning(text) {
  const missing = text.match(/^(\w+) is missing$/);
  const unseen = text.match(/^never seen: (\w+): (.*)$/s);
  if (missing && NAMES[missing[1]]) return t('wMissing', { f: nameOf(missing[1]) });
  if (unseen && NAMES[unseen[1]]) return t('wUnseen', { f: nameOf(unseen[1]), x: unseen[2] });
  return english(text);
}

function sureness(answer) {
  const width = answer.high - answer.low;
  const usual = usualWidth(answer.level);
  const held = state.metrics.holdout_coverage_90;
  const long = (value) => `${(value / Math.max(width, usual)) * 100}%`;
  const ratio = width / usual;
  return h('section', { class: 'card', id: 'sure' }, h('h2', {}, t('sure')), h('div', { class: 'sure' },
    usual ? [
      h('p', {}, t(ratio < 0.9 ? 'surer' : ratio > 1.1 ? 'unsure' : 'usual')),
      h('div', { class: 'widths' },
        h('span', {}, t('width')), h('i', { class: 'this', '--long': long(width), 'aria-hidden': 'true' }), h('span', { class: 'num' }, two(width)),
        h('span', {}, t('usualWidth')), h('i', { '--long': long(usual), 'aria-hidden': 'true' }), h('span', { class: 'num' }, two(usual))),
    ] : h('p', {}, t('widthOnly', { w: two(width) })),
    answer.warnings?.length ? h('ul', { class: 'notes' }, answer.warnings.map((text) => h('li', {}, warning(text)))) : h('p', {}, t('noWarn')),
    Number.isFinite(held) && h('p', { class: 'hint' }, t('held', { c: percent(held) }))));
}

let verdictSeen = true;
function renderMini() {
  const { answer, kept } = state;
  $('mini').hidden = !answer || verdictSeen || $('predict').hidden;
  if (!answer) return;
  $('mini').replaceChildren(h('span', { class: 'value num' }, two(answer.rating)), h('span', { class: 'soft num' }, span(answer)),
    kept.length ? delta(answer.rating - kept[0].answer.rating, t('against', { d: signed(answer.rating - kept[0].answer.rating) })) : '');
}

// --- CSV -----------------------------------------------------------------------------------------------------------

const LISTS = FIELDS.filter((field) => ['names', 'genres', 'codes'].includes(KINDS[field]));
const NUMBERS = ['runtime', 'budget'];

function fromRow(header, cells) {
  const movie = {};
  header.forEach((field, n) => {
    const text = (cells[n] ?? '').trim();
    if (!text || !KINDS[field]) return;
    if (LISTS.includes(field)) movie[field] = text.split(';').map((one) => one.trim()).filter(Boolean);
    else movie[field] = NUMBERS.includes(field) && /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
  });
  return movie;
}

async function readCsv(file) {
  if (!file) return;
  state.csv?.abort.abort();
  state.csv = null;
  const wrong = (text) => {
    $('csv-error').textContent = text;
    $('csv').setAttribute('aria-invalid', String(Boolean(text)));
    if (text) $('csv-run').hidden = true;
  };
  wrong('');
  const bytes = await file.arrayBuffer();
  let text;
  try { text = new TextDecoder('utf-8', { fatal: true }).decode(bytes); } catch { text = new TextDecoder('euc-kr').decode(bytes); } // as Korean Excel writes it
  const { rows, open } = parseCsv(text);
  if (open) return wrong(t('csvQuote', { n: open }));
  if (rows.length < 2) return wrong(t('csvEmpty'));
  const header = rows[0].map((cell) => cell.trim().toLowerCase().replace(/\s+/g, '_'));
  if (!header.includes('title')) return wrong(t('csvNoTitle', { x: rows[0].join(', ').slice(0, 200) }));
  const twice = header.find((field, n) => KINDS[field] && header.indexOf(field) !== n);
  if (twice) return wrong(t('csvTwice', { x: twice }));
  const run = { name: file.name, head: rows[0], header, rows: rows.slice(1), out: [], done: 0, wait: 0, abort: new AbortController(), over: false, failure: null };
  state.csv = run;
  run.rows.forEach((cells, n) => {
    if (cells.length !== header.length) run.out[n] = { error: t('csvCells', { n: cells.length, m: header.length }) };
  });
  renderCsv();
  const good = run.rows.map((_, n) => n).filter((n) => !run.out[n]);
  run.done = run.rows.length - good.length;
  try {
    for (let n = 0; n < good.length; n += 500) await rateRows(run, good.slice(n, n + 500));
  } catch (error) {
    if (error.name !== 'AbortError') run.failure = words(error);
  }
  run.over = true;
  if (state.csv === run) renderCsv();
}

async function rateRows(run, numbers) {
  let said;
  try {
    said = await ask('predict/batch', { movies: numbers.map((n) => fromRow(run.header, run.rows[n])), level: state.level }, run.abort.signal);
  } catch (error) {
    if (error.status === 413 && numbers.length > 1) { // long synopses: the service takes bytes, not rows
      const half = numbers.length >> 1;
      await rateRows(run, numbers.slice(0, half));
      return rateRows(run, numbers.slice(half));
    }
    if (error.status === 429) {
      for (run.wait = Math.min(error.wait || 10, 60); run.wait > 0; run.wait -= 1) {
        renderCsv();
        await new Promise((resolve) => setTimeout(resolve, 1000));
        run.abort.signal.throwIfAborted();
      }
      return rateRows(run, numbers);
    }
    if (error.status !== 400 && error.status !== 413 && error.status !== 422) throw error;
    said = { results: numbers.map(() => ({ errors: error.errors.length ? error.errors : [{ field: 'movies', rule: error.message }] })) };
  }
  numbers.forEach((row, n) => {
    const { prediction, errors } = said.results[n];
    run.out[row] = prediction ? { rating: prediction.rating, low: prediction.low, high: prediction.high }
      : { error: errors.map((one) => `${String(one.field).replace(/^movies?\.(\d+\.)?/, '')}: ${sentence(one)}`).join(' ') };
  });
  run.done += numbers.length;
  learnModel(said.model);
  if (state.csv === run) renderCsv();
  return null;
}

function renderCsv() {
  const run = state.csv;
  $('csv-run').hidden = !run;
  if (!run) return;
  const total = run.rows.length;
  const bad = run.out.flatMap((one, n) => (one?.error ? [[n, one.error]] : []));
  const values = { done: number(run.done), n: number(total) };
  $('csv-said').textContent = [run.wait ? t('csvWait', { s: run.wait }) : t(!run.over ? 'csvSaid' : run.done < total ? 'csvStopped' : 'csvDone', values),
    bad.length ? t('csvBad', { x: number(bad.length) }) : '', run.failure ?? ''].filter(Boolean).join(' · ');
  $('csv-progress').value = run.done / total;
  $('csv-progress').hidden = run.over;
  $('csv-save').hidden = !run.over;
  $('csv-stop').hidden = run.over;
  const other = run.head.filter((_, n) => !KINDS[run.header[n]] && !['rating', 'low', 'high', 'error'].includes(run.header[n]));
  const title = run.header.indexOf('title');
  renew('csv-result',
    other.length > 0 && h('p', { class: 'hint' }, t('csvOther', { x: other.join(', ') })),
    bad.length > 0 && [h('h3', {}, t('csvErrors')), h('ul', { class: 'notes', id: 'csv-errors' },
      bad.slice(0, 50).map(([n, text]) => h('li', {}, `${t('csvRow')} ${n + 2} (${run.rows[n][title] || '—'}): `, h('span', { class: 'error' }, text))),
      bad.length > 50 && h('li', {}, t('csvMore', { n: bad.length - 50 })))],
    h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('csvFirst', { n: Math.min(20, total) }) }, h('table', {},
      h('thead', {}, h('tr', {}, ['csvRow', 'search', 'rating', 'interval'].map((key) => h('th', { scope: 'col' }, t(key))))),
      h('tbody', {}, run.rows.slice(0, 20).map((cells, n) => h('tr', {}, h('td', { class: 'num soft' }, String(n + 2)), h('td', {}, cells[title] || '—'),
        run.out[n]?.error ? h('td', { class: 'error', colspan: 2 }, run.out[n].error)
          : [h('td', { class: 'num' }, run.out[n] ? h('b', {}, two(run.out[n].rating)) : '…'), h('td', { class: 'num soft' }, run.out[n] ? span(run.out[n]) : '')]))))));
}

// --- what comes out, and what came of earlier lists ----------------------------------------------------------------

async function loadList() {
  if (state.list || state.loading) return;
  state.loading = true;
  state.listError = null;
  renderLists();
  try {
    state.list = await ask('upcoming');
  } catch (error) {
    state.listError = words(error);
  }
  state.loading = false;
  renderLists();
}

function renderLists() {
  buildUpcoming();
  renderRecord();
}

function problem() {
  return state.listError ? h('div', { class: 'card', role: 'alert' }, h('p', { class: 'error' }, state.listError), h('p', { class: 'actions' }, button('list-again', 'again', loadList)))
    : h('p', { class: 'soft', role: 'status' }, t('loading'));
}

function choice(key, name, options, values, after) {
  return h('div', {}, h('label', { for: `by-${name}` }, t(key)), h('select', {
    id: `by-${name}`, onchange: (event) => { values[name] = event.target.value; after(); },
  }, options.map(([value, text]) => h('option', { value, selected: values[name] === value }, text))));
}

function buildUpcoming() {
  const { list, filter } = state;
  if (!list) return renew('upcoming', h('h2', {}, t('upTitle')), problem());
  const movies = list.movies ?? [];
  if (!movies.length) return renew('upcoming', h('h2', {}, t('upTitle')), h('p', {}, t('upEmpty')), list.reason && h('p', { class: 'hint', lang: 'en' }, list.reason));
  const all = (values, text) => [['', t('all')], ...[...new Set(values)].filter(Boolean).map((one) => [one, text(one)])];
  const byText = ([, one], [, other]) => one.localeCompare(other, state.lang);
  const sorted = ([first, ...rest]) => [first, ...rest.sort(byText)];
  const after = () => { filter.most = 60; renderPosters(); };
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
  const { filter, list } = state;
  const text = filter.text.trim().toLocaleLowerCase();
  const order = {
    date: (one, other) => one.release_date.localeCompare(other.release_date), rating: (one, other) => other.rating - one.rating,
    sure: (one, other) => one.high - one.low - (other.high - other.low), title: (one, other) => one.title.localeCompare(other.title, state.lang),
  }[filter.sort];
  const found = list.movies.filter((one) => one.title.toLocaleLowerCase().includes(text) && (!filter.genre || one.genres.includes(filter.genre))
    && (!filter.language || one.original_language === filter.language) && one.release_date.startsWith(filter.month)).sort(order);
  $('found').textContent = found.length ? t('count', { n: number(found.length), m: number(list.movies.length) }) : t('upNone');
  renew('posters', found.slice(0, filter.most).map(poster));
  renew('posters-more', found.length > filter.most && button('more-posters', 'showMore', () => { filter.most += 60; renderPosters(); }));
}

function poster(movie) {
  const blank = () => h('span', { class: 'blank', 'aria-hidden': 'true' }, [...movie.title][0] ?? '');
  const safe = /^\/[\w.-]+$/.test(movie.poster_path ?? '');
  const art = h('div', { class: 'art' }, safe ? h('img', {
    src: POSTERS + movie.poster_path, alt: '', width: 185, height: 278, loading: 'lazy', decoding: 'async', referrerpolicy: 'no-referrer', onerror: () => art.replaceChildren(blank()),
  }) : blank());
  const top = [...(movie.reasons ?? [])].sort((one, other) => Math.abs(other.points) - Math.abs(one.points))[0];
  return h('li', { class: 'poster' }, art, h('h3', {}, movie.title),
    h('p', { class: 'hint' }, day(movie.release_date), movie.genres.length ? ` · ${movie.genres.slice(0, 3).map(genre).join(', ')}` : ''),
    h('p', { class: 'rating num' }, two(movie.rating), ' ', h('small', {}, span(movie))), scale(movie, { small: true }),
    top && h('p', { class: 'hint', title: top.words }, t('topReason', { f: nameOf(top.field), d: signed(top.points) })),
    h('p', {}, h('button', {
      type: 'button', class: 'link', 'aria-label': t('openAria', { t: movie.title }),
      onclick: () => look(movie),
    }, t('open'))));
}

// Without TMDB at hand, what the list knows of the movie is still enough to ask with.
function look(movie) {
  const { id, title, release_date, genres, original_language } = movie;
  select('predict', true);
  request('predict/tmdb', { id }, (why) => {
    $('paste-note').textContent = why;
    fill({ title, release_date, genres, original_language });
    state.tmdb = null;
    predict();
  });
}

function renderRecord() {
  const { list, past: { order, most } } = state;
  const title = h('h2', {}, t('recTitle'));
  if (!list) return renew('record', title, problem());
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
    h('div', { class: 'filters' }, choice('sort', 'order', [['new', t('sNew')], ['off', t('sOff')]], state.past, renderRecord)),
    h('p', { class: 'hint' }, t('legend')),
    h('ul', { class: 'past', id: 'past' }, past.slice(0, most).map((one) => h('li', {},
      h('div', {}, h('h3', {}, one.title), h('p', { class: 'hint' }, `${day(one.release_date)} · ${t('predicted', { r: two(one.rating), d: day(one.predicted_on) })}`)),
      scale(one, { small: true, actual: one.actual }),
      h('p', { class: 'end' }, h('b', {}, t('actual', { a: two(one.actual) })), h('span', { class: 'soft' }, ` (${t('votes', { n: number(one.votes ?? 0) })})`), h('br'),
        delta(off(one)), ' · ', h('span', { class: inside(one) ? 'hit' : 'miss' }, t(inside(one) ? 'within' : 'outside')))))),
    past.length > most && h('p', { class: 'actions' }, button('more-past', 'showMore', () => { state.past.most += 50; renderRecord(); })));
}

// --- tabs, language, colours ---------------------------------------------------------------------------------------

const TABS = ['predict', 'many', 'upcoming', 'record'];
function select(name, focus) {
  for (const one of TABS) {
    const tab = $(`tab-${one}`);
    tab.setAttribute('aria-selected', String(one === name));
    tab.tabIndex = one === name ? 0 : -1;
    $(one).hidden = one !== name;
  }
  if (focus) {
    $(`tab-${name}`).focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
  history.replaceState(null, '', `#/${name}`); // the slash: no element has that id, so nothing scrolls
  if (name === 'upcoming' || name === 'record') loadList();
  renderMini();
}

function setLanguage(lang) {
  state.lang = lang;
  document.documentElement.lang = lang;
  for (const node of document.querySelectorAll('[data-t]')) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll('[data-aria]')) node.setAttribute('aria-label', t(node.dataset.aria));
  for (const node of document.querySelectorAll('[data-name]')) node.textContent = nameOf(node.dataset.name);
  for (const node of document.querySelectorAll('[data-genre]')) node.textContent = genre(node.dataset.genre);
  const picker = $('f-original_language');
  const chosen = picker.value;
  const codes = new Set([...LANGUAGES, ...[...picker.options].map((one) => one.value)]);
  codes.delete('');
  picker.replaceChildren(picker.options[0], ...[...codes].map((code) => [code, language(code)]).sort((one, other) => one[1].localeCompare(other[1], lang))
    .map(([value, text]) => h('option', { value }, text)));
  picker.value = chosen;
  $('lang').textContent = t('other');
  $('lang').lang = lang === 'en' ? 'ko' : 'en';
  renderTheme();
  renderModel();
  render();
  renderCsv();
  renderLists();
}

const dark = () => (document.documentElement.dataset.theme ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';
function renderTheme() {
  $('theme').textContent = t(dark() ? 'toLight' : 'toDark');
  $('theme').setAttribute('aria-label', t('themeLabel', { x: t(dark() ? 'light' : 'dark') }));
}

function start() {
  const theme = store.get('localStorage', 'theme');
  if (theme) document.documentElement.dataset.theme = theme;
  buildForm();
  setLanguage(store.get('localStorage', 'lang') ?? (navigator.language.toLowerCase().startsWith('ko') ? 'ko' : 'en'));
  $('lang').onclick = () => {
    setLanguage(state.lang === 'en' ? 'ko' : 'en');
    store.set('localStorage', 'lang', state.lang);
    if (Object.keys(state.errors).length) predict(); // their words come from the service or from the other language
  };
  $('theme').onclick = () => {
    document.documentElement.dataset.theme = dark() ? 'light' : 'dark';
    store.set('localStorage', 'theme', document.documentElement.dataset.theme);
    renderTheme();
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', renderTheme);
  $('tabs').addEventListener('click', (event) => event.target.id.startsWith('tab-') && select(event.target.id.slice(4)));
  $('tabs').addEventListener('keydown', (event) => {
    const now = TABS.indexOf(document.activeElement.id.slice(4));
    const next = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: TABS.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    select(TABS[(next + TABS.length) % TABS.length], true);
  });
  $('paste-form').addEventListener('submit', paste);
  $('paste').addEventListener('paste', () => setTimeout(paste));
  $('paste').addEventListener('keydown', (event) => event.key === 'Enter' && !event.shiftKey && paste(event));
  $('csv').addEventListener('change', (event) => { readCsv(event.target.files[0]); });
  $('csv').addEventListener('click', (event) => { event.target.value = ''; }); // the same file, corrected, may be chosen again
  $('drop').addEventListener('dragover', (event) => { event.preventDefault(); $('drop').classList.add('over'); });
  $('drop').addEventListener('dragleave', () => $('drop').classList.remove('over'));
  $('drop').addEventListener('drop', (event) => { event.preventDefault(); $('drop').classList.remove('over'); readCsv(event.dataTransfer.files[0]); });
  $('csv-stop').onclick = () => state.csv?.abort.abort();
  $('csv-save').onclick = () => download(state.csv.name.replace(/\.csv$/i, '') + '-predicted.csv', fillCsv(state.csv));
  $('csv-sample').onclick = () => {
    const fields = [...FIRST, 'overview'];
    download('movies.csv', writeCsv([fields, fields.map((field) => [EXAMPLE[field] ?? ''].flat().join(';'))]));
  };
  $('mini').onclick = () => $('verdict').scrollIntoView({ block: 'center' });
  new IntersectionObserver(([entry]) => { verdictSeen = entry.isIntersecting; renderMini(); }, { threshold: 0.4 }).observe($('verdict'));
  new ResizeObserver(([entry]) => document.documentElement.style.setProperty('--bar', `${entry.target.offsetHeight}px`)).observe(document.querySelector('.bar'));
  const wanted = location.hash.slice(2);
  select(TABS.includes(wanted) ? wanted : 'predict');
  ask('model/info').then((info) => {
    state.metrics = info.metrics ?? {};
    learnModel(info);
    renderDetails();
  }).catch(() => { if (!state.model) $('model').textContent = t('noModel'); });
}

start();
