"""The doors to TMDB, IMDb, the store of partitions and the warehouse: movies come in here."""
