// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title An ERC-20 token with an owner who can mint.
/// @notice Amounts are in the smallest unit: one whole token is 10 ** decimals of them.
/// @dev A transfer touches two balance slots and nothing else, so that transfers between different
///      accounts never conflict. Minting and burning also write `totalSupply`. Nothing is immutable,
///      so that the deployed code is the same for every token and can be put into a genesis file.
contract Token {
    /// @notice Name for people, such as "Example Dollar".
    string public name;

    /// @notice Ticker, such as "EXD".
    string public symbol;

    /// @notice Number of decimal places that wallets show.
    uint8 public decimals;

    /// @notice The account that may mint.
    address public owner;

    /// @notice Sum of all balances.
    uint256 public totalSupply;

    /// @notice What an account holds.
    mapping(address account => uint256 amount) public balanceOf;

    /// @notice What a spender may still take from a holder; the largest value means without limit.
    mapping(address holder => mapping(address spender => uint256 amount)) public allowance;

    /// @notice Tokens moved; minting comes from, and burning goes to, the zero address.
    event Transfer(address indexed from, address indexed to, uint256 value);

    /// @notice An allowance was set.
    event Approval(address indexed owner, address indexed spender, uint256 value);

    /// @notice Only the owner may do this.
    error NotOwner(address caller);

    /// @notice Gives the whole initial supply to the deployer, who becomes the owner.
    /// @param name_ Name for people.
    /// @param symbol_ Ticker.
    /// @param decimals_ Number of decimal places.
    /// @param supply Initial supply in smallest units.
    constructor(string memory name_, string memory symbol_, uint8 decimals_, uint256 supply) {
        name = name_;
        symbol = symbol_;
        decimals = decimals_;
        owner = msg.sender;
        _mint(msg.sender, supply);
    }

    /// @notice Sends tokens of the caller.
    /// @return always true; a failure reverts.
    function transfer(address to, uint256 value) external returns (bool) {
        _transfer(msg.sender, to, value);
        return true;
    }

    /// @notice Sets what `spender` may take from the caller, whatever it was before.
    /// @return always true; a failure reverts.
    function approve(address spender, uint256 value) external returns (bool) {
        require(spender != address(0), "Token: approve to the zero address");
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    /// @notice Sends tokens of `from`, who must have allowed it to the caller.
    /// @dev An allowance without limit is not written, which saves gas and a conflict.
    /// @return always true; a failure reverts.
    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        uint256 allowed = allowance[from][msg.sender];
        if (allowed != type(uint256).max) {
            require(allowed >= value, "Token: insufficient allowance");
            unchecked {
                allowance[from][msg.sender] = allowed - value;
            }
        }
        _transfer(from, to, value);
        return true;
    }

    /// @notice Creates tokens for `to`. Only for the owner.
    function mint(address to, uint256 value) external {
        if (msg.sender != owner) revert NotOwner(msg.sender);
        _mint(to, value);
    }

    /// @notice Destroys tokens of the caller.
    function burn(uint256 value) external {
        uint256 balance = balanceOf[msg.sender];
        require(balance >= value, "Token: insufficient balance");
        unchecked {
            // No balance is larger than the supply.
            balanceOf[msg.sender] = balance - value;
            totalSupply -= value;
        }
        emit Transfer(msg.sender, address(0), value);
    }

    function _transfer(address from, address to, uint256 value) private {
        require(to != address(0), "Token: transfer to the zero address");
        uint256 balance = balanceOf[from];
        require(balance >= value, "Token: insufficient balance");
        unchecked {
            // The sum of two balances is at most the supply. The receiver is read after the sender
            // was written, so that a transfer to oneself changes nothing.
            balanceOf[from] = balance - value;
            balanceOf[to] += value;
        }
        emit Transfer(from, to, value);
    }

    function _mint(address to, uint256 value) private {
        require(to != address(0), "Token: mint to the zero address");
        totalSupply += value; // checked: the one place where the sum can grow
        unchecked {
            balanceOf[to] += value;
        }
        emit Transfer(address(0), to, value);
    }
}
