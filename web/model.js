// Which model answers: the line beside the tabs, and the banner over synthetic movies.
// Every answer names its model; that a newer one took over is therefore seen without asking.

import { $, h } from './dom.js';
import { day, t } from './language.js';
import { ask } from './service.js';
import { state, tell } from './state.js';

export function learnModel(model) {
  if (!model) return;
  state.model = model;
  renderModel();
}

export function renderModel() {
  const { model } = state;
  $('synthetic').hidden = !model?.synthetic;
  if (!model) return;
  const facts = [model.family, t('until', { d: day(model.learned_until) }), t('source', { s: model.source }), String(model.sha256).slice(0, 8)];
  $('model').replaceChildren(`${t('model')} `, h('b', {}, `${model.name} v${String(model.version).replace(/^v/, '')}`), ` · ${facts.join(' · ')}`);
  $('model').title = `${t('trained', { d: day(model.trained_at) })} · SHA-256 ${model.sha256}`;
}

export async function loadModel() {
  try {
    const info = await ask('model/info');
    state.metrics = info.metrics ?? {};
    learnModel(info);
    tell('metrics');
  } catch {
    if (!state.model) $('model').textContent = t('noModel');
  }
}
