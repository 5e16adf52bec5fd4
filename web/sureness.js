// How sure an answer is: its interval beside the usual width of the model's, and what is missing or was never seen.

import { h } from './dom.js';
import { nameOf, percent, t, two } from './language.js';
import { state } from './state.js';
import { NAMES } from './words.js';

// How wide intervals of a confidence usually are: as measured, or else as the measured error lets one expect.
function usualWidth(confidence) {
  const z = { 0.5: 0.674, 0.8: 1.282, 0.9: 1.645, 0.95: 1.96 }[confidence] ?? 1.645;
  const { metrics } = state;
  return metrics[`holdout_width_${Math.round(confidence * 100)}`] ?? (metrics.holdout_width_90 ? (metrics.holdout_width_90 * z) / 1.645
    : metrics.holdout_rmse ? 2 * z * metrics.holdout_rmse : null);
}

const english = (text) => (state.lang === 'en' ? text : h('span', { lang: 'en' }, text));

function warning(text) {
  const missing = text.match(/^(\w+) is missing$/);
  const unseen = text.match(/^never seen: (\w+): (.*)$/s);
  if (missing && NAMES[missing[1]]) return t('wMissing', { f: nameOf(missing[1]) });
  if (unseen && NAMES[unseen[1]]) return t('wUnseen', { f: nameOf(unseen[1]), x: unseen[2] });
  return english(text);
}

export function sureness(answer) {
  const width = answer.high - answer.low;
  const usual = usualWidth(answer.confidence);
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
