"""The checks of ``contrail doctor``: the links of the chain in the order in which a fact travels it.

``host`` is configuration and folders, ``scheduling`` Airflow, ``delivery`` relay, store and boards, ``telling`` the
watcher and its channels.
"""
