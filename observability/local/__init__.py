"""The platform that ``contrail up`` starts: one Airflow, one relay and one watcher on this machine.

``guardian`` starts ``supervisor``, which starts the ``components`` with the ``environment`` and ``keys``
found in the ``layout``; each of the two ends everything when the other dies.
"""
