// The paste box: a movie as JSON, a TMDB number or address, or else a synopsis; what it holds goes into the form.

import { $ } from './dom.js';
import { KINDS } from './fields.js';
import { t } from './language.js';
import { predict, request } from './predict.js';
import { state } from './state.js';
import { fill } from './values.js';

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

function wrong(text) {
  $('paste-error').textContent = text;
  $('paste').setAttribute('aria-invalid', String(Boolean(text)));
}

async function paste(event) {
  event?.preventDefault();
  const text = $('paste').value.trim();
  wrong('');
  $('paste-note').textContent = '';
  if (!text) return wrong(t('pasteNone'));
  const id = text.match(/^(?:https?:\/\/\S*\/movie\/|tmdb[:/ ]*)?(\d{1,9})(?:[-/?#]\S*)?$/i)?.[1];
  if (id) return request('predict/tmdb', { id: Number(id) }, wrong);
  if (/^[{[]/.test(text)) return pasteJson(text);
  fill({ overview: text });
  $('paste-note').textContent = t('pasteText');
  return request('predict/text', { text }, wrong);
}

function pasteJson(text) {
  let movie;
  let filled;
  try { movie = JSON.parse(text); } catch (error) { return wrong(t('pasteJson', { e: error.message })); }
  movie = movie.movie ?? movie;
  if (typeof movie !== 'object' || Array.isArray(movie) || !movie.title) return wrong(t('pasteShape'));
  const left = Object.keys(movie).filter((key) => !KINDS[key] && key !== 'credits');
  try { filled = fill(fromTmdb(movie)); } catch (error) { return wrong(t('pasteJson', { e: error.message })); }
  $('paste-note').textContent = `${t('pasteFilled', { n: filled })} ${left.length ? t('pasteLeft', { x: left.join(', ') }) : ''}`;
  Object.assign(state, { tmdb: null, sentiment: null });
  return predict();
}

export function watchPaste() {
  $('paste-form').addEventListener('submit', paste);
  $('paste').addEventListener('paste', () => setTimeout(paste));
  $('paste').addEventListener('keydown', (event) => event.key === 'Enter' && !event.shiftKey && paste(event));
}
