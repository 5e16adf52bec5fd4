// Many movies at once: a CSV file read here, predicted in batches, and given back with the ratings beside its rows.
// The service takes bytes, not rows: a batch that is too large is halved until it fits.

import { fillCsv, parseCsv, writeCsv } from './csv.js';
import { $, h, renew } from './dom.js';
import { EXAMPLE, FIELDS, FIRST, KINDS } from './fields.js';
import { number, span, t, two } from './language.js';
import { learnModel } from './model.js';
import { ask, explain, sentence } from './service.js';
import { state } from './state.js';

const BATCH = 500;
const LISTS = FIELDS.filter((field) => ['names', 'genres', 'codes'].includes(KINDS[field]));
const NUMBERS = ['runtime', 'budget'];

let current = null; // the file that is shown; an earlier one may still be on its way out

function fromRow(header, cells) {
  const movie = {};
  header.forEach((field, n) => {
    const text = (cells[n] ?? '').trim();
    if (!text || !KINDS[field]) return;
    if (LISTS.includes(field)) movie[field] = text.split(';').map((one) => one.trim()).filter(Boolean);
    else movie[field] = NUMBERS.includes(field) && /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
  });
  return movie;
}

async function readCsv(file) {
  if (!file) return;
  current?.abort.abort();
  current = null;
  const wrong = (text) => {
    $('csv-error').textContent = text;
    $('csv').setAttribute('aria-invalid', String(Boolean(text)));
    if (text) $('csv-run').hidden = true;
  };
  wrong('');
  const bytes = await file.arrayBuffer();
  let text;
  try { text = new TextDecoder('utf-8', { fatal: true }).decode(bytes); } catch { text = new TextDecoder('euc-kr').decode(bytes); } // as Korean Excel writes it
  const { rows, open } = parseCsv(text);
  if (open) return wrong(t('csvQuote', { n: open }));
  if (rows.length < 2) return wrong(t('csvEmpty'));
  const header = rows[0].map((cell) => cell.trim().toLowerCase().replace(/\s+/g, '_'));
  if (!header.includes('title')) return wrong(t('csvNoTitle', { x: rows[0].join(', ').slice(0, 200) }));
  const twice = header.find((field, n) => KINDS[field] && header.indexOf(field) !== n);
  if (twice) return wrong(t('csvTwice', { x: twice }));
  const run = { name: file.name, head: rows[0], header, rows: rows.slice(1), out: [], done: 0, wait: 0, abort: new AbortController(), over: false, failure: null };
  current = run;
  run.rows.forEach((cells, n) => {
    if (cells.length !== header.length) run.out[n] = { error: t('csvCells', { n: cells.length, m: header.length }) };
  });
  renderCsv();
  const good = run.rows.map((_, n) => n).filter((n) => !run.out[n]);
  run.done = run.rows.length - good.length;
  try {
    for (let n = 0; n < good.length; n += BATCH) await predictRows(run, good.slice(n, n + BATCH));
  } catch (error) {
    if (error.name !== 'AbortError') run.failure = explain(error);
  }
  run.over = true;
  if (current === run) renderCsv();
}

async function predictRows(run, numbers) {
  let said;
  try {
    said = await ask('predict/batch', { movies: numbers.map((n) => fromRow(run.header, run.rows[n])), confidence: state.confidence }, run.abort.signal);
  } catch (error) {
    if (error.status === 413 && numbers.length > 1) { // long synopses
      const half = numbers.length >> 1;
      await predictRows(run, numbers.slice(0, half));
      return predictRows(run, numbers.slice(half));
    }
    if (error.status === 429) {
      for (run.wait = Math.min(error.wait || 10, 60); run.wait > 0; run.wait -= 1) {
        renderCsv();
        await new Promise((resolve) => setTimeout(resolve, 1000));
        run.abort.signal.throwIfAborted();
      }
      return predictRows(run, numbers);
    }
    if (error.status !== 400 && error.status !== 413 && error.status !== 422) throw error;
    said = { results: numbers.map(() => ({ errors: error.errors.length ? error.errors : [{ field: 'movies', rule: error.message }] })) };
  }
  numbers.forEach((row, n) => {
    const { prediction, errors } = said.results[n];
    run.out[row] = prediction ? { rating: prediction.rating, low: prediction.low, high: prediction.high }
      : { error: errors.map((one) => `${String(one.field).replace(/^movies?\.(\d+\.)?/, '')}: ${sentence(one)}`).join(' ') };
  });
  run.done += numbers.length;
  learnModel(said.model);
  if (current === run) renderCsv();
  return null;
}

