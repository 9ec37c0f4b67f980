"""The rules of admission that need no state: what makes a transaction wrong whatever the state is.

Rules that need it, as nonce and funds do, are in `executors.evm.admission`. Both stand in front of every engine, so
that engines needn't agree on them. Messages begin as those of other nodes do where wallets look for that.

References
----------
EIP-2028, EIP-2930, EIP-3860, EIP-7623, EIP-7702 (gas); EIP-2681 (nonce); EIP-1559 (fees).
"""

from typing import Final

from schemas.errors import InvalidTransaction
from schemas.rules import Rules

TRANSACTION_GAS: Final = 21_000
CREATION_GAS: Final = 32_000
ZERO_BYTE_GAS: Final = 4
OTHER_BYTE_GAS: Final = 16
TOKEN_FLOOR_GAS: Final = 10
"""A zero byte of calldata is one token, any other byte four."""
INIT_CODE_WORD_GAS: Final = 2
ACCESS_ADDRESS_GAS: Final = 2_400
ACCESS_SLOT_GAS: Final = 1_900
AUTHORIZATION_GAS: Final = 25_000
INIT_CODE_BYTES_MAX: Final = 49_152
NONCE_MAX: Final = 2**64 - 2
"""Highest nonce of a transaction: the account's has to fit into 64 bits after it."""

AccessList = tuple[tuple[bytes, tuple[int, ...]], ...]
"""Addresses of 20 bytes, each with slots."""


def intrinsic_gas(
    data: bytes, *, creates: bool, access_list: AccessList = (), authorizations: int = 0, floored: bool = True,
) -> tuple[int, int]:
    """Gas that is due before the first instruction.

    Parameters
    ----------
    data
        Calldata, or the init code of a creating transaction.
    creates
        Whether the transaction creates a contract.
    access_list, authorizations
        The list, and the number of authorizations.
    floored
        Whether the fork has a floor for calldata.

    Returns
    -------
    tuple of int
        What is charged, and the floor under the gas used in the end (EIP-7623), 0 without one.
    """
    zeros = data.count(0)
    others = len(data) - zeros
    gas = TRANSACTION_GAS + ZERO_BYTE_GAS * zeros + OTHER_BYTE_GAS * others
    if creates:
        gas += CREATION_GAS + INIT_CODE_WORD_GAS * ((len(data) + 31) >> 5)
    if access_list:
        gas += sum(ACCESS_ADDRESS_GAS + ACCESS_SLOT_GAS * len(slots) for _, slots in access_list)
    floor = TRANSACTION_GAS + TOKEN_FLOOR_GAS * (zeros + 4 * others) if floored else 0
    return gas + AUTHORIZATION_GAS * authorizations, floor


def check_fees(gas_limit: int, max_fee: int, max_priority_fee: int, rules: Rules) -> None:
    """Compare gas limit and fees with the rules.

    Raises
    ------
    InvalidTransaction
        With the value and the limit.
    """
    if gas_limit > rules.transaction_gas_max:
        raise InvalidTransaction(f"gas limit {gas_limit} exceeds the highest allowed, {rules.transaction_gas_max}")
    if max_priority_fee > max_fee:
        raise InvalidTransaction(
            f"max priority fee per gas higher than max fee per gas: {max_priority_fee} above {max_fee}")
    if max_fee < rules.base_fee:
        raise InvalidTransaction(f"max fee per gas less than block base fee: {max_fee}, base fee {rules.base_fee}")


def check_gas(
    gas_limit: int, data: bytes, *, creates: bool, access_list: AccessList, authorizations: int, floored: bool,
    init_code_bytes_max: int | None = INIT_CODE_BYTES_MAX,
) -> tuple[int, int]:
    """Compare the gas limit with what is due in any case, and init code with its largest size.

    Parameters
    ----------
    init_code_bytes_max
        Largest data of a transaction that creates a contract; None where only the size of transactions bounds them.

    Returns
    -------
    tuple of int
        As `intrinsic_gas` does.

    Raises
    ------
    InvalidTransaction
        With the value and the limit.
    """
    if creates and init_code_bytes_max is not None and len(data) > init_code_bytes_max:
        raise InvalidTransaction(f"max initcode size exceeded: {len(data)} bytes, limit {init_code_bytes_max}")
    gas, floor = intrinsic_gas(
        data, creates=creates, access_list=access_list, authorizations=authorizations, floored=floored)
    if gas_limit < gas:
        raise InvalidTransaction(f"intrinsic gas too low: gas limit {gas_limit}, needed {gas}")
    if gas_limit < floor:
        raise InvalidTransaction(f"gas limit below the floor for its calldata: gas limit {gas_limit}, needed {floor}")
    return gas, floor
