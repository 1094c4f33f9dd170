"""StatsD as a source: the socket, its dialects, and the series of an interval."""
