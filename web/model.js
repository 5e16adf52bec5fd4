// Which model answers: the line beside the tabs, and the banner over synthetic movies; or what the first one waits for.
// Every answer names its model; that a newer one took over is therefore seen without asking.

import { $, h } from './dom.js';
import { day, t } from './language.js';
import { ask } from './service.js';
import { state, tell } from './state.js';
import { WORDS } from './words.js';

const AGAIN = 3000; // milliseconds

export function learnModel(model) {
  if (!model) return;
  Object.assign(state, { model, waiting: null });
  renderModel();
}

export function renderModel() {
  const { model } = state;
  $('synthetic').hidden = !model?.synthetic;
  renderWaiting();
  if (!model) return;
  const facts = [model.family, t('until', { d: day(model.learned_until) }), t('source', { s: model.source }), String(model.sha256).slice(0, 8)];
  $('model').replaceChildren(`${t('model')} `, h('b', {}, `${model.name} v${String(model.version).replace(/^v/, '')}`), ` · ${facts.join(' · ')}`);
  $('model').title = `${t('trained', { d: day(model.trained_at) })} · SHA-256 ${model.sha256}`;
}

function renderWaiting() {
  const { waiting } = state;
  $('waiting').hidden = !waiting;
  if (!waiting) return;
  const key = `wait${String(waiting.state).replace(/^./, (sign) => sign.toUpperCase())}`;
  $('waiting').textContent = t(key in WORDS.en ? key : 'noModel', { s: [waiting.step, waiting.task].filter(Boolean).join(' · '), w: waiting.why });
}

export async function loadModel() {
  try {
    const info = await ask('model/info');
    state.metrics = info.metrics ?? {};
    learnModel(info);
    tell('metrics');
  } catch (error) {
    if (state.model) return;
    $('model').textContent = t('noModel');
    if (error.status && error.status < 500) return;
    // A service without a model says what it waits for; while it starts it says nothing, and what it said last stands.
    state.waiting = await ask('ready').then(() => null, (refused) => refused.waiting ?? state.waiting);
    renderWaiting();
    setTimeout(loadModel, AGAIN);
  }
}
