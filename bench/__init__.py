"""Measurements on real servers, started and thrown away by themselves: `make bench`.

`__main__` lists the measurements, a module each. `stage`, `programs`, `chains` and `commits` are what they
are made of; `baselines` and `clients` are the processes that they start beside the service.
"""
