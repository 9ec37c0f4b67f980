"""The protocol's machines over topics in memory, with every fault drawn from one seed, judged by a serial replay.

``python -m tests.simulation --help`` runs it. `world` delivers and fails, `workload` and `contracts` make transactions,
`oracle` executes the ledger alone and compares, `rules` takes one rule of the protocol out.
"""