export function renderCsv() {
  const run = current;
  $('csv-run').hidden = !run;
  if (!run) return;
  const total = run.rows.length;
  const bad = run.out.flatMap((one, n) => (one?.error ? [[n, one.error]] : []));
  const values = { done: number(run.done), n: number(total) };
  $('csv-said').textContent = [run.wait ? t('csvWait', { s: run.wait }) : t(!run.over ? 'csvSaid' : run.done < total ? 'csvStopped' : 'csvDone', values),
    bad.length ? t('csvBad', { x: number(bad.length) }) : '', run.failure ?? ''].filter(Boolean).join(' · ');
  $('csv-progress').value = run.done / total;
  $('csv-progress').hidden = run.over;
  $('csv-save').hidden = !run.over;
  $('csv-stop').hidden = run.over;
  const other = run.head.filter((_, n) => !KINDS[run.header[n]] && !['rating', 'low', 'high', 'error'].includes(run.header[n]));
  const title = run.header.indexOf('title');
  renew('csv-result',
    other.length > 0 && h('p', { class: 'hint' }, t('csvOther', { x: other.join(', ') })),
    bad.length > 0 && [h('h3', {}, t('csvErrors')), h('ul', { class: 'notes', id: 'csv-errors' },
      bad.slice(0, 50).map(([n, text]) => h('li', {}, `${t('csvRow')} ${n + 2} (${run.rows[n][title] || '—'}): `, h('span', { class: 'error' }, text))),
      bad.length > 50 && h('li', {}, t('csvMore', { n: bad.length - 50 })))],
    h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('csvFirst', { n: Math.min(20, total) }) }, h('table', {},
      h('thead', {}, h('tr', {}, ['csvRow', 'search', 'rating', 'interval'].map((key) => h('th', { scope: 'col' }, t(key))))),
      h('tbody', {}, run.rows.slice(0, 20).map((cells, n) => h('tr', {}, h('td', { class: 'num soft' }, String(n + 2)), h('td', {}, cells[title] || '—'),
        run.out[n]?.error ? h('td', { class: 'error', colspan: 2 }, run.out[n].error)
          : [h('td', { class: 'num' }, run.out[n] ? h('b', {}, two(run.out[n].rating)) : '…'), h('td', { class: 'num soft' }, run.out[n] ? span(run.out[n]) : '')]))))));
}

function download(name, text) {
  const link = h('a', { href: URL.createObjectURL(new Blob([text], { type: 'text/csv;charset=utf-8' })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function watchCsv() {
  $('csv').addEventListener('change', (event) => { readCsv(event.target.files[0]); });
  $('csv').addEventListener('click', (event) => { event.target.value = ''; }); // the same file, corrected, may be chosen again
  $('drop').addEventListener('dragover', (event) => { event.preventDefault(); $('drop').classList.add('over'); });
  $('drop').addEventListener('dragleave', () => $('drop').classList.remove('over'));
  $('drop').addEventListener('drop', (event) => { event.preventDefault(); $('drop').classList.remove('over'); readCsv(event.dataTransfer.files[0]); });
  $('csv-stop').onclick = () => current?.abort.abort();
  $('csv-save').onclick = () => download(current.name.replace(/\.csv$/i, '') + '-predicted.csv', fillCsv(current));
  $('csv-sample').onclick = () => {
    const fields = [...FIRST, 'overview'];
    download('movies.csv', writeCsv([fields, fields.map((field) => [EXAMPLE[field] ?? ''].flat().join(';'))]));
  };
}
