"""SLURM and the processes of a study: the queue, leases, the head of a run, profiles, GPUs.

Imports `files` and `config`; knows no artefact.
"""
