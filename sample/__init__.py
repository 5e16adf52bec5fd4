"""A catalogue of synthetic movies, and a stand-in for TMDB that serves it, or any recorded bodies, over HTTP."""
