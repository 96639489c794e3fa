-- G id
--   { state, sku, quantity, expires in unix ms, reference ('' for none) } · 0 not known
OPERATIONS.G = { arity = 1, id = 1, run = function(first)
  define_records()
  local h = hold_of(ARGV[first])
  if not h then return 0 end
  return { h.state, h.sku, h.quantity, h.expires, h.reference }
end }
