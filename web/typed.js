// What people type, as values: names in one line, numbers with their units. Knows no field and no document.
// A name that itself has a comma stands in quotes.

export function readNames(text) {
  const names = [];
  for (const [, quoted, plain] of text.matchAll(/\s*(?:"([^"]*)"|([^,，、\n]*))\s*(?:[,，、\n]|$)/g)) {
    const name = (quoted ?? plain).trim();
    if (name && !names.includes(name)) names.push(name);
  }
  return names;
}
export const writeNames = (names) => names.map((name) => (/[,，、]/.test(name) ? `"${name}"` : name)).join(', ');

export function readNumber(text) {
  const match = text.trim().toLowerCase().replace(/[\s,$]|us\$?|usd/g, '').match(/^(-?\d+(?:\.\d+)?)(k|m|b|thousand|million|billion|만|억)?$/);
  if (!text.trim()) return { value: null };
  if (!match) return { wrong: true };
  const times = { k: 1e3, t: 1e3, m: 1e6, b: 1e9, 만: 1e4, 억: 1e8 }[match[2]?.[0]] ?? 1;
  return { value: Number(match[1]) * times };
}
