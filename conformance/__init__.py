"""Tools that compare this platform with Ethereum: public state tests, the transition of a block, and the protocol.

They run transactions through the product's own decoding, admission, state view and engine, and nothing else: there is
no trie behind the state and no test runner of a library. `statetest` executes state tests; `transition` takes a list of
transactions from one state to the next, as a block does; `protocol` has the same list run by the machines of the
pipeline, in one thread, and compares that with a serial run.
"""

from .pipeline import Shape
from .protocol import ProtocolRun, run_protocol
from .statetest import Verdict
from .suite import Selection, Suite

__all__ = ["ProtocolRun", "Selection", "Shape", "Suite", "Verdict", "run_protocol"]
