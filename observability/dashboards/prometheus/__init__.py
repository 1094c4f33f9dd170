"""Rules of Prometheus and dashboards of Grafana, from the monitors and boards of the catalogue."""
