// CSV as RFC 4180 has it: quotes, doubled quotes, line breaks inside quotes, CRLF or LF.

// Rows of cells, empty lines left out; `open` is the row whose quote is never closed, or 0.
export function parseCsv(text) {
  const rows = [];
  let row = [];
  let cell = '';
  let quoted = false;
  let began = 0;
  let n = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  const endRow = () => {
    row.push(unguard(cell));
    cell = '';
    if (row.length > 1 || row[0].trim()) rows.push(row);
    row = [];
  };
  for (; n < text.length; n += 1) {
    const sign = text[n];
    if (quoted) {
      if (sign !== '"') cell += sign;
      else if (text[n + 1] === '"') { cell += '"'; n += 1; } else quoted = false;
    } else if (sign === '"' && cell === '') { quoted = true; began = rows.length + 1; } else if (sign === ',') { row.push(unguard(cell)); cell = ''; } else if (sign === '\n' || sign === '\r') {
      if (sign === '\r' && text[n + 1] === '\n') n += 1;
      endRow();
    } else cell += sign;
  }
  if (cell || row.length) endRow();
  return { rows, open: quoted ? began : 0 };
}

// A spreadsheet runs text that begins so as a formula; a number may well begin with a minus.
const risky = (text) => /^[=+\-@\t\r]/.test(text) && !/^[+-]?\d+(\.\d+)?$/.test(text);
const unguard = (text) => (text[0] === "'" && risky(text.slice(1)) ? text.slice(1) : text);

export function writeCsv(rows) {
  const write = (value) => {
    const text = typeof value === 'number' ? String(value) : risky(value) ? `'${value}` : value;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return '\ufeff' + rows.map((row) => row.map(write).join(',') + '\r\n').join(''); // Excel needs the mark to read UTF-8
}

// The rows as they came, with what was predicted; columns of an earlier run are replaced.
export function fillCsv({ head, header, rows, out }) {
  const made = ['rating', 'low', 'high', 'error'];
  const kept = header.map((_, n) => n).filter((n) => !made.includes(header[n]));
  const round = (value) => (typeof value === 'number' ? Math.round(value * 1e4) / 1e4 : value ?? '');
  return writeCsv([[...kept.map((n) => head[n]), ...made],
    ...rows.map((cells, r) => [...kept.map((n) => cells[n] ?? ''), ...made.map((name) => round(out[r]?.[name]))])]);
}
