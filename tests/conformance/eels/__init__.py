"""An oracle that shares nothing with this project: the Ethereum Execution Layer Specification (EELS), run serially.

=================== ====================================================================================
`engine`            `EelsEngine`: makes the virtual environment, runs `runner`, reads what it says
`runner`            runs in that environment; its docstring has the formats of input and output
`results`           receipts and accounts as records
`wallet`, `script`  keys, signing, the example contracts; blocks of labelled transactions
`scenario`          the cases of the gold file
`gold`, `gold.json` the cases with what the specification made of them, for engines to be compared with
`differences`       random worlds in our engine and in the specification; a command line for many of them
`py_evm`            stock py-evm on the same documents, as a third opinion on the gold file
=================== ====================================================================================

Whoever compares an engine needs `gold.load` and nothing of EELS.
"""
