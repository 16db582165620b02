"""Measurements that the documents print, in folders by what they answer.

From the folder of the checkout, `python -m benchmarks.speed.step --help` and the like. All take their times,
tables and files from `benchmarks.harness`. The documents name the command above each table.
"""
