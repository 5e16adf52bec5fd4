// The fields of a movie as the service takes them: the kind of each, and how the form groups them. Knows no control.

export const KINDS = {
  title: 'text', original_title: 'text', release_date: 'date', runtime: 'number', budget: 'money', original_language: 'language',
  genres: 'genres', directors: 'names', cast: 'names', writers: 'names', producers: 'names', production_companies: 'names',
  production_countries: 'names', belongs_to_collection: 'name', overview: 'long', tagline: 'text', spoken_languages: 'codes',
  cinematographers: 'names', composers: 'names', editors: 'names',
};
export const FIELDS = Object.keys(KINDS);
export const FIRST = ['title', 'release_date', 'original_language', 'runtime', 'budget', 'genres', 'directors', 'writers', 'cast'];
export const MORE = ['overview', 'tagline', 'producers', 'production_companies', 'production_countries', 'belongs_to_collection',
  'cinematographers', 'composers', 'editors', 'spoken_languages', 'original_title'];

export const EXAMPLE = {
  title: 'Little Women', release_date: '2019-12-25', original_language: 'en', runtime: 135, budget: 40000000,
  genres: ['Drama', 'Romance'], directors: ['Greta Gerwig'], writers: ['Greta Gerwig'], cast: ['Saoirse Ronan', 'Emma Watson'],
  overview: 'Four sisters come of age in the shadow of a war.',
};

export const entityName = (value) => (typeof value === 'string' ? value : value?.name ?? '');
