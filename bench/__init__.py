"""Measurements on real servers, started and thrown away by themselves: `make bench`.

`__main__` lists the measurements, a module each; `figures` and `machine` make the file of a run.
They use `stage` and `programs`: the servers; `chains`, `commits`, `pgbench` and `tables`: what is written to
Postgres; `changes`: what is published without one; `cpu`.
`baselines` and `clients` are the processes beside the service.
"""
