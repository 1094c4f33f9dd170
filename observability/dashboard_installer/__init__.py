"""Putting the boards into a running Kibana or CloudWatch, and asking their questions of a store."""
