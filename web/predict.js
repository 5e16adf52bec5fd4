// Asking for a prediction: of the form a moment after a key, or of what was pasted. Draws nothing but its own words.
// Only the newest question counts: an older one is aborted, and an answer that comes late is thrown away.

import { $ } from './dom.js';
import { sayErrors, showErrors } from './errors.js';
import { KINDS } from './fields.js';
import { percent, signed, t, two } from './language.js';
import { learnModel } from './model.js';
import { ask, explain, sentence } from './service.js';
import { state, tell } from './state.js';
import { fill, read } from './values.js';

let timer = 0;
let running = null;

export function stop() {
  clearTimeout(timer);
  running?.abort();
  running = null;
  state.busy = false;
}

export function changed(event) {
  const field = event.target.name === 'genre' ? 'genres' : event.target.name;
  if (event.target.name === 'title') state.tmdb = null;
  delete state.errors[field];
  showErrors();
  clearTimeout(timer);
  timer = setTimeout(predict, 250);
}

export function predict() {
  stop();
  const { movie, errors } = read();
  if (!movie.title && Object.keys(movie).length && (state.answer || $('f-title').value)) errors.title = [t('needTitle')];
  state.errors = errors;
  if (Object.keys(errors).length || !movie.title) {
    state.stale = Boolean(state.answer);
    state.failure = null;
    tell('answer');
    return sayErrors();
  }
  state.sentiment = null;
  return request('predict', { movie });
}

// `wrong` is given where the question came from the paste box: then that is where its errors belong.
export async function request(path, body, wrong) {
  stop();
  const mine = (running = new AbortController());
  state.busy = true;
  state.failure = null;
  tell('busy');
  try {
    // What is typed is a what-if: nothing to be measured later.
    const said = await ask(path, { ...body, confidence: state.confidence, reasons: true, similar: 5, record: false }, mine.signal);
    if (mine !== running) return;
    const answer = said.prediction ?? said;
    if (path === 'predict/tmdb') {
      const n = fill(said.movie);
      $('paste-note').textContent = t('pasteFilled', { n });
      state.tmdb = said.tmdb;
    } else if (wrong) state.tmdb = null;
    Object.assign(state, { answer, movie: body.movie ?? read().movie, sentiment: said.sentiment ?? null, errors: {}, stale: false, busy: false });
    learnModel(answer.model);
    tell('answer');
    const first = state.kept[0];
    $('said').textContent = `${t('said', { r: two(answer.rating), p: percent(answer.confidence), lo: two(answer.low), hi: two(answer.high) })} ${
      first ? t('saidAgainst', { d: signed(answer.rating - first.answer.rating) }) : ''}`;
  } catch (error) {
    if (mine !== running || error.name === 'AbortError') return;
    state.busy = false;
    state.stale = Boolean(state.answer);
    if (wrong) wrong(explain(error));
    else {
      const known = {};
      for (const one of error.errors || []) {
        const field = String(one.field).split('.').find((part) => KINDS[part]);
        if (field) (known[field] ||= []).push(sentence(one));
      }
      state.errors = known;
      if (!Object.keys(known).length) state.failure = explain(error);
    }
    tell('answer');
    sayErrors();
  }
}
