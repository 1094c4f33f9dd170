"""The story of ``contrail demo``: three days of real flights, and the ways in which a day goes wrong.

``days`` makes the input, ``scenario`` drives Airflow through it, ``reconciliation`` counts what is on disk against
what is in the store, ``summary`` says what happened.
"""
