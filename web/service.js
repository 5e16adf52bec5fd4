// The client of the service's API, and the form for its access token. Knows no route by name.
// A request that needs a token waits until somebody gives one, and is then sent again.

import { $ } from './dom.js';
import { t } from './language.js';
import { state } from './state.js';
import { store } from './storage.js';

// The page lies one folder below the API, whatever prefix a proxy puts before both.
const API = new URL('../', import.meta.url);

let token = store.get('sessionStorage', 'token');
let tokenGiven = null;

class Refused extends Error {
  constructor(status, body, wait) {
    super(status === 429 ? t('slow') : body?.error || t('failed', { e: status }));
    Object.assign(this, { status, errors: body?.errors || [], wait, waiting: body?.waiting });
  }
}

export async function ask(path, body, signal) {
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

// An error of the service as a sentence: one of its fields, and all that was refused.
export const sentence = ({ rule, remedy }) => [rule, remedy].filter(Boolean).join('; ').replace(/^./, (sign) => sign.toUpperCase()) + '.';
export const explain = (error) => (error.errors?.length && error.status !== 429 ? error.errors.map((one) => `${one.field}: ${sentence(one)}`).join(' ') : error.message);
