-- S count sku …
--   for each SKU { available, reserved, committed, protected } or 0 where its stock was never set
OPERATIONS.S = { arity = 0, many = true, run = function(first)
  define_settling()
  local skus = { unpack(ARGV, first + 1, first + tonumber(ARGV[first])) }
  stock_read(skus)
  for _, sku in ipairs(skus) do
    if stock[sku] and not settle(sku, NUMBER_MAX) then return STOP end
  end
  protected_read(skus)
  local result = {}
  for i, sku in ipairs(skus) do
    local s = stock[sku]
    result[i] = s and { s.available, s.reserved, s.committed, protected[sku] and 1 or 0 } or 0
  end
  return result
end }
