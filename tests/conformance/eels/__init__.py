"""An oracle that shares nothing with this project: the Ethereum Execution Layer Specification (EELS), run serially."""
