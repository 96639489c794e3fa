-- C id token reference ('' for none)
--   1 sold, now or before by the same token or reference · { word }
local function commit(id, token, reference)
  local h = hold_of(id)
  if not h then return { 'NOTFOUND' } end
  if h.state == 'x' then return { 'EXPIRED' } end
  if h.state == 'r' then return { 'ROLLEDBACK' } end
  if h.state == 'c' then
    if h.commit_token == token or (reference ~= '' and h.reference == reference) then return 1 end
    return { 'ALREADYCOMMITTED' }
  end
  if reference ~= '' then h = hold_move(id, h) end
  local s = stock_of(h.sku)
  s.reserved, s.committed = s.reserved - h.quantity, s.committed + h.quantity
  h.commit_token, h.reference = token, reference
  hold_end(id, h, 'c')
  return 1
end

OPERATIONS.C = { arity = 3, id = 1, run = function(first)
  define_records()
  return commit(ARGV[first], ARGV[first + 1], ARGV[first + 2])
end }

-- c list: commits of lots' reservations (lib/format.lua)
--   1 all are sold, now or before by the same token · else for each 1 or { word }
local function sold(sku, quantity)
  local s = stock_of(sku)
  s.reserved, s.committed = s.reserved - quantity, s.committed + quantity
end

OPERATIONS.c = { arity = 1, lots = listed(COMMITS), run = function(first)
  return end_listed(first, COMMITS, 'c', sold, function(id, token) return commit(id, token, '') end)
end }
