// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title A cell that a store creates: one number, which only its parent may change.
contract Child {
    /// @notice The store that created it.
    address public immutable parent;

    /// @notice The number that it keeps.
    uint256 public value;

    /// @notice Only the parent may do this.
    error NotParent(address caller);

    /// @param value_ First number; `type(uint256).max` is refused, so that creation can be seen to fail.
    constructor(uint256 value_) payable {
        require(value_ != type(uint256).max, "Child: refused");
        parent = msg.sender;
        value = value_;
    }

    /// @notice Replaces the number.
    function set(uint256 value_) external {
        if (msg.sender != parent) revert NotParent(msg.sender);
        value = value_;
    }

    /// @notice Pays its balance to `to`, and is gone after a transaction that also created it.
    function destroy(address payable to) external {
        if (msg.sender != parent) revert NotParent(msg.sender);
        selfdestruct(to);
    }
}

/// @title Small things that a contract can do, one function each.
/// @notice For trying out an engine or a gateway: counters, a mapping, every way to fail, logs, child
///         contracts, calls to itself, ether in and out, and what a contract sees of its block.
contract Store {
    /// @notice How often `increment` ran. Every call writes it, so that all of them conflict.
    uint256 public counter;

    /// @notice How often an account ran `increment` or `incrementOwn`.
    mapping(address account => uint256 count) public counters;

    /// @notice Numbers under keys that callers choose.
    mapping(uint256 key => uint256 value) public values;

    /// @notice Ether that an account has put in and not taken out, in wei.
    mapping(address account => uint256 amount) public deposits;

    /// @notice A text of any length.
    string public note;

    /// @notice Addresses of the children, in order of creation.
    address[] public children;

    /// @notice A counter went up.
    event Incremented(address indexed account, uint256 count, uint256 total);

    /// @notice A number was set.
    event ValueSet(uint256 indexed key, uint256 oldValue, uint256 newValue);

    /// @notice The text was set.
    event NoteSet(string indexed noteHash, string note);

    /// @notice One of a series of logs.
    event Ping(uint256 indexed index, uint256 indexed count, address indexed caller, bytes data);

    /// @notice A log without topics.
    event Bare(uint256 value) anonymous;

    /// @notice A child was created.
    event ChildCreated(address indexed child, uint256 value);

    /// @notice What came of a call to itself.
    event Attempted(bool success, bytes output);

    /// @notice Ether came in.
    event Received(address indexed from, uint256 amount);

    /// @notice Ether went out.
    event Paid(address indexed to, uint256 amount);

    /// @notice What the contract saw of its block and transaction.
    event Seen(
        uint256 chainId,
        uint256 number,
        uint256 timestamp,
        uint256 randomness,
        uint256 gasLimit,
        uint256 baseFee,
        uint256 gasPrice,
        address coinbase,
        address origin
    );

    /// @notice A number that was read, such as a balance or a hash.
    event Read(uint256 indexed what, uint256 value);

    /// @notice The failure that `failCustom` asks for.
    error Failure(address caller, uint256 code);

    /// @notice Accepts ether without a call.
    receive() external payable {
        deposits[msg.sender] += msg.value;
        emit Received(msg.sender, msg.value);
    }

    // Counters and values

    /// @notice Counts for the caller and for all.
    /// @return total The new common count.
    function increment() external returns (uint256 total) {
        total = ++counter;
        emit Incremented(msg.sender, ++counters[msg.sender], total);
    }

    /// @notice Counts for the caller only: callers don't conflict with each other.
    function incrementOwn() external returns (uint256 count) {
        count = ++counters[msg.sender];
    }

    /// @notice Sets the number under a key; zero clears it.
    function set(uint256 key, uint256 value) public {
        emit ValueSet(key, values[key], value);
        values[key] = value;
    }

    /// @notice Sets `count` numbers under `start`, `start + 1` and so on.
    function setMany(uint256 start, uint256 count, uint256 value) external {
        for (uint256 i = 0; i < count; i++) {
            values[start + i] = value;
        }
    }

    /// @notice Moves a number from one key to another.
    function move(uint256 from, uint256 to) external {
        values[to] = values[from];
        values[from] = 0;
    }

    /// @notice Reads `steps` keys, each named by the number before: nobody can tell them in advance.
    /// @return key The last number read.
    function follow(uint256 start, uint256 steps) public view returns (uint256 key) {
        key = start;
        for (uint256 i = 0; i < steps; i++) {
            key = values[key];
        }
    }

    /// @notice Follows numbers as `follow` does, and adds one where they lead.
    function followAndAdd(uint256 start, uint256 steps) external {
        values[follow(start, steps)] += 1;
    }

    /// @notice Sets the text.
    function setNote(string calldata text) external {
        note = text;
        emit NoteSet(text, text);
    }

    // Failures

    /// @notice Reverts with a reason.
    function fail(string calldata reason) external pure {
        revert(reason);
    }

    /// @notice Reverts with a custom error.
    function failCustom(uint256 code) external view {
        revert Failure(msg.sender, code);
    }

    /// @notice Reverts without data.
    function failBare() external pure {
        revert();
    }

    /// @notice Panics: divides by zero if `denominator` is 0.
    function divide(uint256 numerator, uint256 denominator) external pure returns (uint256) {
        return numerator / denominator;
    }

    /// @notice Writes, logs, and reverts: nothing of it may stay.
    function setAndFail(uint256 key, uint256 value) external {
        set(key, value);
        revert("Store: set and failed");
    }

    /// @notice Runs an invalid instruction, which takes all gas.
    function halt() external pure {
        assembly ("memory-safe") {
            invalid()
        }
    }

    /// @notice Hashes `rounds` times; a large number runs out of gas.
    function burn(uint256 rounds) external pure returns (bytes32 hash) {
        for (uint256 i = 0; i < rounds; i++) {
            hash = keccak256(abi.encode(hash));
        }
    }

    // Logs

    /// @notice Emits `count` logs with four topics, and one without any.
    function ping(uint256 count, bytes calldata data) external {
        for (uint256 i = 0; i < count; i++) {
            emit Ping(i, count, msg.sender, data);
        }
        emit Bare(count);
    }

    // Children and calls

    /// @notice Number of children.
    function childCount() external view returns (uint256) {
        return children.length;
    }

    /// @notice Creates a child by CREATE and passes it the ether that comes with the call.
    function create(uint256 value) external payable returns (address child) {
        child = address(new Child{value: msg.value}(value));
        _created(child, value);
    }

    /// @notice Creates a child by CREATE2; the same salt and value a second time fails.
    function create2(bytes32 salt, uint256 value) external payable returns (address child) {
        child = address(new Child{value: msg.value, salt: salt}(value));
        _created(child, value);
    }

    /// @notice Creates a child and destroys it in the same transaction; its ether goes to `to`.
    function createAndDestroy(uint256 value, address payable to) external payable {
        Child child = new Child{value: msg.value}(value);
        emit ChildCreated(address(child), value);
        child.destroy(to);
    }

    /// @notice Changes the number of a child.
    function setChild(uint256 index, uint256 value) external {
        Child(children[index]).set(value);
    }

    /// @notice Destroys an older child: its ether goes to `to`, its code and number stay.
    function destroyChild(uint256 index, address payable to) external {
        Child(children[index]).destroy(to);
    }

    /// @notice Calls itself, as a transaction of its own would; passes a failure on.
    function callSelf(bytes calldata data) external returns (bytes memory output) {
        bool success;
        (success, output) = address(this).call(data);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(output, 32), mload(output))
            }
        }
    }

    /// @notice Calls itself and goes on whatever comes of it; what the failed call did is undone.
    function tryCallSelf(bytes calldata data) external returns (bool success) {
        bytes memory output;
        (success, output) = address(this).call(data);
        emit Attempted(success, output);
    }

    /// @notice Calls itself `depth` times, each call within the other, and counts in the innermost.
    function nest(uint256 depth) external {
        if (depth == 0) {
            counter++;
        } else {
            this.nest(depth - 1);
        }
    }

    // Ether

    /// @notice Pays `amount` of what the caller put in to `to`.
    function withdraw(address payable to, uint256 amount) external {
        uint256 held = deposits[msg.sender];
        require(held >= amount, "Store: insufficient deposit");
        deposits[msg.sender] = held - amount;
        (bool success,) = to.call{value: amount}("");
        require(success, "Store: payment refused");
        emit Paid(to, amount);
    }

    // What a contract sees

    /// @notice Logs block and transaction.
    function see() external {
        emit Seen(
            block.chainid,
            block.number,
            block.timestamp,
            block.prevrandao,
            block.gaslimit,
            block.basefee,
            tx.gasprice,
            block.coinbase,
            tx.origin
        );
    }

    /// @notice Logs an account's balance; the fee recipient's includes the fees of earlier transactions.
    function seeBalance(address account) external {
        emit Read(uint160(account), account.balance);
    }

    /// @notice Logs an account's code hash and code size: with a delegation, those of its 23 bytes.
    function seeCode(address account) external {
        emit Read(uint256(account.codehash), account.code.length);
    }

    /// @notice Logs the hash of an earlier block, zero if it is too old or not there yet.
    function seeBlockHash(uint256 number) external {
        emit Read(number, uint256(blockhash(number)));
    }

    function _created(address child, uint256 value) private {
        children.push(child);
        emit ChildCreated(child, value);
    }
}
