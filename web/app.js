// The page starts here. Which part draws what, after which news, is said in this one place; the parts do the rest.
// A part tells what changed and never calls another one's drawing: that is what keeps the imports free of circles.

import { renderDetails } from './details.js';
import { $ } from './dom.js';
import { showErrors } from './errors.js';
import { buildForm, nameLanguages } from './form.js';
import { t, translate } from './language.js';
import { loadList } from './list.js';
import { renderCsv, watchCsv } from './many.js';
import { loadModel, renderModel } from './model.js';
import { watchPaste } from './paste.js';
import { predict } from './predict.js';
import { renderRecord } from './record.js';
import { on, state, tell } from './state.js';
import { store } from './storage.js';
import { isOpen, watchTabs } from './tabs.js';
import { renderTheme, watchTheme } from './theme.js';
import { renderUpcoming } from './upcoming.js';
import { renderVariants } from './variants.js';
import { renderBusy, renderMini, renderVerdict, watchVerdict } from './verdict.js';

const renderAnswer = [showErrors, renderVerdict, renderVariants, renderDetails, renderBusy];
on('answer', ...renderAnswer);
on('busy', renderBusy);
on('metrics', renderDetails);
on('list', renderUpcoming, renderRecord);
on('tab', () => isOpen('upcoming', 'record') && loadList(), renderMini);
on('language', translate, nameLanguages, nameSwitch, renderTheme, renderModel, ...renderAnswer, renderCsv, renderUpcoming, renderRecord);

function speak(lang) {
  state.lang = lang;
  tell('language');
}

function nameSwitch() {
  $('lang').textContent = t('other');
  $('lang').lang = state.lang === 'en' ? 'ko' : 'en';
}

$('lang').onclick = () => {
  speak(state.lang === 'en' ? 'ko' : 'en');
  store.set('localStorage', 'lang', state.lang);
  if (Object.keys(state.errors).length) predict(); // their words come from the service or from the other language
};

buildForm();
watchTheme();
speak(store.get('localStorage', 'lang') ?? (navigator.language.toLowerCase().startsWith('ko') ? 'ko' : 'en'));
watchPaste();
watchCsv();
watchVerdict();
watchTabs();
loadModel();
