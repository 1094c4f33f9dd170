"""Kibana 8.12 and newer, free licence: saved objects, rules and connectors, and what checks them."""
