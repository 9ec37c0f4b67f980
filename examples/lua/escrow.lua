-- SPDX-License-Identifier: Apache-2.0
-- Holds tokens of any ERC-20 contract, in whatever language that is written, until buyer, seller or arbiter decides.
--
-- deposit: the buyer, who has approved the escrow at the token, hands over tokens for a seller.
-- release: the buyer or the arbiter lets the seller have them.
-- refund:  the seller or the arbiter gives them back to the buyer.

local OPEN, RELEASED, REFUNDED = 1, 2, 3
local DEAL = "address,uint256,address,address,address" -- token, amount, buyer, seller, arbiter

local function deal_key(id) return "deal" .. id:bytes() end

local function status_key(id) return "status" .. id:bytes() end

-- Ends a deal before it pays, so that a token that calls back finds nothing to take.
local function finish(id, outcome, decider, receiver)
  require(state.get_uint(status_key(id)) == OPEN, "Escrow: no open deal")
  local token, amount, buyer, seller, arbiter = abi.decode(DEAL, state.get(deal_key(id)))
  local parties = { buyer = buyer, seller = seller }
  require(msg.sender == parties[decider] or msg.sender == arbiter, "Escrow: not yours to decide")
  state.put_uint(status_key(id), outcome)
  require(call(token, "transfer(address,uint256) returns (bool)", parties[receiver], amount), "Escrow: not paid")
  emit("Finished(uint256 indexed id, uint256 outcome)", id, outcome)
end

return {
  ["deposit(address token, uint256 amount, address seller, address arbiter) returns (uint256)"] =
    function(token, amount, seller, arbiter)
      local id = state.get_uint("deals") + 1
      state.put_uint("deals", id)
      state.put(deal_key(id), abi.encode(DEAL, token, amount, msg.sender, seller, arbiter))
      state.put_uint(status_key(id), OPEN)
      local taken = call(token, "transferFrom(address,address,uint256) returns (bool)", msg.sender, this, amount)
      require(taken, "Escrow: not paid in")
      emit("Deposited(uint256 indexed id, address indexed buyer, address indexed seller, uint256 amount)",
        id, msg.sender, seller, amount)
      return id
    end,

  ["release(uint256 id)"] = function(id) finish(id, RELEASED, "buyer", "seller") end,
  ["refund(uint256 id)"] = function(id) finish(id, REFUNDED, "seller", "buyer") end,

  -- 0 for none, 1 open, 2 released, 3 refunded.
  ["status(uint256 id) view returns (uint8)"] = function(id) return state.get_uint(status_key(id)) end,

  -- Tokens that the escrow holds, as the token says.
  ["held(address token) view returns (uint256)"] = function(token)
    return call(token, "balanceOf(address) view returns (uint256)", this)
  end,
}
