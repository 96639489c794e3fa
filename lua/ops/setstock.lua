-- T token sku quantity condition ('', NX or XX) force ('' or FORCE)
--   1 set · 0 the condition is not met · { 'BELOWRESERVED', asked, reserved } · { word }
OPERATIONS.T = { arity = 5, op = 1, sku = 2, run = function(first)
  define_settling()
  local token, sku, quantity = ARGV[first], ARGV[first + 1], tonumber(ARGV[first + 2])
  local condition, force = ARGV[first + 3], ARGV[first + 4]
  if op_seen(token) then return 1 end
  local s = stock_of(sku)
  if (condition == 'NX' and s) or (condition == 'XX' and not s) then return 0 end
  if s and not settle(sku, NUMBER_MAX) then return STOP end
  s = s or stock_new()
  if quantity < s.reserved and force == '' then return { 'BELOWRESERVED', quantity, s.reserved } end
  if quantity + s.committed > NUMBER_MAX then return { 'OVERFLOW' } end
  s.available = quantity - s.reserved
  stock[sku] = s
  stock_changed[sku] = true
  op_remember(token, ops_memory_ms)
  return 1
end }
