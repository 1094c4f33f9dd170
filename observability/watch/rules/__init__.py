"""The rules of ``alerts.yaml``: their text, their types, what is refused, and which are in force."""
