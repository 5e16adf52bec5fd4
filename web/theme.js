// Light or dark colours: the visitor's choice, which is remembered, or else the system's.

import { $ } from './dom.js';
import { t } from './language.js';
import { store } from './storage.js';

const system = matchMedia('(prefers-color-scheme: dark)');
const dark = () => (document.documentElement.dataset.theme ?? (system.matches ? 'dark' : 'light')) === 'dark';

export function renderTheme() {
  $('theme').textContent = t(dark() ? 'toLight' : 'toDark');
  $('theme').setAttribute('aria-label', t('themeLabel', { x: t(dark() ? 'light' : 'dark') }));
}

export function watchTheme() {
  const theme = store.get('localStorage', 'theme');
  if (theme) document.documentElement.dataset.theme = theme;
  $('theme').onclick = () => {
    document.documentElement.dataset.theme = dark() ? 'light' : 'dark';
    store.set('localStorage', 'theme', document.documentElement.dataset.theme);
    renderTheme();
  };
  system.addEventListener('change', renderTheme);
}
