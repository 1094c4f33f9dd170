"""OpenTelemetry's protocol: log records, metric points and spans as bytes, and the receiver that takes them."""
