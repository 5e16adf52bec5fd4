// What the page knows at the moment, and news of its changes. Knows nothing of the document: whoever draws listens.
// News is synchronous: `tell` returns when every listener has drawn. app.js says who listens to what.

export const state = {
  lang: 'en', confidence: 0.9, answer: null, movie: null, tmdb: null, sentiment: null, errors: {}, failure: null, stale: false,
  busy: false, kept: [], allReasons: false, model: null, metrics: {}, waiting: null,
};

const news = new EventTarget();
export const tell = (name) => news.dispatchEvent(new Event(name));
export function on(name, ...listeners) {
  for (const listener of listeners) news.addEventListener(name, () => listener());
}
