// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice The part of ERC-20 that the pool calls.
interface IERC20 {
    function transfer(address to, uint256 value) external returns (bool);

    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// @title A market between two ERC-20 tokens, priced by a constant product.
/// @notice Whoever adds liquidity gets shares; every swap pays 0.3 % to the shares.
/// @dev All rounding is in favour of the pool: what it gives is rounded down, what it takes is rounded up,
///      so that `reserve0 * reserve1` per share never falls. Tokens that take a fee from a transfer, or
///      that change balances by themselves, aren't supported: the pool counts what it asked for.
///      Both reserves are in one slot, so that every swap conflicts with every other of the same pool.
///      Nothing is immutable, so that the deployed code can be put into a genesis file.
contract Pool {
    /// @notice Shares of the first deposit that belong to nobody for ever. They make it expensive to
    ///         raise the price of one share until small deposits round to nothing.
    uint256 public constant LOCKED_SHARES = 1000;

    /// @notice Part of the input that counts for the price, in thousandths: the fee is 0.3 %.
    uint256 public constant FEE_KEEP = 997;

    /// @notice First token: the one with the lower address.
    address public token0;

    /// @notice Second token.
    address public token1;

    uint112 private _reserve0;
    uint112 private _reserve1;

    /// @notice Sum of all shares, the locked ones included.
    uint256 public totalShares;

    /// @notice Shares of an account.
    mapping(address account => uint256 shares) public sharesOf;

    /// @dev Transient, so that the guard costs no storage write and leaves no key behind.
    bool private transient _entered;

    /// @notice Liquidity was added by `sender` for `to`.
    event LiquidityAdded(address indexed sender, address indexed to, uint256 amount0, uint256 amount1, uint256 shares);

    /// @notice Liquidity was taken out by `sender` and paid to `to`.
    event LiquidityRemoved(address indexed sender, address indexed to, uint256 amount0, uint256 amount1, uint256 shares);

    /// @notice `sender` paid `amountIn` of `tokenIn`, and `to` got `amountOut` of the other token.
    event Swap(address indexed sender, address indexed to, address indexed tokenIn, uint256 amountIn, uint256 amountOut);

    /// @notice The reserves after any change.
    event Sync(uint112 reserve0, uint112 reserve1);

    /// @notice The token isn't one of the two.
    error UnknownToken(address token);

    /// @notice A token called back into the pool.
    error Reentered();

    modifier nonReentrant() {
        if (_entered) revert Reentered();
        _entered = true;
        _;
        _entered = false;
    }

    /// @notice Makes an empty pool; the order of the two arguments doesn't matter.
    constructor(address tokenA, address tokenB) {
        require(tokenA != tokenB, "Pool: identical tokens");
        require(tokenA != address(0) && tokenB != address(0), "Pool: zero address");
        (token0, token1) = tokenA < tokenB ? (tokenA, tokenB) : (tokenB, tokenA);
    }

    /// @notice What the pool holds of each token.
    function reserves() external view returns (uint256 reserve0, uint256 reserve1) {
        return (_reserve0, _reserve1);
    }

    /// @notice What a swap would pay out now.
    function quote(address tokenIn, uint256 amountIn) external view returns (uint256 amountOut) {
        (uint256 reserveIn, uint256 reserveOut) = _ordered(tokenIn);
        return _amountOut(amountIn, reserveIn, reserveOut);
    }

    /// @notice Adds liquidity at the pool's price; the first deposit sets the price.
    /// @param amount0Max The most to pay of the first token.
    /// @param amount1Max The most to pay of the second token.
    /// @param sharesMin The transaction reverts if it would give fewer shares.
    /// @param to Who gets the shares.
    /// @return shares What `to` got.
    /// @return amount0 What the caller paid of the first token.
    /// @return amount1 What the caller paid of the second token.
    function addLiquidity(uint256 amount0Max, uint256 amount1Max, uint256 sharesMin, address to)
        external
        nonReentrant
        returns (uint256 shares, uint256 amount0, uint256 amount1)
    {
        (uint256 reserve0, uint256 reserve1) = (_reserve0, _reserve1);
        uint256 total = totalShares;
        // Larger amounts fit into no reserve; with this the products below fit into 256 bits.
        require(amount0Max <= type(uint112).max && amount1Max <= type(uint112).max, "Pool: amount too large");
        if (total == 0) {
            (amount0, amount1) = (amount0Max, amount1Max);
            uint256 root = _sqrt(amount0 * amount1);
            require(root > LOCKED_SHARES, "Pool: first deposit too small");
            shares = root - LOCKED_SHARES;
            sharesOf[address(0)] = LOCKED_SHARES;
            total = LOCKED_SHARES;
        } else {
            uint256 shares0 = (amount0Max * total) / reserve0;
            uint256 shares1 = (amount1Max * total) / reserve1;
            shares = shares0 < shares1 ? shares0 : shares1;
            amount0 = _divideUp(shares * reserve0, total);
            amount1 = _divideUp(shares * reserve1, total);
        }
        require(shares > 0 && shares >= sharesMin, "Pool: too few shares");

        totalShares = total + shares;
        sharesOf[to] += shares;
        _update(reserve0 + amount0, reserve1 + amount1);
        _take(token0, amount0);
        _take(token1, amount1);
        emit LiquidityAdded(msg.sender, to, amount0, amount1, shares);
    }

    /// @notice Gives shares of the caller back for their part of both reserves.
    /// @param shares How many.
    /// @param amount0Min The transaction reverts if it would pay less of the first token.
    /// @param amount1Min The same for the second token.
    /// @param to Who gets the tokens.
    function removeLiquidity(uint256 shares, uint256 amount0Min, uint256 amount1Min, address to)
        external
        nonReentrant
        returns (uint256 amount0, uint256 amount1)
    {
        uint256 held = sharesOf[msg.sender];
        require(shares > 0 && held >= shares, "Pool: insufficient shares");
        (uint256 reserve0, uint256 reserve1) = (_reserve0, _reserve1);
        uint256 total = totalShares;
        amount0 = (shares * reserve0) / total;
        amount1 = (shares * reserve1) / total;
        require(amount0 >= amount0Min && amount1 >= amount1Min, "Pool: too little output");

        sharesOf[msg.sender] = held - shares;
        totalShares = total - shares;
        _update(reserve0 - amount0, reserve1 - amount1);
        _give(token0, to, amount0);
        _give(token1, to, amount1);
        emit LiquidityRemoved(msg.sender, to, amount0, amount1, shares);
    }

    /// @notice Sells `amountIn` of one token for the other.
    /// @param tokenIn Which of the two is sold.
    /// @param amountIn How much the caller pays; the pool must be allowed to take it.
    /// @param minOut The transaction reverts if it would pay less.
    /// @param to Who gets the other token.
    /// @return amountOut What `to` got.
    function swap(address tokenIn, uint256 amountIn, uint256 minOut, address to)
        external
        nonReentrant
        returns (uint256 amountOut)
    {
        (uint256 reserveIn, uint256 reserveOut) = _ordered(tokenIn);
        amountOut = _amountOut(amountIn, reserveIn, reserveOut);
        require(amountOut > 0 && amountOut >= minOut, "Pool: too little output");

        bool first = tokenIn == token0;
        (reserveIn, reserveOut) = (reserveIn + amountIn, reserveOut - amountOut);
        _update(first ? reserveIn : reserveOut, first ? reserveOut : reserveIn);
        _take(tokenIn, amountIn);
        _give(first ? token1 : token0, to, amountOut);
        emit Swap(msg.sender, to, tokenIn, amountIn, amountOut);
    }

    /// @dev The reserves seen from the token that is sold.
    function _ordered(address tokenIn) private view returns (uint256 reserveIn, uint256 reserveOut) {
        if (tokenIn == token0) return (_reserve0, _reserve1);
        if (tokenIn == token1) return (_reserve1, _reserve0);
        revert UnknownToken(tokenIn);
    }

    /// @dev (in + 0.997 a)(out - b) = in * out, solved for b and rounded down.
    function _amountOut(uint256 amountIn, uint256 reserveIn, uint256 reserveOut) private pure returns (uint256) {
        require(reserveIn > 0 && reserveOut > 0, "Pool: no liquidity");
        require(amountIn <= type(uint112).max, "Pool: amount too large");
        uint256 priced = amountIn * FEE_KEEP;
        return (priced * reserveOut) / (reserveIn * 1000 + priced);
    }

    function _update(uint256 reserve0, uint256 reserve1) private {
        require(reserve0 <= type(uint112).max && reserve1 <= type(uint112).max, "Pool: reserve too large");
        _reserve0 = uint112(reserve0);
        _reserve1 = uint112(reserve1);
        emit Sync(uint112(reserve0), uint112(reserve1));
    }

    function _take(address token, uint256 amount) private {
        require(IERC20(token).transferFrom(msg.sender, address(this), amount), "Pool: transfer failed");
    }

    function _give(address token, address to, uint256 amount) private {
        require(IERC20(token).transfer(to, amount), "Pool: transfer failed");
    }

    function _divideUp(uint256 numerator, uint256 denominator) private pure returns (uint256) {
        return numerator == 0 ? 0 : (numerator - 1) / denominator + 1;
    }

    /// @dev Square root, rounded down, by Newton's iteration from above: it falls until it arrives.
    function _sqrt(uint256 value) private pure returns (uint256 root) {
        if (value < 2) return value;
        root = value;
        uint256 next = value / 2 + 1;
        while (next < root) {
            root = next;
            next = (value / next + next) / 2;
        }
    }
}
