"""Boards as code: signals of the catalogue → panels → boards → Kibana, CloudWatch and the Airflow UI.

Boards are declared once, as data, in :mod:`observability.dashboards.boards`; the renderers know a service each.
What they generate is committed in ``dashboards/generated`` and compared by a test.
Imports the catalogue only.
"""
