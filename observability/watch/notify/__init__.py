"""From a notice to a person: route, pace, write, render, deliver."""
