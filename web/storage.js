// What outlives a visit or a reload. Private windows and blocked cookies must not break the page.

export const store = {
  get(kind, key) { try { return window[kind].getItem(key); } catch { return null; } },
  set(kind, key, value) { try { window[kind].setItem(key, value); } catch { /* kept for this page only */ } },
};
