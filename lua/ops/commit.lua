-- C id token reference ('' for none)
--   1 sold, now or before by the same token or reference · { word }
OPERATIONS.C = { arity = 3, id = 1, run = function(first)
  local id, token, reference = ARGV[first], ARGV[first + 1], ARGV[first + 2]
  local h = hold_of(id)
  if not h then return { 'NOTFOUND' } end
  if h.state == 'x' then return { 'EXPIRED' } end
  if h.state == 'r' then return { 'ROLLEDBACK' } end
  if h.state == 'c' then
    if h.commit_token == token or (reference ~= '' and h.reference == reference) then return 1 end
    return { 'ALREADYCOMMITTED' }
  end
  local s = stock_of(h.sku)
  s.reserved, s.committed = s.reserved - h.quantity, s.committed + h.quantity
  h.commit_token, h.reference = token, reference
  hold_end(id, h, 'c')
  return 1
end }
