// A rating on the scale from 0 to 10, with its interval; and a difference between two ratings.

import { h } from './dom.js';
import { percent, signed, t, two } from './language.js';

export function scale(answer, { actual = null, ghost = null, small = false } = {}) {
  const at = (value) => `${Math.min(Math.max(value, 0), 10) * 10}%`;
  const label = t('scale', { r: two(answer.rating), p: percent(answer.confidence ?? 0.9), lo: two(answer.low), hi: two(answer.high) })
    + (actual === null ? '' : t('actualIs', { a: two(actual) })) + (ghost === null ? '' : t('baseIs', { a: two(ghost) }));
  return h('div', {
    class: small ? 'scale small' : 'scale', role: 'img', 'aria-label': label, '--at': at(answer.rating), '--low': at(answer.low), '--high': at(answer.high),
    '--actual': actual !== null && at(actual), '--ghost': ghost !== null && at(ghost),
  }, h('i', { class: 'track' }), h('i', { class: 'range' }), ghost !== null && h('i', { class: 'ghost' }), actual !== null && h('i', { class: 'actual' }), h('i', { class: 'dot' }),
  !small && ticks());
}

const ticks = () => [0, 2, 4, 6, 8, 10].map((tick) => h('span', { class: 'num', '--at': `${tick * 10}%` }, String(tick)));

export const emptyScale = () => h('div', { class: 'scale', 'aria-hidden': 'true' }, h('i', { class: 'track' }), ticks());

export function delta(value, text) {
  return h('span', { class: `delta ${value >= 0.005 ? 'up' : value <= -0.005 ? 'down' : ''}` }, text ?? signed(value));
}
