"""OTLP from people's own code: a receiver on loopback, and the form in which the journal keeps what it took."""
