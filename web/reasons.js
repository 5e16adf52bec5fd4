// What was known of a field that moved a rating, as a sentence in the page's language. The service sends facts, no text.
// Lists stored by earlier versions have an English sentence instead: only the English page can show it.

import { genre, language, money, number, day, one, t } from './language.js';
import { state } from './state.js';

export const weightiest = (reasons) => [...(reasons ?? [])].sort((first, other) => Math.abs(other.points) - Math.abs(first.points));

export function why(reason) {
  switch (reason.kind) {
    case 'kind': return t('yKind');
    case 'unknown': return t('yUnknown');
    case 'value': return valueOf(reason) + more(reason);
    case 'person': case 'company': case 'collection': return [reason, ...(reason.others ?? [])].map(past).join('; ') + more(reason);
    default: return state.lang === 'en' ? reason.words ?? '' : '';
  }
}

const more = (reason) => (reason.more ? t(reason.kind === 'person' ? 'yMorePeople' : 'yMore', { n: number(reason.more) }) : '');

// Somebody's earlier movies, as far as they were rated.
function past({ name, movies, mean }) {
  if (!movies || !Number.isFinite(mean)) return t('yDebut', { x: name });
  return t(movies === 1 ? 'yPastOne' : 'yPast', { x: name, n: number(movies), r: one(mean) });
}

// Numbers, dates and codes come as the model read them.
function valueOf({ field, name }) {
  const figure = name === '' ? NaN : Number(name);
  if (field === 'budget' && Number.isFinite(figure)) return money(figure);
  if (field === 'runtime' && Number.isFinite(figure)) return t('yMinutes', { n: number(figure) });
  if (field === 'release_date') return day(name);
  if (field === 'original_language') return language(name);
  if (field === 'spoken_languages') return name.split(', ').map((code) => (code.length === 2 ? language(code) : code)).join(', ');
  if (field === 'genres') return name.split(', ').map(genre).join(', ');
  return name;
}
